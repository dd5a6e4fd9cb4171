"""Workloads that may call: which SPIFFE id is let in by its certificate alone, as whom, with which rights.

An entry is an arrangement, sealed under the keys of the installation because it carries authority: whoever can write to the records can
make none. A workload calls as `service:NAME`, where NAME is the path of its SPIFFE id; policies decide about it as about anybody. One that
is not entered is nobody, however good its certificate is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from omega.host.arrangements import Documents
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.ids import PASSPORT, new_id
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from omega.trust.spiffe import SpiffeId

WORKLOAD = "workload"
"""The kind of the documents."""

TTL_S = 300
"""Seconds that the passport of a workload lasts: it is made anew from the certificate."""

KEPT_S = 60.0
"""How long, in seconds, an entry and its passport are kept at hand: an entry that is taken back ends within this time."""

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who a workload is here: of `tenant`, in `groups`, with `capabilities` (`area:verb`)."""

    workload: str
    tenant: str
    groups: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    @property
    def principal(self) -> str:
        """As whom it calls."""
        return f"service:{SpiffeId.parse(self.workload).path.removeprefix('/')}"

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        fields = {"workload": self.workload, "tenant": self.tenant, "groups": self.groups, "capabilities": self.capabilities}
        context = _context(name_of(self.workload))
        wrapped, sealer = keyring.create(context)
        sealed = sealer.seal(json.dumps(fields).encode(), context.encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, body: Mapping[str, Any], keyring: Keyring) -> Entry:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", f"the workload {name[:64]} has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", f"the workload {name[:64]} has no known form") from error
        fields = json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode()))
        return cls(
            workload=fields["workload"],
            tenant=fields["tenant"],
            groups=tuple(fields["groups"]),
            capabilities=tuple(fields["capabilities"]),
        )


def reading(keyring: Keyring) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The check of an entry's document before it is kept. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            Entry.open(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="admit workloads with omega keys admit") from error
        return body

    return read


class Register:
    """Gives the passport of a workload whose certificate was verified. `entropy(n)` gives n random bytes."""

    def __init__(
        self, documents: Documents, keyring: Keyring, authority: Authority, now_us: Callable[[], int], entropy: Callable[[int], bytes]
    ) -> None:
        self._documents, self._keyring, self._authority = documents, keyring, authority
        self._now_us, self._entropy = now_us, entropy
        self._kept: dict[str, tuple[float, str]] = {}

    def passport_of(self, workload: str) -> str:
        """A passport for the SPIFFE id `workload`. Raises Denied: OMG-T010 for what is no such id, OMG-T001 for one that is not entered."""
        now_s = self._now_us() / 1_000_000
        kept = self._kept.get(workload)
        if kept is not None and now_s < kept[0]:
            return kept[1]
        self._kept = {name: each for name, each in self._kept.items() if now_s < each[0]}
        name = name_of(workload)
        body = self._documents.document(WORKLOAD, name)
        entry = None if body is None else Entry.open(name, json.loads(body), self._keyring)
        if entry is None or entry.workload != workload:
            raise Denied("OMG-T001", "no passport came that counts here", advice="omega keys admit lets a workload in")
        passport = self._authority.issue(
            tenant=entry.tenant,
            principal=entry.principal,
            groups=entry.groups,
            capabilities=entry.capabilities,
            ttl_s=TTL_S,
            now=now_s,
            jti=new_id(PASSPORT, now_ms=int(now_s * 1_000), entropy=self._entropy(10)),
        )
        self._kept[workload] = (now_s + KEPT_S, passport)
        return passport


def name_of(workload: str) -> str:
    """The name of a workload's document: of its id alone, so it is found without a list. Raises Denied (OMG-T010) for what is no id."""
    found = SpiffeId.parse(workload)
    if not found.path:
        raise Denied("OMG-T010", "a workload is not known by what it shows: it names a whole trust domain")
    return f"w-{sha256(str(found).encode()).hexdigest()[:40]}"


def _context(name: str) -> str:
    """What an entry's key and seal are bound to."""
    return f"workload {name}"
