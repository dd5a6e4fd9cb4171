"""Arguments and answers of tools held against their pinned schemas (`omega.kernel.checking`)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from omega.adapters.mcp.description import ToolDescription
from omega.kernel.checking import MESSAGE_LIMIT, Unusable, errors
from omega.kernel.errors import InputError, UpstreamError


def mismatch(schema: Any, value: Any) -> tuple[str, str] | None:
    """Where (a JSON Pointer) and why `value` does not fit `schema`; None when it fits. Raises Unusable.

    The reason names the violated keyword and what it demands, never the value.
    """
    from jsonschema.exceptions import best_match

    wrong = errors(schema, value)
    first = next(wrong, None)  # almost always there is none: looking for the best of them would cost as much as the check
    if first is None:
        return None
    error = best_match(chain((first,), wrong))
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path) or "/"
    if error.validator == "required":  # its message names the missing property, which comes from the schema
        return pointer, error.message[:MESSAGE_LIMIT]
    return pointer, f"{error.validator}: {str(error.validator_value)[:MESSAGE_LIMIT]}"


def check_arguments(server: str, pin: ToolDescription, arguments: Mapping[str, Any]) -> None:
    """Raises InputError (OMG-I001) naming the place when `arguments` do not fit the tool's pinned input schema."""
    if pin.shape is not None and pin.shape.fits(arguments):
        return
    try:
        found = mismatch(pin.input_schema, dict(arguments))
    except Unusable as problem:
        raise UpstreamError("OMG-M006", f"the input schema of {server}/{pin.name} cannot be used: {problem}") from problem
    if found is not None:
        details = {"server": server, "tool": pin.name, "path": found[0], "rule": found[1]}
        raise InputError("OMG-I001", f"the arguments of {server}/{pin.name} do not fit at {found[0]}: {found[1]}", details=details)


def check_answer(server: str, pin: ToolDescription, answer: Any) -> None:
    """Raises UpstreamError (OMG-M006) naming the place when `answer` does not fit the tool's pinned output schema."""
    try:
        found = mismatch(pin.output_schema, answer)
    except Unusable as problem:
        raise UpstreamError("OMG-M006", f"the output schema of {server}/{pin.name} cannot be used: {problem}") from problem
    if found is not None:
        details = {"server": server, "tool": pin.name, "path": found[0], "rule": found[1], "sent": True}
        raise UpstreamError("OMG-M006", f"the answer of {server}/{pin.name} does not fit at {found[0]}: {found[1]}", details=details)
