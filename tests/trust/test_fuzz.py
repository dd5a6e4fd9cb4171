"""Whatever is shown as proof of identity, it is accepted only when it is what was issued; everything else is a coded refusal, soon."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from chronicle.ledger import OPERATOR, SeededSigner
from omega.kernel.errors import CODES, OmegaError
from omega.trust import attenuation, letter, spiffe
from omega.trust.dpop import Proofs
from omega.trust.jws import strict_json
from omega.trust.keys import b64url, unb64url
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from trust import test_attenuation, test_credential, test_dpop, test_spiffe

NOW = 1_800_000_000.0
SLOW_S = float(os.environ.get("OMEGA_FUZZ_S", "20"))
FAST_S = 1.0

WORDS = [
    "none", "HS256", "ES256", "EdDSA", "Ed25519", "ML-DSA-65", "alg", "kid", "typ", "crit", "jwk", "x5u", "aud", "exp", "nbf", "caps",
    "act", "cnf", "*", "*:*", "-1", "1e999", "true", "null", "[]", "{}", '"', "\\u0000", "\u00e9", "\ud83d",
    ".", "..", "~", "=", "/", " ", "\n",
    "spiffe://", "omega.local", "A" * 5000, "[" * 1200, '{"a":' * 300,
]  # fmt: skip

KEYRING = Keyring(b"f" * 32, entropy=random.Random(9).randbytes)
LETTER = letter.seal(letter.Contents(id="let_1", body={"a": 1}, until_s=1 << 39), execution="e", verb="signal", keyring=KEYRING)
OFFICE = Authority(OPERATOR, issuer="omega.local", audience="omega.local")
PASSPORT = OFFICE.issue(tenant="acme", principal="person:ada", capabilities=["tools:*"], ttl_s=600, now=NOW, jti="pas_1")


def _letter(text: str) -> Any:
    key, _, sealed = text.partition("|")
    body = {"format": 1, "key": key, "sealed": sealed}
    return letter.opened(body, execution="e", verb="signal", keyring=KEYRING, now_s=NOW)


READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "passport": (PASSPORT, lambda text: OFFICE.verify(text, now=NOW)),
    "chain": (
        test_attenuation.WHOLE,
        lambda text: attenuation.verify(text, test_attenuation.office(), now=NOW, holder=test_attenuation.jkt(test_attenuation.SUB)),
    ),
    "jwt-svid": (test_spiffe.TOKEN, test_spiffe.named),
    "proof": (test_dpop.proof("p"), lambda text: Proofs().holder(test_dpop.shown("p", text), now=test_dpop.NOW)),
    "credential": (test_credential.shown("born"), test_credential.checked),
    "letter": (f"{LETTER['key']}|{LETTER['sealed']}", _letter),
    "name": ("spiffe://omega.local/worker/a", spiffe.SpiffeId.parse),
}
UNSIGNED = ("name",)
"""What is only read: another text may be another good one."""


def mutated(rng: random.Random, good: str) -> str:
    """A text near `good`: changed as text, or inside one of its base64url parts."""
    text = good
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        end = min(end, at + rng.choice((0, 1, 4, 60)))
        text = text[:at] + rng.choice((rng.choice(WORDS), good[at : at + rng.randrange(40)], chr(rng.randrange(1, 0x3000)))) + text[end:]
    return text if rng.random() < 0.5 else _inside(rng, good)


def _inside(rng: random.Random, good: str) -> str:
    """A part decoded, changed as JSON text, and encoded again: it comes past the spelling, and has to fail at the signature or after."""
    parts = good.split(".")
    which = rng.randrange(len(parts))
    try:
        plain = unb64url(parts[which]).decode()
        strict_json(plain.encode())
    except ValueError:
        return good[: rng.randrange(len(good) + 1)]
    at = rng.randrange(len(plain) + 1)
    plain = plain[:at] + rng.choice(WORDS) + plain[at + rng.choice((0, 1, 5)) :]
    parts[which] = b64url(plain.encode("utf-8", "replace"))
    return ".".join(parts)


def fuzz(seconds: float, seed: int) -> tuple[int, int]:
    """How many were tried, and how many refused. Nothing that was changed may be accepted."""
    rng = random.Random(seed)
    end = time.process_time() + seconds
    tried = refused = 0
    while time.process_time() < end:
        name = rng.choice(list(READERS))
        good, reader = READERS[name]
        text = mutated(rng, good)
        tried += 1
        began = time.process_time()
        try:
            reader(text)
        except OmegaError as error:
            assert error.code in CODES, (name, text)
            refused += 1
        else:
            assert text == good or name in UNSIGNED, (name, text)
        assert time.process_time() - began < 1.0, (name, text)
    return tried, refused


@pytest.mark.promise("TRUST-01")
def test_a_second_of_forgeries() -> None:
    for good, reader in READERS.values():
        reader(good)  # as it was made it holds
    tried, refused = fuzz(FAST_S, 1)
    assert refused > tried // 2 > 50


@pytest.mark.promise("TRUST-01")
@pytest.mark.slow
def test_forgeries_for_a_while() -> None:
    fuzz(SLOW_S, int(time.time()))


@pytest.mark.promise("TRUST-01")
@pytest.mark.soak
def test_an_hour_of_forgeries() -> None:
    """An hour of CPU with a seed that is told when it fails; OMEGA_FUZZ_SOAK_S makes it shorter."""
    seed = random.SystemRandom().randrange(2**32)
    try:
        tried, refused = fuzz(float(os.environ.get("OMEGA_FUZZ_SOAK_S", "3600")), seed)
    except BaseException:
        print(f"fuzz: tokens, seed {seed}")
        raise
    print(f"fuzz: tokens, seed {seed}: {tried} texts, {refused} of them refused, none of the others changed")


def test_keys_of_others_sign_nothing_here() -> None:
    stranger = Authority(SeededSigner(99), issuer="omega.local", audience="omega.local")
    token = stranger.issue(tenant="acme", principal="person:ada", capabilities=["*"], ttl_s=600, now=NOW, jti="pas_1")
    with pytest.raises(OmegaError):
        OFFICE.verify(token, now=NOW)
