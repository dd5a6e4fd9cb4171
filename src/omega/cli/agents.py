"""`omega agents`: the roster, from the terminal. Each command is a call of the service `agents`, on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import anywhere
from omega.cli.desks import ask_at
from omega.cli.output import Answer, Session, count, plain, table, value_lines
from omega.host.inputs import whole_value
from omega.kernel.errors import InputError

MAX_INSTRUCTIONS = 50_000
"""Most characters that are read of a file with instructions."""


@click.group()
def agents() -> None:
    """List agents, register versions, try them on a share of the work, have them work."""


@agents.command("list")
@anywhere
@click.pass_obj
def list_agents(session: Session) -> Answer:
    """List the agents: which version works, which is tried, and how each has done."""
    found = asyncio.run(ask_at(session, "agents.list", {}))
    rows = [row for entry in found for row in _rows(entry)]
    return Answer(
        {"agents": found}, table(rows, indent="") or ["there is no agent: omega agents register NAME VERSION --instructions FILE"]
    )


@agents.command("register")
@click.argument("name")
@click.argument("version")
@click.option("--instructions", type=click.File("r"), required=True, help="a file with what it is told, - for standard input")
@click.option("--model", default="", metavar="NAME", help="a model or a route  [default: the default one]")
@click.option("--tool", "tools", multiple=True, metavar="SERVER/TOOL", help="an accepted tool that it may call; may be repeated")
@click.option("--can", "capabilities", multiple=True, metavar="WORDS", help="what it is good at, in a few words; may be repeated")
@click.option("--memory", is_flag=True, help="tell it what was said before in a conversation, and the notes that a task speaks of")
@click.option("--own-host", is_flag=True, help="it runs at a host of its own, and comes for its work")
@click.option("--card", "more", default="{}", metavar="JSON", help="other fields of its card: limits, output, turns, ...")
@anywhere
@click.pass_obj
def register(session: Session, /, name: str, version: str, instructions: Any, more: str, **given: Any) -> Answer:
    """Register VERSION of the agent NAME. The first one works at once; a later one when it is tried or promoted."""
    card = {"name": name, "version": version, "instructions": instructions.read(MAX_INSTRUCTIONS + 1).strip(), "model": given["model"]}
    card |= {"tools": list(given["tools"]), "capabilities": list(given["capabilities"]), "own_host": given["own_host"]}
    card |= {"memory": {}} if given["memory"] else {}
    fields = whole_value(more)
    if not isinstance(fields, dict):
        raise InputError("OMG-X001", "--card takes a JSON object with fields of the card", advice="for example --card '{\"turns\": 3}'")
    return _told(asyncio.run(ask_at(session, "agents.register", card | fields)))


@agents.command("canary")
@click.argument("name")
@click.argument("version")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True, help="of the work that it does")
@anywhere
@click.pass_obj
def canary(session: Session, name: str, version: str, share: float) -> Answer:
    """Try VERSION of an agent on a share of its work; which version does which piece is drawn, and on record."""
    return _told(asyncio.run(ask_at(session, "agents.canary", {"name": name, "version": version, "share": share})))


@agents.command("promote")
@click.argument("name")
@anywhere
@click.pass_obj
def promote(session: Session, name: str) -> Answer:
    """Let the version that is tried do all the work."""
    return _told(asyncio.run(ask_at(session, "agents.promote", {"name": name})))


@agents.command("rollback")
@click.argument("name")
@anywhere
@click.pass_obj
def rollback(session: Session, name: str) -> Answer:
    """Try no other version any more."""
    return _told(asyncio.run(ask_at(session, "agents.roll_back", {"name": name})))


@agents.command("run")
@click.argument("name")
@click.argument("task")
@click.option("--conversation", default="", metavar="ID", help="as part of a conversation, for an agent with memory")
@anywhere
@click.pass_obj
def run(session: Session, name: str, task: str, conversation: str) -> Answer:
    """Have an agent do a task."""
    found = asyncio.run(ask_at(session, "agents.run", {"agent": name, "task": task, "conversation": conversation}))
    return Answer(found, [*value_lines(found["answer"]), f"done   {found['agent']} {found['version']}"])


def _told(entry: Mapping[str, Any]) -> Answer:
    return Answer(dict(entry), table(_rows(entry), indent=""))


def _rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """A row for each version of an agent."""
    says = plain(", ".join(entry["capabilities"]) or str(entry["description"]))
    part = {entry["stable"]: "works", entry["canary"]: f"tried on {entry['share']:.0%}"}
    return [
        [
            str(entry["name"]),
            each["version"],
            part.get(each["version"], "-"),
            f"{each['health']}, {count(each['outcomes'], 'outcome')}",
            f"reputation {each['reputation']:.2f}",
            says,
        ]
        for each in entry["versions"]
    ]
