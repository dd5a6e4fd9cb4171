"""`omega guard`: what works, whether service levels hold, what alerts stand, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from omega.cli.commands import anywhere, common
from omega.cli.desks import ask_at
from omega.cli.output import Answer, Session, paint, plain, table
from omega.defence.guard.acting import MOST_REDRIVES, Orders
from omega.defence.guard.model import Alert, Levels
from omega.host import guarding as verbs
from omega.host.inputs import read_duration
from omega.kernel.errors import InputError


def _objective(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what is promised."""
    for option in (
        click.option("--within", metavar="TIME", default="", help='how fast one must end ("2s"); at any speed unless given'),
        click.option("--days", type=float, default=30.0, show_default=True, help="the window"),
        click.option("--target", type=float, default=99.9, show_default=True, help="percent that must end well"),
    ):
        command = option(command)
    return command


@click.group()
def guard() -> None:
    """Watch over what runs: health, service levels, alerts."""


@guard.command("status")
@common
@click.pass_obj
def status(session: Session) -> Answer:
    """Show which workers live, what stands still that should not, and what to do about it."""
    found, orders = verbs.look(session.home), verbs.orders(session.home)
    lines = [f"open {found.open}   dead {found.dead}"]
    lines += [_spoken(orders)] if orders.any else []
    lines += [
        f"{paint('ok' if each.alive else 'fail', 5)} {plain(each.name)}   holds {each.holds}   silent {each.silent_s:.0f} s"
        for each in found.workers
    ]
    lines += [f"{paint('warn', 5)} {plain(each.about)}   {plain(each.what)}   do  {plain(each.do)}" for each in found.advice]
    return Answer({**found.model_dump(), "acts": orders.model_dump()}, lines)


@guard.command("act")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--redrive", metavar="N", type=click.IntRange(1, MOST_REDRIVES), default=None, help="try again what was given up, N times")
@click.option("--isolate", is_flag=True, help="put an agent into quarantine that alone burns an error budget")
@click.option("--pause", is_flag=True, help="pause a schedule or a queue in which everything fails")
@common
@click.pass_obj
def act(session: Session, state: str, redrive: int | None, *, isolate: bool, pause: bool) -> Answer:
    """Say what the guard may do by itself when it sweeps. It only advises unless this is on."""
    orders = Orders(redrive=redrive or 0, isolate=isolate, pause=pause)
    if (state == "on") is not orders.any:
        cause = "say what the guard may do" if state == "on" else "what is off has no options"
        raise InputError("OMG-X001", cause, advice="omega guard act on --redrive 3 --isolate --pause, or omega guard act off")
    asyncio.run(verbs.arrange_acts(session.home, orders))
    return Answer({"acts": orders.model_dump()}, [_spoken(orders)])


@guard.command("slo")
@_objective
@anywhere
@click.pass_obj
def slo(session: Session, target: float, days: float, within: str) -> Answer:
    """Show how each flow stands against a service level: share that ended well, error budget left, burn rate of the last hour."""
    wanted = {"target": target / 100, "days": days, "within_s": _seconds(within)}
    if session.there is not None:
        found = Levels(**asyncio.run(ask_at(session, "guard.slo", wanted)))
    else:
        found = verbs.service_levels(session.home, **wanted)
    rows = [
        [
            each.name,
            f"{each.executions}",
            f"{each.availability:.3%}",
            f"{each.left:.0%} left",
            f"burns {each.burn_hour:.1f}x",
            each.severity,
        ]
        for each in found.levels
    ]
    return Answer(found.model_dump(), table(rows, indent=""))


@guard.command("alerts")
@_objective
@anywhere
@click.pass_obj
def alerts(session: Session, target: float, days: float, within: str) -> Answer:
    """Show the alerts that stand now, pages first."""
    wanted = {"target": target / 100, "days": days, "within_s": _seconds(within)}
    if session.there is not None:
        found = [Alert(**each) for each in asyncio.run(ask_at(session, "guard.alerts", wanted))]
    else:
        found = verbs.alerts(session.home, **wanted)
    lines = [f"{each.severity:<7} {plain(each.title)}   do  {plain(each.do)}" for each in found] or ["no alert stands"]
    return Answer({"alerts": [each.model_dump() for each in found]}, lines)


@guard.command("channel")
@click.argument("name", required=False, default="")
@click.option("--slack", metavar="URL", default="", help="an incoming webhook of Slack or Mattermost; env:NAME reads it from a variable")
@click.option("--webhook", metavar="URL", default="", help="where the alert is posted as JSON")
@click.option("--mail", metavar="URL", default="", help="smtp://USER:PASSWORD@HOST or smtps://...; env:NAME reads it from a variable")
@click.option("--from", "sender", metavar="ADDRESS", default="", help="with --mail: who writes")
@click.option("--to", "receivers", metavar="ADDRESS", multiple=True, help="with --mail: who reads; repeat it")
@common
@click.pass_obj
def channel(session: Session, name: str, *, slack: str, webhook: str, mail: str, sender: str, receivers: tuple[str, ...]) -> Answer:
    """List the channels that alerts go to, or keep one under NAME."""
    given = [(kind, text) for kind, text in (("slack", slack), ("webhook", webhook), ("mail", mail)) if text]
    if not name and not given:
        found = verbs.channels(session.home)
        return Answer({"channels": found}, [f"{each['name']}   {each['kind']}" for each in found] or ["no channel is kept"])
    if len(given) != 1 or not name:
        raise InputError("OMG-X001", "a channel has a name and one address", advice="omega guard channel --help")
    kind, text = given[0]
    asyncio.run(verbs.arrange_channel(session.home, name, verbs.address(kind, text, sender, receivers)))
    return Answer({"name": name, "kind": kind}, [f"kept   {name}   {kind}", f"do  omega call guard.sweep --input channels={name}"])


def _spoken(orders: Orders) -> str:
    """What the guard may do, in a line."""
    may = [f"redrives up to {orders.redrive} times"] if orders.redrive else []
    may += ["puts agents into quarantine"] if orders.isolate else []
    may += ["pauses schedules and queues"] if orders.pause else []
    return f"by itself the guard {', '.join(may)}" if may else "the guard advises, and does nothing by itself"


def _seconds(text: str) -> float:
    return float(read_duration(text) or 0) if text else 0.0
