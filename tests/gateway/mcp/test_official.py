"""The official Python client drives the gateway: one of everything in both eras, and a tool server over standard streams that asks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import http_upstream, serving
from omega.adapters.mcp import Transport, Upstream
from servers.everything_mcp import everything

WATCHED = "test://watched-resource"
ASKING = Path(__file__).resolve().parents[2] / "servers" / "asking_mcp.py"

pytestmark = [pytest.mark.slow, pytest.mark.promise("MCP-10")]


class Person:
    """Answers what the client is asked, and remembers what it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.logs: list[Any] = []
        self.told: list[str] = []

    async def elicit(self, context: Any, params: Any) -> Any:
        from mcp_types import ElicitResult

        self.asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ada", "color": "blue", "username": "ada", "email": "ada@example.org"})

    async def sample(self, context: Any, params: Any) -> Any:
        from mcp_types import CreateMessageResult, TextContent

        return CreateMessageResult(role="assistant", model="none", content=TextContent(type="text", text="Paris"))

    async def log(self, params: Any) -> None:
        self.logs.append(params.data)

    async def hear(self, message: Any) -> None:
        self.told.append(getattr(message, "method", ""))


def client_of(url: str, mode: str, person: Person) -> Any:
    from mcp import Client

    return Client(
        url,
        mode=mode,
        elicitation_callback=person.elicit,
        sampling_callback=person.sample,
        logging_callback=person.log,
        message_handler=person.hear,
        log_level="debug",
    )


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
def test_one_of_everything(mode: str, tmp_path: Path) -> None:
    async def scenario() -> Person:
        person, done = Person(), []

        async def progress(so_far: float, total: float | None, message: str | None) -> None:
            done.append(so_far)

        async with everything() as (_, url), serving(tmp_path / "home", [http_upstream("test", url)], open_door=True) as served:  # noqa: SIM117
            async with client_of(served.url, mode, person) as client:
                if mode == "legacy":
                    await client.set_logging_level("debug")
                sampled = await client.call_tool("test__test_sampling", {"prompt": "which city"})
                assert sampled.content[0].text == "LLM response: Paris"
                elicited = await client.call_tool("test__test_elicitation", {"message": "who is there"})
                assert "ada@example.org" in elicited.content[0].text
                rounds = await client.call_tool("test__test_input_required_result_multi_round", {})
                assert rounds.content[0].text == "Ada likes blue"
                await client.call_tool("test__test_tool_with_progress", {}, progress_callback=progress)
                await client.call_tool("test__test_tool_with_logging", {})
                read = await client.read_resource("test://template/7/data")
                assert "Data for ID: 7" in read.contents[0].text
                prompt = await client.get_prompt("test__test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
                assert "arg2='b'" in prompt.messages[0].content.text
                await _watched(client, mode, person)
        assert done == [0, 50, 100]
        return person

    person = asyncio.run(scenario())
    assert person.asked == ["who is there", "Step 1: What is your name?", "Step 2: What is your favorite color?"]
    assert len(person.logs) == 3


async def _watched(client: Any, mode: str, person: Person) -> None:
    async with asyncio.timeout(20):
        if mode == "legacy":
            await client.subscribe_resource(WATCHED)
            await client.call_tool("test__test_touch_resource", {})
            while "notifications/resources/updated" not in person.told:
                await asyncio.sleep(0.02)
            return
        async with client.listen(resource_subscriptions=[WATCHED]) as events:
            await client.call_tool("test__test_touch_resource", {})
            assert (await anext(aiter(events))).uri == WATCHED


@pytest.mark.parametrize(("mode", "said"), [("2026-07-28", "hello, nobody"), ("legacy", "hello, Ada")])
def test_server_over_standard_streams_asks_a_caller_who_can_be_asked(mode: str, said: str, tmp_path: Path) -> None:
    async def scenario() -> Person:
        person = Person()
        asking = Upstream(name="asking", transport=Transport.STDIO, argv=(sys.executable, str(ASKING)))
        async with serving(tmp_path / "home", [asking], open_door=True) as served, client_of(served.url, mode, person) as client:
            result = await client.call_tool("asking__greet", {})
            assert result.content[0].text == said, "a client of the newer era is not asked in the middle of a call"
        return person

    assert asyncio.run(scenario()).asked == (["your name"] if mode == "legacy" else [])
