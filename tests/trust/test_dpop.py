"""Bound passports: of no use to whoever steals them, nor is the proof, one case each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwk as jose
from joserfc import jws

from chronicle.ledger import SeededSigner
from omega.kernel.errors import Denied
from omega.trust import dpop
from omega.trust.dpop import MAX_AGE_S, Proofs, Shown, prove, thumbprint
from omega.trust.jws import signed
from omega.trust.keys import PublicKey
from omega.trust.passport import Authority
from trust.signers import LatticeSigner, P256Signer

NOW = 1_800_000_000.0
ADDRESS = "https://omega.example/api/runs"
HOLDER, THIEF = P256Signer(41), P256Signer(42)


def office() -> Authority:
    return Authority(SeededSigner(7), issuer="omega.local", audience="omega.local")


def bound(authority: Authority, holder: Any = HOLDER, **more: Any) -> str:
    facts: dict[str, Any] = {"tenant": "acme", "principal": "person:ada", "capabilities": ["tool:*"], "ttl_s": 600, "jti": "pas_1"}
    return authority.issue(now=NOW, holder=thumbprint(holder), **{**facts, **more})


def proof(passport: str, signer: Any = HOLDER, **more: Any) -> str:
    facts: dict[str, Any] = {"method": "POST", "address": ADDRESS, "now": NOW, "jti": "proof-1"}
    return prove(signer, passport=passport, **{**facts, **more})


def shown(passport: str, made: str, **more: Any) -> Shown:
    return Shown(**{"passport": passport, "proof": made, "method": "POST", "address": ADDRESS, **more})


@pytest.mark.promise("TRUST-11")
@pytest.mark.parametrize("holder", [HOLDER, SeededSigner(43)], ids=["es256", "ed25519"])
def test_a_bound_passport_counts_with_its_proof_and_not_without(holder: Any) -> None:
    authority, proofs = office(), Proofs()
    passport = bound(authority, holder)
    found = proofs.holder(shown(passport, proof(passport, holder)), now=NOW + 1)
    assert authority.verify(passport, now=NOW + 1, holder=found).principal == "person:ada"
    for holder_shown in ("", PublicKey(THIEF.public).kid):
        with pytest.raises(Denied) as caught:
            authority.verify(passport, now=NOW + 1, holder=holder_shown)
        assert caught.value.code == "OMG-T001"


def test_another_implementation_accepts_our_proof() -> None:
    made = proof("passport")
    found = jws.deserialize_compact(made, jose.import_key(PublicKey(HOLDER.public).jwk()), algorithms=["ES256"])
    assert found.headers()["typ"] == "dpop+jwt" and jose.import_key(found.headers()["jwk"]).thumbprint() == thumbprint(HOLDER)


def test_the_same_address_written_in_another_way() -> None:
    for written in ("HTTPS://OMEGA.example:443/api/runs", ADDRESS + "?page=2", ADDRESS + "#top"):
        assert Proofs().holder(shown("p", proof("p", address=written)), now=NOW)
    assert Proofs().holder(shown("p", proof("p", nonce="n1")), now=NOW, nonce="n1")


def _claims(**changed: Any) -> Callable[[str], Shown]:
    def forge(passport: str) -> Shown:
        ath = dpop._hashed(passport)
        claims = {"ath": ath, "htm": "POST", "htu": ADDRESS, "iat": int(NOW), "jti": "x", **changed}
        return shown(passport, signed({"typ": "dpop+jwt", "jwk": dpop._bare(PublicKey(HOLDER.public))}, claims, HOLDER))

    return forge


def _header(**changed: Any) -> Callable[[str], Shown]:
    def forge(passport: str) -> Shown:
        head = {"typ": "dpop+jwt", "jwk": dpop._bare(PublicKey(HOLDER.public)), **changed}
        claims = {"ath": dpop._hashed(passport), "htm": "POST", "htu": ADDRESS, "iat": int(NOW), "jti": "x"}
        return shown(passport, signed(head, claims, HOLDER))

    return forge


STOLEN: dict[str, Callable[[str], Shown]] = {
    "for another method": lambda passport: shown(passport, proof(passport), method="GET"),
    "for another path": lambda passport: shown(passport, proof(passport), address="https://omega.example/api/keys"),
    "for another host": lambda passport: shown(passport, proof(passport), address="https://evil.example/api/runs"),
    "for another port": lambda passport: shown(passport, proof(passport, address="https://omega.example:444/api/runs")),
    "over plain http": lambda passport: shown(passport, proof(passport, address="http://omega.example:443/api/runs")),
    "for another passport": lambda passport: shown(passport, proof(passport + "x")),
    "too old": lambda passport: shown(passport, proof(passport, now=NOW - MAX_AGE_S - 1)),
    "from the future": lambda passport: shown(passport, proof(passport, now=NOW + 60)),
    "without an id": _claims(jti=""),
    "with an endless id": _claims(jti="x" * 1_000),
    "with a time that is none": _claims(iat="now"),
    "with a true time": _claims(iat=True),
    "with an address that is none": _claims(htu="//[::"),
    "with a name in the address": _claims(htu="https://ada@omega.example/api/runs"),
    "of another type": _header(typ="jwt"),
    "with a critical header": _header(crit=["jwk"]),
    "with a key of another": _header(jwk=dpop._bare(PublicKey(THIEF.public))),
    "with a private key": _header(jwk={**dpop._bare(PublicKey(HOLDER.public)), "d": "AQAB"}),
    "with a shared secret": _header(jwk={"kty": "oct", "k": "AQAB"}),
    "without a key": _header(jwk=None),
    "cut short": lambda passport: shown(passport, proof(passport)[:-8]),
    "too long": lambda passport: shown(passport, proof(passport) + "A" * 5_000),
    "unsigned": lambda passport: shown(passport, proof(passport).rpartition(".")[0] + "."),
    "none at all": lambda passport: shown(passport, ""),
    "of a kind that is too large": lambda passport: shown(passport, proof(passport, LatticeSigner(1))),
}


@pytest.mark.promise("TRUST-11")
@pytest.mark.parametrize("name", STOLEN)
def test_a_proof_is_refused(name: str) -> None:
    passport = bound(office())
    with pytest.raises(Denied) as caught:
        Proofs().holder(STOLEN[name](passport), now=NOW)
    assert caught.value.code == "OMG-T001"
    assert caught.value.cause == "the proof that belongs to the passport does not hold", "a thief learns nothing"


@pytest.mark.promise("TRUST-11")
def test_a_proof_counts_once() -> None:
    proofs, made = Proofs(), proof("p")
    assert proofs.holder(shown("p", made), now=NOW)
    for later in (0, 1, MAX_AGE_S, MAX_AGE_S + 1, 10_000):
        with pytest.raises(Denied):
            proofs.holder(shown("p", made), now=NOW + later)
    assert proofs.holder(shown("p", proof("p", jti="proof-2")), now=NOW)
    assert proofs.holder(shown("p", proof("p", signer=THIEF)), now=NOW), "ids of two holders do not collide"


def test_a_flood_of_proofs_makes_none_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "MAX_SEEN", 3)
    proofs = Proofs()
    for at in range(3):
        proofs.holder(shown("p", proof("p", jti=f"p{at}")), now=NOW)
    for again in ("p0", "p9"):
        with pytest.raises(Denied):
            proofs.holder(shown("p", proof("p", jti=again)), now=NOW)
    assert proofs.holder(shown("p", proof("p", jti="p9", now=NOW + 70)), now=NOW + 70)


def test_a_nonce_that_was_asked_for_is_needed() -> None:
    for given in ("", "other"):
        with pytest.raises(Denied):
            Proofs().holder(shown("p", proof("p", nonce=given)), now=NOW, nonce="n1")


@pytest.mark.promise("TRUST-11")
def test_a_binding_survives_refresh_ends_at_the_edge_and_is_an_actors_own() -> None:
    authority = office()
    passport, kid = bound(authority), thumbprint(HOLDER)
    again = authority.refresh(passport, ttl_s=600, now=NOW + 1, jti="r", holder=kid)
    with pytest.raises(Denied):
        authority.verify(again, now=NOW + 1)
    inside = authority.redeem(passport, holder=kid, ttl_s=30, now=NOW + 1, jti="in")
    assert authority.verify(inside, now=NOW + 2).expires_at == NOW + 31
    for call in (authority.refresh, authority.redeem):
        with pytest.raises(Denied):
            call(passport, ttl_s=30, now=NOW + 1, jti="t", holder=thumbprint(THIEF))
    scope = authority.verify(passport, now=NOW, holder=kid)
    acting = authority.delegate(scope, actor="agent:a", capabilities=["tool:x"], ttl_s=60, now=NOW, jti="d", holder=thumbprint(THIEF))
    assert authority.verify(acting, now=NOW, holder=thumbprint(THIEF)).actors == ("agent:a",)
    with pytest.raises(Denied):
        authority.verify(acting, now=NOW, holder=kid)


@pytest.mark.parametrize("cnf", [{}, {"jkt": ""}, {"jkt": 1}, {"x5t#S256": "A" * 43}, {"jkt": "A" * 43, "x5t#S256": "A" * 43}, "jkt", None])
def test_a_binding_of_an_unknown_kind_is_refused_not_ignored(cnf: object) -> None:
    from trust.test_passport import SIGNER, authority, issued, opened, resigned

    desk = authority()
    header, claims = opened(issued(desk))
    with pytest.raises(Denied):
        desk.verify(resigned("", header, {**claims, "cnf": cnf}, SIGNER), now=NOW)
