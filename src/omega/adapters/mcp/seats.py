"""Live sessions with tool servers: one for each server, working folder and (where credentials are a person's own) caller.

A session that failed is started again after a pause that grows; the longest unused one is closed when there are too many. Two callers
share a session only where its credentials belong to neither of them. A server whose record changes from one to the other begins anew.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.foreign import NO_OPENERS, Foreign, Openers
from omega.adapters.mcp.guests import Whose
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.renewing import NoRenewals, Renewals, RenewedSession, Renewing
from omega.adapters.mcp.session import Session
from omega.adapters.mcp.sse import SseTransport
from omega.adapters.mcp.stdio import Launch, StdioTransport
from omega.adapters.mcp.streamable import HttpSession
from omega.adapters.mcp.upstream import Secrets, Transport, Upstream, nothing, resolve, secret_values
from omega.adapters.mcp.watching import Watchers
from omega.kernel.errors import InputError, OmegaError, UpstreamError
from omega.kernel.sandbox import Sandbox

Conversation = Session | HttpSession | Foreign
"""A live conversation with a server."""

Watchful = HttpSession
"""A conversation in which resources can be watched."""

UNCONFINABLE: Final = "OMG-P009"
"""The error of a server that cannot be held to its sandbox."""

NOBODY: Final[Whose] = ("", "")
"""Whose a session is that callers share."""

Confined = Callable[[str], Launch | None]
"""How the servers of a tenant are started whose programs are held to caps, the same for the same caps; None for any other tenant."""

Credentials = Callable[[str, str, str], str | None]
"""The secret of that name which (tenant, principal) has left here for tool servers; None when there is none."""


def no_credentials(tenant: str, principal: str, name: str) -> str | None:
    """Nobody has left a secret."""
    return None


def unconfined(tenant: str) -> Launch | None:
    """Nobody is held to anything."""
    return None


@dataclass(slots=True)
class Seat:
    """The place of one session: kept over restarts, so that failures are counted. `running` is what the session was started with, `starts`
    how many starts have failed, `fault` why the last of them did, `watched` who wants to know of changes of a resource, `whose` the caller
    with credentials of their own (`NOBODY`: callers share it), or a tenant, where a server is a process that is held to that one's caps."""

    upstream: Upstream
    cwd: str | None
    own: Secrets
    launch: Launch
    older: bool = False
    whose: Whose = NOBODY
    running: Upstream | None = None
    session: Conversation | None = None
    failures: int = 0
    starts: int = 0
    fault: OmegaError | None = None
    not_before: float = 0.0
    calls: int = 0
    watched: Watchers = field(default_factory=Watchers)
    tokens: Renewing | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Seats:
    """The sessions of one effector. Belongs to one event loop."""

    def __init__(
        self,
        launch: Launch,
        secrets: Secrets,
        credentials: Credentials,
        limits: Limits,
        openers: Openers = NO_OPENERS,
        confined: Confined = unconfined,
        *,
        renewals: Renewals | None = None,
    ) -> None:
        self._launch, self._secrets, self._credentials, self._limits, self._openers = launch, secrets, credentials, limits, openers
        self._confined = confined
        self._renewals = renewals or NoRenewals()
        self._seats: dict[tuple[str, str | None, str, str, bool], Seat] = {}
        self._living: set[Conversation] = set()
        self._changes: Counter[str] = Counter()
        self._updates: Counter[tuple[str, Whose, str]] = Counter()
        self._retired: list[Seat] = []
        self._closed = False

    def seat(self, upstream: Upstream, cwd: str | None, tenant: str, principal: str, *, older: bool = False) -> Seat:
        """The place for calls of this caller to `upstream` in `cwd`; `older` for a conversation of the older era, where there are both."""
        confined = self._confined(tenant) if upstream.transport is Transport.STDIO else None
        whose = _whose(upstream, tenant, principal, alone=confined is not None)
        older = older and upstream.transport is Transport.HTTP
        key = (upstream.name, cwd, *whose, older)
        seat = self._seats.pop(key, None)
        if seat is None:
            self._retire(upstream.name, per_user=bool(whose[1]))
            seat = Seat(upstream, cwd, lambda name: self._credentials(tenant, principal, name), self._launch, older, whose)
        launch = confined or self._launch
        if seat.launch is not launch:  # the caps are others now: a server that was started with those before begins anew
            seat.launch, seat.running = launch, None
        seat.upstream = upstream
        self._seats[key] = seat  # at the end: the order of the dictionary is the order of use
        return seat

    async def session(self, seat: Seat, deadline: float) -> Conversation:
        """The live session of `seat`, started if need be, before the monotonic moment `deadline`. Raises UpstreamError."""
        if self._closed:
            name = seat.upstream.name
            raise UpstreamError("OMG-M001", f"{name} cannot be started: the engine is closing", details={"server": name})
        if self._retired:
            await self._close_retired()
        if seat.tokens is not None:
            await seat.tokens.fresh()
        session = seat.session
        if session is not None and not session.over and seat.running is seat.upstream:
            return session
        await self._make_room(seat)
        starts = seat.starts
        async with _held(seat, deadline):
            if seat.starts > starts and seat.fault is not None:  # the start that this call waited for failed: it is no reason for another
                raise UpstreamError(seat.fault.code, seat.fault.cause, advice=seat.fault.advice, details=seat.fault.details)
            if seat.session is not None and (seat.session.over or seat.running != seat.upstream):
                await seat.session.close()
                seat.session = None
            if seat.session is None:
                await asyncio.sleep(max(0.0, min(seat.not_before, deadline) - time.monotonic()))
                seat.session = await self._open(seat, deadline)
            seat.running = seat.upstream
            return seat.session

    def after(self, seat: Seat, session: Conversation) -> None:
        """Look at `session` after a call: the first of its open calls to notice that it is over counts the failure, once."""
        if session.over and seat.session is session:
            seat.session = None
            self._count_failure(seat)

    def changes(self, kind: str) -> int:
        """How often the servers have told that a list of that kind changed."""
        return self._changes[kind]

    def updates(self, upstream: Upstream, uri: str, tenant: str, principal: str) -> int:
        """How often the server has told this caller, or all who share its session, that a resource that is watched changed."""
        alone = upstream.transport is Transport.STDIO and self._confined(tenant) is not None
        return self._updates[upstream.name, _whose(upstream, tenant, principal, alone=alone), uri]

    async def watch(self, seat: Seat, session: Watchful, uri: str, timeout_s: float, *, by: Whose) -> None:
        """The caller `by` wants to know of changes of `uri` (`updates`). Raises UpstreamError, InputError."""
        if most := seat.watched.full(by, uri):
            raise InputError("OMG-I001", f"{seat.upstream.name}: no more than {most} resources are watched at once")
        if uri not in seat.watched:
            await session.watch(uri, timeout_s)
        seat.watched.add(by, uri)

    async def unwatch(self, seat: Seat, session: Watchful, uri: str, timeout_s: float, *, by: Whose) -> None:
        """The caller `by` does not want to know any more. Raises UpstreamError."""
        if seat.watched.drop(by, uri):
            await session.unwatch(uri, timeout_s)

    def forget(self, server: str, uri: str, *, by: Whose, older: bool) -> None:
        """The opposite of `watch` where the server cannot be told: nothing is sent, and the session is held for the caller no longer."""
        for seat in self._seats.values():
            if seat.upstream.name == server and seat.older == older:
                seat.watched.drop(by, uri)

    async def close(self) -> None:
        """End all servers, and wait until their processes are gone."""
        self._closed = True
        self._seats.clear()
        self._retired.clear()
        await asyncio.gather(*(session.close() for session in self._living))

    async def _open(self, seat: Seat, deadline: float) -> Conversation:
        upstream = seat.running = seat.upstream
        session: Conversation | None = None
        try:
            seat.tokens = self._renewals.tokens(upstream, *seat.whose) if seat.whose[1] else None
            session = open_session(
                upstream,
                seat.launch,
                cwd=seat.cwd,
                secrets=self._secrets,
                own=seat.own,
                limits=self._limits,
                older=seat.older,
                openers=self._openers,
                tokens=seat.tokens,
            )
            self._living.add(session)
            session.when_changed(self._changes.update)
            session.when_over(self._living.discard)
            await session.start(min(upstream.timeout_s, deadline - time.monotonic()))
            if isinstance(session, Watchful):
                session.when_updated(partial(self._updated, seat))
                for uri in seat.watched:
                    await session.watch(uri, deadline - time.monotonic())
        except OmegaError as error:
            self._count_failure(seat)
            seat.starts, seat.fault = seat.starts + 1, error
            raise
        except asyncio.CancelledError:
            if session is not None:
                await session.close(hurry=True)
            raise
        return session

    async def _make_room(self, wanted: Seat) -> None:
        """Close the longest unused sessions when there are more than the limit; where somebody watches, a session is in use."""
        unwatched = [(key, seat) for key, seat in self._seats.items() if not seat.watched]
        spare = [key for key, seat in unwatched if seat.calls == 0 and seat is not wanted]
        for key in spare[: max(0, len(unwatched) - self._limits.sessions)]:
            seat = self._seats.pop(key)
            if seat.session is not None:
                await seat.session.close()

    def _retire(self, server: str, *, per_user: bool) -> None:
        """Take away the seats of a server whose record has changed from shared to a person's own credentials, or back: no call comes to
        their sessions any more, and these are closed when the calls that they have are over."""
        for key in [key for key, seat in self._seats.items() if seat.upstream.name == server and bool(seat.whose[1]) != per_user]:
            self._retired.append(self._seats.pop(key))

    async def _close_retired(self) -> None:
        done = [seat for seat in self._retired if seat.calls == 0]
        self._retired = [seat for seat in self._retired if seat.calls]
        await asyncio.gather(*(seat.session.close() for seat in done if seat.session is not None))

    def _updated(self, seat: Seat, uris: Iterable[str]) -> None:
        self._updates.update((seat.upstream.name, seat.whose, uri) for uri in uris)

    def _count_failure(self, seat: Seat) -> None:
        pause_s = min(self._limits.backoff_s * 2.0 ** min(seat.failures, 30), self._limits.backoff_max_s)
        seat.failures += 1
        seat.not_before = time.monotonic() + pause_s


def _whose(upstream: Upstream, tenant: str, principal: str, *, alone: bool) -> Whose:
    """Whose a session with `upstream` is, for calls of this caller."""
    if upstream.per_user:
        return (tenant, principal)
    return (tenant, "") if alone else NOBODY


@asynccontextmanager
async def _held(seat: Seat, deadline: float) -> AsyncIterator[None]:
    """The seat's lock, unless another call is still starting the server when the time of this one is over."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await seat.lock.acquire()
    except TimeoutError as error:
        raise late(seat) from error
    try:
        yield
    finally:
        seat.lock.release()


def late(seat: Seat) -> UpstreamError:
    """The error of a call whose time was over before its server had started."""
    name = seat.upstream.name
    return UpstreamError("OMG-M003", f"{name} was still starting when the time of the call was over", details={"server": name})


def open_session(  # noqa: PLR0913 - what a conversation may need, each by its name
    upstream: Upstream,
    launch: Launch,
    *,
    cwd: str | None,
    secrets: Secrets,
    limits: Limits,
    own: Secrets = nothing,
    older: bool = False,
    openers: Openers = NO_OPENERS,
    tokens: Renewing | None = None,
) -> Conversation:
    """Begin a conversation with `upstream`. Secrets are looked up now: `own` are those of the caller, whose `tokens` are renewed as they
    end. Raises UpstreamError (OMG-M001)."""
    hidden = secret_values(upstream, secrets, own)
    if upstream.transport in openers:
        return openers[upstream.transport](upstream, resolve(upstream, upstream.headers, secrets, own), hidden)
    if upstream.transport is Transport.HTTP and tokens is not None:
        headers = resolve(upstream, upstream.headers, secrets, own)
        return RenewedSession(upstream.name, upstream.url, headers, limits, hidden, tokens=tokens, older=older)
    if upstream.transport is Transport.HTTP:
        return HttpSession(upstream.name, upstream.url, resolve(upstream, upstream.headers, secrets, own), limits, hidden, older=older)
    if upstream.transport is Transport.SSE:
        headers = resolve(upstream, upstream.headers, secrets, own)
        return Session(upstream.name, SseTransport(upstream.name, upstream.url, headers, limits), limits, hidden)
    folder = cwd or upstream.cwd
    try:
        sandbox = working_in(upstream, cwd)
        argv, env = launch(upstream.argv, cwd=folder, env=resolve(upstream, upstream.env, secrets, own), sandbox=sandbox)
    except InputError as error:
        details = {"server": upstream.name, **error.details}
        if error.code == UNCONFINABLE:
            advice = error.advice.replace("NAME", upstream.name)
            raise UpstreamError(error.code, f"{upstream.name} is not started: {error.cause}", advice=advice, details=details) from error
        raise UpstreamError("OMG-M001", f"{upstream.name} cannot be started: {error.cause}", details=details) from error
    return Session(upstream.name, StdioTransport(upstream.name, argv, env, folder, limits), limits, hidden, confined=sandbox.on)


def working_in(upstream: Upstream, cwd: str | None) -> Sandbox:
    """The grants of a server that works in `cwd`: what a flow names as the folder of a call may be changed in that call's server."""
    given = upstream.sandbox
    return replace(given, write=tuple(dict.fromkeys((*given.write, os.path.realpath(cwd))))) if cwd and given.on else given


async def describe(
    upstream: Upstream,
    launch: Launch,
    *,
    secrets: Secrets = os.environ.get,
    own: Secrets = nothing,
    limits: Limits | None = None,
    openers: Openers = NO_OPENERS,
) -> list[ToolDescription]:
    """What `upstream` offers now, in its own order. Starts the server and ends it again. Raises UpstreamError (OMG-M001, M003, M006)."""
    session = open_session(upstream, launch, cwd=None, secrets=secrets, own=own, limits=limits or Limits(), openers=openers)
    try:
        await session.start(upstream.timeout_s)
        return list(session.tools.values())
    finally:
        await session.close()
