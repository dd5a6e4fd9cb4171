"""OpenAI's chat completions and embeddings, as a client speaks them (platform.openai.com/docs/api-reference/chat).

Many providers and local servers speak it too, each with small gaps; only what the interface promises is relied on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from omega.adapters.models.provider import Provider
from omega.adapters.models.said import Said, Unreadable, Usage, amount
from omega.kernel.models import Chat, Embed

FINISHES: Final = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}
"""What an answer may end with, in our words; `content_filter` stays, anything else counts as stop."""

MAX_TOOL_CALLS: Final = 128
"""Most tool calls of one answer."""


def headers_of(provider: Provider) -> dict[str, str]:
    """The headers that prove who asks."""
    return {"Authorization": f"Bearer {provider.key}"} if provider.key else {}


def asked(provider: Provider, chat: Chat, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """URL and JSON body that ask `chat`."""
    body: dict[str, Any] = {"model": provider.model, **(chat.options or {}), provider.limit_field: chat.max_tokens}
    body["messages"] = [dict(message) for message in chat.messages]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return f"{provider.base_url}/chat/completions", body


def embedding_asked(provider: Provider, embed: Embed) -> tuple[str, dict[str, Any]]:
    """URL and JSON body that ask for vectors."""
    body: dict[str, Any] = {"model": provider.model, "input": list(embed.texts), "encoding_format": "float"}
    if embed.dimensions:
        body["dimensions"] = embed.dimensions
    return f"{provider.base_url}/embeddings", body


def read(body: Any) -> Said:
    """The message in a whole answer. Raises Unreadable."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content")
        said = Said(
            text=text if isinstance(text, str) else None,
            tool_calls=[_call(each) for each in (message.get("tool_calls") or [])[:MAX_TOOL_CALLS]],
            finish=_finish(choice.get("finish_reason")),
            usage=_usage(body.get("usage")),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unreadable from error
    _from(said, body)
    return said


def read_vectors(body: Any, wanted: int) -> tuple[list[list[float]], Said]:
    """The vectors of an answer in the order of their texts. Raises Unreadable."""
    try:
        rows = sorted(body["data"], key=lambda row: row["index"])
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
        if [row["index"] for row in rows] != list(range(wanted)) or len({len(vector) for vector in vectors}) > 1:
            raise Unreadable
        said = Said(usage=_usage(body.get("usage")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable from error
    _from(said, body)
    return vectors, said


class Stream:
    """Puts a streamed answer together. `over` tells that it ended as the interface says it ends."""

    def __init__(self) -> None:
        self.said = Said()
        self.over = False
        self._finished = False

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The parts to show for the data of one event. Raises Unreadable."""
        if data.strip() == b"[DONE]":
            self.over = self._finished
            return []
        try:
            body = json.loads(data)
            if body.get("error"):
                raise Unreadable
            _from(self.said, body)
            self.said.usage = _usage(body.get("usage")) or self.said.usage
            choices = body.get("choices") or []
            return self._choice(choices[0]) if choices else []
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise Unreadable from error

    def _choice(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        delta = choice.get("delta") or {}
        if isinstance(text := delta.get("content"), str) and text:
            self.said.text = (self.said.text or "") + text
            parts.append({"text": text})
        for call in delta.get("tool_calls") or []:
            parts.append({"tool": self._tool(call)})
        if choice.get("finish_reason"):
            self.said.finish, self._finished = _finish(choice["finish_reason"]), True
        return parts

    def _tool(self, call: Mapping[str, Any]) -> dict[str, Any]:
        index, function = int(call["index"]), call.get("function") or {}
        calls = self.said.tool_calls
        if not 0 <= index <= len(calls) or index >= MAX_TOOL_CALLS:
            raise Unreadable
        if index == len(calls):
            calls.append({"id": "", "name": "", "arguments": ""})
        new = {"id": str(call.get("id") or ""), "name": str(function.get("name") or ""), "arguments": str(function.get("arguments") or "")}
        for name, value in new.items():
            calls[index][name] += value
        return {"index": index, **new}


def _call(call: Mapping[str, Any]) -> dict[str, str]:
    function = call["function"]
    return {"id": str(call.get("id") or ""), "name": str(function["name"]), "arguments": str(function.get("arguments") or "{}")}


def _finish(reason: Any) -> str:
    return "content_filter" if reason == "content_filter" else FINISHES.get(str(reason), "stop")


def _usage(counts: Any) -> Usage | None:
    if not isinstance(counts, Mapping):
        return None
    read_, written = amount(counts, "prompt_tokens"), amount(counts, "completion_tokens")
    whole = amount(counts, "total_tokens")
    return Usage(
        input=read_ or (max(0, whole - written) if written else 0),
        output=written or (0 if read_ else whole),  # one sum is reckoned as written: the dearer of the two
        cached=amount(counts.get("prompt_tokens_details"), "cached_tokens"),
        reasoning=amount(counts.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _from(said: Said, body: Mapping[str, Any]) -> None:
    """Which model answered, as far as the provider says."""
    said.version = str(body.get("model") or said.version)[:200]
    said.fingerprint = str(body.get("system_fingerprint") or said.fingerprint)[:200]


def texts_of(messages: Sequence[Mapping[str, Any]]) -> int:
    """How much text a conversation holds, in bytes."""
    return sum(len(str(message.get("content") or "").encode("utf-8", "replace")) for message in messages)
