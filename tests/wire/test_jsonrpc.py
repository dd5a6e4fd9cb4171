"""JSON-RPC envelopes: one reading of each message, whatever a stranger sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.wire.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_ID,
    PARSE_ERROR,
    SAFE_INTEGER,
    ProtocolFault,
    answer,
    decode,
    notification,
    refusal,
    request,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=10,
)
IDS = st.text(st.characters(codec="utf-8"), max_size=MAX_ID) | st.integers(-SAFE_INTEGER + 1, SAFE_INTEGER - 1)


@settings(max_examples=80, deadline=None)
@given(IDS, st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), st.dictionaries(st.text(st.characters(codec="utf-8")), JSON))
def test_what_is_written_is_read(id: Any, method: str, params: dict[str, Any]) -> None:
    found = decode(request(id, method, params))
    assert (found.id, found.method, found.params, found.is_request) == (id, method, params, True)
    assert decode(notification(method, params)).id is None
    assert decode(answer(id, params)).result == params
    said = decode(refusal(id, -1, "no", {"a": 1}))
    assert said.is_response
    assert said.error == {"code": -1, "message": "no", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", PARSE_ERROR),
        (b"{", PARSE_ERROR),
        (b"\xff", PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":NaN}}', PARSE_ERROR),
        (b"[" * 100_000, INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b'{"a":' * 100_000, PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]' + b" " * 10, INVALID_REQUEST),
        (b"7", INVALID_REQUEST),
        (b"null", INVALID_REQUEST),
        (b'{"id":1,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":null,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":true,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":{},"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":9007199254740992,"method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 257 + b'","method":"a"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 129 + b'"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","result":1}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","result":1}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}', INVALID_PARAMS),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":null}', INVALID_PARAMS),
    ],
)
def test_what_is_no_message_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(ProtocolFault) as caught:
        decode(body)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/list","m\\u0065thod":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name":"harmful"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","n\\u0061me":"harmful"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}',
    ],
)
def test_message_with_two_readings_is_refused(body: str) -> None:
    with pytest.raises(ProtocolFault) as caught:
        decode(body.encode())
    assert caught.value.code == PARSE_ERROR
    assert "twice" in caught.value.message


CLIENT = "io.modelcontextprotocol/clientInfo"
VERSION = "io.modelcontextprotocol/protocolVersion"
PLACES = {
    "envelope": ("id", "jsonrpc", "method", "params"),
    "params": ("name", "arguments", "_meta"),
    "arguments": ("id", "name", "uri", "method"),
    "meta": (CLIENT, VERSION),
    "client": ("name", "uri"),
}
"""Objects of a call, with the keys of each that are watched."""


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_watched_key_that_comes_twice_is_found_beside_others_of_its_name(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(sorted(PLACES)))
    twice = data.draw(st.sampled_from(PLACES[place]))

    def written(which: str, pairs: dict[str, str]) -> str:
        lines = [f'"{key}":{value}' for key, value in pairs.items()]
        if which == place:
            lines.insert(data.draw(st.integers(0, len(lines))), f'"{twice}":{pairs[twice]}')
        return "{" + ",".join(lines) + "}"

    client = written("client", {"name": '"desk"', "uri": '"x"', "version": '"1"'})
    meta = written("meta", {CLIENT: client, VERSION: '"2026-07-28"', "name": '"trace"'})
    arguments = written("arguments", {"id": "7", "name": '"echo"', "uri": '"y"', "method": '"call"'})
    params = written("params", {"name": '"echo"', "arguments": arguments, "_meta": meta})
    body = written("envelope", {"jsonrpc": '"2.0"', "id": "1", "method": '"tools/call"', "params": params})
    with pytest.raises(ProtocolFault, match="twice"):
        decode(body.encode())
    place = ""
    assert decode(written("envelope", {"jsonrpc": '"2.0"', "id": "1", "method": '"m"', "params": '{"name":"a"}'}).encode()).params == {
        "name": "a"
    }


def test_words_that_look_like_keys_do_no_harm() -> None:
    params = {"name": "echo", "arguments": {"name": 'a "method" and "params"', "arguments": [{"name": 1}], "_meta": "\u00e9\n"}}
    assert decode(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()).params == params


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_else_is_a_fault_and_no_crash(body: bytes) -> None:
    try:
        decode(body)
    except ProtocolFault as fault:
        assert fault.code in (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS)
