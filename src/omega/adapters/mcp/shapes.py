"""Schemas that say little, read once: most tools want an object with a few plain fields, and that is seen without a validator.

Only a fit is told here, never a misfit: what is not obviously fine is for the validator (`omega.kernel.checking`), which costs twenty times
as much, knows every keyword, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
"""The exact Python types that are of a JSON type (JSON Schema 2020-12, Validation, 6.1.1). 1.0 is an integer too: the validator knows."""

_TELLING: Final = frozenset({"title", "description", "examples", "default", "$comment"})
"""Keywords that demand nothing."""

_OBJECT: Final = _TELLING | {"type", "properties", "required", "additionalProperties"}


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with plain fields: the types of each, which have to be there, and whether there may be others."""

    fields: Mapping[str, tuple[type, ...]]
    required: tuple[str, ...]
    open: bool

    def fits(self, value: Mapping[str, Any]) -> bool:
        """Whether `value` obviously fits. False says nothing."""
        for name, inner in value.items():
            kinds = self.fields.get(name)
            if kinds is None:
                if not self.open:
                    return False
            elif type(inner) not in kinds:
                return False
        return all(name in value for name in self.required)


def shape_of(schema: Any) -> Shape | None:
    """The shape that is all that `schema` demands of an object; None where it demands anything else."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object" or not _OBJECT.issuperset(schema):
        return None
    properties, required, more = schema.get("properties", {}), schema.get("required", []), schema.get("additionalProperties", True)
    if not isinstance(properties, Mapping) or not isinstance(required, list) or not isinstance(more, bool):
        return None
    fields: dict[str, tuple[type, ...]] = {}
    for name, inner in properties.items():
        kinds = _KINDS.get(str(inner.get("type"))) if isinstance(inner, Mapping) and set(inner) - _TELLING == {"type"} else None
        if kinds is None:
            return None
        fields[name] = kinds
    return Shape(fields, tuple(str(name) for name in required), more)
