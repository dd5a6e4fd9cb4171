"""Chat completions: a request as a question, a reply as a completion, the parts of a streamed reply as chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omega.wire.openai.fields import given, known, objects, texts, wrong

_TAKEN = {
    "model": "model",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop": "stop",
    "seed": "seed",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "response_format": "response_format",
    "reasoning_effort": "reasoning_effort",
    "stream": "stream",
}
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "store": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
}
_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id")
_UNSAID = ("refusal", "annotations", "audio", "function_call", "reasoning_content", "parsed")
"""What programs send back of an earlier answer, and no model reads."""


def question_of(body: Any) -> dict[str, Any]:
    """The question (`omega.features.models.model.Question`, as data) of a request. Raises InputError (OMG-I001) naming the field."""
    request = objects(body, "body")
    known(request, {*_TAKEN, "messages", "stream_options"}, _NEUTRAL)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "is a list of at least one message")
    question = {**given(request, _TAKEN), "messages": [_message(each, at) for at, each in enumerate(messages)]}
    if not isinstance(question.get("model"), str) or not question["model"]:
        raise wrong("model", "names a model or a route")
    return question


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Whether a streamed answer ends with a chunk that tells what was used."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def completion(reply: Mapping[str, Any], *, execution: str, created: int) -> dict[str, Any]:
    """The answer to a request that does not stream; `created` is in Unix seconds."""
    message: dict[str, Any] = {"role": "assistant", "content": reply["text"], "refusal": None}
    if reply["tool_calls"]:
        message["tool_calls"] = [_tool(call) for call in reply["tool_calls"]]
    choice = {"index": 0, "message": message, "finish_reason": reply["finish"], "logprobs": None}
    return {
        "id": f"chatcmpl-{execution}",
        "object": "chat.completion",
        "created": created,
        "model": reply["model"],
        "choices": [choice],
        "usage": usage(reply["usage"]),
        "system_fingerprint": reply["fingerprint"] or None,
        "omega": about(reply, execution),
    }


class Chunks:
    """The chunks of one streamed answer."""

    def __init__(self, model: str, *, execution: str, created: int) -> None:
        self._base = {"id": f"chatcmpl-{execution}", "object": "chat.completion.chunk", "created": created, "model": model}
        self._execution = execution

    def begin(self) -> dict[str, Any]:
        """The first: who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """A part that the model's answer was shown in."""
        if "text" in part:
            return self._chunk({"content": part["text"]})
        tool = part["tool"]
        function = {"arguments": tool["arguments"], **({"name": tool["name"]} if tool["name"] else {})}
        begins = {"id": tool["id"], "type": "function"} if tool["id"] else {}
        return self._chunk({"tool_calls": [{"index": tool["index"], **begins, "function": function}]})

    def end(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """The last of the answer: how it finished."""
        return {**self._chunk({}, reply["finish"]), "omega": about(reply, self._execution)}

    def usage(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """What was used, for those who asked for it."""
        return {**self._base, "choices": [], "usage": usage(reply["usage"])}

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**self._base, "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish, "logprobs": None}]}


def about(reply: Mapping[str, Any], execution: str) -> dict[str, Any]:
    """What else is known of an answer, under a name of our own: where it is on record, who gave it, what it cost."""
    names = ("provider", "version", "digest", "cost_micros", "priced", "prices", "cache", "redacted", "tried")
    return {"execution": execution, **{name: reply[name] for name in names}}


def usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens, as this interface counts them."""
    return {
        "prompt_tokens": counts["input"],
        "completion_tokens": counts["output"],
        "total_tokens": counts["input"] + counts["output"],
        "prompt_tokens_details": {"cached_tokens": counts["cached"]},
        "completion_tokens_details": {"reasoning_tokens": counts["reasoning"]},
    }


def _message(message: Any, at: int) -> dict[str, Any]:
    place = f"messages[{at}]"
    fields = {name: value for name, value in objects(message, place).items() if value is not None and name not in _UNSAID}
    odd = next((name for name in fields if name not in _MESSAGE), None)
    if odd is not None:
        raise wrong(f"{place}.{odd[:40]}", "is not supported here")
    if "content" in fields:
        fields["content"] = texts(fields["content"], f"{place}.content", ("text",))
    return fields


def _tool(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
