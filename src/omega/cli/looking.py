"""Commands that look at what is recorded, beside a live engine or without one: `show`, `replay`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.commands import about_execution, anywhere, common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, ago, clip, count, error_lines, input_lines, money, paint, plain, seconds, table, value_lines
from omega.cli.tree import Node
from omega.host.account import account, moment_us
from omega.host.asking import note_look
from omega.host.inputs import fields_of
from omega.host.outlook import reason_of
from omega.host.reading import Archive
from omega.host.targets import load_target
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.runtime.recovery import load
from omega.runtime.replay import replay as repeat


@click.command()
@about_execution
@click.option("--values", is_flag=True, help="open what is sealed: input, results, the words of errors")
@anywhere
@click.pass_obj
def show(session: Session, execution: str, values: bool) -> Answer:
    """Show an execution step by step: status, effect, attempts, duration, cost, decision."""
    now, told = _account(session, execution, values=values)
    state = "interrupted" if told["interrupted"] else str(told["status"])
    head = f"{told['flow']} {told['version']}   {execution}   {paint(state)}   {told['principal']}   tenant {told['tenant']}"
    lines = [head, f"  started {ago(moment_us(told['started']), now)}   {_took(told)}{_times(told['resumed'])}".rstrip()]
    lines += _tree(told["steps"], values=values, open_state="" if Status(told["status"]).ended else state)
    spent = [money(told["cost_micros"]), count(told["calls"], "gated call")] + ([count(told["tokens"], "token")] if told["tokens"] else [])
    lines.append("  " + "   ".join(spent))
    if values:
        lines += [*_titled("input", told.get("input")), *_titled("value", told.get("value"))]
    lines += [f"  {told['reason']}"] if "reason" in told else []
    error = told["error"]
    if isinstance(error, Mapping):
        lines += (
            error_lines(error, execution)
            if values
            else [f"  {error['code']}  {error['title']}   (in full: omega show {execution} --values)"]
        )
    return Answer(told, [*lines, *_asked(told), *_next(execution, told)])


def _account(session: Session, execution: str, *, values: bool) -> tuple[int, dict[str, Any]]:
    """The time, and the account of an execution: of the records here, or of a remote installation."""
    if session.there is not None:
        from omega.cli import there

        return there.now_us(), there.show(session, session.there, execution, values=values)
    if values:
        note_look(session.home, execution)
    with Archive.open(session.home) as archive:
        told = account(archive, execution, values=values)
        line = archive.reader.line(execution)
        if line is not None and line.status == Status.DEAD:
            told["reason"] = reason_of(archive, line)
        return archive.world.clock.now_us(), told


@click.command()
@about_execution
@click.option("--target", metavar="TARGET", help="where the flow is now, if its file was moved")
@common
@click.pass_obj
def replay(session: Session, execution: str, target: str | None) -> Answer:
    """Repeat an execution from its journal, offline, and compare: nothing is touched, nothing is written."""
    with Archive.open(session.home) as archive:
        _, _, record = load(archive.world, execution)
        if not (target or record.target):
            raise InputError(
                "OMG-I002",
                f"{execution} was not started from a target",
                advice=f"say where its flow is: omega replay {execution} --target FILE",
            )
        flow = archive.catalogue.bound(load_target(target or record.target).flow)
        report = asyncio.run(repeat(archive.world, execution, flow))
    document = {
        "execution": execution,
        "identical": report.identical,
        "status": report.status,
        "steps": report.steps,
        "run_again": report.again,
        "recalled": report.recalled,
        "error": report.divergence,
    }
    if report.divergence is None:
        said = f"{count(report.steps, 'step')}   {report.again} run again   {report.recalled} recalled   nothing touched"
        return Answer(document, [f"{paint('identical')}   {execution}   {said}"])
    lines = [f"{paint('differs')}   {execution}   after {count(report.steps, 'step')}", *error_lines(report.divergence, execution)]
    return Answer(document, lines, Exit.FAILED)


def _tree(steps: list[dict[str, Any]], *, values: bool, open_state: str) -> list[str]:
    """The steps; one that calls others and has not ended is in the state of the whole, `open_state`."""
    root = Node("")
    for step in steps:
        root.put(step["step"], _cells(step, values=values))
    if open_state:
        root.fill(("", open_state, "", ""))
    rows = [[label, *cells] for label, cells in root.lines()]
    return table(rows, right=(3,))


def _cells(step: Mapping[str, Any], *, values: bool) -> list[str]:
    if "record" in step:
        return [step["record"], step.get("status", ""), "", step["said"]]
    attempts = step["attempts"]
    took = seconds(step["took_s"]) if step["took_s"] or step["status"] in ("done", "failed") else ""
    said = [f"{attempts} attempts"] if attempts > 1 else []
    said += [money(step["cost_micros"])] if step["cost_micros"] else []
    decision = step["decision"]
    if decision:
        said.append(f"{decision['decision']} by {', '.join(decision['policies'])}")
    said += [f"approved by {', '.join(step['approved_by'])}"] if step["approved_by"] else []
    said += [clip(plain(step["asks"]["message"]))] if step.get("asks", {}).get("message") else []
    if step["error"] and step["status"] != "done":
        error = step["error"]
        said.append(f"{error['code']} {error.get('cause') or error['title']}" if isinstance(error, Mapping) else str(error))
    if values and "value" in step:
        said.append(clip(plain(str(step["value"]))))
    return [step.get("effect", ""), step["status"], took, "   ".join(said)]


def _took(told: Mapping[str, Any]) -> str:
    """How long it took, once it has ended."""
    return f"took {seconds(told['took_s'])}" if Status(told["status"]).ended else ""


def _titled(title: str, value: Any) -> list[str]:
    return [f"  {title}", *(f"    {line}" for line in value_lines(value))] if value is not None else []


def _times(resumed: int) -> str:
    return "" if not resumed else f"   resumed {resumed} {'time' if resumed == 1 else 'times'}"


def _asked(told: Mapping[str, Any]) -> list[str]:
    """The fields of the form that is waited for."""
    if told["status"] != Status.WAITING or told["cancelled"]:
        return []
    schemas = [step["asks"].get("schema") or {} for step in told["steps"] if step.get("status") == "waiting" and "asks" in step]
    found = input_lines(fields_of(schemas[0])) if schemas else []
    return ["  asks for", *(f"  {line}" for line in found)] if found else []


def _next(execution: str, told: Mapping[str, Any]) -> list[str]:
    """What a person can do about an execution that stands still."""
    if told["status"] == Status.WAITING and told["cancelled"]:
        return [f"do  omega resume {execution}"]  # its sagas are undone then; nobody is asked any more
    steps = {step["status"]: step["step"] for step in reversed(told["steps"]) if "status" in step and "record" not in step}
    if told["status"] == Status.WAITING and "waiting" in steps:
        asks = next((step["asks"] for step in told["steps"] if step.get("status") == "waiting" and "asks" in step), {"kind": "approval"})
        verb = {"form": "answer", "signal": "signal"}.get(asks["kind"], "approve")
        return [f"do  omega {verb} {execution} {asks['signal'] + ' VALUE' if verb == 'signal' else steps['waiting']}"]
    if "in doubt" in steps and told["status"] != Status.CANCELLED:
        return [f"do  omega resolve {execution} {steps['in doubt']} --done VALUE | --not-done"]
    if told["status"] == Status.DEAD:
        return [f"do  omega redrive {execution}"]
    if told["interrupted"] or told["status"] in (Status.WAITING, Status.IN_DOUBT):
        return [f"do  omega resume {execution}"]
    return []
