"""What can be arranged: each kind of document, how one is checked, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omega.host import (
    acquainted,
    admitting,
    archiving,
    credentials,
    guard,
    guard_acts,
    holds,
    issuers,
    lasting,
    levels,
    mfa,
    primary,
    pruning,
    publishing,
    queues,
    regions,
    registry,
    retention,
    schedules,
    sso,
    virtual,
    webhooks,
    witness_asking,
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
        issuers.ISSUER: issuers.reading(keyring),
        lasting.LASTING: lasting.check,
        levels.LEVEL: levels.check_level,
        levels.RULES: levels.check_rules,
        pruning.LOG: pruning.check,
        witnessing.WITNESSED: witnessing.check,
        witness_asking.WITNESS: witness_asking.check_witness,
        witness_asking.QUORUM: witness_asking.check_quorum,
        regions.CONSENT: regions.check_consent,
        regions.REGION: regions.check_region,
        queues.QUEUE: queues.check,
        retention.RETENTION: retention.check,
        schedules.SCHEDULE: schedules.reading(keyring),
        webhooks.WEBHOOK: webhooks.reading(keyring),
        guard.CHANNEL: guard.reading(keyring),
        guard_acts.ORDERS: guard_acts.check,
        admitting.WORKLOAD: admitting.reading(keyring),
        credentials.CREDENTIAL: credentials.reading(keyring),
        sso.CONNECTION: sso.reading(keyring),
        virtual.VIRTUAL: virtual.check,
        publishing.PUBLISHED: publishing.check,
        acquainted.PEER: acquainted.check,
        registry.REGISTRY: registry.check,
        primary.PRIMARY: primary.check,
    }


def arranging(governor: Governor, keyring: Keyring, now_us: Callable[[], int]) -> ArrangementsEffector:
    """The effector that keeps them."""
    kinds = {**arrangements(keyring), **governor.readings()}
    kept = {holds.HOLD: "omega hold --help", mfa.FACTOR: "omega mfa --help"}
    beside = {primary.PRIMARY: (primary.CATALOGUE, primary.MARK), credentials.CREDENTIAL: (credentials.USE,)}
    return ArrangementsEffector(governor.told(), kinds, now_us, lasting=kept, owners=owners(keyring), beside=beside)
