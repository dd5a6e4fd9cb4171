"""Sagas in durable runs: whatever goes wrong, and wherever, nothing that was done is left standing, and nothing is undone that was not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import Command, Context, WriteFiles, flow, parallel, saga, timeout
from omega.kernel.errors import UpstreamError
from omega.kernel.journal import Kind
from omega.kernel.ports import Outcome
from omega.testing import Crash, Lab, Touch, run_virtual
from runtime.flows import code, lab

TOOK_S = 0.1
"""How long each step and each undo takes in the world."""


class Hotel:
    """A world that books rooms and gives them back. `booked` is what stands there, `asked` what reached it, in order."""

    def __init__(self, *, broken: tuple[str, ...] = (), dies_at: int = -1, before: Hotel | None = None) -> None:
        self.booked: list[str] = before.booked if before else []
        self.asked: list[str] = before.asked if before else []
        self.broken = broken
        self.dies_at = dies_at

    async def answer(self, touch: Touch) -> Any:
        assert isinstance(touch.request, WriteFiles)
        (what,) = touch.request.files
        self.asked.append(what)
        await asyncio.sleep(TOOK_S)
        if what in self.broken:
            raise UpstreamError("OMG-M007", f"{what} is refused")
        if what.startswith("un"):
            self.booked = [room for room in self.booked if room != what[2:]]
        elif what not in self.booked:
            self.booked.append(what)
        if len(self.asked) == self.dies_at:
            raise Crash
        return [what]

    def lab(self, **facts: Any) -> Lab:
        made = lab(**facts)
        made.effectors["files"].answer = self.answer
        return made


def step(name: str, effect: str = "idempotent") -> Any:
    @flow(name=name, effect=effect, needs="files:write")
    async def act(ctx: Context, n: int) -> int:
        await ctx.touch(WriteFiles(files={name: b""}))
        return n + 1

    return act


def undo(name: str, effect: str = "idempotent") -> Any:
    @flow(name=f"un{name}", effect=effect, needs="files:write")
    async def act(ctx: Context, pair: tuple[int, int]) -> None:
        await ctx.touch(WriteFiles(files={f"un{name}": b""}))

    return act


def booking(*names: str, effect: str = "idempotent") -> Any:
    return saga(*((step(name, effect), undo(name)) for name in names))


@flow(effect="read", needs="process:run")
async def slow(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Command(argv=("slow", str(n)))))


@flow(effect="read", needs="process:run")
async def fails(ctx: Context, n: int) -> int:
    return int(await ctx.touch(Command(argv=("fails", str(n)))))


async def to_its_end(hotel: Hotel, whole: Any, value: int, **facts: Any) -> tuple[Lab, Any]:
    """Run `whole` on an engine, and where that dies on another one, until it has ended or stands still."""
    world = hotel.lab(**facts)
    try:
        return world, await world.run(whole, value, execution="run")
    except Crash:
        pass
    again = Hotel(broken=hotel.broken, before=hotel)
    hotel.booked, hotel.asked = again.booked, again.asked
    second = again.lab(start=world.store.snapshot(), clock=world.clock, seed="next")
    ended = await second.resume("run", whole)
    hotel.booked = again.booked
    return second, ended


def test_a_saga_that_works_out_undoes_nothing() -> None:
    async def run() -> None:
        hotel = Hotel()
        world, done = await to_its_end(hotel, booking("a", "b", "c"), 0)
        assert done.value == 3 and hotel.asked == ["a", "b", "c"]
        assert (await world.replay("run", booking("a", "b", "c"))).identical and world.verify().sound

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
def test_a_failed_saga_is_undone_last_first_and_replays() -> None:
    async def run() -> None:
        hotel = Hotel(broken=("c",))
        whole = booking("a", "b", "c")
        world, failed = await to_its_end(hotel, whole, 0)
        assert code(failed) == "OMG-M007" and hotel.asked == ["a", "b", "c", "unb", "una"] and hotel.booked == []
        report = await world.replay("run", whole)
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
@pytest.mark.parametrize("dies_at", range(1, 6))
def test_a_machine_that_dies_anywhere_leaves_nothing_standing(dies_at: int) -> None:
    async def run() -> None:
        hotel = Hotel(broken=("c",), dies_at=dies_at)
        whole = booking("a", "b", "c")
        world, failed = await to_its_end(hotel, whole, 0)
        assert code(failed) == "OMG-M007" and hotel.booked == []
        once = list(dict.fromkeys(hotel.asked))
        assert once == ["a", "b", "c", "unb", "una"] and len(hotel.asked) <= len(once) + 1
        report = await world.replay("run", whole)
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 45), st.sampled_from(["idempotent", "write"]))
def test_a_saga_cancelled_at_any_moment_leaves_nothing_standing(hundredths: int, effect: str) -> None:
    """Also a write under way when the cancellation came: it is seen to its end, and then undone."""

    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab()
        whole = booking("a", "b", "c", effect=effect)
        name = await world.engine.start(whole, 0, world.scope(), execution="run")
        await asyncio.sleep(hundredths / 100)
        try:
            await world.decide(name, "cancel")
        except Exception as too_late:
            assert "has ended" in str(too_late)
        ended = await world.engine.outcome(name)
        assert ended.status in ("cancelled", "done") and hotel.booked == ([] if ended.status == "cancelled" else ["a", "b", "c"])
        done = [what for what in hotel.asked if not what.startswith("un")]
        undone = [what for what in hotel.asked if what.startswith("un")]
        if ended.status == "cancelled":
            assert undone == [f"un{what}" for what in reversed(done)][-len(undone) :] if undone else len(done) <= 1
        assert world.verify().sound

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
@pytest.mark.parametrize("wrap", ["parallel", "timeout"])
@pytest.mark.parametrize("effect", ["idempotent", "write"])
def test_a_saga_given_up_from_outside_is_undone(wrap: str, effect: str) -> None:
    @flow(effect="read", needs="process:run")
    async def late_failure(ctx: Context, n: int) -> int:
        await ctx.sleep(1.5 * TOOK_S)
        return int(await ctx.touch(Command(argv=("fails", str(n)))))

    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab()
        trip = booking("a", "b", "c", effect=effect)
        whole = parallel(trip, late_failure) if wrap == "parallel" else timeout(trip, 1.5 * TOOK_S)
        failed = await world.run(whole, 0)
        assert failed.status == "failed" and code(failed) == ("OMG-P002" if wrap == "parallel" else "OMG-R004")
        assert hotel.booked == [] and "una" in hotel.asked and "c" not in hotel.asked
        report = await world.replay(failed.execution, whole)
        assert report.identical, report.divergence

    run_virtual(run())


def test_a_denied_step_undoes_what_was_done() -> None:
    async def run() -> None:
        hotel = Hotel()
        policy = '@id("no-c") @reason("not today") forbid(principal, action, resource == Flow::"c");'
        world, denied = await to_its_end(hotel, booking("a", "b", "c"), 0, policies={"no.cedar": policy})
        assert denied.status == "failed" and code(denied) == "OMG-W001" and hotel.asked == ["a", "b", "unb", "una"]
        assert world.verify().sound

    run_virtual(run())


@pytest.mark.promise("FLOW-45")
def test_an_undo_that_fails_is_told_and_keeps_no_other_from_running() -> None:
    async def run() -> None:
        hotel = Hotel(broken=("c", "unb"))
        whole = booking("a", "b", "c")
        world, failed = await to_its_end(hotel, whole, 0)
        assert code(failed) == "OMG-R031" and hotel.asked == ["a", "b", "c", "unb", "una"] and hotel.booked == ["b"]
        assert failed.error is not None and failed.error["details"]["undone"] == ["a"]
        assert failed.error["details"]["because"]["code"] == "OMG-M007"
        report = await world.replay("run", whole)
        assert report.identical, report.divergence

    run_virtual(run())


def test_a_step_that_waits_is_no_failure() -> None:
    async def run() -> None:
        hotel = Hotel()
        whole = saga((step("a"), undo("a")), step("b", "write").approved_by("owner").undone_by(undo("b")))
        world = hotel.lab()
        waits = await world.run(whole, 0, execution="run")
        assert waits.status == "waiting" and hotel.asked == ["a"]
        await world.decide("run", "approve", step="b")
        done = await world.resume("run", whole)
        assert done.value == 2 and hotel.asked == ["a", "b"]

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
def test_a_saga_cancelled_while_it_stands_still_is_undone() -> None:
    async def run() -> None:
        hotel = Hotel()
        whole = saga((step("a"), undo("a")), step("b", "write").approved_by("owner"))
        world = hotel.lab()
        assert (await world.run(whole, 0, execution="run")).status == "waiting"
        await world.decide("run", "cancel")
        if world.store.line("run").status != "cancelled":
            await world.resume("run", whole)
        assert world.store.line("run").status == "cancelled" and hotel.asked == ["a", "una"] and hotel.booked == []
        assert world.verify().sound

    run_virtual(run())


def test_an_engine_that_closes_undoes_nothing() -> None:
    async def run() -> None:
        hotel = Hotel()
        whole = booking("a", "b", "c")
        world = hotel.lab()
        await world.engine.start(whole, 0, world.scope(), execution="run")
        await asyncio.sleep(1.5 * TOOK_S)
        await world.engine.close()
        assert hotel.booked == ["a", "b"] and not any(what.startswith("un") for what in hotel.asked)
        second = hotel.lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        assert (await second.resume("run", whole)).value == 3 and hotel.booked == ["a", "b", "c"]

    run_virtual(run())


def test_the_undoing_is_decided_on_disk_before_it_begins() -> None:
    async def run() -> None:
        hotel = Hotel(broken=("b",))
        world, _ = await to_its_end(hotel, booking("a", "b"), 0)
        kinds = [(Kind(row.kind), row.position) for row in world.store.rows("run")]
        decided = kinds.index((Kind.CHOSE, "saga"))
        assert decided < next(index for index, (_, position) in enumerate(kinds) if position.endswith("/una"))

    run_virtual(run())


@dataclass(frozen=True)
class Story:
    """What happens to a saga: what its steps are, which fails, when somebody cancels, after which commit the machine dies, and whether the
    world was asked for more before it did."""

    effects: tuple[str, ...]
    undos: str
    failing: int
    cancelled_s: float | None
    dies_after: int
    asked_for_more: bool

    @property
    def names(self) -> list[str]:
        return [f"s{index}" for index in range(len(self.effects))]

    @property
    def broken(self) -> tuple[str, ...]:
        return (f"s{self.failing}",)

    def saga(self) -> Any:
        return saga(*((step(name, effect), undo(name, self.undos)) for name, effect in zip(self.names, self.effects, strict=True)))


STORIES = st.builds(
    Story,
    effects=st.lists(st.sampled_from(["idempotent", "write"]), min_size=1, max_size=4).map(tuple),
    undos=st.sampled_from(["idempotent", "write"]),
    failing=st.integers(0, 5),
    cancelled_s=st.none() | st.integers(1, 45).map(lambda hundredths: hundredths / 100),
    dies_after=st.integers(0, 14),
    asked_for_more=st.booleans(),
)


@pytest.mark.promise("FLOW-44")
@settings(deadline=None, max_examples=150)
@given(STORIES)
def test_a_machine_that_dies_between_any_two_commits_leaves_all_or_nothing(story: Story) -> None:
    """Right after a commit, or right before the next one, when the world may already have been asked for more. A person settles doubts."""

    async def run() -> None:
        hotel = Hotel(broken=story.broken)
        whole = story.saga()
        world = hotel.lab()
        lives = await _remember(world, hotel)
        name = await world.engine.start(whole, 0, world.scope(), execution="run")
        if story.cancelled_s is not None:
            await asyncio.sleep(story.cancelled_s)
            if world.engine.book_of(name) is not None:
                await world.decide(name, "cancel")
        ended = await world.engine.outcome(name)
        assert hotel.booked == (story.names if ended.status == "done" else [])
        durable, before, after = lives[min(story.dies_after, len(lives) - 1)]
        again = Hotel(broken=story.broken)
        again.booked = list(after if story.asked_for_more else before)
        second = again.lab(start=durable, clock=world.clock, seed="next")
        ended = await _settled(second, again, name, whole)
        assert again.booked == (story.names if ended.status == "done" else []), ended
        if ended.status == "failed":
            report = await second.replay(name, whole)
            assert report.identical, report.divergence
        assert second.verify().sound

    run_virtual(run())


async def _remember(world: Lab, hotel: Hotel) -> list[tuple[Any, list[str], list[str]]]:
    """What is durable after each commit, with what stands in the world then, and right before the next one."""
    lives: list[tuple[Any, list[str], list[str]]] = []
    commit = world.store.commit

    async def remembered(batch: Any) -> Any:
        if lives:
            lives[-1] = (*lives[-1][:2], list(hotel.booked))
        done = await commit(batch)
        lives.append((world.store.snapshot(), list(hotel.booked), list(hotel.booked)))
        return done

    world.store.commit = remembered
    return lives


async def _settled(world: Lab, hotel: Hotel, name: str, whole: Any) -> Outcome:
    """Go on until it has ended; where a step is in doubt, somebody looks at the world and says what happened."""
    while True:
        outcome = await world.resume(name, whole)
        if outcome.status != "in doubt":
            return outcome
        (doubt,) = world.past(name).doubts()
        what = doubt.position.rpartition("/")[2]
        if what.startswith("un"):
            await world.decide(name, "resolve", step=doubt.position, done=what[2:] not in hotel.booked)
        else:
            await world.decide(name, "resolve", step=doubt.position, done=what in hotel.booked, value=int(what[1:]) + 1)


@flow
def same(n: int) -> int:
    return n


@flow
def first(pair: tuple[int, int]) -> int:
    return pair[0]


@pytest.mark.promise("FLOW-44")
@settings(deadline=None, max_examples=100)
@given(STORIES, st.integers(0, 45), st.booleans())
def test_a_saga_beside_a_branch_that_fails_is_undone_also_after_a_crash(story: Story, fails_at: int, deep: bool) -> None:
    @flow(effect="read", needs="process:run")
    async def late_failure(ctx: Context, n: int) -> int:
        await ctx.sleep(fails_at / 100)
        return int(await ctx.touch(Command(argv=("fails", str(n)))))

    async def run() -> None:
        hotel = Hotel(broken=story.broken)
        branch = parallel(same, same) | first | story.saga() if deep else story.saga()
        whole = parallel(branch, late_failure)
        world = hotel.lab()
        lives = await _remember(world, hotel)
        failed = await world.run(whole, 0, execution="run")
        assert failed.status == "failed" and hotel.booked in ([], story.names)
        durable, before, after = lives[min(story.dies_after, len(lives) - 1)]
        again = Hotel(broken=story.broken)
        again.booked = list(after if story.asked_for_more else before)
        second = again.lab(start=durable, clock=world.clock, seed="next")
        ended = await _settled(second, again, "run", whole)
        assert ended.status == "failed" and again.booked in ([], story.names), ended
        assert second.verify().sound

    run_virtual(run())


@flow(effect="read", needs="process:run")
async def fails_late(ctx: Context, n: int) -> int:
    await ctx.sleep(5 * TOOK_S)
    return int(await ctx.touch(Command(argv=("fails", str(n)))))


def test_a_saga_that_waits_beside_a_branch_that_fails_is_undone() -> None:
    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab()
        whole = parallel(saga((step("a"), undo("a")), step("b", "write").approved_by("owner")), fails_late)
        failed = await world.run(whole, 0)
        assert code(failed) == "OMG-P002" and hotel.asked == ["a", "una"] and hotel.booked == []
        report = await world.replay(failed.execution, whole)
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-45")
def test_an_undo_that_waits_for_a_person_or_fails_is_not_hidden_by_the_failure_beside_it() -> None:
    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab()
        whole = parallel(saga((step("a"), undo("a").approved_by("owner")), slow), fails_late)
        waits = await world.run(whole, 0, execution="run")
        assert waits.status == "waiting" and hotel.booked == ["a"]
        await world.decide("run", "approve", step="una")
        assert code(await world.resume("run", whole)) == "OMG-P002" and hotel.booked == []

        hotel = Hotel(broken=("una",))
        failed = await hotel.lab().run(parallel(saga((step("a"), undo("a")), slow), fails_late), 0)
        assert code(failed) == "OMG-R031"

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
@pytest.mark.parametrize("ends", ["its time is over", "somebody cancels at once"])
@pytest.mark.parametrize("lived_s", [0.05, 0.15])
@pytest.mark.parametrize("beside", [True, False])
def test_a_run_that_is_ended_as_soon_as_it_is_taken_up_again_is_undone(ends: str, lived_s: float, beside: bool) -> None:
    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab()
        trip = parallel(same, same) | first | booking("a", "b", "c")
        whole = parallel(trip, same) | first if beside else trip
        limit = 60.0 if ends == "its time is over" else None
        await world.engine.start(whole, 0, world.scope(), execution="run", timeout_s=limit)
        await asyncio.sleep(lived_s)
        await world.engine.close()
        await world.store.flush()
        second = hotel.lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        if ends == "its time is over":
            await asyncio.sleep(100)
            assert code(await second.resume("run", whole)) == "OMG-R004"
        else:
            await second.engine.resume("run", whole)
            await second.decide("run", "cancel")
            assert (await second.engine.outcome("run")).status == "cancelled"
        assert hotel.booked == [] and second.verify().sound

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
@pytest.mark.parametrize("park_s", [None, 5.0])
def test_a_saga_whose_time_runs_out_while_it_waits_is_undone(park_s: float | None) -> None:
    """Also where nobody holds it in memory meanwhile."""

    async def run() -> None:
        hotel = Hotel()
        world = hotel.lab(park_s=park_s)
        whole = timeout(saga((step("a"), undo("a")), step("b").delayed("2h")), "1h")
        ended = await world.run(whole, 0, execution="run")
        if park_s is not None:
            assert code(ended) == "OMG-R020" and hotel.booked == ["a"]
            await asyncio.sleep(3600)
            ended = await world.resume("run", whole)
        assert code(ended) == "OMG-R004" and hotel.asked == ["a", "una"] and hotel.booked == []
        report = await world.replay("run", whole)
        assert report.identical, report.divergence

    run_virtual(run())


@pytest.mark.promise("FLOW-44")
def test_what_is_to_be_undone_after_a_crash_does_not_wait_first() -> None:
    async def run() -> None:
        hotel = Hotel(dies_at=2)
        world = hotel.lab()
        whole = saga((step("a"), undo("a")), step("b").delayed("2h"))
        name = await world.engine.start(whole, 0, world.scope(), execution="run")
        await asyncio.sleep(60)
        await world.decide(name, "cancel")
        with pytest.raises(Crash):
            await world.engine.outcome(name)
        again = Hotel(before=hotel)
        second = again.lab(start=world.store.snapshot(), clock=world.clock, seed="next")
        ended = await second.resume("run", whole)
        assert ended.status == "cancelled" and again.booked == [] and second.clock.monotonic() < 120

    run_virtual(run())
