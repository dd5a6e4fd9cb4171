"""Which effectors an engine has: the built-in ones, those of installed packages, those it was opened with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from omega.adapters.files import FileEffector
from omega.adapters.mcp import McpEffector
from omega.adapters.models import ModelEffector
from omega.adapters.process import ProcessEffector, launch
from omega.adapters.pydantic_ai import AgentEffector
from omega.adapters.records import RecordsEffector
from omega.host import erasing, queues, retention, schedules
from omega.host.arrangements import ArrangementsEffector, Reading
from omega.host.logbook import LogEffector
from omega.host.storage import EngineStore
from omega.host.tools import Catalogue, CatalogueEffector
from omega.kernel.errors import DefinitionError
from omega.kernel.ports import Effector
from omega.trust.sealing import Keyring


def arrangements(keyring: Keyring) -> Mapping[str, Reading]:
    """What can be arranged, and how a document of each kind is checked."""
    return {
        erasing.HOLD: erasing.check,
        queues.QUEUE: queues.check,
        retention.RETENTION: retention.check,
        schedules.SCHEDULE: schedules.reading(keyring),
    }


def built_in(store: EngineStore, catalogue: Catalogue, keyring: Keyring, now_us: Callable[[], int]) -> tuple[Effector, ...]:
    """The effectors that every engine has."""
    return (
        ProcessEffector(),
        FileEffector(),
        McpEffector(catalogue.upstream, catalogue.pin, launch),
        ModelEffector(),
        AgentEffector(),
        RecordsEffector(store),
        ArrangementsEffector(store, arrangements(keyring), now_us),
        erasing.ErasureEffector(store, store, now_us),
        LogEffector(store),
        CatalogueEffector(catalogue, store, now_us),
    )


def by_port(effectors: Iterable[Effector]) -> dict[str, Effector]:
    """The effectors by port. Raises DefinitionError (OMG-F003) when two serve the same."""
    found: dict[str, Effector] = {}
    for each in effectors:
        if each.port in found:
            raise DefinitionError(
                "OMG-F003", f"two effectors serve the port {each.port}", advice="leave one of them out, or give it a port of its own"
            )
        found[each.port] = each
    return found
