"""Discovery: which services are installed. Built-in features are found like anybody's: by entry points of the group `omega.features`."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import DefinitionError, InputError
from omega.kernel.service import Manifest, Method, methods_of

GROUP = "omega.features"


def manifests() -> dict[str, Manifest]:
    """The manifests of all installed services by name. Raises DefinitionError (OMG-F002) for one that is none, or a name taken twice."""
    found: dict[str, Manifest] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        manifest = _manifest(point)
        if manifest.name in found and found[manifest.name] != manifest:
            raise DefinitionError("OMG-F002", f"two installed packages offer a service called {manifest.name}")
        found[manifest.name] = manifest
    return found


def methods(name: str) -> dict[str, tuple[AnyFlow, Method]]:
    """The methods of the service `name`, loaded now. Raises InputError (OMG-I002) when there is none of that name."""
    known = manifests()
    if name not in known:
        raise InputError("OMG-I002", f"there is no service {name!r} (installed: {', '.join(sorted(known)) or 'none'})")
    manifest = known[name]
    module, _, cls = manifest.home.partition(":")
    try:
        service = getattr(importlib.import_module(module), cls)()
    except (ImportError, AttributeError, TypeError) as error:
        raise DefinitionError("OMG-F002", f"the service {name} does not load from {manifest.home}: {error}") from error
    return methods_of(manifest, service)


def find_method(text: str) -> tuple[AnyFlow, Method]:
    """The method that `service.method` names. Raises InputError (OMG-I002)."""
    service, _, name = text.partition(".")
    offered = methods(service)
    if name not in offered:
        raise InputError("OMG-I002", f"{service} has no method {name!r} (it has: {', '.join(sorted(offered))})")
    return offered[name]


def _manifest(point: EntryPoint) -> Manifest:
    try:
        manifest = point.load()
    except (ImportError, AttributeError) as error:
        raise DefinitionError("OMG-F002", f"the entry point {point.name} = {point.value} does not load: {error}") from error
    if not isinstance(manifest, Manifest):
        raise DefinitionError("OMG-F002", f"the entry point {point.name} = {point.value} is no Manifest")
    return manifest
