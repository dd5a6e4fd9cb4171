"""Anthropic's messages, as a client speaks them (docs.anthropic.com/en/api/messages), from and to the shape of chat completions.

chat completions                      messages
system and developer messages         `system`, joined
tool message                          user message with a tool_result block
assistant's tool_calls                tool_use blocks
tools, tool_choice                    tools with input_schema, tool_choice
stop                                  stop_sequences
response_format                       none: a schema is told to the model in `system`
seed                                  none: it is recorded, and not sent
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from omega.adapters.models.provider import ANTHROPIC_VERSION, Provider
from omega.adapters.models.said import Said, Unreadable, Usage, amount
from omega.kernel.models import Chat

FINISHES: Final = {"max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter", "model_context_window_exceeded": "length"}
CHOICES: Final = {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}


def headers_of(provider: Provider) -> dict[str, str]:
    """The headers that prove who asks."""
    return {"x-api-key": provider.key, "anthropic-version": ANTHROPIC_VERSION}


def asked(provider: Provider, chat: Chat, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """URL and JSON body that ask `chat`."""
    options = dict(chat.options or {})
    body: dict[str, Any] = {"model": provider.model, "max_tokens": chat.max_tokens, "messages": _messages(chat.messages)}
    system = [_text(each.get("content")) for each in chat.messages if each["role"] in ("system", "developer")]
    system = [each for each in (*system, *_told(options.get("response_format"))) if each]
    if system:
        body["system"] = "\n\n".join(system)
    for name in ("temperature", "top_p"):
        if options.get(name) is not None:
            body[name] = options[name]
    if options.get("stop"):
        body["stop_sequences"] = [options["stop"]] if isinstance(options["stop"], str) else list(options["stop"])
    if options.get("tools"):
        body["tools"] = [_tool(each["function"]) for each in options["tools"]]
        body |= _choice(options.get("tool_choice"))
    if stream:
        body["stream"] = True
    return f"{provider.base_url}/v1/messages", body


def read(body: Any) -> Said:
    """The message in a whole answer. Raises Unreadable."""
    try:
        text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
        calls = [_call(block) for block in body["content"] if block["type"] == "tool_use"]
        return Said(
            text=text or None,
            tool_calls=calls,
            finish=FINISHES.get(str(body.get("stop_reason")), "stop"),
            usage=_usage(body.get("usage")),
            version=str(body.get("model") or "")[:200],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreadable from error


class Stream:
    """Puts a streamed answer together. `over` tells that it ended as the interface says it ends."""

    def __init__(self) -> None:
        self.said = Said()
        self.over = False
        self._counts: dict[str, Any] = {}
        self._tools: dict[int, int] = {}

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The parts to show for the data of one event. Raises Unreadable."""
        try:
            event = json.loads(data)
            match event["type"]:
                case "message_start":
                    self.said.version = str(event["message"].get("model") or "")[:200]
                    self._counts |= event["message"].get("usage") or {}
                case "content_block_start" if event["content_block"]["type"] == "tool_use":
                    return [{"tool": self._begin(int(event["index"]), event["content_block"])}]
                case "content_block_delta":
                    return self._delta(int(event["index"]), event["delta"])
                case "message_delta":
                    self.said.finish = FINISHES.get(str(event["delta"].get("stop_reason")), "stop")
                    self._counts |= event.get("usage") or {}
                case "message_stop":
                    self.over, self.said.usage = True, _usage(self._counts)
                case "error":
                    raise Unreadable
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise Unreadable from error
        return []

    def _begin(self, block: int, content: Mapping[str, Any]) -> dict[str, Any]:
        index = self._tools[block] = len(self.said.tool_calls)
        call = {"id": str(content["id"]), "name": str(content["name"]), "arguments": ""}
        self.said.tool_calls.append(call)
        return {"index": index, **call}

    def _delta(self, block: int, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if delta["type"] == "text_delta" and delta["text"]:
            self.said.text = (self.said.text or "") + str(delta["text"])
            return [{"text": str(delta["text"])}]
        if delta["type"] == "input_json_delta" and block in self._tools:
            index, more = self._tools[block], str(delta["partial_json"])
            self.said.tool_calls[index]["arguments"] += more
            return [{"tool": {"index": index, "id": "", "name": "", "arguments": more}}]
        return []


def _messages(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """User and assistant messages in turn: neighbours of the same role are one message."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        elif blocks:
            found.append({"role": role, "content": blocks})
    return [
        {"role": each["role"], "content": each["content"][0]["text"]}
        if [block["type"] for block in each["content"]] == ["text"] else each
        for each in found
    ]  # fmt: skip


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = _text(message.get("content"))
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": text}]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text or message["role"] == "user" else []
    for call in message.get("tool_calls") or []:
        function = call["function"]
        blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": _arguments(function.get("arguments"))})
    return blocks


def _arguments(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content or ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def _told(form: Any) -> list[str]:
    """What the model is told where JSON is wanted."""
    if not isinstance(form, Mapping) or form.get("type") not in ("json_object", "json_schema"):
        return []
    schema = (form.get("json_schema") or {}).get("schema")
    fits = f" that fits this JSON Schema: {json.dumps(schema, sort_keys=True)}" if schema else ""
    return [f"Answer with one JSON object and nothing else{fits}"]


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    about = {"description": function["description"]} if function.get("description") else {}
    return {"name": function["name"], **about, "input_schema": schema}


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, Mapping):
        return {"tool_choice": {"type": "tool", "name": (choice.get("function") or {}).get("name", "")}}
    return {"tool_choice": CHOICES[choice]} if choice in CHOICES else {}


def _call(block: Mapping[str, Any]) -> dict[str, str]:
    return {"id": str(block["id"]), "name": str(block["name"]), "arguments": json.dumps(block.get("input") or {})}


def _usage(counts: Any) -> Usage | None:
    """The interface counts what came from its cache, and what went into it, beside the other input."""
    if not isinstance(counts, Mapping):
        return None
    cached, kept = amount(counts, "cache_read_input_tokens"), amount(counts, "cache_creation_input_tokens")
    return Usage(
        input=amount(counts, "input_tokens") + cached + kept, output=amount(counts, "output_tokens"), cached=cached, cache_written=kept
    )
