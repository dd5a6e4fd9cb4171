"""Commands about the past and the versions of a flow: `fork` an execution, `migrate` what stands still to another version."""

from __future__ import annotations

import asyncio

import click

from omega.cli.bulk import asked
from omega.cli.commands import about_execution, common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, paint, plain, table
from omega.host.embedded import Omega
from omega.host.inputs import read_value
from omega.host.migrating import carry_over, planned
from omega.host.reading import Archive
from omega.host.searching import read_label
from omega.host.targets import load_target
from omega.kernel.errors import InputError
from omega.runtime.migration import REFUSED
from omega.runtime.recovery import load


@click.command()
@about_execution
@click.option("--at", "step", metavar="STEP", required=True, help="the step before which the fork leaves, as `omega show` prints it")
@click.option("--value", metavar="VALUE", help="the result that the step has in the fork (JSON, else a text): it is not done again")
@click.option("--id", "name", default="", metavar="ID", help="the id of the fork, else a new one")
@click.option("--target", metavar="TARGET", help="where the flow is now, if its file was moved")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="a label to find it by; may be repeated")
@common
@click.pass_obj
def fork(
    session: Session, /, execution: str, *, step: str, value: str | None, name: str, target: str | None, labels: tuple[str, ...]
) -> Answer:
    """Fork an execution: another one with the same past up to a step, and a future of its own."""
    with Archive.open(session.home) as archive:
        _, _, record = load(archive.world, execution)
        line = archive.reader.line(execution)
    found = load_target(_place(execution, target or record.target))
    given = {} if value is None else {"value": read_value(value)}

    async def work() -> str:
        async with Omega.open(session.home) as omega:
            labelled = dict(read_label(text) for text in labels)
            return await omega.fork(execution, found, at=step, name=name, labels=labelled, **given)

    made = asyncio.run(work())
    queue = line.queue if line is not None else ""
    what = "a worker goes on with it" if queue else f"do  omega resume {made}"
    document = {"execution": made, "origin": execution, "step": step, "queue": queue, "status": "queued" if queue else "waiting"}
    return Answer(document, [f"{paint('forked')}   {made}   from {execution} before {plain(step)}", what])


@click.command()
@click.argument("flow")
@click.option("--to", "target", metavar="TARGET", required=True, help="the version to go on with")
@click.option("--plan", "planning", is_flag=True, help="say what would become of each, and change nothing")
@click.option("--yes", is_flag=True, help="do not ask")
@common
@click.pass_obj
def migrate(session: Session, /, flow: str, *, target: str, planning: bool, yes: bool) -> Answer:
    """Carry executions of FLOW that stand still over to another version of it. By themselves they end on the version they began with."""
    loaded = load_target(target)
    with Archive.open(session.home) as archive:
        fates = asyncio.run(planned(archive, flow, loaded))
    lines = table(
        [[fate.line.execution, fate.line.version, fate.verdict, count(fate.steps, "step"), fate.reason] for fate in fates], indent=""
    )
    movable = [fate.line for fate in fates if fate.verdict != REFUSED]
    document = {"flow": flow, "version": loaded.flow.version, "planned": [fate.record() for fate in fates], "carried": []}
    if planning or not movable:
        return Answer(document, lines or [f"nothing of {flow} stands still on another version"])
    if not yes and (session.json or not asked(lines, f"carry {count(len(movable), 'execution')} over to {loaded.flow.version}?")):
        return Answer(document, ["nothing was done"], Exit.USAGE)
    done = asyncio.run(carry_over(session.home, loaded, movable))
    failed = [fate for fate in done if fate.verdict == REFUSED]
    document["carried"] = [fate.record() for fate in done]
    told = [f"{fate.line.execution}   {plain(fate.reason)}" for fate in failed]
    said = f"carried over {len(done) - len(failed)} of {len(fates)} to {loaded.flow.name} {loaded.flow.version}"
    alone = next((fate.line.execution for fate in done if fate.verdict != REFUSED and not fate.line.queue), "")
    how = [f"do  omega resume {alone} --target {target}"] if alone else []
    return Answer(document, [*told, said, *how], Exit.FAILED if failed else Exit.DONE)


def _place(execution: str, target: str) -> str:
    if not target:
        advice = f"say where its flow is: omega fork {execution} --at STEP --target FILE:FLOW"
        raise InputError("OMG-I002", f"{execution} was not started from a target", advice=advice)
    return target
