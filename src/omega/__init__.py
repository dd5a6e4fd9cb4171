"""Omega, the governed runtime for AI agents: typed flows, run durably through one policy gate, with proof of what happened.

The public surface, sorted and lazy: importing `omega` loads nothing until a name is used. A test holds the list to
`tests/repo/surface.txt`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Among": "omega.kernel.learning",
    "Budget": "omega.kernel.budget",
    "Command": "omega.kernel.effects",
    "CommandResult": "omega.kernel.effects",
    "Context": "omega.kernel.context",
    "DefinitionError": "omega.kernel.errors",
    "Denied": "omega.kernel.errors",
    "Effect": "omega.kernel.effects",
    "Err": "omega.kernel.attempts",
    "Flow": "omega.kernel.flow",
    "FlowError": "omega.kernel.errors",
    "Grid": "omega.kernel.learning",
    "Group": "omega.kernel.groups",
    "InputError": "omega.kernel.errors",
    "IntegrityError": "omega.kernel.errors",
    "ModelCall": "omega.kernel.effects",
    "Ok": "omega.kernel.attempts",
    "OmegaError": "omega.kernel.errors",
    "ReadFile": "omega.kernel.effects",
    "Shots": "omega.kernel.learning",
    "StorageError": "omega.kernel.errors",
    "Suspended": "omega.kernel.errors",
    "ToolCall": "omega.kernel.effects",
    "UpstreamError": "omega.kernel.errors",
    "WriteFiles": "omega.kernel.effects",
    "agent": "omega.kernel.agents",
    "approval": "omega.kernel.people",
    "attempt": "omega.kernel.attempts",
    "batch": "omega.kernel.repeat",
    "cache": "omega.kernel.compose",
    "delay": "omega.kernel.repeat",
    "fallback": "omega.kernel.compose",
    "flow": "omega.kernel.flow",
    "foreach": "omega.kernel.compose",
    "form": "omega.kernel.people",
    "gather": "omega.kernel.repeat",
    "group": "omega.kernel.groups",
    "learn": "omega.kernel.learning",
    "loop": "omega.kernel.repeat",
    "optimize": "omega.kernel.adapt",
    "parallel": "omega.kernel.compose",
    "race": "omega.kernel.compose",
    "reduce": "omega.kernel.repeat",
    "retry": "omega.kernel.compose",
    "run": "omega.host.embedded",
    "saga": "omega.kernel.sagas",
    "scatter": "omega.kernel.repeat",
    "sequence": "omega.kernel.compose",
    "server": "omega.kernel.servers",
    "stream": "omega.kernel.streams",
    "switch": "omega.kernel.compose",
    "timeout": "omega.kernel.compose",
    "tool": "omega.kernel.flow",
    "tuned": "omega.kernel.learning",
    "wait_for": "omega.kernel.people",
    "when": "omega.kernel.compose",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - a literal would be a second list to keep


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'omega' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from omega.host.embedded import run as run
    from omega.kernel.adapt import optimize as optimize
    from omega.kernel.agents import agent as agent
    from omega.kernel.attempts import Err as Err
    from omega.kernel.attempts import Ok as Ok
    from omega.kernel.attempts import attempt as attempt
    from omega.kernel.budget import Budget as Budget
    from omega.kernel.compose import cache as cache
    from omega.kernel.compose import fallback as fallback
    from omega.kernel.compose import foreach as foreach
    from omega.kernel.compose import parallel as parallel
    from omega.kernel.compose import race as race
    from omega.kernel.compose import retry as retry
    from omega.kernel.compose import sequence as sequence
    from omega.kernel.compose import switch as switch
    from omega.kernel.compose import timeout as timeout
    from omega.kernel.compose import when as when
    from omega.kernel.context import Context as Context
    from omega.kernel.effects import Command as Command
    from omega.kernel.effects import CommandResult as CommandResult
    from omega.kernel.effects import Effect as Effect
    from omega.kernel.effects import ModelCall as ModelCall
    from omega.kernel.effects import ReadFile as ReadFile
    from omega.kernel.effects import ToolCall as ToolCall
    from omega.kernel.effects import WriteFiles as WriteFiles
    from omega.kernel.errors import DefinitionError as DefinitionError
    from omega.kernel.errors import Denied as Denied
    from omega.kernel.errors import FlowError as FlowError
    from omega.kernel.errors import InputError as InputError
    from omega.kernel.errors import IntegrityError as IntegrityError
    from omega.kernel.errors import OmegaError as OmegaError
    from omega.kernel.errors import StorageError as StorageError
    from omega.kernel.errors import Suspended as Suspended
    from omega.kernel.errors import UpstreamError as UpstreamError
    from omega.kernel.flow import Flow as Flow
    from omega.kernel.flow import flow as flow
    from omega.kernel.flow import tool as tool
    from omega.kernel.groups import Group as Group
    from omega.kernel.groups import group as group
    from omega.kernel.learning import Among as Among
    from omega.kernel.learning import Grid as Grid
    from omega.kernel.learning import Shots as Shots
    from omega.kernel.learning import learn as learn
    from omega.kernel.learning import tuned as tuned
    from omega.kernel.people import approval as approval
    from omega.kernel.people import form as form
    from omega.kernel.people import wait_for as wait_for
    from omega.kernel.repeat import batch as batch
    from omega.kernel.repeat import delay as delay
    from omega.kernel.repeat import gather as gather
    from omega.kernel.repeat import loop as loop
    from omega.kernel.repeat import reduce as reduce
    from omega.kernel.repeat import scatter as scatter
    from omega.kernel.sagas import saga as saga
    from omega.kernel.servers import server as server
    from omega.kernel.streams import stream as stream
