"""The tools, resources and prompts of the tool server of everything: what the public conformance suite asks servers to have, by its names.

The suite (modelcontextprotocol/conformance) says of each scenario what it calls and what it looks for; the words here are our own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from servers.everything_call import ELICIT, ROOTS, SAMPLE, Call, Fault, form, text

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
"""A picture of one pixel."""

WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
"""A sound without a sample."""

PAUSE_S = 0.02
"""Between two signs of life of a tool that takes its time, in seconds."""

NAMED = {"type": "string"}
Handler = Callable[[Call], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Tool:
    """A tool: what is listed of it, and what it does. The stream of a `dropped` one is closed before the answer, to be asked for again."""

    listed: dict[str, Any]
    handler: Handler
    dropped: bool = False


TOOLS: dict[str, Tool] = {}


def tool(name: str, *, dropped: bool = False, schema: dict[str, Any] | None = None, **properties: Any) -> Callable[[Handler], Handler]:
    """Register a tool; it is described by its docstring."""

    def register(handler: Handler) -> Handler:
        shape = schema or {"type": "object", "properties": properties}
        listed = {"name": name, "description": (handler.__doc__ or name).strip(), "inputSchema": shape}
        TOOLS[name] = Tool(listed, handler, dropped)
        return handler

    return register


# -- content


@tool("test_simple_text")
async def simple_text(call: Call) -> dict[str, Any]:
    """Says a sentence."""
    return text("This is a simple text response for testing.")


@tool("test_image_content")
async def image_content(call: Call) -> dict[str, Any]:
    """Gives a picture."""
    return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}


@tool("test_audio_content")
async def audio_content(call: Call) -> dict[str, Any]:
    """Gives a sound."""
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


@tool("test_embedded_resource")
async def embedded_resource(call: Call) -> dict[str, Any]:
    """Gives a resource."""
    return {"content": [embedded("test://embedded-resource", "embedded")]}


@tool("test_multiple_content_types")
async def multiple_content_types(call: Call) -> dict[str, Any]:
    """Gives text, a picture and a resource."""
    picture = {"type": "image", "data": PNG, "mimeType": "image/png"}
    return {"content": [*text("three kinds")["content"], picture, embedded("test://mixed-content-resource", "mixed")]}


@tool("test_error_handling")
async def error_handling(call: Call) -> dict[str, Any]:
    """Fails."""
    return text("This tool intentionally returns an error for testing", isError=True)


def embedded(uri: str, words: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": "text/plain", "text": words}}


@tool("greet", schema={"type": "object", "properties": {"name": NAMED}})
async def greet(call: Call) -> dict[str, Any]:
    """Greets."""
    return text(f"Hello, {call.arguments.get('name', 'you')}!")


# -- signs of life


@tool("test_tool_with_logging")
async def with_logging(call: Call) -> dict[str, Any]:
    """Logs three messages."""
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log(words)
        await asyncio.sleep(PAUSE_S)
    return text("logged")


@tool("test_logging_tool")
async def logging_tool(call: Call) -> dict[str, Any]:
    """Logs one message to those who want it."""
    await call.log("evaluated")
    return text("evaluated")


@tool("test_tool_with_progress")
async def with_progress(call: Call) -> dict[str, Any]:
    """Reports three times how far it is."""
    for done in (0, 50, 100):
        await call.progress(done, 100)
        await asyncio.sleep(PAUSE_S)
    return text("done")


@tool("test_reconnection", dropped=True)
async def reconnection(call: Call) -> dict[str, Any]:
    """Answers on another stream than it was asked on."""
    await asyncio.sleep(PAUSE_S)
    return text("reconnected")


# -- questions


@tool("test_sampling", prompt=NAMED)
async def sampling(call: Call) -> dict[str, Any]:
    """Asks the client's model."""
    words = call.arguments.get("prompt", "say something")
    said = await call.ask("sample", SAMPLE, sample(words))
    return text(f"LLM response: {said.get('content', {}).get('text', '')}")


@tool("test_elicitation", message=NAMED)
async def elicitation(call: Call) -> dict[str, Any]:
    """Asks the person at the client."""
    message = call.arguments.get("message", "your name, please")
    address = {"type": "string", "description": "where mail goes"}
    said = await call.ask("form", ELICIT, form(message, ("username", "email"), username={"type": "string"}, email=address))
    return text(f"User response: <action: {said.get('action')}, content: {json.dumps(said.get('content', {}))}>")


@tool("test_elicitation_sep1034_defaults")
async def elicitation_defaults(call: Call) -> dict[str, Any]:
    """Asks for a form whose every field has a default."""
    wanted = form(
        "look these over",
        name={"type": "string", "description": "a name", "default": "John Doe"},
        age={"type": "integer", "description": "years", "default": 30},
        score={"type": "number", "description": "points", "default": 95.5},
        status={"type": "string", "description": "where it stands", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "description": "whether somebody looked", "default": True},
    )
    said = await call.ask("form", ELICIT, wanted)
    return text(f"Elicitation completed: action={said.get('action')}, content={json.dumps(said.get('content', {}))}")


@tool("test_elicitation_sep1330_enums")
async def elicitation_enums(call: Call) -> dict[str, Any]:
    """Asks for a form with every kind of choice."""
    titled = [{"const": f"value{number}", "title": f"value {number}"} for number in (1, 2, 3)]
    plain = ["option1", "option2", "option3"]
    wanted = form(
        "choose",
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        untitledMulti={"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": titled}},
    )
    said = await call.ask("form", ELICIT, wanted)
    return text(f"Elicitation completed: action={said.get('action')}, content={json.dumps(said.get('content', {}))}")


def sample(words: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": {"type": "text", "text": words}}], "maxTokens": 100}


@tool("test_missing_capability")
async def missing_capability(call: Call) -> dict[str, Any]:
    """Needs a client that has a model."""
    if "sampling" not in call.client:
        raise Fault(-32021, "it takes sampling", {"requiredCapabilities": {"sampling": {}}}, 400)
    return text("it has one")


@tool("test_streaming_elicitation")
async def streaming_elicitation(call: Call) -> dict[str, Any]:
    """Asks, and sends nothing but its question."""
    await call.ask("name", ELICIT, form("your name", name=NAMED))
    return text("thank you")


@tool("test_input_required_result_elicitation")
async def input_elicitation(call: Call) -> dict[str, Any]:
    """Asks for a name."""
    said = await call.ask("user_name", ELICIT, form("What is your name?", ("name",), name=NAMED))
    return text(f"Hello, {_field(said, 'name')}!")


@tool("test_input_required_result_sampling")
async def input_sampling(call: Call) -> dict[str, Any]:
    """Asks the client's model for a capital."""
    said = await call.ask("capital_question", SAMPLE, sample("What is the capital of France?"))
    return text(str(said.get("content", {}).get("text", "")))


@tool("test_input_required_result_list_roots")
async def input_roots(call: Call) -> dict[str, Any]:
    """Asks which folders the client has open."""
    said = await call.ask("client_roots", ROOTS, {})
    return text(json.dumps(said.get("roots", [])))


@tool("test_input_required_result_request_state")
async def input_state(call: Call) -> dict[str, Any]:
    """Asks for a confirmation."""
    await call.ask("confirm", ELICIT, form("Please confirm", ("ok",), ok={"type": "boolean"}))
    return text("state-ok")


TOOLS["test_input_required_result_tampered_state"] = Tool(
    {"name": "test_input_required_result_tampered_state", "description": "Asks for a confirmation.", "inputSchema": {"type": "object"}},
    input_state,
)


@tool("test_input_required_result_multiple_inputs")
async def input_multiple(call: Call) -> dict[str, Any]:
    """Asks three things at once."""
    questions = {
        "user_name": (ELICIT, form("What is your name?", ("name",), name=NAMED)),
        "greeting": (SAMPLE, sample("Generate a greeting")),
        "client_roots": (ROOTS, {}),
    }
    return text(f"{len(await call.ask_all(questions))} answers")


@tool("test_input_required_result_multi_round")
async def input_rounds(call: Call) -> dict[str, Any]:
    """Asks twice, one after the other."""
    first = await call.ask("step1", ELICIT, form("Step 1: What is your name?", ("name",), name=NAMED))
    second = await call.ask("step2", ELICIT, form("Step 2: What is your favorite color?", ("color",), color=NAMED))
    return text(f"{_field(first, 'name')} likes {_field(second, 'color')}")


@tool("test_input_required_result_capabilities")
async def input_capabilities(call: Call) -> dict[str, Any]:
    """Asks whatever this client can be asked."""
    questions: dict[str, tuple[str, dict[str, Any]]] = {}
    if "elicitation" in call.client:
        questions["form"] = (ELICIT, form("your name", name=NAMED))
    if "sampling" in call.client:
        questions["model"] = (SAMPLE, sample("say something"))
    return text(f"{len(await call.ask_all(questions))} answers")


def _field(said: dict[str, Any], name: str) -> str:
    content = said.get("content")
    return str(content.get(name, "")) if isinstance(content, dict) else ""


# -- schemas and headers

DIALECT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@tool("json_schema_2020_12_tool", schema=DIALECT)
async def dialect(call: Call) -> dict[str, Any]:
    """Takes arguments by a schema that uses much of the language."""
    return text(json.dumps(call.arguments))


@tool("test_custom_header", region={"type": "string", "x-mcp-header": "Region"}, note=NAMED)
async def custom_header(call: Call) -> dict[str, Any]:
    """Has an argument that is repeated in a header."""
    return text(str(call.arguments.get("region", "")))


# -- resources and prompts

STATIC = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://watched-resource": {"mimeType": "text/plain", "text": "watched"},
}
"""Resources with what they hold."""

TEMPLATE = "test://template/{id}/data"


def resources() -> list[dict[str, Any]]:
    """What is listed of the resources."""
    return [
        {"uri": uri, "name": uri.partition("//")[2], "description": f"the resource {uri}", "mimeType": held["mimeType"]}
        for uri, held in STATIC.items()
    ]


def templates() -> list[dict[str, Any]]:
    """What is listed of the templates."""
    return [{"uriTemplate": TEMPLATE, "name": "template", "description": "data of one id", "mimeType": "application/json"}]


def contents(uri: str) -> list[dict[str, Any]]:
    """What a resource holds. Raises KeyError."""
    begin, end = TEMPLATE.split("{id}")
    if uri.startswith(begin) and uri.endswith(end):
        id = uri[len(begin) : -len(end)]
        words = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
        return [{"uri": uri, "mimeType": "application/json", "text": words}]
    return [{"uri": uri, **STATIC[uri]}]


@dataclass(frozen=True)
class Prompt:
    """A prompt: the names of its arguments, and what fills it in."""

    arguments: tuple[str, ...]
    handler: Callable[[Call], Awaitable[list[dict[str, Any]]]]
    described: str = field(default="a prompt")


async def _simple(call: Call) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "This is a simple prompt for testing."}]


async def _with_arguments(call: Call) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "Prompt with arguments: arg1='{arg1}', arg2='{arg2}'".format(**call.arguments)}]


async def _with_resource(call: Call) -> list[dict[str, Any]]:
    return [embedded(call.arguments["resourceUri"], "embedded"), {"type": "text", "text": "see above"}]


async def _with_image(call: Call) -> list[dict[str, Any]]:
    return [{"type": "image", "data": PNG, "mimeType": "image/png"}, {"type": "text", "text": "see above"}]


async def _asking(call: Call) -> list[dict[str, Any]]:
    said = await call.ask("user_context", ELICIT, form("What context should the prompt use?", ("context",), context=NAMED))
    return [{"type": "text", "text": f"in the context of {_field(said, 'context')}"}]


PROMPTS = {
    "test_simple_prompt": Prompt((), _simple, "a sentence"),
    "test_prompt_with_arguments": Prompt(("arg1", "arg2"), _with_arguments, "a sentence with two gaps"),
    "test_prompt_with_embedded_resource": Prompt(("resourceUri",), _with_resource, "a resource"),
    "test_prompt_with_image": Prompt((), _with_image, "a picture"),
    "test_input_required_result_prompt": Prompt((), _asking, "asks before it is filled in"),
}


def prompts() -> list[dict[str, Any]]:
    """What is listed of the prompts."""
    return [
        {
            "name": name,
            "description": each.described,
            "arguments": [{"name": argument, "description": argument, "required": True} for argument in each.arguments],
        }
        for name, each in PROMPTS.items()
    ]
