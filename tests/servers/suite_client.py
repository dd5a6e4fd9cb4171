"""Our client of tool servers as a program, for the client scenarios of the public conformance suite.

    MCP_CONFORMANCE_SCENARIO=... MCP_CONFORMANCE_PROTOCOL_VERSION=... python suite_client.py URL

One and the same thing for every scenario: meet the server, call every tool that it lists, read every resource, get every prompt. A person
stands behind it who fills in every form with its defaults and allows every client. `MCP_CONFORMANCE_CONTEXT` may say which tools are called
with what, and as which client we are known.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from omega.adapters.mcp import Limits, ToolDescription
from omega.adapters.mcp.obtaining import About, Obtaining
from omega.adapters.mcp.schema import check_arguments
from omega.adapters.mcp.streamable import HttpSession
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web
from omega.kernel.errors import InputError, UpstreamError

TIMEOUT_S = 15.0
ROUNDS = 5
SAMPLES = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
REDIRECT = "http://127.0.0.1:3999/callback"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""Where the suite wants our metadata to lie."""

CAPABILITIES = {"elicitation": {}, "sampling": {}, "roots": {}}


class Person:
    """Whoever waits for the calls: accepts every form as it is."""

    capabilities: Mapping[str, Any] = CAPABILITIES
    log_level = "debug"
    wants_progress = True
    whose = "somebody"
    modern = True

    def begun(self, execution: str) -> None:
        """The call runs."""

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Heard, and forgotten."""

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a question of the server."""
        if method != "elicitation/create":
            raise LookupError(f"{method} is answered by nobody")
        fields = params.get("requestedSchema", {}).get("properties", {})
        return {"action": "accept", "content": {name: each["default"] for name, each in fields.items() if "default" in each}}


def wanted(tool: ToolDescription, session: HttpSession) -> list[dict[str, Any]]:
    """The arguments of each call of a tool: those of the scenario, else something for every required one."""
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls")
    if given is not None:
        return [each["arguments"] for each in given if each["name"] == tool.name]
    if tool.name == "json_schema_echo":
        return [{"schema": session.tools["json_schema_2020_12_tool"].input_schema}]
    properties = tool.input_schema.get("properties", {})
    return [{name: SAMPLES.get(properties.get(name, {}).get("type"), "text") for name in tool.input_schema.get("required", [])}]


async def call(session: HttpSession, tool: str, arguments: dict[str, Any]) -> None:
    """One call, with as many rounds as the server asks for."""
    person, more = Person(), {}
    for _ in range(ROUNDS):
        result = await session.call(tool, arguments, {}, TIMEOUT_S, more=more, guest=person)
        if result.get("resultType", "complete") != "input_required":
            return
        questions = result.get("inputRequests", {})
        answers = {key: dict(await person.ask(each["method"], each.get("params", {}))) for key, each in questions.items()}
        more = {"inputResponses": answers} | ({"requestState": result["requestState"]} if "requestState" in result else {})


async def everything_of(session: HttpSession) -> None:
    """Call, read and get whatever there is."""
    for tool in list(session.tools.values()):
        for arguments in wanted(tool, session):
            with suppress(InputError):  # where a scenario says what to send, it is sent
                check_arguments(session.name, tool, arguments)
            with suppress(UpstreamError):
                await call(session, tool.name, arguments)
    person = Person()
    if "resources" in session.capabilities:
        for each in (await session.ask("resources/list", {}, TIMEOUT_S, guest=person))["resources"]:
            await session.ask("resources/read", {"uri": each["uri"]}, TIMEOUT_S, guest=person)
    if "prompts" in session.capabilities:
        for each in (await session.ask("prompts/list", {}, TIMEOUT_S, guest=person))["prompts"]:
            await session.ask("prompts/get", {"name": each["name"]}, TIMEOUT_S, guest=person)


async def issuer_of(web: Web, url: str) -> str:
    """Who gives the tokens of the server: a person would know it; the suite does not say, so it is looked up."""
    origin, _, path = url.partition("://")[2].partition("/")
    for place in (f"/{path.rstrip('/')}", ""):
        where = f"{url.partition('://')[0]}://{origin}/.well-known/oauth-protected-resource{place}"
        answer = await web.ask("GET", where, headers={"Accept": "application/json"}, timeout_s=TIMEOUT_S)
        if answer.status == 200:
            return str(json.loads(answer.body)["authorization_servers"][0])
    raise LookupError("the server does not say who gives its tokens")


async def main(url: str) -> None:
    older = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "") < "2026"
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    web = Web(networks(("127.0.0.0/8", "::1/128")))
    secret = context.get("client_secret", "")
    issuer = await issuer_of(web, url) if secret else ""
    about = About(redirect=REDIRECT, document=DOCUMENT, id=context.get("client_id", ""), secret=secret, issuer=issuer)

    async def consent(where: str) -> str:
        answer = await web.ask("GET", where, headers={}, timeout_s=TIMEOUT_S)
        return answer.headers["location"]

    signing = os.environ.get("MCP_CONFORMANCE_SCENARIO", "").startswith("auth/")
    tokens = Obtaining("suite", url, web, about, consent) if signing else None
    session = HttpSession("suite", url, {}, Limits(), (), older=older, tokens=tokens)
    try:
        await session.start(TIMEOUT_S)
        await everything_of(session)
    finally:
        await session.close()
        await web.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
