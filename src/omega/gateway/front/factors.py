"""The pages of second factors: where passkeys are registered and removed, and where what waits for a person is approved with one.

    GET  /passkeys              the page
    GET  /passkeys/mine         the visitor's keys
    POST /passkeys/ask          what the browser is to ask a key (`for`: register, remove, approve, cancel)
    POST /passkeys/register     the browser's answer: a new key
    POST /passkeys/remove       one key less
    GET  /approvals             the page
    GET  /approvals/waiting     what waits
    GET  /approvals/one         one of them (`execution`, `step`), with what it is about

Decisions themselves are sent to `/api/v1/executions/ID/approve` and `cancel`, with the browser's answer as `passkey`. The pages are the
same for everybody: one style and one script, written out in them and named in their policy by digest. What they show comes from above, as
text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Protocol

from omega.gateway.front import signing_in
from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send, Visitor
from omega.gateway.front.request import Arrival, Headers, arrival_of, read_json_body, reply, reply_json
from omega.kernel.errors import Denied, InputError
from omega.wire.problem import status_of

KEYS, APPROVALS = "/passkeys", "/approvals"
MAX_BODY = 64 * 1024
"""Largest body in bytes: two answers of a browser, with room."""

_FRESH = (b"cache-control", b"no-store")
_KINDS = {KEYS: ("keys", "passkeys"), APPROVALS: ("approvals", "waiting for approval")}


class Desk(Protocol):
    """What the pages ask for; the host has it (`omega.host.confirming`). `base` is scheme and host of the page."""

    def ring(self, visitor: Visitor, base: str) -> dict[str, Any]: ...

    def ask(self, visitor: Visitor, base: str, wanted: Mapping[str, Any]) -> dict[str, Any]: ...

    async def register(self, visitor: Visitor, body: Mapping[str, Any]) -> dict[str, Any]: ...

    async def remove(self, visitor: Visitor, body: Mapping[str, Any]) -> dict[str, Any]: ...

    async def waiting(self, visitor: Visitor) -> list[dict[str, Any]]: ...

    def one(self, visitor: Visitor, execution: str, step: str) -> dict[str, Any]: ...


def entrances(core: Core, desk: Desk) -> list[Mounted]:
    """The two pages, and what they ask for."""
    return [Mounted(KEYS, _keys(core, desk)), Mounted(APPROVALS, _approvals(core, desk))]


def _keys(core: Core, desk: Desk) -> App:
    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        match arrival.method, arrival.path:
            case "GET", "/passkeys":
                await _page(core, arrival, send)
            case "GET", "/passkeys/mine":
                arrival.parameters(())
                await reply_json(send, desk.ring(_visitor(core, arrival), arrival.base), headers=[_FRESH])
            case "POST", "/passkeys/ask":
                visitor, body = await _asked(core, arrival, receive)
                await reply_json(send, desk.ask(visitor, arrival.base, body), headers=[_FRESH])
            case "POST", "/passkeys/register":
                await reply_json(send, await desk.register(*await _asked(core, arrival, receive)), status=201, headers=[_FRESH])
            case "POST", "/passkeys/remove":
                await reply_json(send, await desk.remove(*await _asked(core, arrival, receive)), headers=[_FRESH])
            case _:
                raise InputError("OMG-G002", "there is nothing at this address")

    return answer


def _approvals(core: Core, desk: Desk) -> App:
    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        match arrival.method, arrival.path:
            case "GET", "/approvals":
                await _page(core, arrival, send)
            case "GET", "/approvals/waiting":
                arrival.parameters(())
                await reply_json(send, {"waiting": await desk.waiting(_visitor(core, arrival))}, headers=[_FRESH])
            case "GET", "/approvals/one":
                given = arrival.parameters(("execution", "step"))
                found = desk.one(_visitor(core, arrival), given.get("execution", ""), given.get("step", ""))
                await reply_json(send, found, headers=[_FRESH])
            case _:
                raise InputError("OMG-G002", "there is nothing at this address")

    return answer


def _visitor(core: Core, arrival: Arrival) -> Visitor:
    return core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)


async def _asked(core: Core, arrival: Arrival, receive: Receive) -> tuple[Visitor, dict[str, Any]]:
    """Who asks, and the object that they sent. Raises Denied (OMG-T001) before anything of the body is read."""
    visitor = _visitor(core, arrival)
    body = await read_json_body(receive, arrival, most=MAX_BODY)
    if not isinstance(body, dict):
        raise InputError("OMG-I001", "an object is read here")
    return visitor, body


async def _page(core: Core, arrival: Arrival, send: Send) -> None:
    """The page, for somebody who has signed in; else the one on which they do, which leads back here."""
    try:
        _visitor(core, arrival)
    except Denied as error:
        query = arrival.query.decode("ascii", "ignore")
        await signing_in.ask(send, f"{arrival.path}?{query}" if query else arrival.path, status=status_of(error.code))
        return
    body, headers = page(arrival.path)
    await reply(send, 200, body, kind=b"text/html; charset=utf-8", headers=headers)


@cache
def page(path: str) -> tuple[bytes, Headers]:
    """The bytes of the page at `path`, and its headers."""
    kind, title = _KINDS[path]
    here = files("omega.gateway.front")
    style, script = (here.joinpath(f"factors.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="same-origin">'
        f"<title>omega: {title}</title><style>{style}</style></head>"
        f'<body data-page="{kind}"><nav aria-label="pages"><a href="{APPROVALS}">approvals</a><a href="{KEYS}">passkeys</a></nav>'
        f'<main><h1 tabindex="-1">{title}</h1><p id="told" role="status"></p><div id="content"></div></main>'
        f"<noscript><p>a passkey is asked for by a script of this page</p></noscript><script>{script}</script></body></html>"
    )
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    asks = b"publickey-credentials-create=(self), publickey-credentials-get=(self)"
    headers = [(b"content-security-policy", policy.encode()), (b"permissions-policy", asks), _FRESH]
    return text.encode(), headers


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"
