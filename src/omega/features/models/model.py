"""The nouns of Models. Questions have the shape of OpenAI's chat completions; answers are the reply records of `omega.kernel.models`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from omega.kernel.models import MAX_TOKENS

MAX_MESSAGES = 2_000
"""Most messages of one conversation."""

MAX_TOOLS = 128
"""Most tools that a model is told of."""

MAX_TIMEOUT_S = 3_600.0

MOST_TOKENS = 1_000_000
"""Most tokens that one answer may be asked to have."""

Name = Field(min_length=1, max_length=128)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Strict):
    """A part of a message. Texts are the only ones."""

    type: Literal["text"] = "text"
    text: str


class FunctionCall(_Strict):
    """What a tool is called with; `arguments` is JSON text."""

    name: str = Name
    arguments: str = "{}"


class ToolUse(_Strict):
    """A tool that the assistant wanted called."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(_Strict):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolUse] | None = None
    tool_call_id: str | None = None


class Function(_Strict):
    """A tool that the model is told of; `parameters` is a JSON Schema."""

    name: str = Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolOffer(_Strict):
    """A tool that the model may ask for. It is never called here: whoever asked decides that."""

    type: Literal["function"] = "function"
    function: Function


class Question(_Strict):
    """A conversation whose next message is wanted. `model` is a model or a route (`models.list`); empty is the one for everything.

    `seed` is sent where the provider takes one, and recorded. `stream` shows the answer in parts to whoever watches the run.
    """

    model: str = Field(default="", max_length=128)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int = Field(default=MAX_TOKENS, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[ToolOffer] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = Field(default=None, max_length=32)
    timeout_s: float = Field(default=300.0, gt=0, le=MAX_TIMEOUT_S)
    stream: bool = False

    def options(self) -> dict[str, Any]:
        """What is sent beside model, messages and limit: only what was given."""
        own = {"model", "messages", "max_tokens", "timeout_s", "stream"}
        return self.model_dump(exclude=own, exclude_none=True)


class Tried(BaseModel):
    """A model that was asked before, and how it failed."""

    model: str
    code: str
    cause: str


class Usage(BaseModel):
    """Tokens read and written; of those, from the provider's cache, and of reasoning. `said`: the provider counted, nobody guessed."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    said: bool = True


class ToolWish(BaseModel):
    """A tool that the model wants called, with its arguments as JSON text."""

    id: str
    name: str
    arguments: str


class Reply(BaseModel):
    """What a model said, and everything that is needed to know later who said it, to what, and at what price."""

    text: str | None
    tool_calls: list[ToolWish]
    finish: str
    usage: Usage
    model: str
    provider: str
    version: str
    fingerprint: str
    seed: int | None
    digest: str
    cost_micros: int | None
    priced: bool
    prices: str
    cache: str
    redacted: bool
    tried: list[Tried]


class Texts(_Strict):
    """Texts to turn into vectors; `dimensions` 0 is as many as the model has."""

    model: str = Field(default="", max_length=128)
    texts: list[str] = Field(min_length=1, max_length=2_048)
    dimensions: int = Field(default=0, ge=0, le=16_384)
    timeout_s: float = Field(default=120.0, gt=0, le=MAX_TIMEOUT_S)


class Vectors(BaseModel):
    """The vectors, in the order of the texts."""

    vectors: list[list[float]]
    model: str
    provider: str
    version: str
    usage: Usage
    cost_micros: int | None
    priced: bool
    prices: str


class Kept(_Strict):
    """A record to keep: see docs/models.md for what each kind holds. `body` null forgets it."""

    kind: Literal["provider", "model", "route", "cache", "allowance", "cases"]
    name: str = Name
    body: dict[str, Any] | None


class Kind(_Strict):
    """Which records to show."""

    kind: Literal["provider", "model", "route", "cache", "allowance", "cases"]


class Which(_Strict):
    """What to list: `kind` empty is everything."""

    kind: Literal["", "chat", "embeddings", "route"] = ""


class Trial(_Strict):
    """Which model to try on which stored cases, and by which measure an answer counts."""

    cases: str = Name
    model: str = Field(default="", max_length=128)
    metric: Literal["equal", "contains", "json"] = "equal"
    max_tokens: int = Field(default=1_000, ge=1, le=MOST_TOKENS)
    seed: int | None = None


class Case(BaseModel):
    """One case of a trial: which, whether the answer counts, and what went wrong where none came."""

    number: int
    passed: bool
    error: str = ""


class Verdict(BaseModel):
    """How a model did. `cases_digest` and `metric` (with its version) say what it was measured by: results compare only where both agree.

    `versions` are those that providers said they answered with; `score` is the share of cases that passed.
    """

    model: str
    versions: list[str]
    metric: str
    cases: str
    cases_digest: str
    count: int
    passed: int
    score: float
    tokens: int
    cost_micros: int | None
    results: list[Case]
