"""The operations of an OpenAPI document (3.0 and 3.1) as tools: a name, an input schema, and how arguments become a request.

    method            effect          says
    GET, HEAD         read            readOnlyHint
    PUT               idempotent      the same request again leaves the same state (RFC 9110, 9.2.2)
    POST, PATCH       write           nothing
    DELETE            write           idempotentHint and destructiveHint: again does no more, but what is gone is gone

An answer has a schema only where every good answer has the same, and it can be said here.

Parameters are arguments under their own names; the body is the argument `body`. What carries credentials is no argument: a header or cookie
that a security scheme names, `Authorization`, what belongs to the connection, and what was pinned (`omega.wire.openapi.pins`). An operation
that cannot be a tool is left out, with the reason, and the others are not the worse for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from omega.kernel.errors import InputError
from omega.wire.openapi.pins import NO_PINS, Pins
from omega.wire.openapi.schemas import Schemas, Unfit

METHODS: Final = ("get", "head", "put", "post", "patch", "delete")
MAX_OPERATIONS: Final = 1_000
"""Most operations of one document."""

MAX_PARAMETERS: Final = 100
MAX_SCHEMA: Final = 128 << 10
"""Largest schema of one tool in bytes of JSON."""

MAX_NAME: Final = 64
MAX_TEXT: Final = 4_000
"""Longest description in characters: a model reads it with every conversation."""

BODY: Final = "body"
JSON_BODY: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
TEXT: Final = "text/plain"

_HINTS: Final[Mapping[str, Mapping[str, bool]]] = {
    "get": {"readOnlyHint": True},
    "head": {"readOnlyHint": True},
    "put": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    "delete": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
    "post": {"readOnlyHint": False},
    "patch": {"readOnlyHint": False},
}
_STYLES: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
"""A token by RFC 9110, 5.6.2."""

_MEDIA: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")
_NO_ARGUMENT: Final = re.compile(
    r"accept|accept-encoding|authorization|connection|content-.*|cookie|host|idempotency-key|keep-alive|proxy-.*|te|trailer|"
    r"transfer-encoding|upgrade|user-agent"
)
"""Headers that no argument may set: credentials, and what belongs to the connection or the body (OpenAPI 3.1.1, 4.8.12.2)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument that becomes part of the address, a header or a cookie. `as_json`: it is written as JSON text."""

    argument: str
    name: str
    place: str
    style: str
    explode: bool
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation as a tool. `media` is the type of the body; empty where there is none. `wrapped`: an answer that is no object comes
    back as `{"result": answer}`."""

    name: str
    method: str
    path: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    media: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    wrapped: bool

    def annotations(self, base: str) -> dict[str, Any]:
        """Hints as MCP has them, and a digest of how and where the operation is called: a change of that is a change of the tool."""
        plan = [base, self.method, self.path, self.media, self.wrapped, [_listed(each) for each in self.parameters]]
        text = json.dumps(plan, separators=(",", ":"), ensure_ascii=False)
        operation = f"{self.method.upper()} {self.path} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        return {**_HINTS[self.method], "omega/operation": operation}

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "method": self.method,
            "path": self.path,
            "title": self.title,
            "description": self.description,
            "parameters": [_listed(each) for each in self.parameters],
            "media": self.media,
            "input_schema": dict(self.input_schema),
            "output_schema": None if self.output_schema is None else dict(self.output_schema),
            "wrapped": self.wrapped,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Operation:
        """From plain data that `to_json` gave. Raises InputError (OMG-I001)."""
        try:
            given = {key: data[key] for key in ("name", "method", "path", "title", "description", "media", "input_schema", "output_schema")}
            parameters = tuple(Parameter(*each) for each in data["parameters"])
            made = cls(**given, parameters=parameters, wrapped=bool(data["wrapped"]))
            _ = _HINTS[made.method]
        except (KeyError, TypeError) as error:
            raise InputError("OMG-I001", f"an operation does not fit: {type(error).__name__} {error}") from error
        return made


@dataclass(frozen=True, slots=True)
class Interface:
    """What a document offers: operations by name, what was left out and why, where it says it is served, which credentials it wants."""

    title: str
    version: str
    servers: tuple[str, ...]
    operations: tuple[Operation, ...]
    left_out: tuple[tuple[str, str], ...]
    credentials: tuple[str, ...]


def read_interface(document: Any, *, outputs: bool = True, pins: Pins = NO_PINS) -> Interface:
    """The tools in an OpenAPI document, already parsed. Without `outputs` nothing is promised about answers; what is in `pins` is no
    argument.

    Raises InputError (OMG-I001) for what is no such document, or has more than `MAX_OPERATIONS` operations.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("paths", {}), Mapping):
        raise _refused("it is no object with paths")
    version = str(document.get("openapi", ""))
    if re.fullmatch(r"3\.[01](\.\d{1,4})?(-.{1,40})?", version) is None:
        raise _refused(f"it says openapi: {version[:20]!r}; 3.0 and 3.1 are read here")
    schemes = _schemes(document)
    reading = _Reading(Schemas(document, old=version.startswith("3.0")), _credential_names(schemes), pins, outputs)
    made: dict[str, Operation] = {}
    left_out: list[tuple[str, str]] = []
    for count, (path, method, item, operation) in enumerate(_each(document)):
        if count >= MAX_OPERATIONS:
            raise _refused(f"it has more than {MAX_OPERATIONS:,} operations", advice="import a part of it: --only PATTERN")
        label = f"{method.upper()} {path}"
        try:
            tool = reading.operation(path, method, item, operation)
        except Unfit as reason:
            left_out.append((label[:200], str(reason)))
            continue
        made[tool.name if tool.name not in made else _apart(tool.name, label)] = tool
    operations = tuple(replace(tool, name=name) for name, tool in sorted(made.items()))
    info = document.get("info") if isinstance(document.get("info"), Mapping) else {}
    assert isinstance(info, Mapping)  # noqa: S101 - for the type checker
    told = (str(info.get("title", ""))[:200], str(info.get("version", ""))[:100])
    return Interface(*told, _servers(document), operations, tuple(left_out), tuple(_wanted(schemes)))


class _Reading:
    """Reads operations of one document. `secret` are (place, name) of what carries credentials, `pins` what is sent whatever is asked."""

    def __init__(self, schemas: Schemas, secret: frozenset[tuple[str, str]], pins: Pins, outputs: bool) -> None:
        self._schemas, self._secret, self._pins, self._outputs = schemas, secret, pins, outputs

    def operation(self, path: str, method: str, item: Mapping[str, Any], given: Mapping[str, Any]) -> Operation:
        """One operation as a tool. Raises Unfit."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        parameters = []
        for each in self._parameters(item, given):
            parameter, schema, needed = each
            properties[parameter.argument] = schema
            required += [parameter.argument] if needed else []
            parameters.append(parameter)
        _check_path(path, {each.name for each in parameters if each.place == "path"})
        media, body, needed = self._body(method, given)
        if media:
            if BODY in properties:
                raise Unfit("it has a body, and a parameter that is called body")
            properties[BODY] = body
            required += [BODY] if needed else []
        output, wrapped = self._promised(given)
        summary, text = str(given.get("summary") or ""), str(given.get("description") or "")
        return Operation(
            name=_name(given.get("operationId"), method, path),
            method=method,
            path=path,
            title=summary[:200],
            description="\n\n".join(dict.fromkeys(part for part in (summary.strip(), text.strip()) if part))[:MAX_TEXT],
            parameters=tuple(parameters),
            media=media,
            input_schema=_bounded(_joined(properties, required)),
            output_schema=output,
            wrapped=wrapped,
        )

    def _parameters(self, item: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[Parameter, dict[str, Any], bool]]:
        """Those of the operation outweigh those of its path (OpenAPI 3.1.1, 4.8.10.1)."""
        listed: dict[tuple[str, str], Mapping[str, Any]] = {}
        for source in (item, given):
            whole = source.get("parameters") or []
            if not isinstance(whole, list) or len(whole) > MAX_PARAMETERS:
                raise Unfit(f"it has no list of at most {MAX_PARAMETERS} parameters")
            for each in whole:
                found = self._schemas.found(each)
                if not isinstance(found, Mapping):
                    raise Unfit("a parameter is no object")
                listed[(str(found.get("in")), str(found.get("name")))] = found
        taken: set[str] = set()
        for (place, name), found in listed.items():
            if self._is_set(place, name) or (place == "header" and _NO_ARGUMENT.fullmatch(name.lower()) is not None):
                continue
            argument = name if name not in taken else f"{name}_{place}"
            if argument in taken:
                raise Unfit(f"two parameters are called {name[:80]!r}")
            taken.add(argument)
            yield self._parameter(argument, place, name, found)

    def _is_set(self, place: str, name: str) -> bool:
        """Whether a parameter carries credentials, or was pinned: it is set for every call alike."""
        return (place, name.lower()) in self._secret or self._pins.hold(place, name)

    def _parameter(self, argument: str, place: str, name: str, found: Mapping[str, Any]) -> tuple[Parameter, dict[str, Any], bool]:
        if place not in _STYLES:
            raise Unfit(f"a parameter lies in {place[:40]!r}")
        schema, as_json = found.get("schema"), False
        content = found.get("content")
        if schema is None and isinstance(content, Mapping) and len(content) == 1:
            kind, media = next(iter(content.items()))
            as_json = _is_json(str(kind))
            schema = media.get("schema") if isinstance(media, Mapping) else None
        if place in ("header", "cookie") and _TOKEN.fullmatch(name) is None:
            raise Unfit(f"{name[:80]!r} cannot be the name of a {place}")
        style = str(found.get("style") or _STYLES[place][0])
        if style not in _STYLES[place]:
            raise Unfit(f"the style {style[:40]!r} of {name[:80]!r} is not supported")
        explode = found.get("explode")
        made = self._schemas.alone({} if schema is None else schema, "sent")
        if isinstance(found.get("description"), str) and "description" not in made:
            made = {**made, "description": found["description"][:MAX_TEXT]}
        exploded = explode if isinstance(explode, bool) else style in ("form", "deepObject")
        return Parameter(argument, name, place, style, exploded, as_json), made, found.get("required") is True or place == "path"

    def _body(self, method: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any], bool]:
        """The media type of the body, its schema, and whether it is needed."""
        body = self._schemas.found(given.get("requestBody"))
        if not isinstance(body, Mapping) or method in ("get", "head"):
            return "", {}, False
        content = body.get("content")
        listed = content.items() if isinstance(content, Mapping) else ()
        kinds = {str(kind).partition(";")[0].strip().lower(): media for kind, media in listed}
        as_json = [kind for kind in sorted(kinds) if _is_json(kind) and _MEDIA.fullmatch(kind)]
        chosen = next((kind for kind in (*as_json, FORM, TEXT) if kind in kinds), "")
        if not chosen:
            if body.get("required") is not True:
                return "", {}, False
            raise Unfit(f"its body is {', '.join(sorted(kinds))[:100] or 'of no type'}, which is not supported")
        media = kinds[chosen]
        schema = media.get("schema") if isinstance(media, Mapping) else None
        default: dict[str, Any] = {"type": "string"} if chosen == TEXT else {}
        return chosen, self._schemas.alone(default if schema is None else schema, "sent"), body.get("required") is True

    def _promised(self, given: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """What is promised about the answer: nothing, where its schema cannot be said here. The operation is as useful without."""
        try:
            return self._output(given) if self._outputs else (None, False)
        except Unfit:
            return None, False

    def _output(self, given: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """The schema of the answer, where every good answer has the same: a promise is made only if it can be kept."""
        responses = given.get("responses")
        good = [value for code, value in responses.items() if str(code).startswith("2")] if isinstance(responses, Mapping) else []
        if len(good) != 1:
            return None, False
        content = (self._schemas.found(good[0]) or {}).get("content") if isinstance(good[0], Mapping) else None
        kinds = [(str(kind), media) for kind, media in content.items()] if isinstance(content, Mapping) else []
        if len(kinds) != 1 or not _is_json(kinds[0][0]) or not isinstance(kinds[0][1], Mapping) or "schema" not in kinds[0][1]:
            return None, False
        whole = self._schemas.alone(kinds[0][1]["schema"], "answered")
        if self._is_object(kinds[0][1]["schema"]):
            return _bounded({**whole, "type": "object"}), False
        definitions = whole.pop("$defs", None)
        made = {"type": "object", "properties": {"result": whole}, "required": ["result"]}
        return _bounded(made | ({"$defs": definitions} if definitions else {})), True

    def _is_object(self, schema: Any) -> bool:
        found = self._schemas.found(schema)
        return isinstance(found, Mapping) and found.get("type") == "object" and found.get("nullable") is not True


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    for path, item in document.get("paths", {}).items():
        if isinstance(item, Mapping):
            for method in METHODS:
                if isinstance(item.get(method), Mapping):
                    yield str(path), method, item, item[method]


def _joined(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    """One object schema of the arguments; the definitions of all come together, told apart by their argument where they differ."""
    made: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for argument, schema in properties.items():
        own = dict(schema)
        mine = own.pop("$defs", {})
        if any(definitions.get(name, each) != each for name, each in mine.items()):
            raise Unfit("two of its parameters mean different things by one name")
        definitions |= mine
        made[argument] = own
    whole: dict[str, Any] = {"type": "object", "properties": made, "additionalProperties": False}
    return whole | ({"required": required} if required else {}) | ({"$defs": definitions} if definitions else {})


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError) as error:  # a date of YAML, or not a number
        raise Unfit("a schema holds something that JSON cannot say") from error
    if size > MAX_SCHEMA:
        raise Unfit(f"its schema has more than {MAX_SCHEMA >> 10} KB")
    return schema


def _check_path(path: str, given: set[str]) -> None:
    wanted = set(re.findall(r"\{([^{}]*)\}", path))
    if not path.startswith("/") or "?" in path or "#" in path or not path.isprintable() or not path.isascii() or len(path) > 2_000:
        raise Unfit("its path is none")
    if wanted != given:
        raise Unfit(f"its path and its parameters do not fit: {', '.join(sorted(wanted ^ given))[:100]}")


def _name(given: Any, method: str, path: str) -> str:
    wanted = given if isinstance(given, str) and given.strip() else f"{method}_{path}"
    label = re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]", "_", wanted)).strip("_") or method
    return label if len(label) <= MAX_NAME else _apart(label, f"{method} {path}")


def _apart(label: str, key: str) -> str:
    return f"{label[: MAX_NAME - 9]}_{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _servers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses that the document names, with the defaults of their variables filled in."""
    found = []
    listed = document.get("servers")
    for server in listed if isinstance(listed, list) else []:
        if isinstance(server, Mapping) and isinstance(server.get("url"), str):
            variables = server.get("variables")
            url = server["url"]
            for name, variable in variables.items() if isinstance(variables, Mapping) else ():
                if isinstance(variable, Mapping):
                    url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
            found.append(url)
    return tuple(found[:20])


def _schemes(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    components = document.get("components")
    listed = components.get("securitySchemes") if isinstance(components, Mapping) else None
    return [each for each in listed.values() if isinstance(each, Mapping)] if isinstance(listed, Mapping) else []


def _credential_names(schemes: list[Mapping[str, Any]]) -> frozenset[tuple[str, str]]:
    return frozenset((str(each.get("in")), str(each.get("name")).lower()) for each in schemes if each.get("type") == "apiKey")


def _wanted(schemes: list[Mapping[str, Any]]) -> Iterator[str]:
    """Which credentials are wanted, as the keys of references: a header by its name, a parameter of the query with `?` before it."""
    seen = set()
    for each in schemes:
        if each.get("type") == "apiKey":
            key = f"?{each.get('name')}" if each.get("in") == "query" else str(each.get("name"))
            key = "Cookie" if each.get("in") == "cookie" else key
        else:
            key = "Authorization"
        if key not in seen:
            seen.add(key)
            yield key[:100]


def _is_json(kind: str) -> bool:
    plain = kind.partition(";")[0].strip().lower()
    return plain == JSON_BODY or plain.endswith("+json")


def _listed(parameter: Parameter) -> list[Any]:
    return [parameter.argument, parameter.name, parameter.place, parameter.style, parameter.explode, parameter.as_json]


def _refused(cause: str, *, advice: str = "") -> InputError:
    return InputError("OMG-I001", f"the description of the interface cannot be used: {cause}", advice=advice)
