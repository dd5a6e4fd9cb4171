"""Commands that run: `run`, `resume`, `call`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import click

from omega.cli.bulk import decide_many, many_options, one_or_many
from omega.cli.commands import anywhere, common
from omega.cli.contexts import place, remote_options
from omega.cli.ending import concrete, ended
from omega.cli.exits import Exit
from omega.cli.lining import line_up, placing_options, read_placing
from omega.cli.live import Screen, screen_for
from omega.cli.output import Answer, Session, count, input_lines, money, paint, plain, seconds, table
from omega.host.discover import offered
from omega.host.embedded import Omega
from omega.host.identity import Caller
from omega.host.inputs import input_fields, read_budget, read_duration, read_input
from omega.host.orders import Wanted
from omega.host.reading import Archive
from omega.host.targets import SERVICE, Target, load_target
from omega.kernel.budget import Budget
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.ports import Outcome
from omega.runtime.recovery import load, read_outcome
from omega.runtime.world import Moment

Work = Callable[[Omega], Awaitable[Outcome]]
OWNER = Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a run was asked for."""

    execution: str = ""
    caller: Caller = OWNER
    budget: Budget | None = None
    timeout_s: float | None = None


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--help-input", is_flag=True, help="say what the flow takes, and run nothing"),
        click.option("--timeout", metavar="TIME", help='longest time for the whole run: "30s", "5m", "1h"'),
        click.option("--budget", multiple=True, metavar="AMOUNT", help='ceiling: "1.00 USD", "5000 tokens", "20 calls"; may be repeated'),
        click.option("--grant", "grants", multiple=True, metavar="CAPABILITY", help="a capability the agent holds besides; with --as"),
        click.option("--group", "groups", multiple=True, metavar="NAME", help="a group that WHO belongs to; with --as"),
        click.option("--as", "principal", default="", metavar="WHO", help="act as agent:NAME or person:NAME instead of yourself"),
        click.option("--id", "execution", default="", metavar="ID", help="the id of the execution, else a new one"),
        click.option("--input-json", "whole", metavar="JSON", help="the whole input as JSON, or @FILE"),
        click.option("--input", "given", multiple=True, metavar="KEY=VALUE", help="a field of the input; may be repeated"),
    ):
        command = option(command)
    return anywhere(command)


@click.command()
@click.argument("target")
@placing_options
@_run_options
@click.pass_obj
def run(session: Session, /, target: str, help_input: bool, given: tuple[str, ...], whole: str | None, **options: Any) -> Answer:
    """Run a flow durably, through the gate; with --queue, line it up for the workers (`omega worker`).

    TARGET is a file (its `main`, or its only flow), a document (FILE.poml), FILE:FLOW, a folder with a flow.py, module:flow, the name of an
    example, or service:NAME.METHOD. Where a remote context is current, the name of a flow that is put up there is run there.
    """
    if session.there is not None:
        from omega.cli.remote import run_there

        found = run_there(session, session.there, target, given, whole, help_input=help_input, options=options)
        if found is not None:
            return found
    placing, wait = read_placing(options)
    loaded = load_target(target)
    if help_input:
        return _help_input(loaded)
    wish = _wish(**options)
    if placing is None:
        return _start(session, loaded, given, whole, wish)
    wanted = Wanted(
        target=loaded,
        input=_input(loaded, given, whole),
        execution=wish.execution,
        caller=wish.caller,
        budget=wish.budget,
        timeout_s=wish.timeout_s,
        placing=placing,
    )
    return line_up(session, wanted, wait=wait)


@click.command()
@click.argument("method", metavar="[SERVICE.METHOD]", required=False, default="")
@remote_options
@_run_options
@click.pass_obj
def call(session: Session, /, method: str, help_input: bool, given: tuple[str, ...], whole: str | None, **options: Any) -> Answer:
    """Call a method of an installed service: `omega run service:SERVICE.METHOD`. Without one, list what is installed.

    It is called at the remote installation that `omega context use`, OMEGA_CONTEXT or --context names, where there is one.
    """
    tenant, environment = str(options.pop("tenant")), str(options.pop("environment"))
    there = place(session, tenant=tenant, environment=environment) if tenant or environment else session.there
    if there is not None:
        from omega.cli.remote import call_there, services_there

        if not method:
            return services_there(session, there)
        return call_there(session, there, method, given, whole, help_input=help_input, options=options)
    if not method:
        return _services()
    loaded = load_target(f"{SERVICE}{method}")
    return _help_input(loaded) if help_input else _start(session, loaded, given, whole, _wish(**options))


@click.command()
@many_options
@click.option("--target", metavar="TARGET", help="where the flow is now, if its file was moved")
@common
@click.pass_obj
def resume(session: Session, execution: str, *, where: tuple[str, ...], yes: bool, target: str | None) -> Answer:
    """Go on with an execution from what is recorded of it, or with all that match --where. One that ended just tells its outcome."""
    if one_or_many(execution, where):
        return decide_many(session, "resume", where, yes=yes)
    return _resume(session, execution, target)


def _resume(session: Session, execution: str, target: str | None) -> Answer:
    with Archive.open(session.home) as archive:
        past, _, record = load(archive.world, execution)
        line = archive.reader.line(execution)
        before = read_outcome(archive.world, execution) if past.finished is not None else None
    if line is None or line.target != record.target:
        raise IntegrityError(
            "OMG-S005", f"the list says that {execution} runs {line and line.target!r}, its sealed record says {record.target!r}"
        )
    facts = {"flow": line.flow, "version": line.version, "target": record.target}
    if before is not None:
        return ended(before, facts, "ended before")
    if not (target or record.target):
        raise InputError(
            "OMG-I002",
            f"{execution} was not started from a target",
            advice=f"say where its flow is: omega resume {execution} --target FILE:FLOW",
        )
    loaded = load_target(target or record.target)
    done = sum(step.settled is not None for step in past.at.values())
    total = max(len(past.at), sum(1 for _ in loaded.flow.leaves()))

    def header(_: Moment) -> str:
        return _header(loaded, execution, line.tenant, _resumed(done, total))

    async def work(omega: Omega) -> Outcome:
        return await omega.resume(execution, loaded.flow, loaded.servers)

    return _drive(session, work, screen_for(header, quiet=session.json), facts, execution)


def _resumed(done: int, total: int) -> str:
    """How much is recorded; `total` is as far as it is known, because a function may yet call more."""
    steps = f"{done} of {count(total, 'step')}" if total > done else count(done, "step")
    return f"resumed: {steps} {'was' if done == 1 else 'were'} recorded; none of them runs again"


def _wish(
    *, execution: str, principal: str, groups: tuple[str, ...], grants: tuple[str, ...], budget: tuple[str, ...], timeout: str | None
) -> Wish:
    caller = Caller(principal, groups, grants)
    return Wish(execution=execution, caller=caller, budget=read_budget(budget), timeout_s=read_duration(timeout))


def _services() -> Answer:
    """What may be called, and what is installed and does not load."""
    found, broken = offered()
    rows = [[f"{each.service}.{each.method}", each.effect, each.summary] for each in found]
    lines = table(rows, indent="") or ["no service is installed"]
    for name, error in broken.items():
        lines += [f"{paint('fail')}   {name}   {error.code} {plain(error.cause)}", f"       do  {error.advice}"]
    document = {
        "methods": [{"service": each.service, "method": each.method, "effect": each.effect, "summary": each.summary} for each in found],
        "broken": [{"name": name, "error": error.record()} for name, error in broken.items()],
    }
    return Answer(document, lines)


def _start(session: Session, target: Target, given: tuple[str, ...], whole: str | None, wish: Wish) -> Answer:
    value = _input(target, given, whole)

    def header(moment: Moment) -> str:
        limits = wish.budget
        ceiling = f"budget {money(limits.cost_micros, limits.currency)}" if limits is not None and limits.cost_micros is not None else ""
        return _header(target, moment.execution, "local", ceiling)

    async def work(omega: Omega) -> Outcome:
        return await omega.run(
            target.flow,
            value,
            execution=wish.execution,
            target=target.text,
            servers=target.servers,
            principal=wish.caller,
            budget=wish.budget,
            timeout_s=wish.timeout_s,
        )

    facts = {"flow": target.flow.name, "version": target.flow.version, "target": target.text}
    return _drive(session, work, screen_for(header, quiet=session.json), facts, wish.execution)


def _input(target: Target, given: tuple[str, ...], whole: str | None) -> Any:
    """The input as it was typed; an error names the command that says what the flow takes."""
    try:
        return read_input(target.flow, given, whole)
    except InputError as error:
        error.advice = concrete(error.advice, target.text)
        raise


def _header(target: Target, execution: str, tenant: str, more: str) -> str:
    parts = (f"{target.flow.name} {target.flow.version}", execution, f"tenant {tenant}", more)
    return "   ".join(part for part in parts if part)


def _drive(session: Session, work: Work, screen: Screen, facts: dict[str, Any], execution: str) -> Answer:
    """Do `work` in an open engine, stopping it cleanly on Ctrl-C and SIGTERM."""
    with screen.running():
        outcome = asyncio.run(_until_stopped(session.home, work, screen))
    execution = screen.execution or execution
    if outcome is None:
        return _stopped(execution if screen.started else "", facts)
    return ended(outcome, facts, f"{count(screen.steps, 'step')}   {seconds(_since(screen))}", started=screen.started, execution=execution)


async def _until_stopped(home: str | None, work: Work, screen: Screen) -> Outcome | None:
    """The outcome of `work`; None when a signal stopped it. A second signal is not waited for."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with Omega.open(home, watch=screen.watch) as omega:
            return await work(omega)
    except asyncio.CancelledError:
        if not stopped:
            raise
        return None


def _since(screen: Screen) -> float:
    import time

    return time.monotonic() - screen.began


def _stopped(execution: str, facts: dict[str, Any]) -> Answer:
    document = {"execution": execution, **facts, "status": "interrupted", "value": None, "error": None}
    lines = ["", f"{paint('interrupted')}   everything recorded is kept", f"do            omega resume {execution}"]
    return Answer(document, lines if execution else ["interrupted before anything was recorded"], Exit.INTERRUPTED)


def _help_input(target: Target) -> Answer:
    flow = target.flow
    found = input_fields(flow)
    lines = [f"{flow.name} {flow.version}   takes {flow.input.name}   gives {flow.output.name}   {flow.effect.value}"]
    if flow.description:
        lines += [plain(flow.description.splitlines()[0])]
    lines += input_lines(found) or ["  no input"]
    return Answer({"flow": flow.name, "version": flow.version, "fields": found, "schema": flow.input.schema()}, lines)
