"""What callers of the MCP entrance see: methods offered to MCP, accepted tools, and virtual servers made of them (`omega.host.virtual`)."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from omega.adapters.mcp import McpEffector, ToolDescription, passed, reading
from omega.gateway.mcp import Shown, Source, View
from omega.host.arrangements import all_arranged
from omega.host.embedded import Omega
from omega.host.reputation import Reputation
from omega.host.tools import GUEST
from omega.host.virtual import SEPARATOR, VIRTUAL, clean, exposed, told_apart
from omega.kernel.compose import AnyFlow
from omega.kernel.effects import Effect
from omega.kernel.errors import InputError
from omega.kernel.ports import Line
from omega.kernel.scope import Scope
from omega.kernel.service import Offer, plays
from omega.runtime.recovery import pin_of

MAX_VIEWS: Final = 256
"""Views kept at once."""

FOLLOW_S: Final = 0.5
"""How often it is looked for virtual servers that another process arranged, in seconds."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A tool that could be shown: by which server or service, under which name of its own, and how."""

    origin: str
    own: str
    shown: Callable[[str, Mapping[str, Any]], Shown]

    @property
    def key(self) -> str:
        return self.origin + self.own


_Chosen = Sequence[tuple[_Found, Mapping[str, Any]]]
"""Tools to show, each with the entry that lists it; empty where none does."""


class ToolHall:
    """The tools of an open Omega as callers see them (`omega.gateway.mcp.Hall`). `offers` are the methods of installed services."""

    guest: ContextVar[Any] = GUEST

    def __init__(self, omega: Omega, offers: Callable[[], Sequence[Offer]]) -> None:
        self._omega, self._offers = omega, offers
        self._reputations: dict[str, Reputation] = {}
        self._servers: dict[str, dict[str, Any]] = {}
        self._looked_at = float("-inf")
        self._changes = 0
        self._views: dict[tuple[Any, ...], tuple[int, View]] = {}
        self._flows: dict[tuple[str, str, str], AnyFlow] = {}

    def changes(self, kind: str) -> int:
        """A number that grows whenever a list of that kind may have changed."""
        effector = self._omega.world.effectors.get("mcp")
        told = effector.changes(kind) if isinstance(effector, McpEffector) else 0
        return told + self._revision()

    def updates(self, server: str, uri: str, scope: Scope) -> int:
        """A number that grows whenever a resource that is watched at a tool server may have changed, as the caller sees it."""
        effector = self._omega.world.effectors.get("mcp")
        return effector.updates(server, uri, scope.tenant, scope.principal) if isinstance(effector, McpEffector) else 0

    def forget(self, server: str, uri: str, scope: Scope, *, modern: bool) -> None:
        """The caller watches a resource no longer, and its server could not be told."""
        effector = self._omega.world.effectors.get("mcp")
        if isinstance(effector, McpEffector):
            effector.forget(server, uri, scope.tenant, scope.principal, modern=modern)

    def passes(self, line: Line) -> bool:
        """Whether an execution is a call of an accepted tool that was passed on: its value is what the tool server itself said."""
        server, _, name = line.flow.partition("/")
        pin = self._omega.catalogue.pin(server, name)
        if pin is None:
            return False
        entries = [{}, *(entry for body in self._servers.values() for entry in body["tools"] if entry.get("approval"))]
        return any(pin_of(self._passed(pin, str(entry.get("approval", "")))) == line.digest for entry in entries)

    def standing(self, tool: Mapping[str, Any], scope: Scope) -> tuple[float, str] | None:
        """How reliable a shown tool has been, by the log of the caller's own tenant: that of others is not read for it."""
        kept = self._reputations.get(scope.tenant)
        if kept is None:
            if len(self._reputations) >= MAX_VIEWS:
                self._reputations.clear()
            kept = self._reputations[scope.tenant] = Reputation(self._omega.store, scope.tenant, self._omega.world.clock.now_us)
        return kept.standing(str(tool.get("_meta", {}).get("omega/tool", "")))

    def reader(self, server: str, method: str) -> AnyFlow:
        """The flow that passes a read on to a tool server."""
        return self._kept((server, method, "read"), lambda: reading(server, method))

    def view(self, name: str, scope: Scope) -> View:
        """What `scope` sees at `name`. Raises InputError (OMG-I002)."""
        revision = self._revision()
        key = (name, scope.tenant, scope.groups, scope.capabilities)
        kept = self._views.get(key)
        if kept is not None and kept[0] == revision:
            return kept[1]
        view = self._everything(scope) if not name else self._virtual(name, self._open_to(name, scope), scope)
        if len(self._views) >= MAX_VIEWS:
            self._views.clear()
        self._views[key] = (revision, view)
        return view

    # -- what there is

    def _revision(self) -> int:
        now = time.monotonic()
        if now - self._looked_at > FOLLOW_S:
            self._looked_at = now
            found = all_arranged(self._omega.store, VIRTUAL)
            self._changes += found != self._servers
            self._servers = found
        return self._changes + self._omega.catalogue.changes

    def _open_to(self, name: str, scope: Scope) -> dict[str, Any]:
        body = self._servers.get(name)
        if body is None or not self._is_open(body, scope):
            raise InputError("OMG-I002", f"there is no virtual server {name[:80]} for you", advice="omega mcp virtual lists them")
        return body

    def _is_open(self, body: Mapping[str, Any], scope: Scope) -> bool:
        at_home = scope.tenant == self._omega.settings.tenant
        groups = body.get("groups", [])
        return (at_home or scope.tenant in body.get("tenants", [])) and (not groups or any(group in scope.groups for group in groups))

    def _found(self) -> list[_Found]:
        catalogue = self._omega.catalogue
        methods = [_Found(f"{offer.service}.", offer.name, _method(offer)) for offer in self._offers() if "mcp" in offer.method.entrances]
        tools = [_Found(f"{pin.server}/", pin.name, self._tool(pin)) for _, pin in sorted(catalogue.pins.items())]
        return [*sorted(methods, key=lambda each: each.key), *tools]

    def _tool(self, pin: ToolDescription) -> Callable[[str, Mapping[str, Any]], Shown]:
        def shown(name: str, entry: Mapping[str, Any]) -> Shown:
            flow = self._passed(pin, str(entry.get("approval", "")))
            return Shown(flow=flow, tool=_tool_object(name, pin, entry), whole=True)

        return shown

    def _passed(self, pin: ToolDescription, role: str) -> AnyFlow:
        """An accepted tool that is passed on, to be approved by `role` where there is one."""
        return self._kept((f"{pin.server}/{pin.name}", pin.digest, role), lambda: passed(pin).approved_by(role) if role else passed(pin))

    def _kept(self, key: tuple[str, str, str], make: Callable[[], AnyFlow]) -> AnyFlow:
        """A flow made once: its digest is worked out once."""
        if key not in self._flows:
            self._flows[key] = make()
        return self._flows[key]

    # -- views

    def _everything(self, scope: Scope) -> View:
        """All methods offered to MCP, and all accepted tools; other tenants see of these what virtual servers open to them."""
        found = self._found()
        if scope.tenant == self._omega.settings.tenant:
            chosen: _Chosen = [(each, {}) for each in found]
        else:
            opened = [self._chosen(body, found) for _, body in sorted(self._servers.items()) if self._is_open(body, scope)]
            methods: _Chosen = [(each, {}) for each in found if each.origin.endswith(".")]
            chosen = [*methods, *(pair for pairs in opened for pair in pairs if not pair[0].origin.endswith("."))]
        return self._view("", {}, chosen, scope)

    def _virtual(self, name: str, body: Mapping[str, Any], scope: Scope) -> View:
        return self._view(name, body, self._chosen(body, self._found()), scope)

    def _chosen(self, body: Mapping[str, Any], found: Iterable[_Found]) -> list[tuple[_Found, Mapping[str, Any]]]:
        chosen: list[tuple[_Found, Mapping[str, Any]]] = []
        for each in found:
            fitting = [entry for entry in body["tools"] if fnmatch.fnmatchcase(each.key, entry["tool"])]
            if fitting and not fitting[-1].get("hidden"):
                chosen.append((each, fitting[-1]))
        return chosen

    def _view(self, name: str, body: Mapping[str, Any], chosen: _Chosen, scope: Scope) -> View:
        prefix = body.get("prefix", True)
        tools: dict[str, Shown] = {}
        lacking: set[str] = set()
        for each, entry in chosen:
            label = str(entry.get("as") or exposed(each.origin[:-1] if prefix else "", each.own))
            if label in tools:
                label = told_apart(label, each.key)
            shown = each.shown(label, entry)
            missing = scope.missing(shown.flow.needs)
            lacking |= missing
            if not missing and _for_caller(shown, scope):
                tools[label] = shown
        servers = sorted({each.origin[:-1] for each, _ in chosen if each.origin.endswith("/")})
        sources = tuple(Source(server, f"{clean(server)}{SEPARATOR}" if prefix else "") for server in servers)
        return View(
            name=name,
            title=str(body.get("title", "")),
            instructions=str(body.get("instructions", "")),
            tools=tools,
            sources=sources if body.get("resources", True) and scope.has("tools:call") else (),
            searchable=bool(body.get("search", True)),
            why_empty="" if tools else _why_empty(chosen, lacking),
        )


def _tool_object(name: str, pin: ToolDescription, entry: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        "name": name,
        "title": entry.get("title") or pin.title,
        "description": entry.get("description") or pin.description,
        "inputSchema": dict(pin.input_schema),
        "outputSchema": pin.output_schema,
        "annotations": dict(pin.annotations),
    }
    kept = {key: value for key, value in made.items() if value or key in ("name", "inputSchema")}
    return kept | {"_meta": {"omega/tool": f"{pin.server}/{pin.name}", "omega/effect": pin.effect.value, "omega/pin": pin.digest}}


def _method(offer: Offer) -> Callable[[str, Mapping[str, Any]], Shown]:
    def shown(name: str, entry: Mapping[str, Any]) -> Shown:
        schema, wrapped = _input(offer.flow)
        made = {
            "name": name,
            "title": entry.get("title") or "",
            "description": entry.get("description") or offer.flow.description,
            "inputSchema": schema,
            "outputSchema": _output(offer.flow),
            "annotations": _hints(offer.flow.effect),
        }
        role = str(entry.get("approval", ""))
        flow = offer.flow.approved_by(role) if role and offer.flow.effect is not Effect.PURE else offer.flow
        kept = {key: value for key, value in made.items() if value or key in ("name", "inputSchema")}
        meta = {"omega/tool": f"{offer.service}.{offer.name}", "omega/effect": flow.effect.value, "omega/roles": list(offer.method.roles)}
        rate, keyed = offer.method.rate, offer.method.keyed
        return Shown(flow=flow, tool=kept | {"_meta": meta}, whole=False, wrapped=wrapped, rate=rate, keyed=keyed)

    return shown


def _input(flow: AnyFlow) -> tuple[dict[str, Any], str]:
    """The input schema of a flow as an object, and the property that stands for it where it is none."""
    if flow.input.annotation is type(None):
        return {"type": "object", "properties": {}, "additionalProperties": False}, ""
    schema = dict(flow.input.schema())
    if schema.get("type") == "object":
        return schema, ""
    definitions = schema.pop("$defs", None)
    made = {"type": "object", "properties": {"input": schema}, "required": ["input"], "additionalProperties": False}
    return made | ({"$defs": definitions} if definitions else {}), "input"


def _output(flow: AnyFlow) -> dict[str, Any] | None:
    schema = flow.output.schema()
    return schema if schema.get("type") == "object" else None


def _hints(effect: Effect) -> dict[str, bool]:
    reads = effect.rank <= Effect.READ.rank
    if reads:
        return {"readOnlyHint": True}
    return {"readOnlyHint": False, "destructiveHint": effect is not Effect.IDEMPOTENT, "idempotentHint": effect is Effect.IDEMPOTENT}


def _for_caller(shown: Shown, scope: Scope) -> bool:
    meta = shown.tool.get("_meta", {})
    roles = tuple(meta.get("omega/roles", ()))
    return not roles or plays(scope, roles)


def _why_empty(chosen: _Chosen, lacking: set[str]) -> str:
    if not chosen:
        return "nobody has accepted a tool that is shown here: omega mcp add NAME -- COMMAND, or omega mcp tools NAME --accept"
    if lacking:
        return f"your passport lacks {', '.join(sorted(lacking))}, which every tool here takes"
    return "the tools here are for roles that you do not have"


def passed_known(omega: Omega, name: str, digest: str) -> AnyFlow | None:
    """The passed tool `SERVER/TOOL` whose pin is `digest`, also where a virtual server puts it under approval: what a process that did not
    start it goes on with. None when no tool that is accepted now is that one."""
    server, _, own = name.partition("/")
    pin = omega.catalogue.pin(server, own)
    if pin is None:
        return None
    bodies = all_arranged(omega.store, VIRTUAL).values()
    roles = {str(entry["approval"]) for body in bodies for entry in body["tools"] if entry.get("approval")}
    variants = (passed(pin), *(passed(pin).approved_by(role) for role in sorted(roles)))
    return next((flow for flow in variants if pin_of(flow) == digest), None)
