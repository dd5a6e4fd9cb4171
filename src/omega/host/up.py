"""`omega up`: the engine and its entrances in one process on one port, from the first request to the last.

    open       become the engine of the folder (OMG-S001 while another is), go on with what an earlier process left running
    serve      listen; work off queues and fire schedules beside it, where targets were put up
    drain      told to stop: take no new connections, refuse new requests, let what is inside end within a bound, tell streams to go
    close      what still runs then is left as it is recorded: the next start goes on with it

On a database that several processes share, each may have a role:

    all        everything in one
    gateway    the entrances; the flows that were put up are lined up for workers, and the answer waits for what becomes of them
    worker     the queues, and nothing at the port but health (`omega.host.backstage`)

Any number of each, and nothing sticks to one: what one of them began, any other can be asked about. A gateway does not survive the loss of
its database: the process ends, and whoever supervises it starts it anew; a worker opens it again.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omega.host.embedded import Omega, Tuning
from omega.host.serving import Service, Stop, work
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.workload import credentials, told
from omega.kernel.errors import InputError, lacking

if TYPE_CHECKING:
    from omega.adapters.certificates import Credentials
    from omega.gateway.front.door import Door
    from omega.host.between import Between

PORT = 9405
HOST = "127.0.0.1"
ALL, GATEWAY, WORKER = "all", "gateway", "worker"
ROLES = (ALL, GATEWAY, WORKER)
"""What a process does."""

LEASE_S = 10.0
"""For how long (seconds) what runs here is left alone by others without a sign of life: what losing this process costs those who wait."""

DRAIN_S = 30.0
"""How long (seconds) what is inside may go on once the process was told to stop."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names that this machine has for itself."""

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with what was asked for
_DRAIN_LOOK_S = 0.05

Tell = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the house is opened to the network.

    `names` are hosts that it answers for besides its own address, `origins` web pages that may call it, `proxies` addresses whose
    `X-Forwarded-*` headers are believed. `certificate` and `key` are PEM files and make it HTTPS; with `authorities` (a PEM file) clients
    may show certificates that one of them signed. `mutual` (`ask`, `demand`) makes it HTTPS with this installation's own certificate,
    renewed as it goes, and asks clients for one of the same authority or demands it. `queues` are worked off with the flows that `targets`
    name. `role` is one of `ROLES`; after `lease_s` seconds without a sign of life others go on with what runs here.
    """

    host: str = HOST
    port: int = PORT
    targets: Sequence[Target] = ()
    queues: Sequence[str] = ("default",)
    at_once: int = 64
    names: Sequence[str] = ()
    origins: Sequence[str] = ()
    proxies: Sequence[str] = ()
    certificate: str = ""
    key: str = field(default="", repr=False)
    authorities: str = ""
    mutual: str = ""
    drain_s: float = DRAIN_S
    role: str = ALL
    lease_s: float = LEASE_S

    @property
    def service(self) -> Service:
        """What it works off."""
        return Service(targets=self.targets, queues=self.queues, at_once=self.at_once, lease_s=self.lease_s, drain_s=self.drain_s)

    @property
    def tuning(self) -> Tuning:
        """How its engine is opened."""
        return Tuning(works=True, lease_us=int(self.lease_s * 1_000_000))

    @property
    def hosts(self) -> frozenset[str]:
        """The names that it answers for: this machine's own where it listens on them, and those that were given."""
        bare = self.host.strip("[]").lower()
        own = f"[{bare}]" if ":" in bare else bare
        local = bare in EVERYWHERE or own in LOOPBACK
        return frozenset({own, *(LOOPBACK if local else ()), *(name.lower() for name in self.names)})


async def up(home: str | os.PathLike[str] | None, opening: Opening, tell: Tell, stop: Stop) -> None:
    """Serve until `stop` says so. Raises what opening the folder raises, and InputError (OMG-X001) for an address that cannot be had, and
    for a role that needs a database."""
    _demand_role(home, opening)
    from omega.gateway.front.door import Door, Manners

    try:
        import websockets  # noqa: F401 - uvicorn would answer without it, and refuse every WebSocket

        from omega.gateway.front.server import Listener, Place
    except ImportError as error:
        raise lacking(str(error.name)) from error
    from omega.host.backstage import work_behind
    from omega.host.house import House, entrances, put_up
    from omega.host.whereabouts import noted

    held = credentials(Settings.load(home), "gateway", hosts=(opening.host.strip("[]"), *opening.names)) if opening.mutual else None
    tls = _tls(opening) if held is None else held.server(demand=opening.mutual == "demand")
    place = Place(host=opening.host, port=opening.port, proxies=tuple(opening.proxies), tls=tls)
    if opening.role == WORKER:
        await work_behind(home, opening.service, place, opening.hosts, tell, stop)
        return
    async with _opened(home, opening.tuning) as (omega, ours):
        house = House(omega, await put_up(omega, opening.targets), ours=ours, queue=opening.queues[0] if opening.role == GATEWAY else "")
        manners = Manners(hosts=opening.hosts, origins=frozenset(opening.origins))
        door = Door(entrances(house), manners, ready=house.ready, prefix=f"req_{omega.world.entropy.take(5).hex()}_")
        listener = Listener(door, place)
        await listener.start()
        working = asyncio.create_task(_working(omega, opening, tell, stop))
        beside = [asyncio.create_task(each) for each in (_following(held, tls, listener.url, tell), house.together(opening.lease_s))]
        try:
            recovered = await house.recover()
            link = f"{listener.url}/sign-in?code={house.sign_in_code()}"
            facts = {"url": listener.url, "sign_in": link, "store": omega.settings.place, "pid": os.getpid(), "recovered": recovered}
            with noted(omega.settings.home, listener.url):
                tell("up", facts)
                await _first(stop, listener.ended, working)
            listener.close()
            tell("draining", {"for": f"at most {opening.drain_s:g} s", "inside": door.inside, "running": omega.engine.running})
            await _drained(door, omega, opening.drain_s, stop)
        finally:
            stop.now()
            for each in beside:
                each.cancel()
            await asyncio.gather(working, *beside, return_exceptions=True)  # what ended them early has been raised above
            await listener.stop()


@asynccontextmanager
async def _opened(home: str | os.PathLike[str] | None, tuning: Tuning) -> AsyncIterator[tuple[Omega, Between | None]]:
    """The engine, and the way to other processes, with what goes on beside the entrances: webhooks and notices go out, this process says
    that it is there, and shows others what runs here."""
    from omega.host.a2a_telling import telling
    from omega.host.hooking import delivering
    from omega.host.nodes import announced
    from omega.host.showing import shown

    opening = Omega.open(home, tuning=tuning)
    async with opening as omega, delivering(omega), telling(omega), announced(omega, ("gateway",)), shown(omega) as ours:
        yield omega, ours


async def _following(held: Credentials | None, tls: ssl.SSLContext | None, url: str, tell: Tell) -> None:
    """Tell what the listener does in TLS, seen in a handshake, and keep its certificate fresh."""
    if held is None or tls is None:
        return
    tell("tls", told(url, held.look_at(tls)))
    await held.follow(lambda error: tell("tls", {"address": url, "code": error.code, "error": error.cause}))


async def _first(stop: Stop, *tasks: asyncio.Task[None] | None) -> None:
    """Until it is told to stop, or one of `tasks` ends. Raises what that one raised."""
    asked = asyncio.create_task(stop.wait())
    waited = {asked, *(task for task in tasks if task is not None)}
    try:
        done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
    for task in done - {asked}:
        task.result()


async def _drained(door: Door, omega: Omega, within_s: float, stop: Stop) -> None:
    """Nobody inside and nothing running any more, or the time is over, or it is told to stop at once."""
    leaving = asyncio.create_task(door.drain(within_s))
    now = asyncio.create_task(stop.wait_now())
    try:
        await asyncio.wait({leaving, now}, return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while omega.engine.running and not stop.at_once:  # noqa: ASYNC110 - the engine tells whoever takes up work, and nobody else
                    await asyncio.sleep(_DRAIN_LOOK_S)
    finally:
        leaving.cancel()
        now.cancel()
        await asyncio.gather(leaving, now, return_exceptions=True)


async def _working(omega: Omega, opening: Opening, tell: Tell, stop: Stop) -> None:
    """Work off the queues, where there is something to serve; else wait to be stopped."""
    if not opening.targets or opening.role == GATEWAY:
        await stop.wait()
        return
    await work(omega, opening.service, tell, stop)


def _demand_role(home: str | os.PathLike[str] | None, opening: Opening) -> None:
    """Raises InputError (OMG-X001) for a role that nobody has, or that cannot be had here."""
    if opening.role not in ROLES:
        raise InputError("OMG-X001", f"{opening.role[:40]!r} is no role", advice=f"choose one of {', '.join(ROLES)}")
    if opening.role == GATEWAY and not Settings.load(home).store.shared:
        cause = "a folder has one process: a gateway by itself needs a database that its workers share"
        raise InputError("OMG-X001", cause, advice="set OMEGA_STORE, or leave --role out")
    if opening.role == WORKER and not opening.targets:
        raise InputError("OMG-X001", "a worker serves flows, and none are named", advice="omega up --role worker FILE")


def _tls(opening: Opening) -> ssl.SSLContext | None:
    """The TLS side of the listener (TLS 1.2 at least); client certificates are asked for where authorities are named.

    Raises InputError (OMG-X001) for files that are none.
    """
    if not opening.certificate:
        if opening.key or opening.authorities:
            raise InputError("OMG-X001", "a key or client authorities without a certificate serve nothing", advice="add --certificate FILE")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(opening.certificate, opening.key or None)
        if opening.authorities:
            context.load_verify_locations(cafile=opening.authorities)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        named = Path(opening.certificate).name
        raise InputError(
            "OMG-X001", f"the certificate {named}, its key or its authorities cannot be used: {type(error).__name__}"
        ) from error
    return context
