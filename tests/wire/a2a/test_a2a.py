"""The protocol as data: canonical JSON, signatures of cards, messages, operations, faults."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError, UpstreamError
from omega.wire.a2a import cards, faults, messages, operations
from omega.wire.a2a.canonical import canonical
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.signing import signatures_of, signed_card

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 8785, appendix B: doubles and how they are written
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-5e-324, "-5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1.0000000000000001e23, "1.0000000000000001e+23"),
        (999999999999999700000.0, "999999999999999700000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.3333332, "333333333.3333332"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
        (4.5, "4.5"),
        (2e-3, "0.002"),
        (1e-27, "1e-27"),
        (100.0, "100"),
        # 3.2.2.2 and 3.2.3: escapes, and the order of names by UTF-16
        ('\u20ac$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        (
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\xf6": 6},
            '{"\\r":2,"1":4,"\xf6":6,"\u20ac":1,"\U0001f600":5,"\ufb33":3}',
        ),
        (2**60, "1152921504606847000"),
        ({"b": [1, {"z": None, "a": True}], "a": False}, '{"a":false,"b":[1,{"a":true,"z":null}]}'),
    ],
)
def test_canonical_json_is_that_of_the_rfc(value: Any, text: str) -> None:
    assert canonical(value).decode() == text


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_canonical_json_is_read_back_as_it_was_and_is_one(value: Any) -> None:
    written = canonical(value)
    assert canonical(json.loads(written)) == written and json.loads(written, parse_int=float) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**60 + 1, 10**400, b"x", {1: 2}, "\ud800", {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        canonical(value)


CARD = cards.card_of(
    cards.Profile(
        name="Cook",
        description="cooks",
        version="1.0.0",
        skills=[cards.Skill(id="c", name="Cooking", description="cooks", tags=("food",))],
        inputs=["text/plain"],
        outputs=["text/plain"],
        rights=["run"],
    ),
    "https://omega.example/a2a/cook",
    "https://omega.example",
)


@pytest.mark.promise("A2A-02")
def test_a_signature_covers_the_card_and_its_own_header() -> None:
    signed = signed_card(CARD, {"alg": "EdDSA", "kid": "k1"}, lambda text: b"signature of " + text)
    (found,) = signatures_of(signed)
    assert (found.algorithm, found.kid, found.keys_at) == ("EdDSA", "k1", "")
    assert found.value == b"signature of " + found.covers[0] and len(found.covers) == 1
    for changed in (
        signed | {"description": "burns"},
        signed | {"extra": 1},
        {key: value for key, value in signed.items() if key != "version"},
    ):
        assert found.covers[0] not in signatures_of(changed)[0].covers
    other = {**signed["signatures"][0], "protected": signed_card(CARD, {"alg": "EdDSA", "kid": "k2"}, bytes)["signatures"][0]["protected"]}
    assert found.covers[0] not in signatures_of(signed | {"signatures": [other]})[0].covers


def test_a_card_is_verified_with_and_without_what_is_empty() -> None:
    signed = signed_card(CARD, {"alg": "EdDSA", "kid": "k"}, bytes)
    through_a_proxy = signed | {"documentationUrl": "", "provider": {}, "skills": [{**CARD["skills"][0], "examples": []}]}
    (found,) = signatures_of(through_a_proxy)
    assert signatures_of(signed)[0].covers[0] in found.covers and len(found.covers) == 2


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        "x",
        [1],
        [{"protected": "e30", "signature": "AA"}],
        [{"protected": "***", "signature": "AA"}],
        [{"protected": "bm8", "signature": "AA"}],
        [{"protected": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsiLCJjcml0IjpbXX0", "signature": "AA"}],
        [{"protected": "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ", "signature": 1}],
    ],
)
def test_what_is_no_signature_is_passed_over(given: Any) -> None:
    assert signatures_of({**CARD, "signatures": given}) == []


@pytest.mark.promise("A2A-14")
def test_the_interface_is_the_one_that_a_card_prefers_of_those_that_are_spoken() -> None:
    def chosen(*bindings: tuple[str, str]) -> tuple[str, str]:
        listed = [{"url": "h:1", "protocolBinding": each, "protocolVersion": "1.0", "tenant": tenant} for each, tenant in bindings]
        told = cards.foreign({**CARD, "supportedInterfaces": listed})
        return told.binding, told.tenant

    assert chosen(("GRPC", "cook"), ("JSONRPC", "")) == ("GRPC", "cook")
    assert chosen(("HTTP+JSON", ""), ("GRPC", "cook"), ("JSONRPC", "")) == ("JSONRPC", ""), "as before there was gRPC"
    assert chosen(("QUIC", ""), ("JSONRPC", "other"), ("GRPC", "")) == ("GRPC", ""), "what is not spoken counts nothing"
    assert chosen(("HTTP+JSON", ""), ("GRPC", "")) == ("HTTP+JSON", "")


def test_a_foreign_card_is_read_to_what_is_known() -> None:
    told = cards.foreign(CARD)
    assert (told.url, told.binding, told.streaming) == ("https://omega.example/a2a/cook", "JSONRPC", True)
    rest = {**CARD, "supportedInterfaces": [{"url": "https://x", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"}]}
    assert cards.foreign(rest).binding == "HTTP+JSON"
    for wrong in (
        None,
        {},
        {**CARD, "name": ""},
        {**CARD, "description": "x" * 5_000},
        {**CARD, "skills": "x"},
        {**CARD, "skills": [{}]},
        {**CARD, "supportedInterfaces": []},
        {**CARD, "supportedInterfaces": [{"url": "https://x", "protocolBinding": "QUIC", "protocolVersion": "1.0"}]},
        {**CARD, "supportedInterfaces": [{"url": "https://x", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}]},
    ):
        with pytest.raises(UpstreamError):
            cards.foreign(wrong)


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_no_message_is_read_that_cannot_be_written_again(value: Any) -> None:
    given = {"messageId": "m", "role": "ROLE_USER", "parts": [{"data": value}], "unknown": value, "metadata": {"x": value}}
    read = messages.message_of(given)
    assert read == {"messageId": "m", "role": "ROLE_USER", "parts": [{"data": value}], "metadata": {"x": value}}
    assert messages.message_of(read) == read
    with pytest.raises(A2aFault):
        messages.message_of(value)


@pytest.mark.parametrize(
    ("part", "modes", "taken"),
    [
        ({"text": "x"}, ["text/plain"], True),
        ({"text": "x", "mediaType": "text/markdown; charset=utf-8"}, ["text/*"], True),
        ({"text": "x", "mediaType": "text/markdown"}, ["text/plain"], False),
        ({"data": 1}, ["application/json"], True),
        ({"data": 1}, ["text/plain"], False),
        ({"raw": "AA==", "mediaType": "IMAGE/PNG"}, ["image/png"], True),
        ({"url": "https://x"}, ["*/*"], True),
        ({"url": "https://x"}, ["image/*"], False),
    ],
)
def test_media_types_are_taken_as_the_card_says(part: dict[str, Any], modes: list[str], taken: bool) -> None:
    if taken:
        messages.check_media([part], modes)
    else:
        with pytest.raises(A2aFault) as refused:
            messages.check_media([part], modes)
        assert refused.value.kind is faults.CONTENT_TYPE


def test_names_of_the_definition_are_known_and_free_ones_left_alone() -> None:
    given = {
        "page_size": 3,
        "message": {"message_id": "m", "parts": [{"data": {"snake_case": 1}, "media_type": "x"}], "metadata": {"a_b": 1}},
    }
    assert operations.known_names(given) == {
        "pageSize": 3,
        "message": {"messageId": "m", "parts": [{"data": {"snake_case": 1}, "mediaType": "x"}], "metadata": {"a_b": 1}},
    }


@pytest.mark.promise("A2A-07")
def test_every_operation_has_both_bindings() -> None:
    task, configs = "tasks/t", "tasks/t/pushNotificationConfigs"
    ways = [
        ("POST", "message:send"),
        ("POST", "message:stream"),
        ("GET", task),
        ("GET", "tasks"),
        ("POST", f"{task}:cancel"),
        ("POST", f"{task}:subscribe"),
        ("POST", configs),
        ("GET", f"{configs}/c"),
        ("GET", configs),
        ("DELETE", f"{configs}/c"),
        ("GET", "extendedAgentCard"),
    ]
    found = [operations.route_of(*way) for way in ways]
    assert [each.operation for each in found] == list(operations.METHODS.values()) == list(operations.Operation)
    assert found[7].named == {"taskId": "t", "id": "c"} and found[4].named == {"id": "t"}


@pytest.mark.parametrize(
    ("stated", "spoken"), [("1.0", True), (" 1.0 ", True), ("1.0.7", True), ("", False), ("0.3", False), ("1.1", False), ("1", False)]
)
def test_versions_are_told_apart_without_their_patch(stated: str, spoken: bool) -> None:
    if spoken:
        operations.check_version(stated)
    else:
        with pytest.raises(A2aFault) as refused:
            operations.check_version(stated)
        assert refused.value.kind is faults.VERSION


def test_every_fault_has_its_place_in_both_bindings() -> None:
    for kind in faults.KINDS.values():
        fault = A2aFault(kind, "why", metadata={"k": "v"})
        status, document = fault.rest()
        assert fault.rpc()["code"] == kind.code and status == document["error"]["code"] == kind.http
        assert fault.rpc().get("data", []) == document["error"]["details"]
    refused = faults.refusal_of({"code": "OMG-W001", "cause": "no", "advice": "ask"}, 403)
    assert refused.rpc()["data"][0] == {"@type": faults.ERROR_INFO, "reason": "OMG_W001", "domain": "omega", "metadata": {"advice": "ask"}}
    assert refused.rest()[1]["error"]["status"] == "PERMISSION_DENIED"
