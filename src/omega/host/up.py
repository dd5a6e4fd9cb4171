"""`omega up`: the engine and its entrances in one process on one port, from the first request to the last.

    open       become the engine of the folder (OMG-S001 while another is), go on with what an earlier process left running
    serve      listen; work off queues and fire schedules beside it, where targets were put up
    drain      told to stop: take no new connections, refuse new requests, let what is inside end within a bound, tell streams to go
    close      what still runs then is left as it is recorded: the next start goes on with it

On a database that several processes share, each may have a role:

    all        everything in one
    gateway    the entrances; the flows that were put up are lined up for workers, and the answer waits for what becomes of them
    worker     the queues, and nothing at the port but health (`omega.host.backstage`)

Any number of each, and nothing sticks to one: what one of them began, any other can be asked about. A database that is lost is opened again
and again: until it is back the process says that it is not ready, refuses what comes, and goes on listening. A folder whose disk failed is
not: there the process ends.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omega.host.boot import reported
from omega.host.embedded import Omega, Tuning
from omega.host.guessing import MOST_A_MINUTE
from omega.host.serving import LOST, Service, Stop, backing_off, work
from omega.host.settings import Settings
from omega.host.storage import demand_not_lost
from omega.host.targets import Target
from omega.host.workload import credentials
from omega.kernel.errors import Denied, FlowError, InputError, StorageError, lacking

if TYPE_CHECKING:
    from omega.adapters.certificates import Credentials
    from omega.gateway.a2a.grpc_listener import GrpcListener
    from omega.gateway.front.door import Door
    from omega.gateway.front.server import Listener, Place
    from omega.host.between import Between
    from omega.host.house import House

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
LOST_STORE = "the database is lost, and opened again and again"
_DRAIN_LOOK_S = 0.05
_LOST_LOOK_S = 0.1

Tell = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the house is opened to the network.

    `names` are hosts that it answers for besides its own address, `origins` web pages that may call it, `proxies` addresses whose
    `X-Forwarded-*` headers are believed. `certificate` and `key` are PEM files and make it HTTPS; with `authorities` (a PEM file) clients
    may show certificates that one of them signed. `mutual` (`ask`, `demand`) makes it HTTPS with this installation's own certificate,
    renewed as it goes, and asks clients for one of the same authority or demands it. `queues` are worked off with the flows that `targets`
    name. `a2a_grpc` is a port for agents that speak gRPC (0: one that is free). `role` is one of `ROLES`; after `lease_s` seconds without
    a sign of life others go on with what runs here. After `refusals` wrong credentials in a minute an address is braked.
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
    a2a_grpc: int | None = None
    refusals: int = MOST_A_MINUTE

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
    try:
        import websockets  # noqa: F401 - uvicorn would answer without it, and refuse every WebSocket

        from omega.gateway.front.server import Place
    except ImportError as error:
        raise lacking(str(error.name)) from error
    from omega.host.backstage import work_behind

    held = credentials(Settings.load(home), "gateway", hosts=(opening.host.strip("[]"), *opening.names)) if opening.mutual else None
    tls = tls_of(opening) if held is None else held.server(demand=opening.mutual == "demand")
    place = Place(host=opening.host, port=opening.port, proxies=tuple(opening.proxies), tls=tls)
    if opening.role == WORKER:
        await work_behind(home, opening.service, place, opening.hosts, tell, stop, held=held)
        return
    entrance, waits = _Entrance(home, opening, place, held, tell, stop), backing_off()
    try:
        while not stop.asked:
            try:
                await entrance.serve()
                return
            except StorageError as error:
                if error.code not in LOST or entrance.listener is None or not Settings.load(home).store.shared:
                    raise
                if entrance.came_back:
                    waits = backing_off()
                wait_s = next(waits)
                tell("lost", {"code": error.code, "cause": error.cause, "again_s": round(wait_s, 2)})
                await stop.within(wait_s)
    finally:
        await entrance.aclose()


class _Entrance:
    """The door and the socket of a process, which stay where the database goes and comes: between two stretches on an open store health
    says that the process is not ready, and everything else is refused, to be asked again."""

    def __init__(
        self, home: str | os.PathLike[str] | None, opening: Opening, place: Place, held: Credentials | None, tell: Tell, stop: Stop
    ) -> None:
        self._home, self._opening, self._place, self._held = home, opening, place, held
        self._tell, self._stop = tell, stop
        self._door: Door | None = None
        self.listener: Listener | None = None
        self._grpc: GrpcListener | None = None
        self.came_back = False

    async def serve(self) -> None:
        """One stretch on an open store, up to a stop. Raises StorageError when the store is lost."""
        from omega.host.confirming import own_origins
        from omega.host.house import House, put_up

        self.came_back = False
        opening = self._opening
        async with _opened(self._home, opening.tuning) as (omega, ours):
            queue = opening.queues[0] if opening.role == GATEWAY else ""
            house = House(omega, await put_up(omega, opening.targets), ours=ours, queue=queue)
            house.guesses.most = opening.refusals
            door, listener = await self._lead(omega, house)
            house.origins = own_origins(listener.url, opening.hosts, opening.names if opening.proxies else ())
            ahead = [asyncio.create_task(_working(omega, opening, self._tell, self._stop)), asyncio.create_task(_losing(omega))]
            following = _following(self._held, listener.url, self._tell)
            telling = omega.chores.keep("refused credentials", house.tell_refused)
            beside = [asyncio.create_task(each) for each in (following, telling, house.together(opening.lease_s))]
            lost = False
            try:
                await self._serve(omega, house, listener, ahead)
                listener.close()
                running = omega.engine.running
                self._tell("draining", {"for": f"at most {opening.drain_s:g} s", "inside": door.inside, "running": running})
                await _drained(door, omega, opening.drain_s, self._stop)
                with suppress(Denied, FlowError):  # what cannot be told any more, because it is to stop at once, stops nothing
                    await house.tell_refused_until(math.inf)
            except StorageError:
                lost = True
                door.lose(LOST_STORE)
                await listener.interrupt()
                if self._grpc is not None:
                    await self._grpc.interrupt()
                ahead[0].cancel()
                raise
            finally:
                if not lost:
                    self._stop.now()
                for each in (ahead[1], *beside):
                    each.cancel()
                await asyncio.gather(*ahead, *beside, return_exceptions=True)  # what ended them early has been raised above

    async def aclose(self) -> None:
        """Stop listening."""
        if self._grpc is not None:
            await self._grpc.stop()
        if self.listener is not None:
            await self.listener.stop()

    async def _lead(self, omega: Omega, house: House) -> tuple[Door, Listener]:
        """The door, leading into this house from now on, and the socket; both are made the first time."""
        from omega.gateway.front.door import Door, Manners
        from omega.gateway.front.server import Listener
        from omega.host.house import entrances

        mounted = entrances(house)
        if self._door is None or self.listener is None:
            manners = Manners(hosts=self._opening.hosts, origins=frozenset(self._opening.origins))
            self._door = Door(mounted, manners, ready=house.ready, prefix=f"req_{omega.world.entropy.take(5).hex()}_")
            self.listener = Listener(self._door, self._place)
            await self.listener.start()
            if self._opening.a2a_grpc is not None:
                self._grpc = await self._beside(self._door, self.listener.url, self._opening.a2a_grpc)
        else:
            self.came_back = True
        self._door.lead(mounted, ready=house.ready, failing=omega.chores.failing)
        house.a2a_grpc = self._grpc.port if self._grpc is not None else 0
        return self._door, self.listener

    async def _beside(self, door: Door, base: str, port: int) -> GrpcListener:
        """The gRPC listener for agents of others, beside the one at `base`."""
        from omega.gateway.a2a.grpc_listener import GrpcPlace
        from omega.host.a2a_grpc import Files, listening

        opening = self._opening
        files = Files(certificate=opening.certificate, key=opening.key, authorities=opening.authorities)
        place = GrpcPlace(host=opening.host, port=port, base=base)
        return await listening(door, place, self._held, files, demand=opening.mutual == "demand")

    async def _serve(self, omega: Omega, house: House, listener: Listener, ahead: Sequence[asyncio.Task[None]]) -> None:
        """Say that it is up, and wait for the end. Raises what ended early."""
        from omega.host.whereabouts import noted

        facts: dict[str, Any] = {"store": omega.settings.place, "pid": os.getpid(), "recovered": await house.recover()}
        if not self.came_back:
            facts = {"url": listener.url, "sign_in": f"{listener.url}/sign-in?code={house.sign_in_code()}", **facts}
        if house.a2a_grpc:
            facts["a2a_grpc"] = house.a2a_grpc
        facts["listeners"] = await reported(listener.url, self._place, self._held, house.a2a_grpc)
        with noted(omega.settings.home, listener.url):
            self._tell("reopened" if self.came_back else "up", facts)
            await _first(self._stop, listener.ended, *ahead)


@asynccontextmanager
async def _opened(home: str | os.PathLike[str] | None, tuning: Tuning) -> AsyncIterator[tuple[Omega, Between | None]]:
    """The engine, and the way to other processes, with what goes on beside the entrances: webhooks and notices go out, witnesses are
    shown the logs, this process says that it is there, and shows others what runs here."""
    from omega.host.a2a_telling import telling
    from omega.host.bridged import following_primaries
    from omega.host.hooking import delivering
    from omega.host.nodes import announced
    from omega.host.showing import shown
    from omega.host.witness_rounds import going_round

    opening = Omega.open(home, tuning=tuning)
    async with (
        opening as omega,
        delivering(omega),
        telling(omega),
        announced(omega, ("gateway",)),
        going_round(omega),
        following_primaries(omega),
        shown(omega) as ours,
    ):
        yield omega, ours


async def _following(held: Credentials | None, url: str, tell: Tell) -> None:
    """Keep the listener's certificate fresh; what goes wrong is told."""
    if held is not None:
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


async def _losing(omega: Omega) -> None:
    """Until nothing can be written to the store any more: an entrance that could only refuse is to end. Raises StorageError (OMG-S004)."""
    while True:
        demand_not_lost(omega.store)
        await asyncio.sleep(_LOST_LOOK_S)


def _demand_role(home: str | os.PathLike[str] | None, opening: Opening) -> None:
    """Raises InputError (OMG-X001) for a role that nobody has, or that cannot be had here."""
    if opening.role not in ROLES:
        raise InputError("OMG-X001", f"{opening.role[:40]!r} is no role", advice=f"choose one of {', '.join(ROLES)}")
    if opening.role == GATEWAY and not Settings.load(home).store.shared:
        cause = "a folder has one process: a gateway by itself needs a database that its workers share"
        raise InputError("OMG-X001", cause, advice="set OMEGA_STORE, or leave --role out")
    if opening.role == WORKER and not opening.targets:
        raise InputError("OMG-X001", "a worker serves flows, and none are named", advice="omega up --role worker FILE")


def tls_of(opening: Opening) -> ssl.SSLContext | None:
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
