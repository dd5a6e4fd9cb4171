"""Attenuation: a holder hands on a part of a passport offline, and never more than they have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import OPERATOR, SeededSigner
from omega.kernel.errors import Denied
from omega.kernel.scope import MAX_DELEGATION_DEPTH, SCHEDULER
from omega.trust import jws
from omega.trust.attenuation import JOINT, attenuate, exchange, verify
from omega.trust.keys import PublicKey
from omega.trust.passport import Authority
from trust.signers import P256Signer

NOW = 1_800_000_000.0
ADA, BOT, SUB, EVE = SeededSigner(71), P256Signer(72), SeededSigner(73), SeededSigner(74)


def jkt(signer: Any) -> str:
    return PublicKey(signer.public).kid


def office() -> Authority:
    return Authority(OPERATOR, issuer="omega.local", audience="omega.local")


def passport(holder: Any = ADA, **facts: Any) -> str:
    given: dict[str, Any] = {"tenant": "acme", "principal": "person:ada", "capabilities": ["tools:*", "files:read"], "ttl_s": 600}
    return office().issue(now=NOW, jti="pas_1", holder=jkt(holder) if holder else "", **given | facts)


def link(chain: str, signer: Any, **facts: Any) -> str:
    given: dict[str, Any] = {"actor": "agent:bot", "capabilities": ["tools:call"], "ttl_s": 60, "now": NOW, "jti": "l1"}
    return attenuate(chain, signer, **given | facts)


WHOLE = link(link(passport(), ADA, holder=jkt(BOT)), BOT, actor="agent:sub", jti="l2", holder=jkt(SUB))


@pytest.mark.promise("TRUST-19")
def test_each_holder_hands_on_a_part_without_the_issuer() -> None:
    scope = verify(WHOLE, office(), now=NOW, holder=jkt(SUB))
    assert (scope.tenant, scope.principal, scope.actors) == ("acme", "person:ada", ("agent:sub", "agent:bot"))
    assert scope.capabilities == {"tools:call"} and scope.passport == "pas_1/l1/l2" and scope.expires_at == int(NOW) + 60
    assert verify(passport(), office(), now=NOW, holder=jkt(ADA)).actors == ()


@pytest.mark.promise("TRUST-19")
def test_a_chain_is_exchanged_for_a_passport_that_ends_with_it() -> None:
    authority = office()
    token = exchange(WHOLE, authority, ttl_s=3600, now=NOW, jti="x", holder=jkt(SUB))
    scope = authority.verify(token, now=NOW, holder=jkt(SUB))
    assert scope.actors == ("agent:sub", "agent:bot") and scope.expires_at == int(NOW) + 60
    authority.revoke("pas_1/l1")
    for call in (lambda: authority.verify(token, now=NOW, holder=jkt(SUB)), lambda: verify(WHOLE, authority, now=NOW, holder=jkt(SUB))):
        with pytest.raises(Denied) as caught:
            call()
        assert caught.value.cause == "the passport was revoked"


def cut(chain: str) -> str:
    return chain.rpartition(JOINT)[0]


def reordered(chain: str) -> str:
    first, second, third = chain.split(JOINT)
    return JOINT.join((first, third, second))


def spliced(chain: str) -> str:
    """A link of one passport on another one of the same holder."""
    return JOINT.join((passport(tenant="globex"), *chain.split(JOINT)[1:]))


def unbound_claims(**claims: Any) -> str:
    base = passport()
    good: dict[str, Any] = {"caps": ["tools:call"], "exp": int(NOW) + 60, "iat": int(NOW), "jti": "l1", "sub": "agent:bot"}
    from omega.trust.attenuation import _digest

    kept = {name: value for name, value in (good | {"prev": _digest(base)} | claims).items() if value is not None}
    key = PublicKey(ADA.public).jwk()
    return f"{base}{JOINT}{jws.signed({'jwk': {name: key[name] for name in ('kty', 'crv', 'x')}, 'typ': 'attenuation+jwt'}, kept, ADA)}"


@pytest.mark.promise("TRUST-19")
@pytest.mark.parametrize(
    ("chain", "code"),
    [
        (cut(WHOLE), "OMG-T001"),
        (reordered(WHOLE), "OMG-T001"),
        (spliced(WHOLE), "OMG-T001"),
        (WHOLE.split(JOINT)[1], "OMG-T001"),
        (WHOLE + JOINT, "OMG-T001"),
        (WHOLE[:-3] + "AAA", "OMG-T001"),
        (link(passport(None), ADA), "OMG-T001"),  # a bearer's passport names no key that could hand it on
        (link(passport(), EVE), "OMG-T001"),
        (link(link(passport(), ADA), ADA, jti="l2", actor="agent:x"), "OMG-T001"),  # the first link named no key to go on with
        (link(passport(), ADA, capabilities=["files:write"]), "OMG-T002"),
        (link(passport(), ADA, capabilities=["*"]), "OMG-T002"),
        (link(passport(), ADA, actor="person:ada"), "OMG-T002"),
        (link(passport(), ADA, actor=SCHEDULER), "OMG-T002"),
        (link(link(passport(), ADA, holder=jkt(BOT)), BOT, jti="l2"), "OMG-T002"),  # agent:bot again
        (link(passport(), ADA, ttl_s=0), "OMG-T001"),
        (link(passport(), ADA, now=NOW + 60), "OMG-T001"),
        (link(passport(), ADA, jti="a/b"), "OMG-T001"),
        (link(passport(), ADA, actor="a b"), "OMG-T001"),
        (link(passport(), ADA, actor="a" * 200), "OMG-T001"),
        (link(passport(), ADA, holder="short"), "OMG-T001"),
        (unbound_claims(prev=None), "OMG-T001"),
        (unbound_claims(exp=None), "OMG-T001"),
        (unbound_claims(exp=True), "OMG-T001"),
        (unbound_claims(caps="tools:call"), "OMG-T001"),
        (unbound_claims(caps=[7]), "OMG-T001"),
        (unbound_claims(sub=None), "OMG-T001"),
        (unbound_claims(cnf={"x5t#S256": "a"}), "OMG-T001"),
        ("~" * 100_000, "OMG-T001"),
        ("", "OMG-T001"),
    ],
)
def test_a_chain_that_does_not_hold_is_refused(chain: str, code: str) -> None:
    assert verify(unbound_claims(), office(), now=NOW).actors == ("agent:bot",)
    with pytest.raises(Denied) as caught:
        verify(chain, office(), now=NOW, holder=jkt(SUB))
    assert caught.value.code == code


@pytest.mark.promise("TRUST-19")
@pytest.mark.parametrize("holder", ["", jkt(BOT), jkt(ADA)])
def test_the_last_key_has_to_be_shown(holder: str) -> None:
    with pytest.raises(Denied):
        verify(WHOLE, office(), now=NOW, holder=holder)


@pytest.mark.promise("TRUST-19")
def test_chains_have_an_end() -> None:
    chain, signers = passport(), [ADA, *(SeededSigner(100 + number) for number in range(MAX_DELEGATION_DEPTH + 1))]
    for number in range(MAX_DELEGATION_DEPTH):
        chain = link(chain, signers[number], actor=f"agent:a{number}", jti=f"l{number}", holder=jkt(signers[number + 1]))
    assert len(verify(chain, office(), now=NOW, holder=jkt(signers[MAX_DELEGATION_DEPTH])).actors) == MAX_DELEGATION_DEPTH
    deeper = link(chain, signers[MAX_DELEGATION_DEPTH], actor="agent:last", jti="last")
    with pytest.raises(Denied) as caught:
        verify(deeper, office(), now=NOW)
    assert caught.value.code == "OMG-T002"


RIGHTS = st.sets(st.sampled_from(["tools:call", "tools:list", "files:read", "files:write", "flows:run", "tools:*"]), max_size=4)


@pytest.mark.promise("TRUST-19")
@given(start=RIGHTS, steps=st.lists(RIGHTS, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_chain_holds_more_than_its_narrowest_link(start: set[str], steps: list[set[str]]) -> None:
    signers: list[Any] = [ADA, BOT, SUB, EVE, SeededSigner(75)]
    chain = passport(capabilities=start)
    for number, rights in enumerate(steps):
        chain = link(
            chain, signers[number], actor=f"agent:a{number}", jti=f"l{number}", capabilities=rights, holder=jkt(signers[number + 1])
        )
    try:
        scope = verify(chain, office(), now=NOW, holder=jkt(signers[len(steps)]))
    except Denied:
        return
    for each in (start, *steps):
        holder = office().verify(passport(None, capabilities=each), now=NOW)
        assert not holder.missing(scope.capabilities)


@pytest.mark.promise("TRUST-19")
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_chain_changed_anywhere_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_.~ "))
    changed = WHOLE[:at] + letter + WHOLE[at + 1 :]
    if changed == WHOLE:
        return
    with pytest.raises(Denied):
        verify(changed, office(), now=NOW, holder=jkt(SUB))
