"""OpenAI's interface in front of every model: each request is a call of the service `models` down the one road.

    POST /v1/chat/completions   models.chat      whole, or as server-sent events
    POST /v1/responses          models.chat      whole, or as server-sent events
    POST /v1/embeddings         models.embed
    GET  /v1/models             models.list
    GET  /v1/models/NAME        models.list

The key that a program is given is an API key or a passport of this installation; what it may spend stands in allowances and in the headers
`omega-budget` and `omega-deadline`. Errors have this interface's shape, with our code. The answer's header `omega-execution` names where it
is on record. With `Idempotency-Key` a repeated request gives the recorded answer, and no model is asked again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send, Visitor
from omega.gateway.front.request import Arrival, Headers, arrival_of, read_json_body, reply_json
from omega.gateway.openai.streaming import CompletionStream, ResponseStream, stream
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Outcome
from omega.kernel.propagation import extract
from omega.wire.openai import chat, others, responses
from omega.wire.problem import headers_of

PREFIX: Final = "/v1"

MAX_BODY: Final = 16 << 20
"""Largest body in bytes: a long conversation, without pictures."""

MAX_KEY: Final = 255
"""Longest idempotency key, in characters."""

SERVICE: Final = "models"

_CARRIED: Final = ("traceparent", "tracestate", "omega-budget", "omega-deadline")


@dataclass(slots=True)
class Asked:
    """A request whose caller is known."""

    core: Core
    arrival: Arrival
    scope: AsgiScope
    receive: Receive
    send: Send
    visitor: Visitor


def entrance(core: Core) -> Mounted:
    """The entrance on `core`."""
    return Mounted(PREFIX, OpenAI(core))


class OpenAI:
    """The ASGI application below `/v1`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._ways: Mapping[tuple[str, str], Callable[[Asked], Awaitable[None]]] = {
            ("POST", "chat/completions"): _chat,
            ("POST", "responses"): _responses,
            ("POST", "embeddings"): _embeddings,
            ("GET", "models"): _models,
        }

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request; what is refused is told in this interface's shape."""
        if scope["type"] != "http":
            raise InputError("OMG-G003", "there is no WebSocket at this address")
        arrival = arrival_of(scope)
        try:
            await self._answer(scope, receive, send, arrival)
        except OmegaError as error:
            await refuse(send, error.record())

    async def _answer(self, scope: AsgiScope, receive: Receive, send: Send, arrival: Arrival) -> None:
        path = arrival.path.removeprefix(PREFIX).strip("/")
        handler = self._ways.get((arrival.method, path))
        if handler is None and arrival.method == "GET" and path.startswith("models/"):
            handler = _model
        if handler is None:
            known = {way for _, way in self._ways}
            code = "OMG-G003" if path in known else "OMG-G002"
            raise InputError(code, f"{arrival.method} {arrival.path[:80]} is not served", advice="see docs/models.md for what is")
        core = self._core
        visitor = core.visitor(arrival.headers, method=scope["method"], url=arrival.url, address=arrival.address, peer=arrival.peer)
        await handler(Asked(core, arrival, scope, receive, send, visitor))


async def refuse(send: Send, record: Mapping[str, Any], headers: Headers | None = None) -> None:
    """One whole answer that says no."""
    status, body = others.error_of(record)
    await reply_json(send, body, status=status, headers=[*headers_of(record, status), *(headers or ())])


async def _chat(asked: Asked) -> None:
    body = await _body(asked)
    call = _call(asked, "chat", chat.question_of(body))
    created = asked.core.now_us() // 1_000_000
    if call.input.get("stream"):
        call = _numbered(asked, call)
        chunks = chat.Chunks(call.input["model"], execution=call.execution, created=created)
        await _streamed(asked, call, CompletionStream(chunks, usage=chat.wants_usage(body)))
        return
    await _whole(asked, call, lambda found: chat.completion(found.value, execution=found.execution, created=created))


async def _responses(asked: Asked) -> None:
    body = await _body(asked)
    call = _numbered(asked, _call(asked, "chat", responses.question_of(body)))
    response = responses.Response(body, execution=call.execution, created=asked.core.now_us() // 1_000_000)
    if call.input.get("stream"):
        await _streamed(asked, call, ResponseStream(response))
        return
    await _whole(asked, call, lambda found: response.whole(found.value))


async def _embeddings(asked: Asked) -> None:
    body = await _body(asked)
    as_base64 = isinstance(body, Mapping) and body.get("encoding_format") == "base64"
    call = _call(asked, "embed", others.texts_of(body))
    await _whole(asked, call, lambda found: others.embeddings(found.value, as_base64=as_base64))


async def _models(asked: Asked) -> None:
    await _whole(asked, _call(asked, "list", {}), lambda found: others.models(found.value))


async def _model(asked: Asked) -> None:
    name = asked.arrival.path.removeprefix(f"{PREFIX}/models/").strip("/")

    def one(found: Outcome) -> dict[str, Any]:
        for each in found.value:
            if each["name"] == name:
                return others.model(each)
        raise InputError("OMG-M009", f"the model {name[:80]!r} is not known", details={"param": "model"})

    await _whole(asked, _call(asked, "list", {}), one)


async def _body(asked: Asked) -> Any:
    return await read_json_body(asked.receive, asked.arrival, most=MAX_BODY)


def _call(asked: Asked, method: str, value: Any) -> Call:
    """A call of the service, with what the caller's headers carry. Raises InputError (OMG-I002) where the service is not installed."""
    arrival, visitor = asked.arrival, asked.visitor
    call = Call(
        passport=visitor.passport,
        flow=_flow(asked.core, method),
        input=value,
        execution=_execution(asked, method),
        origin=visitor.origin(arrival.headers),
    )
    carried = {name: arrival.headers[name] for name in _CARRIED if name in arrival.headers}
    if carried:
        call = replace(extract(carried).onto(call, now=asked.core.now_us() / 1_000_000), passport=visitor.passport)
    return call


def _flow(core: Core, method: str) -> AnyFlow:
    for offer in core.offers():
        if (offer.service, offer.name) == (SERVICE, method):
            return offer.flow
    raise InputError("OMG-I002", f"the service {SERVICE} is not installed here")


def _execution(asked: Asked, method: str) -> str:
    """The execution that an idempotency key stands for; empty without one. Raises InputError (OMG-G001) for what is no key."""
    key = asked.arrival.header("idempotency-key")
    if not key:
        return ""
    if len(key) > MAX_KEY or not key.isprintable():
        raise InputError("OMG-G001", f"an idempotency key has at most {MAX_KEY} printable characters")
    scope = asked.visitor.scope
    names = [scope.tenant, scope.principal, list(scope.actors), asked.arrival.path, method, key]
    return f"key-{sha256(json.dumps(names).encode()).hexdigest()[:40]}"


def _numbered(asked: Asked, call: Call) -> Call:
    """The call with an execution that is known before it begins: it can be watched from its first part on, and named in the answer."""
    if call.execution:
        return call
    return replace(call, execution=new_id(EXECUTION, now_ms=asked.core.now_us() // 1_000, entropy=secrets.token_bytes(10)))


async def _whole(asked: Asked, call: Call, answer: Callable[[Outcome], dict[str, Any]]) -> None:
    """Call, and answer once it has ended."""
    outcome = await asked.core.road.call(call)
    if asked.arrival.header("idempotency-key"):
        outcome = await _recorded(asked, call, outcome)
    headers: Headers = [(b"omega-execution", outcome.execution.encode())] if outcome.execution else []
    if outcome.status == Status.DONE:
        await reply_json(asked.send, answer(outcome), headers=headers)
    else:
        await refuse(asked.send, outcome.error or {}, headers)


async def _recorded(asked: Asked, call: Call, outcome: Outcome) -> Outcome:
    """The outcome of an earlier request with the same key and content. Raises InputError (OMG-G010) where the content was another."""
    if outcome.error is None or outcome.error.get("code") != "OMG-R010":
        return outcome
    recorded = asked.core.input_of(call.execution, asked.visitor.scope)
    if recorded != call.flow.input.plain(call.flow.input.read(call.input)):
        raise InputError("OMG-G010", "this key stands for a request with another content")
    return await asked.core.outcome(call.execution, asked.visitor.scope)


async def _streamed(asked: Asked, call: Call, form: CompletionStream | ResponseStream) -> None:
    """Call, and show the answer in parts. Raises what is refused before it starts."""
    if asked.arrival.header("idempotency-key"):
        raise InputError(
            "OMG-G001", "an answer that is streamed cannot be repeated by a key", advice="send no Idempotency-Key, or do not stream"
        )
    parts = asked.core.watch(call.execution, asked.visitor.scope)
    try:
        await asked.core.start(call)
        record = await stream(asked.core, call.execution, asked.visitor, (asked.scope, asked.receive, asked.send), form, parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    if record is not None:
        await refuse(asked.send, record, [(b"omega-execution", call.execution.encode())])
