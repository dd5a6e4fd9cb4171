"""SCIM's filters and operations: whatever comes, they are read or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.wire.scim.filters import USERS, matches, read, read_plain
from omega.wire.scim.patching import GROUP, MAX_LISTED, MAX_LOOKED, MAX_NAMES, MAX_TEXT, USER, patched

WORDS = ("userName", "eq", "and", "or", "not", "(", ")", "[", '"a"', '"', "pr", "active", "true", "1", "emails.value", "co", " ", "\\")
RESOURCE = {"id": "usr_1", "userName": "ada", "active": True, "emails": [{"value": "a@x.org", "type": "work", "primary": True}]}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_a_filter_is_read_or_refused(text: str) -> None:
    try:
        found = read(text, USERS)
    except InputError as error:
        assert error.details["scim"] == "invalidFilter"
    else:
        assert found["all"] or found["any"] or found["none"] or found["attribute"] in USERS.values()


def test_and_binds_more_than_or_and_not_more_than_both() -> None:
    found = read('userName eq "a" or not (active eq true) and displayName pr', USERS)
    assert [each["attribute"] for each in found["any"]] == ["user_name", ""] and found["any"][1]["all"][0]["none"]
    assert matches(read_plain('type eq "WORK" and primary eq true'), RESOURCE["emails"][0])
    assert not matches(read_plain('value eq "A@x.org"'), RESOURCE["emails"][0]), "an id is compared as it is written"


@pytest.mark.parametrize(
    ("operation", "name", "value"),
    [
        ({"op": "add", "path": "emails", "value": {"value": "b@x.org", "primary": True}}, "emails", 2),
        ({"op": "remove", "path": 'emails[type eq "work"]'}, "emails", 0),
        ({"op": "replace", "path": 'emails[type eq "home"].value', "value": "c@x.org"}, "emails", 2),
        ({"op": "replace", "path": "emails", "value": []}, "emails", 0),
    ],
)
def test_lists_are_changed_in_every_way(operation: dict[str, Any], name: str, value: int) -> None:
    found = patched(RESOURCE, {"Operations": [operation]}, USER)
    assert len(found[name]) == value and sum(each.get("primary") is True for each in found[name]) <= 1
    assert len(RESOURCE[name]) == 1, "what stood is not touched"


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"Operations": []},
        {"Operations": [1]},
        {"Operations": [{"op": "add"}]},
        {"Operations": [{"op": "add", "path": "a[", "value": 1}]},
    ],
)
def test_what_cannot_be_carried_out_is_refused(message: Any) -> None:
    with pytest.raises(InputError):
        patched(RESOURCE, message, USER)


class Counted(dict[str, Any]):
    """An element that counts how often one is held against another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = None


@pytest.mark.parametrize("op", ["remove", "replace"])
def test_elements_that_a_filter_means_are_found_by_their_place(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.wire.scim.patching._element", Counted)
    Counted.compared = 0
    members = [{"value": f"usr_{number}", "display": "x"} for number in range(200)]
    filled = {"op": "replace", "path": "members", "value": members}
    changed = {"op": op, "path": 'members[value sw "usr_1"].display', "value": "y"}
    found = patched({"members": []}, {"Operations": [filled, changed]}, GROUP)["members"]
    assert [each.get("display") for each in found] == [
        {"remove": None, "replace": "y"}[op] if f"usr_{number}".startswith("usr_1") else "x" for number in range(200)
    ]
    assert Counted.compared == 0, "nothing is held against all others"


def _set(value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": "members", "value": value}


MANY = [{"value": str(number)} for number in range(MAX_LISTED)]
LOOKED = {"op": "remove", "path": 'members[not (value pr or value\teq "x")].display'}
MOST = MAX_LOOKED // (MAX_LISTED * 2 * 10)


@pytest.mark.parametrize(
    ("most", "over"),
    [
        ([_set(MANY)], [_set([*MANY, {"value": "x"}])]),
        ([_set([{"value": "x" * MAX_TEXT}])], [_set([{"value": "x" * (MAX_TEXT + 1)}])]),
        ([_set({str(number): 1 for number in range(MAX_NAMES)})], [_set({str(number): 1 for number in range(MAX_NAMES + 1)})]),
        (
            [_set([{"value": "x"}])],
            [_set([{"value": "x"}]), {"op": "replace", "path": "members[value pr].a", "value": "x" * (MAX_TEXT + 1)}],
        ),
        ([_set(MANY), *[LOOKED] * MOST], [_set(MANY), *[LOOKED] * (MOST + 1)]),
    ],
)
def test_what_operations_look_at_is_bounded(most: list[Any], over: list[Any]) -> None:
    assert patched({"members": []}, {"Operations": most}, GROUP)["members"]
    with pytest.raises(InputError) as caught:
        patched({"members": []}, {"Operations": over}, GROUP)
    assert caught.value.code == "OMG-G001"
