"""Passports: what is accepted, everything that is refused, and rights that only shrink."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import SeededSigner
from omega.kernel.errors import Denied
from omega.kernel.scope import MAX_DELEGATION_DEPTH, Scope
from omega.trust import passport
from omega.trust.passport import MAX_REMEMBERED, MAX_TOKEN, MAX_TTL_S, Authority

NOW = 1_800_000_000.0
SIGNER = SeededSigner(7)
STRANGER = SeededSigner(8)


def authority(signer: SeededSigner = SIGNER, **more: Any) -> Authority:
    return Authority(signer, issuer="omega.local", audience="omega.local", **more)


def issued(office: Authority, **changed: Any) -> str:
    facts: dict[str, Any] = {
        "tenant": "acme",
        "principal": "person:ada",
        "groups": ["engineers"],
        "capabilities": ["process:run", "tool:*"],
        "ttl_s": 600,
        "now": NOW,
        "jti": "pas_1",
    }
    return office.issue(**{**facts, **changed})


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body))
    return header, claims


def resigned(token: str, header: dict[str, Any], claims: Any, signer: SeededSigner = SIGNER) -> str:
    signed = f"{segment(header)}.{segment(claims)}"
    return f"{signed}.{base64.urlsafe_b64encode(signer.sign(signed.encode())).rstrip(b'=').decode()}"


def refusal(office: Authority, token: str, now: float = NOW + 1) -> Denied:
    with pytest.raises(Denied) as caught:
        office.verify(token, now=now)
    return caught.value


def test_a_passport_proves_its_scope() -> None:
    office = authority()
    token = issued(office, actors=["agent:reviewer", "service:timers"], region="eu")
    header, _ = opened(token)
    assert (header["alg"], header["typ"], header["kid"]) == ("Ed25519", "passport+jwt", office.jwks()["keys"][0]["kid"])
    scope = office.verify(token, now=NOW + 1)
    assert (scope.tenant, scope.principal, scope.region, scope.passport) == ("acme", "person:ada", "eu", "pas_1")
    assert scope.actors == ("agent:reviewer", "service:timers")
    assert scope.capabilities == {"process:run", "tool:*"}
    assert scope.groups == {"engineers"}
    assert scope.expires_at == NOW + 600
    assert authority().verify(token, now=NOW + 1) == office.verify(token, now=NOW + 2), "remembered or not, the same scope"


def test_the_old_name_of_the_algorithm_is_accepted() -> None:
    office = authority()
    header, claims = opened(issued(office))
    assert office.verify(resigned("", {**header, "alg": "EdDSA"}, claims), now=NOW).tenant == "acme"


def _other_header(**changed: Any) -> Callable[[str], str]:
    return lambda token: resigned(token, {**opened(token)[0], **changed}, opened(token)[1])


def _other_claims(**changed: Any) -> Callable[[str], str]:
    def forge(token: str) -> str:
        header, claims = opened(token)
        merged = {**claims, **changed}
        return resigned(token, header, {name: value for name, value in merged.items() if value is not ...})

    return forge


def _hmac_with_public_key(token: str) -> str:
    """The classic confusion: the public key as an HMAC secret."""
    header, claims = opened(token)
    signed = f"{segment({**header, 'alg': 'HS256'})}.{segment(claims)}"
    tag = hmac.digest(SIGNER.public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"


def _unsigned(token: str) -> str:
    header, claims = opened(token)
    return f"{segment({**header, 'alg': 'none'})}.{segment(claims)}."


def _widened(token: str) -> str:
    head, _, tail = token.split(".")
    claims = {**opened(token)[1], "caps": ["*"]}
    return f"{head}.{segment(claims)}.{tail}"


FORGERIES: dict[str, Callable[[str], str]] = {
    "empty": lambda token: "",
    "two parts": lambda token: token.rpartition(".")[0],
    "not base64": lambda token: "!!!.???.***",
    "not ascii": lambda token: token + "\u00e9",
    "surrogates": lambda token: "\udcff" + token,
    "cut": lambda token: token[:-10],
    "padded": lambda token: token + "=",
    "too long": lambda token: token + "A" * MAX_TOKEN,
    "altered claims": _widened,
    "unsigned": _unsigned,
    "signed as HMAC": _hmac_with_public_key,
    "a stranger's key": lambda token: resigned(token, *opened(token), signer=STRANGER),
    "algorithm none, signed": _other_header(alg="none"),
    "another algorithm": _other_header(alg="ES256"),
    "another type": _other_header(typ="JWT"),
    "no type": _other_header(typ=None),
    "unknown key id": _other_header(kid="nobody"),
    "no key id": _other_header(kid=None),
    "critical extension": _other_header(crit=["exp"], exp=1),
    "embedded key": lambda token: resigned(token, {**opened(token)[0], "kid": "x", "jwk": {"kty": "OKP"}}, opened(token)[1], STRANGER),
    "claims are a list": lambda token: resigned(token, opened(token)[0], []),
    "claims nested too deep": lambda token: resigned(token, opened(token)[0], json.loads("[" * 900 + "]" * 900)),
    "other issuer": _other_claims(iss="omega.elsewhere"),
    "other audience": _other_claims(aud="omega.elsewhere"),
    "audience list": _other_claims(aud=["omega.local", "omega.elsewhere"]),
    "no audience": _other_claims(aud=...),
    "no expiry": _other_claims(exp=...),
    "expiry as text": _other_claims(exp="2100000000"),
    "expiry as float": _other_claims(exp=1e300),
    "expiry true": _other_claims(exp=True),
    "no start": _other_claims(nbf=...),
    "no issue time": _other_claims(iat=...),
    "lives too long": _other_claims(exp=int(NOW) + MAX_TTL_S + 1),
    "ends before it starts": _other_claims(exp=int(NOW) - 1),
    "no id": _other_claims(jti=...),
    "id with a path": _other_claims(jti="../../etc"),
    "no tenant": _other_claims(tenant=...),
    "tenant with newline": _other_claims(tenant="acme\nglobex"),
    "no subject": _other_claims(sub=...),
    "subject is a list": _other_claims(sub=["person:ada"]),
    "capabilities as text": _other_claims(caps="*"),
    "capability without area": _other_claims(caps=["run"]),
    "capability of all areas": _other_claims(caps=["*:*"]),
    "too many capabilities": _other_claims(caps=[f"tool:t{n}" for n in range(129)]),
    "no region": _other_claims(region=...),
    "act is text": _other_claims(act="agent:x"),
    "act with more": _other_claims(act={"sub": "agent:x", "caps": ["*"]}),
}


@pytest.mark.promise("TRUST-01")
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_every_forgery_is_refused_with_the_same_words(forge: Callable[[str], str]) -> None:
    office = authority()
    error = refusal(office, forge(issued(office)), now=NOW)
    assert error.code == "OMG-T001"
    assert error.cause == "the passport is not accepted here"
    assert error.details == {}


@pytest.mark.promise("TRUST-01")
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_token_changed_anywhere_is_refused(data: st.DataObject) -> None:
    office = authority()
    token = issued(office)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.=").filter(lambda other: other != token[at]))
    refusal(office, token[:at] + letter + token[at + 1 :])


@pytest.mark.promise("TRUST-01")
def test_time_is_looked_at_on_every_use_also_of_remembered_tokens() -> None:
    office = authority()
    token = issued(office)
    assert "not valid yet" in refusal(office, token, now=NOW - 60).cause
    office.verify(token, now=NOW - 4)
    office.verify(token, now=NOW + 599.9)
    assert "expired" in refusal(office, token, now=NOW + 600).cause
    office.verify(token, now=NOW + 1)
    assert "not valid yet" in refusal(office, token, now=NOW - 60).cause, "a clock that jumps back"


@pytest.mark.promise("TRUST-01")
def test_another_installation_refuses_it() -> None:
    elsewhere = Authority(SIGNER, issuer="omega.other", audience="omega.other")
    assert refusal(elsewhere, issued(authority())).code == "OMG-T001"
    assert refusal(authority(STRANGER), issued(authority())).code == "OMG-T001"


def test_a_retired_key_counts_until_its_passports_end() -> None:
    token = issued(authority(STRANGER))
    rotated = authority(SIGNER, retired=[STRANGER.public])
    assert rotated.verify(token, now=NOW).tenant == "acme"
    assert [key["kid"] for key in rotated.jwks()["keys"]] == [authority(office).jwks()["keys"][0]["kid"] for office in (SIGNER, STRANGER)]
    assert not any("d" in key for key in rotated.jwks()["keys"]), "no private part"


@pytest.mark.promise("TRUST-03")
def test_revocation_reaches_remembered_tokens_delegates_and_restored_scopes() -> None:
    office = authority()
    token = issued(office)
    scope = office.verify(token, now=NOW)
    below = office.delegate(scope, actor="agent:x", capabilities=["tool:*"], ttl_s=60, now=NOW, jti="pas_2")
    child = office.verify(below, now=NOW)
    other = issued(office, jti="pas_9")
    office.verify(other, now=NOW)
    assert office.revoke("pas_1") == office.epoch == 1
    for dead in (token, below):
        assert refusal(office, dead).cause == "the passport was revoked"
    for claims in (scope.claims(), child.claims()):
        with pytest.raises(Denied):
            office.restore(claims)
    assert office.verify(other, now=NOW + 1).epoch == 1, "others go on, under the new epoch"
    assert refusal(authority(revoked=["pas_1"]), token).cause == "the passport was revoked"


@pytest.mark.promise("TRUST-03")
def test_revoking_a_delegate_leaves_the_original() -> None:
    office = authority()
    scope = office.verify(issued(office), now=NOW)
    below = office.delegate(scope, actor="agent:x", capabilities=["tool:*"], ttl_s=60, now=NOW, jti="pas_2")
    office.revoke("pas_2")
    assert refusal(office, below).cause == "the passport was revoked"
    assert office.verify(issued(office), now=NOW) is not None


def test_restore_gives_back_exactly_the_admitted_scope() -> None:
    office = authority()
    scope = office.verify(issued(office, actors=["agent:x"]), now=NOW)
    assert office.restore(json.loads(json.dumps(scope.claims()))) == scope
    for name in scope.claims():
        broken = {**scope.claims(), name: {"x": 1}}
        if name == "epoch":
            continue  # the epoch of a restored scope is the present one
        with pytest.raises(Denied):
            office.restore(broken)
        with pytest.raises(Denied):
            office.restore({key: value for key, value in scope.claims().items() if key != name})


WORDS = ["*", "tool:*", "tool:git", "tool:db", "process:run", "process:*", "file:read", "file:write"]


@pytest.mark.promise("TRUST-02")
@given(start=st.sets(st.sampled_from(WORDS)), wishes=st.lists(st.sets(st.sampled_from(WORDS)), max_size=10))
@settings(max_examples=200, deadline=None)
def test_delegation_only_narrows_along_any_chain(start: set[str], wishes: list[set[str]]) -> None:
    office = authority()
    scope = office.verify(issued(office, capabilities=start), now=NOW)
    for number, wish in enumerate(wishes):
        held = [word for word in WORDS if scope.has(word)]
        try:
            token = office.delegate(scope, actor=f"agent:a{number}", capabilities=wish, ttl_s=6000, now=NOW, jti=f"pas_d{number}")
        except Denied as error:
            assert error.code == "OMG-T002"
            assert not wish <= set(held) or len(scope.actors) >= MAX_DELEGATION_DEPTH
            continue
        child = office.verify(token, now=NOW)
        assert wish <= set(held)
        assert {word for word in WORDS if child.has(word)} <= set(held)
        assert child.actors == (f"agent:a{number}", *scope.actors)
        assert (child.tenant, child.principal) == (scope.tenant, scope.principal)
        assert child.expires_at <= scope.expires_at
        scope = child


@pytest.mark.promise("TRUST-02")
def test_chains_have_an_end() -> None:
    office = authority()
    scope: Scope = office.verify(issued(office), now=NOW)
    for depth in range(MAX_DELEGATION_DEPTH):
        token = office.delegate(scope, actor=f"agent:{depth}", capabilities=["tool:*"], ttl_s=60, now=NOW, jti=f"pas_{depth}")
        scope = office.verify(token, now=NOW)
    with pytest.raises(Denied) as deeper:
        office.delegate(scope, actor="agent:9", capabilities=["tool:*"], ttl_s=60, now=NOW, jti="pas_x")
    assert deeper.value.code == "OMG-T002"
    header, claims = opened(token)
    forged = resigned(token, header, {**claims, "act": {"sub": "agent:9", "act": claims["act"]}})
    assert refusal(office, forged, now=NOW).code == "OMG-T002"
    with pytest.raises(Denied) as expired:
        office.delegate(scope, actor="a", capabilities=[], ttl_s=60, now=NOW + 10_000, jti="pas_y")
    assert expired.value.code == "OMG-T001"


@pytest.mark.parametrize("changed", [{"ttl_s": 0}, {"ttl_s": MAX_TTL_S + 1}, {"tenant": ""}, {"capabilities": ["*:*"]}, {"jti": "a b"}])
def test_what_would_not_be_accepted_is_not_issued(changed: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        issued(authority(), **changed)


def test_however_much_was_revoked_nobody_else_is_refused() -> None:
    office = authority()
    token = issued(office)
    for number in range(100_001):
        office.revoke(f"pas_other{number}", account="ten_loud")
    assert office.verify(token, now=NOW) is not None and office.charged("ten_loud") == 100_001


def test_what_is_known_by_its_digest_alone_stays_revoked_with_all_below_it() -> None:
    office = authority()
    token = issued(office)
    scope = office.verify(token, now=NOW)
    below = office.delegate(scope, actor="agent:x", capabilities=["tool:*"], ttl_s=60, now=NOW, jti="pas_2")
    office.revoke("pas_1", account="acme")
    office.bury_name("pas_1")
    assert not office.revoked() and office.charged("acme") == 0 and office.buried("acme") == 1
    for dead in (token, below):
        assert refusal(office, dead).cause == "the passport was revoked"
    other = authority()
    other.bury("acme", [passport.revocation_digest("pas_1")])
    assert refusal(other, below).cause == "the passport was revoked", "another process knows no more than the digest"


def test_what_was_admitted_before_the_floor_of_its_tenant_goes_on_no_more() -> None:
    office = authority()
    scope = office.verify(issued(office), now=NOW)
    office.bury("another", [], floor_s=scope.expires_at)
    assert office.restore(scope.claims()).passport == "pas_1", "the floor is of one tenant alone"
    office.bury(scope.tenant, [], floor_s=scope.expires_at)
    with pytest.raises(Denied, match="not known any more"):
        office.restore(scope.claims())


def test_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_REMEMBERED >= 1000
    monkeypatch.setattr(passport, "MAX_REMEMBERED", 3)
    office = authority()
    tokens = [issued(office, jti=f"pas_{number}") for number in range(5)]
    for token in tokens * 2:
        office.verify(token, now=NOW)
    assert len(office._remembered) == 3


def test_a_remembered_token_costs_a_fraction_of_a_signature() -> None:
    office = authority()
    token = issued(office)
    start = time.process_time()
    office.verify(token, now=NOW)
    for _ in range(20):
        office._remembered.clear()
        office.verify(token, now=NOW)
    uncached = (time.process_time() - start) / 21
    start = time.process_time()
    for _ in range(2000):
        office.verify(token, now=NOW)
    assert (time.process_time() - start) / 2000 < uncached / 5
