"""Headers that repeat the body: they say the same, or the request is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.wire.jsonrpc import ProtocolFault
from omega.wire.mcp import check_arguments_in_headers, check_routing, decode_header, encode_header, negotiated
from omega.wire.mcp.eras import CAPABILITIES_KEY, HEADER_MISMATCH, MODERN, UNSUPPORTED_VERSION, VERSION_KEY, era_of
from omega.wire.mcp.headers import argument_headers, check_single, marked, unsound

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "deep": {"type": "object", "properties": {"inner": {"type": "string", "x-mcp-header": "Inner"}}},
        "plain": {"type": "string"},
    },
}


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_travels_in_a_header(text: str) -> None:
    sent = encode_header(text)
    assert sent.isascii()
    assert sent.isprintable()
    assert decode_header(sent) == text


@pytest.mark.parametrize("sent", ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?SGVsbG9=?=", "=?base64?/w==?="])
def test_base64_that_is_none_says_nothing(sent: str) -> None:
    assert decode_header(sent) is None


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": st.text(st.characters(codec="utf-8")),
            "count": st.integers(-(1 << 60), 1 << 60),
            "dry": st.booleans(),
            "deep": st.fixed_dictionaries({}, optional={"inner": st.text(st.characters(codec="utf-8"))}),
            "plain": st.text(),
        },
    )
)
def test_headers_made_for_a_call_are_accepted_with_it_and_refused_without(arguments: dict[str, Any]) -> None:
    marks = marked(SCHEMA)
    headers = argument_headers(marks, arguments)
    check_arguments_in_headers(marks, arguments, headers)
    for name in headers:
        with pytest.raises(ProtocolFault) as caught:
            check_arguments_in_headers(marks, arguments, {key: value for key, value in headers.items() if key != name})
        assert caught.value.code == HEADER_MISMATCH
        with pytest.raises(ProtocolFault):
            check_arguments_in_headers(marks, arguments, headers | {name: headers[name] + "x"})


def test_number_says_the_same_in_either_form() -> None:
    marks = {("count",): ("mcp-param-count", "integer")}
    check_arguments_in_headers(marks, {"count": 42.0}, {"mcp-param-count": "42"})
    check_arguments_in_headers(marks, {"count": 42}, {"mcp-param-count": "42.0"})
    with pytest.raises(ProtocolFault):
        check_arguments_in_headers(marks, {"count": 42}, {"mcp-param-count": "4.2e1"})


@pytest.mark.parametrize(
    "mark",
    [
        {"x-mcp-header": "two words"},
        {"x-mcp-header": 7},
        {"type": "number", "x-mcp-header": "N"},
        {"type": "string", "x-mcp-header": "Region"},
    ],
)
def test_marks_that_do_not_hold_together_count_for_nothing(mark: dict[str, Any]) -> None:
    schema = {"properties": {"a": {"type": "string", **mark}, "b": {"type": "string", "x-mcp-header": "region"}}}
    assert marked(schema) == {}
    assert unsound(schema), "nobody could tell what the headers of such a tool should say"
    assert not unsound({"properties": {"a": {"type": "string"}}})


def test_routing_headers_say_what_the_body_says() -> None:
    body = {"name": "git__log"}
    check_routing("tools/call", body, {"mcp-method": "tools/call", "mcp-name": " git__log "})
    for headers in (
        {"mcp-name": "git__log"},
        {"mcp-method": "TOOLS/CALL", "mcp-name": "git__log"},
        {"mcp-method": "tools/call"},
        {"mcp-method": "tools/call", "mcp-name": "git__push"},
    ):
        with pytest.raises(ProtocolFault) as caught:
            check_routing("tools/call", body, headers)
        assert caught.value.code == HEADER_MISMATCH
    with pytest.raises(ProtocolFault):
        check_single(["mcp-name", "accept", "mcp-name"])


def test_request_says_its_revision_in_header_and_body_alike() -> None:
    meta = {VERSION_KEY: MODERN[0], CAPABILITIES_KEY: {"elicitation": {}}}
    assert era_of({"_meta": meta}, MODERN[0]).capabilities == {"elicitation": {}}
    with pytest.raises(ProtocolFault) as caught:
        era_of({"_meta": meta | {VERSION_KEY: "v9"}}, "v9")
    assert caught.value.code == UNSUPPORTED_VERSION
    assert caught.value.data["requested"] == "v9"
    with pytest.raises(ProtocolFault) as other:
        era_of({"_meta": meta}, "2025-11-25")
    assert other.value.code == HEADER_MISMATCH
    assert negotiated("2025-06-18") == "2025-06-18"
    assert negotiated("1999-01-01") == "2025-11-25"
