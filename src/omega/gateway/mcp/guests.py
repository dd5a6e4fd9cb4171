"""The client of one request, while it waits: what it hears before the answer, and what it is asked.

An answer is one JSON body until something is to be said before it; from then on it is an event stream, which ends with the answer.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from omega.gateway.front.core import Send
from omega.kernel.scope import Scope
from omega.wire.jsonrpc import Id, Incoming, notification, request
from omega.wire.mcp.eras import LEVELS, Era
from omega.wire.sse import event

ASK_S: Final = 300.0
"""Patience with a person who is asked something, in seconds."""

MAX_OPEN: Final = 10_000
"""Most questions that wait for an answer in one process."""

_QUESTIONS: Final = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
_STREAM: Final = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class Stream:
    """The answer to one request as an event stream, begun with the first event."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.open = False

    async def put(self, message: bytes) -> None:
        """One message as an event."""
        await self.raw(event(message))

    async def raw(self, data: bytes, *, last: bool = False) -> None:
        """Bytes of the stream as they are; `last` ends it."""
        if not self.open:
            self.open = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})


def bound(session: str, scope: Scope) -> str:
    """A session together with whose it is: nobody answers what another caller was asked, even one who knows the id of their session."""
    return json.dumps([session, scope.tenant, scope.principal, scope.actors]) if session else ""


class Questions:
    """What clients of the older era were asked and have not answered yet, in this process: the answer comes as a request of its own."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Id], asyncio.Future[Incoming]] = {}
        self._numbers = count(1)
        self._own = secrets.token_hex(4)

    def begin(self, session: str) -> tuple[str, asyncio.Future[Incoming]]:
        """The id of a new question, and where its answer will be. Raises LookupError when too many are open."""
        if len(self._open) >= MAX_OPEN:
            raise LookupError("too many questions are open")
        id = f"omega-{self._own}-{next(self._numbers)}"  # no other gateway's: the answer may come to any of them
        future = self._open[session, id] = asyncio.get_running_loop().create_future()
        return id, future

    def end(self, session: str, id: str) -> None:
        """Forget a question."""
        self._open.pop((session, id), None)

    def answer(self, session: str, answer: Incoming) -> bool:
        """Hand over the answer of that session (`bound`); whether somebody waited for it."""
        future = None if answer.id is None else self._open.get((session, answer.id))
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True


class Guest:
    """The client of one request of the caller `whose`. `session` is empty in the newer era; `streams` tells whether it takes an event
    stream."""

    def __init__(
        self, era: Era, params: Mapping[str, Any], stream: Stream, *, whose: str, session: str, streams: bool, questions: Questions
    ) -> None:
        self.whose = whose
        meta = params.get("_meta")
        self._token = meta.get("progressToken") if isinstance(meta, dict) else None
        self._era, self._stream, self._session, self._streams, self._questions = era, stream, session, streams, questions
        self.execution = ""

    @property
    def modern(self) -> bool:
        """Whether it speaks the newer era."""
        return self._era.modern

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the client can do, as it said."""
        return self._era.capabilities

    @property
    def log_level(self) -> str:
        """The least severe log message that it wants; empty for none."""
        return self._era.log_level if self._streams else ""

    @property
    def wants_progress(self) -> bool:
        """Whether it asked to be told how far the call is."""
        return self._streams and isinstance(self._token, str | int)

    def begun(self, execution: str) -> None:
        """The call runs under this id."""
        self.execution = execution

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Pass on a notification that the client wants."""
        if method == "notifications/progress" and self.wants_progress:
            await self._stream.put(notification(method, {**params, "progressToken": self._token}))
        elif method == "notifications/message" and _as_severe(params.get("level"), self.log_level):
            await self._stream.put(notification(method, params))

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The client's answer to a question. Raises LookupError when it cannot be asked, or does not answer."""
        needed = _QUESTIONS.get(method, "")
        if not self._session or not self._streams:
            raise LookupError(f"{method[:40]} cannot be asked in the middle of a call")
        if needed not in self.capabilities:
            raise LookupError(f"the client does not do {needed or method[:40]}")
        id, answer = self._questions.begin(self._session)
        try:
            await self._stream.put(request(id, method, params))
            async with asyncio.timeout(ASK_S):
                found = await answer
        except TimeoutError as error:
            raise LookupError("the client did not answer in time") from error
        finally:
            self._questions.end(self._session, id)
        if not isinstance(found.result, dict):
            said = found.error.get("message", "") if isinstance(found.error, dict) else ""
            raise LookupError(str(said)[:300] or "the client refused to answer")
        return found.result


def _as_severe(level: Any, least: str) -> bool:
    return least in LEVELS and level in LEVELS and LEVELS.index(level) >= LEVELS.index(least)
