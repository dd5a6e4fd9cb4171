"""Tasks of tool servers: who may look on, and who alone may answer and cancel."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.mcp.serving import Served, http_upstream, serving
from omega.adapters.mcp.http import Pool
from omega.host.hall import ToolHall
from omega.host.identity import Caller
from omega.kernel.definition import tool
from omega.kernel.ports import Call
from omega.wire.jsonrpc import INVALID_PARAMS
from servers.everything_mcp import everything
from servers.everything_tasks import EXTENSION

PATIENCE_S = 60.0
CAPABILITIES: dict[str, Any] = {"elicitation": {}, "extensions": {EXTENSION: {}}}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": CAPABILITIES}
NEWER = {"MCP-Protocol-Version": "2026-07-28", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class Somebody:
    """A client that acts with one passport."""

    def __init__(self, served: Served, passport: str) -> None:
        self.pool, self.passport = Pool(served.url, {}, 1 << 20), passport
        self.headers = NEWER | {"Authorization": f"Bearer {passport}"}

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer."""
        named = str(params.get("name", params.get("taskId", "")))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}).encode()
        headers = self.headers | {"Mcp-Method": method, "Mcp-Name": named}
        answer: dict[str, Any] = json.loads(await self.pool.whole(await self.pool.ask("POST", body, headers)))
        return answer

    async def result(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of what must go well."""
        answer = await self.ask(method, **params)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def until(self, task: str, status: str) -> dict[str, Any]:
        """The task, once it stands so."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.result("tasks/get", taskId=task))["status"] != status:
                await asyncio.sleep(0.01)
        return found


def delegated(served: Served, actor: str) -> str:
    """The passport of somebody who acts for the owner, with all that the owner holds."""
    world, scope = served.omega.world, served.omega.scope()
    return world.authority.issue(
        tenant=scope.tenant,
        principal=scope.principal,
        groups=scope.groups,
        capabilities=scope.capabilities,
        actors=(actor,),
        region=scope.region,
        ttl_s=60,
        now=world.clock.now_us() / 1_000_000,
        jti="pas_delegated",
    )


@pytest.mark.slow
@pytest.mark.promise("MCP-17")
def test_task_is_read_by_those_who_may_and_answered_and_cancelled_by_whoever_started_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with everything() as (server, url), serving(tmp_path / "home", [http_upstream("test", url)]) as served:
            owner = Somebody(served, served.passport)
            reader = Somebody(served, served.omega.passport(Caller("person:bob", ("owner",))))
            agent = Somebody(served, delegated(served, "agent:helper"))
            try:
                task = (await owner.result("tools/call", name="test__confirm_delete", arguments={"filename": "a"}))["taskId"]
                (key,) = (await owner.until(task, "input_required"))["inputRequests"]
                answers = {key: {"action": "accept", "content": {"confirm": True}}}
                assert (await reader.result("tasks/get", taskId=task))["status"] == "input_required"
                for other in (reader, agent):
                    for method, more in (("tasks/update", {"inputResponses": answers}), ("tasks/cancel", {})):
                        refused = await other.ask(method, taskId=task, **more)
                        assert refused.get("error") == {"code": INVALID_PARAMS, "message": "there is no such task"}, method
                assert server.count("tasks/update") == server.count("tasks/cancel") == 0, "the tool server never heard of it"
                await owner.result("tasks/update", taskId=task, inputResponses=answers)
                assert (await owner.until(task, "completed"))["result"]["content"][0]["text"] == "a: accept"
                held = await agent.result("tools/call", name="test__slow_compute", arguments={"seconds": 20})
                execution = held["_meta"]["omega/execution"]
                world, house = served.omega.world, served.house
                acting = world.authority.verify(agent.passport, now=world.clock.now_us() / 1_000_000)
                assert house.is_own(execution, acting)
                assert not house.is_own(execution, served.omega.scope()), "nor does a person, where an agent of theirs started it"
            finally:
                for each in (owner, reader, agent):
                    each.pool.close()

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.promise("MCP-17")
def test_value_that_only_looks_like_a_task_is_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with everything() as (_, url), serving(tmp_path / "home", [http_upstream("test", url)]) as served:
            owner, hall = Somebody(served, served.passport), ToolHall(served.omega, list)
            passed = (await owner.result("tools/call", name="test__test_simple_text", arguments={}))["_meta"]["omega/execution"]
            owner.pool.close()
            flow = served.omega.catalogue.bound(tool("test", "test_simple_text"))
            plain = (await served.omega.road.call(Call(passport=served.passport, flow=flow, input={}))).execution
            lines = [served.omega.store.line(each) for each in (passed, plain)]
            assert [line is not None and (line.flow, hall.passes(line)) for line in lines] == [
                ("test/test_simple_text", True),
                ("test/test_simple_text", False),
            ], "what a flow takes for a value may be what its caller wanted it to say"

    asyncio.run(scenario())
