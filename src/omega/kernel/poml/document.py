"""What a document holds, as data: nodes, how they are joined, their types, and references to secrets. Made by `parse` and `from_flow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.poml.connect import Chain
from omega.kernel.poml.layout import lay_out, plain_of
from omega.kernel.poml.problems import Mark
from omega.kernel.poml.tree import Branch

SCHEMA_VERSION = "2.0.0"
"""The version of the document format that this release writes."""

READ_MINOR = 0
"""The newest minor version of format 2 that this release knows; a document of a later one is read when it uses nothing that is new."""

SCHEMA_FILE = "schema-2.0.0.json"
"""The published JSON Schema, a resource of this package."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A type as a document gives it: the name of one of its `types` or of a Python type, or a JSON Schema. One of the two is empty."""

    name: str
    schema: Mapping[str, Any]
    at: Mark


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `kind` is the key that says what it is, `value` what stands there, `fields` what else belongs to it; `options` wrap it."""

    key: str
    kind: str
    value: Any
    at: Mark
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[tuple[str, Any], ...] = ()

    def references(self) -> list[Chain]:
        """Every expression in it, in the order of the text."""
        found = [self.value, *self.fields.values(), *(value for _, value in self.options)]
        return [chain for each in found for chain in _chains(each)]


@dataclass(frozen=True, slots=True)
class ToolServer:
    """An MCP server that the document needs: a command or a url, and its variables and headers by names of `secrets`."""

    name: str
    argv: tuple[str, ...]
    url: str
    env: Mapping[str, str]
    headers: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Document:
    """A workflow as written. `secrets` maps a name to the environment variable it is read from; `tree` keeps text, order and comments."""

    file: str
    name: str
    version: str
    description: str
    nodes: Mapping[str, Node]
    connect: Chain
    connect_at: Mark
    types: Mapping[str, Mapping[str, Any]]
    input: Typed | None
    output: Typed | None
    secrets: Mapping[str, str]
    servers: Mapping[str, ToolServer]
    tree: Branch

    @property
    def text(self) -> str:
        """The document, formatted."""
        return lay_out(self.tree)

    @property
    def plain(self) -> dict[str, Any]:
        """The document as plain data, as its JSON Schema sees it."""
        data: dict[str, Any] = plain_of(self.tree)
        return data


def _chains(value: Any) -> list[Chain]:
    if isinstance(value, Chain):
        return [value]
    if isinstance(value, Mapping):
        return [chain for each in value.values() for chain in _chains(each)]
    if isinstance(value, tuple):
        return [chain for each in value for chain in _chains(each)]
    return []
