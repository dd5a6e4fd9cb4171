"""Credentials: what is disclosed and what is not, the RFC's own examples, and one refusal per attack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk as jose
from joserfc import jws

from chronicle.ledger import SeededSigner
from omega.kernel.errors import Denied
from omega.trust import credential, did
from omega.trust.credential import Audience, issue, present, verify
from omega.trust.jws import signed
from omega.trust.keys import PublicKey, b64url, public_of_jwk
from trust.signers import P256Signer

NOW = 1_800_000_000.0
ISSUER, HOLDER, THIEF = P256Signer(71), SeededSigner(72), SeededSigner(73)
KEY = PublicKey(ISSUER.public)
NAME = did.did_of(KEY)
KEYS = did.keys_of(NAME)
HERE = Audience("https://omega.example", "nonce-1")
CLAIMS = {"role": "auditor", "given_name": "Ada", "born": 1815, "address": {"country": "GB", "town": "London"}}
CONCEALED = ("given_name", "born", "address")


def salts(seed: int = 0) -> Callable[[int], bytes]:
    drawn = iter(range(seed, seed + 10_000))
    return lambda size: next(drawn).to_bytes(size, "big")


def issued(**changed: Any) -> str:
    facts: dict[str, Any] = {
        "kind": "https://omega.example/credentials/employee",
        "issuer": NAME,
        "signer": ISSUER,
        "concealed": CONCEALED,
        "holder": PublicKey(HOLDER.public),
        "times": (int(NOW), int(NOW) + 3_600),
        "entropy": salts(),
    }
    return issue(CLAIMS, **{**facts, **changed})


def shown(*names: str, of: str = "", **changed: Any) -> str:
    facts: dict[str, Any] = {"signer": HOLDER, "audience": HERE, "now": NOW}
    return present(of or issued(), names, **{**facts, **changed})


def checked(presentation: str, **changed: Any) -> credential.Shown:
    facts: dict[str, Any] = {"keys": KEYS, "issuer": NAME, "audience": HERE, "now": NOW + 1}
    return verify(presentation, **{**facts, **changed})


@pytest.mark.parametrize(
    ("disclosure", "digest", "name", "value"),
    [
        (
            "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0",
            "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0",
            "family_name",
            "Möbius",
        ),
        ("WyJsa2x4RjVqTVlsR1RQVW92TU5JdkNBIiwgIkZSIl0", "w0I8EKcdCtUPkGCNUrfwVp2xEgNjtoIDlOxc9-PlOhs", None, "FR"),
    ],
)
def test_the_disclosures_of_rfc_9901(disclosure: str, digest: str, name: str | None, value: str) -> None:
    """Sections 4.2.1 to 4.2.3."""
    assert credential._digest(disclosure) == digest
    assert credential._read(disclosure)[1:] == (name, value)


@pytest.mark.promise("TRUST-12")
@given(names=st.sets(st.sampled_from(CONCEALED)))
@settings(max_examples=8, deadline=None)
def test_exactly_what_the_holder_chose_is_shown(names: set[str]) -> None:
    presentation = shown(*sorted(names))
    found = checked(presentation)
    assert {name: value for name, value in found.claims.items() if name in CLAIMS} == {
        name: value for name, value in CLAIMS.items() if name in names or name == "role"
    }
    assert (found.issuer, found.kind, found.holder) == (NAME, "https://omega.example/credentials/employee", PublicKey(HOLDER.public))
    for name in set(CONCEALED) - names:
        assert name not in found.claims
        assert b64url(json.dumps(name).encode())[2:-2] not in presentation


def test_another_implementation_verifies_the_issuers_signature_and_the_binding() -> None:
    first, *_, last = shown("born").split("~")
    found = jws.deserialize_compact(first, jose.import_key(KEY.jwk()), algorithms=["ES256"])
    assert found.headers()["typ"] == "dc+sd-jwt" and json.loads(found.payload)["vct"]
    assert (
        jws.deserialize_compact(last, jose.import_key(PublicKey(HOLDER.public).jwk()), algorithms=["Ed25519"]).headers()["typ"] == "kb+jwt"
    )


@pytest.mark.promise("TRUST-12")
def test_what_another_implementation_made_is_verified() -> None:
    """With decoys, concealed elements of lists, claims concealed in concealed ones and a binding by ES256."""
    made = json.loads((Path(__file__).parent / "vectors" / "sd-jwt.json").read_text())
    facts = {"keys": {"k": public_of_jwk(made["key"])}, "issuer": made["issuer"], "now": made["at"]}
    found = checked(made["presentation"], audience=Audience(made["audience"], made["nonce"]), **facts).claims
    assert (found["role"], found["nations"], found["address"]) == ("auditor", ["FR", "DE"], {"country": "GB", "town": "London"})
    assert "born" not in found
    with pytest.raises(Denied):
        checked(made["presentation"], audience=Audience(made["audience"], "nonce-2"), **facts)


def test_a_credential_without_a_holders_key_is_shown_by_anybody() -> None:
    free = issued(holder=None)
    assert checked(present(free, ["born"], signer=None, audience=HERE, now=NOW)).claims["born"] == 1815
    with pytest.raises(Denied):
        checked(present(free, ["born"], signer=HOLDER, audience=HERE, now=NOW))


def _nested(claims: dict[str, Any], *parts: str) -> str:
    """A credential of a foreign issuer, with digests where it likes them."""
    body = {"iss": NAME, "vct": "x", "nbf": int(NOW), "exp": int(NOW) + 60, **claims}
    return "~".join([signed({"typ": "dc+sd-jwt"}, body, ISSUER), *parts, ""])


def _part(*words: Any) -> str:
    return b64url(json.dumps(["salt", *words]).encode())


def test_claims_that_lie_in_others_and_elements_of_lists_are_unfolded() -> None:
    """Sections 4.2.4 and 4.2.6: structured, list elements, recursive."""
    town, french = _part("town", "London"), _part("FR")
    address = _part("address", {"_sd": [credential._digest(town)], "country": "GB"})
    claims = {"_sd": [credential._digest(address), "decoy"], "nations": ["DE", {"...": credential._digest(french)}, {"...": "decoy2"}]}
    found = checked(_nested(claims, address, town, french)).claims
    assert found["address"] == {"country": "GB", "town": "London"} and found["nations"] == ["DE", "FR"]
    assert checked(_nested(claims, address)).claims["address"] == {"country": "GB"}
    with pytest.raises(Denied):
        checked(_nested(claims, town))  # names a digest that was not disclosed itself


def _swapped(presentation: str, at: int, other: str) -> str:
    parts = presentation.split("~")
    parts[at] = other
    return "~".join(parts)


ATTACKS: dict[str, Callable[[], Any]] = {
    "another issuer's key": lambda: checked(shown("born", of=issued(signer=P256Signer(99)))),
    "another issuer's name": lambda: checked(shown("born"), issuer="did:web:evil.example"),
    "no key of the issuer": lambda: checked(shown("born"), keys={}),
    "a key id of another": lambda: checked(shown("born", of=issued(kid="did:web:evil.example#1"))),
    "expired": lambda: checked(shown("born"), now=NOW + 3_600),
    "not yet valid": lambda: checked(shown("born"), now=NOW - 60),
    "without an end": lambda: checked(_nested({"exp": None})),
    "stolen without the key": lambda: checked(shown("born", signer=THIEF)),
    "stolen without a binding": lambda: checked(shown("born").rpartition("~")[0] + "~"),
    "shown to another": lambda: checked(shown("born", audience=Audience("https://evil.example", "nonce-1"))),
    "shown before": lambda: checked(shown("born", audience=Audience(HERE.name, "nonce-0"))),
    "shown long ago": lambda: checked(shown("born", now=NOW - 400)),
    "a disclosure added after the binding": lambda: checked(_swapped(shown("born"), 1, shown("given_name").split("~")[1])),
    "a disclosure taken away after the binding": lambda: checked("~".join(shown("born").split("~")[::2])),
    "a disclosure that was not signed": lambda: checked(_nested({"_sd": []}, _part("role", "owner"))),
    "a disclosure twice": lambda: checked(_nested({"_sd": [credential._digest(_part("a", 1))]}, _part("a", 1), _part("a", 1))),
    "a digest twice": lambda: checked(_nested({"_sd": [credential._digest(_part("a", 1))] * 2}, _part("a", 1))),
    "a claim that stands already": lambda: checked(_nested({"a": 0, "_sd": [credential._digest(_part("a", 1))]}, _part("a", 1))),
    "a concealed issuer": lambda: checked(_nested({"_sd": [credential._digest(_part("status", 1))]}, _part("status", 1))),
    "a reserved name": lambda: checked(_nested({"_sd": [credential._digest(_part("_sd", []))]}, _part("_sd", []))),
    "a claim in place of an element": lambda: checked(_nested({"l": [{"...": credential._digest(_part("a", 1))}]}, _part("a", 1))),
    "an element in place of a claim": lambda: checked(_nested({"_sd": [credential._digest(_part(1))]}, _part(1))),
    "another digest algorithm": lambda: checked(_nested({"_sd_alg": "md5"})),
    "digests that are no list": lambda: checked(_nested({"_sd": "all"})),
    "claims without end": lambda: checked(_nested({"deep": json.loads("[" * 40 + "]" * 40)})),
    "a disclosure that is none": lambda: checked(_nested({"_sd": [credential._digest("????")]}, "????")),
    "too many disclosures": lambda: checked(_nested({}, *[_part(str(at), 1) for at in range(300)])),
    "another type": lambda: checked(_swapped(shown("born"), 0, signed({"typ": "jwt"}, {"iss": NAME}, ISSUER))),
    "unsigned": lambda: checked(_swapped(shown("born"), 0, issued().split("~")[0].rpartition(".")[0] + ".")),
    "a binding of another kind": lambda: checked(_nested({"cnf": {"kid": "x"}})),
    "too long": lambda: checked("a" * 100_000),
    "nothing": lambda: checked("~"),
    "not even that": lambda: checked(""),
}


@pytest.mark.promise("TRUST-12")
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name: str) -> None:
    with pytest.raises(Denied) as caught:
        ATTACKS[name]()
    assert caught.value.code == "OMG-T007"


@pytest.mark.parametrize("changed", [{"concealed": ["iss"]}, {"concealed": ["nothing"]}, {"concealed": ["_sd"]}])
def test_what_cannot_be_concealed_is_not_issued(changed: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        issued(**changed)
    with pytest.raises(Denied):
        shown("role")


def test_salts_make_equal_claims_look_different() -> None:
    one, two = (issued(entropy=salts(seed)).split("~")[1:-1] for seed in (0, 500))
    assert not set(one) & set(two)
