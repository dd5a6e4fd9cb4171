"""Verbs about the keys of an installation: list, prepare, rotate, add a second signature, seal the root. Rotations go down the road.

    passport    the prepared key signs from now on; passports of the old one count until the longest of them has ended. Every process on
                these keys sees it within a second, without being told.
    log         in every tenant's log a leaf hands over from the old key to the new one (`omega.trust.handover`); when all are handed over,
                the old key is retired and destroyed. Interrupted in between, rotating again finishes it.

Each hand-over and each promotion is a gated touch with leaves of its own, so who rotated what, and when, is in the log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from omega.adapters.keystore import Keystore
from omega.chronicle.record import Leaf, encode
from omega.host import lasting
from omega.host.asking import keep
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.embedded import Omega
from omega.host.identity import Identity, open_keys, origin_of, ring_of
from omega.host.settings import Settings
from omega.host.storage import demand_keys, may_make_keys, open_reader
from omega.host.unsealing import PURPOSE, read_opening
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, StorageError, from_record
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Batch, Call
from omega.kernel.scope import ANY
from omega.kernel.verdict import Permit
from omega.trust import hybrid
from omega.trust.checkpoint import VerifierKey, parse
from omega.trust.handover import hand_over
from omega.trust.keys import FOREVER, PublicKey
from omega.trust.passport import MAX_TTL_S

ROTATED = ("log", "passport")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver(Request):
    """Let the prepared key go on with the log of the permit's tenant."""

    port: ClassVar[str] = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Request):
    """Let the prepared key of `name` sign; what the old one signed counts `overlap_s` seconds more."""

    port: ClassVar[str] = "keys"
    name: str
    overlap_s: int


class KeysEffector:
    """Serves `HandOver` and `Promote` for the engine that it is given to with `serve`."""

    port = HandOver.port

    def __init__(self) -> None:
        self._omega: Omega | None = None

    def serve(self, omega: Omega) -> None:
        """Work for `omega` from now on."""
        self._omega = omega

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the public key that signs now, as its `kid`. Raises InputError (OMG-X001, OMG-I001), StorageError, IntegrityError."""
        permit.spend(self.port)
        if self._omega is None:
            raise InputError("OMG-X001", "no engine is open")
        keys = self._omega.identity.keys
        if isinstance(request, HandOver):
            return await self._hand_over(self._omega, keys, permit), Receipt()
        if isinstance(request, Promote):
            return self._promote(self._omega, keys, request), Receipt()
        raise InputError("OMG-I001", f"keys are handed over and promoted, there is no {type(request).__name__}")

    async def _hand_over(self, omega: Omega, keys: Keystore, permit: Permit) -> str:
        ring = ring_of(keys, "log")
        if not ring.upcoming:
            raise InputError("OMG-X001", "no key of log is prepared", advice="omega keys prepare log")
        new = ring.upcoming[0]
        if not _signed_by(omega, permit.tenant, new.public):
            note = hand_over(origin_of(permit.tenant), ring.current, new).decode()
            leaf = Leaf(kind="handover", tenant=permit.tenant, execution=permit.execution, at_us=omega.world.clock.now_us(), note=note)
            await omega.store.commit(Batch(tenant=permit.tenant, execution=permit.execution, epoch=permit.epoch, leaves=[encode(leaf)]))
        return PublicKey(new.public).kid

    def _promote(self, omega: Omega, keys: Keystore, request: Promote) -> str:
        ring = ring_of(keys, request.name)
        if request.name == "log" and ring.upcoming:
            left = [tenant for tenant in omega.store.tenants() if not _signed_by(omega, tenant, ring.upcoming[0].public)]
            if left:
                raise InputError("OMG-X001", f"the log of {left[0]} is not handed over yet", advice="omega keys rotate log")
        now_s = omega.world.clock.now_us() // 1_000_000
        until_s = FOREVER if request.name == "log" else now_s + request.overlap_s
        return PublicKey(keys.promote(request.name, until_s=until_s, now_s=now_s).public).kid


@flow(name="hand-over-log", effect="write", needs="keys:use")
async def hand_over_log(ctx: Context, wanted: dict[str, Any]) -> str:
    """Hand the log of the caller's tenant over to the prepared key; gives the `kid` of that key."""
    return str(await ctx.touch(HandOver()))


@flow(name="promote-key", effect="write", needs="keys:use")
async def promote_key(ctx: Context, wanted: dict[str, Any]) -> str:
    """Promote the prepared key `name` with an overlap of `overlap_s`; gives the `kid` of the key that signs now."""
    return str(await ctx.touch(Promote(name=str(wanted["name"]), overlap_s=int(wanted["overlap_s"]))))


def listed(home: str | os.PathLike[str] | None) -> list[dict[str, Any]]:
    """Every key as data: name, state (`signs`, `next`, `retired`, `seals`), algorithm, kid, and until when it counts (None: without end).

    Raises StorageError (OMG-T003), UpstreamError (OMG-T005) when a key elsewhere cannot be reached.
    """
    keys = _standing(home)
    found: list[dict[str, Any]] = []
    for name in ROTATED:
        ring = ring_of(keys, name)
        found.append(_row(name, "signs", ring.current.public))
        found += [_row(name, "next", signer.public) for signer in ring.upcoming]
        found += [_row(name, "retired", each.public, each.until_s) for each in reversed(ring.retired)]
    if keys.has("log-pq"):
        found.append(_row("log-pq", "signs", keys.signer("log-pq").public))
    keys.secret("seal")
    if not keys.has("log-pq") and lasting.able():
        found.append(_row(lasting.LASTING, "exports" if lasting_state(home) == "on" else "off", lasting.derived(keys).public))
    found.append({"name": "seal", "state": "seals", "algorithm": "AES-256-GCM", "kid": "", "until_s": None})
    return found


def jwks(home: str | os.PathLike[str] | None) -> dict[str, Any]:
    """The public keys of passports that count now, as a JWK Set (RFC 7517). Raises StorageError (OMG-T003)."""
    identity = Identity.load(_demanded(home), SystemEntropy())
    return identity.authority.jwks(now=SystemClock().now_us() / 1_000_000)


def verifier_keys(home: str | os.PathLike[str] | None, tenant: str) -> list[str]:
    """The keys to check a tenant's log with, in the form that verifiers take; with that of the second signature.

    Raises StorageError (OMG-T003).
    """
    identity = Identity.load(_demanded(home), SystemEntropy())
    texts = [key.text() for key in identity.sequencer.keys(tenant)]
    if lasting_state(home) == "on":
        texts.append(VerifierKey.of(origin_of(tenant), lasting.derived(identity.keys).public).text())
    return texts


def lasting_state(home: str | os.PathLike[str] | None) -> str:
    """Whether what is kept long has a second signature: see `omega.host.lasting.Standing`. Raises StorageError."""
    keys = _standing(home)
    try:
        with open_reader(Settings.load(home)) as reader:
            return lasting.standing(keys, reader).state
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
    return "each" if keys.has(lasting.EACH) else "on" if lasting.able() else "unable"  # nothing is recorded, so nothing is turned off


async def turn_lasting(home: str | os.PathLike[str] | None, *, on: bool) -> None:
    """Have what is kept long signed with ML-DSA-65 too, or not, on record. Raises Denied, StorageError."""
    await keep(home, lasting.LASTING, lasting.EXPORTS, {"on": on})


def prepare(home: str | os.PathLike[str] | None, name: str, address: str = "") -> str:
    """Make the key that will sign next, or take the one at `address`; gives its `kid`. It is published at once and signs nothing yet.

    Raises InputError (OMG-X001), StorageError (OMG-T003), and UpstreamError (OMG-T005) for a key elsewhere.
    """
    return PublicKey(_standing(home).prepare(name, address).public).kid


def drop(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget the key that was prepared. Raises InputError (OMG-X001) when there is none, or when a log goes on with it already."""
    keys = _standing(home)
    if name == "log" and ring_of(keys, "log").upcoming:
        raise InputError("OMG-X001", "a log may go on with the prepared key already", advice="omega keys rotate log")
    keys.drop(name)


async def rotate(home: str | os.PathLike[str] | None, name: str, *, overlap_s: int = MAX_TTL_S) -> str:
    """Rotate `passport` or `log` to the prepared key, or to a new one; gives the `kid` of the key that signs now.

    What passports the old key signed counts `overlap_s` seconds more: nothing less than their longest life loses none; 0 is for a key
    that was stolen. Raises InputError (OMG-X001), Denied, StorageError (OMG-S001 while another engine works here; OMG-T003).
    """
    if name not in ROTATED or not 0 <= overlap_s <= MAX_TTL_S:
        cause = f"{name[:80]!r} with an overlap of {overlap_s} s is nothing to rotate"
        raise InputError("OMG-X001", cause, advice=f"rotate passport or log, with an overlap of 0 to {MAX_TTL_S} s")
    settings = Settings.load(home)
    may_make_keys(settings)
    open_keys(settings).prepare(name)
    effector = KeysEffector()
    async with Omega.open(home, effectors=[effector]) as omega:
        effector.serve(omega)
        if name == "log":
            for tenant in omega.store.tenants() or [settings.tenant]:
                await _called(omega, hand_over_log, {}, tenant)
        return str(await _called(omega, promote_key, {"name": name, "overlap_s": overlap_s}, settings.tenant))


def add_lasting(home: str | os.PathLike[str] | None) -> str:
    """Add the second signature (ML-DSA-65) to every checkpoint from the next start on; gives the `kid` of its key."""
    return PublicKey(_standing(home).add("log-pq").public).kid


def new_opening(path: Path) -> bytes:
    """Write a new private half to the file `path`, readable by its owner alone, and give the public half as a line.

    Raises InputError (OMG-P005) when the file exists or cannot be written.
    """
    made = hybrid.Opening.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(made.line())
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError("OMG-P005", f"{path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    return made.recipient.line()


def seal_root(home: str | os.PathLike[str] | None, path: Path) -> None:
    """Keep the root sealed from now on, to the private half in `path`, which every start then needs (OMEGA_UNSEAL).

    What was sealed is opened again before the plain root is given up. Raises StorageError (OMG-T003), IntegrityError (OMG-T004).
    """
    opening = hybrid.Opening.parse(read_opening(path))
    keys = _standing(home)
    root = keys.secret("seal")
    sealed = opening.recipient.sealed(root, PURPOSE)
    if opening.opened(sealed, PURPOSE) != root:
        raise InputError("OMG-X001", "the root did not come out of its seal as it went in")
    keys.put_sealed("seal", sealed)


def _standing(home: str | os.PathLike[str] | None) -> Keystore:
    return open_keys(_demanded(home))


def _demanded(home: str | os.PathLike[str] | None) -> Settings:
    settings = Settings.load(home)
    demand_keys(settings)
    return settings


def _row(name: str, state: str, public: bytes, until_s: int = FOREVER) -> dict[str, Any]:
    key = PublicKey(public)
    until = None if until_s >= FOREVER else until_s
    return {"name": name, "state": state, "algorithm": key.algorithm, "kid": key.kid, "until_s": until}


def _signed_by(omega: Omega, tenant: str, public: bytes) -> bool:
    """Whether the newest checkpoint of a log is signed by that key."""
    points = omega.store.checkpoints(tenant)
    return bool(points) and bool(parse(points[-1][1]).signed_by([VerifierKey.of(origin_of(tenant), public)]))


async def _called(omega: Omega, wanted: Any, value: dict[str, Any], tenant: str) -> Any:
    """The value of a flow run as the owner of `tenant`, down the road."""
    now_us = omega.world.clock.now_us()
    passport = omega.identity.authority.issue(
        tenant=tenant,
        principal=f"person:{omega.settings.person}",
        groups=("owner",),
        capabilities=(ANY,),
        ttl_s=600,
        now=now_us / 1_000_000,
        jti=new_id(PASSPORT, now_ms=now_us // 1_000, entropy=omega.identity.entropy.take(10)),
    )
    outcome = await omega.road.call(Call(passport=passport, flow=wanted, input=value))
    if outcome.error is not None:
        raise from_record(outcome.error)
    return outcome.value
