"""Events are read from the record: what happened is told, in order, from any position on, and nothing else is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.contracts.events import FACTS, AgentAsked, Event, Fact, Interest, WorkspaceChanged, checked, of_ones_own, plain
from omega.contracts.publishing import EVENTS, Notice, Publish, publish
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.events import BEGINNING, Feed
from omega.kernel.context import Context
from omega.kernel.errors import InputError
from omega.kernel.flow import flow


@flow(effect="pure")
def double(number: int) -> int:
    return 2 * number


@flow(effect="pure")
def fail(number: int) -> int:
    raise ValueError("never a good number")


@flow(effect="idempotent", needs=EVENTS)
async def change(ctx: Context, what: str) -> str:
    await ctx.call(publish, Notice.of(WorkspaceChanged(workspace="design", what=what)))
    return what


def feed_of(omega: Omega) -> Feed:
    return Feed(omega.store, omega.identity.keyring)


def everything(omega: Omega, interest: Interest | None = None) -> list[Event]:
    return list(feed_of(omega).read("local", BEGINNING, interest, limit=1_000).events)


def types_of(events: list[Event], execution: str) -> list[str]:
    return [event.type for event in events if event.data.get("execution") == execution]


@pytest.mark.promise("SDK-01")
def test_what_happened_is_told_in_order(tmp_path: Path) -> None:
    async def main() -> list[Event]:
        async with Omega.open(tmp_path) as omega:
            await omega.run(double, 2, execution="good")
            await omega.run(fail, 2, execution="bad")
            return everything(omega)

    events = asyncio.run(main())
    assert types_of(events, "good") == ["flow:created", "flow:executed"]
    assert types_of(events, "bad") == ["flow:created", "flow:error"]
    ended = next(event for event in events if event.type == "flow:error")
    assert ended.key == "bad"
    assert ended.data["code"] == "OMG-R001"
    assert ended.data["flow"] == "fail"
    assert [event.position for event in events] == sorted({event.position for event in events})


@pytest.mark.promise("SDK-02")
def test_whoever_goes_on_after_a_position_sees_every_event_once(tmp_path: Path) -> None:
    async def main() -> tuple[list[Event], list[Event]]:
        async with Omega.open(tmp_path) as omega:
            for number in range(20):
                await omega.run(double, number)
            whole, pieces, after = everything(omega), [], BEGINNING
            while True:
                page = feed_of(omega).read("local", after, limit=3)
                if not page.events:
                    return whole, pieces
                pieces += page.events
                after = page.position

    whole, pieces = asyncio.run(main())
    assert pieces == whole
    assert len(whole) >= 40


def test_events_survive_the_engine_that_made_them(tmp_path: Path) -> None:
    async def run() -> list[Event]:
        async with Omega.open(tmp_path) as omega:
            await omega.run(change, "one")
            return everything(omega)

    async def look() -> list[Event]:
        async with Omega.open(tmp_path) as omega:
            return everything(omega)

    before = asyncio.run(run())
    assert asyncio.run(look())[: len(before)] == before


@pytest.mark.promise("SDK-03")
def test_a_published_event_is_part_of_the_record(tmp_path: Path) -> None:
    async def main() -> list[Event]:
        async with Omega.open(tmp_path) as omega:
            for what in ("one", "two"):
                outcome = await omega.run(change, what)
                assert outcome.error is None
            return everything(omega, Interest(types=["workspace:*"]))

    events = asyncio.run(main())
    assert [event.fact() for event in events] == [WorkspaceChanged(workspace="design", what=each) for each in ("one", "two")]
    assert {event.key for event in events} == {"design"}


@pytest.mark.promise("SDK-03")
def test_a_flow_that_calls_itself_publish_publishes_nothing(tmp_path: Path) -> None:
    @flow(name="events.publish", effect="idempotent", needs=EVENTS)
    async def impostor(ctx: Context, what: str) -> dict[str, Any]:
        real = await ctx.touch(Publish(type="workspace:changed", key="design", data={"workspace": "design", "what": "real"}))
        return real | {"data": {"workspace": "design", "what": what}}

    async def main() -> tuple[str, list[Event]]:
        async with Omega.open(tmp_path) as omega:
            outcome = await omega.run(impostor, "forged")
            return outcome.status, everything(omega, Interest(types=["workspace:changed"]))

    assert asyncio.run(main()) == ("done", [])


def test_nobody_publishes_what_the_record_alone_tells(tmp_path: Path) -> None:
    @flow(effect="idempotent", needs=EVENTS)
    async def lie(ctx: Context, execution: str) -> None:
        await ctx.call(publish, Notice(type="flow:executed", key=execution, data={"execution": execution}))

    async def main() -> Any:
        async with Omega.open(tmp_path) as omega:
            return (await omega.run(lie, "exe")).error

    error = asyncio.run(main())
    assert error is not None
    assert error["code"] == "OMG-I001"


@pytest.mark.parametrize("kind", sorted(kind for kind, fact in FACTS.items() if fact is not WorkspaceChanged))
def test_nobody_publishes_from_outside_what_the_house_tells(kind: str) -> None:
    with pytest.raises(InputError):
        of_ones_own(kind)
    of_ones_own("workspace:changed")
    of_ones_own("review:asked")


def test_nobody_has_an_agent_elsewhere_answer_into_the_execution_of_another(tmp_path: Path) -> None:
    @flow(effect="idempotent", needs=EVENTS)
    async def ask(ctx: Context, execution: str) -> None:
        await ctx.call(publish, Notice.of(AgentAsked(agent="far", version="1", execution=execution, signal="s", task='"mine"')))

    async def main() -> tuple[Any, Any, Any, list[str]]:
        async with Omega.open(tmp_path) as omega:
            notice = Notice.of(AgentAsked(agent="far", version="1", execution="victim", signal="s", task='"mine"'))
            outside = await omega.run(find_method("events.publish")[0], notice)
            other = await omega.run(ask, "victim", execution="forged")
            own = await omega.run(ask, "own", execution="own")
            told = [event.data["execution"] for event in everything(omega, Interest(types=["agent:asked"]))]
            return outside.error, other.error, own.error, told

    outside, other, own, told = asyncio.run(main())
    assert (outside["code"], other["code"], own, told) == ("OMG-I001", "OMG-I001", None, ["own"])
    assert "the house alone" in outside["cause"]
    assert "another execution" in other["cause"]


def test_erasing_takes_what_was_published_and_leaves_what_happened(tmp_path: Path) -> None:
    async def main() -> tuple[list[str], list[str]]:
        async with Omega.open(tmp_path) as omega:
            await omega.run(change, "secret", execution="old")
            before = [event.type for event in everything(omega) if event.key in ("old", "design")]
            await omega.erase(omega.world.clock.now_us() + 1)
            return before, [event.type for event in everything(omega) if event.key in ("old", "design")]

    before, after = asyncio.run(main())
    assert before == ["flow:created", "workspace:changed", "flow:executed"]
    assert after == ["flow:created", "flow:executed"]


def test_a_denial_is_told(tmp_path: Path) -> None:
    async def main() -> list[Event]:
        async with Omega.open(tmp_path) as omega:
            outcome = await omega.run(change, "one", principal="agent:small")
            assert outcome.error is not None
            return everything(omega, Interest(types=["call:denied"]))

    events = asyncio.run(main())
    assert [event.data["principal"] for event in events] == ["agent:small"]
    assert [event.data["flags"] for event in events] == [["denied"]]


@pytest.mark.promise("LOG-39")
def test_what_somebody_should_see_is_told_as_flagged_whatever_else_it_tells(tmp_path: Path) -> None:
    async def main() -> tuple[list[Event], list[Event]]:
        async with Omega.open(tmp_path) as omega:
            await omega.run(change, "one", principal="agent:small")
            await omega.arrange("guard", "injection results", {"what": "injection", "where": "results", "doing": "flag"})
            await omega.run(double, 1)
            return everything(omega, Interest(types=["log:flagged"])), everything(omega)

    flagged, whole = asyncio.run(main())
    assert [(event.type, event.data["flags"]) for event in flagged] == [("call:denied", ["denied"]), ("flow:created", ["arranged"])]
    assert [event for event in whole if event.data.get("flags")] == flagged
    assert all(event.fact() is not None for event in whole)


@pytest.mark.promise("SDK-02")
def test_a_follower_is_told_as_it_happens(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with Omega.open(tmp_path) as omega:
            after = feed_of(omega).newest("local")
            seen: list[str] = []

            async def follow() -> None:
                async for event in feed_of(omega).follow("local", after, Interest(types=["flow:executed"])):
                    seen.append(event.key)
                    if len(seen) == 3:
                        return

            task = asyncio.create_task(follow())
            for name in ("a", "b", "c"):
                await omega.run(double, 1, execution=name)
            await asyncio.wait_for(task, 20)
            return seen

    assert asyncio.run(main()) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["read", "follow", "publish"])
def test_each_method_of_the_service_answers_its_example(tmp_path: Path, name: str) -> None:
    made, offered = find_method(f"events.{name}")

    async def main() -> Any:
        async with Omega.open(tmp_path) as omega:
            outcome = await omega.run(made, made.input.read(dict(offered.example)))
            assert outcome.error is None, outcome.error
            return outcome.value

    assert asyncio.run(main()) is not None


FACTS_MADE = st.sampled_from(sorted(FACTS)).flatmap(
    lambda kind: st.builds(FACTS[kind], **{field: st.just("x") for field in ("execution", "flow") if field in FACTS[kind].__slots__})
)


@settings(max_examples=50, deadline=None)
@given(fact=FACTS_MADE, position=st.integers(0, 10**12), at_us=st.integers(0, 4 * 10**15))
def test_an_event_survives_its_envelope(fact: Fact, position: int, at_us: int) -> None:
    event = Event(type=fact.type, tenant="local", position=position, key=fact.key, at_us=at_us, data=plain(fact))
    again = Event.read(event.cloud())
    assert again == event
    assert again.fact() == fact


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"specversion": "0.3"},
        {"specversion": "1.0", "source": "/tenants/a", "type": "Flow", "time": "2026-01-01T00:00:00Z", "sequence": "1", "subject": "k"},
        {"specversion": "1.0", "source": "/tenants/a", "type": "a:b", "time": "2026-01-01T00:00:00", "sequence": "1", "subject": "k"},
        {"specversion": "1.0", "source": "/tenants/a", "type": "a:b", "time": "2026-01-01T00:00:00Z", "sequence": "x", "subject": "k"},
    ],
)
def test_what_is_no_event_is_refused(document: Any) -> None:
    with pytest.raises(InputError) as refused:
        Event.read(document)
    assert refused.value.code == "OMG-I001"


@pytest.mark.parametrize(
    ("kind", "key", "data"),
    [
        ("Flow:created", "k", {}),
        ("flow", "k", {}),
        ("flow:created", "k", {"execution": "k", "flow": "f"}),
        ("workspace:changed", "k", {"workspace": "w"}),
        ("a:b", "", {}),
        ("a:b", "k" * 257, {}),
        ("a:b", "k\n", {}),
        ("a:b", "k", {"x": "y" * (33 << 10)}),
    ],
)
def test_what_cannot_be_published_is_refused(kind: str, key: str, data: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        checked(kind, key, data)


@pytest.mark.parametrize("pattern", ["flow:", "flow", ":created", "**", "flow:cre*", ""])
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InputError):
        Interest(types=[pattern])
