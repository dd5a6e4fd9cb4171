"""Compact JWS (RFC 7515, 3.1), as strictly as the RFC lets a reader be. Passports, proofs of possession and credentials stand on it.

    algorithm   `alg` must be the one name that belongs to the key found (RFC 8725, 3.1), so there is nothing to confuse
    spelling    base64url without padding in its canonical form, JSON objects without a name twice
    header      one with `crit`, `b64`, `jku`, `x5u`, `jwk` or `x5c` is refused, unless its caller reads that very field

Signing is by a `Signer`, which shows no key; that is why it is spelled out here. The tests hold both ways against another implementation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omega.kernel.ports import Signer
from omega.trust.keys import ED25519, PublicKey, b64url, unb64url

OLD_NAMES = {"EdDSA": ED25519}
"""Names of algorithms that RFC 9864 replaced and that are still met."""

FOREIGN = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t"})
"""Header fields that would let the signer choose how or with what it is verified."""


class Malformed(ValueError):
    """A token that is no JWS of ours, or whose signature is wrong. Callers turn it into their own refusal, without saying which."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was taken apart and not verified yet. `signed` is what the signature covers."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    def require(self, key: PublicKey) -> None:
        """Raise Malformed unless `key` signed this, by the algorithm that the header states and the key has."""
        stated = self.header.get("alg")
        if not isinstance(stated, str) or OLD_NAMES.get(stated, stated) != key.algorithm or not key.verifies(self.signature, self.signed):
            raise Malformed("the signature is not the key's")


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], signer: Signer) -> str:
    """The token that says `claims`. `alg` is the signer's own."""
    head = {**header, "alg": PublicKey(signer.public).algorithm}
    body = f"{_segment(head)}.{_segment(claims)}"
    return f"{body}.{b64url(signer.sign(body.encode()))}"


def taken_apart(token: str, *, limit: int, typ: str, reads: Iterable[str] = ()) -> Token:
    """The parts of `token`, at most `limit` characters, of type `typ`; `reads` are the fields of `FOREIGN` that the caller looks after.

    Raises Malformed.
    """
    if len(token) > limit or not token.isascii() or token.count(".") != 2:
        raise Malformed("not a token")
    head, body, tail = token.split(".")
    try:
        header, claims = strict_json(unb64url(head)), strict_json(unb64url(body))
        signature = unb64url(tail)
    except (ValueError, RecursionError) as error:
        raise Malformed("not a token") from error
    if header.get("typ") != typ or FOREIGN.difference(reads) & header.keys():
        raise Malformed("another kind of token")
    return Token(header, claims, f"{head}.{body}".encode(), signature)


def strict_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises ValueError for anything else, and for a name that stands twice."""
    found = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refused)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _segment(value: Mapping[str, Any]) -> str:
    return b64url(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
