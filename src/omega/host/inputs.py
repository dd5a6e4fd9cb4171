"""What is typed for a flow's input, made into plain data by the flow's own input type.

    --input repo=. --input depth=3     fields of an object; each is read as JSON unless its field is a text
    --input name=World                 the one input of a flow, by the name of its parameter
    --input '"World"'                  the whole input as JSON (or, for a flow that takes a text, as it stands)
    --input-json '{...}'  or  @file    the whole input as JSON

Whether the data fits is the type's business when the run starts; here only what could not be meant is refused, naming the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow, seconds
from omega.kernel.definition import Task
from omega.kernel.errors import DefinitionError, InputError

MAX_FILE = 16 << 20
"""Largest input file in bytes: a step's value may not be larger."""

_PAIR = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)=(?P<text>.*)", re.DOTALL)
_MONEY = re.compile(r"(?P<amount>\d{1,12}(?:\.\d{1,6})?)\s+(?P<unit>[A-Z]{3}|tokens|calls)")


def read_input(flow: AnyFlow, given: Sequence[str], whole: str | None = None) -> Any:
    """The input of `flow` as plain data. Raises InputError (OMG-I001) naming the field that cannot be meant."""
    if whole is not None:
        if given:
            raise InputError("OMG-I001", "give --input or --input-json, not both")
        return whole_value(whole)
    schema = flow.input.schema()
    if len(given) == 1 and (pair := _single(flow, schema, given[0])) is not None:
        return pair[0]
    if not given:
        return {} if is_object(schema) else None
    return _object(flow, schema, given)


def input_fields(flow: AnyFlow) -> list[dict[str, Any]]:
    """The fields of the input as a person fills them in: name, type, whether it must be given, default, description."""
    schema = flow.input.schema()
    if isinstance(schema.get("properties"), Mapping):
        return fields_of(schema)
    name = _parameter(flow)
    if not name and flow.input.name == "None":
        return []
    return [{"name": name or "input", "type": flow.input.name, "required": True, "default": None, "description": ""}]


def fields_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same of a JSON Schema; nothing where it asks for no fields."""
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _type_name(field, schema),
            "required": name in required,
            "default": field.get("default"),
            "description": str(field.get("description", "")),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def read_budget(texts: Iterable[str]) -> Budget | None:
    """The budget that texts such as "1.00 USD", "5000 tokens", "20 calls" set together; None without any. Raises InputError (OMG-X001)."""
    found: dict[str, Any] = {}
    for text in texts:
        match = _MONEY.fullmatch(text.strip())
        if match is None or (match["unit"] in ("tokens", "calls") and "." in match["amount"]):
            raise InputError("OMG-X001", f"{text[:40]!r} is no budget", advice='write it as "1.00 USD", "5000 tokens" or "20 calls"')
        unit = match["unit"]
        if unit in ("tokens", "calls"):
            found[unit] = int(match["amount"])
        else:
            units, _, part = match["amount"].partition(".")
            found |= {"cost_micros": int(units) * 1_000_000 + int(part.ljust(6, "0")), "currency": unit}
    return Budget(**found) if found else None


def read_duration(text: str | None) -> float | None:
    """Seconds from "30s", "5m" or "1h". Raises InputError (OMG-X001)."""
    try:
        return None if text is None else seconds(text)
    except DefinitionError as error:
        raise InputError("OMG-X001", error.cause, advice=error.advice) from error


def read_value(text: str) -> Any:
    """A value as typed: JSON when it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _single(flow: AnyFlow, schema: Mapping[str, Any], text: str) -> tuple[Any] | None:
    """The whole input in one `--input`; None when it is a field of an object."""
    match = _PAIR.fullmatch(text)
    if match is not None:
        if is_object(schema) or (match["key"] != _parameter(flow) and not _is_text(schema)):
            return None
        return (field_value(schema, schema, match["text"]),) if match["key"] == _parameter(flow) else (text,)
    if _is_text(schema):
        value = read_value(text)
        return (value if isinstance(value, str) else text,)
    return (_json(text, "--input"),)


def _object(flow: AnyFlow, schema: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
    if not is_object(schema):
        name = _parameter(flow) or "input"
        raise InputError("OMG-I001", f"{flow.name} takes one {flow.input.name}: give it as --input {name}=VALUE", details={"field": name})
    properties = schema.get("properties", {})
    closed = bool(properties) and not schema.get("additionalProperties", False)
    found: dict[str, Any] = {}
    for text in given:
        key, typed = pair_of(text)
        if key in found:
            raise InputError("OMG-I001", f"{key} is given twice", details={"field": key})
        if closed and key not in properties:
            known = ", ".join(properties)
            raise InputError("OMG-I001", f"{flow.name} has no input {key!r} (it has: {known})", details={"field": key})
        found[key] = field_value(properties.get(key, {}), schema, typed)
    return found


def pair_of(text: str) -> tuple[str, str]:
    """Key and text of `key=value`. Raises InputError (OMG-I001) for anything else."""
    match = _PAIR.fullmatch(text)
    if match is None:
        raise InputError("OMG-I001", f"{text[:60]!r} is not of the form key=value")
    return match["key"], match["text"]


def whole_value(text: str) -> Any:
    """The whole value as JSON, or as `@FILE` that holds it. Raises InputError (OMG-I001)."""
    return _json(_text_of(text), "--input-json")


def field_value(field: Mapping[str, Any], schema: Mapping[str, Any], text: str) -> Any:
    """The value of one field: as it stands where a text is the only thing that fits, else JSON when it is JSON."""
    kinds = _kinds(field, schema)
    if kinds == {"string"}:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, str) and "string" in kinds and not text.startswith('"') else value


def _kinds(field: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a field admits; empty when it does not say."""
    field = _resolved(field, schema)
    if "type" in field:
        return {field["type"]} if isinstance(field["type"], str) else set(field["type"])
    if "enum" in field or "const" in field:
        values = [*field.get("enum", ()), *([field["const"]] if "const" in field else [])]
        return {"string"} if all(isinstance(value, str) for value in values) else set()
    parts = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    return set().union(*(_kinds(part, schema) for part in parts)) if parts else set()


def _resolved(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = str(field.get("$ref", ""))
    if not reference.startswith("#/$defs/"):
        return field
    found = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return found if isinstance(found, Mapping) else {}


def _type_name(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    values = _resolved(field, schema).get("enum")
    if values:
        return " | ".join(map(str, values))
    return " or ".join(sorted(_kinds(field, schema))) or "any"


def is_object(schema: Mapping[str, Any]) -> bool:
    """Whether a schema asks for fields."""
    return schema.get("type") == "object" or "properties" in schema


def _is_text(schema: Mapping[str, Any]) -> bool:
    return _kinds(schema, schema) == {"string"}


def _parameter(flow: AnyFlow) -> str:
    """The name of the first step's parameter: what the author calls the input."""
    first = next(iter(flow.leaves()), None)
    return first.body.parameter if first is not None and isinstance(first.body, Task) else ""


def _text_of(text: str) -> str:
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError("OMG-I001", f"{path} is larger than {MAX_FILE:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise InputError("OMG-I001", f"{path} cannot be read: {reason}") from error


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError("OMG-I001", f"{name} is neither key=value nor JSON{place}") from error
