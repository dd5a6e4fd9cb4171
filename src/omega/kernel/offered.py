"""Tools by capability: an agent names what its tools may be, and gets those that are offered where and when it runs.

A capability of a tool is written as rights are, `area:verb`: the tool server (`*`: any), and the strongest effect that the tool may have
(`*`: any). `git:read` stands for the tools of the server `git` that only read, `*:idempotent` for every tool that at most does what is
safe to repeat. Which they are is looked up once, as the first step of the agent, and recorded: a resumed run and a replay have the same
tools, whatever is offered by then. Nothing is granted by it: each call goes through the gate under the tool's own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Body, Flow, Task, tool
from omega.kernel.effects import Effect, Request
from omega.kernel.errors import DefinitionError
from omega.kernel.scope import ANY as EVERY
from omega.kernel.scope import Scope
from omega.kernel.types import Type, type_of

MAX_OFFERED: Final = 16
"""Most capabilities that one agent names."""

MAX_STEM: Final = 50
"""Characters of an agent's name that its own steps are called by: their names have an end, too."""

CAPABILITY: Final = r"(\*|[a-z][a-z0-9_.-]{0,63}):(\*|read|idempotent|write|irreversible)"
"""How a capability of a tool is written."""

_CAPABILITY: Final = re.compile(CAPABILITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTools(Request):
    """The tools that `capabilities` stand for, as far as `caller` may call them by name; at most `most`, in the order of their names.

    Gives a list of {"tool": "server/tool", "effect", "description", "schema", "pin"}. Raises InputError (OMG-I001) where more fit.
    """

    port: ClassVar[str] = "offers"
    capabilities: tuple[str, ...]
    caller: Scope
    most: int


@dataclass(frozen=True, slots=True)
class Looking(Task):
    """The look at what is offered, as a leaf: capabilities go in, descriptions of tools come out."""

    most: int

    def parameters(self) -> Mapping[str, Any]:
        return {"most": self.most}


@dataclass(frozen=True, slots=True)
class Reach(Body):
    """What the tools of an agent may come to, known before anybody has looked: it stands for them in effect and needs, and never runs."""

    kind: ClassVar[str] = "offered"
    capabilities: tuple[str, ...]

    def parameters(self) -> Mapping[str, Any]:
        return {"capabilities": list(self.capabilities)}


def allows(capability: str, server: str, effect: Effect) -> bool:
    """Whether a tool of `server` with `effect` is one that `capability` stands for."""
    area, _, verb = capability.partition(":")
    return area in (EVERY, server) and (verb == EVERY or effect.rank <= Effect(verb).rank)


def reach(agent: str, capabilities: Sequence[str]) -> AnyFlow:
    """What tools by these capabilities may come to. Raises DefinitionError (OMG-F003) for what is no capability of a tool."""
    odd = next((each for each in capabilities if not isinstance(each, str) or _CAPABILITY.fullmatch(each) is None), None)
    if odd is not None or len(capabilities) > MAX_OFFERED:
        raise DefinitionError(
            "OMG-F003",
            f"agent {agent}: {str(odd)[:80]!r} is no capability of a tool" if odd is not None else f"agent {agent}: at most {MAX_OFFERED}",
            advice="write SERVER:EFFECT, such as git:read; either may be *",
        )
    verbs = (each.partition(":")[2] for each in capabilities)
    most = max((Effect.IRREVERSIBLE if verb == EVERY else Effect(verb) for verb in verbs), key=lambda effect: effect.rank)
    made = tuple(dict.fromkeys(capabilities))
    named = f"{agent[:MAX_STEM]}.offered"
    return Flow(named, Reach(made), type_of(Any), type_of(Any), effect=most, needs=frozenset({"tools:call"}))


def look(agent: str, most: int) -> AnyFlow:
    """The step that looks for the tools of an agent: at most `most`."""

    async def looked(ctx: Context, capabilities: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await ctx.touch(OfferedTools(capabilities=tuple(capabilities), caller=ctx.scope, most=most))
        return found

    return Flow(
        name=f"{agent[:MAX_STEM]}.tools",
        body=Looking(looked, True, True, "capabilities", "", most),
        input=type_of(list[str]),
        output=type_of(list[dict[str, Any]]),
        effect=Effect.READ,
        needs=frozenset({"tools:call"}),
    )


def tools_of(found: Iterable[Mapping[str, Any]], known: Iterable[str]) -> tuple[AnyFlow, ...]:
    """What was found, as tools, without those that the agent names itself (`known`).

    A tool has at most the effect that was recorded: one whose accepted description says more by the time it is called is refused then
    (OMG-F003), so that nobody decides about one effect and gets another.
    """
    taken = set(known)
    return tuple(_tool(each) for each in found if each["tool"] not in taken)


def _tool(found: Mapping[str, Any]) -> AnyFlow:
    server, _, name = str(found["tool"]).partition("/")
    leaf: AnyFlow = tool(server, name, effect=Effect(found["effect"]))
    takes = Type(dict[str, Any], found["schema"] or None, name=f"{leaf.name} arguments")
    return replace(leaf, description=str(found["description"]), input=takes, _digest=[])
