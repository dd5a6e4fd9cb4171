"""What a server says about a tool, frozen by a digest: a tool that says something else tomorrow is another tool.

Annotations are hints by their author, so they count only once an operator has accepted ("pinned") the description they came with.
From a pinned description the effect follows:

    annotations                                        effect
    readOnlyHint                                       read
    idempotentHint and destructiveHint is false        idempotent
    anything else, also destructive or silent          write

A destructive tool is a `write` and not `irreversible`: the protocol takes silence for destructive, so most tools that say nothing
would need a person's approval for each call. Policy can demand one for any tool by name.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from omega.adapters.mcp.shapes import Shape, shape_of
from omega.kernel.effects import Effect
from omega.kernel.errors import InputError
from omega.wire.mcp.headers import marked

MAX_DIFF_LINES: Final = 60
"""Lines of difference that an error carries; a longer one is cut and says so."""


@dataclass(frozen=True)
class ToolDescription:
    """One tool of one server: name, title, description, JSON Schemas of input and output (None: none declared), annotations as sent."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Any = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal SHA-256 over the canonical JSON of everything but the server's name."""
        content = self.to_json()
        del content["server"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return f"sha256:{hashlib.sha256(canonical.encode('utf-8', 'surrogatepass')).hexdigest()}"

    @cached_property
    def shape(self) -> Shape | None:
        """What arguments obviously fit the input schema; None where its validator has to say so."""
        return shape_of(self.input_schema)

    @cached_property
    def marks(self) -> dict[tuple[str, ...], tuple[str, str]]:
        """The arguments that go as headers too (`omega.wire.mcp.headers.marked`)."""
        return marked(self.input_schema)

    @property
    def effect(self) -> Effect:
        """What calling the tool does to the world, by the annotations (see the table above). Trust it only when pinned."""
        if self.annotations.get("readOnlyHint") is True:
            return Effect.READ
        if self.annotations.get("idempotentHint") is True and self.annotations.get("destructiveHint") is False:
            return Effect.IDEMPOTENT
        return Effect.WRITE

    def to_json(self) -> dict[str, Any]:
        """The description as plain data."""
        return {
            "server": self.server,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "input_schema": dict(self.input_schema),
            "output_schema": self.output_schema,
            "annotations": dict(self.annotations),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolDescription:
        """The description from plain data. Raises InputError (OMG-I001) when it does not fit."""
        try:
            made = cls(
                str(data["server"]),
                str(data["name"]),
                str(data.get("title", "")),
                str(data.get("description", "")),
                dict(data["input_schema"]),
                data.get("output_schema"),
                dict(data.get("annotations", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("OMG-I001", f"tool description does not fit: {type(error).__name__} {error}") from error
        return made

    def differences(self, other: ToolDescription) -> list[str]:
        """What changed from this description to `other`, as lines of a unified diff that a person reads; empty when nothing did."""
        lines = list(difflib.unified_diff(self._lines(), other._lines(), "pinned", "offered now", lineterm="", n=1))
        if len(lines) > MAX_DIFF_LINES:
            lines = [*lines[:MAX_DIFF_LINES], f"and {len(lines) - MAX_DIFF_LINES} more lines"]
        return lines

    def changed_fields(self, other: ToolDescription) -> list[str]:
        """Names of the fields in which the two differ."""
        mine, theirs = self.to_json(), other.to_json()
        return [
            name for name in mine if name != "server" and json.dumps(mine[name], sort_keys=True) != json.dumps(theirs[name], sort_keys=True)
        ]

    def _lines(self) -> list[str]:
        content = self.to_json()
        del content["server"]
        content["description"] = self.description.splitlines()
        return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
