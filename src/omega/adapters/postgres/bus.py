"""A bus by LISTEN and NOTIFY: for processes that share a database and have nothing else in common. Nothing is kept.

A notification holds less than 8,000 bytes (postgresql.org, NOTIFY), so a message travels in pieces, all of them told in one transaction,
which the server hands over together and in order:

    MESSAGE INDEX COUNT TOPIC PIECE         words, one space between them; the piece is base64

Telling costs the server a transaction that waits for no disk. Every session of the database can listen, so what is nobody else's business
is sealed by whoever tells it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from omega.adapters.net.topics import BUFFER, Waiting, checked_body, checked_pattern, checked_topic, fits
from omega.adapters.postgres.link import Connection, Link, Session
from omega.kernel.errors import OmegaError

CHANNEL = "omega_bus"
"""Where everything is told."""

PIECE = 7_200
"""Longest piece, in characters: with the words before it a notification stays below its limit."""

MAX_PARTLY = 256
"""Most messages of which pieces are missing; past it the oldest is given up. Only a lost connection leaves any."""

_TELL = "SELECT pg_notify($1, piece) FROM unnest($2::text[]) AS piece"
_WORDS = 4

Hear = Callable[[str, bytes], None]


class PostgresBus:
    """Implements `kernel.ports.Bus` on a connection of its own; usable from one event loop."""

    def __init__(self, link: Link, session: Session, heard: _Heard, buffer: int) -> None:
        self._link = link
        self._session = session
        self._heard = heard
        self._buffer = buffer
        self._sender = secrets.token_hex(8)
        self._numbers = itertools.count()

    @classmethod
    async def open(cls, dsn: str, *, buffer: int = BUFFER) -> PostgresBus:
        """Connect to the database at `dsn`. Raises StorageError (OMG-S002) when it cannot be reached; once it was, a lost connection comes
        back with the next message that is told, or the next look of a subscriber."""
        link, heard = Link(), _Heard()
        session = Session(dsn, "omega bus", on_connect=_listener(heard))
        try:
            await asyncio.wrap_future(link.start(session.ask("SELECT 1")))
        except OmegaError:
            await asyncio.to_thread(link.close)
            raise
        return cls(link, session, heard, buffer)

    async def publish(self, topic: str, body: bytes) -> None:
        """See `kernel.ports.Bus.publish`."""
        checked_topic(topic)
        pieces = _pieces(f"{self._sender}{next(self._numbers):x}", topic, checked_body(body))
        with contextlib.suppress(OmegaError):  # a message that cannot be sent is lost
            await asyncio.wrap_future(self._link.start(self._session.ask(_TELL, CHANNEL, pieces)))

    async def subscribe(self, pattern: str) -> PostgresSubscription:
        """See `kernel.ports.Bus.subscribe`."""
        made = PostgresSubscription(self, checked_pattern(pattern), self._buffer)
        self._heard.subscriptions = (*self._heard.subscriptions, made)
        return made

    def drop(self, subscription: PostgresSubscription) -> None:
        """Let go of one subscriber."""
        self._heard.subscriptions = tuple(each for each in self._heard.subscriptions if each is not subscription)

    async def listening(self) -> None:
        """Connect again, where the connection was lost and that is possible."""
        if not (self._session.connected or self._link.closed):
            with contextlib.suppress(OmegaError):
                await asyncio.wrap_future(self._link.start(self._session.ask("SELECT 1")))

    async def aclose(self) -> None:
        """Disconnect, and let go of every subscriber. Safe to call twice."""
        self._heard.subscriptions = ()
        if not self._link.closed:
            await asyncio.wrap_future(self._link.start(self._session.close()))
            await asyncio.to_thread(self._link.close)


class PostgresSubscription(Waiting):
    """Implements `kernel.ports.Subscription`; belongs to the event loop that made it."""

    def __init__(self, bus: PostgresBus, pattern: str, size: int) -> None:
        super().__init__(size)
        self._bus = bus
        self._pattern = pattern
        self._loop = asyncio.get_running_loop()

    def hear(self, topic: str, body: bytes) -> None:
        """Take in a message, from any thread."""
        if fits(self._pattern, topic):
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody listens there any more
                self._loop.call_soon_threadsafe(self.put, topic, body)

    async def next(self, timeout_s: float) -> tuple[str, bytes] | None:
        """See `kernel.ports.Subscription.next`."""
        await self._bus.listening()
        return await super().next(timeout_s)

    async def aclose(self) -> None:
        """Hear no more. Safe to call twice."""
        self._bus.drop(self)


class _Heard:
    """Puts pieces together, in the link's loop, and hands whole messages to subscribers."""

    def __init__(self) -> None:
        self.subscriptions: tuple[PostgresSubscription, ...] = ()
        self._partly: OrderedDict[str, list[bytes]] = OrderedDict()

    def hear(self, payload: str) -> None:
        """Take in one notification; what is none of ours is nothing."""
        words = payload.split(" ", _WORDS)
        try:
            message, index, count, topic, text = words[0], int(words[1]), int(words[2]), words[3], words[4]
            piece = base64.b64decode(text, validate=True)
        except (ValueError, IndexError, binascii.Error):
            return
        body = self._whole(message, index, count, piece)
        if body is not None:
            for subscription in self.subscriptions:
                subscription.hear(topic, body)

    def _whole(self, message: str, index: int, count: int, piece: bytes) -> bytes | None:
        """The whole message, once its last piece is here."""
        pieces = self._partly.pop(message, [])
        if index != len(pieces):  # one before it was missed
            return None
        pieces.append(piece)
        if index == count - 1:
            return b"".join(pieces)
        self._partly[message] = pieces
        if len(self._partly) > MAX_PARTLY:
            self._partly.popitem(last=False)
        return None


def _pieces(message: str, topic: str, body: bytes) -> list[str]:
    text = base64.b64encode(body).decode()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)] or [""]
    return [f"{message} {index} {len(pieces)} {topic} {piece}" for index, piece in enumerate(pieces)]


def _listener(heard: _Heard) -> Callable[[Connection], Awaitable[None]]:
    """What a new connection does first: listen. What it tells waits for no disk: nothing of it is kept."""

    def hear(connection: Connection, process: int, channel: str, payload: object) -> None:
        heard.hear(str(payload))

    async def listen(connection: Connection) -> None:
        await connection.execute("SET synchronous_commit = off")
        await connection.add_listener(CHANNEL, hear)

    return listen
