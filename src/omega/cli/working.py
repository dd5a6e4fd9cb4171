"""`omega worker`: serve flows from queues until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Mapping
from typing import Any

import click

from omega.cli.collecting import settled
from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, count, paint, plain, say, seconds
from omega.host.inputs import read_duration
from omega.host.queues import queue_name
from omega.host.serving import Service, Stop, serve
from omega.host.targets import served_targets
from omega.kernel.errors import InputError
from omega.kernel.queueing import DEFAULT
from omega.runtime.supervision import Restart

MAX_AT_ONCE = 10_000
SHORTEST_LEASE_S = 0.5
MAX_TRIES = 1_000
WIDTH = 9
"""Characters of the longest event that is told often."""


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--queue", "queues", multiple=True, metavar="NAME", default=(DEFAULT,), show_default=True, help="may be repeated")
@click.option("--at-once", type=click.IntRange(1, MAX_AT_ONCE), default=10, show_default=True, help="executions at the same time")
@click.option("--lease", default="30s", show_default=True, metavar="TIME", help="after this long without a sign of life others take over")
@click.option("--drain", default="30s", show_default=True, metavar="TIME", help="once told to stop, let what runs go on for so long")
@click.option("--sweep", default="1s", show_default=True, metavar="TIME", help="how often to look without having been hinted")
@click.option("--wakeups", metavar="ADDRESS", help="where hints travel: nats://HOST:PORT (else the store's own)")
@click.option(
    "--tries",
    type=click.IntRange(1, MAX_TRIES),
    default=Restart().max_tries,
    show_default=True,
    help="give up what was taken up so often in a row without getting on",
)
@click.option("--until-idle", is_flag=True, help="stop by itself once nothing is due any more")
@common
@click.pass_obj
def worker(session: Session, /, targets: tuple[str, ...], queues: tuple[str, ...], **given: Any) -> Answer:
    """Work off queues with the flows that TARGETs name, until SIGTERM or Ctrl-C; a second one stops without waiting.

    Several workers share the queues of a PostgreSQL database (OMEGA_STORE); on SQLite the worker is the one engine of its folder.
    """
    service = Service(
        targets=tuple(each for text in targets for each in served_targets(text)),
        queues=tuple(dict.fromkeys(queue_name(name) for name in queues)),
        at_once=given["at_once"],
        lease_s=_time(given["lease"], "--lease", SHORTEST_LEASE_S),
        drain_s=_time(given["drain"], "--drain", 0.0),
        sweep_s=_time(given["sweep"], "--sweep", 0.01),
        wakeups=given["wakeups"] or "",
        until_idle=given["until_idle"],
        restart=Restart(max_tries=given["tries"]),
    )
    teller = Teller(session)
    began = time.monotonic()
    tally = asyncio.run(_until_stopped(session, service, teller))
    said = [f"{number} {word}" for word, number in sorted(tally.items())]
    document = {"event": "stopped", "ended": tally, "took_s": round(time.monotonic() - began, 3)}
    summary = "   ".join([paint("stopped"), *(said or ["nothing was taken up"]), seconds(time.monotonic() - began)])
    return Answer(document, [summary], Exit.DONE, compact=True)


class Teller:
    """Says what a worker does: a line for people as it happens, or one JSON document per line for programs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        """Tell one event with its facts."""
        if event == "serving":
            settled()
        if self._session.json:
            self._session.line(json.dumps({"event": event, **facts}, default=str))
            return
        words = [f"{value}" for name, value in facts.items() if name not in ("took_s", "at_once") and value not in ("", None)]
        took = [seconds(facts["took_s"])] if facts.get("took_s") is not None else []
        more = [f"{facts['at_once']} at once"] if "at_once" in facts else []
        say("   ".join([paint(event, WIDTH), *map(plain, words), *took, *more]))


async def _until_stopped(session: Session, service: Service, teller: Teller) -> dict[str, int]:
    """Serve until a signal says to drain and the drain is over; a second signal does not wait for it. How many ended how."""
    loop, stop = asyncio.get_running_loop(), Stop()

    def told() -> None:
        if stop.asked:
            stop.now()
        else:
            teller("draining", {"for": f"at most {service.drain_s:g} s; once more to stop at once"})
            stop.ask()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    return await serve(session.home, service, teller, stop)


def _time(text: str, option: str, least: float) -> float:
    found = 0.0 if text.strip() in ("0", "0s") else read_duration(text)
    if found is None or found < least:
        raise InputError("OMG-X001", f"{option} is at least {count(int(least), 'second') if least >= 1 else f'{least:g} s'}")
    return found
