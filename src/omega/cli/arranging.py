"""Commands by which an operator arranges: `queue`, `retain`. Each change is a gated act with a leaf of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, ago, fields, seconds, table
from omega.host.arrangements import arranged
from omega.host.asking import ask, forget, keep
from omega.host.inputs import read_duration
from omega.host.queues import QUEUE, Depth, Queue, arranged_queues, depths, queue_name, read_rate, spoken_rate
from omega.host.reading import Archive
from omega.host.retention import RETENTION, retentions
from omega.host.retiring import retire
from omega.host.settings import TENANT
from omega.kernel.errors import InputError
from omega.kernel.queueing import Limits

UNLIMITED = "no limits"
DAY_S = 86_400


class Limit(click.ParamType[int]):
    """A whole number from 1, or the word `none`, which lifts the limit."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; 0 stands for none."""
        if value == "none":
            return 0
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is neither a whole number from 1 nor none", param, ctx)
        return number


@click.group()
def queue() -> None:
    """List, limit, pause and resume queues."""


@queue.command("list")
@common
@click.pass_obj
def list_queues(session: Session) -> Answer:
    """List the queues: what waits in each, what runs, since when the oldest has been due, which limits hold."""
    with Archive.open(session.home) as archive:
        known = arranged_queues(archive.reader)
        found = depths(archive.reader, known)
        now = archive.world.clock.now_us()
    rows = [_row(depth, known.get(name) or Queue(name), now) for name, depth in found.items()]
    documents = [_document(depth, known.get(name) or Queue(name), now) for name, depth in found.items()]
    lines = table(rows, indent="") or ["there is nothing in any queue, and none is arranged"]
    if any(depth.more for depth in found.values()):
        lines.append("there is more than is counted here")
    return Answer({"queues": documents}, lines)


@queue.command("show")
@click.argument("name")
@common
@click.pass_obj
def show_queue(session: Session, name: str) -> Answer:
    """Show one queue: its depth and its limits."""
    with Archive.open(session.home) as archive:
        known = arranged_queues(archive.reader).get(queue_name(name)) or Queue(name)
        depth = depths(archive.reader, (name,))[name]
        now = archive.world.clock.now_us()
    said = [(word, str(value)) for word, value in known.limits.record().items() if value is not None and word not in ("rate", "per_s")]
    said.append(("rate", spoken_rate(known.limits)))
    counts = [("queued", str(depth.queued)), ("running", str(depth.running)), ("waiting", str(depth.waiting)), ("dead", str(depth.dead))]
    oldest = ago(depth.oldest_us, now) if depth.oldest_us and depth.oldest_us < now else ""
    lines = [f"{name}{'   paused' if known.paused else ''}", *fields([*counts, ("oldest due", oldest), *said])]
    return Answer(_document(depth, known, now), lines)


@queue.command("set")
@click.argument("name")
@click.option("--at-once", type=Limit(), help="executions at the same time, over all workers")
@click.option("--per-key", type=Limit(), help="at the same time per partition key")
@click.option("--per-tenant", type=Limit(), help="at the same time per tenant")
@click.option("--rate", metavar="N/TIME", help='begun per time: "10/s", "100/min", "5/10s"; "none" lifts it')
@common
@click.pass_obj
def set_queue(session: Session, /, name: str, rate: str | None, **limits: int | None) -> Answer:
    """Set limits of a queue; those that are not named stay as they are."""
    changed: dict[str, Any] = {word: value or None for word, value in limits.items() if value is not None}
    changed |= {} if rate is None else read_rate(rate)
    if not changed:
        raise InputError("OMG-X001", "say which limit", advice="omega queue set --help")
    found = _known(session, name).with_limits(changed)
    return _kept(session, found, _limits(found.limits))


@queue.command("pause")
@click.argument("name")
@common
@click.pass_obj
def pause_queue(session: Session, name: str) -> Answer:
    """Have workers take nothing more from a queue; what runs goes on, and more may line up."""
    known = _known(session, name)
    return _kept(session, Queue(name, known.limits, paused=True), "paused")


@queue.command("resume")
@click.argument("name")
@common
@click.pass_obj
def resume_queue(session: Session, name: str) -> Answer:
    """Have workers take from a queue again."""
    known = _known(session, name)
    return _kept(session, Queue(name, known.limits), "resumed")


@queue.command("remove")
@click.argument("name")
@common
@click.pass_obj
def remove_queue(session: Session, name: str) -> Answer:
    """Forget what was arranged about a queue: it has no limits then. What is in it stays."""
    asyncio.run(forget(session.home, QUEUE, queue_name(name)))
    return Answer({"queue": name, "removed": True}, [f"{name}   {UNLIMITED} any more"])


@click.command()
@click.option("--after", metavar="TIME", help='"30d", "12h": payloads of what ended are destroyed then; digests and leaves stay')
@click.option("--forever", is_flag=True, help="destroy nothing")
@click.option(
    "--drop", metavar="TIME", help='"90d": drop, now, whole parts of the journal on PostgreSQL in which everything ended so long ago'
)
@click.option("--tenant", metavar="NAME", default=TENANT, show_default=True, help="of whom")
@common
@click.pass_obj
def retain(session: Session, after: str | None, forever: bool, drop: str | None, tenant: str) -> Answer:
    """Say how long payloads are kept, or show it. Workers carry it out."""
    if sum((after is not None, forever, drop is not None)) > 1:
        raise InputError("OMG-X001", "say one of --after TIME, --forever and --drop TIME", advice="omega retain --help")
    if drop is not None:
        done = asyncio.run(ask(session.home, retire, _days(drop)))
        return Answer(done, [f"{done['gone']:,} executions are gone, with their keys; their leaves stay"])
    if after is not None:
        after_s = _days(after)
        asyncio.run(keep(session.home, RETENTION, tenant, {"after_s": after_s}))
        return Answer({"tenant": tenant, "after_s": after_s}, [f"{tenant}   payloads are destroyed {_span(after_s)} after the end"])
    if forever:
        asyncio.run(forget(session.home, RETENTION, tenant))
        return Answer({"tenant": tenant, "after_s": None}, [f"{tenant}   payloads are kept for ever"])
    with Archive.open(session.home) as archive:
        rules = retentions(archive.reader)
    rows = [[rule.tenant, f"payloads are destroyed {_span(rule.after_s)} after the end"] for rule in rules]
    found = [{"tenant": rule.tenant, "after_s": rule.after_s} for rule in rules]
    return Answer({"retention": found}, table(rows, indent="") or ["payloads are kept for ever"])


def _known(session: Session, name: str) -> Queue:
    """What is arranged about a queue so far; one that nobody arranged has no limits."""
    from omega.kernel.errors import StorageError

    queue_name(name)
    try:
        with Archive.open(session.home) as archive:
            body = arranged(archive.reader, QUEUE, name)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        body = None  # nothing is recorded yet: this is the first act
    return Queue(name) if body is None else Queue.read(name, body)


def _kept(session: Session, found: Queue, said: str) -> Answer:
    asyncio.run(keep(session.home, QUEUE, found.name, found.record()))
    return Answer({"queue": found.name, **found.record()}, [f"{found.name}   {said}"])


def _row(depth: Depth, known: Queue, now: int) -> list[str]:
    oldest = f"oldest {ago(depth.oldest_us, now)}" if depth.oldest_us and depth.oldest_us < now else ""
    counts = [f"{depth.queued} queued", f"{depth.running} running", f"{depth.waiting} waiting", f"{depth.dead} dead"]
    return [depth.name, *counts, oldest, "paused" if known.paused else "", _limits(known.limits)]


def _document(depth: Depth, known: Queue, now: int) -> dict[str, Any]:
    counts = {word: getattr(depth, word) for word in ("queued", "running", "waiting", "dead")}
    oldest_s = max(0.0, (now - depth.oldest_us) / 1_000_000) if depth.oldest_us else 0.0
    return {"queue": depth.name, **counts, "oldest_s": round(oldest_s, 3), **known.record()}


def _limits(limits: Limits) -> str:
    said = [f"{value} {word}" for word, value in zip(_WORDS, (limits.at_once, limits.per_key, limits.per_tenant), strict=True) if value]
    return ", ".join([*said, *filter(None, [spoken_rate(limits)])]) or UNLIMITED


_WORDS = ("at once", "per key", "per tenant")


def _days(text: str) -> float:
    """Seconds from "30d", or any other duration. Raises InputError (OMG-X001)."""
    days = text.strip().removesuffix("d")
    if text.strip().endswith("d") and days.isdigit() and len(days) < 6:
        return float(days) * DAY_S
    return read_duration(text) or 0.0


def _span(after_s: float) -> str:
    days = after_s / DAY_S
    return f"{days:.0f} days" if days >= 2 and days.is_integer() else seconds(after_s)
