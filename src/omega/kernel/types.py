"""Types of what goes into and comes out of a flow: checked when flows are joined, used to read and write values when they run.

A `Type` wraps a Python annotation (or, for tools of other people, a JSON Schema). Joins are checked by nominal assignability: the same
type, a subclass, a member of a union, a literal of that type; `Any` joins with everything and is checked when the value arrives. Reading
and writing go through pydantic, imported on first use; plain scalars take a short cut. Values are stored as JSON data and never as code.

What was stored is what goes on: `encode` gives back the value read anew from its bytes, so a step sees the same before a crash as after it,
and nobody who still holds the object that was given can change it afterwards. A type that cannot read what it writes is told at once.
"""

from __future__ import annotations

import json
import math
import types as python_types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from omega.kernel.checking import Unusable, errors
from omega.kernel.errors import FlowError, InputError
from omega.kernel.journal import MAX_PAYLOAD

_UNIONS = (Union, python_types.UnionType)
UNCHANGING = (int, str, bool, float, type(None))
"""Classes whose very instances (none of a subclass) nobody can change, and JSON gives back as they are."""

_LOOSE = (Any, object, dict, list, tuple)


def _model(value: Any) -> Any:
    """A pydantic model or a data class inside loose data, as plain data."""
    if hasattr(type(value), "model_fields"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    raise TypeError(f"{type(value).__name__} is not JSON data")


_dump = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_model).encode


class Type:
    """One input or output type. `annotation` is the Python type; `given_schema` a JSON Schema that replaces the derived one; `loose`
    tells that it holds Any."""

    __slots__ = ("_adapter", "_aliased", "_schema", "_unordered", "annotation", "given_schema", "loose", "name")

    def __init__(self, annotation: Any, given_schema: Mapping[str, Any] | None = None, name: str = "") -> None:
        self.annotation = type(None) if annotation is None else annotation
        self.given_schema = given_schema
        self.name = name or show(self.annotation)
        self._adapter: Any = None
        self._schema: dict[str, Any] | None = None
        self._aliased = self._unordered = False
        self.loose = _is_loose(self.annotation)

    def __repr__(self) -> str:
        return f"Type({self.name})"

    def fits(self, target: Type) -> bool:
        """Whether every value of this type may be handed to `target`."""
        return assignable(self.annotation, target.annotation)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the type."""
        if self._schema is None:
            self._schema = dict(self.given_schema) if self.given_schema is not None else self._pydantic().json_schema()
        return self._schema

    def read(self, value: Any) -> Any:
        """A value of this type from plain data or from an instance. Raises InputError (OMG-I001) with the path of what does not fit."""
        if self.given_schema is not None:
            check_schema(self.given_schema, value)
            return value
        from pydantic import ValidationError

        try:
            return self._pydantic().validate_python(value)
        except ValidationError as error:
            raise InputError("OMG-I001", _explain(error), details={"expected": self.name, "errors": _paths(error)}) from error

    def encode(self, value: Any) -> tuple[bytes, Any]:
        """`value` as JSON bytes, with the value that `decode` would give back.

        Where the type is loose (holds Any) that is JSON data, which may differ from what went in (tuples become lists); members of sets
        are written in an order of their own, since that of Python changes from process to process. Raises FlowError: OMG-R002 with the path
        of a value that cannot be stored, or not be read back; OMG-R003 past `MAX_PAYLOAD`.
        """
        annotation = self.annotation
        if annotation is str and type(value) is str:
            data = self._encode_loose(value)
        elif annotation is int and type(value) is int:
            data = b"%d" % value
        elif self.loose:
            data = self._encode_loose(value)
            value = value if type(value) in UNCHANGING else json.loads(data)
        else:
            data = self._encode_typed(value)
            value = self._read_back(value, data)
        if len(data) > MAX_PAYLOAD:
            raise FlowError("OMG-R003", f"a value of {len(data):,} bytes is over the limit of {MAX_PAYLOAD:,}")
        return data, value

    def decode(self, data: bytes) -> Any:
        """The value that `encode` stored. Raises FlowError (OMG-R015) when the bytes no longer fit the type."""
        if self.loose:
            return json.loads(data)
        from pydantic import ValidationError

        try:
            return self._pydantic().validate_json(data, by_alias=True, by_name=True)  # it is written by name, unless a model says otherwise
        except ValidationError as error:
            raise FlowError("OMG-R015", f"a recorded value is no {self.name} any more: {_explain(error)}") from error

    def restore(self, plain: Any) -> Any:
        """The value that `encode` stored, from the plain data in its bytes. Raises as `decode`."""
        return plain if self.loose else self.decode(json.dumps(plain).encode())

    def plain(self, value: Any) -> Any:
        """`value` as plain JSON data: what expressions and reports see."""
        return json.loads(self.encode(value)[0])

    def _pydantic(self) -> Any:
        if self._adapter is None:
            from pydantic import TypeAdapter

            adapter = TypeAdapter(self.annotation)
            found = _names(adapter.core_schema)
            self._aliased = not found.isdisjoint(_ALIASES)
            self._unordered = not found.isdisjoint(_UNORDERED)
            self._adapter = adapter
        return self._adapter

    def _read_back(self, value: Any, data: bytes) -> Any:
        """What `decode` gives for `data`. Raises FlowError (OMG-R002) where that is not what was written."""
        if type(value) in UNCHANGING and type(value) is self.annotation:
            return value
        try:
            again = self.decode(data)
        except FlowError as error:
            why = error.cause.partition(": ")[2]
            raise FlowError("OMG-R002", f"{self.name} cannot read what it writes, so nothing could go on from it: {why}") from error
        if self._aliased and self._written(again) != data:
            raise FlowError("OMG-R002", f"{self.name} reads something else than it writes: its aliases are names of other fields")
        return again

    def _encode_typed(self, value: Any) -> bytes:
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError

        adapter = self._pydantic()
        try:
            data = self._written(adapter.validate_python(value, strict=True))
        except ValidationError as error:
            raise FlowError(
                "OMG-R002",
                f"the step gave {show(type(value))} where {self.name} was promised: {_explain(error)}",
                details={"errors": _paths(error)},
            ) from error
        except PydanticSerializationError as error:
            raise FlowError("OMG-R002", f"no {self.name} that can be stored: {unstorable(value) or error}") from error
        if b"null" in data and (odd := _odd_float(value)):
            raise FlowError("OMG-R002", f"not a number, or infinite: {odd}")
        return data

    def _written(self, value: Any) -> bytes:
        """A value that was checked, as JSON."""
        data: bytes = self._pydantic().dump_json(value, warnings="error")
        return _ordered(value, data) if self._unordered else data

    def _encode_loose(self, value: Any) -> bytes:
        try:
            return _dump(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise FlowError("OMG-R002", f"cannot be stored: {unstorable(value) or error}") from error


_ALIASES = frozenset({"validation_alias", "serialization_alias"})
_UNORDERED = frozenset({"set", "frozenset", "any"})
"""What a core schema of pydantic says where names of fields differ, and where a value may hold a set."""


def _names(schema: Any) -> set[str]:
    """The keys and the kinds of schema inside a core schema."""
    found: set[str] = set()
    stack: list[Any] = [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            found.update(key for key in part if isinstance(key, str))
            kind = part.get("type")
            if isinstance(kind, str):
                found.add(kind)
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            stack.extend(part)
    return found


def _ordered(value: Any, data: bytes) -> bytes:
    """`data` (what pydantic wrote for `value`) with the members of sets in the order of their own bytes."""
    from pydantic_core import to_json

    plain = json.loads(data)
    ordered = _sorted_sets(value, plain)
    return data if ordered is plain else to_json(ordered)


def _sorted_sets(value: Any, plain: Any) -> Any:
    """`plain` with sets sorted wherever `value` has one; the very same object where it has none.

    What pydantic writes for a set comes in the order in which it is walked here.
    """
    if isinstance(value, set | frozenset) and isinstance(plain, list) and len(value) == len(plain):
        inner = [_sorted_sets(each, part) for each, part in zip(value, plain, strict=True)]
        return sorted(inner, key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(plain, list) and isinstance(value, list | tuple) and len(value) == len(plain):
        parts = [_sorted_sets(each, part) for each, part in zip(value, plain, strict=True)]
        return plain if all(new is old for new, old in zip(parts, plain, strict=True)) else parts
    if isinstance(plain, dict):
        members = _members(value, plain)
        found = {name: _sorted_sets(member, plain[name]) for name, member in members}
        changed = any(new is not plain[name] for name, new in found.items())
        return {name: found.get(name, part) for name, part in plain.items()} if changed else plain
    return plain


def _members(value: Any, plain: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The parts of `value` by the names under which they were written."""
    if isinstance(value, Mapping):
        return list(zip(plain, value.values(), strict=True)) if len(value) == len(plain) else []
    known = getattr(type(value), "model_fields", None)
    if known is not None:
        named = {field.serialization_alias or name: name for name, field in known.items()} | {name: name for name in known}
        return [(written, getattr(value, named[written])) for written in plain if written in named]
    if is_dataclass(value):
        return [(each.name, getattr(value, each.name)) for each in fields(value) if each.name in plain]
    return []


@lru_cache(maxsize=4096)
def _cached(annotation: Any) -> Type:
    return Type(annotation)


def type_of(annotation: Any) -> Type:
    """The `Type` of an annotation; the same annotation gives the same object."""
    try:
        return _cached(annotation)
    except TypeError:  # an unhashable annotation, such as Literal[[...]]
        return Type(annotation)


def show(annotation: Any) -> str:
    """A type as a person writes it: `Ticket`, `list[int]`, `str | None`."""
    if annotation is Any:
        return "Any"
    if annotation is type(None):
        return "None"
    origin = get_origin(annotation)
    if origin in _UNIONS:
        return " | ".join(show(argument) for argument in get_args(annotation))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if origin is Annotated:
        return show(get_args(annotation)[0])
    if origin is not None:
        arguments = ", ".join("..." if argument is Ellipsis else show(argument) for argument in get_args(annotation))
        return f"{show(origin)}[{arguments}]"
    return getattr(annotation, "__name__", None) or str(annotation)


def assignable(source: Any, target: Any) -> bool:
    """Whether a value of annotation `source` is nominally acceptable as `target`.

    PEP 484's rules with covariant containers; no structural matching.
    """
    source, target = _bare(source), _bare(target)
    if target in (Any, object) or source is Any or source == target:
        return True
    if get_origin(source) in _UNIONS:
        return all(assignable(member, target) for member in get_args(source))
    if get_origin(target) in _UNIONS:
        return any(assignable(source, member) for member in get_args(target))
    if get_origin(source) is Literal:
        return _literal_fits(get_args(source), target)
    if get_origin(target) is Literal:
        return False
    return _class_fits(source, target)


def _bare(annotation: Any) -> Any:
    if annotation is None:
        return type(None)
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if isinstance(annotation, TypeVar):
        return _bare(annotation.__bound__) if annotation.__bound__ is not None else Any
    return annotation


def _literal_fits(values: tuple[Any, ...], target: Any) -> bool:
    if get_origin(target) is Literal:
        allowed = {(type(value), value) for value in get_args(target)}
        return all((type(value), value) in allowed for value in values)
    return all(assignable(type(value), target) for value in values)


def _class_fits(source: Any, target: Any) -> bool:
    source_class, target_class = get_origin(source) or source, get_origin(target) or target
    supertype = getattr(source_class, "__supertype__", None)
    if supertype is not None and not isinstance(source_class, type):
        return assignable(supertype, target)
    if not isinstance(source_class, type) or not isinstance(target_class, type):
        return False
    if target_class is float and source_class is int:
        return True
    try:
        if not issubclass(source_class, target_class):
            return False
    except TypeError:  # a protocol that cannot be asked
        return False
    return _arguments_fit(get_args(source), get_args(target))


def _arguments_fit(source: tuple[Any, ...], target: tuple[Any, ...]) -> bool:
    if not target or not source:
        return True
    if Ellipsis in target:
        return all(assignable(argument, target[0]) for argument in source if argument is not Ellipsis)
    if Ellipsis in source or len(source) != len(target):
        return False
    return all(assignable(a, b) for a, b in zip(source, target, strict=True))


def _is_loose(annotation: Any) -> bool:
    if annotation in _LOOSE:
        return True
    origin = get_origin(annotation)
    if origin in (Literal, Annotated) or is_dataclass(origin):  # a data class is read back as what it is, whatever it holds
        return False
    return any(_is_loose(argument) for argument in get_args(annotation) if argument is not Ellipsis)


MAX_WALK = 10_000
"""Most values looked at when searching for the one that cannot be stored."""

MAX_CHECK = 500_000
"""Most steps of holding one value against a JSON Schema: a large input, or a few seconds of one that was made to cost time."""


def unstorable(value: Any) -> str:
    """The path and kind of the first value inside `value` that JSON cannot hold; empty when none is found."""
    stack: list[tuple[str, Any, int]] = [("value", value, 0)]
    for _ in range(MAX_WALK):
        if not stack:
            return ""
        path, item, depth = stack.pop()
        if depth > 200:
            return f"{path} is nested deeper than 200 levels"
        problem, children = _look(path, item)
        if problem:
            return problem
        stack.extend((name, child, depth + 1) for name, child in reversed(children))
    return ""


def _look(path: str, item: Any) -> tuple[str, list[tuple[str, Any]]]:
    if isinstance(item, float) and not math.isfinite(item):
        return f"{path} is {item}", []
    if isinstance(item, str) and any("\ud800" <= letter <= "\udfff" for letter in item):
        return f"{path} holds half a character (a lone surrogate)", []
    if item is None or isinstance(item, (str, int, float)):
        return "", []
    if isinstance(item, Mapping):
        odd = next((key for key in item if not isinstance(key, (str, int, float, bool, type(None)))), None)
        if odd is not None:
            return f"{path} has a key of type {show(type(odd))}", []
        return "", [(f"{path}[{key!r}]", child) for key, child in item.items()]
    if isinstance(item, (list, tuple)):
        return "", [(f"{path}[{index}]", child) for index, child in enumerate(item)]
    known = getattr(type(item), "model_fields", None)
    if known is None and is_dataclass(item) and not isinstance(item, type):
        known = [each.name for each in fields(item)]
    if known is not None:
        return "", [(f"{path}.{name}", getattr(item, name)) for name in known]
    return f"{path} is a {show(type(item))}", []


def _odd_float(value: Any) -> str:
    """The path of the first float inside `value` that JSON cannot hold (pydantic writes null for it); empty when there is none."""
    stack: list[tuple[str, Any]] = [("value", value)]
    for _ in range(MAX_WALK):
        if not stack:
            return ""
        path, item = stack.pop()
        problem, children = _look(path, item)
        if problem and isinstance(item, float):
            return problem
        stack.extend(reversed(children))
    return ""


def check_schema(schema: Mapping[str, Any], value: Any) -> None:
    """Check plain data against a JSON Schema; no reference leaves the document.

    Raises InputError (OMG-I001) with the path; also for a schema that is none, that refers to itself without end or to what is not there,
    or that asks for more work than `MAX_CHECK`: none of these says anything that a value could fit.
    """
    try:
        problem = min(errors(schema, value, steps=MAX_CHECK), key=lambda error: list(map(str, error.absolute_path)), default=None)
    except Unusable as error:
        raise InputError("OMG-I001", f"the schema of the input cannot be used: {error}") from error
    if problem is not None:
        path = "".join(f"[{part!r}]" for part in problem.absolute_path)
        raise InputError(
            "OMG-I001", f"input{path}: {problem.message[:300]}", details={"path": [str(part) for part in problem.absolute_path]}
        )


def _explain(error: Any) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path + ': ' if path else ''}{first['msg'].lower()}{more}"


def _paths(error: Any) -> list[dict[str, str]]:
    return [
        {"path": ".".join(map(str, item["loc"])), "problem": item["msg"].lower()}
        for item in error.errors(include_url=False, include_input=False)[:20]
    ]


ANY = type_of(Any)
"""The type that joins with everything and is checked when the value arrives."""
