"""Signing on with the account of an organisation.

    GET  /sso                  asks which organisation
    GET  /sso/NAME             on to the provider of that connection
    GET  /sso/NAME/back        back from an OpenID provider
    POST /sso/NAME/acs         back from a SAML provider: it has the browser post a form, from a page of its own
    GET  /sso/NAME/metadata    what a SAML provider is told about this side

The cookie of an attempt is not sent with a form that another site posts (`SameSite=Lax`), so such a form is shown back as one of this
site's own, which goes on by itself: what comes then comes from the browser in which the attempt began. The session's cookie is stricter
still, so a browser that comes back is answered with a page that goes on by itself, not with a redirection.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Final, Protocol
from urllib.parse import quote

from omega.gateway.front.core import AsgiScope, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, reply
from omega.gateway.front.signing_in import arrived, onward_of, show
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.wire.problem import status_of

PREFIX: Final = "/sso"
COOKIE: Final = "omega_sign_on"
POSTED: Final = "/acs"
"""What the paths end with that pages of other sites may post to."""

MAX_AGE_S: Final = 600
MAX_FORM: Final = 1 << 20
"""Largest form in bytes: a response of SAML, twice encoded."""

_SCRIPT: Final = "document.forms[0].submit()"
_DIGEST: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_DIGEST}'; form-action 'self'; frame-ancestors 'none'"
_OWN_FORM: Final[Headers] = [(b"content-security-policy", _POLICY.encode())]
_CHOOSE: Final = """<form method="get" action="/sso"><label>your organisation's name here<input name="name" required
pattern="[a-z][a-z0-9\\-]*" autocomplete="organization" spellcheck="false"></label>
<input type="hidden" name="onward" value="{onward}"><button>go on</button></form>"""
_ON: Final = """<meta http-equiv="refresh" content="0;url={where}"><p><a href="{where}">go on</a></p>"""
"""A form may not lead to another site (`form-action`), a page may."""

_AGAIN: Final = """<p>{why}</p><p>code {code}, request {request}</p><p><a href="/sso">try again</a></p>"""
_BOUNCE: Final = """<p>your provider has answered</p><form method="post" action="{action}">{fields}
<button>go on</button></form><script>{script}</script>"""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a browser is sent, and what it holds until it comes back."""

    location: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """The cookie of a session that has begun, and where the browser wanted to go."""

    cookie: str
    onward: str


class Desk(Protocol):
    """What signs people on. The host implements it (`omega.host.sso_desk`)."""

    async def begin(self, name: str, base: str, onward: str, *, address: str = "") -> Sent:
        """Begin an attempt by the connection `name`; `base` is scheme and host of this installation as the browser knows it,
        `address` the browser's. Raises InputError (OMG-I003), Denied (OMG-G007), UpstreamError (OMG-P007)."""
        ...

    async def end(self, name: str, cookie: str, given: Mapping[str, str], *, address: str = "") -> Arrived:
        """End it with what the provider gave the browser. Raises Denied (OMG-T001, OMG-G007), and what the gate refuses with."""
        ...

    def metadata(self, name: str, base: str) -> bytes:
        """What a SAML provider is told about this side. Raises InputError (OMG-I003)."""
        ...


def entrance(desk: Desk) -> Mounted:
    """The entrance."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        name, _, step = arrival.path.removeprefix(PREFIX).strip("/").partition("/")
        try:
            await _answer(desk, arrival, name, step, receive, send)
        except OmegaError as error:
            if error.code.startswith("OMG-G"):
                raise
            status = status_of(error.code)
            why = error.cause if status < 500 else "your provider cannot be asked now"
            told = _AGAIN.format(why=escape(why), code=error.code, request=escape(arrival.id))
            await show(send, "you are not signed in", told, status=403 if status == 401 else status, headers=[_held(arrival, "", 0)])

    return Mounted(PREFIX, app, posted=POSTED)


async def _answer(desk: Desk, arrival: Arrival, name: str, step: str, receive: Receive, send: Send) -> None:
    if step == "acs":
        _only(arrival, "POST")
        await _posted(desk, arrival, name, receive, send)
        return
    _only(arrival, "GET")
    if not name:
        given = arrival.parameters(("name", "onward"))
        onward = onward_of(given.get("onward", ""))
        if not given.get("name"):
            await show(send, "sign in with your organisation", _CHOOSE.format(onward=escape(onward, quote=True)))
            return
        where = f"{PREFIX}/{quote(given['name'].strip().lower(), safe='')}?onward={quote(onward, safe='')}"
        await show(send, "on to your organisation", _ON.format(where=escape(where, quote=True)))
    elif step == "":
        await _begun(desk, arrival, name, onward_of(arrival.parameters().get("onward", "")), send)
    elif step == "back":
        await _ended(desk, arrival, name, arrival.parameters(), send)
    elif step == "metadata":
        kind = b"application/samlmetadata+xml"
        await reply(send, 200, desk.metadata(name, arrival.base), kind=kind, headers=[(b"cache-control", b"no-store")])
    else:
        raise InputError("OMG-G002", "there is nothing at this address")


async def _begun(desk: Desk, arrival: Arrival, name: str, onward: str, send: Send) -> None:
    sent = await desk.begin(name, arrival.base, onward, address=arrival.address)
    lines: Headers = [(b"location", sent.location.encode("latin-1", "replace")), (b"cache-control", b"no-store")]
    await reply(send, 302, headers=[*lines, _held(arrival, sent.cookie, MAX_AGE_S)])


async def _ended(desk: Desk, arrival: Arrival, name: str, given: Mapping[str, str], send: Send) -> None:
    found = await desk.end(name, _cookie_of(arrival), given, address=arrival.address)
    await arrived(send, arrival, found.cookie, found.onward, headers=[_held(arrival, "", 0)])


async def _posted(desk: Desk, arrival: Arrival, name: str, receive: Receive, send: Send) -> None:
    """A response that the provider's page has the browser post; shown back once as a form of our own, where the browser sent no cookie."""
    pairs = query_pairs(await read_body(receive, arrival, most=MAX_FORM))
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InputError("OMG-G001", "a field of the form stands there twice")
    if _cookie_of(arrival):
        await _ended(desk, arrival, name, form, send)
        return
    if "again" in form:
        raise Denied("OMG-T001", "the sign-in did not begin in this browser", advice="sign in again")
    kept = {word: form.get(word, "") for word in ("SAMLResponse", "RelayState")} | {"again": "1"}
    fields = "".join(f'<input type="hidden" name="{word}" value="{escape(value, quote=True)}">' for word, value in kept.items())
    page = _BOUNCE.format(action=escape(arrival.path, quote=True), fields=fields, script=_SCRIPT)
    await show(send, "signing in", page, policy=_OWN_FORM)


def _cookie_of(arrival: Arrival) -> str:
    try:
        found = SimpleCookie(arrival.header("cookie")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _held(arrival: Arrival, value: str, age_s: int) -> tuple[bytes, bytes]:
    """The header that has a browser hold its attempt, or let go of it."""
    secure = "; Secure" if arrival.base.startswith("https") else ""
    return b"set-cookie", f"{COOKIE}={value}; Path={PREFIX}; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}".encode()


def _only(arrival: Arrival, method: str) -> None:
    if arrival.method != method:
        raise InputError("OMG-G003", f"this address takes {method}", details={"allow": [method]})
