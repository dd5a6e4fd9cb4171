"""Whatever a stranger sends: a coded refusal, never a traceback, never an acceptance."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chronicle.ledger import OPERATOR, SeededSigner
from omega.kernel.errors import Denied, IntegrityError, OmegaError
from omega.trust import attest, checkpoint, credential, did, dpop, handover, hybrid, keys
from omega.trust.checkpoint import Checkpoint, VerifierKey
from omega.trust.keys import PublicKey
from omega.trust.passport import MAX_TOKEN, MAX_TTL_S, Authority
from trust import test_credential, test_dpop
from trust.signers import P256Signer

NOW = 1_800_000_000.0


def office(signer: Any = OPERATOR, name: str = "omega.local") -> Authority:
    return Authority(signer, issuer=name, audience=name)


def issued(authority: Authority, **more: Any) -> str:
    facts: dict[str, Any] = {"tenant": "acme", "principal": "person:ada", "capabilities": ["tool:*"], "ttl_s": 600, "jti": "pas_1"}
    return authority.issue(now=NOW, **{**facts, **more})


GOOD = issued(office())
OTHER = issued(office(), tenant="globex", principal="person:eve", capabilities=["*"], jti="pas_2")


@pytest.mark.promise("TRUST-01")
@given(at=st.integers(0, len(GOOD) - 1), letter=st.sampled_from("AZaz09-_.=+/ \n\x00é"))
@settings(max_examples=150, deadline=None)
def test_a_passport_with_one_letter_changed_is_refused(at: int, letter: str) -> None:
    changed = GOOD[:at] + letter + GOOD[at + 1 :]
    if changed == GOOD:
        return
    with pytest.raises(Denied) as caught:
        office().verify(changed, now=NOW)
    assert caught.value.code == "OMG-T001"


@pytest.mark.promise("TRUST-01")
@given(parts=st.lists(st.sampled_from([*GOOD.split("."), *OTHER.split("."), ""]), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_parts_of_two_passports_make_no_third(parts: list[str]) -> None:
    spliced = ".".join(parts)
    if spliced in (GOOD, OTHER):
        return
    with pytest.raises(Denied):
        office().verify(spliced, now=NOW)


@pytest.mark.promise("TRUST-01")
@given(end=st.integers(0, len(GOOD) - 1), more=st.sampled_from(["", "A", ".", "=" * 4, "A" * MAX_TOKEN]))
@settings(max_examples=60, deadline=None)
def test_a_passport_cut_short_or_made_longer_is_refused(end: int, more: str) -> None:
    assume(GOOD[:end] + more != GOOD)  # its last character may be the one that is added
    with pytest.raises(Denied):
        office().verify(GOOD[:end] + more, now=NOW)


@pytest.mark.promise("TRUST-01")
def test_a_passport_of_another_installation_with_the_same_tenant_is_foreign() -> None:
    for stranger in (office(SeededSigner(9)), office(name="omega.elsewhere"), office(SeededSigner(9), "omega.elsewhere")):
        with pytest.raises(Denied) as caught:
            office().verify(issued(stranger), now=NOW)
        assert caught.value.cause == "the passport is not accepted here"


@pytest.mark.promise("TRUST-02")
def test_a_delegation_does_not_come_back_to_somebody_in_its_chain() -> None:
    authority = office()
    scope = authority.verify(GOOD, now=NOW)
    asked = {"capabilities": ["tool:a"], "ttl_s": 60, "now": NOW}
    first = authority.verify(authority.delegate(scope, actor="agent:a", jti="d1", **asked), now=NOW)
    second = authority.verify(authority.delegate(first, actor="agent:b", jti="d2", **asked), now=NOW)
    for actor in ("agent:a", "agent:b", "person:ada"):
        with pytest.raises(Denied) as caught:
            authority.delegate(second, actor=actor, jti="d3", **asked)
        assert caught.value.code == "OMG-T002"


@pytest.mark.promise("TRUST-02")
@given(steps=st.lists(st.sets(st.sampled_from(["tool:a", "tool:b", "model:ask", "files:read"])), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_chain_of_delegations_holds_more_than_its_narrowest_link(steps: list[set[str]]) -> None:
    authority = office()
    scope = authority.verify(issued(authority, capabilities=["tool:a", "tool:b", "model:ask"]), now=NOW)
    held = set(scope.capabilities)
    for at, wanted in enumerate(steps):
        try:
            token = authority.delegate(scope, actor=f"agent:{at}", capabilities=wanted, ttl_s=MAX_TTL_S, now=NOW, jti=f"d{at}")
        except Denied:
            assert not wanted <= held
            continue
        scope = authority.verify(token, now=NOW)
        assert wanted <= held and scope.capabilities == wanted and scope.expires_at <= NOW + 600
        held = wanted


def test_the_same_revocation_told_again_is_no_news() -> None:
    authority = office()
    assert authority.revoke("pas_9") == authority.revoke("pas_9") == authority.epoch


POINT = checkpoint.sign(Checkpoint("omega.example/a", 3, bytes(32)), OPERATOR)
READERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "checkpoint": (POINT, lambda raw: checkpoint.verify(raw, [VerifierKey("omega.example/a", OPERATOR.public)], origin="omega.example/a")),
    "verifier key": (
        VerifierKey.of("omega.example/a", OPERATOR.public).text().encode(),
        lambda raw: VerifierKey.parse(raw.decode("utf-8", "replace")),
    ),
    "hand-over": (handover.hand_over("omega.example/a", OPERATOR, P256Signer(3)), lambda raw: handover.read(raw, origin="omega.example/a")),
    "attestation": (
        attest.attest(attest.provenance({"a": "b"}, builder="c", build_type="d", parameters={}, dependencies={}), [OPERATOR]),
        lambda raw: attest.opened(raw, [PublicKey(OPERATOR.public)]),
    ),
    "credential": (test_credential.shown("born").encode(), lambda raw: test_credential.checked(raw.decode("utf-8", "replace"))),
    "proof": (
        test_dpop.proof("p").encode(),
        lambda raw: dpop.Proofs().holder(test_dpop.shown("p", raw.decode("utf-8", "replace")), now=NOW),
    ),
    "did": (did.did_of(PublicKey(OPERATOR.public)).encode(), lambda raw: did.key_of(raw.decode("utf-8", "replace"))),
    "document": (
        json.dumps({"id": "did:web:a.example", "assertionMethod": [{"id": "#a", "controller": "did:web:a.example"}]}).encode(),
        lambda raw: did.read_document("did:web:a.example", raw),
    ),
    "public half": (hybrid.Recipient(bytes(1216)).line(), hybrid.Recipient.parse),
}
SIGNED = ("checkpoint", "hand-over", "credential", "proof")


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_bytes_that_were_tampered_with_get_a_coded_answer(name: str, data: st.DataObject) -> None:
    good, reader = READERS[name]
    at = data.draw(st.integers(0, len(good)))
    size = data.draw(st.integers(0, 4))
    raw = good[:at] + data.draw(st.binary(max_size=4)) + good[at + size :]
    try:
        reader(raw)
    except (Denied, IntegrityError, OmegaError) as error:
        assert error.code.startswith("OMG-")
    else:
        assert raw == good or name not in SIGNED, f"{name} was accepted after a change at {at}"


@given(raw=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_noise_gets_a_coded_answer(raw: bytes) -> None:
    for _, reader in READERS.values():
        with contextlib.suppress(OmegaError):
            reader(raw)
    with contextlib.suppress(ValueError):
        keys.unb64url(raw.decode("latin-1"))
    with contextlib.suppress(OmegaError):
        credential._read(raw.decode("latin-1"))
