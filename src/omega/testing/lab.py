"""A whole Omega in memory: real engine, real gate, real keys, real log; only the disk, the clock, the dice and the world are stand-ins.

    lab = Lab()
    outcome = run_virtual(lab.run(triage, ticket))

Everything is deterministic: the same seed gives the same ids, sealed bytes and checkpoints. Keys come from the seed too, so they protect
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from omega.adapters.memory import MemoryStore, MemoryWakeups, Snapshot
from omega.chronicle.export import verify_store
from omega.chronicle.record import Leaf, decode
from omega.chronicle.sequencer import LogSequencer
from omega.chronicle.verifier import Report as LogReport
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.journal import Status
from omega.kernel.past import Past
from omega.kernel.ports import Clock, Line, Outcome
from omega.kernel.queueing import DEFAULT
from omega.kernel.scope import ANY, Scope
from omega.runtime.decisions import decide
from omega.runtime.engine import Engine
from omega.runtime.lease import LEASE_US
from omega.runtime.recovery import pin_of
from omega.runtime.replay import Report, replay
from omega.runtime.worker import Worker
from omega.runtime.world import Moment, World
from omega.testing.effectors import RecordingEffector
from omega.testing.entropy import SeededEntropy
from omega.testing.virtual import LoopClock
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from omega.warden.admit import Warden
from omega.warden.policies import Bundle, default_sources

TENANT = "lab"
ISSUER = "omega.test"
PORTS = ("process", "files", "mcp", "model")

OWNER = "person:ada"
"""Who runs flows here unless a test says otherwise: an owner with every capability."""

SECOND = "person:grace"
"""Another owner, for approvals: nobody approves what he himself asked for."""

PASSPORT_S = 24 * 3600

LOOK_S = 0.05
"""How often `Lab.until` looks, in seconds of the lab's clock."""


class SeededSigner:
    """`kernel.ports.Signer` with a key made from a name: for tests alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(b"omega test key " + name.encode()).digest())
        self.public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature (64 bytes) of `message`."""
        return self._key.sign(message)


@lru_cache(maxsize=8)
def seeded_signer(name: str) -> SeededSigner:
    """One signer per name."""
    return SeededSigner(name)


@lru_cache(maxsize=32)
def _bundle(policies: tuple[tuple[str, str], ...], default: bool) -> Bundle:
    return Bundle.load({**(default_sources() if default else {}), **dict(policies)})


def sequencer() -> LogSequencer:
    """The sequencer of every lab: one key, one log per tenant."""
    return LogSequencer(seeded_signer("log"), origin=lambda tenant: f"{ISSUER}/{tenant}")


class Lab:
    """One engine on one world. `policies` (Cedar by file name) stand beside the default set, or alone with `default_policies=False`.

    `effectors` is a RecordingEffector per port unless others are given; `moments` what the engine told its watcher, in order. A lab
    `beside` another one is a second host on the same records, with the same clock unless it is given its own.
    """

    def __init__(  # noqa: PLR0913 - each part of the world can be replaced by name
        self,
        *,
        seed: object = 0,
        policies: Mapping[str, str] | None = None,
        default_policies: bool = True,
        warden: Warden | None = None,
        store: Any = None,
        start: Snapshot | None = None,
        clock: Clock | None = None,
        effectors: Mapping[str, Any] | None = None,
        owner: str = "lab",
        beside: Lab | None = None,
        park_s: float | None = None,
        lease_s: float = LEASE_US / 1_000_000,
    ) -> None:
        if clock is None and beside is not None:
            clock = beside.clock
        self.clock: Clock = clock or LoopClock()
        self.entropy = SeededEntropy(seed)
        self.sequencer = sequencer()
        self.authority = Authority(seeded_signer("passport"), issuer=ISSUER, audience=ISSUER)
        self.moments: list[Moment] = []
        self.store: Any = store or MemoryStore(
            sequencer=self.sequencer,
            owner=owner,
            now_us=self.clock.now_us,
            start=start,
            beside=None if beside is None else beside.store,
        )
        self.wakeups: MemoryWakeups = MemoryWakeups(beside=None if beside is None else beside.wakeups)
        self.effectors: dict[str, Any] = dict(effectors) if effectors is not None else {p: RecordingEffector(p, self.clock) for p in PORTS}
        self.world = World(
            store=self.store,
            reader=self.store,
            clock=self.clock,
            entropy=self.entropy,
            warden=warden or Warden(_bundle(tuple(sorted((policies or {}).items())), default_policies)),
            keyring=Keyring(sha256(b"omega test root").digest(), entropy=self.entropy.take),
            authority=self.authority,
            effectors=self.effectors,
            owner=owner,
            watch=self.moments.append,
            lease_us=round(lease_s * 1_000_000),
            park_s=park_s,
            wakeups=self.wakeups,
            inbox=self.store,
        )
        self.engine = Engine(self.world)

    # -- who

    def passport(
        self,
        principal: str = OWNER,
        *,
        groups: Iterable[str] | None = None,
        capabilities: Iterable[str] = (ANY,),
        actors: tuple[str, ...] = (),
    ) -> str:
        """A passport of this lab. A person is an owner unless `groups` says otherwise; an agent has no group."""
        now = self.clock.now_us()
        return self.authority.issue(
            tenant=TENANT,
            principal=principal,
            groups=(("owner",) if principal.startswith("person:") else ()) if groups is None else groups,
            capabilities=capabilities,
            actors=actors,
            ttl_s=PASSPORT_S,
            now=now / 1_000_000,
            jti=new_id(PASSPORT, now_ms=now // 1_000, entropy=self.entropy.take(10)),
        )

    def scope(self, principal: str = OWNER, **facts: Any) -> Scope:
        """The scope that such a passport proves."""
        return self.authority.verify(self.passport(principal, **facts), now=self.clock.now_us() / 1_000_000)

    # -- what

    async def run(
        self,
        flow: AnyFlow,
        value: Any = None,
        *,
        execution: str = "",
        scope: Scope | None = None,
        budget: Budget | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Run `flow` to its end, or to where it stands still. Raises what `Engine.start` raises."""
        name = await self.engine.start(flow, value, scope or self.scope(), execution=execution, budget=budget, timeout_s=timeout_s)
        return await self.engine.outcome(name)

    async def resume(self, execution: str, flow: AnyFlow) -> Outcome:
        """Go on with an execution. Raises what `Engine.resume` raises."""
        await self.engine.resume(execution, flow)
        return await self.engine.outcome(execution)

    async def enqueue(self, flow: AnyFlow, value: Any = None, *, scope: Scope | None = None, **where: Any) -> str:
        """Put `flow` into a queue. Raises what `Engine.enqueue` raises."""
        return await self.engine.enqueue(flow, value, scope or self.scope(), **where)

    def worker(self, *flows: AnyFlow, queues: Sequence[str] = (DEFAULT,), **facts: Any) -> Worker:
        """A worker on this lab's engine, which serves `flows`. Run it as a task: `asyncio.create_task(worker.run())`."""
        return Worker(self.engine, flows={pin_of(flow): flow for flow in flows}, queues=lambda: queues, **facts)

    async def until(self, execution: str, *statuses: str) -> Line:
        """The line of `execution` once it has one of `statuses` (any end, unless some are named), looked at as time goes by."""
        while True:
            line: Line | None = self.store.line(execution)
            if line is not None and (line.status in statuses if statuses else Status(line.status).ended):
                return line
            await self.clock.sleep(LOOK_S)

    async def decide(self, execution: str, verb: str, *, by: str = SECOND, **body: Any) -> None:
        """Cancel, approve, resolve or signal, as the person `by`."""
        await decide(self.engine, execution, verb, body, self.scope(by))

    async def replay(self, execution: str, flow: AnyFlow) -> Report:
        """Repeat a run from its records."""
        return await replay(self.world, execution, flow)

    # -- what is recorded

    def past(self, execution: str) -> Past:
        """The fold of an execution's durable rows."""
        return Past(self.store.rows(execution))

    def leaves(self, tenant: str = TENANT) -> list[Leaf]:
        """The tenant's log, decoded."""
        return [decode(leaf) for leaf in self.store.leaves(tenant)]

    def verify(self, tenant: str = TENANT) -> LogReport:
        """What the verifier says of log and journals."""
        return verify_store(self.store, tenant, keys=[self.sequencer.key(tenant)])


__all__ = ["OWNER", "PORTS", "SECOND", "TENANT", "Lab", "SeededSigner", "seeded_signer", "sequencer"]
