"""What was revoked, as documents that every engine reads: put there, followed, and in time made small.

    revoked          one per id: whose account it is on, and since when. Kept so, as long as a passport below it could last
    revoked-news     the same ids by the minute they were revoked in: an engine that follows reads the last minutes of them alone
    revoked-before   one per tenant: of older ones what is left, twelve bytes each (a digest, and when), and the tenant's floor

An execution, a schedule and a webhook go on with the authority of a passport that has ended long since, and an old execution may be forked:
so nothing that was revoked is ever forgotten as if it had not been. After `LASTING_S` no passport below an id counts by itself, and the id
goes over into its tenant's `revoked-before`. Where that is full the oldest of it go, and the floor rises instead: whatever was admitted
with a passport that ended before the floor goes on no more. That hits the tenant alone whose revocations they are.

Whoever revokes is never refused: suspending somebody works always. What is refused past a bound is what leads to further ones: new users
and keys of the tenant, or what the one person allows clients. The bounds are of accounts: a tenant's name for what its admins do,
`TENANT DIGEST` for what one person of it may do alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from omega.host.arrangements import Documents, Shelf
from omega.kernel.errors import Denied
from omega.kernel.service import INSTALLATION
from omega.trust.passport import MAX_TTL_S, Authority, revocation_digest

REVOKED, NEWS, BEFORE = "revoked", "revoked-news", "revoked-before"
"""The kinds of the documents."""

LASTING_S: Final = MAX_TTL_S + 3_600
"""How long (seconds) an id is kept as it is: the longest life of a passport, and an hour for clocks and engines that lag."""

FORGETTABLE_S: Final = 32 * 24 * 3_600
"""How old (seconds) what gives way to the floor is at least: longer than a grant lasts, whose anchor is looked up by its id alone."""

MAX_OF_TENANT: Final = 4_096
"""Most revocations on a tenant's account within `LASTING_S`; past it the tenant makes no new users and keys."""

MAX_OF_PERSON: Final = 500
"""Most on the account of one person within `LASTING_S`: withdrawn grants, passports given back."""

MAX_BEFORE: Final = 32_768
"""Most that a tenant's `revoked-before` holds."""

SWEPT_AT_ONCE: Final = 200
"""Most ids that one `sweep` makes small: each is a write."""

WINDOW_S: Final = 60
"""The length (seconds) of the spans that news are kept by; the last two are read."""

TENANT_PREFIX: Final = "ten_"
_HEAD, _ENTRY = struct.Struct(">Q"), struct.Struct(">8sI")


def account_of(name: str) -> str:
    """The account of an id that says nothing else: of the tenant that it begins with, else of the installation."""
    first, below, _ = name.partition("/")
    return first if below and first.startswith(TENANT_PREFIX) else INSTALLATION


def person_account(tenant: str, principal: str) -> str:
    """The account of one person of a tenant."""
    return f"{tenant} {sha256(principal.encode()).hexdigest()[:16]}"


def revoke(shelf: Shelf, authority: Authority, name: str, now_us: int, *, account: str = "") -> None:
    """Refuse `name` and all that goes on with it, from now on, on every engine. Raises StorageError."""
    body = json.dumps({"of": account or account_of(name), "at_us": now_us}).encode()
    shelf.swap_document(REVOKED, name, None, body, now_us)  # said again, it stays as it was
    news = f"{_window(now_us)} {revocation_digest(name).hex()}"  # not by the name: the purge of a tenant takes what is named after it
    shelf.put_document(NEWS, news, json.dumps({"id": name}).encode(), now_us)
    authority.revoke(name, account=account or account_of(name))


def demand_room(authority: Authority, account: str) -> None:
    """Raise Denied (OMG-G007) where an account has had so much revoked that it makes nothing new for now."""
    tenant, person, _ = account.partition(" ")
    if authority.charged(account) >= (MAX_OF_PERSON if person else MAX_OF_TENANT) or authority.buried(tenant) >= MAX_BEFORE:
        raise Denied(
            "OMG-G007",
            "so much was revoked here lately that nothing new is given out that would have to be revoked again",
            advice="wait until the older ones are a day old; suspending, deleting and withdrawing work all the while",
            details={"retry_after_s": 3_600},
        )


def is_revoked(shelf: Documents, authority: Authority, name: str) -> bool:
    """Whether that very id was revoked, lately or long ago. Raises StorageError."""
    return authority.is_revoked(name) or shelf.document(REVOKED, name) is not None


def load(documents: Documents, authority: Authority) -> None:
    """Have `authority` know all that was revoked before it began. Raises StorageError."""
    for tenant, body in documents.documents(BEFORE):
        _bury(authority, tenant, body)
    for name, body in documents.documents(REVOKED):
        authority.revoke(name, account=_noted(name, body)[0])


class Follower:
    """Learns what other engines on the same records revoked, and which tenants they let work again."""

    def __init__(self, documents: Documents, authority: Authority) -> None:
        self._documents, self._authority = documents, authority
        self._whole = ""
        self._before: dict[str, bytes] = {}

    def look(self, now_us: int) -> bool:
        """Read the news, or once in `WINDOW_S` all; whether anything was new. Raises StorageError: then all is read the next time."""
        before, window = self._authority.epoch, _window(now_us)
        if window != self._whole:
            self._whole = ""
            self._read_all()
            self._whole = window
        for span in (_window(now_us - WINDOW_S * 1_000_000), window, _window(now_us + WINDOW_S * 1_000_000)):
            for _, body in self._documents.documents(NEWS, f"{span} "):
                self._learn(str(json.loads(body)["id"]))
        for tenant in self._authority.revoked_tenants():
            if _works(self._documents, tenant) and self._documents.document(REVOKED, tenant) is None:
                self._authority.reinstate(tenant)
        return self._authority.epoch != before

    def _learn(self, name: str) -> None:
        if self._authority.is_revoked(name):
            return
        body = self._documents.document(REVOKED, name)
        if body is not None:
            self._authority.revoke(name, account=_noted(name, body)[0])

    def _read_all(self) -> None:
        for tenant, body in self._documents.documents(BEFORE):  # for an engine that could not look for longer than names are kept
            if self._before.get(tenant) != body:
                _bury(self._authority, tenant, body)
                self._before[tenant] = body
        listed = dict(self._documents.documents(REVOKED))
        for name in listed.keys() - self._authority.revoked():
            self._authority.revoke(name, account=_noted(name, listed[name])[0])
        for name in self._authority.revoked() - listed.keys():
            if not _is_tenant(name):  # swept by another engine: as small here as there
                self._authority.bury_name(name)


def sweep(shelf: Shelf, authority: Authority, now_us: int) -> int:
    """Make small what is older than any passport below it can be, `SWEPT_AT_ONCE` at most; gives how many. One without a moment, of an
    earlier release, counts as made now. Raises StorageError."""
    due: dict[str, list[tuple[str, int]]] = {}
    touched = 0
    for name, body in shelf.documents(REVOKED):
        account, at_us = _noted(name, body)
        if touched >= SWEPT_AT_ONCE:
            break
        if at_us is None:
            shelf.swap_document(REVOKED, name, body, json.dumps({"of": account, "at_us": now_us}).encode(), now_us)
            touched += 1
        elif at_us + LASTING_S * 1_000_000 < now_us and not (_is_tenant(name) and _is_hosted(shelf, name)):
            due.setdefault(account.partition(" ")[0], []).append((name, at_us))
            touched += 1
    swept = sum(_make_small(shelf, authority, tenant, entries, now_us) for tenant, entries in due.items())
    _drop_news(shelf, now_us)
    return swept


def _make_small(shelf: Shelf, authority: Authority, tenant: str, due: list[tuple[str, int]], now_us: int) -> int:
    """First the small ones are kept, then the documents go: whatever happens between, each is refused. A tenant that was purged, and what
    was on its account, has no records that could be gone on with: that is dropped."""
    lasting = [each for each in due if not _is_tenant(each[0])] if tenant == INSTALLATION or _is_hosted(shelf, tenant) else []
    if lasting and not _kept(shelf, authority, tenant, lasting, now_us):
        return 0
    for name, _ in due:
        shelf.drop_document(REVOKED, name)
        if _is_tenant(name):
            authority.reinstate(name)
        else:
            authority.bury_name(name)
    return len(due)


def _kept(shelf: Shelf, authority: Authority, tenant: str, due: list[tuple[str, int]], now_us: int) -> bool:
    """Add to a tenant's `revoked-before`; False where there is no room yet, or another engine is at it."""
    was = shelf.document(BEFORE, tenant)
    floor_s, entries = _entries(was or b"")
    known = {digest for digest, _ in entries}
    entries += [(revocation_digest(name), at_us // 1_000_000) for name, at_us in due if revocation_digest(name) not in known]
    entries.sort(key=lambda each: each[1])
    over = entries[: max(0, len(entries) - MAX_BEFORE)]
    if over:
        if over[-1][1] + FORGETTABLE_S > now_us // 1_000_000:
            return False
        floor_s = max(floor_s, over[-1][1] + LASTING_S)
        entries = entries[len(over) :]
    body = _HEAD.pack(floor_s) + b"".join(_ENTRY.pack(*each) for each in entries)
    if not shelf.swap_document(BEFORE, tenant, was, body, now_us):
        return False
    authority.bury(tenant, (digest for digest, _ in entries), floor_s=floor_s)
    return True


def _bury(authority: Authority, tenant: str, body: bytes) -> None:
    floor_s, entries = _entries(body)
    authority.bury(tenant, (digest for digest, _ in entries), floor_s=floor_s)


def _drop_news(shelf: Shelf, now_us: int) -> None:
    """Drop news that every engine has read by now; what one missed it finds when it reads all."""
    old = _window(now_us - 10 * WINDOW_S * 1_000_000)
    for name, _ in [each for each in shelf.documents(NEWS) if each[0] < old][:SWEPT_AT_ONCE]:
        shelf.drop_document(NEWS, name)


def _entries(body: bytes) -> tuple[int, list[tuple[bytes, int]]]:
    """The floor (Unix seconds), and digests with when each was revoked. What has no whole form counts as far as it goes."""
    if len(body) < _HEAD.size:
        return 0, []
    whole = (len(body) - _HEAD.size) // _ENTRY.size * _ENTRY.size
    entries: Iterable[tuple[bytes, int]] = _ENTRY.iter_unpack(body[_HEAD.size : _HEAD.size + whole])
    return _HEAD.unpack_from(body)[0], list(entries)


def _noted(name: str, body: bytes) -> tuple[str, int | None]:
    """On whose account an id is, and since when (Unix microseconds; None: it does not say)."""
    try:
        found = json.loads(body)
        return str(found["of"]), int(found["at_us"])
    except (ValueError, KeyError, TypeError):
        return account_of(name), None


def _works(documents: Documents, tenant: str) -> bool:
    body = documents.document("tenant", tenant)
    return body is not None and json.loads(body)["state"] == "active"


def _is_hosted(documents: Documents, tenant: str) -> bool:
    return documents.document("tenant", tenant) is not None


def _is_tenant(name: str) -> bool:
    return name.startswith(TENANT_PREFIX) and "/" not in name


def _window(at_us: int) -> str:
    return f"{at_us // (WINDOW_S * 1_000_000):012x}"
