"""Flags: what a leaf means to whoever watches over compliance, and what raised it."""

from __future__ import annotations

from typing import Any

import pytest

from omega.chronicle.flags import Flag, Kind, flags_of
from omega.chronicle.record import Leaf


def flagged(**fields: Any) -> tuple[Flag, ...]:
    return flags_of(Leaf(**{"kind": "admit", "tenant": "acme", **fields}))


@pytest.mark.promise("LOG-39")
@pytest.mark.parametrize(
    ("fields", "kind", "raised"),
    [
        ({"kind": "deny", "policies": ("no-mail", "no-fax")}, Kind.DENIED, "no-mail, no-fax"),
        ({"kind": "deny"}, Kind.DENIED, "no policy permits it"),
        ({"kind": "deny", "code": "OMG-W002"}, Kind.POLICY_ERROR, "OMG-W002"),
        ({"kind": "deny", "code": "OMG-W005"}, Kind.BUDGET, "OMG-W005"),
        ({"kind": "outcome", "reason": "injection in mail/read"}, Kind.GUARD, "injection in mail/read"),
        ({"kind": "outcome", "code": "OMG-R006"}, Kind.IN_DOUBT, "OMG-R006"),
        ({"kind": "admin", "code": "OMG-R022"}, Kind.DEAD, "OMG-R022"),
        ({"kind": "approve", "principal": "person:ada"}, Kind.BY_HAND, "person:ada"),
        ({"kind": "handover"}, Kind.KEYS, "handover"),
        ({"kind": "entry", "flow": "erase"}, Kind.ERASED, "erase"),
        ({"kind": "entry", "flow": "release_hold"}, Kind.HOLD, "release_hold"),
        ({"kind": "entry", "flow": "log_access"}, Kind.READ, "log_access"),
        ({"kind": "entry", "flow": "refused_credentials"}, Kind.REFUSED, "refused_credentials"),
        ({"kind": "entry", "flow": "guessed_credentials"}, Kind.GUESSED, "guessed_credentials"),
    ],
)
def test_a_leaf_is_flagged_with_what_raised_it(fields: dict[str, Any], kind: Kind, raised: str) -> None:
    (flag,) = flagged(**fields)
    assert (flag.kind, flag.raised) == (kind, raised)
    assert flag.record() == {"flag": kind.value, "raised": raised, "alarming": flag.alarming}


def test_most_leaves_have_none_and_an_act_is_flagged_once() -> None:
    assert flagged() == flagged(kind="outcome", status="done") == flagged(kind="end", status="failed") == ()
    acts = [flagged(kind=kind, flow="erase") for kind in ("entry", "admit", "outcome", "end")]
    assert [len(found) for found in acts] == [1, 0, 0, 0]


def test_only_what_somebody_should_look_at_now_is_alarming() -> None:
    assert flagged(kind="deny")[0].alarming
    assert not flagged(kind="entry", flow="read_log")[0].alarming
