"""Whom this installation believes: the issuers whose credentials count, and of which types.

An issuer is a `did:key` or a `did:web` that an operator has named, together with the types (`vct`) that it may vouch for; a credential of
anybody else, or of another type, is refused before anything is fetched. So a stranger who shows a credential can neither be believed nor
have this installation speak to an address of their choice. An entry is sealed, because it carries authority: whoever can write to the
records can make none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from omega.host.arrangements import Documents, Reading, all_arranged, arranged
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.trust.did import MAX_DID, address_of, key_of
from omega.trust.sealing import Keyring

ISSUER: Final = "issuer"
"""The kind of the documents."""

MAX_KINDS: Final = 64
"""Most types that one issuer may vouch for."""

MAX_KIND: Final = 512
"""Longest type in characters."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Believed:
    """An issuer by its identifier, and the types of credentials that it may vouch for."""

    did: str
    kinds: tuple[str, ...]

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        context = _context(name_of(self.did))
        wrapped, sealer = keyring.create(context)
        sealed = sealer.seal(json.dumps([self.did, *self.kinds]).encode(), context.encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, body: Mapping[str, Any], keyring: Keyring) -> Believed:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", f"the issuer {name[:64]} has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", f"the issuer {name[:64]} has no known form") from error
        did, *kinds = json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode()))
        return cls(did, tuple(kinds))


def believed(did: str, kinds: tuple[str, ...]) -> Believed:
    """An issuer as it was named. Raises Denied (OMG-T007) for no identifier, InputError (OMG-I001) for types that cannot be some."""
    checked_did(did)
    if not 0 < len(kinds) <= MAX_KINDS or not all(0 < len(kind) <= MAX_KIND and kind.isprintable() for kind in kinds):
        advice = "say for what it may vouch: --kind TYPE, the vct of its credentials"
        raise InputError("OMG-I001", f"an issuer vouches for 1 to {MAX_KINDS} types of at most {MAX_KIND} characters", advice=advice)
    return Believed(did, tuple(dict.fromkeys(kinds)))


def checked_did(did: str) -> str:
    """`did` itself, where it is a did:key or a did:web that could be looked up. Raises Denied (OMG-T007)."""
    if len(did) > MAX_DID:
        raise Denied("OMG-T007", "this is no identifier: it is too long")
    if did.startswith("did:key:"):
        key_of(did)
    else:
        address_of(did)
    return did


def issuer_of(documents: Documents, keyring: Keyring, did: str) -> Believed | None:
    """The entry of an issuer; None for one that nobody has named. Raises IntegrityError (OMG-T004)."""
    name = name_of(did)
    body = arranged(documents, ISSUER, name)
    found = None if body is None else Believed.open(name, body, keyring)
    return found if found is not None and found.did == did else None


def issuers(documents: Documents, keyring: Keyring) -> list[Believed]:
    """Every issuer that is believed. Raises IntegrityError (OMG-T004)."""
    found = [Believed.open(name, body, keyring) for name, body in all_arranged(documents, ISSUER).items()]
    return sorted(found, key=lambda each: each.did)


def reading(keyring: Keyring) -> Reading:
    """The check of an entry's document before it is kept. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            Believed.open(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="name issuers with omega credential trust") from error
        return body

    return read


def name_of(did: str) -> str:
    """The name of an issuer's document: of its identifier alone, so it is found without a list."""
    return f"i-{sha256(did.encode()).hexdigest()[:40]}"


def _context(name: str) -> str:
    """What an entry's key and seal are bound to."""
    return f"issuer {name}"
