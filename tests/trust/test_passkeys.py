"""Answers of browsers in the name of keys: the sound ones hold, and each thing that is wrong with one is enough to refuse it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import Denied, InputError
from omega.trust import passkeys
from omega.trust.passkeys import Asked, Key, encoded
from trust.authenticator import ATTESTED, EDDSA, ES256, PRESENT, VERIFIED, Authenticator

ORIGIN = "https://omega.example"
HANDLE = b"handle of a person of a test...."
CHALLENGE = passkeys.challenge_of(("local", "person:ada", "approve", "exe_1", "pay"), b"n" * passkeys.NONCE_BYTES)
ASKED = Asked(CHALLENGE, ORIGIN, HANDLE)
GET = {"challenge": encoded(CHALLENGE), "rpId": "omega.example"}
CREATE = {"challenge": encoded(CHALLENGE), "rp": {"id": "omega.example"}}


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises(Denied) as caught:
        work()
    return caught.value.code


def key_of(device: Authenticator) -> Key:
    return Key(device.id, device.public(), device.count)


@pytest.mark.promise("MFA-01")
@pytest.mark.parametrize("alg", [ES256, EDDSA])
@pytest.mark.parametrize("packed", [False, True])
def test_a_key_is_registered_and_proves(alg: int, packed: bool) -> None:
    device = Authenticator(alg=alg, handle=HANDLE)
    key = passkeys.registered(ASKED, device.create(CREATE, ORIGIN, packed=packed))
    assert (key.id, key.public, key.count) == (device.id, device.public(), 1)
    assert passkeys.proven(ASKED, key, device.get(GET, ORIGIN)) == 2
    quiet = Authenticator(alg=alg, step=0)
    assert passkeys.proven(ASKED, key_of(quiet), quiet.get(GET, ORIGIN)) == 0, "a key that keeps no count"


@pytest.mark.promise("MFA-01")
@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://omega.example.evil.example"},
        {"origin": "http://omega.example"},
        {"origin": "https://omega.example:8443"},
        {"challenge": encoded(passkeys.challenge_of(("other",), b"n" * 32))},
        {"type": "webauthn.create"},
        {"crossOrigin": True},
        {"crossOrigin": "false"},
        {"topOrigin": "https://evil.example"},
    ],
)
def test_what_the_browser_says_about_another_page_is_refused(wrong: dict[str, Any]) -> None:
    device = Authenticator()
    facts = {"origin": ORIGIN} | wrong
    assert refusal(lambda: passkeys.proven(ASKED, key_of(device), device.get(GET, **facts))) == "OMG-T011"
    if wrong.get("type") != "webauthn.create":
        assert refusal(lambda: passkeys.registered(ASKED, device.create(CREATE, **facts))) == "OMG-T011"


@pytest.mark.promise("MFA-01")
def test_what_the_key_says_about_another_domain_or_person_is_refused() -> None:
    device, other = Authenticator(), Authenticator(id=b"another key of it")
    key = key_of(device)
    said = [
        device.get(GET, ORIGIN, domain="evil.example"),
        Authenticator(_private=device._private, flags=PRESENT).get(GET, ORIGIN),
        Authenticator(_private=device._private, flags=VERIFIED).get(GET, ORIGIN),
        Authenticator(_private=device._private, handle=b"somebody else of a test").get(GET, ORIGIN),
        Authenticator().get(GET, ORIGIN),
        other.get(GET, ORIGIN),
        device.create(CREATE, ORIGIN),
        {**device.get(GET, ORIGIN), "rawId": encoded(other.id)},
        {**device.get(GET, ORIGIN), "type": "password"},
    ]
    for each in said:
        assert refusal(lambda each=each: passkeys.proven(ASKED, key, each)) == "OMG-T011"
    for flags in (PRESENT, VERIFIED, 0):
        unsure = Authenticator(flags=flags)
        assert refusal(lambda unsure=unsure: passkeys.registered(ASKED, unsure.create(CREATE, ORIGIN))) == "OMG-T011"
    assert refusal(lambda: passkeys.registered(ASKED, device.create(CREATE, ORIGIN, domain="evil.example"))) == "OMG-T011"


@pytest.mark.promise("MFA-02")
@pytest.mark.parametrize(("known", "told"), [(5, 5), (5, 4), (5, 0), (1, 1)])
def test_a_count_that_does_not_rise_is_another_refusal_than_a_bad_signature(known: int, told: int) -> None:
    device = Authenticator(count=told, step=0)
    key = Key(device.id, device.public(), known)
    assert refusal(lambda: passkeys.proven(ASKED, key, device.get(GET, ORIGIN))) == "OMG-T012"
    forger = Authenticator(count=told, step=0)
    assert refusal(lambda: passkeys.proven(ASKED, key, forger.get(GET, ORIGIN))) == "OMG-T011", "nobody without the key raises the alarm"


@pytest.mark.promise("MFA-01")
def test_attestations_of_other_kinds_and_keys_that_sign_otherwise_are_refused() -> None:
    device = Authenticator()
    kinds = ({"fmt": "tpm"}, {"fmt": "android-safetynet"}, {"fmt": 7}, {"fmt": "packed"}, {"attStmt": {"x5c": [b"c"]}}, {"attStmt": 1})
    for changed in kinds:
        said = device.create(CREATE, ORIGIN)
        parts = cbor2.loads(base64.urlsafe_b64decode(said["response"]["attestationObject"] + "=="))
        said["response"]["attestationObject"] = encoded(cbor2.dumps(parts | changed))
        assert refusal(lambda said=said: passkeys.registered(ASKED, said)) == "OMG-T011"
    strange = Authenticator()
    strange.public = lambda: cbor2.dumps({1: 2, 3: -47, -1: 8, -2: b"x" * 32, -3: b"y" * 32})
    assert refusal(lambda: passkeys.registered(ASKED, strange.create(CREATE, ORIGIN))) == "OMG-T011"
    packed = device.create(CREATE, ORIGIN, packed=True)
    parts = cbor2.loads(base64.urlsafe_b64decode(packed["response"]["attestationObject"] + "=="))
    parts["attStmt"]["sig"] = Authenticator().sign(b"something else")
    packed["response"]["attestationObject"] = encoded(cbor2.dumps(parts))
    assert refusal(lambda: passkeys.registered(ASKED, packed)) == "OMG-T011"


@pytest.mark.promise("MFA-01")
@settings(max_examples=60, deadline=None)
@given(
    first=st.booleans(),
    part=st.integers(0, 7),
    how=st.sampled_from(["cut", "flip", "more", "other"]),
    at=st.integers(0, 1_023),
    bits=st.integers(1, 255),
    other=st.binary(min_size=1, max_size=200),
)
def test_no_cut_flipped_or_invented_bytes_are_an_answer(first: bool, part: int, how: str, at: int, bits: int, other: bytes) -> None:
    device = Authenticator(alg=EDDSA)  # another key each time: nothing that is drawn depends on its bytes
    said = device.create(CREATE, ORIGIN, packed=True) if first else device.get(GET, ORIGIN)
    name = sorted(said["response"])[part % len(said["response"])]
    whole = base64.urlsafe_b64decode(said["response"][name] + "==")
    at %= max(1, len(whole))
    changed = {
        "cut": whole[:at],
        "flip": whole[:at] + bytes([(whole[at] if whole else 0) ^ bits]) + whole[at + 1 :],
        "more": whole + other[:8],
        "other": other,
    }[how]
    said["response"][name] = encoded(changed)

    def work() -> Any:
        return passkeys.registered(ASKED, said) if first else passkeys.proven(ASKED, key_of(device), said)

    assert refusal(work) == "OMG-T011"


@pytest.mark.promise("MFA-01")
@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature", "userHandle", "id"])
@pytest.mark.parametrize("text", ["", "=", "not base64url", "a" * 30_000, "YR", None, 7, ["x"]])
def test_parts_that_are_no_base64url_or_too_long_are_refused_unread(part: str, text: Any) -> None:
    device = Authenticator(handle=HANDLE)
    said = device.get(GET, ORIGIN)
    if part == "id":
        said["id"] = said["rawId"] = text
    else:
        said["response"][part] = text
    if part == "userHandle" and not text:
        return  # browsers send none, or null, where the key keeps none
    assert refusal(lambda: passkeys.proven(ASKED, key_of(Authenticator()), said)) == "OMG-T011"


@pytest.mark.parametrize("said", [None, 7, [], {}, {"type": "public-key"}, {"type": "public-key", "response": []}])
def test_what_is_no_answer_at_all_is_refused(said: Any) -> None:
    assert refusal(lambda: passkeys.proven(ASKED, Key(b"k", b"", 0), said)) == "OMG-T011"
    assert refusal(lambda: passkeys.registered(ASKED, said)) == "OMG-T011"


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=12), max_size=5))
@settings(max_examples=60, deadline=None)
def test_another_decision_is_another_challenge(one: list[str], other: list[str]) -> None:
    made, nonce = passkeys.challenge_of(one, b"n" * 32), b"n" * 32
    assert (passkeys.challenge_of(other, nonce) == made) == (one == other)
    assert passkeys.challenge_of(one, b"m" * 32) != made


@pytest.mark.parametrize(
    ("origin", "domain"),
    [
        ("https://omega.example", "omega.example"),
        ("https://omega.example:8443", "omega.example"),
        ("http://localhost:9405", "localhost"),
        ("https://localhost", "localhost"),
    ],
)
def test_a_key_is_bound_to_the_name_in_the_address(origin: str, domain: str) -> None:
    assert passkeys.domain_of(origin) == domain


@pytest.mark.parametrize(
    "origin",
    ["http://omega.example", "https://127.0.0.1", "http://127.0.0.1:9405", "https://[::1]:1", "", "null", "https://", "https://a_b"],
)
def test_where_there_can_be_no_passkeys_none_is_asked_for(origin: str) -> None:
    with pytest.raises(InputError):
        passkeys.domain_of(origin)


def test_without_the_package_it_is_said_which_extra_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "webauthn", None)
    for work in (passkeys.demand_library, lambda: passkeys.registered(ASKED, {}), lambda: passkeys.proven(ASKED, Key(b"k", b"", 0), {})):
        with pytest.raises(InputError, match="passkeys need it"):
            work()


def test_the_soft_key_says_what_the_standard_says() -> None:
    """Else a test of refusals could pass because the key of the tests is wrong in itself."""
    data = Authenticator().data("omega.example", b"x")
    assert data[32] == PRESENT | VERIFIED | ATTESTED and len(data) == 38
    client = Authenticator().get(GET, ORIGIN)["response"]["clientDataJSON"]
    assert json.loads(base64.urlsafe_b64decode(client + "=="))["type"] == "webauthn.get"
