"""What is asked of models, as data: conversations, embeddings, and what an installation keeps about its models.

A conversation has the shape of OpenAI's chat completions, because that is what most programs speak; adapters translate it for providers
that speak another. Its answer is a plain record (`REPLY`), durable as the result of the step that asked:

    text, tool_calls    what the model said: a text, or tools it wants called, each {"id", "name", "arguments"} (arguments: JSON text)
    finish              stop, length, tool_calls or content_filter
    usage               {"input", "output", "cached", "reasoning"} in tokens, and whether the provider said so itself ("said")
    model, provider     the name under which the model is known here, and who answered
    version             what the provider calls the model that answered, with its `fingerprint` where it gives one
    seed, digest        the seed that was sent, and the SHA-256 of the question as it left (after redaction), salted per installation
    cost_micros         millionths of a US dollar; None where no price is known (`priced` is false then, and never is it 0)
    prices              where the price is from, with its version
    cache               "" when a provider was asked, else "exact" or "semantic"
    redacted            whether anything was taken out before the question left
    tried               the models that were asked before and failed: [{"model", "code", "cause"}]
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.effects import ModelCall, Request

Show = Callable[[Any], Awaitable[None]]
"""Shows one part of an answer to whoever watches; returns when they have room for the next. `Context.emit` is one."""

REPLY = (
    "text", "tool_calls", "finish", "usage", "model", "provider", "version", "fingerprint", "seed", "digest", "cost_micros", "priced",
    "prices", "cache", "redacted", "tried",
)  # fmt: skip
"""The fields of an answer."""

MAX_TOKENS = 4_096
"""Most tokens of an answer where the question does not say: an answer without a limit is a bill without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(ModelCall):
    """Ask for the next message of a conversation; gives a reply record (see above).

    `model` is a model, or a route that is known here. `messages` and `options` (temperature, top_p, seed, stop, tools, tool_choice,
    response_format, ...) are those of chat completions. With `show` the answer is streamed: each part, {"text": ...} or
    {"tool": {"index", "id", "name", "arguments"}}, is shown before the next is read from the provider. A `fresh` question is answered by a
    provider, never from memory, and its answer is not remembered.
    """

    says: ClassVar[tuple[str, ...]] = ("instructions", "prompt", "messages", "options")
    instructions: str = ""
    prompt: str = ""
    messages: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] | None = None
    show: Show | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed(ModelCall):
    """Turn texts into vectors with an embedding model.

    Gives {"vectors": [[float, ...], ...], "model", "provider", "version", "usage", "cost_micros", "priced", "prices"}.
    """

    says: ClassVar[tuple[str, ...]] = ("instructions", "prompt", "texts")
    instructions: str = ""
    prompt: str = ""
    max_tokens: int = 0
    texts: Sequence[str] = ()
    dimensions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Models(Request):
    """What models the caller's tenant may ask; gives a list of records, by name, with prices and health."""

    port: ClassVar[str] = ModelCall.port


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepModels(Request):
    """Keep `body` under `kind` and `name`, in place of what was kept; None forgets it. Kinds: see `omega.host.models`.

    With `only_new` nothing is put in place of something else, or forgotten: the same body again is no change.
    """

    port: ClassVar[str] = "models"
    kind: str
    name: str
    body: Mapping[str, Any] | None
    only_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadModels(Request):
    """What is kept of `kind`: {name: body}; of the caller's tenant where the kind is a tenant's own."""

    port: ClassVar[str] = "models"
    kind: str
