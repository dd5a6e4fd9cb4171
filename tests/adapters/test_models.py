"""Models: which one is configured, what is sent to it, and that nothing is invented when there is none."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.models import Missing, ModelEffector, Provider, anthropic, completions, configured
from omega.adapters.models.foretelling import most_read
from omega.kernel.effects import Command, ModelCall, Receipt
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.models import Chat
from servers.chat import Handler, serving

SECRET = "sk-test-123456"
CALL = ModelCall(instructions="be brief", prompt="PRIVATE what is it", max_tokens=50, timeout_s=10.0)


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as base:
        yield base


def ask(variables: dict[str, str], call: ModelCall = CALL) -> tuple[str, Receipt]:
    async def scenario() -> tuple[str, Receipt]:
        effector = ModelEffector(variables)
        try:
            return await effector.perform(permit_for("model"), call, execution=EXECUTION, step=STEP)
        finally:
            await effector.aclose()

    return asyncio.run(scenario())


def local(url: str, model: str = "echo") -> dict[str, str]:
    return {"OMEGA_MODEL_URL": f"{url}/v1", "OMEGA_MODEL": model, "OMEGA_MODEL_KEY": SECRET}


def failure(variables: dict[str, str], call: ModelCall = CALL) -> OmegaError:
    with pytest.raises(OmegaError) as caught:
        ask(variables, call)
    return caught.value


# What is configured


@pytest.mark.promise("TOOL-11")
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OMEGA_MODEL": "some"},
        {"OPENAI_API_KEY": SECRET},
        {"OPENAI_API_KEY": SECRET, "OMEGA_MODEL": "  "},
        {"OPENAI_API_KEY": SECRET, "OMEGA_MODEL": "anthropic:claude"},
        {"OMEGA_MODEL_URL": "http://127.0.0.1:1/v1"},
        {"OMEGA_MODEL_URL": "ftp://x", "OMEGA_MODEL": "m"},
        {"OMEGA_MODEL_URL": "https://x:port", "OMEGA_MODEL": "m"},
        {"OMEGA_MODEL_URL": "http://far.example", "OMEGA_MODEL": "m", "OMEGA_MODEL_KEY": SECRET},
    ],
)
def test_without_a_named_model_asking_is_a_typed_error(variables: dict[str, str]) -> None:
    assert ModelEffector(variables).available() is None
    error = failure(variables)
    assert isinstance(error, InputError)
    assert error.code == "OMG-X002"
    assert SECRET not in json.dumps(error.record())


@pytest.mark.parametrize(
    ("variables", "label", "base_url"),
    [
        ({"ANTHROPIC_API_KEY": "k", "OMEGA_MODEL": "m"}, "anthropic:m", "https://api.anthropic.com"),
        ({"OPENAI_API_KEY": "k", "OMEGA_MODEL": "m"}, "openai:m", "https://api.openai.com/v1"),
        ({"OPENAI_API_KEY": "k", "OMEGA_MODEL": "m", "OPENAI_BASE_URL": "https://p.example/v1/"}, "openai:m", "https://p.example/v1"),
        ({"OPENAI_API_KEY": "k", "MISTRAL_API_KEY": "k", "OMEGA_MODEL": "mistral:m"}, "mistral:m", "https://api.mistral.ai/v1"),
        ({"OPENROUTER_API_KEY": "k", "OMEGA_MODEL": "maker/m:free"}, "openrouter:maker/m:free", "https://openrouter.ai/api/v1"),
        ({"OMEGA_MODEL_URL": "http://localhost:1/v1", "OMEGA_MODEL": "m:1b", "OPENAI_API_KEY": "k"}, "local:m:1b", "http://localhost:1/v1"),
    ],
)
def test_environment_chooses_the_provider(variables: dict[str, str], label: str, base_url: str) -> None:
    found = configured(variables)
    assert isinstance(found, Provider)
    assert (found.label, found.base_url, ModelEffector(variables).available()) == (label, base_url, label)


def test_reason_says_what_to_set() -> None:
    found = configured({"OPENAI_API_KEY": "k"})
    assert isinstance(found, Missing)
    assert "OPENAI_API_KEY" in found.reason
    assert "OMEGA_MODEL" in found.reason


@pytest.mark.promise("TOOL-12")
def test_key_shows_in_no_representation() -> None:
    assert SECRET not in repr(configured({"OPENAI_API_KEY": SECRET, "OMEGA_MODEL": "m"}))


# Asking


def test_asks_chat_completions_and_counts_tokens_without_a_price(url: str) -> None:
    text, receipt = ask(local(url))
    assert text == "be brief/PRIVATE what is it"
    assert (receipt.tokens, receipt.priced, receipt.cost_micros) == (9, False, 0)
    assert receipt.bytes_in > 0
    path, headers, body = Handler.seen[0]
    assert (path, headers["authorization"], body["max_tokens"]) == ("/v1/chat/completions", f"Bearer {SECRET}", 50)


def test_asks_openai_with_its_own_limit_field(url: str) -> None:
    ask({"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": f"{url}/v1", "OMEGA_MODEL": "echo"})
    assert Handler.seen[0][2]["max_completion_tokens"] == 50


def test_asks_anthropic_messages(url: str) -> None:
    text, receipt = ask({"ANTHROPIC_API_KEY": SECRET, "ANTHROPIC_BASE_URL": url, "OMEGA_MODEL": "echo"})
    assert (text, receipt.tokens) == ("be brief|PRIVATE what is it", 12)
    path, headers, _ = Handler.seen[0]
    assert (path, headers["x-api-key"]) == ("/v1/messages", SECRET)
    assert "authorization" not in headers


def test_endpoint_without_a_key_gets_none(url: str) -> None:
    ask({"OMEGA_MODEL_URL": f"{url}/v1", "OMEGA_MODEL": "echo"})
    assert "authorization" not in Handler.seen[0][1]


def test_one_client_serves_several_calls(url: str) -> None:
    async def scenario() -> list[str]:
        effector = ModelEffector(local(url))
        try:
            calls = (effector.perform(permit_for("model"), CALL, execution=EXECUTION, step=STEP) for _ in range(5))
            return [text for text, _ in await asyncio.gather(*calls)]
        finally:
            await effector.aclose()

    assert asyncio.run(scenario()) == ["be brief/PRIVATE what is it"] * 5


# Failing


@pytest.mark.promise("TOOL-12")
@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("broken", "status 500 (server_error)"),
        ("echoes-key", "status 401"),
        ("moved", "status 307"),
        ("no-json", "no answer"),
        ("no-answer", "no answer"),
        ("empty", "empty"),
        ("cut", "did not finish"),
        ("floods", "more than"),
    ],
)
def test_failure_is_coded_and_holds_neither_key_nor_prompt(url: str, model: str, part: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        error = failure(local(url, model))
    assert isinstance(error, UpstreamError)
    assert (error.code, part in error.cause) == ("OMG-M008", True), error.cause
    for text in (json.dumps(error.record()), caplog.text):
        assert SECRET not in text
        assert "PRIVATE" not in text


def test_model_that_hangs_runs_out_of_time(url: str) -> None:
    error = failure(local(url, "hangs"), ModelCall(instructions="", prompt="", timeout_s=0.3))
    assert (error.code, "0.3 s" in error.cause) == ("OMG-M008", True)


def test_endpoint_that_is_not_there_is_coded() -> None:
    error = failure({"OMEGA_MODEL_URL": "http://127.0.0.1:9/v1", "OMEGA_MODEL": "m"})
    assert (error.code, "cannot be reached" in error.cause) == ("OMG-M008", True)


def test_spent_permit_and_foreign_request_ask_nothing(url: str) -> None:
    async def scenario(request: Any, port: str) -> None:
        await ModelEffector(local(url)).perform(permit_for(port), request, execution=EXECUTION, step=STEP)

    with pytest.raises(Denied):
        asyncio.run(scenario(CALL, "mcp"))
    with pytest.raises(InputError):
        asyncio.run(scenario(Command(argv=("true",)), "model"))
    assert not Handler.seen


@pytest.mark.promise("WARD-14")
@pytest.mark.parametrize("speaks", [completions, anthropic])
@pytest.mark.parametrize(
    "options",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": "word " * 20_000}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"title": "\u00e9" * 5_000}}}},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
        {"stop": ["x" * 900], "user": "u" * 900, "logit_bias": {str(n): 1 for n in range(300)}},
    ],
)
def test_what_is_foretold_is_no_less_than_what_is_sent(speaks: Any, options: dict[str, Any]) -> None:
    chat = Chat(model="m", messages=({"role": "user", "content": "hi"},), max_tokens=10, options=options)
    _, body = speaks.asked(Provider(name="x", base_url="http://x", model="m", key=""), chat, stream=False)
    read = [body.pop("messages"), {name: value for name, value in body.items() if name not in ("model", "max_tokens", "system")}]
    assert most_read(chat) >= len(json.dumps(read)) + len(body.get("system", ""))
