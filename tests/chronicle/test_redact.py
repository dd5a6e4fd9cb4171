"""Redaction: the conformance corpus of paths, schemas and detectors, and its laws."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.chronicle.redact import DETECTORS, MARK, MAX_PATHS, Level, Rules, content, sensitive_paths
from omega.kernel.errors import InputError

RECORD: dict[str, Any] = {
    "user": {"name": "ada", "email": "ada@example.org", "age": 36},
    "items": [{"card": "4111111111111111", "n": 1}, {"card": None, "n": 2}, "loose"],
    "odd name": {"x": 1},
    "deep": {"a": {"secret": "s", "b": [{"secret": [1, 2]}]}},
}

PATHS: list[tuple[list[str], dict[str, Any]]] = [
    (["$.user.email"], {"user": {"name": "ada", "email": MARK, "age": 36}}),
    (["$.user"], {"user": MARK}),
    (["$.items[*].card"], {"items": [{"card": MARK, "n": 1}, {"card": MARK, "n": 2}, "loose"]}),
    (["$.items[1]", "$.items[0].n"], {"items": [{"card": "4111111111111111", "n": MARK}, MARK, "loose"]}),
    (["$.items[*].n", "$.items[0].card"], {"items": [{"card": MARK, "n": MARK}, {"card": None, "n": MARK}, "loose"]}),
    (["$['odd name'].x"], {"odd name": {"x": MARK}}),
    (["$.user.*"], {"user": {"name": MARK, "email": MARK, "age": MARK}}),
    (["$..secret"], {"deep": {"a": {"secret": MARK, "b": [{"secret": MARK}]}}}),
    (["$..secret", "$.user.age"], {"deep": {"a": {"secret": MARK, "b": [{"secret": MARK}]}}, "user": {**RECORD["user"], "age": MARK}}),
    (["$.nowhere.at.all", "$.items[99].n", "$.user[0]", "$.user.name.more"], {}),
]


@pytest.mark.promise("LOG-25")
@pytest.mark.parametrize(("paths", "changed"), PATHS, ids=lambda value: str(value)[:40])
def test_paths_take_out_what_they_name_and_nothing_else(paths: list[str], changed: dict[str, Any]) -> None:
    before = copy.deepcopy(RECORD)
    assert Rules(paths).apply(RECORD) == {**RECORD, **changed}
    assert before == RECORD, "what is given stays as it is"
    with_detectors = Rules(paths, detectors=DETECTORS[:2]).apply(RECORD)
    assert with_detectors == {**RECORD, **changed}, "both walks agree"


@pytest.mark.parametrize("path", ["", "$", "user", "$user", "$.", "$.a[", "$.a[-1]", "$.a..b", "$..a.b", "$." + "a." * 70 + "a", "$['']"])
def test_a_path_that_makes_no_sense_is_refused(path: str) -> None:
    with pytest.raises(InputError) as caught:
        Rules([path])
    assert caught.value.code == "OMG-I001"
    with pytest.raises(InputError):
        Rules(f"$.a{at}" for at in range(MAX_PATHS + 1))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcs"), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.promise("LOG-25")
@given(value=plain, paths=st.lists(st.sampled_from(["$.a", "$.a.b", "$.*.c", "$.a[*]", "$.b[*].a", "$[0]", "$[*].s", "$.c.*"]), max_size=4))
@settings(max_examples=200, deadline=None)
def test_redacting_twice_changes_no_more_and_never_the_original(value: Any, paths: list[str]) -> None:
    before = copy.deepcopy(value)
    rules, swept = Rules(paths), Rules(paths, detectors=DETECTORS)
    once = rules.apply(value)
    assert rules.apply(once) == once
    assert swept.apply(value) == swept.apply(once)
    assert value == before
    if not paths:
        assert once is value, "what does not change is not copied"


@given(value=plain)
@settings(max_examples=100, deadline=None)
def test_a_name_at_any_depth_is_nowhere_left(value: Any) -> None:
    assert not [item for item in _named(Rules(["$..s"]).apply(value), "s") if item != MARK]


def _named(value: Any, name: str) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    here = [value[name]] if isinstance(value, dict) and name in value else []
    return here + [item for each in inner for item in _named(each, name)]


def test_a_value_nested_without_end_is_cut_and_not_followed() -> None:
    value: Any = "secret"
    for _ in range(900):
        value = [value]
    assert "secret" not in json.dumps(Rules(["$..x"]).apply(value))


@pytest.mark.promise("LOG-25")
def test_a_schema_says_what_is_sensitive() -> None:
    schema = {
        "properties": {
            "user": {"$ref": "#/$defs/User"},
            "cards": {"type": "array", "items": {"properties": {"number": {"x-sensitive": True}, "kind": {}}}},
            "by name": {"additionalProperties": {"properties": {"pin": {"writeOnly": True}}}},
            "either": {"anyOf": [{"type": "null"}, {"properties": {"login": {"format": "password"}}}]},
            "pair": {"prefixItems": [{}, {"x-sensitive": True}]},
            "tree": {"$ref": "#/$defs/Tree"},
        },
        "$defs": {
            "User": {"properties": {"email": {"x-sensitive": True}, "name": {}}},
            "Tree": {"properties": {"value": {"x-sensitive": True}, "left": {"$ref": "#/$defs/Tree"}}},
        },
    }
    assert sensitive_paths(schema) == [
        "$.cards[*].number",
        "$.either.login",
        "$.pair[1]",
        "$.tree.left",
        "$.tree.value",
        "$.user.email",
        "$['by name'].*.pin",
    ]
    Rules(sensitive_paths(schema))
    assert sensitive_paths({"$ref": "nowhere"}) == []
    assert sensitive_paths({"properties": 7, "items": True, "anyOf": {}}) == []


FOUND = [
    ("write to ada.lovelace+x@mail.example.co.uk today", "write to [email] today"),
    ("card 4111 1111 1111 1111.", "card [card]."),
    ("amex 378282246310005", "amex [card]"),
    ("pay DE89 3704 0044 0532 0130 00 now", "pay [iban] now"),
    ("GB82WEST12345698765432", "[iban]"),
    ("ssn 078-05-1120", "ssn [ssn]"),
    ("call +49 30 901820 or +1 (212) 555-0100", "call [phone] or [phone]"),
    ("postgres://app:hunter2@db/x", "postgres://[password]@db/x"),
    ("bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ", "bearer [token]"),
    ("-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----", "[private key]"),
]

SPARED = [
    "version 10.4.22.7, build 20261121, 4111-1111-1111-1112",
    "order 4111111111111112 and 0000000000000000",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "at 2026-11-21T12:00:00+01:00 it took 1234567890123 ns",
    "000-12-3456 and 666-12-3456 and 900-12-3456 are no numbers of anybody",
    "DE89 3704 0044 0532 0130 01",
    "https://example.org/a@b:c and user@localhost",
    "a+1 b+22 c",
    "digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
]


@pytest.mark.promise("LOG-26")
@pytest.mark.parametrize(("text", "left"), FOUND)
def test_detectors_find_what_has_a_form(text: str, left: str) -> None:
    assert Rules(detectors=DETECTORS).apply({"a": [text]}) == {"a": [left]}


@pytest.mark.promise("LOG-26")
@pytest.mark.parametrize("text", SPARED)
def test_detectors_spare_what_only_looks_alike(text: str) -> None:
    assert Rules(detectors=DETECTORS).apply(text) == text


def test_a_huge_text_is_taken_out_and_a_hostile_one_costs_no_time() -> None:
    assert Rules(detectors=DETECTORS).apply("a" * (2 << 20)) == MARK
    for hostile in ("1 " * 100_000, "a@" * 100_000, "-----BEGIN PRIVATE KEY-----" * 2_000, "+1" * 50_000, "AA00" * 50_000, "eyJ" * 50_000):
        assert isinstance(Rules(detectors=DETECTORS).apply(hostile), str)


@pytest.mark.promise("LOG-25")
def test_levels() -> None:
    rules = Rules(["$.user.email"])

    def kept(level: Level) -> Any:
        return content(
            RECORD, level, rules, encode=lambda value: json.dumps(value).encode(), commit=lambda raw, context: bytes([len(context)]) * 32
        )

    assert kept(Level.FULL) is RECORD
    assert kept(Level.REDACTED)["user"]["email"] == MARK
    assert kept(Level.ANONYMOUS) == {"kind": "object", "bytes": len(json.dumps(RECORD)), "commitment": "07" * 32}
