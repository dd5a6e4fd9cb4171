"""Messages of the protocol as bytes: held against Google's own library and the definition that the protocol's library ships."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.wire.a2a import protobuf
from omega.wire.a2a.faults import PARSE, A2aFault
from omega.wire.a2a.protobuf import CALLS, MAX_AHEAD, MAX_DEPTH, MAX_FIELDS, decode, encode, text_ahead

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "bytes": st.binary(max_size=8).map(lambda raw: base64.b64encode(raw).decode()),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "Struct": st.dictionaries(TEXT, JSON, max_size=3),
    "Value": JSON,
    "Timestamp": st.datetimes(min_value=datetime(1900, 1, 1)).map(lambda at: f"{at.isoformat(timespec='microseconds')}Z"),
}
OURS = ("Status", "Any", "ErrorInfo", "Empty")
ONE_OF = {"Part": ("text", "raw", "url", "data"), "SendMessageResponse": ("task", "message"), "SecurityScheme": None, "OAuthFlows": None}


def pb2() -> Any:
    return pytest.importorskip("a2a.types.a2a_pb2", reason="the protocol's own library is not installed")


def values(message: str, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Messages of that name with any of their fields."""

    @st.composite
    def made(draw: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        fields = list(protobuf._fields(message).values())
        exclusive = ONE_OF.get(message, ()) if message != "StreamResponse" else tuple(each.name for each in fields)
        names = [each.name for each in fields] if exclusive is None else list(exclusive)
        chosen = draw(st.sampled_from(names)) if names else ""
        for field in fields:
            if (field.name in names and field.name != chosen) or (field.name not in names and not draw(st.booleans())):
                continue
            found[field.name] = draw(held(field, depth))
        return found

    return made()


def held(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.kind in SCALARS:
        one = SCALARS[field.kind]
    elif field.kind in protobuf._ENUMS:
        one = st.sampled_from(protobuf._ENUMS[field.kind])
    else:
        one = values(field.kind, depth + 1) if depth < 3 else st.just({})
    if field.shape == "map":
        return st.dictionaries(TEXT, one, max_size=2)
    return st.lists(one, max_size=2) if field.shape == "list" else one


@pytest.mark.promise("A2A-12")
def test_the_table_is_the_definition() -> None:
    """Every message of the protocol with every field: its number, its name in JSON, and what it holds."""
    ours = {name for name in protobuf._TABLE if name not in OURS}
    theirs = dict(pb2().DESCRIPTOR.message_types_by_name.items())
    assert ours == set(theirs)
    for name, message in theirs.items():
        known = {each.number: (each.name, _kind(each)) for each in protobuf._fields(name).values()}
        assert known == {each.number: (each.json_name, _theirs(each)) for each in message.fields}, name


def _kind(field: Any) -> tuple[str, str]:
    return field.kind, field.shape


def _theirs(field: Any) -> tuple[str, str]:
    kinds = {8: "bool", 9: "string", 12: "bytes", 5: "int32"}
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _theirs(field.message_type.fields_by_name["value"])[0], "map"
    named = field.message_type or field.enum_type
    return (named.name if named is not None else kinds[field.type]), "list" if field.is_repeated else "one"


@pytest.mark.promise("A2A-12")
@pytest.mark.parametrize("message", ["SendMessageRequest", "StreamResponse", "AgentCard", "ListTasksRequest", "TaskPushNotificationConfig"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_both_libraries_read_what_the_other_wrote(message: str, data: Any) -> None:
    from google.protobuf import json_format

    value = data.draw(values(message))
    theirs = getattr(pb2(), message)()
    theirs.ParseFromString(encode(message, value))
    again = json_format.ParseDict(json_format.MessageToDict(theirs), getattr(pb2(), message)())
    assert again == json_format.ParseDict(value, getattr(pb2(), message)(), ignore_unknown_fields=False), "they read what we wrote"
    read = decode(message, theirs.SerializeToString())
    assert json_format.ParseDict(json.loads(json.dumps(read)), getattr(pb2(), message)()) == theirs, "we read what they wrote"
    assert encode(message, read) == encode(message, decode(message, encode(message, read)))


@pytest.mark.promise("A2A-08")
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["SendMessageRequest", "AgentCard", "ListTasksRequest", "Status"]))
def test_any_bytes_are_a_message_or_the_protocols_own_error(raw: bytes, message: str) -> None:
    try:
        json.dumps(decode(message, raw), allow_nan=False)
    except A2aFault as fault:
        assert fault.kind is PARSE


@pytest.mark.promise("A2A-08")
def test_what_nests_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    raw = encode("SendMessageRequest", {"metadata": {"deep": deep}})
    with pytest.raises(A2aFault):
        decode("SendMessageRequest", raw)


def test_a_message_holds_so_many_fields_however_they_lie_in_each_other() -> None:
    def entries(count: int) -> bytes:
        inner = b"\x0a\x00" * count
        return b"\x22" + protobuf._varint(len(inner)) + inner  # `metadata`: a Struct of entries of nothing

    assert decode("SendMessageRequest", entries(MAX_FIELDS - 1)) == {"metadata": {"": None}}
    with pytest.raises(A2aFault) as caught:
        decode("SendMessageRequest", entries(MAX_FIELDS))
    assert caught.value.kind is PARSE


@pytest.mark.parametrize("message", sorted({taken for taken, _ in CALLS.values()}))
def test_the_agent_of_a_request_is_found_ahead_of_what_cannot_be_read(message: str) -> None:
    named = encode(message, {"tenant": "cook"})
    unreadable = b"\xfa\x3f\x03\xff\xff\xff"  # field 1023, which is not looked into
    assert text_ahead(message, unreadable + named + unreadable, "tenant") == "cook"
    assert text_ahead(message, unreadable, "tenant") == ""
    assert text_ahead(message, named + encode(message, {"tenant": "shout"}), "tenant") == "shout", "the last counts, as in a whole reading"
    with pytest.raises(A2aFault):
        text_ahead(message, unreadable * (MAX_AHEAD + 1), "tenant")
