"""JSON Schema checks that never leave the machine: a `$ref` to somewhere else is refused, not fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omega.kernel.errors import InputError, UpstreamError

MESSAGE_LIMIT: Final = 300
"""Characters of a validator's message that are repeated; it quotes the value, which may be large or private."""


class Unusable(Exception):
    """The schema itself is not one, or points outside itself."""


def mismatch(schema: Any, value: Any) -> tuple[str, str] | None:
    """Where (a JSON Pointer) and why `value` does not fit `schema`; None when it fits. Raises Unusable.

    The reason names the violated keyword and what it demands, never the value.
    """
    from jsonschema import SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except SchemaError as problem:
        raise Unusable(f"not a JSON Schema: {problem.message[:MESSAGE_LIMIT]}") from problem
    except Unresolvable as problem:
        raise Unusable(f"$ref {problem.ref} does not resolve within the schema") from problem
    except RecursionError as problem:
        raise Unusable("the schema is nested too deeply") from problem
    if error is None:
        return None
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path) or "/"
    if error.validator == "required":  # its message names the missing property, which comes from the schema
        return pointer, error.message[:MESSAGE_LIMIT]
    return pointer, f"{error.validator}: {str(error.validator_value)[:MESSAGE_LIMIT]}"


def check_arguments(server: str, tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises InputError (OMG-I001) naming the place when `arguments` do not fit the tool's pinned input schema."""
    try:
        found = mismatch(schema, dict(arguments))
    except Unusable as problem:
        raise UpstreamError("OMG-M006", f"the input schema of {server}/{tool} cannot be used: {problem}") from problem
    if found is not None:
        details = {"server": server, "tool": tool, "path": found[0], "rule": found[1]}
        raise InputError("OMG-I001", f"the arguments of {server}/{tool} do not fit at {found[0]}: {found[1]}", details=details)


def check_answer(server: str, tool: str, schema: Any, answer: Any) -> None:
    """Raises UpstreamError (OMG-M006) naming the place when `answer` does not fit the tool's pinned output schema."""
    try:
        found = mismatch(schema, answer)
    except Unusable as problem:
        raise UpstreamError("OMG-M006", f"the output schema of {server}/{tool} cannot be used: {problem}") from problem
    if found is not None:
        details = {"server": server, "tool": tool, "path": found[0], "rule": found[1], "sent": True}
        raise UpstreamError("OMG-M006", f"the answer of {server}/{tool} does not fit at {found[0]}: {found[1]}", details=details)
