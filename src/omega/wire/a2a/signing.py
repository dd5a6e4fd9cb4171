"""Signatures of agent cards (A2A 1.0, 8.4): a detached JWS (RFC 7515, appendix F) over the canonical form of the card (RFC 8785).

    {"signatures": [{"protected": base64url({"alg": "EdDSA", "kid": "...", "typ": "JOSE", "jku": "https://.../jwks.json"}),
                     "signature": base64url(sign(protected + "." + base64url(canonical(card without signatures))))}]}

Who signs and who verifies hands in a function: no key is seen here. A card is verified as it came and without its empty fields, which the
canonical form leaves out whatever a proxy or another language's library made of them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.kernel.errors import InputError
from omega.wire.a2a.canonical import canonical
from omega.wire.strict import read_json

TYPE: Final = "JOSE"

MAX_SIGNATURES: Final = 10
"""Most signatures of a card that are looked at."""

MAX_HEADER: Final = 8_192
"""Longest protected header, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of a card: the algorithm and key it states, where it says that key lies, what it covers and what it is."""

    algorithm: str
    kid: str
    keys_at: str
    covers: tuple[bytes, ...]
    value: bytes


def signed_card(card: Mapping[str, Any], header: Mapping[str, str], sign: Callable[[bytes], bytes]) -> dict[str, Any]:
    """`card` with one more signature, whose protected `header` states at least `alg` and `kid`."""
    bare = {name: value for name, value in card.items() if name != "signatures"}
    protected = _b64(canonical(dict(header)))
    value = sign(f"{protected}.{_b64(canonical(bare))}".encode())
    return {**bare, "signatures": [*card.get("signatures", ()), {"protected": protected, "signature": _b64(value)}]}


def signatures_of(card: Mapping[str, Any]) -> list[Signature]:
    """The signatures of a card that can be read, each with what it might cover; those that cannot are passed over."""
    given = card.get("signatures")
    if not isinstance(given, list):
        return []
    bare = {name: value for name, value in card.items() if name != "signatures"}
    try:
        forms = tuple(dict.fromkeys((canonical(bare), canonical(_filled(bare)))))
    except InputError:
        return []
    found = (_signature(each, forms) for each in given[:MAX_SIGNATURES])
    return [each for each in found if each is not None]


def _signature(given: Any, forms: tuple[bytes, ...]) -> Signature | None:
    if not isinstance(given, dict):
        return None
    protected, value = given.get("protected"), given.get("signature")
    if not isinstance(protected, str) or not isinstance(value, str) or len(protected) > MAX_HEADER:
        return None
    try:
        header = read_json(_unb64(protected))
        raw = _unb64(value)
    except (InputError, ValueError):
        return None
    stated = [header.get(name) for name in ("alg", "kid")] if isinstance(header, dict) else []
    if len(stated) != 2 or not all(isinstance(each, str) and each for each in stated) or "crit" in header:
        return None
    covers = tuple(f"{protected}.{_b64(form)}".encode() for form in forms)
    return Signature(algorithm=str(stated[0]), kid=str(stated[1]), keys_at=str(header.get("jku") or ""), covers=covers, value=raw)


def _filled(value: Any) -> Any:
    """`value` without what is empty: null, empty text, empty lists and empty objects, at every level."""
    if isinstance(value, dict):
        kept = {name: _filled(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_filled(each) for each in value]
    return value


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Raises ValueError for what is no base64url without padding."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64url") from error
