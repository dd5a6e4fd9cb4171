"""The service `models` in a real engine, in front of a real provider: routes, memory, allowances, prices, replay, evaluations."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.permits import EXECUTION, STEP
from omega.adapters.models import Allowance, Caching, Model, ModelEffector, Registry, Source, Surroundings
from omega.adapters.models.allowances import Counts, Purse, limits_of
from omega.features.models.evaluation import METRICS
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.kernel.agents import agent
from omega.kernel.budget import NOTHING, Spent
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.models import REPLY, Chat
from omega.kernel.ports import Outcome
from omega.kernel.verdict import Permit, mint_permit
from servers.provider import Upstream, provider

SECRET = "sk-very-secret-1"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with provider() as running:
        yield running


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TEST_MODEL_KEY", SECRET)


async def call(omega: Omega, method: str, value: Any = None, **options: Any) -> Outcome:
    return await omega.run(find_method(f"models.{method}")[0], value, **options)


async def keep(omega: Omega, kind: str, name: str, body: dict[str, Any] | None) -> None:
    outcome = await call(omega, "keep", {"kind": kind, "name": name, "body": body})
    assert outcome.error is None, outcome.error


def run(home: Path, upstream: Upstream, work: Callable[[Omega], Awaitable[Any]], *models: str, **source: Any) -> Any:
    """Do `work` in an engine that knows `models` of the provider."""

    async def main() -> Any:
        async with Omega.open(home) as omega:
            await keep(omega, "provider", "up", {"url": upstream.url, "prices": "openai", "key": "env:TEST_MODEL_KEY", **source})
            for name in models:
                await keep(omega, "model", name, {"provider": "up", "model": name})
            return await work(omega)

    return asyncio.run(main())


def question(model: str = "echo", text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


# Routes


@pytest.mark.promise("MODEL-06")
def test_the_next_model_of_a_route_answers_when_the_first_is_dead(tmp_path: Path, upstream: Upstream) -> None:
    with provider() as second:

        async def work(omega: Omega) -> Outcome:
            await keep(omega, "provider", "other", {"url": second.url})
            await keep(omega, "model", "spare", {"provider": "other", "model": "echo"})
            await keep(omega, "route", "fast", {"models": ["echo", "spare"]})
            before = await call(omega, "chat", question("fast"))
            assert before.value["model"] == "echo"
            upstream.kill()
            return await call(omega, "chat", question("fast"))

        reply = run(tmp_path, upstream, work, "echo").value
    assert set(reply) == set(REPLY)
    assert (reply["text"], reply["model"], [each["model"] for each in reply["tried"]]) == ("hello", "spare", ["echo"])


@pytest.mark.promise("MODEL-06")
def test_a_question_that_is_wrong_is_wrong_everywhere(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> Outcome:
        await keep(omega, "route", "fast", {"models": ["wrong", "echo"]})
        return await call(omega, "chat", question("fast"))

    outcome = run(tmp_path, upstream, work, "wrong", "echo")
    assert outcome.error is not None
    assert (outcome.error["code"], len(upstream.seen)) == ("OMG-M008", 1)


@pytest.mark.parametrize(("order", "first"), [("given", "dear"), ("cost", "cheap"), ("quality", "dear")])
def test_a_route_is_asked_in_its_order(tmp_path: Path, upstream: Upstream, order: str, first: str) -> None:
    async def work(omega: Omega) -> str:
        for name, price, quality in (("dear", "9", 0.9), ("cheap", "1", 0.2)):
            body = {
                "provider": "up",
                "model": "echo",
                "quality": quality,
                "price": {"input": price, "output": price, "as_of": "2026-11-01"},
            }
            await keep(omega, "model", name, body)
        await keep(omega, "route", "one", {"models": ["dear", "cheap"], "order": order})
        return str((await call(omega, "chat", question("one"))).value["model"])

    assert run(tmp_path, upstream, work) == first


def test_a_model_of_other_tenants_is_not_known(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Any, list[str]]:
        await keep(omega, "model", "theirs", {"provider": "up", "model": "echo", "tenants": ["ten_other"]})
        listed = (await call(omega, "list", {})).value
        return (await call(omega, "chat", question("theirs"))).error, [each["name"] for each in listed]

    error, names = run(tmp_path, upstream, work)
    assert (error["code"], names, upstream.seen) == ("OMG-M009", [], [])


def test_an_agent_asks_the_model_that_it_names(tmp_path: Path, upstream: Upstream) -> None:
    greet = agent("greet", instructions="say it", model="gpt-4o-mini")

    async def work(omega: Omega) -> Outcome:
        return await omega.run(greet, "hello", principal="agent:x")

    outcome = run(tmp_path, upstream, work, "echo", "gpt-4o-mini")
    assert outcome.error is None, outcome.error
    assert (upstream.bodies()[0]["model"], outcome.cost_micros) == ("gpt-4o-mini", 45)


# Prices and counts


@pytest.mark.promise("MODEL-08")
@pytest.mark.parametrize("model", ["liar", "silent"])
def test_unknown_prices_and_impossible_counts_are_never_nothing(
    tmp_path: Path, upstream: Upstream, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(omega: Omega) -> Outcome:
        return await call(omega, "chat", question(model, "a question of some forty letters, or more"))

    with caplog.at_level(logging.WARNING, "omega.models"):
        reply = run(tmp_path, upstream, work, model).value
    assert (reply["priced"], reply["cost_micros"], reply["usage"]["said"]) == (False, None, False)
    assert reply["usage"]["input"] > 0 < reply["usage"]["output"]
    assert f"no price is known of the model {model}" in caplog.text


@pytest.mark.promise("MODEL-08")
def test_a_price_is_the_one_of_the_day(upstream: Upstream) -> None:
    """o3 was five times as dear before June 2025 (genai-prices)."""

    def cost(at: str) -> int:
        from datetime import UTC, datetime

        moment = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1e6)
        registry = Registry({}, sources={"openai": Source(name="openai", url=upstream.url)})
        registry.models["o3"] = Model(name="o3", provider="openai", model="o3")
        effector = ModelEffector({}, registry=registry, surroundings=Surroundings(now_us=lambda: moment))
        return int(ask(effector, Chat(model="o3", messages=HELLO))["cost_micros"])

    assert cost("2025-05-01") == 5 * cost("2026-11-01")


# Memory


def permit(tenant: str) -> Permit:
    import time

    return mint_permit(
        tenant=tenant, execution=EXECUTION, step=STEP, epoch=1, port="model", commitment=b"\0" * 32, ttl_s=60.0, clock=time.monotonic
    )


def ask(effector: ModelEffector, *chats: Chat, tenants: tuple[str, ...] = ("ten_a",)) -> dict[str, Any]:
    """Ask as each tenant in turn; gives the last answer."""

    async def main() -> dict[str, Any]:
        try:
            reply: dict[str, Any] = {}
            for chat, tenant in zip(chats, tenants, strict=True):
                reply, _ = await effector.perform(permit(tenant), chat, execution=EXECUTION, step=STEP)
            return reply
        finally:
            await effector.aclose()

    return asyncio.run(main())


def remembering(upstream: Upstream, **caching: Any) -> ModelEffector:
    registry = Registry({}, sources={"up": Source(name="up", url=upstream.url)})
    registry.models = {
        "echo": Model(name="echo", provider="up", model="echo"),
        "near": Model(name="near", provider="up", model="embed", kind="embeddings"),
    }
    registry.caches = dict.fromkeys(("ten_a", "ten_b"), Caching(ttl_s=60.0, **caching))
    return ModelEffector({}, registry=registry, surroundings=Surroundings(principal=lambda execution: "person:ada"))


@pytest.mark.promise("MODEL-07")
@pytest.mark.parametrize(
    ("tenants", "cache", "asked"), [(("ten_a", "ten_a"), "exact", 1), (("ten_a", "ten_b"), "", 2), (("ten_c", "ten_c"), "", 2)]
)
def test_the_same_question_is_remembered_for_its_tenant_alone(upstream: Upstream, tenants: tuple[str, ...], cache: str, asked: int) -> None:
    chat = Chat(model="echo", messages=HELLO)
    reply = ask(remembering(upstream), chat, chat, tenants=tenants)
    assert (reply["text"], reply["cache"], len(upstream.seen)) == ("hello", cache, asked)


@pytest.mark.promise("MODEL-07")
@pytest.mark.parametrize(
    ("second", "tenant", "cache"),
    [
        ("what is the weather in paris?", "ten_a", "semantic"),
        ("what is the weather in paris?", "ten_b", ""),
        ("zzz", "ten_a", ""),
    ],
)
def test_a_similar_question_is_remembered_for_its_tenant_alone(upstream: Upstream, second: str, tenant: str, cache: str) -> None:
    effector = remembering(upstream, similarity=0.98, embedding="near")
    first = Chat(model="echo", messages=[{"role": "user", "content": "what is the weather in Paris"}])
    reply = ask(effector, first, Chat(model="echo", messages=[{"role": "user", "content": second}]), tenants=("ten_a", tenant))
    assert reply["cache"] == cache
    assert reply["text"] == ("what is the weather in Paris" if cache else second)


# Allowances


@pytest.mark.promise("MODEL-09")
def test_an_allowance_holds_also_after_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    async def spend(omega: Omega) -> Any:
        await keep(omega, "allowance", "agents", {"who": "agent:busy", "window": "month", "tokens": 350})
        first = await call(omega, "chat", question(max_tokens=190), principal="agent:busy")
        return first.error

    async def again(omega: Omega) -> tuple[Any, Any]:
        refused = await call(omega, "chat", question(max_tokens=250), principal="agent:busy")
        other = await call(omega, "chat", question(max_tokens=250), principal="agent:calm")
        return refused.error, other.error

    assert run(tmp_path, upstream, spend, "echo") is None
    refused, other = run(tmp_path, upstream, again, "echo")
    assert (refused["code"], refused["details"]["who"], other) == ("OMG-W005", "agent:busy", None)
    assert len(upstream.seen) == 2, "what was refused never left"


@pytest.mark.promise("MODEL-09")
def test_where_money_is_limited_an_unpriced_model_is_refused(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Any, Any, Any]:
        await keep(omega, "allowance", "all", {"who": "tenant", "cost_micros": 200})
        unpriced = await call(omega, "chat", question("echo"))
        priced = await call(omega, "chat", question("gpt-4o-mini", max_tokens=100))
        dear = await call(omega, "chat", question("gpt-4o-mini", max_tokens=1_000))
        return unpriced.error, priced.error, dear.error

    unpriced, priced, dear = run(tmp_path, upstream, work, "echo", "gpt-4o-mini")
    assert (unpriced["code"], priced, dear["code"], len(upstream.seen)) == ("OMG-W005", None, "OMG-W005", 1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_no_order_of_questions_spends_more_than_was_allowed(steps: list[tuple[int, int]], limit: int) -> None:
    """Each question reserves the most it can use and uses at most that; some are under way at the same time."""
    ledger, allowance = Counts(), Allowance(who="*", tokens=limit)
    purse = Purse(ledger)
    limits = limits_of([allowance], "ten_a", "agent:x", 0)
    under_way: list[tuple[Spent, Spent]] = []
    for most, used in steps:
        wanted = Spent(tokens=most)
        try:
            purse.hold(limits, wanted, priced=False)
            under_way.append((wanted, Spent(tokens=min(most, used))))
        except Denied:
            if under_way:
                purse.settle(limits, *under_way.pop(0))
    for wanted, used in under_way:
        purse.settle(limits, wanted, used)
    assert ledger.spent(limits[0][1]).tokens <= limit
    purse.hold(limits, NOTHING, priced=False)


# What leaves, and what is kept


@pytest.mark.promise("MODEL-10")
@pytest.mark.promise("MODEL-13")
def test_what_leaves_is_redacted_and_keys_stay_references(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[Outcome, Outcome, Any]:
        asked = await call(omega, "chat", question(text="write to ada@example.org at once"))
        failed = await call(omega, "chat", question("broken"))
        return asked, failed, (await call(omega, "kept", {"kind": "provider"})).value

    asked, failed, kept = run(tmp_path, upstream, work, "echo", "broken", redact=True)
    assert "ada@example.org" not in str(upstream.bodies())
    assert (asked.value["redacted"], upstream.seen[0][1]["authorization"]) == (True, f"Bearer {SECRET}")
    assert kept["up"]["key"] == "env:TEST_MODEL_KEY"
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in str((asked, failed))
    assert SECRET.encode() not in on_disk


@pytest.mark.promise("MODEL-11")
def test_a_replay_needs_no_provider(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(omega: Omega) -> str:
        return (await call(omega, "chat", question("echo", seed=11))).execution

    execution = run(tmp_path, upstream, work, "echo")
    upstream.kill()
    monkeypatch.delitem(os.environ, "TEST_MODEL_KEY")

    async def main() -> tuple[Any, Any]:
        async with Omega.open(tmp_path) as omega:
            return await omega.replay(execution, find_method("models.chat")[0]), (await omega.engine.outcome(execution)).value

    report, value = asyncio.run(main())
    assert (report.identical, report.recalled) == (True, 1)
    assert (value["seed"], value["version"], len(value["digest"])) == (11, "echo-2026-01-01", 64)


# Evaluations


@pytest.mark.promise("MODEL-12")
def test_an_evaluation_names_what_it_was_measured_by(tmp_path: Path, upstream: Upstream) -> None:
    cases = [{"prompt": "yes", "expected": "yes"}, {"prompt": "no", "expected": "yes"}, {"prompt": " yes ", "expected": "yes"}]

    async def work(omega: Omega) -> tuple[Any, Any]:
        await keep(omega, "cases", "small", {"cases": cases})
        good = await call(omega, "evaluate", {"cases": "small", "model": "echo"})
        bad = await call(omega, "evaluate", {"cases": "small", "model": "broken"})
        assert (await omega.replay(good.execution, find_method("models.evaluate")[0])).identical
        return good.value, bad.value

    good, bad = run(tmp_path, upstream, work, "echo", "broken")
    assert (good["score"], good["metric"], good["versions"], good["passed"]) == (0.6667, "equal@1", ["up:echo-2026-01-01"], 2)
    assert (bad["score"], {result["error"] for result in bad["results"]}) == (0.0, {"OMG-M008"})
    assert good["cases_digest"] == bad["cases_digest"]


@pytest.mark.promise("MODEL-15")
def test_an_evaluation_is_not_answered_from_memory(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> list[int]:
        await keep(omega, "cache", "answers", {"ttl_s": 3_600})
        await keep(omega, "cases", "small", {"cases": [{"prompt": "yes", "expected": "yes"}]})
        asked = []
        for _ in range(2):
            assert (await call(omega, "chat", question(text="yes", max_tokens=1_024))).error is None
            assert (await call(omega, "evaluate", {"cases": "small", "model": "echo", "max_tokens": 1_024})).value["passed"] == 1
            asked.append(len(upstream.seen))
        return asked

    assert run(tmp_path, upstream, work, "echo") == [2, 3], "the question was remembered, the cases were asked"


@pytest.mark.promise("MODEL-07")
@pytest.mark.promise("MODEL-15")
def test_a_fresh_question_is_neither_answered_from_memory_nor_remembered(upstream: Upstream) -> None:
    chat, fresh = Chat(model="echo", messages=HELLO), Chat(model="echo", messages=HELLO, fresh=True)
    assert ask(remembering(upstream), chat, fresh, tenants=("ten_a", "ten_a"))["cache"] == ""
    assert ask(remembering(upstream), fresh, chat, tenants=("ten_a", "ten_a"))["cache"] == ""
    assert len(upstream.seen) == 4


@pytest.mark.promise("MODEL-15")
def test_cases_that_are_kept_are_changed_by_an_owner_or_admin_alone(tmp_path: Path, upstream: Upstream) -> None:
    from omega.host.identity import Caller

    def cases(expected: str) -> dict[str, Any]:
        return {"cases": [{"prompt": "yes", "expected": expected}]}

    async def work(omega: Omega) -> tuple[list[str], Any]:
        member = Caller("agent:tester", grants=("models:use",))

        async def kept(body: dict[str, Any] | None) -> str:
            record = {"kind": "cases", "name": "small", "body": body}
            return str(((await call(omega, "keep", record, principal=member)).error or {}).get("code", "kept"))

        told = [await kept(cases("yes")), await kept(cases("yes")), await kept(cases("no")), await kept(None)]
        found = (await call(omega, "kept", {"kind": "cases"})).value
        await keep(omega, "cases", "small", cases("no"))
        await keep(omega, "cases", "small", None)
        return told, found

    told, found = run(tmp_path, upstream, work)
    assert told == ["kept", "kept", "OMG-W001", "OMG-W001"]
    assert found == {"small": cases("yes")}


@pytest.mark.parametrize(
    ("metric", "answer", "expected", "counts"),
    [
        ("equal", " a\n", "a", True), ("equal", "A", "a", False), ("contains", "It is PARIS.", "paris", True),
        ("contains", "rome", "paris", False),
        ("json", '```json\n{"b": 1, "a": [2]}\n```', '{"a": [2], "b": 1}', True), ("json", "{", "{}", False),
    ],
)  # fmt: skip
def test_metrics(metric: str, answer: str, expected: str, counts: bool) -> None:
    assert METRICS[metric][1](answer, expected) is counts


# Records that make no sense


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("provider", {"url": "ftp://x"}),
        ("provider", {"url": "https://x", "key": SECRET}),
        ("provider", {"url": "http://far.example", "key": "env:K"}),
        ("provider", {"url": "https://x", "color": "red"}),
        ("model", {"provider": "up"}),
        ("model", {"provider": "up", "model": "m", "price": {"input": "-1", "output": "1", "as_of": "2026-01-01"}}),
        ("route", {"models": []}),
        ("route", {"models": ["a", "a"]}),
        ("cache", {"ttl_s": 5, "similarity": 0.9}),
        ("allowance", {"who": "nobody"}),
        ("allowance", {"who": "*", "tokens": -1}),
        ("cases", {"cases": [{"prompt": 1, "expected": "x"}]}),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(tmp_path: Path, upstream: Upstream, kind: str, body: dict[str, Any]) -> None:
    async def work(omega: Omega) -> tuple[str, str]:
        error = (await call(omega, "keep", {"kind": kind, "name": "x", "body": body})).error or {}
        return str(error.get("code")), str(error)

    code, text = run(tmp_path, upstream, work)
    assert code == "OMG-I001"
    assert SECRET not in text


def test_only_operators_say_where_to_ask(tmp_path: Path, upstream: Upstream) -> None:
    async def work(omega: Omega) -> tuple[str, str]:
        from omega.host.identity import Caller

        ada = Caller("person:ada", groups=("member", "owner-of-nothing"))
        error = (await call(omega, "keep", {"kind": "provider", "name": "x", "body": {"url": "https://x"}}, principal=ada)).error or {}
        agents = (await call(omega, "keep", {"kind": "route", "name": "x", "body": None}, principal="agent:x")).error or {}
        return str(error.get("code")), str(agents.get("code"))

    assert run(tmp_path, upstream, work) == ("OMG-W001", "OMG-W008")


# Anthropic's messages


def test_messages_are_translated_both_ways(upstream: Upstream) -> None:
    registry = Registry(
        {"K": SECRET}, sources={"a": Source(name="a", url=upstream.url.removesuffix("/v1"), interface="anthropic", key="env:K")}
    )
    registry.models = {name: Model(name=name, provider="a", model=name) for name in ("claude", "tool")}
    shown: list[Any] = []

    async def show(part: Any) -> None:
        shown.append(part)

    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    talk = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello you"}]
    whole = ask(ModelEffector({}, registry=registry), Chat(model="claude", messages=talk, options={"stop": "x"}))
    streamed = ask(ModelEffector({}, registry=registry), Chat(model="claude", messages=talk, show=show))
    tool = ask(ModelEffector({}, registry=registry), Chat(model="tool", messages=talk, options={"tools": tools}, show=show))
    assert whole["text"] == streamed["text"] == "be kind|hello you"
    assert (whole["usage"]["input"], whole["usage"]["cached"], whole["version"]) == (7, 2, "claude-20260101")
    assert upstream.bodies()[0]["stop_sequences"] == ["x"]
    assert (tool["finish"], tool["tool_calls"][0]["name"]) == ("tool_calls", "weather")
    assert "".join(part["text"] for part in shown if "text" in part) == "be kind|hello you"
    assert "".join(part["tool"]["arguments"] for part in shown if "tool" in part) == tool["tool_calls"][0]["arguments"]


@pytest.mark.parametrize("model", ["hangs", "slow"])
def test_time_is_limited_whole_and_streamed(upstream: Upstream, model: str) -> None:
    registry = Registry({}, sources={"up": Source(name="up", url=upstream.url)})
    registry.models = {model: Model(name=model, provider="up", model=model)}

    async def show(part: Any) -> None:
        """Nobody looks."""

    with pytest.raises(UpstreamError) as caught:
        ask(
            ModelEffector({}, registry=registry), Chat(model=model, messages=[{"role": "user", "content": "a b"}], timeout_s=0.3, show=show)
        )
    assert (caught.value.code, "0.3 s" in caught.value.cause) == ("OMG-M008", True)


@pytest.mark.promise("MODEL-05")
def test_nothing_configured_is_a_typed_error(upstream: Upstream) -> None:
    with pytest.raises(OmegaError) as caught:
        ask(ModelEffector({}), Chat(model="any", messages=HELLO))
    assert isinstance(caught.value, InputError)
    assert caught.value.code == "OMG-X002"
