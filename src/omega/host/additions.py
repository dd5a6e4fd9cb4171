"""Effectors of installed packages: entry points of the group `omega.effectors`.

Each is a callable without arguments that gives an Effector.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from omega.host.attesting import enforce
from omega.kernel.errors import DefinitionError
from omega.kernel.ports import Effector

GROUP = "omega.effectors"


def installed_effectors() -> Iterator[Effector]:
    """One effector per entry point, by name. Raises DefinitionError (OMG-F002) for one that does not load or gives something else."""
    enforce()
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        try:
            effector = point.load()()
        except Exception as error:
            raise DefinitionError(
                "OMG-F002",
                f"the effector {point.name} = {point.value} does not load: {type(error).__name__}: {error}",
                advice="mend or uninstall the package that offers it",
            ) from error
        if not isinstance(getattr(effector, "port", None), str) or not callable(getattr(effector, "perform", None)):
            raise DefinitionError(
                "OMG-F002", f"{point.name} = {point.value} gives no Effector", advice="mend or uninstall the package that offers it"
            )
        yield effector
