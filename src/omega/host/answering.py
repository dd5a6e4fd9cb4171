"""What a person typed as the answer to a form, made into plain data by the form's own schema."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from omega.host.inputs import field_value, fields_of, is_object, pair_of, whole_value
from omega.host.reading import Archive
from omega.kernel.errors import InputError
from omega.kernel.types import check_schema
from omega.runtime.decisions import one_step
from omega.runtime.people import in_time
from omega.runtime.recovery import load


def read_answer(home: str | os.PathLike[str] | None, execution: str, step: str, given: Sequence[str], whole: str | None) -> Any:
    """The answer to the form at `step` (the only one that waits, where it is empty), as the schema on record reads what was typed.

    Raises InputError: OMG-I003 unknown execution, OMG-I004 unknown or ambiguous step, OMG-I005 nothing asked or its time is over, OMG-I001
    what does not fit.
    """
    with Archive.open(home) as archive:
        past, _, _ = load(archive.world, execution)
        waiting = one_step(past, step, past.questions(), "waits for an answer")
        schema = in_time(waiting, archive.world.clock.now_us()).schema
    return typed_answer(schema, given, whole)


def typed_answer(schema: Mapping[str, Any], given: Sequence[str], whole: str | None) -> Any:
    """What was typed, as the schema of a form reads it. Raises InputError (OMG-I001) for what does not fit."""
    try:
        value = _typed(schema, given, whole)
        check_schema(schema, value)
    except InputError as error:
        error.advice = f"give what the form asks for: {_asked(schema)}"
        raise
    return value


def _asked(schema: Mapping[str, Any]) -> str:
    """What a form asks for, in a line."""
    fields = [f"{each['name']} ({each['type']}{'' if each['required'] else ', may be left out'})" for each in fields_of(schema)]
    return ", ".join(fields) or f"one value of type {schema.get('type', 'any')}"


def _typed(schema: Mapping[str, Any], given: Sequence[str], whole: str | None) -> Any:
    if whole is not None:
        if given:
            raise InputError("OMG-I001", "give --input or --input-json, not both")
        return whole_value(whole)
    if not is_object(schema):
        if len(given) != 1:
            raise InputError("OMG-I001", "the form asks for one value: give it as --input VALUE")
        return field_value(schema, schema, given[0])
    properties = schema.get("properties", {})
    pairs = [pair_of(text) for text in given]
    unknown = next((key for key, _ in pairs if properties and key not in properties), None)
    if unknown is not None:
        raise InputError("OMG-I001", f"the form has no field {unknown!r} (it has: {', '.join(properties)})", details={"field": unknown})
    return {key: field_value(properties.get(key, {}), schema, text) for key, text in pairs}
