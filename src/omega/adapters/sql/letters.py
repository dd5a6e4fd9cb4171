"""Letters to an engine and small documents as column values, checked before they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from omega.kernel.errors import FlowError, InputError
from omega.kernel.ports import Letter

VERBS = frozenset({"answer", "approve", "cancel", "redrive", "resolve", "signal"})
"""What an engine can be asked for."""

MAX_LETTER = 3 << 19
"""Longest body of a letter in bytes, as JSON: 1 MiB as it is once it is sealed and written in base64."""

MAX_DOCUMENT = 4 << 20
"""Largest document in bytes: configuration, not data."""


LAST = "\U0010ffff"
"""The last character there is: the names that begin with a text lie from that text on, before the same text with this after it."""


def letter_values(execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> tuple[str, str, bytes, int]:
    """A letter as (execution, verb, body, at_us).

    Raises InputError (OMG-X001) for an unknown verb, FlowError (OMG-R002, OMG-R003) for the body.
    """
    if verb not in VERBS:
        raise InputError("OMG-X001", f"an engine cannot be asked to {verb!r}", details={"verbs": sorted(VERBS)})
    try:
        text = msgspec.json.encode(dict(body))
    except (TypeError, ValueError) as error:
        raise FlowError("OMG-R002", f"the body of a letter is not plain data: {error}") from error
    if len(text) > MAX_LETTER:
        raise FlowError("OMG-R003", f"the letter has {len(text)} bytes, {MAX_LETTER} are allowed")
    return execution, verb, text, at_us


def document_values(kind: str, name: str, body: bytes, at_us: int) -> tuple[str, str, bytes, int]:
    """A document as (kind, name, body, at_us). Raises FlowError (OMG-R003) when it is too large."""
    if len(body) > MAX_DOCUMENT:
        raise FlowError("OMG-R003", f"the document {kind}/{name} has {len(body)} bytes, {MAX_DOCUMENT} are allowed")
    return kind, name, body, at_us


def letters_of(rows: Iterable[Any]) -> list[Letter]:
    """Rows (number, execution, verb, body, at_us) as letters. Their bodies come from another process: data to check, not to trust."""
    return [
        Letter(number=number, execution=execution, verb=verb, body=msgspec.json.decode(body, type=dict[str, Any]), at_us=at_us)
        for number, execution, verb, body, at_us in rows
    ]
