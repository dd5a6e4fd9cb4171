"""JSON Schema checks that never leave the machine: a `$ref` to somewhere else is refused, not fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from omega.adapters.mcp.description import ToolDescription
from omega.kernel.errors import InputError, UpstreamError

MESSAGE_LIMIT: Final = 300
"""Characters of a validator's message that are repeated; it quotes the value, which may be large or private."""

MAX_SCHEMA: Final = 1 << 20
"""Largest schema in bytes."""

MAX_STEPS: Final = 200_000
"""Most keywords applied in one check: about a second."""

MAX_COMPILED: Final = 512
"""Schemas kept ready: making one ready takes a hundred times as long as a check."""


class Unusable(Exception):
    """The schema itself is not one, or points outside itself."""


def mismatch(schema: Any, value: Any) -> tuple[str, str] | None:
    """Where (a JSON Pointer) and why `value` does not fit `schema`; None when it fits. Raises Unusable.

    The reason names the violated keyword and what it demands, never the value.
    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    validator, budget = _compiled(msgspec.json.encode(schema))
    budget.left = MAX_STEPS
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as problem:
        raise Unusable(f"$ref {problem.ref} does not resolve within the schema") from problem
    except RecursionError as problem:
        raise Unusable("the schema is nested too deeply") from problem
    except _Spent as problem:
        raise Unusable(f"checking a value takes more than {MAX_STEPS:,} steps") from problem
    if error is None:
        return None
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path) or "/"
    if error.validator == "required":  # its message names the missing property, which comes from the schema
        return pointer, error.message[:MESSAGE_LIMIT]
    return pointer, f"{error.validator}: {str(error.validator_value)[:MESSAGE_LIMIT]}"


class _Spent(Exception):
    """The budget of steps is used up."""


class _Budget:
    """Steps that one check may still take."""

    left = 0


@lru_cache(MAX_COMPILED)
def _compiled(text: bytes) -> tuple[Any, _Budget]:
    """A checker of the schema `text`, and the budget that it spends. Raises Unusable."""
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if len(text) > MAX_SCHEMA:
        raise Unusable(f"it has more than {MAX_SCHEMA:,} bytes")
    schema = json.loads(text)
    kind, budget = validator_for(schema, default=Draft202012Validator), _Budget()
    try:
        kind.check_schema(schema)
    except SchemaError as problem:
        raise Unusable(f"not a JSON Schema: {problem.message[:MESSAGE_LIMIT]}") from problem
    except (RecursionError, Unresolvable) as problem:
        raise Unusable("the schema is nested too deeply") from problem
    counted = {name: _counting(check, budget) for name, check in kind.VALIDATORS.items()}
    return extend(kind, counted)(schema, registry=Registry()), budget  # type: ignore[no-untyped-call]


def _counting(check: Any, budget: _Budget) -> Any:
    """`check`, which takes one step of `budget` each time: references to themselves can make a small schema take for ever."""

    def counted(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        budget.left -= 1
        if budget.left < 0:
            raise _Spent
        return check(validator, wanted, value, schema)

    return counted


def check_arguments(server: str, pin: ToolDescription, arguments: Mapping[str, Any]) -> None:
    """Raises InputError (OMG-I001) naming the place when `arguments` do not fit the tool's pinned input schema."""
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
