"""`limit`, `budget`, `guards`, `fact`: what an operator lets be used, looked for and known. Each change is a gated act with a leaf."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, table
from omega.host.arrangements import all_arranged
from omega.host.asking import forget, keep
from omega.host.limits import (
    DEFAULTS,
    DOING,
    EVERY,
    FACT,
    GUARD,
    LIMIT,
    UNPRICED,
    WHAT,
    WHERE,
    guard_of,
    quota_of,
    read_amount,
    read_whose,
)
from omega.host.reading import Archive
from omega.kernel.errors import InputError, StorageError

_unpriced = click.option(
    "--unpriced", type=click.Choice(UNPRICED), default=UNPRICED[0], help="where money is limited: what to do about a model without a price"
)


@click.group()
def limit() -> None:
    """List, set and remove limits: requests, tokens, money and calls at once, per minute, hour or day."""


@limit.command("list")
@common
@click.pass_obj
def list_limits(session: Session) -> Answer:
    """List the limits that hold."""
    found = {name: quota_of(name, body) for name, body in kept(session.home, LIMIT).items()}
    rows = [[name, str(quota), _whose(quota.record())] for name, quota in found.items()]
    document = {"limits": [{"name": name, **quota.record()} for name, quota in found.items()]}
    return Answer(document, table(rows, indent="") or ["no limits are set"])


@limit.command("set")
@click.argument("whose", metavar="agent:NAME|tenant:NAME|tool:SERVER/TOOL|flow:NAME")
@click.argument("amount", nargs=-1, required=True, metavar='AMOUNT ("5 USD/day", "60 requests/minute", "3 at once")')
@click.option("--name", default="", help="how the limit is called; else it is named after what it is")
@click.option("--tool", default="", metavar="SERVER/TOOL", help="only what is used through this tool or flow")
@_unpriced
@common
@click.pass_obj
def set_limit(session: Session, whose: str, amount: tuple[str, ...], name: str, tool: str, unpriced: str) -> Answer:
    """Set a limit; one of the same name is replaced."""
    return _set(session, whose, " ".join(amount), name, tool, unpriced)


@limit.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_limit(session: Session, name: str) -> Answer:
    """Remove a limit."""
    asyncio.run(forget(session.home, LIMIT, name))
    return Answer({"limit": name, "removed": True}, [f"{name}   removed"])


@click.group()
def budget() -> None:
    """Set what an agent, a person or a tenant may spend."""


@budget.command("set")
@click.argument("whose", metavar="agent:NAME|person:NAME|tenant:NAME")
@click.argument("amount", nargs=-1, required=True, metavar='AMOUNT ("5 USD/day")')
@_unpriced
@common
@click.pass_obj
def set_budget(session: Session, whose: str, amount: tuple[str, ...], unpriced: str) -> Answer:
    """Set a budget per minute, hour or day: a limit of money."""
    text = " ".join(amount)
    if read_amount(text)["of"] != "cost":
        raise InputError("OMG-X001", f"{text[:80]!r} is no amount of money", advice='write "5 USD/day"; for others, omega limit set')
    return _set(session, whose, text, "", "", unpriced)


@click.group()
def guards() -> None:
    """List, set and remove guards: what is done about injected instructions and personal data in what tools and models get and give."""


@guards.command("list")
@common
@click.pass_obj
def list_guards(session: Session) -> Answer:
    """List the guards, the default one first."""
    found = {name: guard_of(body) for name, body in kept(session.home, GUARD).items()}
    rows = [["default", *_told(each.record())] for each in DEFAULTS] + [[name, *_told(each.record())] for name, each in found.items()]
    return Answer({"guards": [{"name": name, **each.record()} for name, each in found.items()]}, table(rows, indent=""))


@guards.command("set")
@click.argument("what", type=click.Choice(WHAT))
@click.argument("where", type=click.Choice(WHERE))
@click.argument("doing", type=click.Choice(DOING))
@click.option("--tool", default="", metavar="SERVER/TOOL|SERVER/*|model/NAME", help="for this one alone")
@click.option("--tenant", default="", metavar="NAME", help="for this tenant alone")
@common
@click.pass_obj
def set_guard(session: Session, what: str, where: str, doing: str, tool: str, tenant: str) -> Answer:
    """Say what is done about WHAT found in the WHERE of tools and models: off, flag (note it), redact (take it out), block."""
    rule = guard_of({"what": what, "where": where, "doing": doing, "tenant": tenant, "tool": tool})
    name = short(f"{what} {where}", f"{tenant} {tool}".strip())
    asyncio.run(keep(session.home, GUARD, name, rule.record()))
    return Answer({"name": name, **rule.record()}, [f"{name}   {doing}"])


@guards.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_guard(session: Session, name: str) -> Answer:
    """Remove a guard."""
    asyncio.run(forget(session.home, GUARD, name))
    return Answer({"guard": name, "removed": True}, [f"{name}   removed"])


@click.group()
def fact() -> None:
    """List, set and remove facts that policies may name as tags fact:NAME."""


@fact.command("list")
@common
@click.pass_obj
def list_facts(session: Session) -> Answer:
    """List the facts."""
    found = {name: str(body["value"]) for name, body in kept(session.home, FACT).items()}
    return Answer({"facts": found}, table([[name, value] for name, value in found.items()], indent="") or ["no facts are known"])


@fact.command("set")
@click.argument("name")
@click.argument("value")
@click.option("--tenant", default="", metavar="NAME", help="for this tenant alone")
@common
@click.pass_obj
def set_fact(session: Session, name: str, value: str, tenant: str) -> Answer:
    """Let policies know NAME as VALUE, from the next decision on."""
    asyncio.run(keep(session.home, FACT, f"{tenant} {name}".strip(), {"value": value}))
    return Answer({"fact": name, "value": value, "tenant": tenant}, [f"{name}   {value}"])


@fact.command("remove")
@click.argument("name")
@click.option("--tenant", default="", metavar="NAME", help="that of this tenant")
@common
@click.pass_obj
def remove_fact(session: Session, name: str, tenant: str) -> Answer:
    """Forget a fact."""
    asyncio.run(forget(session.home, FACT, f"{tenant} {name}".strip()))
    return Answer({"fact": name, "removed": True}, [f"{name}   removed"])


def _set(session: Session, whose: str, text: str, name: str, tool: str, unpriced: str) -> Answer:
    body = {**read_whose(whose), **read_amount(text), "unpriced": unpriced}
    if tool:
        body["flow"] = tool
    windows = {60: "minute", 3_600: "hour", 86_400: "day"}
    name = name or short(f"{body['of']} {windows.get(int(body['window_s']), 'at once')}", f"{whose} {tool}".strip())
    quota = quota_of(name, body)
    asyncio.run(keep(session.home, LIMIT, name, quota.record()))
    return Answer({"name": name, **quota.record()}, [f"{name}   {quota}"])


def short(what: str, whose: str) -> str:
    """A name of at most 64 letters that differs where `whose` does."""
    full = f"{what} {whose}".strip()
    return full if len(full) <= 64 else f"{full[:50]} {hashlib.sha256(full.encode()).hexdigest()[:12]}"


def kept(home: str | None, kind: str) -> dict[str, dict[str, Any]]:
    """Everything of a kind; nothing where nothing is recorded yet."""
    try:
        with Archive.open(home) as archive:
            return all_arranged(archive.reader, kind)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        return {}


def _whose(record: Mapping[str, Any]) -> str:
    words = {EVERY: "each", "": "all"}
    said = [f"tenant {words.get(record['tenant'], record['tenant'])}"]
    said += [f"caller {words.get(record['principal'], record['principal'])}"] if record["principal"] else []
    said += [f"flow {words.get(record['flow'], record['flow'])}"] if record["flow"] else []
    return ", ".join([*said, *(["models without a price pass"] if record.get("unpriced") == UNPRICED[-1] else [])])


def _told(record: Mapping[str, Any]) -> list[str]:
    return [record["what"], record["where"], record["doing"], record["tool"] or "every tool", record["tenant"] or "every tenant"]
