"""Schemas of an OpenAPI document as JSON Schemas that stand alone (draft 2020-12), bounded in size and depth.

A reference becomes one into `$defs` of the same schema, so a type that contains itself stays finite. A reference that leads out of the
document is refused and never fetched. What 3.0 says in a way of its own is said as JSON Schema does (OpenAPI 3.0.4, 4.7.24; 3.1.1, 4.8.24):

    nullable: true                    null among the types
    exclusiveMinimum: true            the bound itself, as a number
    readOnly in what is sent          left out, as is writeOnly in what comes back
    discriminator, xml, example, x-   left out: nobody checks by them
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

MAX_DEPTH: Final = 48
"""Most schemas inside each other."""

MAX_PARTS: Final = 4_000
"""Most schemas that one tool's schema consists of, definitions included."""

MAX_HOPS: Final = 16
"""Longest chain of references that lead to references."""

MAX_PATTERN: Final = 500
"""Longest regular expression in characters; a longer one is left out, and checks that much less."""

Way = Literal["sent", "answered"]
"""Whether a schema describes what is sent or what comes back."""

_ONE: Final = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "unevaluatedProperties")
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas", "$defs")
_PLAIN: Final = frozenset(
    {"type", "enum", "const", "default", "title", "description", "format", "multipleOf", "maximum", "minimum", "exclusiveMaximum"}
    | {"exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required"}
    | {"dependentRequired", "minContains", "maxContains", "deprecated"}
)
_HIDDEN: Final[Mapping[Way, str]] = {"sent": "readOnly", "answered": "writeOnly"}


class Unfit(ValueError):
    """Something in the document that no tool can be made of; the words say what."""


class Schemas:
    """Makes schemas of one document stand alone. `old` for OpenAPI 3.0, whose schemas are not quite JSON Schema."""

    def __init__(self, document: Mapping[str, Any], *, old: bool) -> None:
        self._document, self._old = document, old

    def alone(self, schema: Any, way: Way) -> dict[str, Any]:
        """`schema` with everything it refers to under `$defs`. Raises Unfit."""
        made = _Making(self, way, self._old)
        whole = made.convert(schema, 0)
        definitions = made.definitions()
        if not isinstance(whole, dict):
            whole = {} if whole else {"not": {}}
        return whole | ({"$defs": definitions} if definitions else {})

    def found(self, part: Any) -> Any:
        """What a reference inside the document leads to, over references; anything else as it is. Raises Unfit."""
        for _ in range(MAX_HOPS):
            if not isinstance(part, Mapping) or not isinstance(part.get("$ref"), str):
                return part
            part = self.at(part["$ref"])
        raise Unfit("a reference leads to references without an end")

    def at(self, pointer: str) -> Any:
        """What a JSON Pointer as a fragment (RFC 6901, 6) leads to. Raises Unfit."""
        if not pointer.startswith("#/"):
            raise Unfit(f"the reference {pointer[:80]!r} leads out of the document")
        here: Any = self._document
        for step in pointer[2:].split("/"):
            key = _unquoted(step).replace("~1", "/").replace("~0", "~")
            if isinstance(here, Mapping) and key in here:
                here = here[key]
            elif isinstance(here, list) and key.isascii() and key.isdigit() and int(key) < len(here):
                here = here[int(key)]
            else:
                raise Unfit(f"the reference {pointer[:80]!r} leads nowhere")
        return here


class _Making:
    """One schema in the making: what it has referred to so far, and how much there is of it."""

    def __init__(self, schemas: Schemas, way: Way, old: bool) -> None:
        self._schemas, self._way, self._old = schemas, way, old
        self._names: dict[str, str] = {}
        self._parts = 0

    def definitions(self) -> dict[str, Any]:
        """Everything that was referred to, and what that refers to."""
        made: dict[str, Any] = {}
        while len(made) < len(self._names):
            for pointer, name in list(self._names.items()):
                if name not in made:
                    made[name] = self.convert(self._schemas.at(pointer), 0)
        return made

    def convert(self, schema: Any, depth: int) -> Any:
        """One schema without what it refers to. Raises Unfit."""
        self._parts += 1
        if self._parts > MAX_PARTS or depth > MAX_DEPTH:
            raise Unfit(f"a schema has more than {MAX_PARTS:,} parts or {MAX_DEPTH} levels")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise Unfit("a schema is neither an object nor true or false")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            pointing = {"$ref": f"#/$defs/{self._named(reference)}"}
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return pointing if self._old or not rest else self.convert(rest, depth + 1) | pointing
        made = {key: value for key, value in schema.items() if key in _PLAIN}
        self._inside(schema, made, depth)
        _keep_pattern(schema, made)
        if self._old:
            _as_json_schema(schema, made)
        return made

    def _inside(self, schema: Mapping[str, Any], made: dict[str, Any], depth: int) -> None:
        for key in _ONE:
            if key in schema:
                made[key] = self.convert(schema[key], depth + 1)
        for key in _LIST:
            if isinstance(schema.get(key), list):
                made[key] = [self.convert(each, depth + 1) for each in schema[key]]
        for key in _NAMED:
            if isinstance(schema.get(key), Mapping):
                kept = {name: each for name, each in schema[key].items() if key != "properties" or not self._hidden(each)}
                made[key] = {str(name): self.convert(each, depth + 1) for name, each in kept.items()}
                if key == "properties" and isinstance(schema.get("required"), list):
                    dropped = set(schema[key]) - set(kept)
                    made["required"] = [name for name in schema["required"] if name not in dropped]
        if made.get("required") == []:
            del made["required"]

    def _hidden(self, schema: Any) -> bool:
        return isinstance(schema, Mapping) and schema.get(_HIDDEN[self._way]) is True

    def _named(self, pointer: str) -> str:
        """The name of a definition: the last word of where it stands, told apart where two have the same."""
        if pointer not in self._names:
            self._schemas.at(pointer)
            label = re.sub(r"[^A-Za-z0-9_.-]", "_", pointer.rpartition("/")[2])[:60] or "part"
            taken = set(self._names.values())
            self._names[pointer] = label if label not in taken else f"{label}_{hashlib.sha256(pointer.encode()).hexdigest()[:8]}"
        return self._names[pointer]


def _keep_pattern(schema: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Keep a regular expression that means something here: the document's are of another dialect (ECMA-262)."""
    pattern = schema.get("pattern")
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return
    made["pattern"] = pattern


def _as_json_schema(schema: Mapping[str, Any], made: dict[str, Any]) -> None:
    """What 3.0 says in its own way, as JSON Schema says it."""
    for bound, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(made.get(strict), bool) and made.pop(strict) and bound in made:
            made[strict] = made.pop(bound)
    if schema.get("nullable") is not True:
        return
    kind = made.get("type")
    if isinstance(kind, str):
        made["type"] = [kind, "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    elif any(key in made for key in ("allOf", "anyOf", "oneOf")):
        whole = dict(made)
        made.clear()
        made["anyOf"] = [whole, {"type": "null"}]


def _unquoted(text: str) -> str:
    """Percent signs of a fragment undone (RFC 6901, 6)."""
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)
