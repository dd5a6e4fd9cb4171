"""Messages of the protocol as Protocol Buffers write them (A2A 1.0, `a2a.proto`, package `lf.a2a.v1`), from and to their JSON form.

    raw = encode("SendMessageRequest", {"tenant": "cook", "message": {...}})
    given = decode("SendMessageRequest", raw)

The JSON form is ProtoJSON: fields in camel case, bytes as base64, enumerations by name, times as RFC 3339. So every binding reads and
writes the same data. Both directions follow the table below, whose numbers are those of the definition; the format of the bytes is that of
protobuf.dev/programming-guides/encoding. Fields that are not known are passed over, as the format wants it; what is empty is not written.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from omega.wire.a2a.faults import PARAMS, PARSE, A2aFault

SERVICE: Final = "lf.a2a.v1.A2AService"
"""The service of the definition."""

CALLS: Final = {
    "SendMessage": ("SendMessageRequest", "SendMessageResponse"),
    "SendStreamingMessage": ("SendMessageRequest", "StreamResponse"),
    "GetTask": ("GetTaskRequest", "Task"),
    "ListTasks": ("ListTasksRequest", "ListTasksResponse"),
    "CancelTask": ("CancelTaskRequest", "Task"),
    "SubscribeToTask": ("SubscribeToTaskRequest", "StreamResponse"),
    "CreateTaskPushNotificationConfig": ("TaskPushNotificationConfig", "TaskPushNotificationConfig"),
    "GetTaskPushNotificationConfig": ("GetTaskPushNotificationConfigRequest", "TaskPushNotificationConfig"),
    "ListTaskPushNotificationConfigs": ("ListTaskPushNotificationConfigsRequest", "ListTaskPushNotificationConfigsResponse"),
    "GetExtendedAgentCard": ("GetExtendedAgentCardRequest", "AgentCard"),
    "DeleteTaskPushNotificationConfig": ("DeleteTaskPushNotificationConfigRequest", "Empty"),
}
"""The methods of the service, with what each takes and gives."""

MAX_DEPTH: Final = 100
"""Most messages one inside the other; what Google's own readers take."""

MAX_VARINT: Final = 10
"""Most bytes of a varint."""

MAX_FIELDS: Final = 50_000
"""Most fields of one message, those of the messages in it counted: a field of two bytes costs microseconds to read."""

MAX_AHEAD: Final = 1_000
"""Most fields of a message on its own level where one of them is looked up ahead of the others: no request has ten."""

_SECURITY_FLOW: Final = "tokenUrl=1 refreshUrl=2 scopes=3{string}"

# NAME=NUMBER, followed by what it holds: nothing is text, [x] a list of x, {x} a map from text to x, ? that it is told apart from empty
_TABLE: Final = {
    "SendMessageRequest": "tenant=1 message=2:Message configuration=3:SendMessageConfiguration metadata=4:Struct",
    "SendMessageConfiguration": "acceptedOutputModes=1[string] taskPushNotificationConfig=2:TaskPushNotificationConfig "
    "historyLength=3:int32? returnImmediately=4:bool",
    "Task": "id=1 contextId=2 status=3:TaskStatus artifacts=4[Artifact] history=5[Message] metadata=6:Struct",
    "TaskStatus": "state=1:TaskState message=2:Message timestamp=3:Timestamp",
    "Part": "text=1:string? raw=2:bytes? url=3:string? data=4:Value metadata=5:Struct filename=6 mediaType=7",
    "Message": "messageId=1 contextId=2 taskId=3 role=4:Role parts=5[Part] metadata=6:Struct extensions=7[string] "
    "referenceTaskIds=8[string]",
    "Artifact": "artifactId=1 name=2 description=3 parts=4[Part] metadata=5:Struct extensions=6[string]",
    "TaskStatusUpdateEvent": "taskId=1 contextId=2 status=3:TaskStatus metadata=4:Struct",
    "TaskArtifactUpdateEvent": "taskId=1 contextId=2 artifact=3:Artifact append=4:bool lastChunk=5:bool metadata=6:Struct",
    "AuthenticationInfo": "scheme=1 credentials=2",
    "TaskPushNotificationConfig": "tenant=1 id=2 taskId=3 url=4 token=5 authentication=6:AuthenticationInfo",
    "GetTaskRequest": "tenant=1 id=2 historyLength=3:int32?",
    "ListTasksRequest": "tenant=1 contextId=2 status=3:TaskState pageSize=4:int32? pageToken=5 historyLength=6:int32? "
    "statusTimestampAfter=7:Timestamp includeArtifacts=8:bool?",
    "ListTasksResponse": "tasks=1[Task] nextPageToken=2 pageSize=3:int32 totalSize=4:int32",
    "CancelTaskRequest": "tenant=1 id=2 metadata=3:Struct",
    "GetTaskPushNotificationConfigRequest": "tenant=1 taskId=2 id=3",
    "DeleteTaskPushNotificationConfigRequest": "tenant=1 taskId=2 id=3",
    "ListTaskPushNotificationConfigsRequest": "taskId=1 pageSize=2:int32 pageToken=3 tenant=4",
    "ListTaskPushNotificationConfigsResponse": "configs=1[TaskPushNotificationConfig] nextPageToken=2",
    "SubscribeToTaskRequest": "tenant=1 id=2",
    "GetExtendedAgentCardRequest": "tenant=1",
    "SendMessageResponse": "task=1:Task message=2:Message",
    "StreamResponse": "task=1:Task message=2:Message statusUpdate=3:TaskStatusUpdateEvent artifactUpdate=4:TaskArtifactUpdateEvent",
    "Empty": "",
    "AgentCard": "name=1 description=2 supportedInterfaces=3[AgentInterface] provider=4:AgentProvider version=5 documentationUrl=6:string? "
    "capabilities=7:AgentCapabilities securitySchemes=8{SecurityScheme} securityRequirements=9[SecurityRequirement] "
    "defaultInputModes=10[string] defaultOutputModes=11[string] skills=12[AgentSkill] signatures=13[AgentCardSignature] iconUrl=14:string?",
    "AgentInterface": "url=1 protocolBinding=2 tenant=3 protocolVersion=4",
    "AgentProvider": "url=1 organization=2",
    "AgentCapabilities": "streaming=1:bool? pushNotifications=2:bool? extensions=3[AgentExtension] extendedAgentCard=4:bool?",
    "AgentExtension": "uri=1 description=2 required=3:bool params=4:Struct",
    "AgentSkill": "id=1 name=2 description=3 tags=4[string] examples=5[string] inputModes=6[string] outputModes=7[string] "
    "securityRequirements=8[SecurityRequirement]",
    "AgentCardSignature": "protected=1 signature=2 header=3:Struct",
    "StringList": "list=1[string]",
    "SecurityRequirement": "schemes=1{StringList}",
    "SecurityScheme": "apiKeySecurityScheme=1:APIKeySecurityScheme httpAuthSecurityScheme=2:HTTPAuthSecurityScheme "
    "oauth2SecurityScheme=3:OAuth2SecurityScheme openIdConnectSecurityScheme=4:OpenIdConnectSecurityScheme "
    "mtlsSecurityScheme=5:MutualTlsSecurityScheme",
    "APIKeySecurityScheme": "description=1 location=2 name=3",
    "HTTPAuthSecurityScheme": "description=1 scheme=2 bearerFormat=3",
    "OAuth2SecurityScheme": "description=1 flows=2:OAuthFlows oauth2MetadataUrl=3",
    "OpenIdConnectSecurityScheme": "description=1 openIdConnectUrl=2",
    "MutualTlsSecurityScheme": "description=1",
    "OAuthFlows": "authorizationCode=1:AuthorizationCodeOAuthFlow clientCredentials=2:ClientCredentialsOAuthFlow "
    "implicit=3:ImplicitOAuthFlow password=4:PasswordOAuthFlow deviceCode=5:DeviceCodeOAuthFlow",
    "AuthorizationCodeOAuthFlow": "authorizationUrl=1 tokenUrl=2 refreshUrl=3 scopes=4{string} pkceRequired=5:bool",
    "ClientCredentialsOAuthFlow": _SECURITY_FLOW,
    "ImplicitOAuthFlow": "authorizationUrl=1 refreshUrl=2 scopes=3{string}",
    "PasswordOAuthFlow": _SECURITY_FLOW,
    "DeviceCodeOAuthFlow": "deviceAuthorizationUrl=1 tokenUrl=2 refreshUrl=3 scopes=4{string}",
    # google.rpc: what stands in the trailer of a call that failed (status.proto, error_details.proto)
    "Status": "code=1:int32 message=2 details=3[Any]",
    "Any": "typeUrl=1 value=2:bytes",
    "ErrorInfo": "reason=1 domain=2 metadata=3{string}",
}

_ENUMS: Final = {
    "Role": ("ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT"),
    "TaskState": (
        "TASK_STATE_UNSPECIFIED",
        "TASK_STATE_SUBMITTED",
        "TASK_STATE_WORKING",
        "TASK_STATE_COMPLETED",
        "TASK_STATE_FAILED",
        "TASK_STATE_CANCELED",
        "TASK_STATE_INPUT_REQUIRED",
        "TASK_STATE_REJECTED",
        "TASK_STATE_AUTH_REQUIRED",
    ),
}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field: `kind` is a scalar, an enumeration or a message; `shape` one, list or map; `told` whether an empty value is written too."""

    name: str
    number: int
    kind: str
    shape: str
    told: bool


@cache
def _fields(message: str) -> dict[int, _Field]:
    found = {}
    for text in _TABLE[message].split():
        name, _, rest = text.partition("=")
        digits = len(rest) - len(rest.lstrip("0123456789"))
        number, kind = int(rest[:digits]), rest[digits:]
        shape = {"[": "list", "{": "map"}.get(kind[:1], "one")
        told = kind.endswith("?")
        found[number] = _Field(name, number, kind.strip(":[]{}?") or "string", shape, told)
    return found


def encode(message: str, value: Mapping[str, Any]) -> bytes:
    """The bytes of a message of that name. Raises A2aFault (PARAMS) for a value that does not fit its field."""
    out: list[bytes] = []
    for field in _fields(message).values():
        given = value.get(field.name)
        if given is None and not (field.kind == "Value" and field.name in value):
            continue
        for each in _each(field, given):
            out.append(_written(field, each))
    return b"".join(out)


def _each(field: _Field, given: Any) -> Iterator[Any]:
    """What a field is written for: each of a list, each entry of a map, the value unless it is empty and need not be told."""
    if field.shape == "list":
        yield from _of(field, given, list)
    elif field.shape == "map":
        yield from _of(field, given, dict).items()
    elif field.told or given or field.kind in _TABLE or field.kind in ("Struct", "Value", "Timestamp"):
        yield given


def _written(field: _Field, value: Any) -> bytes:
    if field.shape == "map":
        key, held = value
        inner = _length(1, key.encode()) + _one(_Field(field.name, 2, field.kind, "one", told=True), held)
        return _length(field.number, inner)
    return _one(field, value)


def _one(field: _Field, value: Any) -> bytes:  # noqa: PLR0911 - one line for each kind of field
    match field.kind:
        case "string":
            return _length(field.number, str(_of(field, value, str)).encode())
        case "bytes":
            return _length(field.number, _unbase64(field, value))
        case "bool":
            return _tag(field.number, _VARINT) + (b"\1" if _of(field, value, bool) else b"\0")
        case "int32":
            return _tag(field.number, _VARINT) + _varint(int(_of(field, value, int)) & 0xFFFFFFFFFFFFFFFF)
        case "Struct":
            return _length(field.number, _struct(_of(field, value, dict)))
        case "Value":
            return _length(field.number, _value(value))
        case "Timestamp":
            return _length(field.number, _timestamp(field, _of(field, value, str)))
        case kind if kind in _ENUMS:
            return _tag(field.number, _VARINT) + _varint(_number_of(field, value))
        case kind:
            return _length(field.number, encode(kind, _of(field, value, dict)))


def _of(field: _Field, value: Any, kind: type) -> Any:
    if kind is dict and isinstance(value, Mapping):
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise A2aFault(PARAMS, f"{field.name} is no {kind.__name__}")
    return value


def _number_of(field: _Field, value: Any) -> int:
    names = _ENUMS[field.kind]
    if value not in names:
        raise A2aFault(PARAMS, f"{field.name} is one of {', '.join(names[1:])}")
    return names.index(value)


def _unbase64(field: _Field, value: Any) -> bytes:
    try:
        return base64.b64decode(_of(field, value, str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise A2aFault(PARAMS, f"{field.name} is base64") from error


def _struct(value: Mapping[str, Any]) -> bytes:
    """google.protobuf.Struct: `map<string, Value> fields = 1`."""
    return b"".join(_length(1, _length(1, str(name).encode()) + _length(2, _value(each))) for name, each in value.items())


def _value(value: Any) -> bytes:
    """google.protobuf.Value: null 1, number 2, text 3, bool 4, struct 5, list 6."""
    if value is None:
        return _tag(1, _VARINT) + b"\0"
    if isinstance(value, bool):
        return _tag(4, _VARINT) + (b"\1" if value else b"\0")
    if isinstance(value, (int, float)):
        return _tag(2, _FIXED64) + struct.pack("<d", value)
    if isinstance(value, str):
        return _length(3, value.encode())
    if isinstance(value, Mapping):
        return _length(5, _struct(value))
    return _length(6, b"".join(_length(1, _value(each)) for each in value))


def _timestamp(field: _Field, text: str) -> bytes:
    """google.protobuf.Timestamp: seconds 1, nanos 2."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise A2aFault(PARAMS, f"{field.name} is a time in ISO 8601") from error
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds, nanos = since.days * 86_400 + since.seconds, since.microseconds * 1_000
    told = _tag(1, _VARINT) + _varint(seconds & 0xFFFFFFFFFFFFFFFF) if seconds else b""
    return told + (_tag(2, _VARINT) + _varint(nanos) if nanos else b"")


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _length(number: int, body: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- reading


def decode(message: str, raw: bytes) -> dict[str, Any]:
    """A message of that name as its JSON form. Raises A2aFault (PARSE) for bytes that are none, or hold more than `MAX_FIELDS`."""
    try:
        return _Reader().read(message, memoryview(raw), 0)
    except (IndexError, UnicodeDecodeError, struct.error, OverflowError, ValueError) as error:
        raise A2aFault(PARSE, f"the message is no {message}") from error


def text_ahead(message: str, raw: bytes, name: str) -> str:
    """The text `name` of a message, empty where it has none; nothing else of it is read, however long it is. Raises A2aFault (PARSE) for
    bytes that are no message on their own level, or have more than `MAX_AHEAD` fields there."""
    number = next(each for each, field in _fields(message).items() if field.name == name)
    found = b""
    try:
        for count, (at, kind, value) in enumerate(_parts(memoryview(raw))):
            if count >= MAX_AHEAD:
                raise ValueError("too many fields")
            if (at, kind) == (number, _BYTES):
                found = value
        return str(found, "utf-8")
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise A2aFault(PARSE, f"the message is no {message}") from error


class _Reader:
    """Reads one message, with all that lie in it: at most `MAX_FIELDS` fields."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def read(self, message: str, raw: memoryview, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        fields = _fields(message)
        for number, kind, value in self._parts(raw, depth):
            field = fields.get(number)
            if field is None or kind != _wire_of(field):
                continue
            if field.shape == "map":
                key, held = self._entry(field, value, depth + 1)
                found.setdefault(field.name, {})[key] = held
            elif field.shape == "list":
                found.setdefault(field.name, []).append(self._meant(field, value, depth + 1))
            else:
                found[field.name] = self._meant(field, value, depth + 1)
        return found

    def _parts(self, raw: memoryview, depth: int) -> Iterator[tuple[int, int, Any]]:
        """The fields of a message on its own level, counted. Raises ValueError, IndexError for what is none, too deep, or too much."""
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        for part in _parts(raw):
            self._left -= 1
            if self._left < 0:
                raise ValueError("too many fields")
            yield part

    def _meant(self, field: _Field, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one line for each kind of field
        match field.kind:
            case "string":
                return str(value, "utf-8")
            case "bytes":
                return base64.b64encode(value).decode()
            case "bool":
                return bool(value)
            case "int32":
                return _signed(value, 32)
            case "Struct":
                return self._read_struct(value, depth)
            case "Value":
                return self._read_value(value, depth)
            case "Timestamp":
                return self._read_timestamp(value, depth)
            case kind if kind in _ENUMS:
                names = _ENUMS[kind]
                return names[value] if value < len(names) else _signed(value, 32)
            case kind:
                return self.read(kind, value, depth)

    def _entry(self, field: _Field, raw: memoryview, depth: int) -> tuple[str, Any]:
        """One entry of a map: key 1, value 2."""
        inner = _Field(field.name, 2, field.kind, "one", told=True)
        key, held = "", b""
        for number, kind, value in self._parts(raw, depth):
            if kind == _BYTES and number == 1:
                key = str(value, "utf-8")
            elif kind == _BYTES and number == 2:
                held = value
        return key, self._meant(inner, memoryview(held), depth + 1)

    def _read_struct(self, raw: memoryview, depth: int) -> dict[str, Any]:
        found = {}
        for number, kind, value in self._parts(raw, depth):
            if number == 1 and kind == _BYTES:
                name, held = self._entry(_Field("", 1, "Value", "map", told=True), value, depth + 1)
                found[name] = held
        return found

    def _read_value(self, raw: memoryview, depth: int) -> Any:
        found: Any = None
        for number, kind, value in self._parts(raw, depth):
            match number, kind:
                case 1, 0:
                    found = None
                case 2, 1:
                    found = _number(struct.unpack("<d", value)[0])
                case 3, 2:
                    found = str(value, "utf-8")
                case 4, 0:
                    found = bool(value)
                case 5, 2:
                    found = self._read_struct(value, depth + 1)
                case 6, 2:
                    items = self._parts(value, depth + 1)
                    found = [self._read_value(each, depth + 2) for field, held, each in items if (field, held) == (1, _BYTES)]
        return found

    def _read_timestamp(self, raw: memoryview, depth: int) -> str:
        seconds = nanos = 0
        for number, kind, value in self._parts(raw, depth):
            if kind == _VARINT and number in (1, 2):
                seconds, nanos = (_signed(value, 64), nanos) if number == 1 else (seconds, _signed(value, 32))
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)
        return moment.isoformat(timespec="microseconds" if nanos % 1_000_000 else "milliseconds").replace("+00:00", "Z")


def _parts(raw: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, kind and content of each field. Raises ValueError, IndexError for bytes that break off or go on for ever."""
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError("no field has that number")
        if kind == _VARINT:
            value: Any
            value, at = _read_varint(raw, at)
        else:
            if kind == _BYTES:
                size, at = _read_varint(raw, at)
            else:
                size = {_FIXED64: 8, _FIXED32: 4}[kind] if kind in (_FIXED64, _FIXED32) else -1
            if not 0 <= size <= len(raw) - at:
                raise ValueError("it breaks off, or holds a group")
            value, at = raw[at : at + size], at + size
        yield number, kind, value


def _read_varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(MAX_VARINT):
        byte = raw[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise ValueError("a number does not end")


def _wire_of(field: _Field) -> int:
    plain = field.shape == "one" and (field.kind in ("bool", "int32") or field.kind in _ENUMS)
    return _VARINT if plain else _BYTES


def _number(value: float) -> int | float:
    """Whole numbers come as such, as ProtoJSON prints them. Raises ValueError for what JSON has no word for."""
    if not math.isfinite(value):
        raise ValueError("no number of JSON")
    return int(value) if value.is_integer() else value


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value
