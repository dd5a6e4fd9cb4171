"""Models asked by people who do not trust each other: whose answers are remembered, who pays for what was given up, whose failure
counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.permits import EXECUTION, STEP
from omega.adapters.models import Allowance, Caching, Model, ModelEffector, Registry, Source, Surroundings, memory
from omega.adapters.models.memory import AnswerMemory
from omega.features.models.evaluation import same_json
from omega.kernel.errors import UpstreamError
from omega.kernel.models import Chat
from omega.kernel.verdict import Permit, mint_permit
from servers.provider import Upstream, provider

PARIS, BERN = "what is the weather in Paris", "what is the weather in paris?"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with provider() as running:
        yield running


def permit() -> Permit:
    return mint_permit(
        tenant="ten_a", execution=EXECUTION, step=STEP, epoch=1, port="model", commitment=b"\0" * 32, ttl_s=60.0, clock=time.monotonic
    )


def said(text: str, **more: Any) -> Chat:
    return Chat(messages=[{"role": "user", "content": text}], **{"model": "echo", **more})


class House:
    """An effector whose caller changes from question to question."""

    def __init__(self, upstream: Upstream, *, redact: Any = None, **caching: Any) -> None:
        self.caller = "person:ada"
        self.allowances: list[Allowance] = []
        registry = Registry({}, sources={"up": Source(name="up", url=upstream.url, redact=redact is not None)})
        registry.models = {name: Model(name=name, provider="up", model=name) for name in ("echo", "slow", "hangs", "wrong", "tool")}
        registry.models["near"] = Model(name="near", provider="up", model="embed", kind="embeddings")
        registry.models["gone"] = Model(name="gone", provider="up", model="broken", kind="embeddings")
        if caching:
            registry.caches = {"ten_a": Caching(ttl_s=60.0, **caching)}
        around = Surroundings(principal=lambda execution: self.caller, allowances=lambda tenant: self.allowances)
        if redact is not None:
            around.redact = redact
        self.effector = ModelEffector({}, registry=registry, surroundings=around)

    def ask(self, *chats: Chat | tuple[str, Chat]) -> list[Any]:
        """The reply to each, or the error; a caller before a question asks it."""

        async def main() -> list[Any]:
            replies: list[Any] = []
            for each in chats:
                self.caller, chat = each if isinstance(each, tuple) else (self.caller, each)
                try:
                    replies.append((await self.effector.perform(permit(), chat, execution=EXECUTION, step=STEP))[0])
                except UpstreamError as error:
                    replies.append(error)
            await self.effector.aclose()
            return replies

        return asyncio.run(main())


SIMILAR = {"similarity": 0.98, "embedding": "near"}


@pytest.mark.promise("MODEL-07")
@pytest.mark.parametrize(
    ("caller", "second", "shared", "cache"),
    [
        ("person:ada", PARIS, False, "exact"),
        ("person:ada", BERN, False, "semantic"),
        ("person:bob", PARIS, False, ""),
        ("person:bob", BERN, False, ""),
        ("", PARIS, False, ""),
        ("person:bob", BERN, True, "semantic"),
    ],
)
def test_nobody_is_given_what_another_was_answered_unless_the_tenant_shares(
    upstream: Upstream, caller: str, second: str, shared: bool, cache: str
) -> None:
    house = House(upstream, **SIMILAR, shared=shared)
    *_, reply = house.ask(("person:ada", said(PARIS)), (caller, said(second)))
    assert reply["cache"] == cache


@pytest.mark.promise("MODEL-07")
def test_a_tool_is_never_called_with_what_a_similar_question_named(upstream: Upstream) -> None:
    tools = [{"type": "function", "function": {"name": "pay"}}]
    house = House(upstream, **SIMILAR)
    *_, wish = house.ask(said(PARIS, options={"tools": tools}), said(BERN, options={"tools": tools}))
    assert wish["cache"] == ""
    results = [Chat(model="echo", messages=[{"role": "tool", "tool_call_id": "c", "content": text}]) for text in (PARIS, BERN)]
    *_, answer = House(upstream, **SIMILAR).ask(*results)
    assert answer["cache"] == ""


def test_a_question_is_answered_where_the_model_for_vectors_is_down(upstream: Upstream) -> None:
    house = House(upstream, similarity=0.9, embedding="gone")
    first, again = house.ask(said(PARIS), said(PARIS))
    assert (first["text"], again["cache"]) == (PARIS, "exact")


def test_what_is_foretold_does_not_need_a_model_that_was_forgotten(upstream: Upstream) -> None:
    house = House(upstream, similarity=0.9, embedding="nobody")
    assert asyncio.run(house.effector.foretell("ten_a", said(PARIS))).tokens > 0


@pytest.mark.promise("MODEL-09")
def test_who_gives_up_in_the_middle_has_used_what_was_shown(upstream: Upstream) -> None:
    """Else streaming, and hanging up before the end, would be free of charge."""
    shown: list[Any] = []

    async def show(part: Any) -> None:
        shown.append(part)

    house = House(upstream)
    house.allowances = [Allowance(who="*", tokens=100_000)]
    (error,) = house.ask(said("one two three", model="slow", show=show, timeout_s=0.4))
    assert isinstance(error, UpstreamError)
    assert shown
    assert error.details["used"]["tokens"] > 1
    (spent,) = house.effector._around.ledger._spent.values()
    assert spent.tokens == error.details["used"]["tokens"]


@pytest.mark.parametrize("chat", [said("x", model="hangs", timeout_s=0.05), said("x", model="wrong")])
def test_questions_that_cannot_be_answered_do_not_make_a_model_look_dead(upstream: Upstream, chat: Chat) -> None:
    house = House(upstream)
    assert all(isinstance(error, UpstreamError) for error in house.ask(chat, chat, chat, chat))
    (found,) = [each for each in house.effector.describe("ten_a") if each["name"] == chat.model]
    assert found["health"]["state"] == "unknown"


def test_tools_and_other_options_are_redacted_before_they_leave(upstream: Upstream) -> None:
    def redact(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("ada@example.org", "[e-mail]")
        if isinstance(value, dict):
            return {name: redact(each) for name, each in value.items()}
        return [redact(each) for each in value] if isinstance(value, list) else value

    tools = [{"type": "function", "function": {"name": "mail", "description": "writes to ada@example.org"}}]
    (reply,) = House(upstream, redact=redact).ask(said("hello", options={"tools": tools}))
    assert reply["redacted"]
    assert "ada@example.org" not in str(upstream.bodies())


def test_memory_counts_vectors_and_all_tenants_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_BYTES", 3_000)
    monkeypatch.setattr(memory, "MAX_TOTAL", 5_000)
    kept = AnswerMemory(b"salt")
    for tenant in ("ten_a", "ten_b", "ten_c"):
        for number in range(4):
            kept.keep(tenant, b"%d" % number, {"text": "x"}, 9.0, alike=b"a", vector=[1.0] * 100)
    assert kept.same("ten_a", b"3", 0.0) is None, "the tenant whose answers are oldest gave way"
    assert kept.same("ten_c", b"0", 0.0) is None
    assert kept.same("ten_c", b"3", 0.0) is not None


def test_a_question_is_compared_with_the_newest_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_COMPARED", 2)
    kept = AnswerMemory(b"salt")
    for number, vector in enumerate(([1.0, 0.0], [0.0, 1.0], [0.0, 1.0])):
        kept.keep("ten_a", b"%d" % number, {"text": str(number)}, 9.0, alike=b"a", vector=vector)
    assert kept.alike("ten_a", b"a", [1.0, 0.0], 0.9, 0.0) is None
    assert kept.alike("ten_a", b"a", [0.0, 1.0], 0.9, 0.0) is not None


@pytest.mark.parametrize(("answer", "expected", "same"), [("true", "1", False), ("[0]", "[false]", False), ('{"a":1.0}', '{"a":1}', True)])
def test_true_is_not_one(answer: str, expected: str, same: bool) -> None:
    assert same_json(answer, expected) is same
