"""Fleets of workers: what befalls them breaks nothing, and a bug planted in what holds them together is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from omega.adapters.memory import MemoryStore, Snapshot
from omega.adapters.memory import store as memory_store
from omega.adapters.sql.lines import changed
from omega.kernel.journal import Status
from omega.kernel.ports import NEVER, Batch, Head, Line
from omega.kernel.verdict import Permit
from omega.runtime import conclusion, engine
from omega.runtime.book import Book
from omega.runtime.children import Children
from omega.runtime.lease import Lease
from omega.runtime.steady import SteadyClock
from omega.runtime.touching import Touching
from omega.runtime.undoing import Undoing
from omega.runtime.worker import Worker
from omega.testing.simulator.errands import ERRANDS
from omega.testing.simulator.fleet import Fleet, fleets
from omega.testing.simulator.stations import stations

SAMPLE = range(16)


@pytest.mark.promise("RUN-02")
@pytest.mark.promise("RUN-82")
@pytest.mark.promise("RUN-89")
def test_a_sample_of_fleets_comes_through_whatever_befalls_it() -> None:
    fates: dict[str, int] = {}
    touches = 0
    for found in fleets(SAMPLE):
        assert not found.problems, (found.seed, found.problems[:5])
        touches += found.touches
        for fate, times in found.fates.items():
            fates[fate] = fates.get(fate, 0) + times
    assert set(fates) == {"kill", "kill at append", "pause", "stall", "cut", "jump", "hints in another order"} and min(fates.values()) > 3
    assert touches > 16 * 10 * 4, "some touches were repeated, as they may be"


STATIONS = {errand.flow.name: errand for errand in ERRANDS}


def _every_station(name: str) -> int:
    runs = 0
    for found in stations(STATIONS[name]):
        assert not found.problems, (found.fates, found.problems[:5])
        runs += 1
    return runs


@pytest.mark.promise("RUN-02")
@pytest.mark.parametrize(("name", "least"), [("sleeps", 16), ("asks", 8), ("hurry", 14)])
def test_a_worker_may_die_at_every_change_of_a_timer_a_signal_and_a_child(name: str, least: int) -> None:
    """Takes, timers, wakes, hand-overs: before and after each of them."""
    assert _every_station(name) > least


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "writes", "family", "trip"])
def test_a_worker_may_die_at_every_change_of_everything_else(name: str) -> None:
    assert _every_station(name) > 10


def test_a_seed_gives_the_same_twice() -> None:
    first, second = Fleet(7).run(), Fleet(7).run()
    assert (first.fates, first.touches, first.recovered_s) == (second.fates, second.touches, second.recovered_s)


def test_without_misfortunes_nothing_is_repeated() -> None:
    found = Fleet(0, misfortunes=0).run()
    assert found.executions == 0 and found.touches == 0 and not found.problems
    assert {errand.flow.name for errand in ERRANDS} == {"plain", "writes", "sleeps", "asks", "family", "hurry", "trip"}


@pytest.mark.slow
def test_a_hundred_and_fifty_fleets() -> None:
    for found in fleets(range(1_000, 1_150), misfortunes=12):
        assert not found.problems, (found.seed, found.problems[:5])


# -- bugs planted in what holds a fleet together

Mutant = Callable[[pytest.MonkeyPatch], None]


def touch_without_looking_at_the_lease(patch: pytest.MonkeyPatch) -> None:
    async def assure(self: Lease) -> None:
        """Nothing is looked at."""

    patch.setattr(Lease, "assure", assure)
    patch.setattr(Lease, "left_s", property(lambda self: 1e9))


def permit_that_outlasts_the_lease(patch: pytest.MonkeyPatch) -> None:
    sound = Permit.spend

    def spend(self: Permit, port: str) -> None:
        self._expires_at = float("inf")
        sound(self, port)

    patch.setattr(Permit, "spend", spend)


def _with_lease(line: Any, lease_us: int) -> Any:
    return replace(line, lease_us=lease_us)


def taken_while_another_lease_runs(patch: pytest.MonkeyPatch) -> None:
    sound = MemoryStore.take

    async def take(self: MemoryStore, want: Any) -> Any:
        for name, line in list(self._durable.lines.items()):
            if line.status == Status.RUNNING:
                self._durable.lines[name] = _with_lease(line, 0)
        return await sound(self, want)

    patch.setattr(MemoryStore, "take", take)


def wake_while_running_lost(patch: pytest.MonkeyPatch) -> None:
    sound = Snapshot.wake

    def wake(self: Snapshot, execution: str, now_us: int) -> None:
        line = self.lines.get(execution)
        if line is not None and line.status != Status.RUNNING:
            sound(self, execution, now_us)

    patch.setattr(Snapshot, "wake", wake)


def end_of_a_child_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    sound = Book._batch

    def batch(self: Book, rows: Any, leaves: Any, head: Any, key: Any, wake: Any = ()) -> Batch:
        return sound(self, rows, leaves, head, key)

    patch.setattr(Book, "_batch", batch)


def timer_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(conclusion, "due_of", lambda halt, deadline=None: NEVER)


def hints_believed_in(patch: pytest.MonkeyPatch) -> None:
    async def hinted(self: Worker, queues: Any) -> None:
        while not await self.world.wakeups.wait(queues, 3_600.0):  # type: ignore[union-attr]
            pass

    patch.setattr(Worker, "_hinted", hinted)


def leases_never_renewed(patch: pytest.MonkeyPatch) -> None:
    async def renew(self: engine.Engine) -> None:
        """Nothing is renewed."""

    async def assure(self: Lease) -> None:
        """And nothing is assured."""

    patch.setattr(engine.Engine, "renew", renew)
    patch.setattr(Lease, "assure", assure)
    patch.setattr(Lease, "left_s", property(lambda self: 30.0))


def own_wall_clock_believed_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SteadyClock, "now_us", lambda self: self._own.now_us())


def undoing_forgotten_over_a_crash(patch: pytest.MonkeyPatch) -> None:
    async def decide(self: Undoing, position: str, error: Any) -> None:
        """It is not written down that it came to this."""

    async def back(self: Undoing, undo: Any, back: Any, failure: Any) -> Any:
        raise failure

    patch.setattr(Undoing, "_decide", decide)
    patch.setattr(Undoing, "_back", back)


def write_sent_again_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Touching, "_fate", lambda self, recorded: (False, None))


def stands_still_and_stays_the_owner(patch: pytest.MonkeyPatch) -> None:
    """A worker that stands still keeps what it owns for ever."""

    def kept(line: Line, head: Head, **facts: Any) -> Line:
        after = changed(line, head, **facts)
        return replace(after, owner=line.owner, lease_us=1 << 60) if head.status == Status.WAITING and line.owner else after

    patch.setattr(memory_store, "changed", kept)


def join_before_the_child_has_ended(patch: pytest.MonkeyPatch) -> None:
    async def end_of(self: Children, child: str) -> dict[str, Any]:
        return {"status": Status.DONE, "value": 0, "error": None, "spent": [0, 0, 0]}

    patch.setattr(Children, "_end_of", end_of)


MUTANTS: tuple[Mutant, ...] = (
    touch_without_looking_at_the_lease,
    permit_that_outlasts_the_lease,
    taken_while_another_lease_runs,
    wake_while_running_lost,
    end_of_a_child_wakes_nobody,
    timer_forgotten,
    hints_believed_in,
    leases_never_renewed,
    own_wall_clock_believed_in,
    undoing_forgotten_over_a_crash,
    write_sent_again_after_a_crash,
    stands_still_and_stays_the_owner,
    join_before_the_child_has_ended,
)

SEARCHED = 40
"""Fleets that are looked through for a planted bug before it counts as overlooked."""


@pytest.mark.slow
@pytest.mark.promise("RUN-03")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_bug_planted_in_a_fleet_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(found.problems for found in fleets(range(SEARCHED), misfortunes=8)), f"nobody noticed: {mutant.__name__}"
