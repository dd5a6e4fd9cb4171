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
from omega.host.passkeys import Passkeys
from omega.kernel.budget import Spent
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.ports import Reader
from omega.runtime.world import World
from omega.warden.admit import Warden
from omega.warden.guard.rules import Guards
from omega.warden.quotas import Use

KINDS = (quarantine.QUARANTINE, policy.POLICY, limits.GUARD, limits.LIMIT, limits.BREAKER, limits.FACT, limits.PERSON)
"""The kinds of documents that the gate is told of, in this order: first what locks out and forbids."""

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
        tellers: dict[str, Callable[[], None]] = {
            quarantine.QUARANTINE: lambda: warden.isolate(quarantine.isolated(shelf)),
            policy.POLICY: self._tell_policies,
            limits.GUARD: self._tell_guards,
            limits.LIMIT: lambda: warden.limit(limits.limits(shelf), engines=self._engines),
            limits.BREAKER: lambda: warden.break_on(limits.breakers(shelf)),
            limits.FACT: lambda: warden.learn(limits.facts(shelf)),
            limits.PERSON: lambda: warden.recognise(limits.aliases(shelf)),
        }
        self._tellers = {kind: tellers[kind] for kind in KINDS}

    def readings(self) -> Mapping[str, Reading]:
        """What can be arranged here, and how a document of each kind is checked."""
        return {
            policy.POLICY: policy.reading(self._folder, self._shelf, self._now_us),
            limits.LIMIT: limits.counted(self._shelf, limits.LIMIT, limits.check_limit),
            limits.BREAKER: limits.counted(self._shelf, limits.BREAKER, limits.check_breaker),
            limits.GUARD: limits.check_guard,
            limits.FACT: limits.check_fact,
            limits.PERSON: limits.check_person,
            mfa.FACTOR: mfa.check,
            watching.WATCH: watching.check,
        }

    def told(self) -> Shelf:
        """The shelf, for whoever writes to it: the gate is told of each change."""
        return _Told(self._shelf, self.heed)

    def refresh(self) -> None:
        """Tell the gate what has changed since it was last told, each kind by itself: one that cannot be told stays as it was, holds up no
        other, and is tried again the next time.

        Raises, once everything else is told, the first such error: InputError (OMG-W003 for policies that do not load, OMG-I001),
        StorageError (OMG-S005 for a document that is damaged).
        """
        for error in self._tell().values():
            raise error

    def heed(self, kind: str) -> None:
        """What `refresh` does, after a document of `kind` has changed: raises what is wrong with that kind alone."""
        error = self._tell().get(kind)
        if error is not None:
            raise error

    def _tell(self) -> dict[str, OmegaError]:
        """Tell the gate of each kind that has changed; gives what is wrong, by kind."""
        wrong: dict[str, OmegaError] = {}
        for kind, tell in self._tellers.items():
            found = tuple(self._shelf.documents(kind))
            if found == self._seen.get(kind):
                continue
            try:
                tell()
            except OmegaError as error:
                wrong[kind] = error
            except (ValueError, KeyError, TypeError) as error:  # it was checked before it was kept
                wrong[kind] = StorageError("OMG-S005", f"what is kept of kind {kind} cannot be read: {type(error).__name__}")
            else:
                self._seen[kind] = found
        return wrong

    def _tell_policies(self) -> None:
        if policy.POLICY in self._seen or self._shelf.documents(policy.POLICY):  # else those of the files, which the gate began with
            self.warden.adopt(policy.bundle_in_force(self._folder, self._shelf))

    def _tell_guards(self) -> None:
        if self.world is not None:
            self.world.guards = Guards(limits.guards(self._shelf))

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
        """Tell the gate everything, and what each tenant has used so far today, as its log has it.

        Raises what `refresh` raises: an engine does not begin with less than what was arranged.
        """
        self.world = world
        world.second_factor = mfa.verifier(self._shelf, world.keyring, self._now_us)
        keys = Passkeys(self._shelf, world.keyring, self._now_us, world.entropy.take)
        world.passkey = lambda tenant, principal, about, said: keys.prove((tenant, principal), about, said)
        self._seen.pop(limits.GUARD, None)  # it is the world that holds guards
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
    """A shelf that says which kind has changed on it."""

    def __init__(self, shelf: Shelf, changed: Callable[[str], None]) -> None:
        self._shelf, self._changed = shelf, changed

    def document(self, kind: str, name: str) -> bytes | None:
        return self._shelf.document(kind, name)

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return self._shelf.documents(kind, prefix)

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self._shelf.put_document(kind, name, body, at_us)
        if kind in KINDS:
            self._changed(kind)

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        swapped = self._shelf.swap_document(kind, name, was, body, at_us)
        if swapped and kind in KINDS:
            self._changed(kind)
        return swapped

    def drop_document(self, kind: str, name: str) -> bool:
        dropped = self._shelf.drop_document(kind, name)
        if dropped and kind in KINDS:
            self._changed(kind)
        return dropped
