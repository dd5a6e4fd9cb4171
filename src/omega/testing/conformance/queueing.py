"""Queues: what is taken up by whom and in which order, how wakes and limits work, and that all stores choose alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega.kernel.ports import NEVER, Batch, Head, Line, Taken, Want
from omega.kernel.queueing import Limits, Load, Waiting, choose
from omega.testing.conformance.batches import LEASE_US, START_US, TENANT, FullStore, StoreFixtures, refusal, rows, run, step

QUEUE = "work"
DIGEST = "sha256:one"
SECOND_US = 1_000_000

_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


def queued(execution: str, *, tenant: str = TENANT, due_us: int = START_US, **given: Any) -> Batch:
    """The first batch of an execution that waits in a queue."""
    facts: dict[str, Any] = {"queue": QUEUE, "digest": DIGEST, **given}
    head = Head(status="queued", flow="review", at_us=START_US, create=True, due_us=due_us, **facts)
    return Batch(tenant=tenant, execution=execution, epoch=1, rows=rows(execution, 0), head=head, key=b"wrapped " + execution.encode())


def want(
    owner: str = "worker-1",
    *,
    most: int = 10,
    now_us: int = START_US,
    queues: Sequence[str] = (QUEUE,),
    digests: Sequence[str] = (DIGEST,),
    limits: Mapping[str, Limits] | None = None,
) -> Want:
    """What a worker asks for, to own for LEASE_US from `now_us`."""
    return Want(owner=owner, digests=digests, queues=queues, limits=limits or {}, most=most, now_us=now_us, lease_us=now_us + LEASE_US)


def standing(execution: str, seq: int, epoch: int, due_us: int | None, *, status: str = "waiting") -> Batch:
    """The batch with which an execution stands still."""
    return step(execution, seq, epoch=epoch, head=Head(status=status, at_us=START_US, due_us=due_us))


async def take(store: FullStore, owner: str = "worker-1", **given: Any) -> list[str]:
    """The names of what a worker gets."""
    return [taken.execution for taken in await store.take(want(owner, **given))]


async def put(store: FullStore, *batches: Batch) -> None:
    """Commit all of `batches`, one after another."""
    for batch in batches:
        await store.commit(batch)


def found(store: FullStore, execution: str) -> Line:
    """The line of an execution that is there."""
    line = store.line(execution)
    assert line is not None
    return line


class QueueSuite(StoreFixtures):
    """What every store promises about queues."""

    # Taking up

    def test_a_queued_execution_is_begun_by_the_one_who_takes_it(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1", key="repo", priority=3, parent="exe_0", labels={"team": "core"}))
            line = found(store, "exe_1")
            assert (line.status, line.owner, line.lease_us, line.epoch, line.tries) == ("queued", "", 0, 1, 0)
            assert (line.queue, line.key, line.priority, line.due_us, line.digest) == (QUEUE, "repo", 3, START_US, DIGEST)
            assert (line.parent, dict(line.labels)) == ("exe_0", {"team": "core"})
            taken = await store.take(want("worker-1", now_us=START_US + 5))
            assert taken == [Taken(execution="exe_1", epoch=2, digest=DIGEST, queue=QUEUE, tries=1)]
            line = found(store, "exe_1")
            assert (line.status, line.owner, line.lease_us) == ("running", "worker-1", START_US + 5 + LEASE_US)
            assert (line.epoch, line.tries, line.updated_us) == (2, 1, START_US + 5)
            with refusal("OMG-S006"):
                await store.commit(step("exe_1", 1, epoch=1))
            await store.commit(step("exe_1", 1, epoch=2))

        run(main())

    def test_only_what_is_due_free_and_wanted_is_taken(self, store: FullStore) -> None:
        async def main() -> None:
            await put(
                store,
                queued("exe_due"),
                queued("exe_later", due_us=START_US + 1),
                queued("exe_never", due_us=NEVER),
                queued("exe_elsewhere", queue="other"),
                queued("exe_old", digest="sha256:two"),
                queued("exe_over"),
                queued("exe_held"),
                step("exe_over", 1, head=Head(status="cancelled", at_us=START_US)),
            )
            await store.claim("exe_held", owner="engine-9", lease_us=START_US + LEASE_US, now_us=START_US)
            assert await take(store) == ["exe_due"]
            assert await take(store) == []
            assert await take(store, digests=()) == await take(store, queues=()) == await take(store, most=0) == []
            assert await take(store, now_us=START_US + 1) == ["exe_later"]
            assert sorted(await take(store, digests=("sha256:two", DIGEST), queues=(QUEUE, "other"))) == ["exe_elsewhere", "exe_old"]

        run(main())

    def test_an_execution_whose_lease_is_over_is_taken_again(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"))
            assert await take(store, "worker-1") == ["exe_1"]
            assert await take(store, "worker-2", now_us=START_US + LEASE_US - 1) == []
            (again,) = await store.take(want("worker-2", now_us=START_US + LEASE_US))
            assert (again.epoch, again.tries) == (3, 2)
            with refusal("OMG-S006"):
                await store.renew("exe_1", 2, START_US + 3 * LEASE_US)
            await store.renew("exe_1", 3, START_US + 3 * LEASE_US)
            assert await take(store, "worker-1", now_us=START_US + 3 * LEASE_US - 1) == []

        run(main())

    def test_two_workers_never_take_the_same(self, store: FullStore) -> None:
        async def worker(owner: str) -> list[str]:
            mine: list[str] = []
            while got := await take(store, owner, most=7):
                mine += got
            return mine

        async def main() -> None:
            await asyncio.gather(*(store.commit(queued(f"exe_{number:03}", tenant=f"ten_{number % 5}")) for number in range(100)))
            shares = await asyncio.gather(*(worker(f"worker-{number}") for number in range(4)))
            assert sorted(name for share in shares for name in share) == [f"exe_{number:03}" for number in range(100)]
            owners = {name: f"worker-{number}" for number, share in enumerate(shares) for name in share}
            assert {line.execution: line.owner for line in store.lines(limit=200)} == owners

        run(main())

    def test_whoever_was_due_first_comes_first(self, store: FullStore) -> None:
        async def main() -> None:
            for number in (3, 1, 4, 0, 2):
                await put(store, queued(f"exe_{number}", due_us=START_US + number))
            later = START_US + SECOND_US
            assert await take(store, most=2, now_us=later) == ["exe_0", "exe_1"]
            assert await take(store, now_us=later) == ["exe_2", "exe_3", "exe_4"]

        run(main())

    def test_higher_priorities_come_first(self, store: FullStore) -> None:
        async def main() -> None:
            for number, priority in enumerate((0, -100, 100, 7)):
                await put(store, queued(f"exe_{number}", priority=priority, due_us=START_US + number))
            assert await take(store, most=3, now_us=START_US + SECOND_US) == ["exe_2", "exe_3", "exe_0"]

        run(main())

    def test_tenants_take_turns(self, store: FullStore) -> None:
        async def main() -> None:
            await asyncio.gather(*(store.commit(queued(f"exe_a{number:02}", tenant="ten_a")) for number in range(30)))
            await put(store, *(queued(f"exe_b{number}", tenant="ten_b", due_us=START_US + 1) for number in range(3)))
            now_us = START_US + SECOND_US
            assert await take(store, most=4, now_us=now_us) == ["exe_a00", "exe_b0", "exe_a01", "exe_b1"]
            await put(store, queued("exe_c0", tenant="ten_c", due_us=START_US + 2))
            assert await take(store, most=2, now_us=now_us) == ["exe_c0", "exe_a02"], "who has less running comes first"
            assert await take(store, most=3, now_us=now_us) == ["exe_b2", "exe_a03", "exe_a04"]

        run(main())

    # Limits

    def test_a_queue_runs_so_many_at_once_over_all_workers(self, store: FullStore) -> None:
        limits = {QUEUE: Limits(at_once=3)}

        async def main() -> None:
            await put(store, *(queued(f"exe_{number}") for number in range(6)), queued("exe_free", queue="free"))
            got = await asyncio.gather(*(take(store, f"worker-{n}", most=2, limits=limits, queues=(QUEUE, "free")) for n in range(5)))
            begun = [name for share in got for name in share]
            assert sorted(begun) == ["exe_0", "exe_1", "exe_2", "exe_free"]
            assert await take(store, limits=limits) == []
            await put(store, step("exe_0", 1, epoch=2, head=Head(status="done", at_us=START_US)))
            assert await take(store, limits=limits) == ["exe_3"]
            await put(store, standing("exe_1", 1, 2, NEVER))
            assert await take(store, limits=limits) == ["exe_4"]
            assert await take(store, limits=limits) == []
            over = START_US + LEASE_US
            assert len(await take(store, limits=limits, now_us=over)) == 3, "the dead do not count"

        run(main())

    def test_a_key_runs_so_often_at_once_and_does_not_hold_up_others(self, store: FullStore) -> None:
        limits = {QUEUE: Limits(per_key=1)}

        async def main() -> None:
            await put(store, *(queued(f"exe_a{number:02}", key="a") for number in range(12)))
            await put(store, *(queued(f"exe_b{number}", key="b", due_us=START_US + 1) for number in range(2)))
            now_us = START_US + SECOND_US
            assert await take(store, "worker-1", most=3, limits=limits, now_us=now_us) == ["exe_a00", "exe_b0"]
            assert await take(store, "worker-2", most=3, limits=limits, now_us=now_us) == []
            await put(store, step("exe_b0", 1, epoch=2, head=Head(status="failed", at_us=START_US)))
            assert await take(store, "worker-2", most=3, limits=limits, now_us=now_us) == ["exe_b1"]

        run(main())

    def test_a_tenant_runs_so_many_at_once(self, store: FullStore) -> None:
        limits = {QUEUE: Limits(per_tenant=2)}

        async def main() -> None:
            await put(store, *(queued(f"exe_a{number}", tenant="ten_a") for number in range(5)))
            await put(store, queued("exe_b0", tenant="ten_b"))
            assert sorted(await take(store, limits=limits)) == ["exe_a0", "exe_a1", "exe_b0"]
            assert await take(store, "worker-2", limits=limits) == []

        run(main())

    def test_a_rate_counts_what_was_begun_whatever_became_of_it(self, store: FullStore) -> None:
        limits = {QUEUE: Limits(rate=2, per_s=1.0)}

        async def main() -> None:
            await put(store, *(queued(f"exe_{number}") for number in range(5)))
            assert await take(store, "worker-1", limits=limits) == ["exe_0", "exe_1"]
            for name in ("exe_0", "exe_1"):
                await put(store, step(name, 1, epoch=2, head=Head(status="done", at_us=START_US)))
            assert await take(store, "worker-2", limits=limits, now_us=START_US + SECOND_US - 1) == []
            assert await take(store, "worker-2", limits=limits, now_us=START_US + SECOND_US, most=1) == ["exe_2"]
            assert await take(store, "worker-1", limits=limits, now_us=START_US + SECOND_US + 1) == ["exe_3"]
            assert await take(store, "worker-1", limits=limits, now_us=START_US + 2 * SECOND_US) == ["exe_4"]

        run(main())

    # Wakes

    def test_what_stands_still_goes_on_when_it_is_woken(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"), queued("exe_2", due_us=NEVER), queued("exe_3", due_us=START_US + SECOND_US))
            assert await take(store, "engine-1") == ["exe_1"]
            await put(store, standing("exe_1", 1, 2, NEVER))
            await store.release("exe_1")
            assert await take(store) == []
            await store.wake(["exe_1", "exe_2", "exe_3", "exe_none"], START_US + 2)
            assert await take(store) == []
            assert await take(store, now_us=START_US + 2) == ["exe_1", "exe_2", "exe_3"]

        run(main())

    def test_a_wake_never_delays_and_never_revives(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"), queued("exe_2"), step("exe_2", 1, head=Head(status="done", at_us=START_US)))
            await store.wake(["exe_1", "exe_2"], START_US + SECOND_US)
            await store.wake([], START_US)
            assert (found(store, "exe_1").due_us, found(store, "exe_2").due_us) == (START_US, NEVER)
            assert await take(store) == ["exe_1"]

        run(main())

    def test_a_wake_while_running_counts_when_it_stands_still(self, store: FullStore) -> None:
        async def main() -> None:
            names = ["exe_never", "exe_timer", "exe_soon"]
            await put(store, *(queued(name) for name in names))
            assert sorted(await take(store)) == sorted(names)
            await store.wake(names, START_US + 10)
            await store.wake(names, START_US + 20)
            await put(store, standing("exe_never", 1, 2, NEVER), standing("exe_timer", 1, 2, START_US + 50))
            await put(store, standing("exe_soon", 1, 2, START_US + 5))
            assert [found(store, name).due_us for name in names] == [START_US + 10, START_US + 10, START_US + 5]
            assert await take(store, now_us=START_US + 10) == ["exe_soon", "exe_never", "exe_timer"], "no lease is in the way"

        run(main())

    def test_a_wake_that_was_seen_does_not_count_again(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_taken", due_us=NEVER), queued("exe_claimed", due_us=NEVER))
            await store.wake(["exe_taken"], START_US)
            await store.wake(["exe_claimed"], START_US + 1)
            assert await take(store, now_us=START_US) == ["exe_taken"]
            await store.claim("exe_claimed", owner="engine-1", lease_us=START_US + LEASE_US, now_us=START_US)
            await put(store, standing("exe_taken", 1, 2, NEVER), standing("exe_claimed", 1, 2, NEVER))
            assert [found(store, name).due_us for name in ("exe_taken", "exe_claimed")] == [NEVER, NEVER]

        run(main())

    def test_a_batch_wakes_others_of_its_tenant_or_nobody(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_parent", due_us=NEVER), queued("exe_alien", due_us=NEVER, tenant="ten_two"))
            await put(store, queued("exe_other", due_us=NEVER), queued("exe_child", parent="exe_parent"))
            end = step("exe_child", 1, head=Head(status="done", at_us=START_US))
            end.wake = ("exe_parent", "exe_alien", "exe_none")
            await put(store, end)
            refused = step("exe_child", 2, epoch=9)
            refused.wake = ("exe_other",)
            with refusal("OMG-S006"):
                await store.commit(refused)
            assert [found(store, name).due_us for name in ("exe_parent", "exe_alien", "exe_other")] == [START_US, NEVER, NEVER]
            assert await take(store) == ["exe_parent"]

        run(main())

    def test_a_head_without_a_moment_leaves_it_as_it_was(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1", due_us=START_US + 7), step("exe_1", 1, head=Head(status="waiting", at_us=START_US)))
            assert found(store, "exe_1").due_us == START_US + 7
            await put(store, standing("exe_1", 2, 1, START_US + 9))
            assert found(store, "exe_1").due_us == START_US + 9
            assert (found(store, "exe_1").queue, found(store, "exe_1").digest) == (QUEUE, DIGEST)
            await put(store, step("exe_1", 3, head=Head(status="waiting", at_us=START_US, digest="sha256:two")))
            assert found(store, "exe_1").digest == "sha256:two"

        run(main())

    # Supervision

    def test_tries_count_until_it_stands_still_or_ends(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"))
            now_us, tries = START_US, []
            for _ in range(3):
                (taken,) = await store.take(want(now_us=now_us))
                tries.append(taken.tries)
                now_us += LEASE_US
            assert tries == [1, 2, 3]
            await put(store, step("exe_1", 1, epoch=4, head=Head(status="running", at_us=now_us, due_us=now_us + 5)))
            assert found(store, "exe_1").tries == 3, "a pause before the next try is no success"
            await put(store, standing("exe_1", 2, 4, now_us))
            assert found(store, "exe_1").tries == 0
            (taken,) = await store.take(want(now_us=now_us))
            assert (taken.tries, taken.epoch) == (1, 5)
            await put(store, standing("exe_1", 3, 5, NEVER, status="dead"))
            assert (found(store, "exe_1").status, found(store, "exe_1").tries) == ("dead", 0)

        run(main())

    def test_what_does_not_run_is_nobodys_from_the_same_commit_on(self, store: FullStore) -> None:
        async def main() -> None:
            names = [f"exe_{status}" for status in ("waiting", "in doubt", "dead", "queued", "done", "running")]
            await put(store, *(queued(name) for name in names))
            assert sorted(await take(store, "engine-1")) == sorted(names)
            for name in names:
                ends = Head(status=name.removeprefix("exe_"), at_us=START_US, due_us=START_US + 5)
                await put(store, step(name, 1, epoch=2, head=ends))
            held = [name for name in names if found(store, name).owner or found(store, name).lease_us]
            assert held == ["exe_running"], "whoever only waits for its next try gives it back by itself"
            taken = await take(store, "worker-2", now_us=START_US + 5)
            assert sorted(taken) == ["exe_dead", "exe_in doubt", "exe_queued", "exe_waiting"], "no lease to wait for"
            with refusal("OMG-S006"):
                await store.commit(step("exe_waiting", 2, epoch=2))

        run(main())

    def test_what_is_given_back_can_be_taken_at_once(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"))
            assert await take(store, "engine-1") == ["exe_1"]
            assert await take(store, "worker-2") == []
            await store.release("exe_1")
            assert await take(store, "worker-2") == ["exe_1"]

        run(main())

    def test_the_next_moment_is_the_earliest_after_now(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_1"), queued("exe_2", due_us=START_US + 70), queued("exe_3", due_us=START_US + 50, queue="other"))
            await put(store, queued("exe_4", due_us=NEVER))
            assert await store.next_due([QUEUE, "other"], START_US) == START_US + 50
            assert await store.next_due([QUEUE], START_US) == START_US + 70
            assert await store.next_due([QUEUE], START_US + 70) is None
            assert await store.next_due([], START_US) is None
            assert await take(store) == ["exe_1"]
            assert await store.next_due([QUEUE], START_US + 70) == START_US + LEASE_US, "the end of a lease is such a moment"

        run(main())

    def test_letters_are_for_the_owner_or_for_anybody_when_there_is_none(self, store: FullStore) -> None:
        async def main() -> None:
            await put(store, queued("exe_mine"), queued("exe_theirs", due_us=START_US + 1), queued("exe_free", due_us=NEVER))
            assert await take(store, "engine-1") == ["exe_mine"]
            await store.take(want("engine-2", now_us=START_US + 1))
            for name in ("exe_mine", "exe_theirs", "exe_free"):
                store.post(name, "cancel", {}, START_US)
            assert [letter.execution for letter in store.letters()] == ["exe_mine", "exe_free"]

        run(main())

    # All stores choose alike

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(data=st.data())
    def test_the_choice_is_that_of_the_kernel_over_everything(self, store: FullStore, data: st.DataObject) -> None:
        """Whatever a store leaves unread, it takes what `choose` takes when it is given every line."""
        mark = len(store.lines(limit=10_000))
        queues = (f"first_{mark}", f"second_{mark}")
        lines = data.draw(st.lists(st.tuples(*_LINE), max_size=14), label="queue, tenant, key, priority, due")
        limits = {queues[0]: data.draw(_LIMITS, label="limits")}
        most = data.draw(st.integers(1, 5), label="most")
        waiting = [
            Waiting(execution=f"exe_{mark}_{n:02}", tenant=f"ten_{t}", queue=queues[q], key=f"key_{k}", priority=p, due_us=START_US + n - d)
            for n, (q, t, k, p, d) in enumerate(lines)
        ]
        asked = want(queues=queues, limits=limits, most=most, now_us=START_US + 20)

        async def main() -> None:
            for one in waiting:
                await put(store, queued(one.execution, **{name: getattr(one, name) for name in _GIVEN}))
            for _ in range(3):
                loads = {queue: Load(running=0) for queue in queues}
                for one in begun:
                    loads[one.queue].add(one)
                expected = choose([one for one in waiting if one not in begun], loads, limits, most)
                assert [taken.execution for taken in await store.take(asked)] == expected
                begun.extend(one for one in waiting if one.execution in expected)

        begun: list[Waiting] = []
        run(main())


_GIVEN = ("tenant", "queue", "key", "priority", "due_us")
_LINE = (st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), st.integers(-1, 1), st.integers(0, 30))
_SOME = st.none() | st.integers(1, 3)
_LIMITS = st.builds(Limits, at_once=_SOME, per_key=_SOME, per_tenant=_SOME, rate=st.none() | st.integers(1, 6))
