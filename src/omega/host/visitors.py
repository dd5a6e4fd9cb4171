"""Who comes to the door over the network: what each way of proving who one is comes to, as a `Visitor`.

    Authorization: Bearer PASSPORT     a passport of this installation, not bound to a key
    Authorization: DPoP PASSPORT       one that is bound, with a proof in the header `DPoP` (RFC 9449); it goes on inside as a short one
    Authorization: Bearer omk_...      an API key, exchanged for a passport by whoever keeps keys
    Cookie: omega_session=...          a browser that signed in; only from pages of this installation
    a client certificate               with a SPIFFE id that somebody is entered under

Exactly one of them counts, in this order; one that is no good is refused, and no other is looked at then. Nothing said here is told to a
stranger: every refusal is the same code with the same advice.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol

from omega.gateway.front.core import Proof, Visitor
from omega.host.bound import demand_here
from omega.host.clock import SystemEntropy
from omega.host.tenants import Bearer, above
from omega.kernel.errors import Denied, IntegrityError, StorageError
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

MAX_OF_ONE = 16
"""Most browsers that one person is signed in with at once: a further one signs out, of their own, the one that ends first."""

MAX_OF_TENANT = 256
"""Most browsers that the people of one tenant are signed in with at once: past it whoever comes next is refused, and nobody signed out."""

MAX_SESSIONS = 4_096
"""Most browsers of all tenants together, likewise. The owner's, who signs in by a link, are bounded by MAX_OF_ONE alone: they find a place
however full the house is."""

MAX_CODES = 100
"""Most sign-in links that are open at once; the oldest is dropped first."""

CROWDED_RETRY_S = 600
"""After how many seconds somebody for whom there is no place may try again."""

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

People = Callable[[Bearer], str]
"""Gives a passport for somebody who signed in, with the rights that they have now. Raises Denied (OMG-T001)."""


def _nobody(_: object) -> str:
    raise refused()


def refused() -> Denied:
    """What whoever has no good proof is told."""
    return Denied("OMG-T001", "no passport came that counts here", advice="send a passport or an API key: Authorization: Bearer ...")


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose place a document takes: digests of the tenant and of the person; empty for the owner's. It stands beside what is sealed, with
    the end, so that places are counted without a key being used. Who a browser speaks for comes from the sealed part alone."""

    tenant: str
    person: str

    def note(self, until: float) -> bytes:
        """As it stands in a document, which ends at `until` (Unix seconds)."""
        return f"{until * 1_000:.0f}:{self.tenant}:{self.person}".encode()


def _noted(body: bytes) -> tuple[float, _Place] | None:
    """Until when a document counts, and whose place it takes; None for one that does not say."""
    try:
        until, tenant, person = body.split(b".")[2].decode().split(":")
        return int(until) / 1_000, _Place(tenant, person)
    except (IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a code or a session is worth: until when (Unix seconds), and the id that ends it when it is revoked (of the passport that asked
    for the link, of the key that was shown); empty for the link that `omega up` prints. `bearer` is who signed in: none is the owner."""

    until: float
    asker: str
    bearer: Bearer | None = None

    def seal(self, keyring: Keyring, context: str) -> bytes:
        """As the body of its document, which is good in that place alone."""
        wrapped, sealer = keyring.create(context)
        bearer = [] if self.bearer is None else [asdict(self.bearer)]
        sealed = sealer.seal(json.dumps([self.until, self.asker, *bearer]).encode(), context.encode())
        return b".".join([*(base64.b64encode(part) for part in (wrapped, sealed)), self.place.note(self.until)])

    @property
    def place(self) -> _Place:
        """Whose place it takes."""
        if self.bearer is None:
            return _Place("", "")
        return _Place(*(_digest(text)[:32] for text in (self.bearer.tenant, f"{self.bearer.tenant} {self.bearer.principal}")))

    @classmethod
    def open(cls, body: bytes, keyring: Keyring, context: str) -> _Standing | None:
        """From its document; None for one that was not sealed here for that place: it is as if it were not there."""
        try:
            wrapped, sealed, *_ = (base64.b64decode(part, validate=True) for part in body.split(b".")[:2])
            until, asker, *bearer = json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))
        except (ValueError, IntegrityError):
            return None
        return cls(float(until), str(asker), _bearer(bearer[0]) if bearer else None)


def _bearer(kept: Mapping[str, Any]) -> Bearer:
    return replace(Bearer(**kept), roles=tuple(kept["roles"]), capabilities=tuple(kept["capabilities"]))


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
        return self._made(SESSION, _Standing(now + SESSION_S, found.asker), now, MAX_OF_ONE)

    def begin(self, bearer: Bearer, now: float, *, until: float = 0.0) -> str:
        """The cookie's value for somebody who has proved who they are, whichever way: the one way to a session for a principal. It lasts to
        `until` (Unix seconds) at the latest, and ends when the bearer's tenant or root is revoked.

        Raises StorageError: OMG-G008 where the tenant, or the installation, has no place left.
        """
        ends = min(now + SESSION_S, until or now + SESSION_S)
        return self._made(SESSION, _Standing(ends, above(bearer), bearer), now, MAX_OF_ONE)

    def standing(self, cookie: str, now: float) -> _Standing | None:
        """Who signed in with the browser of this cookie, and what ends that. Raises StorageError where the shelf fails."""
        return self._found(SESSION, cookie, now)

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
        self._make_room(kind, standing.place, now, most)
        text = b64url(self._entropy.take(32))
        name = _digest(text)
        self._shelf.put_document(kind, name, standing.seal(self._keyring, _context(kind, name)), int(now * 1_000_000))
        return text

    def _make_room(self, kind: str, place: _Place, now: float, most: int) -> None:
        """Drop what has ended, and of whoever comes what is over `most`; what somebody else has stays, and who comes is refused instead."""
        left = self._swept(kind, now)
        own = [name for _, name, its in left if its == place]
        for name in own[: max(0, len(own) + 1 - most)]:
            self._shelf.drop_document(kind, name)
        if not place.tenant or len(own) >= most:
            return
        others = [its.tenant for _, _, its in left if its.tenant]
        if others.count(place.tenant) >= MAX_OF_TENANT or len(others) >= MAX_SESSIONS:
            advice, details = "sign out where you need it no more, or try again later", {"retry_after_s": CROWDED_RETRY_S}
            raise StorageError("OMG-G008", "too many browsers are signed in already", advice=advice, details=details)

    def _swept(self, kind: str, now: float) -> list[tuple[float, str, _Place]]:
        """Drops what has ended and what has no known form; gives until when the others last, their names and whose they are, the one that
        ends first at the front. What says that it lasts longer than anything lasts was not made here."""
        left = []
        for name, body in self._shelf.documents(kind):
            noted = _noted(body)
            if noted is None or not now < noted[0] <= now + SESSION_S + 1:
                self._shelf.drop_document(kind, name)
            else:
                left.append((noted[0], name, noted[1]))
        return sorted(left, key=lambda each: each[:2])


@dataclass(slots=True)
class Reception:
    """Turns what a request shows into a visitor. `owner` gives the passport of the person of this installation, for browsers that signed in
    by a link, `people` one of anybody else who signed in; `keys` and `certificates` exchange API keys and SPIFFE ids, nobody's until
    somebody says otherwise; `shelf` is where sessions lie that other processes shall know too, sealed under the `keyring`."""

    authority: Authority
    owner: Callable[[], str]
    keyring: Keyring
    entropy: Entropy = field(default_factory=SystemEntropy)
    keys: Exchange = _nobody
    certificates: Exchange = _nobody
    people: People = _nobody
    shelf: Shelf | None = None
    sessions: Sessions = field(init=False)
    _proofs: Proofs = field(default_factory=Proofs)
    _inside: dict[str, tuple[float, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.entropy, self.keyring, self.authority, self.shelf)

    def visitor(self, headers: Mapping[str, str], *, method: str, url: str, address: str, peer: str, now: float) -> Visitor:
        """Who is calling. Raises Denied (OMG-T001)."""
        authorization, anchor = headers.get("authorization", ""), ""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            kind, token = scheme.lower(), token.strip()
            if kind == "dpop":
                bound = self._bound(Shown(token, headers.get("dpop", ""), method, url), address, now)
                demand_here(bound.scope.passport, url)
                return bound
            if kind != "bearer" or not token:
                raise refused()
            proof, passport = (Proof.KEY, self.keys(token)) if token.startswith(API_KEY) else (Proof.BEARER, token)
        elif "cookie" in headers and (cookie := _cookie(headers["cookie"])):
            passport, anchor = self._signed_in(cookie, headers, method, url, now)
            proof = Proof.BROWSER
        elif peer:
            proof, passport = Proof.CERTIFICATE, self.certificates(peer)
        else:
            raise refused()
        scope = self.authority.verify(passport, now=now)
        demand_here(scope.passport, url)
        return Visitor(passport=passport, scope=scope, address=address, proof=proof, anchor=anchor)

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

    def _signed_in(self, cookie: str, headers: Mapping[str, str], method: str, url: str, now: float) -> tuple[str, str]:
        """A passport of whoever signed in with that browser, and the id that ends their session. What changes something must come from a
        page of this installation."""
        found = self.sessions.standing(cookie, now)
        if found is None:
            raise refused()
        _demand_own_page(headers, method, url)
        return self.owner() if found.bearer is None else self.people(found.bearer), found.asker


def shows(headers: Mapping[str, str]) -> bool:
    """Whether a request shows a credential at all, good or not."""
    return bool(headers.get("authorization") or _cookie(headers.get("cookie", "")))


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
