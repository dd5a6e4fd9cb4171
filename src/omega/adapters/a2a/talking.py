"""Talking to an agent elsewhere: its card, and one message with what comes of it (A2A 1.0, 8.2, 9 and 11).

Nothing that an agent says is believed beyond its form: identities are those of the accepted card, addresses are looked at before a
connection is made, redirections are not followed, and an answer is read to a limit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import Web, WebAnswer, WebFault
from omega.kernel.errors import InputError, UpstreamError
from omega.wire.a2a.cards import JSONRPC, Foreign
from omega.wire.a2a.messages import INTERRUPTED, TERMINAL
from omega.wire.a2a.operations import CARD, PROTOCOL, VERSION_HEADER
from omega.wire.strict import read_json

CARD_S: Final = 15.0
"""Patience with a card or with keys, in seconds."""

MAX_CARD: Final = 256 << 10
"""Largest card in bytes."""

LOOK_S: Final = 0.2
"""How soon a task that goes on is asked for again, in seconds; then twice as long, up to `LOOK_MOST_S`."""

LOOK_MOST_S: Final = 5.0

_VERSION: Final = {VERSION_HEADER: PROTOCOL}


def card_address(url: str) -> str:
    """Where the card lies: `url` itself where it names one, else below it."""
    return url if url.endswith(".json") else f"{url.rstrip('/')}/{CARD}"


async def fetch_card(web: Web, url: str) -> dict[str, Any]:
    """The card at `url`. Raises UpstreamError (OMG-M002, OMG-M003), Denied (OMG-P011), InputError (OMG-I001)."""
    found = await _read(web, url, "the card", MAX_CARD)
    if not isinstance(found, dict):
        raise failed("the card is no object")
    return found


async def fetch_keys(web: Web, url: str, card_at: str) -> list[dict[str, Any]]:
    """The public keys (RFC 7517) that the signature of a card names, where they lie at the card's own host; else none.

    Keys from elsewhere prove nothing: whoever wrote the card wrote the address. Raises as `fetch_card` does.
    """
    wanted, own = urlsplit(url), urlsplit(card_at)
    if (wanted.scheme, wanted.netloc) != (own.scheme, own.netloc):
        return []
    found = await _read(web, url, "the keys", MAX_CARD)
    keys = found.get("keys") if isinstance(found, dict) else None
    return [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else []


async def _read(web: Web, url: str, what: str, most: int) -> Any:
    try:
        answer = await web.ask("GET", url, headers={"Accept": "application/json"}, timeout_s=CARD_S)
    except WebFault as error:
        raise failed(f"{what} {error}") from error
    except TimeoutError:
        raise UpstreamError("OMG-M003", f"{what} did not come within {CARD_S:g} s") from None
    if answer.status != 200 or len(answer.body) > most:
        raise failed(f"{what} came with status {answer.status} and {len(answer.body):,} bytes")
    return read_answer(answer.body, what)


class Conversation:
    """One agent, asked over the binding that its accepted card names. `headers` are the resolved ones: they hold secrets, which `scrubber`
    takes out of every answer before anybody reads it."""

    def __init__(self, web: Web, told: Foreign, headers: Mapping[str, str], scrubber: Scrubber) -> None:
        self._web, self._told, self._headers, self._scrubber = web, told, headers, scrubber

    async def close(self) -> None:
        """The connections are those of `web`, and end with it."""

    async def send(self, message: Mapping[str, Any], *, key: str, timeout_s: float) -> dict[str, Any]:
        """A message, and what it comes to: `{"message": ...}` or `{"task": ...}` that has ended or waits.

        Raises UpstreamError: OMG-M002 for an agent that fails or cannot be understood, OMG-M003 for one that takes too long, OMG-M007 for
        what it refuses. The details say whether it may have heard us (`sent`).
        """
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._ask(
                    "SendMessage", "POST", "/message:send", {"message": dict(message)}, {"Idempotency-Key": key}, timeout_s
                )
                return await self._to_its_end(found, timeout_s)
        except TimeoutError:
            raise UpstreamError("OMG-M003", f"{self._told.name} took longer than {timeout_s:g} s", details={"sent": True}) from None

    async def _to_its_end(self, found: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if isinstance(found.get("message"), dict):
            return {"message": found["message"]}
        task, pause = found.get("task"), LOOK_S
        while True:
            state, id = _standing(task)
            if state in TERMINAL | INTERRUPTED:
                return {"task": task}
            await asyncio.sleep(pause)
            pause = min(pause * 2, LOOK_MOST_S)
            task = await self._ask("GetTask", "GET", f"/tasks/{id}", {"id": id}, {}, timeout_s)

    async def _ask(
        self, method: str, verb: str, path: str, params: Mapping[str, Any], more: Mapping[str, str], timeout_s: float
    ) -> dict[str, Any]:
        headers = {**_VERSION, "Accept": "application/json, application/a2a+json", **more, **self._headers}
        rpc = self._told.binding == JSONRPC
        if rpc:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}).encode()
            url, verb = self._told.url, "POST"
        else:
            body = json.dumps(dict(params)).encode() if verb == "POST" else b""
            url = self._told.url.rstrip("/") + path
        if body:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._web.ask(verb, url, headers=headers, body=body, timeout_s=timeout_s)
        except WebFault as error:
            raise failed(f"{self._told.name} {error}", sent=error.sent) from error
        return self._understood(self._scrubber.answer(answer), rpc=rpc)

    def _understood(self, answer: WebAnswer, *, rpc: bool) -> dict[str, Any]:
        found = read_answer(answer.body, f"the answer of {self._told.name}", status=answer.status)
        error = found.get("error") if isinstance(found, dict) else None
        if isinstance(error, dict):
            words = str(error.get("message", ""))[:500]
            details = {"sent": True, "status": answer.status, "code": error.get("code") if type(error.get("code")) is int else 0}
            raise UpstreamError("OMG-M007", f"{self._told.name} refuses: {words}", details=details)
        result = found.get("result") if rpc and isinstance(found, dict) else found
        if answer.status != 200 or not isinstance(result, dict):
            raise failed(f"{self._told.name} answered with status {answer.status} and nothing that can be read", sent=True)
        return result


def _standing(task: Any) -> tuple[str, str]:
    """The state and id of a task. Raises UpstreamError (OMG-M002)."""
    status = task.get("status") if isinstance(task, dict) else None
    state, id = status.get("state") if isinstance(status, dict) else None, task.get("id") if isinstance(task, dict) else None
    if not isinstance(state, str) or not isinstance(id, str) or not id or not all(each.isalnum() or each in "-_.@" for each in id):
        raise failed("the answer holds neither a message nor a task", sent=True)
    return state, id


def read_answer(body: bytes, what: str, **details: Any) -> Any:
    """JSON that an agent sent. Raises UpstreamError (OMG-M002)."""
    try:
        return read_json(body, what=what)
    except InputError as error:
        raise failed(error.cause, sent=True, **details) from error


def failed(cause: str, *, sent: bool = False, **details: Any) -> UpstreamError:
    """The error of an agent that fails, or that nobody understands; `sent` says whether it may have heard us."""
    return UpstreamError("OMG-M002", cause, advice="omega a2a card NAME looks at its card", details={"sent": sent, **details})
