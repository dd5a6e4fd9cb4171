"""Which policies a question can reach, and how those are put to the engine.

Theory. Cedar walks every policy of the set that it is given: scope first, then conditions. An index over what scopes name finds the
policies whose scope can match, so the engine is given those alone. For nearly every form of scope the index is exact: being found *proves*
that this part of the scope matches. What is proven need not be asked again, so it is left out (`lean`), and with it the look for ancestors.
A scope that matches cannot err, so neither the decision nor the errors change by it. What is found by half of what it says only (a caller
by name, a flow as an ancestor, an entity without a name, another tenant's callers in a tenant's own policy) stays in.

Annotations decide nothing and stay with the loaded policy. What remains of the policies of two tenants who were given the same rules is
the same text, so it is parsed and kept once.

`read_of` says which parts of the context the conditions can read: what none reads need not be sent. Whoever uses the context in another
way than to read one attribute of it, reads all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from omega.warden.question import ACTIONS, CONTEXT, GROUP_ACTIONS, PRINCIPALS, Question
from omega.warden.source import Policy

Key = tuple[str, str, str, str, str, str, frozenset[str]]
"""What decides which policies a question can reach: action, kind of caller, its tenant, flow, server, the target's tenant, groups."""

_ANY: Mapping[str, Any] = {"op": "All"}
_by_order = attrgetter("order")


@dataclass(frozen=True, slots=True)
class Reach:
    """What the scope of a policy can match. Empty text: anything."""

    actions: frozenset[str]
    principal_type: str = ""
    principal_tenant: str = ""
    group: str = ""
    flow: str = ""
    server: str = ""
    resource_tenant: str = ""

    def admits(self, key: Key) -> bool:
        """Whether questions of `key` can be within the scope; the tenants have been looked at before."""
        action, kind, _, flow, server, _, groups = key
        named = self.principal_type in ("", kind) and self.flow in ("", flow) and self.server in ("", server)
        return named and action in self.actions and (not self.group or self.group in groups)


@dataclass(slots=True)
class Index:
    """Policies by the tenants that their scopes name (empty: any), with the other names that scopes mention."""

    by_tenant: dict[tuple[str, str], list[tuple[Reach, Policy]]] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    flows: set[str] = field(default_factory=set)
    servers: set[str] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)

    def add(self, policy: Policy) -> None:
        """Have `policy` found by the questions that its scope can match."""
        reach = reach_of(policy)
        if policy.tenant:
            reach = replace(reach, principal_tenant=policy.tenant)
        self.by_tenant.setdefault((reach.principal_tenant, reach.resource_tenant), []).append((reach, policy))
        self.groups.add(reach.group)
        self.flows.add(reach.flow)
        self.servers.add(reach.server)
        self.callers.add(reach.principal_tenant)
        self.targets.add(reach.resource_tenant)

    def key(self, question: Question) -> Key:
        """What decides the slice of `question`: names that no scope mentions become empty."""
        server, tenant, target = question.tool[0], question.tenant, question.target_tenant
        return (
            question.action,
            question.principal_type,
            tenant if tenant in self.callers else "",
            question.flow if question.flow in self.flows else "",
            server if server in self.servers else "",
            target if target in self.targets else "",
            question.groups & self.groups,
        )

    def reaching(self, key: Key) -> tuple[Policy, ...]:
        """The policies whose scope can match, in file order."""
        caller, target = key[2], key[5]
        found = [
            policy
            for tenants in {(caller, target), (caller, ""), ("", target), ("", "")}
            for reach, policy in self.by_tenant.get(tenants, ())
            if reach.admits(key)
        ]
        return tuple(sorted(found, key=_by_order))


def reach_of(policy: Policy) -> Reach:
    """What the scope of `policy` can match."""
    rule = json.loads(policy.rule)
    principal, resource = rule["principal"], rule["resource"]
    caller, target = _named(principal), _named(resource)
    return Reach(
        actions=_actions(rule["action"]),
        principal_type=principal.get("entity_type", "") or (caller[0] if principal["op"] == "==" else ""),
        principal_tenant=caller[1] if caller[0] == "Tenant" else "",
        group=caller[1] if caller[0] == "Group" else "",
        flow=target[1] if target[0] == "Flow" else "",
        server=target[1] if target[0] == "Server" else "",
        resource_tenant=target[1] if target[0] == "Tenant" else "",
    )


def lean(policy: Policy) -> dict[str, Any]:
    """The rule of `policy` in Cedar's JSON form, without annotations and without what its being found by the index proves."""
    rule: dict[str, Any] = json.loads(policy.rule)
    rule.pop("annotations", None)
    if _proves_caller(rule["principal"], policy.tenant):
        rule["principal"] = _ANY
    if _proves_action(rule["action"]):
        rule["action"] = _ANY
    if _proves_target(rule["resource"]):
        rule["resource"] = _ANY
    return rule


def read_of(rules: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The attributes of the context that the conditions of `rules` can read; all of them where one uses the context as a whole."""
    found: set[str] = set()
    for rule in rules:
        _read(rule.get("conditions", ()), found)
    return frozenset(found)


def _read(node: Any, found: set[str]) -> None:
    if isinstance(node, Mapping):
        if node.get("Var") == "context":
            found |= CONTEXT
        for operator, inner in node.items():
            if operator in (".", "has") and isinstance(inner, Mapping) and inner.get("left") == {"Var": "context"}:
                found.add(inner["attr"])
            else:
                _read(inner, found)
    elif isinstance(node, list | tuple):
        for child in node:
            _read(child, found)


def _proves_caller(scope: Mapping[str, Any], tenant: str) -> bool:
    """Whether every caller that the index admits is within `scope`, of a policy that is `tenant`'s own (empty: nobody's)."""
    if "entity_type" in scope and scope["entity_type"] not in PRINCIPALS.values():
        return False
    kind, name = _named(scope)
    if kind == "Tenant":
        return _within(scope) and bool(name) and tenant in ("", name)
    return _open(scope) or (kind == "Group" and _within(scope) and bool(name))


def _proves_action(scope: Mapping[str, Any]) -> bool:
    entities = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    if any(entity["type"] != "Action" for entity in entities):
        return False
    return scope["op"] != "==" or entities[0]["id"] in ACTIONS


def _proves_target(scope: Mapping[str, Any]) -> bool:
    if scope.get("entity_type", "Flow") != "Flow":
        return False
    kind, name = _named(scope)
    if scope["op"] == "==":
        return kind == "Flow" and bool(name)
    return _open(scope) or (kind in ("Server", "Tenant") and _within(scope) and bool(name))


def _open(scope: Mapping[str, Any]) -> bool:
    """Whether a principal or resource scope names no entity: it says `principal`, or the type alone."""
    return scope["op"] == "All" or (scope["op"] == "is" and "in" not in scope)


def _within(scope: Mapping[str, Any]) -> bool:
    """Whether it says `in` an entity, with the type or without."""
    return scope["op"] == "in" or (scope["op"] == "is" and "in" in scope)


def _named(scope: Mapping[str, Any]) -> tuple[str, str]:
    """(type, id) of the one entity that a principal or resource scope names, else two empty texts."""
    entity = scope.get("entity") or scope.get("in", {}).get("entity") or {"type": "", "id": ""}
    return entity["type"], entity["id"]


def _actions(scope: Mapping[str, Any]) -> frozenset[str]:
    """The askable actions that an action scope admits."""
    if scope["op"] == "All":
        return frozenset(ACTIONS)
    named = [entity["id"] for entity in scope.get("entities") or [scope["entity"]]]
    return frozenset(action for name in named for action in GROUP_ACTIONS.get(name, (name,)))
