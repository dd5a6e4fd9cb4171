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

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from omega.gateway.front.core import Visitor
from omega.host.arrangements import Shelf
from omega.host.clock import SystemEntropy
from omega.kernel.errors import Denied
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy
from omega.kernel.scope import Scope
from omega.trust.dpop import Proofs, Shown
from omega.trust.keys import b64url
from omega.trust.passport import Authority

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
"""The kinds of the documents by which processes that share records know of codes and sessions; each holds when it ends, in Unix seconds."""

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


class Sessions:
    """Browsers that signed in: a code is good once, a session for a while. Both are kept as digests: in this process, or on a `shelf` where
    every process of the installation finds them. Taking a code off the shelf is what uses it up, which one of two manages."""

    def __init__(self, entropy: Entropy, shelf: Shelf | None = None) -> None:
        self._entropy = entropy
        self._shelf = shelf
        self._codes: dict[bytes, float] = {}
        self._open: dict[bytes, float] = {}

    def code(self, now: float) -> str:
        """A new one-time code. Raises StorageError where the shelf fails."""
        return self._made(CODE, self._codes, now, CODE_S, MAX_CODES)

    def redeem(self, code: str, now: float) -> str:
        """The cookie's value for a code, which is good no more then. Raises Denied (OMG-T001), StorageError."""
        digest = _digest(code)
        until = self._codes.pop(digest, 0.0)
        if self._shelf is not None:
            kept = self._shelf.document(CODE, digest.hex())
            until = float(kept) if kept is not None and self._shelf.drop_document(CODE, digest.hex()) else 0.0
        if now >= until:
            raise Denied("OMG-T001", "this sign-in link is used up or too old", advice="omega up prints a new one when it starts")
        return self._made(SESSION, self._open, now, SESSION_S, MAX_SESSIONS)

    def known(self, cookie: str, now: float) -> bool:
        """Whether a browser with this cookie is signed in. Raises StorageError where the shelf fails."""
        digest = _digest(cookie)
        until = self._open.get(digest, 0.0)
        if not until and self._shelf is not None:
            kept = self._shelf.document(SESSION, digest.hex())
            until = 0.0 if kept is None else float(kept)
            if now < until:
                _keep(self._open, digest, until, MAX_SESSIONS)
        return now < until

    def _made(self, kind: str, kept: dict[bytes, float], now: float, good_s: float, most: int) -> str:
        text = b64url(self._entropy.take(32))
        _keep(kept, _digest(text), now + good_s, most)
        if self._shelf is not None:
            for name, body in self._shelf.documents(kind):
                if float(body) <= now:
                    self._shelf.drop_document(kind, name)
            self._shelf.put_document(kind, _digest(text).hex(), b"%.3f" % (now + good_s), int(now * 1_000_000))
        return text


def _keep(kept: dict[bytes, float], digest: bytes, until: float, most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[digest] = until


@dataclass(slots=True)
class Reception:
    """Turns what a request shows into a visitor. `owner` gives the passport of the person of this installation, for signed-in browsers;
    `keys` and `certificates` exchange API keys and SPIFFE ids, nobody's until somebody says otherwise; `shelf` is where sessions lie that
    other processes shall know too."""

    authority: Authority
    owner: Callable[[], str]
    entropy: Entropy = field(default_factory=SystemEntropy)
    keys: Exchange = _nobody
    certificates: Exchange = _nobody
    shelf: Shelf | None = None
    sessions: Sessions = field(init=False)
    _proofs: Proofs = field(default_factory=Proofs)
    _inside: dict[str, tuple[float, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.entropy, self.shelf)

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
            passport = self.keys(token) if token.startswith(API_KEY) else token
        elif "cookie" in headers and (cookie := _cookie(headers["cookie"])):
            passport = self._signed_in(cookie, headers, method, url, now)
        elif peer:
            passport = self.certificates(peer)
        else:
            raise refused()
        return Visitor(passport=passport, scope=self.authority.verify(passport, now=now), address=address)

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
        return Visitor(passport=kept[1], scope=scope, address=address)

    def _signed_in(self, cookie: str, headers: Mapping[str, str], method: str, url: str, now: float) -> str:
        """The owner's passport for a browser that signed in. What changes something must come from a page of this installation."""
        if not self.sessions.known(cookie, now):
            raise refused()
        own, origin = "/".join(url.split("/", 3)[:3]), headers.get("origin")
        if origin is not None and not hmac.compare_digest(origin.lower().encode(), own.lower().encode()):
            raise refused()  # also where the method changes nothing: a WebSocket begins with GET
        if origin is None and method not in SAFE and headers.get("sec-fetch-site", "") != "same-origin":
            raise refused()
        return self.owner()


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
