"""OpenAI's interface over a real socket, driven by the official client, in front of a provider that speaks real HTTP too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from client.served import Served, served
from omega.gateway.openai import entrance
from omega.host.discover import find_method
from omega.kernel.ports import Search
from servers.provider import Upstream, provider

SOON_S = 60.0
HELLO = [{"role": "user", "content": "hello dear model"}]
MODELS = ("echo", "json", "tool", "slow", "hangs", "broken", "wrong", "cut", "gpt-4o-mini")

Work = Callable[[Served, openai.AsyncOpenAI], Awaitable[Any]]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with provider() as running:
        yield running


async def keep(here: Served, kind: str, name: str, body: dict[str, Any] | None) -> None:
    flow, _ = find_method("models.keep")
    outcome = await here.omega.run(flow, {"kind": kind, "name": name, "body": body})
    assert outcome.error is None, outcome.error


def run(home: Path, upstream: Upstream | None, work: Work, *, principal: str = "agent:program") -> Any:
    """Do `work` against a server in front of `upstream`, as an agent with an agent's rights."""

    async def main() -> Any:
        async with served(home, mounted=lambda house: [entrance(house)]) as here:
            if upstream is not None:
                await keep(here, "provider", "up", {"url": upstream.url, "prices": "openai"})
                for name in MODELS:
                    await keep(here, "model", name, {"provider": "up", "model": name})
                await keep(here, "model", "vectors", {"provider": "up", "model": "embed", "kind": "embeddings"})
                await keep(here, "route", "fast", {"models": ["broken", "gpt-4o-mini"]})
            passport = here.omega.passport(principal)
            async with openai.AsyncOpenAI(base_url=f"{here.url}/v1", api_key=passport, max_retries=0, timeout=SOON_S) as client:
                return await asyncio.wait_for(work(here, client), 60)

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.01)


# Chat completions


@pytest.mark.promise("MODEL-01")
def test_a_completion_is_a_governed_call_on_record(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[Any, Any, Any]:
        answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, seed=7, temperature=0.0)
        line = here.omega.store.line(answer.omega["execution"])
        told = [json.loads(leaf) for leaf in here.omega.store.leaves(line.tenant)]
        return answer, line, next(leaf for leaf in told if leaf["kind"] == "entry" and leaf["execution"] == line.execution)

    answer, line, entry = run(tmp_path, upstream, work)
    assert entry["address"] == "127.0.0.1" and "OpenAI" in entry["agent"]
    (_, headers, _) = upstream.seen[0]
    assert headers["traceparent"].split("-")[1] == entry["trace"], "the provider goes on with the trace"
    assert answer.choices[0].message.content == "hello dear model"
    assert (answer.choices[0].finish_reason, answer.model, answer.usage.total_tokens) == ("stop", "gpt-4o-mini", 150)
    assert (line.flow, line.status, line.principal) == ("models.chat", "done", "agent:program")
    assert (answer.omega["version"], answer.omega["priced"]) == ("gpt-4o-mini-2024-07-18", True)
    assert answer.omega["cost_micros"] == 45  # 100 tokens at 0.15 and 50 at 0.60 dollars a million
    assert upstream.bodies()[0]["seed"] == 7


@pytest.mark.promise("MODEL-02")
def test_a_stream_gives_the_same_as_a_whole_answer(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[str, list[str], Any]:
        parts, usage = [], None
        stream = await client.chat.completions.create(model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True})
        async for chunk in stream:
            usage = chunk.usage or usage
            parts += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            finish = [choice.finish_reason for choice in chunk.choices] or finish  # noqa: F821 - set by the chunk before
        recorded = await here.house.outcome(chunk.id.removeprefix("chatcmpl-"), here.omega.scope("agent:program"))
        assert finish == ["stop"]
        return recorded.value["text"], parts, usage

    text, parts, usage = run(tmp_path, upstream, work)
    assert parts == ["hello ", "dear ", "model"]
    assert text == "".join(parts)
    assert usage.completion_tokens == 50


def test_tools_and_structured_output_pass_through(tmp_path: Path, upstream: Upstream) -> None:
    tools = [
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    ]
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}

    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[Any, Any, str]:
        whole = await client.chat.completions.create(model="tool", messages=HELLO, tools=tools)
        shaped = await client.chat.completions.create(model="json", messages=HELLO, response_format=form)
        arguments = ""
        async for chunk in await client.chat.completions.create(model="tool", messages=HELLO, tools=tools, stream=True):
            for choice in chunk.choices:
                arguments += "".join(call.function.arguments or "" for call in choice.delta.tool_calls or [])
        message = whole.choices[0].message
        again = [*HELLO, message.model_dump(), {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}]
        after = await client.chat.completions.create(model="echo", messages=again)
        assert after.choices[0].message.content == "rain"
        return whole, shaped, arguments

    whole, shaped, arguments = run(tmp_path, upstream, work)
    call = whole.choices[0].message.tool_calls[0]
    assert (whole.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert json.loads(call.function.arguments) == json.loads(arguments) == {"city": "Paris"}
    assert json.loads(shaped.choices[0].message.content) == {"answer": 42}
    assert upstream.bodies()[1]["response_format"] == form


@pytest.mark.promise("MODEL-03")
def test_whoever_leaves_a_stream_ends_the_question_to_the_provider(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model="slow", messages=HELLO, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()
        await until(upstream.left.is_set)
        execution = chunk.id.removeprefix("chatcmpl-")
        await until(lambda: here.omega.store.line(execution).status == "cancelled")
        return "cancelled"

    assert run(tmp_path, upstream, work, principal="") == "cancelled"


# Responses, embeddings, models


@pytest.mark.promise("MODEL-02")
def test_responses_whole_and_streamed(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[Any, list[str], Any]:
        whole = await client.responses.create(model="echo", instructions="be kind", input="hello dear model")
        kinds, last = [], None
        async for event in await client.responses.create(model="echo", input=[{"role": "user", "content": "one two"}], stream=True):
            kinds.append(event.type)
            last = event
        return whole, kinds, last

    whole, kinds, last = run(tmp_path, upstream, work)
    assert (whole.output_text, whole.status, whole.usage.output_tokens) == ("hello dear model", "completed", 50)
    assert upstream.bodies()[0]["messages"][0] == {"role": "system", "content": "be kind"}
    assert (kinds[0], kinds[-1], kinds.count("response.output_text.delta")) == ("response.created", "response.completed", 2)
    assert last.response.output_text == "one two"


def test_responses_with_functions(tmp_path: Path, upstream: Upstream) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]

    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[Any, Any, Any]:
        whole = await client.responses.create(model="tool", input="go", tools=tools)
        call = whole.output[0]
        said: list[Any] = [{"role": "user", "content": "go"}, call.model_dump()]
        after = await client.responses.create(
            model="echo", input=[*said, {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}], tools=tools
        )
        async with client.responses.stream(model="tool", input="go", tools=tools) as stream:
            final = await stream.get_final_response()
        return whole, after, final

    whole, after, final = run(tmp_path, upstream, work)
    assert (whole.output[0].type, json.loads(whole.output[0].arguments)) == ("function_call", {"city": "Paris"})
    assert after.output_text == "rain"
    assert [item.type for item in final.output] == ["function_call"]
    assert json.loads(final.output[0].arguments) == {"city": "Paris"}


def test_embeddings_in_both_encodings(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[Any, Any]:
        packed = await client.embeddings.create(model="vectors", input=["aab", "z"])
        plain = await client.embeddings.create(model="vectors", input="aab", encoding_format="float")
        return packed, plain

    packed, plain = run(tmp_path, upstream, work)
    assert (packed.data[0].embedding[:3], packed.data[1].embedding[25]) == ([2.0, 1.0, 0.0], 1.0)
    assert plain.data[0].embedding == packed.data[0].embedding


def test_models_that_may_be_named_are_listed(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[list[str], Any]:
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing")
        return [model.id async for model in client.models.list()], await client.models.retrieve("fast")

    names, fast = run(tmp_path, upstream, work)
    assert {"echo", "fast", "vectors"} <= set(names)
    assert fast.omega["models"] == ["broken", "gpt-4o-mini"]


# What is refused, and how


@pytest.mark.promise("MODEL-04")
def test_errors_have_the_shape_of_the_interface_and_our_code(tmp_path: Path, upstream: Upstream) -> None:
    async def failing(kind: type[openai.APIStatusError], work: Awaitable[Any]) -> tuple[int, str]:
        with pytest.raises(kind) as caught:
            await work
        return caught.value.status_code, str(caught.value.code)

    async def work(here: Served, client: openai.AsyncOpenAI) -> list[tuple[int, str]]:
        ask = client.chat.completions.create
        poor = {"omega-budget": "tokens=10"}
        return [
            await failing(openai.NotFoundError, ask(model="nothing", messages=HELLO)),
            await failing(openai.AuthenticationError, client.with_options(api_key="sk-nobody").models.retrieve("echo")),
            await failing(openai.BadRequestError, ask(model="echo", messages=HELLO, n=2)),
            await failing(openai.BadRequestError, ask(model="echo", messages=[{"role": "king", "content": "x"}])),  # type: ignore[list-item]
            await failing(openai.APIStatusError, ask(model="echo", messages=HELLO, extra_headers=poor)),
            await failing(openai.InternalServerError, ask(model="broken", messages=HELLO)),
            await failing(openai.InternalServerError, ask(model="broken", messages=HELLO, stream=True)),
        ]

    found = run(tmp_path, upstream, work)
    assert found == [
        (404, "OMG-M009"), (401, "OMG-T001"), (400, "OMG-I001"), (400, "OMG-I001"), (402, "OMG-W005"), (502, "OMG-M008"), (502, "OMG-M008"),
    ]  # fmt: skip


@pytest.mark.promise("MODEL-05")
def test_without_a_model_everything_says_so_and_nothing_is_invented(tmp_path: Path) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[str, int]:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="gpt", messages=HELLO)
        return str(caught.value.code), len([model async for model in client.models.list()])

    assert run(tmp_path, None, work) == ("OMG-X002", 0)


@pytest.mark.promise("MODEL-02")
def test_a_provider_that_breaks_off_ends_the_stream_in_an_error(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[list[str], str]:
        said = []
        with pytest.raises(openai.APIError) as caught:
            async for chunk in await client.chat.completions.create(model="cut", messages=HELLO, stream=True):
                said += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        return said, str(caught.value.code)

    assert run(tmp_path, upstream, work) == (["hello "], "OMG-M008")


# Keys and repeats


@pytest.mark.promise("MODEL-01")
def test_a_repeated_request_under_a_key_asks_nobody_again(tmp_path: Path, upstream: Upstream) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> tuple[str, str, int]:
        ask = client.chat.completions.create
        key = {"Idempotency-Key": "k1"}
        first = await ask(model="echo", messages=HELLO, extra_headers=key)
        again = await ask(model="echo", messages=HELLO, extra_headers=key)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await ask(model="echo", messages=[{"role": "user", "content": "other"}], extra_headers=key)
        assert caught.value.code == "OMG-G010"
        return first.id, again.id, len(here.omega.store.search(Search(flow="models.chat")))

    first, again, ran = run(tmp_path, upstream, work)
    assert (first == again, ran, len(upstream.seen)) == (True, 1, 1)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model": 5, "messages": []}', b'{"model": "echo"}', b'{"model": "echo", "messages": [5]}']
)
def test_a_body_that_makes_no_sense_is_a_coded_refusal(tmp_path: Path, upstream: Upstream, body: bytes) -> None:
    async def work(here: Served, client: openai.AsyncOpenAI) -> list[tuple[int, str]]:
        found = []
        headers = {"authorization": f"Bearer {client.api_key}", "content-type": "application/json"}
        async with aiohttp.ClientSession() as http:
            for path in ("chat/completions", "responses", "embeddings"):
                async with http.post(f"{here.url}/v1/{path}", data=body, headers=headers) as answer:
                    found.append((answer.status, (await answer.json())["error"]["code"][:5]))
        return found

    assert all(status == 400 and code in ("OMG-I", "OMG-G") for status, code in run(tmp_path, upstream, work))
    assert not upstream.seen
