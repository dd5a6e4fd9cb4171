"""Writing the client's typed methods: one class per built-in service, from the types of its flows.

    python -m omega.host.stubs            writes src/omega/client/services.py anew

Written at development time and committed, so that editors know it and nothing is made from what a server says; a test holds the file to the
services. Services of other packages are called by name: `await omega.call("service.method", value)`.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omega.host.discover import manifests, methods
from omega.kernel.compose import AnyFlow
from omega.kernel.service import Method

TARGET = Path(__file__).parents[1] / "client" / "services.py"
OWN = "omega."
"""How the home of a built-in service begins."""

WIDTH = 116
_TAKEN = ("idempotency_key", "self", "timeout_s")

_HEAD = '''"""The methods of the built-in services, with their types. Written by `python -m omega.host.stubs`, from the services."""

# fmt: off
# ruff: noqa: E501, F401, PLR0913, RUF100
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NotRequired, Protocol, TypedDict

_List = list  # a service may have a method called `list`, which hides the type within its class


class Calls(Protocol):
    """What a service is called through."""

    async def call(self, method: str, value: Any = None, *, key: str = "", timeout_s: float | None = None) -> Any: ...

    def stream(self, method: str, value: Any = None) -> AsyncIterator[Any]: ...


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
'''


class _Types:
    """Python types for JSON Schemas; objects become TypedDicts, collected in `made`."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def of(self, schema: Mapping[str, Any], title: str, definitions: Mapping[str, Any]) -> str:
        """The type of `schema`; a TypedDict is named after `title`."""
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            return self.of(definitions.get(name, {}), f"{title.split('_', maxsplit=1)[0]}_{name}", definitions)
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return f"Literal[{', '.join(repr(each) for each in values)}]"
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return " | ".join(dict.fromkeys(self.of(each, title, definitions) for each in schema[word]))
        kind = schema.get("type")
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
        if isinstance(kind, str) and kind in plain:
            return plain[kind]
        if kind == "array":
            return f"_List[{self.of(schema.get('items') or {}, title, definitions)}]"
        if kind == "object" and schema.get("properties"):
            return self._object(schema, title, definitions)
        if kind == "object":
            more = schema.get("additionalProperties")
            return f"dict[str, {self.of(more, title, definitions) if isinstance(more, Mapping) else 'Any'}]"
        return "Any"

    def _object(self, schema: Mapping[str, Any], title: str, definitions: Mapping[str, Any]) -> str:
        name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]", title))
        if name in self.made:
            return name
        self.made[name] = ""  # its own parts may refer to it
        fields = []
        for each, inner in schema["properties"].items():
            kind = self.of(inner, f"{title}_{each}", definitions)
            fields.append((each, kind if each in schema.get("required", ()) or "default" in inner else f"NotRequired[{kind}]"))
        said = _sentence(str(schema.get("description") or f"The {name} of an answer."))
        if all(each.isidentifier() and not keyword.iskeyword(each) for each, _ in fields):
            lines = [f"class {name}(TypedDict):", f'    """{said}"""', "", *(f"    {each}: {kind}" for each, kind in fields)]
        else:
            inside = ", ".join(f"{each!r}: {kind!r}" for each, kind in fields)
            lines = [f"{name} = TypedDict({name!r}, {{{inside}}})"]
        self.made[name] = "\n".join(lines)
        return name


def written() -> str:
    """The text of the file."""
    types = _Types()
    classes = []
    names = [name for name, each in sorted(manifests().items()) if each.home.startswith(OWN)]
    for name in names:
        classes.append(_service(name, manifests()[name].summary, methods(name), types))
    facade = 'class Services:\n    """The built-in services of an installation, by name."""\n\n' + "\n".join(map(_access, names))
    return "\n\n".join([_HEAD, *(text + "\n" for text in types.made.values()), *classes, facade])


def _access(name: str) -> str:
    doc = _doc(manifests()[name].summary, 8)
    return f"    @property\n    def {_word(name)}(self: Calls) -> {_class(name)}:\n{doc}\n        return {_class(name)}(self)\n"


def _service(name: str, summary: str, offered: Mapping[str, tuple[AnyFlow, Method]], types: _Types) -> str:
    lines = [f"class {_class(name)}:", _doc(f"The service {name}: {summary}", 4), "", "    def __init__(self, calls: Calls) -> None:"]
    lines += ["        self._calls = calls", ""]
    for method, (flow, offer) in sorted(offered.items()):
        if "client" in offer.entrances:
            lines += [_method(name, method, flow, offer, types), ""]
    return "\n".join(lines)


def _method(service: str, name: str, flow: AnyFlow, offer: Method, types: _Types) -> str:
    taken, given = flow.input.schema(), flow.output.schema()
    title = f"{service}_{name}"
    result = types.of(given, title, given.get("$defs", {}))
    signature, value = _parameters(taken, title, types)
    doc = _doc(flow.description.strip().partition("\n")[0] or f"{service}.{name}", 8)
    if offer.stream:
        part = result.removeprefix("_List[").removesuffix("]") if result.startswith("_List[") else "Any"
        head = f"    def {_word(name)}({', '.join(['self', *signature])}) -> AsyncIterator[{part}]:"
        return f'{head}\n{doc}\n        return self._calls.stream("{service}.{name}", {value})'
    signature += [*([] if "*" in signature else ["*"]), 'idempotency_key: str = ""', "timeout_s: float | None = None"]
    head = f"    async def {_word(name)}({', '.join(['self', *signature])}) -> {result}:"
    call = f'self._calls.call("{service}.{name}", {value}, key=idempotency_key, timeout_s=timeout_s)'
    if result == "None":
        return f"{head}\n{doc}\n        await {call}"
    return f"{head}\n{doc}\n        found: {result} = await {call}\n        return found"


def _parameters(schema: Mapping[str, Any], title: str, types: _Types) -> tuple[list[str], str]:
    """The parameters of a method and the value that it sends: fields of an object by keyword, anything else as one value."""
    definitions = schema.get("$defs", {})
    root = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    properties = root.get("properties")
    if root.get("type") == "null":
        return [], "None"
    if not properties or not all(each.isidentifier() and each not in _TAKEN for each in properties):
        kind = types.of(schema, f"{title}_input", definitions)
        return ([f"value: {kind}"] if kind != "Any" else ["value: Any = None"]), "value"
    parameters = []
    for each, inner in properties.items():
        kind = types.of(inner, f"{title}_{each}", definitions)
        if each not in root.get("required", ()):
            kind = f"{kind if 'None' in kind.split(' | ') else f'{kind} | None'} = None"
        parameters.append(f"{_word(each)}: {kind}")
    return ["*", *parameters], f"_given({', '.join(f'{_word(each)}={_word(each)}' for each in properties)})"


def _word(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"{word}_" if keyword.iskeyword(word) else word


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]", name)) + "Service"


def _doc(text: str, indent: int) -> str:
    margin = " " * indent
    lines = textwrap.wrap(_sentence(text), WIDTH - indent - 6)
    if len(lines) == 1:
        return f'{margin}"""{lines[0]}"""'
    return f'{margin}"""' + f"\n{margin}".join(lines) + f'\n{margin}"""'


def _sentence(text: str) -> str:
    first = " ".join(text.strip().partition("\n\n")[0].split()).replace("\\", "").replace('"""', "'''")
    first = first[:1].upper() + first[1:]
    return first if first.endswith(".") else f"{first}."


def main() -> None:
    """Write the file anew."""
    TARGET.write_text(written())


if __name__ == "__main__":
    main()
