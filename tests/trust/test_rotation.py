"""Keys that change while passports are under way: nothing valid is refused, and nothing counts longer than it should."""

from __future__ import annotations

from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.kernel.errors import Denied
from omega.trust.keys import PublicKey, Retired, Ring
from omega.trust.passport import LOOK_S, MAX_TTL_S, Authority
from trust.signers import P256Signer

NOW = 1_800_000_000.0
OLD, NEW = SeededSigner(11), SeededSigner(12)


def office(ring: Any, **more: Any) -> Authority:
    return Authority(ring, issuer="omega.local", audience="omega.local", **more)


def issued(authority: Authority, *, now: float = NOW, **more: Any) -> str:
    facts: dict[str, Any] = {"tenant": "acme", "principal": "person:ada", "capabilities": ["tool:*"], "ttl_s": 600, "jti": "pas_1"}
    return authority.issue(now=now, **{**facts, **more})


@pytest.mark.promise("TRUST-07")
def test_two_processes_rotate_without_one_refused_passport() -> None:
    """The order in which two processes learn of each stage is the worst one: the verifier always last."""
    stages = [Ring(OLD), Ring(OLD, (NEW,)), Ring(NEW, (), (Retired(OLD.public, int(NOW) + MAX_TTL_S),))]
    for signing, verifying in ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2)):
        token = issued(office(stages[signing]))
        assert office(stages[verifying]).verify(token, now=NOW + 1).principal == "person:ada", (signing, verifying)


@pytest.mark.promise("TRUST-07")
def test_a_retired_key_stops_counting_at_its_moment_also_for_a_remembered_passport() -> None:
    token = issued(office(OLD))
    rotated = office(Ring(NEW, (), (Retired(OLD.public, int(NOW) + 60),)))
    assert rotated.verify(token, now=NOW + 59).tenant == "acme"
    with pytest.raises(Denied) as caught:
        rotated.verify(token, now=NOW + 60)
    assert caught.value.code == "OMG-T001"
    assert [key["kid"] for key in rotated.jwks(now=NOW + 61)["keys"]] == [PublicKey(NEW.public).kid]
    assert len(rotated.jwks(now=NOW + 59)["keys"]) == 2


@pytest.mark.promise("TRUST-07")
def test_a_process_learns_of_a_rotation_within_a_second_and_asks_no_more_often() -> None:
    asked: list[int] = []
    told: list[Ring] = []

    def news() -> Ring | None:
        asked.append(1)
        return told.pop() if told else None

    running = office(Ring(OLD), news=news)
    stolen = issued(running)
    assert running.verify(stolen, now=NOW).tenant == "acme"
    told.append(Ring(NEW))  # the old key was stolen: it counts no more
    for step in range(9):
        running.verify(stolen, now=NOW + LOOK_S * step / 10)
    with pytest.raises(Denied):
        running.verify(stolen, now=NOW + LOOK_S)
    assert running.verify(issued(office(NEW)), now=NOW + LOOK_S).tenant == "acme"
    assert len(asked) == 2


def test_a_clock_that_is_set_back_does_not_stop_the_news() -> None:
    asked: list[int] = []
    running = office(Ring(OLD), news=lambda: asked.append(1))
    issued(running, now=NOW)
    issued(running, now=NOW - 5_000)
    assert len(asked) == 2


def test_passports_of_an_hsm_are_es256_and_name_their_key() -> None:
    authority = office(P256Signer(5))
    token = issued(authority)
    assert authority.verify(token, now=NOW).tenant == "acme"
    assert authority.jwks()["keys"][0]["alg"] == "ES256"
    with pytest.raises(Denied):
        office(P256Signer(6)).verify(token, now=NOW)


@pytest.mark.promise("TRUST-08")
def test_a_refreshed_passport_says_the_same_for_longer_and_dies_with_the_first() -> None:
    authority = office(OLD)
    first = issued(authority, actors=["agent:helper"], groups=["engineers"], region="eu")
    second = authority.refresh(first, ttl_s=600, now=NOW + 500, jti="again")
    was, now = authority.verify(first, now=NOW + 500), authority.verify(second, now=NOW + 1_000)
    for part in ("tenant", "principal", "groups", "capabilities", "actors", "region"):
        assert getattr(was, part) == getattr(now, part)
    assert (now.passport, now.expires_at) == ("pas_1/again", NOW + 1_100)
    authority.revoke("pas_1")
    with pytest.raises(Denied):
        authority.verify(second, now=NOW + 1_000)
    with pytest.raises(Denied):
        authority.refresh(second, ttl_s=600, now=NOW + 1_000, jti="b")


@pytest.mark.promise("TRUST-08")
def test_an_ended_passport_is_not_refreshed_and_none_for_ever() -> None:
    authority = office(OLD)
    token = issued(authority)
    with pytest.raises(Denied):
        authority.refresh(token, ttl_s=600, now=NOW + 600, jti="late")
    with pytest.raises(Denied):
        for at in range(20):
            token = authority.refresh(token, ttl_s=600, now=NOW + at, jti=f"r{at}")
    assert at == 8, "ids continue eight times"
