"""Discovery: which services are installed. Built-in features are found like anybody's: by entry points of the group `omega.features`.

An entry point that does not load disables itself alone: the others are there as before, and `omega doctor` names it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from omega.host.attesting import enforce
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import DefinitionError, InputError
from omega.kernel.ports import Schema
from omega.kernel.service import Manifest, Method, Offer, methods_of

GROUP = "omega.features"
MEND = "mend or uninstall the package that offers it"
LIST = "omega call lists what is installed; a new service is seen once its package is installed (in a checkout: make setup)"


@dataclass(frozen=True, slots=True)
class Offered:
    """One method of an installed service, for a list; `summary` is the first line of its description."""

    service: str
    method: str
    effect: str
    summary: str


def manifests() -> dict[str, Manifest]:
    """The manifests of all services that are installed and load, by name."""
    return survey()[0]


def survey() -> tuple[dict[str, Manifest], dict[str, DefinitionError]]:
    """The manifests by name of service, and the errors (OMG-F002) by name of entry point of those that are none or take a name again."""
    enforce()
    found: dict[str, Manifest] = {}
    broken: dict[str, DefinitionError] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        try:
            manifest = _manifest(point)
            if found.setdefault(manifest.name, manifest) != manifest:
                raise DefinitionError("OMG-F002", f"two installed packages offer a service called {manifest.name}", advice=MEND)
        except DefinitionError as error:
            broken[point.name] = error
    return found, broken


def methods(name: str) -> dict[str, tuple[AnyFlow, Method]]:
    """The methods of the service `name`, loaded now.

    Raises InputError (OMG-I002) when there is none of that name, DefinitionError (OMG-F002) when it does not load.
    """
    known, broken = survey()
    if name in broken and name not in known:
        raise broken[name]
    if name not in known:
        raise InputError("OMG-I002", f"there is no service {name[:80]!r} (installed: {', '.join(sorted(known)) or 'none'})", advice=LIST)
    manifest = known[name]
    module, _, cls = manifest.home.partition(":")
    try:
        service = getattr(importlib.import_module(module), cls)()
    except Exception as error:
        raise DefinitionError(
            "OMG-F002", f"the service {name} does not load from {manifest.home}: {type(error).__name__}: {error}", advice=MEND
        ) from error
    return methods_of(manifest, service)


def schema_of(manifest: Manifest) -> Schema:
    """What a feature keeps in tables, loaded now. Raises DefinitionError (OMG-F002) when it does not load or is no schema."""
    module, _, name = manifest.tables.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        cause = f"the tables of {manifest.name} do not load from {manifest.tables}: {type(error).__name__}: {error}"
        raise DefinitionError("OMG-F002", cause, advice=MEND) from error
    if not isinstance(found, Schema) or found.name != manifest.name:
        raise DefinitionError("OMG-F002", f"{manifest.tables} is no Schema called {manifest.name}", advice=MEND)
    return found


def find_method(text: str) -> tuple[AnyFlow, Method]:
    """The method that `service.method` names. Raises what `methods` raises."""
    service, _, name = text.partition(".")
    offered = methods(service)
    if name not in offered:
        raise InputError("OMG-I002", f"{service} has no method {name[:80]!r} (it has: {', '.join(sorted(offered))})", advice=LIST)
    return offered[name]


def offered() -> tuple[list[Offered], dict[str, DefinitionError]]:
    """Every method of every service that loads, and the errors of those that do not, by service or entry point."""
    known, broken = survey()
    found: list[Offered] = []
    for name in sorted(known):
        try:
            for method, (flow, _) in sorted(methods(name).items()):
                summary = flow.description.strip().splitlines()[0] if flow.description.strip() else ""
                found.append(Offered(name, method, flow.effect.value, summary))
        except DefinitionError as error:
            broken[name] = error
    return found, broken


def offers() -> list[Offer]:
    """Every method of every service that loads, by service and name; one that does not load disables itself alone (`omega doctor`)."""
    found: list[Offer] = []
    for name in sorted(survey()[0]):
        try:
            found += [Offer(name, method, flow, how) for method, (flow, how) in sorted(methods(name).items())]
        except DefinitionError:
            continue
    return found


def _manifest(point: EntryPoint) -> Manifest:
    try:
        manifest = point.load()
    except Exception as error:
        raise DefinitionError(
            "OMG-F002", f"the entry point {point.name} = {point.value} does not load: {type(error).__name__}: {error}", advice=MEND
        ) from error
    if not isinstance(manifest, Manifest):
        raise DefinitionError("OMG-F002", f"the entry point {point.name} = {point.value} is no Manifest", advice=MEND)
    return manifest
