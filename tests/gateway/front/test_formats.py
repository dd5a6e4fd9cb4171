"""Formats of the door, as pure functions: strict JSON, statuses and problems, names in certificates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.gateway.front.door import name_of
from omega.gateway.front.server import spiffe_of
from omega.gateway.front.turns import Turns
from omega.kernel.adapt import rate_of
from omega.kernel.errors import CODES, Denied, InputError, OmegaError
from omega.kernel.scope import mint_scope
from omega.wire.problem import headers_of, problem, status_of
from omega.wire.strict import MAX_DEPTH, read_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(value=PLAIN, ascii_only=st.booleans())
def test_whatever_json_can_say_is_read_as_it_was_meant(value: Any, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789eE+-.truefalsn\\ud8', max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused_with_the_code(body: bytes) -> None:
    try:
        found = read_json(body)
    except InputError as error:
        assert error.code == "OMG-G001" and error.advice
    else:
        json.dumps(found, allow_nan=False).encode()


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 100_000])
def test_the_limit_of_depth_is_where_it_says(depth: int) -> None:
    body = b"[" * depth + b"]" * depth
    if depth <= MAX_DEPTH:
        read_json(body)
    else:
        with pytest.raises(InputError, match="nests"):
            read_json(body)
    assert read_json(b"[" + b",".join([b"{}"] * (MAX_DEPTH * 4)) + b"]") == [{}] * (MAX_DEPTH * 4), "many are not deep"


@pytest.mark.promise("DOOR-02")
@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_status_and_a_whole_problem(code: str) -> None:
    status, document, _ = problem(OmegaError(code, "because", details={"secret": 1}), instance="req_1", base="http://h")
    assert status == document["status"] == status_of(code) and 200 <= status < 600
    assert document["code"] == code and document["type"] == f"http://h/api/docs/errors#{code.lower()}"
    assert document["title"] and document["advice"] and document["whose"]
    assert ("details" in document) == (status < 500), "faults of ours tell no details"


def test_statuses_that_others_rely_on() -> None:
    known = {"OMG-T001": 401, "OMG-W001": 403, "OMG-W004": 429, "OMG-W005": 402, "OMG-W008": 403, "OMG-I001": 400, "OMG-I003": 404}
    known |= {"OMG-R010": 409, "OMG-R011": 202, "OMG-S004": 503, "OMG-M002": 502, "OMG-M003": 504, "OMG-G004": 413, "OMG-Z999": 500}
    assert {code: status_of(code) for code in known} == known


def test_headers_that_belong_to_a_refusal() -> None:
    late = Denied("OMG-W004", "too often", details={"retry_after_s": 7.4}).record()
    assert headers_of(late, 429) == [(b"retry-after", b"7")]
    assert headers_of({"details": {"retry_after_s": "soon"}}, 503) == [(b"retry-after", b"1")]
    assert b"resource_metadata" in headers_of({}, 401, base="http://h")[0][1]
    assert headers_of({"details": {"allow": ["GET", "POST"]}}, 405) == [(b"allow", b"GET, POST")]
    assert headers_of({}, 400) == []


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:80:80", "a:80"), ("a:", "a:"), ("a:x", "a:x"), ("", "")],
)
def test_thename_of_a_host(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([("URI", "spiffe://acme/agent")], "spiffe://acme/agent"),
        ([("URI", "spiffe://a/x"), ("URI", "spiffe://a/y")], ""),
        ([("URI", "https://acme/agent")], ""),
        ([("DNS", "spiffe://acme/agent")], ""),
        ([("DNS", "acme"), ("URI", "spiffe://acme/agent")], "spiffe://acme/agent"),
        ([], ""),
    ],
)
def test_the_spiffe_id_of_a_certificate(names: list[tuple[str, str]], found: str) -> None:
    assert spiffe_of({"subjectAltName": tuple(names)} if names else {}) == found


def test_turns_come_back_and_are_counted_per_caller() -> None:
    turns, rate = Turns(), rate_of("2/s")

    def caller(name: str) -> Any:
        return mint_scope(tenant="t", principal=name, passport="pas_1", epoch=0, expires_at=0)

    turns.take("x", rate, caller("a"), 0)
    turns.take("x", rate, caller("a"), 0)
    turns.take("x", rate, caller("b"), 0)
    turns.take("y", rate, caller("a"), 0)
    with pytest.raises(Denied) as caught:
        turns.take("x", rate, caller("a"), 0)
    assert (caught.value.code, caught.value.details["retry_after_s"]) == ("OMG-G007", 1)
    turns.take("x", rate, caller("a"), 500_000)
