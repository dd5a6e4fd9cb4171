"""A question to the policies: everything they may know of one step, as an immutable value, and how Cedar hears it.

Three rules make the question safe to ask:

* Ids travel as (type, id) pairs, never pasted into Cedar text, so no name can become syntax.
* A fact that Cedar cannot hold exactly (a float, NaN, null, a nested value, an integer beyond 64 bits) is refused, not dropped: a
  missing fact could switch off the `forbid` that asks for it.
* Capabilities are absent on purpose. The gate checks them before any policy, so losing one can never turn a deny into an allow.

Equal questions have equal answers: whatever changes the answer is a field here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from omega.kernel.effects import Effect
from omega.kernel.scope import SCHEDULER
from omega.kernel.verdict import Ask, Gate
from omega.warden.approvals import NO_ALIASES, Aliases, roles_of

RUN = "run"
"""The action of an entry. A touch is asked under the name of its effect."""

TOUCHES = tuple(effect.value for effect in Effect if effect.gated)
"""The actions of touches."""

DECISIONS = ("cancel", "approve", "answer", "resolve", "signal", "redrive")
"""The actions of what people decide about an execution: `runtime.decisions` asks for each before it is carried out."""

ACTIONS = (RUN, *TOUCHES, *DECISIONS)
"""Every action of the schema that can be asked."""

GROUP_ACTIONS: Mapping[str, frozenset[str]] = {"touch": frozenset(TOUCHES), "decide": frozenset(DECISIONS)}
"""Actions that stand for several."""

CONTEXT = frozenset({"approved", "cost_micros", "tokens", "own"})
"""Everything that the context of a question can hold; `own` is there for decisions alone."""

PRINCIPALS: Mapping[str, str] = {"agent": "Agent", "person": "Person", "service": "Service"}
"""The kinds of caller, by the word before the colon in a principal, with their Cedar types."""

MAX_NAME = 256
"""Longest tenant, principal, group, actor or flow name in characters: longer ones are no names."""

MAX_FACTS = 32
"""Most facts about a target: each is parsed on the hot path."""

MAX_FACT = 4_096
"""Longest text of one fact in characters."""

PUSHED = "fact:"
"""How the names of facts begin that the host pushed to the gate; no target may give itself one."""

_LONG = range(-(1 << 63), 1 << 63)


NOTHING_PUSHED: Mapping[str, str] = {}
NOBODY: frozenset[str] = frozenset()


class Unaskable(ValueError):
    """A question that Cedar could not hear exactly. The gate answers it with a deny (OMG-W002)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May `principal` do `action` on `flow`? Texts and sets only; `facts` are sorted (name, text) pairs.

    `own` matters to decisions alone: whether it is the caller's own execution.
    """

    tenant: str
    principal: str
    action: str
    flow: str
    groups: frozenset[str] = frozenset()
    actors: tuple[str, ...] = ()
    effect: str = Effect.WRITE.value
    kind: str = "task"
    needs: frozenset[str] = frozenset()
    owner: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    approved: frozenset[str] = frozenset()
    cost_micros: int = 0
    tokens: int = 0
    own: bool = False

    @property
    def principal_type(self) -> str:
        """The Cedar type of the caller. Raises Unaskable for a principal that is not `kind:name`."""
        kind, colon, name = self.principal.partition(":")
        if not colon or not name or kind not in PRINCIPALS:
            raise Unaskable(f"the principal is not one of {', '.join(f'{kind}:name' for kind in PRINCIPALS)}")
        return PRINCIPALS[kind]

    @property
    def principal_name(self) -> str:
        """The caller's name without its kind."""
        return self.principal.partition(":")[2]

    @property
    def target_tenant(self) -> str:
        """The tenant that owns the target: the caller's unless the facts said otherwise."""
        return self.owner or self.tenant

    @property
    def tool(self) -> tuple[str, str]:
        """(server, tool) when the flow is a tool (its name has a slash), else two empty texts."""
        server, slash, tool = self.flow.partition("/")
        return (server, tool) if slash else ("", "")

    def request(self) -> dict[str, Any]:
        """The question as Cedar's request, without its context: ids as (type, id)."""
        return {
            "principal": {"type": self.principal_type, "id": self.principal_name},
            "action": {"type": "Action", "id": self.action},
            "resource": {"type": "Flow", "id": self.flow},
        }

    def context(self, read: frozenset[str] = CONTEXT) -> str:
        """What changes from call to call, as Cedar's context: JSON text, of what is in `read` alone.

        Raises Unaskable for an amount that Cedar cannot hold, whether it is read or not.
        """
        if type(self.cost_micros) is not int or type(self.tokens) is not int:
            raise Unaskable("an amount is not a whole number")
        if self.cost_micros not in _LONG or self.tokens not in _LONG:
            raise Unaskable("an amount is not a whole number of 64 bits")
        parts = []
        if "approved" in read:
            parts.append(f'"approved":{_approved(self.approved) if self.approved else "[]"}')
        if "cost_micros" in read:
            parts.append(f'"cost_micros":{self.cost_micros}')
        if "tokens" in read:
            parts.append(f'"tokens":{self.tokens}')
        if "own" in read and self.action in DECISIONS:
            parts.append('"own":true' if self.own else '"own":false')
        return f"{{{','.join(parts)}}}"

    def constant(self) -> tuple[Any, ...]:
        """Every field but those of `context`."""
        caller = (self.tenant, self.principal, self.groups, self.actors)
        return (*caller, self.action, self.flow, self.effect, self.kind, self.needs, self.owner, self.facts)

    def entities(self) -> str:
        """Caller and target as Cedar's entity document. Both are always there: an absent entity would silence a `forbid`."""
        server, tool = self.tool
        caller = {
            "uid": {"type": self.principal_type, "id": self.principal_name},
            "attrs": {
                "tenant": _entity("Tenant", self.tenant),
                "name": self.principal_name,
                "delegated": any(actor != SCHEDULER for actor in self.actors),
                "actor": self.actors[0] if self.actors else "",
                "actors": list(self.actors),
            },
            "parents": [{"type": "Tenant", "id": self.tenant}, *({"type": "Group", "id": group} for group in sorted(self.groups))],
        }
        target = {
            "uid": {"type": "Flow", "id": self.flow},
            "attrs": {
                "tenant": _entity("Tenant", self.target_tenant),
                "name": self.flow,
                "server": server,
                "tool": tool,
                "effect": self.effect,
                "kind": self.kind,
                "needs": sorted(self.needs),
            },
            "parents": [{"type": "Tenant", "id": self.target_tenant}, *([{"type": "Server", "id": server}] if server else [])],
            "tags": dict(self.facts),
        }
        return json.dumps([caller, target], ensure_ascii=True, allow_nan=False)

    def check(self) -> None:
        """Raise Unaskable when a name is empty or too long, or a number does not fit Cedar's 64 bits."""
        names = (self.tenant, self.principal, self.flow, *self.groups, *self.actors, *self.needs)
        if not all(type(name) is str and 0 < len(name) <= MAX_NAME for name in names):
            raise Unaskable(f"a name is empty, is no text, or is longer than {MAX_NAME} characters")
        if self.action not in ACTIONS:
            raise Unaskable("a pure step touches nothing and is never asked for")
        for amount in (self.cost_micros, self.tokens):
            if type(amount) is not int or amount not in _LONG:
                raise Unaskable("an amount is not a whole number of 64 bits")
        _ = self.principal_type


def question_of(ask: Ask, *, pushed: Mapping[str, str] = NOTHING_PUSHED, aliases: Aliases = NO_ALIASES) -> Question:
    """What policies may know of `ask`. Raises Unaskable when something in it cannot be put to Cedar exactly.

    Of `ask.resource`, the fact `tenant` names the owner of the target, `server` and `tool` say which tool it is whatever the flow
    is called; all others become tags of the flow. `pushed` are facts that the host knows, as further tags under names of their own;
    `aliases` say who of the approvers is the same person.
    """
    scope = ask.scope
    facts = dict(ask.resource)
    server, tool = tool_of(ask)
    facts.pop("server", None)
    facts.pop("tool", None)
    owner = facts.pop("tenant", scope.tenant)
    if type(owner) is not str or not owner:
        raise Unaskable("the fact tenant is not a name")
    if any(type(name) is str and name.startswith(PUSHED) for name in facts):
        raise Unaskable(f"a fact about the target has a name of the gate's own, {PUSHED}...")
    question = Question(
        tenant=scope.tenant,
        principal=scope.principal,
        groups=scope.groups,
        actors=scope.actors,
        action=RUN if ask.gate is Gate.ENTRY else ask.effect.value,
        flow=f"{server}/{tool}" if tool else ask.flow,
        effect=ask.effect.value,
        kind=ask.kind,
        needs=ask.needs,
        owner="" if owner == scope.tenant else owner,
        facts=facts_of({**facts, **{PUSHED + name: text for name, text in pushed.items()}} if pushed else facts),
        approved=roles_of(ask.approvals, aliases) if ask.approvals else NOBODY,
        cost_micros=ask.estimate.cost_micros,
        tokens=ask.estimate.tokens,
    )
    question.check()
    return question


def tool_of(ask: Ask) -> tuple[str, str]:
    """(server, tool) of the tool that `ask` calls, by the facts or else by the flow's name; two empty texts when it is none.

    Raises Unaskable when the facts name half a tool, or what cannot be one.
    """
    server, tool = ask.resource.get("server", ""), ask.resource.get("tool", "")
    if type(server) is not str or type(tool) is not str or bool(server) != bool(tool) or "/" in server:
        raise Unaskable("the facts server and tool do not name a tool")
    if tool:
        return server, tool
    server, _, tool = ask.flow.partition("/")
    return (server, tool) if tool else ("", "")


def facts_of(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Facts as sorted (name, text) pairs: text stays, whole numbers and booleans are spelled out. Raises Unaskable for anything else."""
    if len(facts) > MAX_FACTS:
        raise Unaskable(f"more than {MAX_FACTS} facts about the target")
    return tuple(sorted((_name(name), _text(name, value)) for name, value in facts.items()))


def _name(name: Any) -> str:
    if type(name) is not str or not 0 < len(name) <= MAX_NAME:
        raise Unaskable("the name of a fact is empty, is no text, or is too long")
    return name


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and len(value) <= MAX_FACT:
        return str(value)
    if type(value) is int and value in _LONG:
        return str(value)
    raise Unaskable(f"the fact {name} is a {type(value).__name__} that policies cannot read: give text, a whole number or true/false")


def _entity(kind: str, name: str) -> dict[str, dict[str, str]]:
    return {"__entity": {"type": kind, "id": name}}


@lru_cache(1_024)
def _approved(approved: frozenset[str]) -> str:
    return json.dumps(sorted(approved))
