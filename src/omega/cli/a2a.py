"""`omega a2a`: flows published as agents, and agents elsewhere with the cards that were accepted of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from omega.adapters.a2a import ask_peer
from omega.adapters.a2a.peers import TIMEOUT_S, Peer
from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, clip, plain, table
from omega.host.acquainted import known, peers
from omega.host.arrangements import all_arranged
from omega.host.asking import ask, forget, keep
from omega.host.peers import Compared, accept, add, compare, remove
from omega.host.publishing import PUBLISHED, check
from omega.host.reading import Archive
from omega.host.toolbox import references
from omega.kernel.errors import InputError

MAX_SHOWN = 60


@click.group()
def a2a() -> None:
    """Publish flows as agents, and ask agents elsewhere (the A2A protocol)."""


@a2a.command("list")
@common
@click.pass_obj
def list_agents(session: Session) -> Answer:
    """List the published agents, and the agents elsewhere."""
    with Archive.open(session.home) as archive:
        published, elsewhere = all_arranged(archive.reader, PUBLISHED), peers(archive.reader)
    rows = [[name, "published", f"flow {plain(str(body['flow']))}", f"/a2a/{name}"] for name, body in published.items()]
    rows += [[each.name, "elsewhere", clip(plain(each.told.name), MAX_SHOWN), plain(each.told.url)] for each in elsewhere]
    lines = table(rows, indent="") or ["nothing is published, and no agent elsewhere is known"]
    document = {
        "published": [{"name": name, **body} for name, body in published.items()],
        "elsewhere": [_record(each) for each in elsewhere],
    }
    return Answer(document, lines)


@a2a.command("publish")
@click.argument("name")
@click.option("--flow", "flow", default="", metavar="FLOW", help="a flow that is put up (omega up FLOW), or SERVICE.METHOD")
@click.option("--title", default="", help="the name on its card")
@click.option("--describe", "description", default="", metavar="TEXT", help="what its card says of it")
@click.option("--takes", type=click.Choice(["text", "data", "message"]), default=None, help="what the flow takes of a message")
@click.option("--front", is_flag=True, help="its card is the one at the root of the installation")
@click.option("--unlisted", is_flag=True, help="show the card to those alone who may use it")
@click.option("--tenant", "tenants", multiple=True, help="may use it beside this installation's own; may be repeated")
@click.option("--group", "groups", multiple=True, help="only members of one of these may use it; may be repeated")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="the whole document, as JSON")
@common
@click.pass_obj
def publish(session: Session, /, name: str, file: Path | None, **given: Any) -> Answer:
    """Publish a flow as the agent NAME, in place of what was published before. Agents of others reach it at /a2a/NAME."""
    kept = check(name, _from_file(file) if file is not None else _from_options(**given))
    asyncio.run(keep(session.home, PUBLISHED, name, kept))
    return Answer({"name": name, **kept}, [f"{name}   flow {plain(str(kept['flow']))}   /a2a/{name}"])


@a2a.command("withdraw")
@click.argument("name")
@common
@click.pass_obj
def withdraw(session: Session, name: str) -> Answer:
    """Publish the agent NAME no more. Its tasks stay on record."""
    asyncio.run(forget(session.home, PUBLISHED, name))
    return Answer({"name": name, "withdrawn": True}, [f"{name}   withdrawn"])


@a2a.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="KEY=env:NAME", help='by reference ("Authorization=Bearer env:TOKEN")')
@click.option("--allow", "allow", multiple=True, metavar="NETWORK", help="a private network that it may be reached in; may be repeated")
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="a JWK: its card must be signed with it")
@click.option("--timeout", "timeout_s", type=float, default=TIMEOUT_S, show_default=True, metavar="SECONDS", help="patience with a task")
@click.option("--credentials-to", default="", metavar="ORIGIN", help="https://HOST that gets the headers, where it is not the card's own")
@common
@click.pass_obj
def add_agent(session: Session, /, *, name: str, url: str, headers: tuple[str, ...], **given: Any) -> Answer:
    """Accept the agent at URL, under the card that is there, as NAME."""
    made = asyncio.run(add(session.home, name, url, headers=references(headers, "--header"), **given))
    return Answer(_record(made), _shown(made))


@a2a.command("card")
@click.argument("name")
@click.option("--accept", "accepting", is_flag=True, help="accept the card that is there now")
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="a JWK, the known or a new one: its card must be signed with it",
)
@common
@click.pass_obj
def show_card(session: Session, name: str, accepting: bool, key: Path | None) -> Answer:
    """Compare what was accepted of the agent elsewhere NAME with what its card says now."""
    with Archive.open(session.home) as archive:
        found = asyncio.run(compare(archive.reader, name, key=key))
    if accepting and found.state == "changed":
        made = asyncio.run(accept(session.home, found))
        return Answer(_record(made) | {"state": "accepted", "differences": found.differences}, [*_shown(made), "accepted"])
    return Answer(_compared(found), [*_shown(found.accepted), f"the card is {found.state}", *map(plain, found.differences)], _exit(found))


@a2a.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_agent(session: Session, name: str) -> Answer:
    """Forget the agent elsewhere NAME."""
    with Archive.open(session.home) as archive:
        known(archive.reader, name)
    asyncio.run(remove(session.home, name))
    return Answer({"name": name, "removed": True}, [f"{name}   removed"])


@a2a.command("ask")
@click.argument("name")
@click.argument("text", default="")
@click.option("--data", default="", metavar="JSON", help="structured data to send")
@click.option("--task", default="", help="go on with a task that asked something")
@click.option("--context", default="", help="go on with a conversation")
@common
@click.pass_obj
def ask_agent(session: Session, name: str, text: str, data: str, task: str, context: str) -> Answer:
    """Ask the agent elsewhere NAME, down the same road as any call."""
    wanted = {"agent": name, "text": text, "data": _value(data), "task": task, "context": context}
    told = asyncio.run(ask(session.home, ask_peer, wanted))
    lines = [plain(line) for line in str(told["text"]).splitlines()] or [json.dumps(each, ensure_ascii=False) for each in told["data"]]
    where = f"   task {plain(told['task'])}" if told["task"] else ""
    return Answer(dict(told), [*lines, f"{plain(told['state'])}{where}"])


def _from_file(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("OMG-X001", f"{file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError("OMG-X001", f"{file} holds no JSON object")
    return found


def _from_options(*, unlisted: bool, front: bool, **given: Any) -> dict[str, Any]:
    said = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    return said | ({"listed": False} if unlisted else {}) | ({"front": True} if front else {})


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError("OMG-X001", f"--data is no JSON: {error}") from error


def _record(peer: Peer) -> dict[str, Any]:
    told = peer.told
    shown: Mapping[str, Any] = {
        "name": peer.name,
        "agent": told.name,
        "version": told.version,
        "url": told.url,
        "binding": told.binding,
        "card": peer.at,
        "pinned": peer.digest,
        "signed_by": peer.signer or None,
        "skills": [{"id": skill.id, "name": skill.name, "description": skill.description} for skill in told.skills],
    }
    return dict(shown)


def _compared(found: Compared) -> dict[str, Any]:
    return _record(found.accepted) | {"state": found.state, "differences": found.differences}


def _shown(peer: Peer) -> list[str]:
    told = peer.told
    signed = f"signed with {peer.signer[:16]}" if peer.signer else "not signed"
    head = f"{peer.name}   {plain(told.name)} {plain(told.version)}   {told.binding}   {plain(told.url)}"
    rows = [[plain(skill.id), clip(plain(skill.description), MAX_SHOWN)] for skill in told.skills]
    return [head, f"pinned {peer.digest[:16]}, {signed}", *table(rows)]


def _exit(found: Compared) -> Exit:
    return Exit.FAILED if found.state == "changed" else Exit.DONE
