"""Messages, parts, artifacts and tasks as the protocol writes them (A2A 1.0, section 4; JSON form: section 5.5, ProtoJSON).

    {"messageId": "...", "role": "ROLE_USER", "parts": [{"text": "..."}, {"data": {...}}], "contextId": "...", "taskId": "..."}

A part holds one of text, raw (base64), url and data. What strangers send is read to what is known here and nothing else: fields that the
protocol may get later are passed over (5.7), and what is acted on is what is kept on record.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from omega.wire.a2a.faults import CONTENT_TYPE, PARAMS, A2aFault

USER: Final = "ROLE_USER"
AGENT: Final = "ROLE_AGENT"

SUBMITTED: Final = "TASK_STATE_SUBMITTED"
WORKING: Final = "TASK_STATE_WORKING"
COMPLETED: Final = "TASK_STATE_COMPLETED"
FAILED: Final = "TASK_STATE_FAILED"
CANCELED: Final = "TASK_STATE_CANCELED"
REJECTED: Final = "TASK_STATE_REJECTED"
INPUT_REQUIRED: Final = "TASK_STATE_INPUT_REQUIRED"
AUTH_REQUIRED: Final = "TASK_STATE_AUTH_REQUIRED"

STATES: Final = (SUBMITTED, WORKING, COMPLETED, FAILED, CANCELED, INPUT_REQUIRED, REJECTED, AUTH_REQUIRED)
TERMINAL: Final = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
INTERRUPTED: Final = frozenset({INPUT_REQUIRED, AUTH_REQUIRED})

TEXT: Final = "text/plain"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

MAX_PARTS: Final = 100
"""Most parts of one message or artifact."""

MAX_NAME: Final = 128
"""Longest id of a message, task or conversation, in characters: each is kept where executions are found by it."""

MAX_REFERENCES: Final = 20
"""Most other tasks that one message refers to."""

_CONTENT: Final = ("text", "raw", "url", "data")
_MEDIA: Final = {"text": TEXT, "raw": BYTES, "url": BYTES, "data": JSON}


def message_of(given: Any) -> dict[str, Any]:
    """A message that somebody sent, with what is known of it. Raises A2aFault (PARAMS) naming what does not fit."""
    found = _object(given, "message")
    role = found.get("role")
    if role != USER:
        raise A2aFault(PARAMS, f"message.role is {USER}, not {str(role)[:40]!r}")
    read: dict[str, Any] = {"messageId": name_of(found.get("messageId"), "message.messageId"), "role": USER}
    for field in ("contextId", "taskId"):
        if found.get(field) not in (None, ""):
            read[field] = name_of(found[field], f"message.{field}")
    read["parts"] = parts_of(found.get("parts"), "message.parts")
    if found.get("metadata") is not None:
        read["metadata"] = _object(found["metadata"], "message.metadata")
    for field in ("extensions", "referenceTaskIds"):
        if found.get(field):
            read[field] = _names(found[field], f"message.{field}")
    return read


def parts_of(given: Any, where: str) -> list[dict[str, Any]]:
    """Parts of a message or artifact. Raises A2aFault (PARAMS)."""
    if not isinstance(given, list) or not 0 < len(given) <= MAX_PARTS:
        raise A2aFault(PARAMS, f"{where} is a list of 1 to {MAX_PARTS} parts")
    return [_part(each, f"{where}[{index}]") for index, each in enumerate(given)]


def _part(given: Any, where: str) -> dict[str, Any]:
    found = _object(given, where)
    kinds = [kind for kind in _CONTENT if kind in found]
    if len(kinds) != 1:
        raise A2aFault(PARAMS, f"{where} holds exactly one of {', '.join(_CONTENT)}")
    kind = kinds[0]
    value = found[kind]
    if kind != "data" and not isinstance(value, str):
        raise A2aFault(PARAMS, f"{where}.{kind} is text")
    if kind == "raw":
        _base64(value, where)
    read: dict[str, Any] = {kind: value}
    for field in ("mediaType", "filename"):
        if found.get(field) not in (None, ""):
            read[field] = name_of(found[field], f"{where}.{field}")
    if found.get("metadata") is not None:
        read["metadata"] = _object(found["metadata"], f"{where}.metadata")
    return read


def _base64(value: str, where: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise A2aFault(PARAMS, f"{where}.raw is base64") from error


def check_media(parts: Iterable[Mapping[str, Any]], modes: Sequence[str]) -> None:
    """Raise A2aFault (CONTENT_TYPE) for a part of a media type that is none of `modes`."""
    for part in parts:
        media = media_of(part)
        if not any(_fits(media, mode) for mode in modes):
            raise A2aFault(CONTENT_TYPE, f"{media} is not taken here (taken are: {', '.join(modes)})", metadata={"mediaType": media})


def media_of(part: Mapping[str, Any]) -> str:
    """The media type of a part: as it says, or as its kind has it."""
    stated = str(part.get("mediaType", "")).partition(";")[0].strip().lower()
    return stated or next(media for kind, media in _MEDIA.items() if kind in part)


def _fits(media: str, mode: str) -> bool:
    wanted = mode.partition(";")[0].strip().lower()
    return wanted in ("*/*", media) or (wanted.endswith("/*") and media.startswith(wanted[:-1]))


def text_of(parts: Iterable[Mapping[str, Any]]) -> str:
    """The text parts, joined with line feeds."""
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def data_of(parts: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The values of the data parts."""
    return [part["data"] for part in parts if "data" in part]


def part_for(value: Any) -> dict[str, Any]:
    """One part that holds a value of ours: text as text, anything else as data."""
    return {"text": value} if isinstance(value, str) else {"data": value}


def agent_message(id: str, parts: Sequence[Mapping[str, Any]], *, context: str, task: str = "") -> dict[str, Any]:
    """A message of the agent."""
    said: dict[str, Any] = {"messageId": id, "contextId": context, "role": AGENT, "parts": [dict(part) for part in parts]}
    return said | ({"taskId": task} if task else {})


def status(state: str, at_us: int, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The status of a task that has been in `state` since `at_us` (Unix microseconds)."""
    told: dict[str, Any] = {"state": state, "timestamp": timestamp(at_us)}
    return told | ({"message": dict(message)} if message is not None else {})


def timestamp(at_us: int) -> str:
    """Unix microseconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(text: str, where: str) -> int:
    """ISO 8601 as Unix microseconds. Raises A2aFault (PARAMS)."""
    try:
        found = datetime.fromisoformat(text)
        return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise A2aFault(PARAMS, f"{where} is a time in ISO 8601") from error


def name_of(given: Any, where: str) -> str:
    """A short text. Raises A2aFault (PARAMS)."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_NAME or not given.isprintable():
        raise A2aFault(PARAMS, f"{where} is text of 1 to {MAX_NAME} printable characters")
    return given


def _names(given: Any, where: str) -> list[str]:
    if not isinstance(given, list) or len(given) > MAX_REFERENCES:
        raise A2aFault(PARAMS, f"{where} is a list of at most {MAX_REFERENCES}")
    return [name_of(each, where) for each in given]


def _object(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise A2aFault(PARAMS, f"{where} is an object")
    return given
