"""What the protocol needs of the process beside the core: which tools a caller sees under which name, and where resources come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from omega.kernel.adapt import Rate
from omega.kernel.compose import AnyFlow
from omega.kernel.ports import Line
from omega.kernel.scope import Scope
from omega.wire.mcp.headers import marked


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One tool as a caller sees it: `tool` is the protocol's own object, `flow` what a call of it runs.

    A `whole` tool takes the parameters of the call and gives the protocol's own result; any other takes its arguments (under `wrapped`, if
    its input is no object) and gives a plain value. `rate` is how often one caller may call it; a `keyed` one takes an idempotency key.
    """

    flow: AnyFlow
    tool: Mapping[str, Any]
    whole: bool
    wrapped: str = ""
    rate: Rate | None = None
    keyed: bool = False

    @property
    def name(self) -> str:
        """The name under which it is called here."""
        return str(self.tool["name"])

    @cached_property
    def marks(self) -> dict[tuple[str, ...], tuple[str, str]]:
        """The arguments that have a header of their own."""
        return marked(self.tool["inputSchema"])


@dataclass(frozen=True, slots=True)
class Source:
    """A tool server whose resources and prompts are shown, with what the names of its prompts begin with here."""

    server: str
    prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """What one caller sees at one address. `why_empty` says why there is no tool, where there is none."""

    name: str
    title: str = ""
    instructions: str = ""
    tools: Mapping[str, Shown] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    searchable: bool = True
    why_empty: str = ""


class Hall(Protocol):
    """The tools of the installation, as callers see them. The host implements it (`omega.host.virtual`)."""

    @property
    def guest(self) -> ContextVar[Any]:
        """The client for whom the current task works: adapters hear of it through this variable, and nobody records it."""
        ...

    def view(self, name: str, scope: Scope) -> View:
        """What `scope` sees at the virtual server `name`; everything that it may see, where the name is empty.

        Raises InputError (OMG-I002) when the caller's tenant has no virtual server of that name, or it is not for this caller.
        """
        ...

    def reader(self, server: str, method: str) -> AnyFlow:
        """The flow that passes a read (`resources/read`, `prompts/get`, ...) on to a tool server."""
        ...

    def standing(self, tool: Mapping[str, Any], scope: Scope) -> tuple[float, str] | None:
        """How reliable a shown tool has been for the tenant of `scope`, from 0 to 1, and in words; None where nothing is known."""
        ...

    def changes(self, kind: str) -> int:
        """A number that grows whenever a list of that kind (`tools`, `prompts`, `resources`) may have changed."""
        ...

    def updates(self, server: str, uri: str, scope: Scope) -> int:
        """A number that grows whenever a resource that is watched at a tool server may have changed, as `scope` sees it: where callers
        have sessions of their own there, what another's session heard does not count."""
        ...

    def forget(self, server: str, uri: str, scope: Scope, *, modern: bool) -> None:
        """The caller, a client of the newer era or not (`modern`), watches a resource no longer, and its server could not be told."""
        ...

    def passes(self, line: Line) -> bool:
        """Whether an execution is a call of a tool that was passed on: its value is then the protocol's own result, by the tool server
        alone, never something that a caller could have it say."""
        ...
