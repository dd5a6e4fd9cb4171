"""The registry API as values: whatever comes, it is read into something bounded or refused by a code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.wire.registry import MAX_ENTRY, MAX_PAGE, OFFICIAL, Listed, Wanted, micros, moment, read_page, versions_of, with_one_latest

texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["a.b/c", "1.0.0", "latest", "2026-11-21T10:00:00Z", "active", "deleted", "true", "100"])
)
keys = st.sampled_from(
    ["server", "name", "version", "_meta", OFFICIAL, "status", "isLatest", "updatedAt", "servers", "metadata", "nextCursor"]
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=20,
)


@pytest.mark.promise("TOOL-37")
@settings(max_examples=60, deadline=None)
@given(body=anything)
def test_any_answer_is_a_page_or_refused(body: Any) -> None:
    try:
        page = read_page(json.dumps(body).encode())
    except InputError as error:
        assert error.code in ("OMG-I001", "OMG-G001")
        return
    for each in page.entries:
        assert Listed.from_json(each.to_json()) == each
        assert "/" in each.name
        assert each.version not in ("", "latest")


@pytest.mark.promise("TOOL-38")
@settings(max_examples=60, deadline=None)
@given(query=st.dictionaries(st.sampled_from(["limit", "cursor", "search", "updated_since", "version", "include_deleted"]), texts))
def test_any_query_is_understood_or_refused(query: dict[str, str]) -> None:
    try:
        wanted = Wanted.from_query(query)
    except InputError as error:
        assert error.code == "OMG-G001"
        return
    assert 1 <= wanted.limit <= MAX_PAGE


@pytest.mark.promise("TOOL-37")
def test_an_entry_is_bounded_and_has_one_version() -> None:
    fine = {"server": {"name": "a.b/c", "version": "1.0.0-rc.1+build.5"}}
    assert Listed.from_json(fine).key == "a.b/c@1.0.0-rc.1+build.5"
    for version in ("latest", "^1.2", "~1", ">=1", "1.x", "1.*", "1 2", "", "v1.x", "1\n"):
        with pytest.raises(InputError):
            Listed.from_json({"server": {"name": "a.b/c", "version": version}})
    for name in ("a", "a/b/c", "/b", "a/", "a.b/c d", "a.b/" + "c" * 300, "ä/b"):
        with pytest.raises(InputError):
            Listed.from_json({"server": {"name": name, "version": "1"}})
    with pytest.raises(InputError):
        Listed.from_json({"server": {**fine["server"], "description": "x" * MAX_ENTRY}})


@pytest.mark.promise("TOOL-38")
def test_one_version_of_each_server_is_the_latest() -> None:
    def one(version: str, published: str, *, latest: bool = True, status: str = "active") -> Listed:
        return Listed({"name": "a.b/c", "version": version}, status, published, published, latest)

    both = with_one_latest([one("1", "2026-01-01T00:00:00Z"), one("2", "2026-02-01T00:00:00Z"), one("3", "", latest=False)])
    assert [each.latest for each in both] == [False, True, False]
    assert [each.version for each in versions_of(both, "a.b/c")] == ["2", "1", "3"]
    gone = [one("1", "", status="deleted")]
    assert (versions_of(gone, "a.b/c"), len(versions_of(gone, "a.b/c", deleted=True))) == ([], 1)


def test_moments_there_and_back() -> None:
    assert moment(micros("2026-11-21T10:00:00.5+02:00")) == "2026-11-21T08:00:00Z"
    assert micros("2026-11-21") == micros("2026-11-21T00:00:00Z")
    for wrong in ("yesterday", "2026-13-01", ""):
        with pytest.raises(InputError):
            micros(wrong)
