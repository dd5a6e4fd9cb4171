"""Omega, the governed runtime for AI agents: typed flows, run durably through one policy gate, with proof of what happened.

The public surface, sorted and lazy: importing `omega` loads nothing until a name is used. A test holds the list to
`tests/repo/surface.txt`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Budget": "omega.kernel.budget",
    "Command": "omega.kernel.effects",
    "CommandResult": "omega.kernel.effects",
    "Context": "omega.kernel.context",
    "DefinitionError": "omega.kernel.errors",
    "Denied": "omega.kernel.errors",
    "Effect": "omega.kernel.effects",
    "Flow": "omega.kernel.flow",
    "FlowError": "omega.kernel.errors",
    "InputError": "omega.kernel.errors",
    "IntegrityError": "omega.kernel.errors",
    "ModelCall": "omega.kernel.effects",
    "OmegaError": "omega.kernel.errors",
    "ReadFile": "omega.kernel.effects",
    "StorageError": "omega.kernel.errors",
    "Suspended": "omega.kernel.errors",
    "ToolCall": "omega.kernel.effects",
    "UpstreamError": "omega.kernel.errors",
    "WriteFiles": "omega.kernel.effects",
    "cache": "omega.kernel.compose",
    "fallback": "omega.kernel.compose",
    "flow": "omega.kernel.flow",
    "foreach": "omega.kernel.compose",
    "parallel": "omega.kernel.compose",
    "race": "omega.kernel.compose",
    "retry": "omega.kernel.compose",
    "run": "omega.host.embedded",
    "sequence": "omega.kernel.compose",
    "server": "omega.kernel.servers",
    "switch": "omega.kernel.compose",
    "timeout": "omega.kernel.compose",
    "tool": "omega.kernel.flow",
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
    from omega.kernel.servers import server as server
