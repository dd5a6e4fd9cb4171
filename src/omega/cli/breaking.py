"""`omega breaker`: which tools and servers are left alone for a while once they fail too often. Each change is a gated act with a leaf."""

from __future__ import annotations

import asyncio

import click

from omega.cli.commands import common
from omega.cli.limiting import kept, short
from omega.cli.output import Answer, Session, table
from omega.host.asking import forget, keep
from omega.host.inputs import read_duration
from omega.host.limits import BREAKER, EVERY, breaker_of, read_target


@click.group()
def breaker() -> None:
    """List, set and remove circuit breakers: what fails too often is left alone for a while."""


@breaker.command("list")
@common
@click.pass_obj
def list_breakers(session: Session) -> Answer:
    """List the breakers that hold."""
    found = {name: breaker_of(name, body) for name, body in kept(session.home, BREAKER).items()}
    words = {EVERY: "each", "": "all"}
    rows = [[name, str(each), f"tenant {words.get(each.tenant, each.tenant)}, flow {each.flow}"] for name, each in found.items()]
    document = {"breakers": [{"name": name, **each.record()} for name, each in found.items()]}
    return Answer(document, table(rows, indent="") or ["no breakers are set"])


@breaker.command("set")
@click.argument("target", metavar="tool:SERVER/TOOL|tool:SERVER/*|flow:NAME")
@click.option("--failures", type=int, default=5, show_default=True, help="so many failures open the circuit")
@click.option("--within", default="1m", show_default=True, help="in which they are counted")
@click.option("--open-for", default="30s", show_default=True, help="how long nothing is let through then")
@click.option("--tenant", default=EVERY, metavar="NAME", help="for this tenant alone; empty for one circuit that all share")
@click.option("--name", default="", help="how the breaker is called; else it is named after what it is about")
@common
@click.pass_obj
def set_breaker(session: Session, /, target: str, failures: int, **options: str) -> Answer:
    """Leave TARGET alone for a while once it has failed too often; a breaker of the same name is replaced."""
    tenant = options["tenant"]
    spans = {"within_s": read_duration(options["within"]), "open_s": read_duration(options["open_for"])}
    body = {"flow": read_target(target), "failures": failures, "tenant": tenant, **spans}
    name = options["name"] or short("", f"{target} {'' if tenant == EVERY else tenant}".strip())
    made = breaker_of(name, body)
    asyncio.run(keep(session.home, BREAKER, name, made.record()))
    return Answer({"name": name, **made.record()}, [f"{name}   {made}"])


@breaker.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_breaker(session: Session, name: str) -> Answer:
    """Remove a breaker: what it held back is let through."""
    asyncio.run(forget(session.home, BREAKER, name))
    return Answer({"breaker": name, "removed": True}, [f"{name}   removed"])
