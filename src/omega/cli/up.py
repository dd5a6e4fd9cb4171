"""`omega up`: open this installation to the network, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from omega.cli.collecting import settled
from omega.cli.commands import common
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, paint, plain, say
from omega.host.inputs import read_duration
from omega.host.queues import queue_name
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import served_targets
from omega.host.up import ALL, HOST, LOOPBACK, PORT, ROLES, Opening
from omega.host.up import up as opened
from omega.kernel.errors import InputError
from omega.kernel.queueing import DEFAULT

MAX_PORT = 65_535
SHORTEST_LEASE_S = 0.5
WIDTH = 9
"""Characters of the longest word that a line begins with."""


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--host", default=HOST, show_default=True, help="the address to listen on")
@click.option("--port", type=click.IntRange(0, MAX_PORT), default=PORT, show_default=True, help="0: one that is free")
@click.option("--queue", "queues", multiple=True, metavar="NAME", default=(DEFAULT,), show_default=True, help="worked off with TARGETs")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="answer for this name too; may be repeated")
@click.option("--allow-origin", "origins", multiple=True, metavar="URL", help="let pages of this origin call; may be repeated")
@click.option("--trust-proxy", "proxies", multiple=True, metavar="ADDRESS", help="believe X-Forwarded-* of this address; may be repeated")
@click.option("--certificate", default="", metavar="FILE", help="serve HTTPS with this PEM file")
@click.option("--key", default="", metavar="FILE", help="the certificate's key, where it is a file of its own")
@click.option("--client-authorities", "authorities", default="", metavar="FILE", help="accept client certificates that these signed")
@click.option("--mutual-tls", "mutual", type=click.Choice(["ask", "demand"]), help="HTTPS with this installation's authority")
@click.option("--a2a-grpc", "a2a_grpc", type=click.IntRange(0, MAX_PORT), metavar="PORT", help="agents of others over gRPC; 0: a free one")
@click.option("--role", type=click.Choice(ROLES), default=ALL, show_default=True, help="on a database that several processes share")
@click.option("--lease", default="10s", show_default=True, metavar="TIME", help="after this long without a sign of life others go on")
@click.option("--drain", default="30s", show_default=True, metavar="TIME", help="once told to stop, let what is inside go on for so long")
@common
@click.pass_obj
def up(session: Session, /, targets: tuple[str, ...], queues: tuple[str, ...], drain: str, **given: Any) -> Answer:
    """Serve this installation over HTTP, until SIGTERM or Ctrl-C; a second one stops without waiting.

    TARGETs are flows that may be run from outside, and that queues are worked off with. Services and accepted tools are there without.
    With `--role gateway` TARGETs are lined up for processes of the role `worker`, which have no entrances.
    """
    lease_s = read_duration(given.pop("lease"))
    if lease_s is None or lease_s < SHORTEST_LEASE_S:
        raise InputError("OMG-X001", f"--lease is at least {SHORTEST_LEASE_S:g} s", advice="omega up --help")
    drain_s = 0.0 if drain.strip() in ("0", "0s") else read_duration(drain)
    if drain_s is None or any("://" not in origin or origin.endswith("/") for origin in given["origins"]):
        raise InputError("OMG-X001", "an origin is a scheme and a host: https://app.example", advice="omega up --help")
    opening = Opening(
        targets=tuple(each for text in targets for each in served_targets(text)),
        queues=tuple(dict.fromkeys(queue_name(name) for name in queues)),
        drain_s=drain_s,
        lease_s=lease_s,
        mutual=given.pop("mutual") or "",
        **given,
    )
    demand_mode(Settings.load(session.home), opening)
    logging.basicConfig(
        level=Settings.load(session.home).log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    teller = Teller(session)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(until_stopped(session, opening, teller))
    return Answer({"event": "stopped"}, [paint("stopped")], Exit.DONE, compact=True)


def demand_mode(settings: Settings, opening: Opening) -> None:
    """Raises InputError (OMG-X001) where production would be served in the clear."""
    here = f"[{opening.host}]" in LOOPBACK or opening.host.lower() in LOOPBACK
    if settings.mode == "production" and not (here or opening.certificate or opening.mutual or opening.proxies):
        advice = "add --certificate FILE, --mutual-tls ask, or --trust-proxy ADDRESS of the proxy that ends TLS"
        raise InputError("OMG-X001", f"in production nothing is served at {opening.host} without TLS", advice=advice)


class Teller:
    """Says what happens: lines for people, or one JSON document per line for programs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        """Tell one event with its facts."""
        if event == "up":
            settled()
        if self._session.json:
            self._session.line(json.dumps({"event": event, **facts}, default=str))
        elif event == "up":
            say(f"{paint('up', WIDTH)}{plain(facts['url'])}   {plain(facts['store'])}")
            if "sign_in" in facts:  # a worker has no entrances
                say(f"{paint('sign in', WIDTH)}{plain(facts['sign_in'])}")
                say(f"{paint('look', WIDTH)}{plain(facts['url'])}/api/docs")
            if "a2a_grpc" in facts:
                say(f"{paint('a2a', WIDTH)}gRPC at port {facts['a2a_grpc']}")
            for each in facts.get("listeners", ()):
                say(f"{paint('tls', WIDTH)}{plain(_listener(each))}")
            if facts.get("recovered"):
                say(f"{paint('resumed', WIDTH)}{facts['recovered']} that an earlier process left running")
        else:
            said = "   ".join(f"{name} {value}" for name, value in facts.items() if value not in ("", None))
            say(f"{paint(event, WIDTH)}{plain(said)}")


def _listener(seen: Mapping[str, Any]) -> str:
    """What a listener was seen to do in TLS, in words."""
    if not seen["tls"]:
        return f"none at {seen['address']}: what goes there is in the clear"
    group = seen["group"] or "key agreement not told by this Python"
    lasting = "post-quantum" if seen["post_quantum"] else "not post-quantum"
    ends = datetime.fromtimestamp(seen["ends_s"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{seen['tls']} {seen['cipher']} at {seen['address']}, {group} ({lasting}), certificate until {ends}"


def _loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed: half the time of a request is the loop's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


Serve = Callable[[Session, Opening, Teller, Stop], Awaitable[None]]


async def _installation(session: Session, opening: Opening, teller: Teller, stop: Stop) -> None:
    await opened(session.home, opening, teller, stop)


async def until_stopped(session: Session, opening: Opening, teller: Teller, serve: Serve = _installation) -> None:
    """Serve until the process is told to stop; a second signal stops without waiting."""
    loop, stop = asyncio.get_running_loop(), Stop()

    def told() -> None:
        if stop.asked:
            stop.now()
        else:
            stop.ask()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    await serve(session, opening, teller, stop)
