"""JSON Schema checks that come to an end and never leave the machine.

A schema may be a stranger's (a tool server's, a document's, a form's), and so may the value. Small ones can ask for work without end:

    references to themselves            every keyword that is applied is a step, and steps are counted
    patterns that backtrack             matched in linear time (`omega.kernel.patterns`), a step for every `LETTERS` letters
    uniqueItems of what has no order    compared by a key, not each with each
    a `$ref` to somewhere else          is refused, not fetched
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from omega.kernel.patterns import Unmatchable, matcher

MESSAGE_LIMIT: Final = 300
"""Characters of a validator's message that are repeated; it quotes the value, which may be large or private."""

MAX_SCHEMA: Final = 1 << 20
"""Largest schema in bytes."""

MAX_STEPS: Final = 200_000
"""Most steps of one check: about a second."""

REFERENCE: Final = 8
"""Steps that a reference counts for: it is looked up each time that it is followed."""

LETTERS: Final = 64
"""Letters of a text that one step matches a pattern against."""

MAX_COMPILED: Final = 512
"""Schemas kept ready: making one ready takes a hundred times as long as a check."""


class Unusable(Exception):
    """The schema itself is not one, points outside itself, or asks for more work than it is worth."""


class _Spent(Exception):
    """The budget of steps is used up."""


class _Budget:
    """Steps that one check may still take."""

    left = 0

    def take(self, steps: int) -> None:
        """Take `steps`. Raises _Spent."""
        self.left -= steps
        if self.left < 0:
            raise _Spent


def errors(schema: Any, value: Any, *, steps: int = MAX_STEPS) -> Iterator[Any]:
    """What is wrong with `value`, one validation error after the other; none when it fits. Raises Unusable, also in the middle."""
    from jsonschema.exceptions import UnknownType
    from referencing.exceptions import Unresolvable

    text = _text(schema)
    try:
        validator, budget = _compiled(text)
        budget.left = steps
        yield from validator.iter_errors(value)
    except Unresolvable as problem:
        raise Unusable(f"$ref {str(problem.ref)[:MESSAGE_LIMIT]} does not resolve within the schema") from problem
    except (RecursionError, msgspec.ValidationError) as problem:
        raise Unusable("the schema is nested too deeply") from problem
    except Unmatchable as problem:
        raise Unusable(f"a pattern of the schema cannot be matched: {problem}") from problem
    except _Spent as problem:
        raise Unusable(f"checking a value takes more than {steps:,} steps") from problem
    except (UnknownType, ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as problem:
        # a reference may lead into what was never looked at as a schema, such as the inside of a `const`, and a number may be beyond what
        # can be reckoned with: the library runs into either with whatever comes of it
        raise Unusable(f"a value cannot be checked against it: {type(problem).__name__}") from problem


def _text(schema: Any) -> bytes:
    """The schema as JSON. Raises Unusable."""
    try:
        return msgspec.json.encode(schema)
    except UnicodeEncodeError as problem:
        raise Unusable("it has half of a character, which no text has") from problem
    except RecursionError as problem:
        raise Unusable("the schema is nested too deeply") from problem


@lru_cache(MAX_COMPILED)
def _compiled(text: bytes) -> tuple[Any, _Budget]:
    """A checker of the schema `text`, and the budget that it spends. Raises Unusable."""
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if len(text) > MAX_SCHEMA:
        raise Unusable(f"it has more than {MAX_SCHEMA:,} bytes")
    if b'"patternProperties"' in text and b'"unevaluatedProperties"' in text:
        raise Unusable("patternProperties together with unevaluatedProperties is not checked here")
    schema: Any = json.loads(text)
    if type(schema) not in (dict, bool) or (schema and schema is not True and type(schema.get("$schema", "")) is not str):
        raise Unusable("not a JSON Schema: an object, true or false")
    kind, budget = validator_for(schema, default=Draft202012Validator), _Budget()
    try:
        kind.check_schema(schema)
    except SchemaError as problem:
        raise Unusable(f"not a JSON Schema: {problem.message[:MESSAGE_LIMIT]}") from problem
    except (RecursionError, Unresolvable) as problem:
        raise Unusable("the schema is nested too deeply") from problem
    known = {name: _counting(name, check, budget) for name, check in kind.VALIDATORS.items()}
    known |= {name: bounded(budget) for name, bounded in _BOUNDED.items() if name in known}
    return extend(kind, known)(schema, registry=Registry()), budget  # type: ignore[no-untyped-call]


def _counting(name: str, check: Any, budget: _Budget) -> Any:
    """`check`, which takes steps of `budget` each time: references to themselves can make a small schema take for ever."""
    steps = REFERENCE if name.endswith("Ref") or name == "$ref" else 1

    def counted(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        budget.take(steps)
        return check(validator, wanted, value, schema)

    return counted


# -- keywords whose work the library does not bound


def _pattern(budget: _Budget) -> Any:
    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(value, "string") and not _matches(wanted, value, budget):
            yield _wrong(f"the text does not match {wanted!r}")

    return check


def _pattern_properties(budget: _Budget) -> Any:
    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if not validator.is_type(value, "object"):
            return
        for pattern, inner in wanted.items():
            for name, part in value.items():
                if _matches(pattern, name, budget):
                    yield from validator.descend(part, inner, path=name, schema_path=pattern)

    return check


def _additional_properties(budget: _Budget) -> Any:
    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        budget.take(1)
        if not validator.is_type(value, "object"):
            return
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        more = [name for name in value if name not in known and not any(_matches(each, name, budget) for each in patterns)]
        if validator.is_type(wanted, "object"):
            for name in more:
                yield from validator.descend(value[name], wanted, path=name)
        elif not wanted and more:
            yield _wrong(f"additional properties are not allowed ({', '.join(map(repr, sorted(more)[:5]))})")

    return check


def _unique_items(budget: _Budget) -> Any:
    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if wanted and validator.is_type(value, "array"):
            budget.take(1 + len(value))
            if len({_key(part) for part in value}) < len(value):
                yield _wrong("the array has items that are the same")

    return check


_BOUNDED: Final[Mapping[str, Any]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _matches(pattern: str, text: str, budget: _Budget) -> bool:
    budget.take(1 + len(text) // LETTERS)
    return matcher(pattern)(text)


def _wrong(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _key(value: Any) -> Hashable:
    """Equal for two values exactly when JSON Schema holds them for the same (4.2.2): 1 is 1.0, and not true."""
    if isinstance(value, dict):
        return "object", frozenset((name, _key(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(map(_key, value))
    return type(value) is bool, value
