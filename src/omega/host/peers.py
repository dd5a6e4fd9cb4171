"""Agents elsewhere from the operator's side: add one by its card, compare what was accepted with what its card says now, accept, remove.

A card that is signed is verified: with a key that the operator hands in, else with one that lies at the card's own host, which proves that
the host and nobody on the way wrote it. A signature that does not verify is refused; a card without one is accepted as what it is.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from omega.adapters.a2a import Peer, digest_of, fetch_card, fetch_keys
from omega.adapters.a2a.talking import card_address
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web
from omega.host.acquainted import PEER, known
from omega.host.arrangements import Documents
from omega.host.asking import forget, keep
from omega.kernel.errors import Denied, InputError
from omega.trust.keys import ED25519, PublicKey, public_of_jwk
from omega.wire.a2a.signing import Signature, signatures_of

_NAMES: Final = {"EdDSA": ED25519}
_MAX_DIFFERENCES: Final = 200


@dataclass(frozen=True, slots=True)
class Compared:
    """An agent elsewhere: what was accepted, and the card that is there now (None: nobody looked) with the key that signed it. `by_key`
    tells that the operator handed that key in."""

    accepted: Peer
    offered: Mapping[str, Any] | None = None
    signer: str = ""
    by_key: bool = False

    @property
    def state(self) -> str:
        """`accepted` (nobody looked), `same` or `changed`."""
        if self.offered is None:
            return "accepted"
        return "same" if digest_of(self.offered) == self.accepted.digest and self.signer == self.accepted.signer else "changed"

    @property
    def differences(self) -> list[str]:
        """What changed, as lines of a unified diff; the last line of a card is the key that signed it."""
        if self.state != "changed" or self.offered is None:
            return []
        before, now = _lines(self.accepted.card, self.accepted.signer), _lines(self.offered, self.signer)
        return list(difflib.unified_diff(before, now, "accepted", "offered", lineterm="", n=1))[:_MAX_DIFFERENCES]


async def add(
    home: str | os.PathLike[str] | None,
    name: str,
    url: str,
    *,
    headers: Mapping[str, str],
    allow: Sequence[str],
    key: Path | None,
    timeout_s: float,
    credentials_to: str = "",
) -> Peer:
    """Fetch the card below `url`, look at its signature, and keep it, on record.

    Raises UpstreamError (M codes) for a card that cannot be used or leads to a host that may not get `headers` (`Peer`), Denied (OMG-T001)
    for a signature that does not verify, Denied (OMG-P011) for an address that may not be reached, InputError (OMG-I001).
    """
    at = card_address(url)
    card, signer = await looked_at(at, allow, key)
    made = Peer(
        name=name,
        at=at,
        card=card,
        signer=signer,
        headers=dict(headers),
        allow=tuple(allow),
        timeout_s=timeout_s,
        credentials_to=credentials_to,
    )
    await keep(home, PEER, name, made.record())
    return made


async def compare(documents: Documents, name: str, *, key: Path | None = None) -> Compared:
    """What was accepted of an agent beside what its card says now. Raises InputError (OMG-M005), and what `add` raises."""
    peer = known(documents, name)
    card, signer = await looked_at(peer.at, peer.allow, key)
    return Compared(peer, card, signer, by_key=key is not None)


async def accept(home: str | os.PathLike[str] | None, compared: Compared) -> Peer:
    """Keep the card that is there now in place of what was accepted, on record.

    Raises Denied (OMG-T001) where the accepted card was signed and this one is not, or with a key that neither signed that one nor was
    handed in: whoever takes over a host can leave a signature out. UpstreamError (OMG-M002) as `add` does.
    """
    assert compared.offered is not None  # noqa: S101 - whoever accepts has looked
    before = compared.accepted.signer
    if before and compared.signer != before and not compared.by_key:
        words = "signed with another key than" if compared.signer else "not signed, unlike"
        raise Denied("OMG-T001", f"the card is {words} what was accepted", advice="ask whoever publishes the agent for the key: --key FILE")
    made = replace(compared.accepted, card=compared.offered, signer=compared.signer)
    await keep(home, PEER, made.name, made.record())
    return made


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget an agent elsewhere. Raises InputError (OMG-I003)."""
    await forget(home, PEER, name)


async def looked_at(at: str, allow: Sequence[str], key: Path | None) -> tuple[dict[str, Any], str]:
    """The card at `at` and the thumbprint of the key that signed it; empty for one without a signature that could be verified."""
    web = Web(networks(allow))
    try:
        card = await fetch_card(web, at)
        found = signatures_of(card)
        if not found and key is not None:
            raise Denied(
                "OMG-T001", "the card has no signature, and one by a given key is wanted", advice="ask whoever publishes the agent"
            )
        given = [] if key is None else [_key_of(key)]
        for signature in found:
            keys = given or [*await fetch_keys(web, signature.keys_at, at)] if signature.keys_at or given else []
            signer = verified(signature, keys)
            if signer:
                return card, signer
            if keys:
                raise Denied(
                    "OMG-T001", "the signature of the card does not verify", advice="fetch it again, or ask whoever publishes the agent"
                )
        return card, ""
    finally:
        await web.close()


def verified(signature: Signature, keys: Sequence[Mapping[str, Any]]) -> str:
    """The thumbprint of the one of `keys` (JWK) that made `signature`; empty when none did. The algorithm is the key's own."""
    for jwk in keys:
        try:
            public = public_of_jwk(dict(jwk))
        except ValueError:
            continue
        if _NAMES.get(signature.algorithm, signature.algorithm) == public.algorithm and _signed_by(public, signature):
            return public.kid
    return ""


def _signed_by(public: PublicKey, signature: Signature) -> bool:
    return any(public.verifies(signature.value, covered) for covered in signature.covers)


def _key_of(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("OMG-X001", f"{file.name} holds no JWK: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise InputError("OMG-X001", f"{file.name} holds no JWK")
    return found


def _lines(card: Mapping[str, Any], signer: str) -> list[str]:
    shown = {name: value for name, value in card.items() if name != "signatures"}
    signed = f"signed with {signer}" if signer else "not signed"
    return [*json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False).splitlines(), signed]
