"""Which effectors an engine has: the built-in ones, those of installed packages, those it was opened with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from omega.adapters.alerts import AlertEffector
from omega.adapters.files import FileEffector
from omega.adapters.mcp import McpEffector
from omega.adapters.process import ProcessEffector, launch
from omega.adapters.pydantic_ai import AgentEffector
from omega.adapters.records import RecordsEffector
from omega.adapters.tables import TablesEffector, open_tables
from omega.adapters.webhooks import WebhookEffector
from omega.host import (
    admitting,
    archiving,
    credentials,
    erasing,
    events,
    guard,
    holds,
    levels,
    pruning,
    queues,
    regions,
    retention,
    schedules,
    virtual,
    webhooks,
    witnessing,
)
from omega.host.agents import RosterEffector
from omega.host.arrangements import ArrangementsEffector, Reading
from omega.host.discover import manifests, schema_of
from omega.host.governing import Governor
from omega.host.logbook import LogEffector
from omega.host.models import model_effectors
from omega.host.quarantine import QuarantineEffector
from omega.host.settings import Settings
from omega.host.storage import EngineStore
from omega.host.tenants import TenantsEffector
from omega.host.tools import GUEST, Catalogue, CatalogueEffector
from omega.kernel.errors import DefinitionError
from omega.kernel.ports import Blobs, Effector
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

PER_TENANT = frozenset(
    {
        archiving.ARCHIVE,
        holds.HOLD,
        levels.LEVEL,
        levels.RULES,
        pruning.LOG,
        regions.CONSENT,
        regions.REGION,
        retention.RETENTION,
        witnessing.WITNESSED,
    }
)
"""Arrangements that are named after the tenant they hold for."""


def arrangements(keyring: Keyring) -> Mapping[str, Reading]:
    """What can be arranged, and how a document of each kind is checked."""
    return {
        archiving.ARCHIVE: archiving.check,
        holds.HOLD: holds.check,
        levels.LEVEL: levels.check_level,
        levels.RULES: levels.check_rules,
        pruning.LOG: pruning.check,
        witnessing.WITNESSED: witnessing.check,
        regions.CONSENT: regions.check_consent,
        regions.REGION: regions.check_region,
        queues.QUEUE: queues.check,
        retention.RETENTION: retention.check,
        schedules.SCHEDULE: schedules.reading(keyring),
        webhooks.WEBHOOK: webhooks.reading(keyring),
        guard.CHANNEL: guard.reading(keyring),
        admitting.WORKLOAD: admitting.reading(keyring),
        credentials.CREDENTIAL: credentials.reading(keyring),
        virtual.VIRTUAL: virtual.check,
    }


def built_in(
    store: EngineStore, catalogue: Catalogue, keyring: Keyring, now_us: Callable[[], int], governor: Governor, blobs: Blobs | None = None
) -> tuple[Effector, ...]:
    """The effectors that every engine has."""
    kinds = {**arrangements(keyring), **governor.readings()}
    return (
        ProcessEffector(),
        FileEffector(),
        McpEffector(catalogue.upstream, catalogue.pin, launch, credentials=credentials.credentials(store, keyring), guests=GUEST.get),
        *model_effectors(store, keyring, os.environ, now_us),
        AgentEffector(),
        RecordsEffector(store),
        ArrangementsEffector(governor.told(), kinds, now_us, lasting=(holds.HOLD,), reserved=PER_TENANT.union(governor.readings())),
        QuarantineEffector(governor.told(), store, lambda: governor.warden.aliases, now_us),
        erasing.ErasureEffector(store, store, now_us),
        holds.HoldEffector(store, lambda: governor.warden.aliases, now_us),
        pruning.PruningEffector(store, store, store, now_us),
        events.EventsEffector(lambda: events.Feed(store, keyring, blobs), keyring),
        WebhookEffector(webhooks.finder(store, keyring), now_us),
        LogEffector(store),
        AlertEffector(guard.finder(store, keyring)),
        CatalogueEffector(catalogue, store, now_us),
        RosterEffector(store, now_us),
    )


def hosting(
    settings: Settings, store: EngineStore, governor: Governor, authority: Authority, now_us: Callable[[], int]
) -> tuple[Effector, ...]:
    """The effectors for hosted tenants, and for the tables of each installed feature that keeps some."""
    tables = open_tables(settings.home, settings.store.dsn)
    keeping = [manifest for manifest in manifests().values() if manifest.tables]
    return (
        TenantsEffector(store, governor.told(), authority, tables, now_us),
        *(TablesEffector(manifest.name, partial(schema_of, manifest), tables, now_us) for manifest in keeping),
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
