"""The simulator: what it finds in the engine (nothing), and what it finds in engines with a bug planted in them (each one)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omega.adapters.memory import MemoryStore
from omega.chronicle.record import decode
from omega.kernel.definition import Task
from omega.kernel.effects import Effect
from omega.kernel.journal import Kind, Note, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import Batch
from omega.kernel.trail import Trail
from omega.kernel.verdict import Permit
from omega.runtime.book import Book
from omega.runtime.execution import Execution
from omega.runtime.touching import Touching
from omega.testing.simulator import (
    EVERYTHING,
    Death,
    Plan,
    Told,
    Violation,
    crash_everywhere,
    crash_twice,
    every_crash,
    simulate,
    soak,
    takeovers,
    uninterrupted,
)
from omega.testing.simulator.__main__ import main

ELSEWHERE = {Kind.CANCEL, Kind.RESOLVED, Kind.DENIED, Kind.ANSWERED, Kind.CHILD, Kind.FORKED, Kind.OVERRIDE, Kind.REDRIVEN, Kind.MIGRATED}
"""Rows that this scenario does not meet: decisions that nobody makes in it, and what only fleets of workers do."""

COMBINATORS = {"sequence", "parallel", "race", "when", "switch", "foreach", "retry", "timeout", "fallback", "cache"}


@pytest.fixture(scope="module")
def whole() -> Told:
    return uninterrupted(EVERYTHING)


def test_the_scenario_uses_every_combinator_and_every_effect(whole: Told) -> None:
    flow = EVERYTHING.build(lambda name: None)

    def kinds(part: Any) -> set[str]:
        return {part.body.kind}.union(*(kinds(child) for child in part.children))

    assert kinds(flow) >= COMBINATORS | {"task", "tool"}
    assert {leaf.effect for leaf in flow.leaves()} >= {Effect.PURE, Effect.READ, Effect.WRITE}
    assert whole.appends[0] > 80 and whole.touches > 20


def test_the_scenario_meets_every_kind_of_row() -> None:
    from omega.testing.simulator import life

    rows: list[Any] = []
    run = life.Life(EVERYTHING, Plan((Death(60, True),)), None)
    judge = run._judge

    async def keep(lab: Any, outcome: Any) -> None:
        rows.extend(lab.store.rows(life.EXECUTION))
        await judge(lab, outcome)

    run._judge = keep  # type: ignore[method-assign]
    run.run()
    assert {Kind(row.kind) for row in rows} >= set(Kind) - ELSEWHERE
    assert {meta.effect for row in rows if isinstance(meta := decode_meta(row), Step)} == {effect.value for effect in Effect}


@pytest.mark.promise("RUN-02")
@pytest.mark.promise("RUN-07")
def test_crashing_before_and_after_every_third_append_breaks_nothing(whole: Told) -> None:
    told = crash_everywhere(every=3)
    assert len(told) >= 2 * (whole.appends[0] // 3)
    assert all(len(each.appends) == 2 for each in told)


@pytest.mark.slow
@pytest.mark.promise("RUN-02")
@pytest.mark.promise("RUN-07")
def test_crashing_before_and_after_every_append_breaks_nothing(whole: Told) -> None:
    told = crash_everywhere()
    assert len(told) == 2 * whole.appends[0]
    assert all(len(each.appends) == 2 for each in told)


@pytest.mark.promise("RUN-02")
def test_so_does_a_disk_that_writes_behind_at_once() -> None:
    crash_everywhere(eager=True, every=8)


@pytest.mark.slow
@pytest.mark.promise("RUN-02")
def test_a_disk_that_writes_behind_at_once_at_every_append() -> None:
    crash_everywhere(eager=True)


def test_crashing_again_while_recovering_breaks_nothing(whole: Told) -> None:
    dice = random.Random(20)
    for seed in range(15):
        told = crash_twice(EVERYTHING, whole, dice, seed=seed)
        assert not told.problems, (told.plan, told.problems)
        assert len(told.appends) > 1


@pytest.mark.promise("RUN-10")
def test_an_owner_that_was_paused_anywhere_appends_nothing_and_touches_nothing(whole: Told) -> None:
    for told in takeovers(EVERYTHING, whole, seed=0, touches=range(whole.touches)):
        assert not told.problems, told.problems


def test_a_plan_gives_the_same_twice(whole: Told) -> None:
    plan = Plan((Death(40, True), Death(3, False)), True, 7)
    first, second = simulate(EVERYTHING, plan, whole), simulate(EVERYTHING, plan, whole)
    assert (first.value, first.appends, first.touches) == (second.value, second.appends, second.touches)


@pytest.mark.slow
def test_a_soak_counts_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    counts = soak(range(3))
    assert counts["seeds"] == 3 and counts["runs"] >= 9 and counts["crashes"] >= 6 and not counts["violations"]
    assert main(["--seed", "5"]) == 0
    assert '"violations": []' in capsys.readouterr().out


@pytest.mark.slow
def test_a_hundred_seeds() -> None:
    assert not soak(range(100))["violations"]


# -- bugs planted in the engine

Mutant = Callable[[pytest.MonkeyPatch], None]


def _commit_becomes_behind(patch: pytest.MonkeyPatch, kind: Kind, effects: tuple[str, ...]) -> None:
    sound = Book.commit

    async def commit(self: Book, *rows: Any, **rest: Any) -> Any:
        meta = decode_meta(rows[0]) if rows and rows[0].kind == kind else None
        if isinstance(meta, Step) and meta.effect in effects:
            return self.behind(*rows, **rest)
        return await sound(self, *rows, **rest)

    patch.setattr(Book, "commit", commit)


def result_of_a_write_used_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    _commit_becomes_behind(patch, Kind.DONE, ("write", "irreversible"))


def request_sent_before_its_intent_is_durable(patch: pytest.MonkeyPatch) -> None:
    _commit_becomes_behind(patch, Kind.INTENT, ("read", "idempotent", "write", "irreversible"))


def write_sent_again_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Touching, "_fate", lambda self, recorded: (False, None))


def _without_leaf(patch: pytest.MonkeyPatch, kind: str) -> None:
    sound = Book._batch

    def batch(self: Book, rows: Any, leaves: tuple[bytes, ...], *rest: Any) -> Batch:
        return sound(self, rows, tuple(leaf for leaf in leaves if decode(leaf).kind != kind), *rest)

    patch.setattr(Book, "_batch", batch)


def decision_without_a_leaf(patch: pytest.MonkeyPatch) -> None:
    _without_leaf(patch, "admit")


def outcome_without_a_leaf(patch: pytest.MonkeyPatch) -> None:
    _without_leaf(patch, "outcome")


def row_written_twice(patch: pytest.MonkeyPatch) -> None:
    sound = Book.behind

    def behind(self: Book, *rows: Any, **rest: Any) -> None:
        sound(self, *rows, **rest)
        if rows[0].kind == Kind.DONE and not rest:
            sound(self, self.row(Kind.DONE, rows[0].position, decode_meta(rows[0]), b"0"))

    patch.setattr(Book, "behind", behind)


def epoch_ignored(patch: pytest.MonkeyPatch) -> None:
    sound = MemoryStore._fence

    def fence(self: MemoryStore, batch: Batch) -> Any:
        line = self.line(batch.execution)
        batch.epoch = batch.epoch if line is None else line.epoch
        return sound(self, batch)

    patch.setattr(MemoryStore, "_fence", fence)


def permit_that_never_expires(patch: pytest.MonkeyPatch) -> None:
    sound = Permit.spend

    def spend(self: Permit, port: str) -> None:
        self._expires_at = float("inf")
        sound(self, port)

    patch.setattr(Permit, "spend", spend)


def finished_step_run_again(patch: pytest.MonkeyPatch) -> None:
    sound = Execution._recall

    def recall(self: Execution, flow: Any, trail: Trail, recorded: Recorded) -> Any:
        if (
            isinstance(flow.body, Task)
            and flow.effect is Effect.PURE
            and not flow.body.takes_context
            and trail.last is not None
            and flow.name != "broken"
        ):
            flow.body.function(trail.last[0])
        return sound(self, flow, trail, recorded)

    patch.setattr(Execution, "_recall", recall)


def touch_repeated_although_its_result_is_durable(patch: pytest.MonkeyPatch) -> None:
    sound = Past.meet

    def meet(self: Past, *about: Any) -> Recorded | None:
        found = sound(self, *about)
        meta = None if found is None or found.settled is None else found.meta.step
        return None if meta is not None and meta.effect == "read" else found

    patch.setattr(Past, "meet", meet)


def drawn_value_not_recorded(patch: pytest.MonkeyPatch) -> None:
    async def draw(self: Execution, trail: Trail, name: str, fresh: Callable[[], Any], *, signal: str = "") -> Any:
        return fresh()

    patch.setattr(Execution, "recorded_value", draw)


def timer_that_starts_anew_under_another_name(patch: pytest.MonkeyPatch) -> None:
    sound = Trail.step
    drawn = random.Random(0)
    patch.setattr(Trail, "step", lambda self, name: sound(self, f"pause{drawn.randrange(9)}" if name == "pause" else name))


def failure_of_a_branch_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A recorded failure comes back as a success."""
    sound = Execution._recall

    def recall(self: Execution, flow: Any, trail: Trail, recorded: Recorded) -> Any:
        if recorded.settled is not None and recorded.settled.kind == Kind.FAILED:
            return 0
        return sound(self, flow, trail, recorded)

    patch.setattr(Execution, "_recall", recall)


def resolution_ignored(patch: pytest.MonkeyPatch) -> None:
    """Told that a write took place, the engine does it again all the same."""
    sound = Touching._fate

    def fate(self: Touching, recorded: Recorded) -> tuple[bool, Any]:
        sound(self, recorded)
        return False, None

    patch.setattr(Touching, "_fate", fate)


def chosen_branch_not_in_the_digest(patch: pytest.MonkeyPatch) -> None:
    sound = Book.row

    def row(self: Book, kind: Kind, position: str, meta: Any, plain: bytes | None = None) -> Any:
        before = self.digest
        made = sound(self, kind, position, meta, plain)
        if kind == Kind.CHOSE and isinstance(meta, Note):
            self.digest = before
        return made

    patch.setattr(Book, "row", row)


MUTANTS: tuple[Mutant, ...] = (
    result_of_a_write_used_before_it_is_durable,
    request_sent_before_its_intent_is_durable,
    write_sent_again_after_a_crash,
    decision_without_a_leaf,
    outcome_without_a_leaf,
    row_written_twice,
    epoch_ignored,
    permit_that_never_expires,
    finished_step_run_again,
    touch_repeated_although_its_result_is_durable,
    drawn_value_not_recorded,
    timer_that_starts_anew_under_another_name,
    failure_of_a_branch_forgotten,
    resolution_ignored,
    chosen_branch_not_in_the_digest,
)


def hunt() -> Iterator[str]:
    """Every violation that the simulator finds, the cheapest searches first."""
    try:
        expected = uninterrupted(EVERYTHING)
    except Violation as violation:
        yield str(violation)
        return
    for told in every_crash(EVERYTHING, expected, every=7):
        yield from told.problems
    for told in takeovers(EVERYTHING, expected, seed=0, touches=range(expected.touches)):
        yield from told.problems
    for told in every_crash(EVERYTHING, expected):
        yield from told.problems


@pytest.mark.slow
@pytest.mark.promise("RUN-03")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert next(hunt(), None) is not None, f"the simulator did not notice: {mutant.__name__}"
