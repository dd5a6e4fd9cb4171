"""Responses: a request as a question, a reply as a response, the parts of a streamed reply as events.

Nothing is kept between two requests under an id of this interface: the whole conversation comes with each (`store` is false).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omega.wire.openai.chat import about
from omega.wire.openai.fields import given, known, objects, texts, wrong

_TAKEN = {
    "model": "model",
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "parallel_tool_calls": "parallel_tool_calls",
    "stream": "stream",
}
_READ = ("input", "instructions", "reasoning", "text", "tool_choice", "tools")
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "include": ([],),
    "store": (False, True),  # nothing is kept for later requests, whatever is asked: the answer says so
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_TEXTS = ("input_text", "output_text", "text")


def question_of(body: Any) -> dict[str, Any]:
    """The question (`omega.features.models.model.Question`, as data) of a request. Raises InputError (OMG-I001) naming the field."""
    request = objects(body, "body")
    if request.get("previous_response_id") or request.get("conversation"):
        raise wrong("previous_response_id", "is not supported: send the whole conversation as input")
    known(request, {*_TAKEN, *_READ}, _NEUTRAL)
    if not isinstance(request.get("model"), str) or not request["model"]:
        raise wrong("model", "names a model or a route")
    question = given(request, _TAKEN)
    instructions = request.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    question["messages"] = [*system, *_messages(request.get("input"))]
    if request.get("tools"):
        if not isinstance(request["tools"], list):
            raise wrong("tools", "is a list")
        question["tools"] = [_tool(each, at) for at, each in enumerate(request["tools"])]
    if request.get("tool_choice") is not None:
        question["tool_choice"] = _choice(request["tool_choice"])
    effort = objects(request.get("reasoning") or {}, "reasoning").get("effort")
    if effort:
        question["reasoning_effort"] = effort
    form = objects(request.get("text") or {}, "text").get("format")
    if form and objects(form, "text.format").get("type") != "text":
        question["response_format"] = _format(form)
    return question


class Response:
    """One response, from its beginning to its end; `events` of a streamed one come from `begin`, `part`, `end` or `fail`."""

    def __init__(self, request: Mapping[str, Any], *, execution: str, created: int) -> None:
        self._request, self._execution, self._created = request, execution, created
        self._number = -1
        self._items: list[dict[str, Any]] = []
        self._text: dict[str, Any] | None = None
        self._tools: dict[int, dict[str, Any]] = {}

    def whole(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        items = [self._message(reply["text"] or "")] if reply["text"] or not reply["tool_calls"] else []
        items += [self._call(at, call) for at, call in enumerate(reply["tool_calls"])]
        for item in items:
            item["status"] = "completed"
        return self._response(items, reply)

    def begin(self) -> list[dict[str, Any]]:
        """The first events."""
        response = self._response([], None)
        return [self._event("response.created", response=response), self._event("response.in_progress", response=response)]

    def part(self, part: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The events of a part that the model's answer was shown in."""
        if "text" in part:
            return [*self._open_text(), self._text_event("delta", delta=part["text"])]
        tool = part["tool"]
        events = []
        if tool["index"] not in self._tools:
            item = self._tools[tool["index"]] = self._call(tool["index"], {**tool, "arguments": ""})
            events.append(self._added(item))
        item = self._tools[tool["index"]]
        item["arguments"] += tool["arguments"]
        if tool["arguments"]:
            at = self._items.index(item)
            events.append(
                self._event("response.function_call_arguments.delta", item_id=item["id"], output_index=at, delta=tool["arguments"])
            )
        return events

    def end(self, reply: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The last events: each item is done, and so is the response."""
        events = [] if self._items else self._open_text()
        if self._text is not None:
            self._text["content"][0]["text"] = reply["text"] or ""
        for at, item in enumerate(self._items):
            item["status"] = "completed"
            if item["type"] == "function_call":
                done = {"item_id": item["id"], "output_index": at, "name": item["name"], "arguments": item["arguments"]}
                events.append(self._event("response.function_call_arguments.done", **done))
            else:
                part = item["content"][0]
                events.append(self._text_event("done", text=part["text"]))
                events.append(self._event("response.content_part.done", item_id=item["id"], output_index=at, content_index=0, part=part))
            events.append(self._event("response.output_item.done", output_index=at, item=item))
        response = self._response(self._items, reply)
        return [*events, self._event(f"response.{response['status']}", response=response)]

    def fail(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The last event of a response that failed; `record` is that of an `OmegaError`."""
        error = {"code": record["code"], "message": f"{record['cause']} ({record['advice']})"}
        return self._event("response.failed", response={**self._response(self._items, None), "status": "failed", "error": error})

    # -- parts

    def _open_text(self) -> list[dict[str, Any]]:
        if self._text is not None:
            return []
        self._text = item = self._message("")
        added = self._added({**item, "content": []})
        self._items[-1] = item
        at = len(self._items) - 1
        part = {"type": "output_text", "text": "", "annotations": []}
        return [added, self._event("response.content_part.added", item_id=item["id"], output_index=at, content_index=0, part=part)]

    def _added(self, item: dict[str, Any]) -> dict[str, Any]:
        self._items.append(item)
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=dict(item))

    def _text_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        assert self._text is not None  # noqa: S101 - opened before
        place = {"item_id": self._text["id"], "output_index": self._items.index(self._text), "content_index": 0}
        return self._event(f"response.output_text.{kind}", **place, logprobs=[], **fields)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **fields}

    def _message(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "id": f"msg_{self._execution}", "status": "in_progress", "role": "assistant", "content": content}

    def _call(self, at: int, call: Mapping[str, Any]) -> dict[str, Any]:
        own = {"call_id": call["id"], "name": call["name"], "arguments": call["arguments"]}
        return {"type": "function_call", "id": f"fc_{self._execution}_{at}", "status": "in_progress", **own}

    def _response(self, items: list[dict[str, Any]], reply: Mapping[str, Any] | None) -> dict[str, Any]:
        request = self._request
        cut = reply is not None and reply["finish"] == "length"
        return {
            "id": f"resp_{self._execution}",
            "object": "response",
            "created_at": self._created,
            "status": "in_progress" if reply is None else "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": request.get("instructions"),
            "max_output_tokens": request.get("max_output_tokens"),
            "model": reply["model"] if reply is not None else request.get("model"),
            "output": items,
            "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
            "previous_response_id": None,
            "reasoning": {"effort": (request.get("reasoning") or {}).get("effort"), "summary": None},
            "store": False,
            "temperature": request.get("temperature"),
            "text": request.get("text") or {"format": {"type": "text"}},
            "tool_choice": request.get("tool_choice") or "auto",
            "tools": request.get("tools") or [],
            "top_p": request.get("top_p"),
            "truncation": "disabled",
            "usage": None if reply is None else _usage(reply["usage"]),
            "metadata": request.get("metadata") or {},
            **({} if reply is None else {"omega": about(reply, self._execution)}),
        }


def _messages(given_: Any) -> list[dict[str, Any]]:
    if isinstance(given_, str):
        return [{"role": "user", "content": given_}]
    if not isinstance(given_, list) or not given_:
        raise wrong("input", "is a text or a list of items")
    found: list[dict[str, Any]] = []
    for at, item in enumerate(given_):
        _take(objects(item, f"input[{at}]"), f"input[{at}]", found)
    return found


def _take(item: Mapping[str, Any], place: str, found: list[dict[str, Any]]) -> None:
    match item.get("type", "message"):
        case "message":
            found.append({"role": item.get("role"), "content": texts(item.get("content"), f"{place}.content", _TEXTS)})
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if found and found[-1]["role"] == "assistant":
                found[-1].setdefault("tool_calls", []).append(call)
            else:
                found.append({"role": "assistant", "tool_calls": [call]})
        case "function_call_output":
            output = texts(item.get("output"), f"{place}.output", _TEXTS)
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
        case "reasoning":
            pass  # a summary of what a model thought, which no model reads
        case kind:
            raise wrong(f"{place}.type", f"is not supported here: {str(kind)[:40]}")


def _tool(tool: Any, at: int) -> dict[str, Any]:
    fields = objects(tool, f"tools[{at}]")
    if fields.get("type") != "function":
        raise wrong(f"tools[{at}].type", "is not supported here: functions are, tools that a provider runs are not")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: fields[name] for name in names if fields.get(name) is not None}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, Mapping):
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(form: Mapping[str, Any]) -> dict[str, Any]:
    if form.get("type") != "json_schema":
        return {"type": form.get("type")}
    names = ("name", "description", "schema", "strict")
    return {"type": "json_schema", "json_schema": {name: form[name] for name in names if form.get(name) is not None}}


def _usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": counts["input"],
        "input_tokens_details": {"cached_tokens": counts["cached"]},
        "output_tokens": counts["output"],
        "output_tokens_details": {"reasoning_tokens": counts["reasoning"]},
        "total_tokens": counts["input"] + counts["output"],
    }
