"""Second factors: one-time codes (TOTP, RFC 6238) of a person, for steps that a policy holds back until the caller proves who they are.

The secret is sealed under the installation's keys before it is kept, and never shown again. A code is good for its half minute and the
one before and after, because clocks differ, and for one use: the step of the newest code that was accepted is kept beside the secret, and
nothing at or before it is accepted again. It is put there in the very place of what was read, so of two engines that are told one code at
the same instant one accepts it. After MAX_WRONG wrong codes in a row the factor is asleep for LOCKED_S, so that it cannot be
guessed.
"""

from __future__ import annotations

import base64
import hmac
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from omega.host.arrangements import Shelf
from omega.kernel.errors import InputError, IntegrityError
from omega.trust.sealing import Keyring

FACTOR = "factor"
"""The kind of the documents; each is named `TENANT PERSON`."""

STEP_S = 30
"""Seconds that a code stands for, as authenticator apps have it."""

DIGITS = 6
SECRET_BYTES = 20
"""Length of a secret: that of the hash, as RFC 4226 recommends."""

SLACK = 1
"""Steps that a code may be early or late."""

MAX_WRONG = 5
LOCKED_S = 300

MAX_RACES = 8
"""How often one code is looked at anew because another engine was just told one: whoever sends that many at once is guessing."""


def code_at(secret: bytes, step: int) -> str:
    """The code of time step `step` (RFC 4226, section 5.3: HMAC-SHA-1, dynamic truncation)."""
    digest = hmac.digest(secret, struct.pack(">Q", step), "sha1")
    at = digest[-1] & 0xF
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def accepted(secret: bytes, code: str, *, now_s: float, after: int) -> int:
    """The time step whose code `code` is, later than `after`; 0 when it is none. Takes the same time whichever it is."""
    current, found = int(now_s // STEP_S), 0
    for step in range(current - SLACK, current + SLACK + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > after:
            found = step
    return found


def address(secret: bytes, person: str, issuer: str) -> str:
    """The `otpauth:` address that authenticator apps read, usually as a picture."""
    plain = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(issuer)}:{quote(person)}?secret={plain}&issuer={quote(issuer)}&digits={DIGITS}&period={STEP_S}"


def name_of(tenant: str, principal: str) -> str:
    """The name of the document of one person's factor."""
    return f"{tenant} {principal}"


def enrolment(secret: bytes, keyring: Keyring, name: str) -> dict[str, Any]:
    """The document of a new factor; `name` is its own. `secret` has SECRET_BYTES random bytes."""
    wrapped, sealer = keyring.create(_context(name))
    return {"key": wrapped.hex(), "secret": sealer.seal(secret, _context(name).encode()).hex(), "after": 0, "wrong": 0, "until_s": 0}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A factor's document as it is kept (see `arrangements.Reading`). Raises InputError (OMG-I001)."""
    sealed = [body.get(part) for part in ("key", "secret")]
    if not all(type(part) is str and 0 < len(part) <= 400 and part.isalnum() for part in sealed) or " person:" not in name:
        raise InputError("OMG-I001", "a second factor is a sealed secret of one person", advice="omega mfa enrol")
    return {"key": sealed[0], "secret": sealed[1], "after": 0, "wrong": 0, "until_s": 0}


def verifier(shelf: Shelf, keyring: Keyring, now_us: Callable[[], int]) -> Callable[[str, str, Mapping[str, Any]], bool]:
    """Whether what a person sent with an approval holds their code; a code that holds is used up. See `World.second_factor`."""

    def holds(tenant: str, principal: str, sent: Mapping[str, Any]) -> bool:
        name, code = name_of(tenant, principal), sent.get("code")
        if type(code) is not str or len(code) != DIGITS or not code.isascii():
            return False
        for _ in range(MAX_RACES):
            found, now_s = shelf.document(FACTOR, name), now_us() / 1_000_000
            kept = json.loads(found) if found is not None else None
            if kept is None or now_s < kept["until_s"]:
                return False
            step = accepted(_opened(kept, keyring, name), code, now_s=now_s, after=kept["after"])
            if shelf.swap_document(FACTOR, name, found, json.dumps(_after(kept, step, now_s)).encode(), now_us()):
                return step > 0
        return False

    return holds


def _after(kept: Mapping[str, Any], step: int, now_s: float) -> dict[str, Any]:
    """The document once a code was good for `step` (0: for none)."""
    if step:
        return {**kept, "after": step, "wrong": 0}
    wrong = kept["wrong"] + 1
    return {**kept, "wrong": wrong % MAX_WRONG, "until_s": int(now_s) + LOCKED_S if wrong >= MAX_WRONG else 0}


def _opened(kept: Mapping[str, Any], keyring: Keyring, name: str) -> bytes:
    try:
        key, sealed = bytes.fromhex(kept["key"]), bytes.fromhex(kept["secret"])
    except (KeyError, ValueError) as error:
        raise IntegrityError("OMG-T004", "a second factor has no known form") from error
    return keyring.open(_context(name), key).open(sealed, _context(name).encode())


def _context(name: str) -> str:
    return f"second factor of {name}"
