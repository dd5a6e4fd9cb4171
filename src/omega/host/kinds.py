"""What can be arranged: each kind of document, how one is checked, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omega.host import (
    acquainted,
    admitting,
    archiving,
    credentials,
    guard,
    holds,
    levels,
    pruning,
    publishing,
    queues,
    regions,
    registry,
    retention,
    schedules,
    virtual,
    webhooks,
    witnessing,
)
from omega.host.arrangements import ArrangementsEffector, Reading
from omega.host.governing import Governor
from omega.host.owning import owners
from omega.trust.sealing import Keyring


def arrangements(keyring: Keyring) -> Mapping[str, Reading]:
    """How a document of each kind is checked, beside those that govern the gate (`Governor.readings`)."""
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
        publishing.PUBLISHED: publishing.check,
        acquainted.PEER: acquainted.check,
        registry.REGISTRY: registry.check,
    }


def arranging(governor: Governor, keyring: Keyring, now_us: Callable[[], int]) -> ArrangementsEffector:
    """The effector that keeps them."""
    kinds = {**arrangements(keyring), **governor.readings()}
    return ArrangementsEffector(governor.told(), kinds, now_us, lasting=(holds.HOLD,), owners=owners(keyring))
