"""Which effectors an engine has: the built-in ones, those of installed packages, those it was opened with.

Each is made when its port is first asked for, and its module is loaded then: most runs use two or three of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from omega.host.governing import Governor
from omega.host.settings import Settings
from omega.host.storage import EngineStore
from omega.host.tools import GUEST, Catalogue
from omega.kernel.errors import DefinitionError
from omega.kernel.ports import Blobs, Effector
from omega.kernel.service import Manifest
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

if TYPE_CHECKING:
    from omega.adapters.models import ModelEffector
    from omega.host.confining import Confining
    from omega.host.models import ModelShelfEffector
    from omega.runtime.world import World

Maker = Callable[[], Effector]
Makers = Mapping[str, Maker]
"""By port, what makes the effector that serves it."""


class Effectors(Mapping[str, Effector]):
    """The effectors of an engine by port, each made when it is first looked up."""

    def __init__(self, *makers: Makers) -> None:
        """Raises DefinitionError (OMG-F003) when two serve the same port."""
        self._makers: dict[str, Maker] = {}
        self._made: dict[str, Effector] = {}
        for some in makers:
            for port, make in some.items():
                if port in self._makers:
                    raise DefinitionError(
                        "OMG-F003", f"two effectors serve the port {port}", advice="leave one of them out, or give it a port of its own"
                    )
                self._makers[port] = make

    def __getitem__(self, port: str) -> Effector:
        made = self._made.get(port)
        if made is None:
            made = self._made[port] = self._makers[port]()
        return made

    def __contains__(self, port: object) -> bool:
        return port in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def made(self) -> Sequence[Effector]:
        """Those that were asked for: whoever ends the engine closes them."""
        return tuple(self._made.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the built-in effectors are made of."""

    settings: Settings
    store: EngineStore
    catalogue: Catalogue
    keyring: Keyring
    authority: Authority
    governor: Governor
    now_us: Callable[[], int]
    blobs: Blobs | None = None


def given(effectors: Iterable[Effector]) -> Iterator[Makers]:
    """Effectors that somebody else has made."""
    for each in effectors:
        yield {each.port: partial(_same, each)}


def _same(effector: Effector) -> Effector:
    return effector


def _files() -> Effector:
    from omega.adapters.files import FileEffector

    return FileEffector()


def _credentials(house: House) -> Effector:
    from omega.host.vouching import VouchingEffector

    return VouchingEffector(house.settings, house.store, house.keyring, house.now_us)


def _audit(house: House) -> Effector:
    from omega.host.auditing import AuditEffector

    return AuditEffector(house.settings, house.now_us)


def _offers(house: House) -> Effector:
    from omega.host.offering import OfferingEffector

    return OfferingEffector(house.catalogue, house.store, house.governor.warden, house.settings.tenant, house.now_us)


def _guardrails() -> Effector:
    from omega.host.guardrails import GuardrailEffector

    return GuardrailEffector()


def _agent() -> Effector:
    from omega.adapters.pydantic_ai import AgentEffector

    return AgentEffector()


def _tools(house: House, confining: Callable[[], Confining]) -> Effector:
    from omega.host.credentials import credentials
    from omega.host.openapi import OPENERS
    from omega.host.renewing import Renewer
    from omega.host.sandboxing import launcher
    from omega.host.secrets_given import GivingEffector

    catalogue = house.catalogue
    return GivingEffector(
        house.store,
        house.now_us,
        catalogue.upstream,
        catalogue.pin,
        launcher(house.settings),
        credentials=credentials(house.store, house.keyring),
        guests=GUEST.get,
        openers=OPENERS,
        confined=confining().launcher,
        renewals=Renewer(house.governor.told(), house.keyring, house.now_us),
    )


def built_in(house: House) -> Makers:  # noqa: C901, PLR0915 - a list, one function for each port
    """The effectors that every engine has."""
    store, keyring, governor, now_us = house.store, house.keyring, house.governor, house.now_us

    @cache
    def confining() -> Confining:
        from omega.host.confining import Confining
        from omega.host.sandboxing import protected

        return Confining(store, protected(house.settings))

    def process() -> Effector:
        from omega.adapters.process import ProcessEffector

        return ProcessEffector(confining().caps)

    @cache
    def models() -> tuple[ModelEffector, ModelShelfEffector]:
        from omega.host.models import model_effectors

        return model_effectors(store, keyring, os.environ, now_us)

    def records() -> Effector:
        from omega.adapters.records import RecordsEffector

        return RecordsEffector(store)

    def arrangements() -> Effector:
        from omega.host.kinds import arranging

        return arranging(governor, keyring, now_us)

    def quarantine() -> Effector:
        from omega.host.quarantine import QuarantineEffector

        return QuarantineEffector(governor.told(), store, lambda: governor.warden.aliases, now_us)

    def holds() -> Effector:
        from omega.host.holds import HoldEffector

        return HoldEffector(store, lambda: governor.warden.aliases, now_us)

    def passports() -> Effector:
        from omega.host.revoking import RevocationEffector

        return RevocationEffector(store, house.authority, now_us)

    def passkeys() -> Effector:
        from omega.host.enrolling import FactorsEffector

        return FactorsEffector(store, keyring, now_us)

    def grants() -> Effector:
        from omega.host.grants import GrantEffector, Grants

        return GrantEffector(Grants(store, keyring, house.authority, now_us))

    def pruning() -> Effector:
        from omega.host.pruning import PruningEffector

        return PruningEffector(store, store, store, now_us)

    def retiring() -> Effector:
        from omega.host.retiring import RetiringEffector

        return RetiringEffector(store, store, now_us)

    def events() -> Effector:
        from omega.host.events import EventsEffector, Feed

        return EventsEffector(lambda: Feed(store, keyring, house.blobs), keyring)

    def webhooks() -> Effector:
        from omega.adapters.webhooks import WebhookEffector
        from omega.host.webhooks import finder

        return WebhookEffector(finder(store, keyring), now_us)

    def elsewhere() -> Effector:
        from omega.adapters.a2a import PeerEffector
        from omega.host.acquainted import finder

        return PeerEffector(finder(store, house.settings.tenant))

    def telling() -> Effector:
        from omega.host.a2a_push import PushEffector

        return PushEffector(store, keyring, store.line, now_us)

    def log() -> Effector:
        from omega.host.logbook import LogEffector

        return LogEffector(store)

    def alerts() -> Effector:
        from omega.adapters.alerts import AlertEffector
        from omega.host.guard import finder

        return AlertEffector(finder(store, keyring))

    def catalogue() -> Effector:
        from omega.host.tools import CatalogueEffector

        return CatalogueEffector(house.catalogue, store, now_us)

    def registries() -> Effector:
        from omega.host.credentials import credentials
        from omega.host.registry import RegistryEffector

        return RegistryEffector(store, now_us, credentials(store, keyring))

    def primary() -> Effector:
        from omega.host.credentials import credentials
        from omega.host.primary import PrimaryEffector

        return PrimaryEffector(store, now_us, credentials(store, keyring))

    def witness() -> Effector:
        from omega.host.witness_asking import WitnessEffector

        return WitnessEffector(store, store, now_us, beside=house.settings.store.shared)

    def agents() -> Effector:
        from omega.host.agents import RosterEffector

        return RosterEffector(store, now_us)

    return {
        "process": process,
        "files": _files,
        "mcp": partial(_tools, house, confining),
        "model": lambda: models()[0],
        "models": lambda: models()[1],
        "agent": _agent,
        "records": records,
        "arrangements": arrangements,
        "quarantine": quarantine,
        "holds": holds,
        "passkeys": passkeys,
        "passports": passports,
        "grants": grants,
        "pruning": pruning,
        "retiring": retiring,
        "events": events,
        "webhooks": webhooks,
        "a2a": elsewhere,
        "a2a-push": telling,
        "log": log,
        "audit": partial(_audit, house),
        "alerts": alerts,
        "catalogue": catalogue,
        "agents": agents,
        "offers": partial(_offers, house),
        "guardrails": _guardrails,
        "registry": registries,
        "witness": witness,
        "primary": primary,
        "credentials": partial(_credentials, house),
    }


def watchful(house: House, world: Callable[[], World]) -> Makers:
    """The effector with which the guard acts; it looks at executions as the engine does, so it is made once that has its world."""

    def guard() -> Effector:
        from omega.host.guard_acts import GuardEffector
        from omega.host.quarantine import QuarantineEffector

        governor, told = house.governor, house.governor.told()
        quarantine = QuarantineEffector(told, house.store, lambda: governor.warden.aliases, house.now_us)
        return GuardEffector(world(), told, quarantine, house.now_us)

    return {"guard": guard}


def hosting(house: House) -> Makers:
    """The effectors for hosted tenants, and for the tables of each installed feature that keeps some."""
    from omega.adapters.tables import TablesEffector, open_tables
    from omega.host.discover import manifests, schema_of
    from omega.host.holds import held

    settings, now_us = house.settings, house.now_us
    tables = open_tables(settings.home, settings.store.dsn)

    def tenants() -> Effector:
        from omega.host.owning import sealed_of
        from omega.host.tenants import TenantsEffector

        sealed = partial(sealed_of, house.store, house.keyring)
        return TenantsEffector(house.store, house.governor.told(), house.authority, tables, now_us, sealed)

    def users() -> Effector:
        from omega.host.users import UsersEffector

        return UsersEffector(house.governor.told(), house.keyring, house.authority, now_us, settings.person)

    def sign_on() -> Effector:
        from omega.host.sso_proving import SignOnEffector

        return SignOnEffector(house.store, house.keyring, os.environ, now_us)

    def erasure() -> Effector:
        from omega.host.erasing import ErasureEffector
        from omega.host.personal import PersonalData

        return ErasureEffector(house.store, house.store, PersonalData(tables), house.keyring, now_us)

    def kept(manifest: Manifest) -> Effector:
        return TablesEffector(manifest.name, partial(schema_of, manifest), tables, now_us, manifest.personal, partial(held, house.store))

    keeping = [manifest for manifest in manifests().values() if manifest.tables]
    hosted: Makers = {"tenants": tenants, "users": users, "sign-on": sign_on, "erasure": erasure}
    return {**hosted, **{manifest.name: partial(kept, manifest) for manifest in keeping}}
