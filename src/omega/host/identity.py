"""The identity of an installation: its keys, its authority, its log's name, and the passports it gives to the person at the keyboard."""

from __future__ import annotations

from dataclasses import dataclass

from omega.adapters.keystore import Keystore
from omega.chronicle.sequencer import LogSequencer
from omega.host.settings import Settings
from omega.kernel.errors import InputError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy, Signer
from omega.kernel.scope import ANY
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

ISSUER = "omega.local"
TTL_S = 3_600
"""Seconds that a passport of the person at the keyboard lasts: it is made anew for each command."""

AGENT_CAPABILITIES = ("files:read", "flows:run", "model:ask", "process:run", "tools:call")
"""What `--as agent:NAME` may at most do; policy narrows it further."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this installation is."""

    settings: Settings
    entropy: Entropy
    authority: Authority
    keyring: Keyring
    sequencer: LogSequencer
    log_signer: Signer

    @classmethod
    def load(cls, settings: Settings, entropy: Entropy) -> Identity:
        """From the key store, which is made on first use. Revocations are told to the authority by whoever keeps them.

        Raises StorageError (OMG-T003, OMG-S002).
        """
        keys = Keystore.open(settings.keys)
        log = keys.signer("log")
        return cls(
            settings,
            entropy,
            Authority(keys.signer("passport"), issuer=ISSUER, audience=ISSUER),
            Keyring(keys.secret("seal"), entropy=entropy.take),
            LogSequencer(log, origin=origin_of),
            log,
        )

    def passport(self, principal: str, *, now_us: int) -> str:
        """A passport for the owner (no `principal`), for another person, or for an agent acting for the owner.

        Raises InputError (OMG-X001).
        """
        kind, _, name = (principal or f"person:{self.settings.person}").partition(":")
        if kind not in ("person", "agent") or not name:
            raise InputError("OMG-X001", f"{principal[:80]!r} is neither person:NAME nor agent:NAME")
        agent = kind == "agent"
        return self.authority.issue(
            tenant=self.settings.tenant,
            principal=f"{kind}:{name}",
            groups=() if agent else ("owner",) if not principal else (),
            capabilities=AGENT_CAPABILITIES if agent else (ANY,),
            ttl_s=TTL_S,
            now=now_us / 1_000_000,
            jti=new_id(PASSPORT, now_ms=now_us // 1_000, entropy=self.entropy.take(10)),
        )


def origin_of(tenant: str) -> str:
    """The name of a tenant's log, part of every checkpoint."""
    return f"{ISSUER}/{tenant}"
