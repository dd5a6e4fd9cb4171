"""The identity of an installation: its keys, its authority, its log's name, and the passports it gives to the person at the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from omega.adapters.keystore import Keystore
from omega.chronicle.sequencer import LogSequencer
from omega.host.settings import Settings
from omega.kernel.errors import InputError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy
from omega.kernel.scope import ANY
from omega.trust.keys import Retired, Ring
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

ISSUER = "omega.local"
TTL_S = 3_600
"""Seconds that a passport of the person at the keyboard lasts: it is made anew for each command."""

AGENT_CAPABILITIES = ("files:read", "flows:run", "model:ask", "process:run", "tools:call")
"""What `--as agent:NAME` may do without further grants; policy narrows it further."""

_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_GRANT = re.compile(r"[a-z][a-z0-9_-]{0,63}:(?:[a-z][a-z0-9_-]{0,63}|\*)")


@dataclass(frozen=True, slots=True)
class Caller:
    """As whom a command acts: nobody named is the owner.

    `groups` are added to those of a person or an agent (`owner`, `writers`, a role of one's own), `grants` are `area:verb` capabilities
    that an agent holds besides `AGENT_CAPABILITIES`; a person holds all as it is.
    """

    principal: str = ""
    groups: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.principal and (self.groups or self.grants):
            raise InputError("OMG-X001", "groups and grants belong to another caller: say whom", advice="add --as agent:NAME")
        if self.grants and not self.principal.startswith("agent:"):
            raise InputError("OMG-X001", f"{self.principal[:80]!r} is no agent: a person holds every capability already")
        for group in self.groups:
            if _GROUP.fullmatch(group) is None:
                raise InputError("OMG-X001", f"{group[:80]!r} cannot name a group", advice="use lower-case letters, digits, '-' and '_'")
        for grant in self.grants:
            if _GRANT.fullmatch(grant) is None:
                raise InputError("OMG-X001", f"{grant[:80]!r} is no capability", advice="write it as area:verb, for example files:write")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this installation is."""

    settings: Settings
    entropy: Entropy
    authority: Authority
    keyring: Keyring
    sequencer: LogSequencer
    keys: Keystore

    @property
    def log_public(self) -> bytes:
        """The key with which this installation's logs began: it stays the same when the log goes on with others."""
        return first_of(ring_of(self.keys, "log"))

    @classmethod
    def load(cls, settings: Settings, entropy: Entropy) -> Identity:
        """From the key store, which is made on first use. Revocations are told to the authority by whoever keeps them.

        Raises StorageError (OMG-T003, OMG-S002).
        """
        keys = open_keys(settings)
        passports, logs = ring_of(keys, "passport"), ring_of(keys, "log")
        lasting = keys.signer("log-pq") if keys.has("log-pq") else None
        return cls(
            settings,
            entropy,
            Authority(passports, issuer=ISSUER, audience=ISSUER, news=_news(keys, "passport")),
            Keyring(keys.secret("seal"), entropy=entropy.take),
            LogSequencer(logs, origin=origin_of, lasting=lasting, news=_news(keys, "log")),
            keys,
        )

    def passport(self, caller: Caller | str, *, now_us: int) -> str:
        """A passport for the owner (an empty caller), for another person, or for an agent acting for the owner.

        A text stands for a caller without groups or grants of their own. Raises InputError (OMG-X001).
        """
        caller = Caller(caller) if isinstance(caller, str) else caller
        principal = caller.principal
        kind, _, name = (principal or f"person:{self.settings.person}").partition(":")
        if kind not in ("person", "agent") or not name:
            raise InputError("OMG-X001", f"{principal[:80]!r} is neither person:NAME nor agent:NAME")
        agent = kind == "agent"
        return self.authority.issue(
            tenant=self.settings.tenant,
            principal=f"{kind}:{name}",
            groups=caller.groups if principal else ("owner",),
            capabilities=(*AGENT_CAPABILITIES, *caller.grants) if agent else (ANY,),
            ttl_s=TTL_S,
            now=now_us / 1_000_000,
            jti=new_id(PASSPORT, now_ms=now_us // 1_000, entropy=self.entropy.take(10)),
        )


def open_keys(settings: Settings) -> Keystore:
    """The key store of an installation, with what reaches keys that lie elsewhere and opens a sealed root. Raises StorageError."""
    from omega.adapters.kms import open_signer
    from omega.host.unsealing import unsealed

    return Keystore.open(settings.keys, opener=open_signer, unsealing=unsealed)


def ring_of(keys: Keystore, name: str) -> Ring:
    """The keys of `passport` or `log` as they stand in the store. Raises StorageError (OMG-T003)."""
    found = keys.standing(name)
    upcoming = (found.upcoming,) if found.upcoming is not None else ()
    return Ring(found.current, upcoming, tuple(Retired(public, until_s) for public, until_s in found.retired))


def first_of(ring: Ring) -> bytes:
    """The public key with which everything of the ring began."""
    return ring.retired[0].public if ring.retired else ring.current.public


def _news(keys: Keystore, name: str) -> Callable[[], Ring | None]:
    seen = keys.stamp(name)

    def told() -> Ring | None:
        nonlocal seen
        stamp = keys.stamp(name)
        if stamp == seen:
            return None
        ring = ring_of(keys, name)
        seen = stamp
        return ring

    return told


def origin_of(tenant: str) -> str:
    """The name of a tenant's log, part of every checkpoint."""
    return f"{ISSUER}/{tenant}"
