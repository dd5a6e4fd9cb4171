"""OpenAI's interface as pure data: what is read is exactly what was said, and whatever makes no sense is a coded refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.features.models.model import Question
from omega.kernel.errors import CODES, InputError
from omega.wire.openai import chat, others, responses

LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FIELDS = (
    "model",
    "messages",
    "input",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "stream",
    "instructions",
    "n",
    "max_tokens",
    "encoding_format",
)
REPLY: dict[str, Any] = {
    "text": "hello you", "tool_calls": [], "finish": "stop", "usage": {"input": 3, "output": 2, "cached": 1, "reasoning": 0, "said": True},
    "model": "m", "provider": "p", "version": "m-1", "fingerprint": "", "seed": None, "digest": "d", "cost_micros": 5, "priced": True,
    "prices": "own", "cache": "", "redacted": False, "tried": [],
}  # fmt: skip


@pytest.mark.promise("MODEL-04")
@pytest.mark.parametrize("read", [chat.question_of, responses.question_of, others.texts_of])
@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_is_read_or_refused_with_a_code(read: Any, body: Any) -> None:
    try:
        found = read(body)
    except InputError as error:
        assert error.code == "OMG-I001"
        assert "param" in error.details
    else:
        assert found["model"]


def test_a_conversation_is_read_whole() -> None:
    body = {
        "model": "fast",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "what"}]},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "it"},
        ],
        "max_completion_tokens": 5, "seed": 1, "user": "u", "metadata": {"a": "b"}, "n": 1, "logit_bias": None,
    }  # fmt: skip
    question = Question.model_validate(chat.question_of(body))
    assert (question.model, question.max_tokens, question.seed, len(question.messages)) == ("fast", 5, 1, 3)
    assert question.messages[1].tool_calls is not None
    assert question.options() == {"seed": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 2), ("logprobs", True), ("audio", {}), ("functions", [{}]), ("store", True), ("messages", []),
     ("messages", [{"role": "user", "color": 1}])],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        chat.question_of({"model": "m", "messages": [{"role": "user", "content": "x"}], field: value})
    assert field in str(caught.value.details["param"])


def test_pictures_are_refused_and_not_left_out() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    with pytest.raises(InputError) as caught:
        chat.question_of({"model": "m", "messages": [{"role": "user", "content": [picture]}]})
    assert caught.value.details["param"] == "messages[0].content"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "file"}]}, "input[0].type"), ({"background": True}, "background"), ({"text": 5}, "text"),
    ],
)  # fmt: skip
def test_responses_refuse_what_is_not_there(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InputError) as caught:
        responses.question_of({"model": "m", "input": "x", **body})
    assert caught.value.details["param"] == param


@given(st.lists(st.text(min_size=1, max_size=6), min_size=0, max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_events_of_a_response_add_up_to_it(words: list[str]) -> None:
    reply = {**REPLY, "text": "".join(words)}
    response = responses.Response({"model": "m"}, execution="e", created=1)
    events = [*response.begin()]
    for word in words:
        events += response.part({"text": word})
    events += response.end(reply)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == reply["text"]
    whole = responses.Response({"model": "m"}, execution="e", created=1).whole(reply)
    assert events[-1]["response"] == whole


def test_a_cut_answer_is_incomplete() -> None:
    whole = responses.Response({"model": "m"}, execution="e", created=1).whole({**REPLY, "finish": "length"})
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_every_code_has_a_status_and_a_type() -> None:
    for code in CODES:
        status, body = others.error_of({"code": code, "cause": "c", "advice": "a", "details": {}})
        assert 400 <= status < 600
        assert body["error"]["code"] == code
        assert (body["error"]["type"] == "server_error") == (status >= 500 or status not in others._TYPES)
