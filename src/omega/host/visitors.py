"""Who comes to the door over the network: what each way of proving who one is comes to, as a `Visitor`.

    Authorization: Bearer PASSPORT     a passport of this installation, not bound to a key
    Authorization: DPoP PASSPORT       one that is bound, with a proof in the header `DPoP` (RFC 9449); it goes on inside as a short one
    Authorization: Bearer omk_...      an API key, exchanged for a passport by whoever keeps keys
    Cookie: omega_session=...          a browser that signed in by the one-time link of `omega up`; only from pages of this installation
    a client certificate               with a SPIFFE id that somebody is entered under

Exactly one of them counts, in this order; one that is no good is refused, and no other is looked at then. Nothing said here is told to a
stranger: every refusal is the same code with the same advice.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from omega.gateway.front.core import Proof, Visitor
from omega.host.clock import SystemEntropy
from omega.kernel.errors import Denied, IntegrityError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy
from omega.kernel.scope import Scope
from omega.trust.dpop import Proofs, Shown
from omega.trust.keys import b64url
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

COOKIE = "omega_session"
"""The cookie of a browser that signed in."""

API_KEY = "omk_"
"""How API keys begin."""

CODE_S = 600.0
"""How long (seconds) a sign-in link is good for."""

SESSION_S = 12 * 3600.0
"""How long (seconds) a browser stays signed in."""

MAX_SESSIONS = 1_000
"""Most browsers signed in at once; the oldest is signed out first."""

MAX_CODES = 100
"""Most sign-in links that are open at once; the oldest is dropped first."""

CODE, SESSION = "sign-in code", "signed in"
"""The kinds of the documents by which codes and sessions are known."""

INSIDE_S = 120
"""How long (seconds) the passport lasts that stands for a bound one inside."""

MAX_INSIDE = 1_024
"""Most of those kept at hand; past it all are forgotten and made anew."""

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing: for these a cookie needs no proof of where the page came from."""

Exchange = Callable[[str], str]
"""Gives a passport for an API key or a SPIFFE id. Raises Denied (OMG-T001)."""


def _nobody(_: str) -> str:
    raise refused()


def refused() -> Denied:
    """What whoever has no good proof is told."""
    return Denied("OMG-T001", "no passport came that counts here", advice="send a passport or an API key: Authorization: Bearer ...")


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a code or a session is worth: until when (Unix seconds), and the id of the passport that asked for the link; empty for the link
    that `omega up` prints."""

    until: float
    asker: str

    def seal(self, keyring: Keyring, context: str) -> bytes:
        """As the body of its document, which is good in that place alone."""
        wrapped, sealer = keyring.create(context)
        sealed = sealer.seal(json.dumps([self.until, self.asker]).encode(), context.encode())
        return b".".join(base64.b64encode(part) for part in (wrapped, sealed))

    @classmethod
    def open(cls, body: bytes, keyring: Keyring, context: str) -> _Standing | None:
        """From its document; None for one that was not sealed here for that place: it is as if it were not there."""
        try:
            wrapped, sealed = (base64.b64decode(part, validate=True) for part in body.split(b"."))
            until, asker = json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))
        except (ValueError, IntegrityError):
            return None
        return cls(float(until), str(asker))


class Shelf(Protocol):
    """Where codes and sessions lie: a store that processes share, or this process."""

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str) -> list[tuple[str, bytes]]: ...

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def drop_document(self, kind: str, name: str) -> bool: ...


class _Here:
    """The documents of a process that shares its records with none."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    def document(self, kind: str, name: str) -> bytes | None:
        return self._kept.get((kind, name))

    def documents(self, kind: str) -> list[tuple[str, bytes]]:
        return [(name, body) for (its, name), body in self._kept.items() if its == kind]

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self._kept[kind, name] = body

    def drop_document(self, kind: str, name: str) -> bool:
        return self._kept.pop((kind, name), None) is not None


class Sessions:
    """Browsers that signed in: a code is good once, a session for a while. Both lie on the `shelf`, where every process of the installation
    finds them, or in this process: under the digest of what the browser shows, sealed, so whoever can write there can make none. Taking a
    code off the shelf is what uses it up, which one of two manages. Both end when the passport that asked for the link is revoked."""

    def __init__(self, entropy: Entropy, keyring: Keyring, authority: Authority, shelf: Shelf | None = None) -> None:
        self._entropy = entropy
        self._keyring = keyring
        self._authority = authority
        self._shelf: Shelf = _Here() if shelf is None else shelf

    def code(self, now: float, asker: str = "") -> str:
        """A new one-time code, asked for by the passport of that id. Raises StorageError where the shelf fails."""
        return self._made(CODE, _Standing(now + CODE_S, asker), now, MAX_CODES)

    def redeem(self, code: str, now: float) -> str:
        """The cookie's value for a code, which is good no more then. Raises Denied (OMG-T001), StorageError."""
        found = self._found(CODE, code, now)
        if found is None or not self._shelf.drop_document(CODE, _digest(code)):
            raise Denied("OMG-T001", "this sign-in link is used up or too old", advice="omega up prints a new one when it starts")
        return self._made(SESSION, _Standing(now + SESSION_S, found.asker), now, MAX_SESSIONS)

    def known(self, cookie: str, now: float) -> bool:
        """Whether a browser with this cookie is signed in. Raises StorageError where the shelf fails."""
        return self._found(SESSION, cookie, now) is not None

    def forget(self, cookie: str) -> None:
        """Sign out the browser with this cookie, in every process. Raises StorageError where the shelf fails."""
        self._shelf.drop_document(SESSION, _digest(cookie))

    def _found(self, kind: str, text: str, now: float) -> _Standing | None:
        name = _digest(text)
        body = self._shelf.document(kind, name)
        found = None if body is None else _Standing.open(body, self._keyring, _context(kind, name))
        if found is None or now >= found.until:
            return None
        if found.asker:
            try:
                self._authority.check_id(found.asker)
            except Denied:
                return None
        return found

    def _made(self, kind: str, standing: _Standing, now: float, most: int) -> str:
        left = self._swept(kind, now)
        for name in left[: max(0, len(left) + 1 - most)]:
            self._shelf.drop_document(kind, name)
        text = b64url(self._entropy.take(32))
        name = _digest(text)
        self._shelf.put_document(kind, name, standing.seal(self._keyring, _context(kind, name)), int(now * 1_000_000))
        return text

    def _swept(self, kind: str, now: float) -> list[str]:
        """Drops what has ended and what was never sealed here; gives the names of the others, the one that ends first at the front."""
        left = []
        for name, body in self._shelf.documents(kind):
            found = _Standing.open(body, self._keyring, _context(kind, name))
            if found is None or found.until <= now:
                self._shelf.drop_document(kind, name)
            else:
                left.append((found.until, name))
        return [name for _, name in sorted(left)]


@dataclass(slots=True)
class Reception:
    """Turns what a request shows into a visitor. `owner` gives the passport of the person of this installation, for signed-in browsers;
    `keys` and `certificates` exchange API keys and SPIFFE ids, nobody's until somebody says otherwise; `shelf` is where sessions lie that
    other processes shall know too, sealed under the `keyring`."""

    authority: Authority
    owner: Callable[[], str]
    keyring: Keyring
    entropy: Entropy = field(default_factory=SystemEntropy)
    keys: Exchange = _nobody
    certificates: Exchange = _nobody
    shelf: Shelf | None = None
    sessions: Sessions = field(init=False)
    _proofs: Proofs = field(default_factory=Proofs)
    _inside: dict[str, tuple[float, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.entropy, self.keyring, self.authority, self.shelf)

    def visitor(self, headers: Mapping[str, str], *, method: str, url: str, address: str, peer: str, now: float) -> Visitor:
        """Who is calling. Raises Denied (OMG-T001)."""
        authorization = headers.get("authorization", "")
        if authorization:
            scheme, _, token = authorization.partition(" ")
            kind, token = scheme.lower(), token.strip()
            if kind == "dpop":
                return self._bound(Shown(token, headers.get("dpop", ""), method, url), address, now)
            if kind != "bearer" or not token:
                raise refused()
            proof, passport = (Proof.KEY, self.keys(token)) if token.startswith(API_KEY) else (Proof.BEARER, token)
        elif "cookie" in headers and (cookie := _cookie(headers["cookie"])):
            proof, passport = Proof.BROWSER, self._signed_in(cookie, headers, method, url, now)
        elif peer:
            proof, passport = Proof.CERTIFICATE, self.certificates(peer)
        else:
            raise refused()
        return Visitor(passport=passport, scope=self.authority.verify(passport, now=now), address=address, proof=proof)

    def _bound(self, shown: Shown, address: str, now: float) -> Visitor:
        """A passport whose key was shown: verified with it, and redeemed for one that goes on inside."""
        holder = self._proofs.holder(shown, now=now)
        scope: Scope = self.authority.verify(shown.passport, now=now, holder=holder)
        kept = self._inside.get(shown.passport)
        if kept is None or now >= kept[0]:
            if len(self._inside) >= MAX_INSIDE:
                self._inside.clear()
            jti = new_id(PASSPORT, now_ms=int(now * 1_000), entropy=self.entropy.take(10))
            inner = self.authority.redeem(shown.passport, holder=holder, ttl_s=INSIDE_S, now=now, jti=jti)
            kept = self._inside[shown.passport] = (now + INSIDE_S / 2, inner)
        return Visitor(passport=kept[1], scope=scope, address=address, proof=Proof.BOUND)

    def sign_out(self, headers: Mapping[str, str], *, method: str, url: str) -> None:
        """Forget the session of the browser that asks for it, whether it is known or not. Raises Denied (OMG-T001) for a foreign page."""
        _demand_own_page(headers, method, url)
        if cookie := _cookie(headers.get("cookie", "")):
            self.sessions.forget(cookie)

    def _signed_in(self, cookie: str, headers: Mapping[str, str], method: str, url: str, now: float) -> str:
        """The owner's passport for a browser that signed in. What changes something must come from a page of this installation."""
        if not self.sessions.known(cookie, now):
            raise refused()
        _demand_own_page(headers, method, url)
        return self.owner()


def _demand_own_page(headers: Mapping[str, str], method: str, url: str) -> None:
    """Raise Denied (OMG-T001) when a request comes from a foreign page, or changes something and does not say where it comes from."""
    own, origin = "/".join(url.split("/", 3)[:3]), headers.get("origin")
    if origin is not None and not hmac.compare_digest(origin.lower().encode(), own.lower().encode()):
        raise refused()  # also where the method changes nothing: a WebSocket begins with GET
    if origin is None and method not in SAFE and headers.get("sec-fetch-site", "") != "same-origin":
        raise refused()


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _context(kind: str, name: str) -> str:
    """What the key and the seal of a document are bound to."""
    return f"{kind} {name}"
