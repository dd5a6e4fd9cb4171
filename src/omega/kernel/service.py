"""Services: named, versioned groups of flows, written as a class, reachable from every entrance.

A feature package says in its `__init__.py` that it exists, and nothing more:

    manifest = Manifest(name="insights", version="1.0.0", summary="what ran", home="omega.features.insights.service:Insights")

Its code loads on the first call. The class holds one decorated method per verb; each becomes a flow called `insights.summary`, with its
types, effect and needs, and takes the road like any other. Entrances (command line, later HTTP, MCP, client) are made from these flows; a
feature knows none of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from omega.kernel.adapt import Rate, rate_of
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Task
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError, Denied
from omega.kernel.flow import flow
from omega.kernel.scope import Scope
from omega.kernel.streams import stream as streaming

ENTRANCES = ("cli", "client", "http", "mcp", "studio", "voice")
"""Where a method may be reached."""

OPERATOR = "operator"
"""The role of those who run the installation: people of this group, or owners, in the tenant of the installation itself."""

INSTALLATION = "local"
"""The tenant of the installation itself: the only one whose people can be operators."""

LONGEST_CACHE_S = 86_400.0
"""Longest time that an answer may be kept by whoever asked, in seconds."""

_MARK = "__omega_method__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Personal:
    """How the tables of a feature are searched for a person, and how what they hold of one is destroyed: names of its transactions.

    named     question `{"after": name, "most": n}`: the names, in order and after that one, under which something is kept of somebody
    told      question `{"subjects": names, "after": id}`: what is kept of them, as objects with an `id`, in its order; at the end nothing
    erase     change `{"subjects": names, "made": results}`: destroy that, and what changes made whose results are given; gives
              `{"erased": n}`, with `left`, how much has to be ended or revoked first
    destroys  changes that destroy something because a caller says so: refused while a legal hold stands on the tenant
    trims     changes that drop, by the way, what is over its time: given `held`, whether a hold stands, and dropping nothing then
    """

    named: str
    told: str
    erase: str
    destroys: tuple[str, ...] = ()
    trims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """That a feature exists: data only. `home` is `module:Class`, loaded on the first call; `tables` is `module:SCHEMA`, where the feature
    keeps data of its own, loaded when it is first touched; one that has tables says with `personal` how people are found in them."""

    name: str
    version: str
    summary: str
    home: str
    tables: str = ""
    personal: Personal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a method is offered.

    `effect`, `needs` (capabilities) and `role` (whose approval each call waits for) become the flow's own; `roles` are the groups one of
    which the caller must be in, none for anybody. `entrances` say where it may be reached, `example` is an input that a test runs.
    `stream` tells that it gives its result in parts. Over the network: `cache_s` is how long (seconds) whoever asked may keep the answer,
    `rate` how often one caller may ask, `keyed` that a call must carry an idempotency key.
    """

    effect: Effect
    needs: tuple[str, ...] = ()
    entrances: tuple[str, ...] = ("cli", "client", "http")
    example: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    cache_s: float = 0.0
    rate: Rate | None = None
    keyed: bool = False
    role: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One method of an installed service, ready to be called: its flow is bound to its tools."""

    service: str
    name: str
    flow: AnyFlow
    method: Method

    @property
    def summary(self) -> str:
        """The first line of its description; empty where there is none."""
        return self.flow.description.strip().partition("\n")[0]


def method(  # noqa: PLR0913 - how a method is offered has this many sides, each named by its author
    *,
    effect: Effect | str = Effect.PURE,
    needs: str | tuple[str, ...] = (),
    entrances: tuple[str, ...] = ("cli", "client", "http"),
    example: Mapping[str, Any] | None = None,
    stream: bool = False,
    cache_s: float = 0.0,
    rate: str = "",
    keyed: bool = False,
    role: str = "",
    roles: str | tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Offer a method of a service class.

    It takes `ctx: Context` if it wants it and one input, like any flow; with `stream` it is an async generator, whose value is the list of
    its parts. `rate` is a text such as "10/s". Only a pure method or a read can have `cache_s`. Raises DefinitionError (OMG-F003).
    """
    unknown = sorted(set(entrances) - set(ENTRANCES))
    if unknown:
        raise DefinitionError("OMG-F003", f"{unknown[0]!r} is no entrance; these are: {', '.join(ENTRANCES)}")
    if not 0 <= cache_s <= LONGEST_CACHE_S:
        raise DefinitionError("OMG-F003", f"an answer is kept for 0 to {LONGEST_CACHE_S:.0f} seconds, not {cache_s!r}")
    if cache_s and Effect(effect).rank > Effect.READ.rank:
        raise DefinitionError("OMG-F003", f"what is {Effect(effect).value} is done anew each time: its answer cannot be kept")
    offered = Method(
        effect=Effect(effect),
        needs=(needs,) if isinstance(needs, str) else tuple(needs),
        entrances=tuple(entrances),
        example=dict(example or {}),
        stream=stream,
        cache_s=cache_s,
        rate=rate_of(rate) if rate else None,
        keyed=keyed,
        role=role,
        roles=(roles,) if isinstance(roles, str) else tuple(roles),
    )

    def mark(function: F) -> F:
        setattr(function, _MARK, offered)
        return function

    return mark


def methods_of(manifest: Manifest, service: Any) -> dict[str, tuple[AnyFlow, Method]]:
    """The flows of a service instance by method name, with how each is offered. Raises DefinitionError (OMG-F002) when there is none."""
    found: dict[str, tuple[AnyFlow, Method]] = {}
    for name in sorted(dir(type(service))):
        offered = getattr(getattr(type(service), name, None), _MARK, None)
        if isinstance(offered, Method):
            found[name] = (_flow_of(manifest, name, getattr(service, name), offered), offered)
    if not found:
        raise DefinitionError("OMG-F002", f"the service {manifest.name} offers no method", advice="decorate its methods with @method()")
    return found


def plays(scope: Scope, roles: tuple[str, ...]) -> bool:
    """Whether the caller is in one of `roles`. An operator counts in the tenant of the installation alone; its owners are operators too."""
    if OPERATOR in roles and scope.tenant == INSTALLATION and scope.groups & {OPERATOR, "owner"}:
        return True
    return any(role in scope.groups for role in roles if role != OPERATOR)


def _flow_of(manifest: Manifest, name: str, function: Callable[..., Any], offered: Method) -> AnyFlow:
    """The flow that a method is: under the service's name, with what its offer demands."""
    full = f"{manifest.name}.{name}"
    make = streaming if offered.stream else flow
    made: AnyFlow = make(name=full, version=manifest.version, effect=offered.effect, needs=offered.needs)(function)
    made = replace(made, tags=("service", manifest.name))
    if offered.roles:
        made = _for_roles(made, offered.roles)
    return made.approved_by(offered.role) if offered.role else made


def _for_roles(made: AnyFlow, roles: tuple[str, ...]) -> AnyFlow:
    """The same leaf, which looks at who calls before it does anything: whatever entrance they came through, and on record."""
    body = made.body
    assert isinstance(body, Task)  # noqa: S101 - what `flow` and `stream` make of a function

    @functools.wraps(body.function)
    async def guarded(ctx: Any, *given: Any) -> Any:
        if not plays(ctx.scope, roles):
            refused = f"{made.name} is for {' or '.join(roles)}"
            raise Denied("OMG-W001", refused, advice=f"have somebody of the role {roles[0]} do it", details={"roles": list(roles)})
        found = body.function(*((ctx,) if body.takes_context else ()), *given)
        return await found if inspect.isawaitable(found) else found

    return replace(made, body=replace(body, function=guarded, takes_context=True), _digest=[])
