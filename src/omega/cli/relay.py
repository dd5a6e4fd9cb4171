"""`omega relay`: tell a message bus what happens here, as it happens."""

from __future__ import annotations

import asyncio
import signal

import click

from omega.cli.commands import common
from omega.cli.output import Answer, Session, count, paint, say
from omega.contracts.events import Interest
from omega.host.hooking import feed_of
from omega.host.reading import Archive
from omega.host.relay import Relay, open_bus


@click.command()
@click.argument("address", metavar="nats://HOST:PORT")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="area:verb or area:*; may be repeated (default: all)")
@click.option("--about", "keys", multiple=True, metavar="KEY", help="about this execution, node, ... alone; may be repeated")
@click.option("--credentials", default="", metavar="FILE", help="a credentials file of NATS")
@common
@click.pass_obj
def relay(session: Session, address: str, types: tuple[str, ...], keys: tuple[str, ...], credentials: str) -> Answer:
    """Publish events of every tenant on NATS, from now on, until SIGTERM or Ctrl-C: topics omega.events.TENANT.AREA.VERB.

    It only reads, beside whatever works here. A bus loses messages: who must not lose one reads the feed, `omega events --after`.
    """
    interest = Interest(types=types, keys=keys)
    told = asyncio.run(_until_stopped(session, address, interest, credentials))
    document = {"event": "stopped", "told": told}
    return Answer(document, [f"{paint('stopped')}   {count(told, 'event')} told"], compact=True)


async def _until_stopped(session: Session, address: str, interest: Interest, credentials: str) -> int:
    """Relay until a signal says to stop; gives how many events were told. Raises what opening the bus and reading the records raise."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    bus = await open_bus(address, credentials)
    try:
        with Archive.open(session.home) as archive:
            relaying = Relay(archive.reader, feed_of(archive), bus, interest)
            running, stopping = asyncio.create_task(relaying.run()), asyncio.create_task(stop.wait())
            _tell(session)
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (running, stopping):
                task.cancel()
            ended, _ = await asyncio.gather(running, stopping, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended
            return relaying.told
    finally:
        await bus.aclose()


def _tell(session: Session) -> None:
    """That it listens from now on: whoever starts it waits for this line."""
    if session.json:
        session.line('{"event": "relaying"}')
    else:
        say(f"{paint('relaying')}   omega.events.TENANT.AREA.VERB")
