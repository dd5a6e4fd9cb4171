"""Services: named, versioned groups of flows, written as a class, reachable from every entrance.

A feature package says in its `__init__.py` that it exists, and nothing more:

    manifest = Manifest(name="insights", version="1.0.0", summary="what ran", home="omega.features.insights.service:Insights")

Its code loads on the first call. The class holds one decorated method per verb; each becomes a flow called `insights.summary`, with its
types, effect and needs, and takes the road like any other. Entrances (command line, later HTTP, MCP, client) are made from these flows; a
feature knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from omega.kernel.compose import AnyFlow
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.flow import flow

ENTRANCES = ("cli", "client", "http", "mcp", "studio", "voice")
"""Where a method may be reached."""

_MARK = "__omega_method__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Manifest:
    """That a feature exists: data only. `home` is `module:Class`, loaded on the first call."""

    name: str
    version: str
    summary: str
    home: str


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is offered: its effect, the capabilities it takes, its entrances, and an example input that a test runs."""

    effect: Effect
    needs: tuple[str, ...]
    entrances: tuple[str, ...]
    example: Mapping[str, Any] = field(default_factory=dict)


def method(
    *,
    effect: Effect | str = Effect.PURE,
    needs: str | tuple[str, ...] = (),
    entrances: tuple[str, ...] = ("cli", "client", "http"),
    example: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Offer a method of a service class.

    It takes `ctx: Context` if it wants it and one input, like any flow. Raises DefinitionError (OMG-F003).
    """
    unknown = sorted(set(entrances) - set(ENTRANCES))
    if unknown:
        raise DefinitionError("OMG-F003", f"{unknown[0]!r} is no entrance; these are: {', '.join(ENTRANCES)}")

    def mark(function: F) -> F:
        setattr(
            function, _MARK, Method(Effect(effect), (needs,) if isinstance(needs, str) else tuple(needs), entrances, dict(example or {}))
        )
        return function

    return mark


def methods_of(manifest: Manifest, service: Any) -> dict[str, tuple[AnyFlow, Method]]:
    """The flows of a service instance by method name, with how each is offered. Raises DefinitionError (OMG-F002) when there is none."""
    found: dict[str, tuple[AnyFlow, Method]] = {}
    for name in sorted(dir(type(service))):
        offered = getattr(getattr(type(service), name, None), _MARK, None)
        if not isinstance(offered, Method):
            continue
        made = flow(name=f"{manifest.name}.{name}", version=manifest.version, effect=offered.effect, needs=offered.needs)(
            getattr(service, name)
        )
        found[name] = (replace(made, tags=("service", manifest.name)), offered)
    if not found:
        raise DefinitionError("OMG-F002", f"the service {manifest.name} offers no method", advice="decorate its methods with @method()")
    return found
