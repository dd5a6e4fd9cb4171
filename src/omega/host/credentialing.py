"""Verbs about credentials, for whoever operates an installation. What uses a key or changes who is believed goes down the road."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from omega.host.asking import ask, forget, keep
from omega.host.issuers import ISSUER, Believed, believed, issuers, name_of
from omega.host.reading import Archive
from omega.host.vouching import (
    HOLDING,
    ISSUING,
    begin_credentials,
    challenge_holder,
    check_credential,
    issue_credential,
    present_credential,
)
from omega.kernel.errors import InputError
from omega.trust import credential, did
from omega.trust.keys import PublicKey

MOST_READ: Final = credential.MAX_CREDENTIAL + 2
"""Characters of a file that are read: one longer than a credential, with its end of line, shows that it is none."""


async def issue(
    home: str | os.PathLike[str] | None,
    kind: str,
    claims: Mapping[str, Any],
    *,
    shown: Sequence[str],
    holder: str,
    lasts_s: int,
    issuer: str = "",
) -> dict[str, Any]:
    """Issue a credential (`omega.host.vouching.Issue`). Raises Denied (OMG-T007), InputError (OMG-I001), StorageError."""
    wanted = {"kind": kind, "claims": dict(claims), "shown": list(shown), "holder": holder, "lasts_s": lasts_s, "issuer": issuer}
    return dict(await ask(home, issue_credential, wanted))


async def present(home: str | os.PathLike[str] | None, text: str, *, disclosed: Sequence[str], audience: str, nonce: str) -> dict[str, Any]:
    """Show a credential to `audience`. Raises Denied (OMG-T007), InputError (OMG-I001), StorageError."""
    wanted = {"credential": text, "disclosed": list(disclosed), "audience": audience, "nonce": nonce}
    return dict(await ask(home, present_credential, wanted))


async def challenge(home: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Give out a nonce. Raises Denied (OMG-W005) where too many are out, StorageError."""
    return dict(await ask(home, challenge_holder, {}))


async def check(home: str | os.PathLike[str] | None, presentation: str, *, nonce: str) -> dict[str, Any]:
    """What a holder shows, verified. Raises Denied (OMG-T007), UpstreamError (OMG-P007) for an issuer that cannot be looked up."""
    return dict(await ask(home, check_credential, {"presentation": presentation, "nonce": nonce}))


def told(text: str) -> dict[str, Any]:
    """What a credential says, as data and not verified. Raises Denied (OMG-T007)."""
    found = credential.contents(text)
    holder = did.did_of(found.holder) if found.holder is not None else ""
    said = {"issuer": found.issuer, "kind": found.kind, "holder": holder, "ends_s": found.ends_s, "presented": found.bound}
    return {**said, "claims": dict(found.claims), "concealed": dict(found.concealed)}


def standing(home: str | os.PathLike[str] | None) -> dict[str, Any]:
    """The names of this installation, as issuer and as holder (empty: it was neither yet), and whom it believes for what.

    Raises StorageError (OMG-T003), IntegrityError (OMG-T004).
    """
    with Archive.open(home) as archive:
        entries = issuers(archive.reader, archive.identity.keyring)
        keys = archive.identity.keys
    named = {name: did.did_of(PublicKey(keys.signer(name).public)) if keys.has(name) else "" for name in (ISSUING, HOLDING)}
    return {**named, "believed": [{"issuer": each.did, "kinds": list(each.kinds)} for each in entries]}


async def begin(home: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Make the keys `issuer` and `holder`, where there are none, on record; gives both names. Raises Denied, StorageError."""
    return dict(await ask(home, begin_credentials, {}))


def document(home: str | os.PathLike[str] | None, name: str) -> dict[str, Any]:
    """The document to be served for the did:web `name` of this installation. Raises Denied (OMG-T007), InputError (OMG-X001)."""
    with Archive.open(home) as archive:
        keys = archive.identity.keys
        if not keys.has(ISSUING):
            raise InputError("OMG-X001", "this installation has no key that issues", advice="omega credential begin")
        return did.document_of(name, PublicKey(keys.signer(ISSUING).public))


async def trust(home: str | os.PathLike[str] | None, name: str, kinds: Sequence[str]) -> Believed:
    """Believe the issuer `name` for these types, in place of earlier ones, on record. Raises Denied (OMG-T007), InputError (OMG-I001)."""
    entry = believed(name, tuple(kinds))
    with Archive.open(home) as archive:
        body = entry.seal(archive.identity.keyring)
    await keep(home, ISSUER, name_of(name), body)
    return entry


async def distrust(home: str | os.PathLike[str] | None, name: str) -> None:
    """Believe the issuer `name` no more, on record. Raises InputError (OMG-I003) for one that nobody has named."""
    await forget(home, ISSUER, name_of(name))
