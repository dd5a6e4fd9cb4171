"""Roles that nobody holds: `step-up` and `webauthn` are answered by the person's own factor, the stronger one answers both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.warden.approvals import OWNER, PASSKEY, PROVEN, STEP_UP, demand_of, roles_of, satisfied, standing_in

ROLES = st.sampled_from([STEP_UP, PASSKEY, OWNER, "finance"])
GIVEN = st.lists(st.builds(lambda name, role: f"person:{name}#{role}", st.sampled_from(["ada", "bob"]), ROLES), max_size=6)


@pytest.mark.promise("MFA-05")
@settings(max_examples=80, deadline=None)
@given(GIVEN)
def test_only_a_key_answers_for_a_key_and_no_owner_stands_in(approvals: list[str]) -> None:
    found = standing_in(roles_of(approvals), [STEP_UP, PASSKEY, "finance"])
    said = {each.partition("#")[2] for each in approvals}
    assert (PASSKEY in found) == (PASSKEY in said) == satisfied(PASSKEY, found)
    assert (STEP_UP in found) == bool(said & PROVEN) == satisfied(STEP_UP, found)


@pytest.mark.promise("MFA-05")
@pytest.mark.parametrize("text", ["webauthn:2", "step-up:3", "webauthn:", "webauthn:1"])
def test_a_factor_is_not_counted_like_persons(text: str) -> None:
    assert demand_of(text) == ("", 0)
    assert demand_of("webauthn") == ("webauthn", 1)
