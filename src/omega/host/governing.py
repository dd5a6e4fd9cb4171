"""What the gate of an engine is told: policies, limits, guards, facts, who is in quarantine. Read once, and again when one changes.

Whatever is arranged through this engine is told at once, because what writes documents goes through `told`; what other engines change is
followed by whoever calls `refresh`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from omega.chronicle.search import Query, search
from omega.host import limits, mfa, policy, quarantine, watching
from omega.host.arrangements import Reading, Shelf
from omega.kernel.budget import Spent
from omega.kernel.ports import Reader
from omega.runtime.world import World
from omega.warden.admit import Warden
from omega.warden.guard.rules import Guards
from omega.warden.quotas import Use

KINDS = (policy.POLICY, limits.LIMIT, limits.BREAKER, limits.GUARD, limits.FACT, limits.PERSON, quarantine.QUARANTINE)
"""The kinds of documents that the gate is told of."""

DAY_US = 86_400 * 1_000_000
"""The longest window of a limit, in microseconds."""

PAGE = 1_000

ENGINE = "engine"
"""The kind of the documents by which engines that share their records know how many share the limits; each holds when it was written."""

SIGN_US = 5_000_000
"""How often an engine says that it is there, in microseconds."""

GONE_US = 4 * SIGN_US
"""After how long without a sign an engine has gone."""

FORGOTTEN_US = 3_600 * 1_000_000
"""After how long its document is dropped."""


class Governor:
    """Tells one gate what it must know. `shelf` is where documents lie, `folder` the operator's policy files."""

    def __init__(self, shelf: Shelf, folder: Path, warden: Warden, now_us: Callable[[], int]) -> None:
        self.warden = warden
        self.world: World | None = None
        self._shelf, self._folder, self._now_us = shelf, folder, now_us
        self._seen: dict[str, tuple[tuple[str, bytes], ...]] = {}
        self._engines = 1
        self._noted_us = -SIGN_US

    def readings(self) -> Mapping[str, Reading]:
        """What can be arranged here, and how a document of each kind is checked."""
        return {
            policy.POLICY: policy.reading(self._folder, self._shelf, self._now_us),
            limits.LIMIT: limits.check_limit,
            limits.BREAKER: limits.check_breaker,
            limits.GUARD: limits.check_guard,
            limits.FACT: limits.check_fact,
            limits.PERSON: limits.check_person,
            mfa.FACTOR: mfa.check,
            watching.WATCH: watching.check,
        }

    def told(self) -> Shelf:
        """The shelf, for whoever writes to it: the gate is told of each change."""
        return _Told(self._shelf, self.refresh)

    def refresh(self) -> None:
        """Tell the gate what has changed since it was last told. Raises InputError (OMG-W003) for policies that do not load: those that
        were in force stay so."""
        found = {kind: tuple(self._shelf.documents(kind)) for kind in KINDS}
        changed = {kind for kind in KINDS if found[kind] != self._seen.get(kind)}
        if limits.LIMIT in changed:
            self.warden.limit(limits.limits(self._shelf), engines=self._engines)
        if limits.BREAKER in changed:
            self.warden.break_on(limits.breakers(self._shelf))
        if limits.FACT in changed:
            self.warden.learn(limits.facts(self._shelf))
        if limits.PERSON in changed:
            self.warden.recognise(limits.aliases(self._shelf))
        if quarantine.QUARANTINE in changed:
            self.warden.isolate(quarantine.isolated(self._shelf))
        if limits.GUARD in changed and self.world is not None:
            self.world.guards = Guards(limits.guards(self._shelf))
        before = self._seen
        self._seen = {kind: rows for kind, rows in found.items() if kind != policy.POLICY}
        if policy.POLICY in before:
            self._seen[policy.POLICY] = before[policy.POLICY]
        if policy.POLICY in changed and (found[policy.POLICY] or policy.POLICY in before):  # last: all else holds where they do not load
            self.warden.adopt(policy.bundle_in_force(self._folder, self._shelf))
        self._seen = found

    def follow(self, owner: str) -> None:
        """What `refresh` does, for an engine that shares its records with others: it says that it is there, and counts who is.

        Raises StorageError, InputError (OMG-W003).
        """
        now_us = self._now_us()
        if now_us - self._noted_us >= SIGN_US:
            self._noted_us = now_us
            self._shelf.put_document(ENGINE, owner, b"%d" % now_us, now_us)
        alive = 0
        for name, at_us in self._shelf.documents(ENGINE):
            if now_us - int(at_us) < GONE_US:
                alive += 1
            elif now_us - int(at_us) > FORGOTTEN_US:
                self._shelf.drop_document(ENGINE, name)
        if max(1, alive) != self._engines:
            self._engines = max(1, alive)
            self._seen.pop(limits.LIMIT, None)
        self.refresh()

    def begin(self, world: World, reader: Reader) -> None:
        """Tell the gate everything, and what each tenant has used so far today, as its log has it."""
        self.world = world
        world.second_factor = mfa.verifier(self._shelf, world.keyring, self._now_us)
        self.refresh()
        if self.warden.ledger.busy:
            for tenant in reader.tenants():
                self._count(reader, tenant)

    def _count(self, reader: Reader, tenant: str) -> None:
        since_us = self._now_us() // DAY_US * DAY_US
        before = 0
        while True:
            page = search(reader, tenant, Query(kind="outcome", since_us=since_us, before=before, limit=PAGE))
            for _, leaf in page.found:
                spent = Spent(leaf.cost_micros, leaf.tokens, 1)
                self.warden.ledger.count(Use(tenant, (leaf.principal, *leaf.actors), leaf.flow), spent, at=leaf.at_us / 1_000_000)
            before = page.before
            if not before or not page.found:
                return


class _Told:
    """A shelf that says when something on it changed."""

    def __init__(self, shelf: Shelf, changed: Callable[[], None]) -> None:
        self._shelf, self._changed = shelf, changed

    def document(self, kind: str, name: str) -> bytes | None:
        return self._shelf.document(kind, name)

    def documents(self, kind: str) -> list[tuple[str, bytes]]:
        return self._shelf.documents(kind)

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self._shelf.put_document(kind, name, body, at_us)
        if kind in KINDS:
            self._changed()

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        swapped = self._shelf.swap_document(kind, name, was, body, at_us)
        if swapped and kind in KINDS:
            self._changed()
        return swapped

    def drop_document(self, kind: str, name: str) -> bool:
        dropped = self._shelf.drop_document(kind, name)
        if dropped and kind in KINDS:
            self._changed()
        return dropped
