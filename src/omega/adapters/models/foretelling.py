"""What a question can come to at most, before it is asked. Pure.

    read       one token for each byte of what is sent, messages and options: tokens of byte-pair encodings hold one byte at least, and the
               JSON around each message is longer than the marks that a provider puts there. Where tools are offered or a form is wanted,
               what the model is told about that comes on top. Pictures are sent by address, and counted by nobody here
    written    `max_tokens`, of each model of a route that may answer with half an answer and be followed by the next; else of one, and what
               the others may have read before they failed
    price      of the dearest model that the name stands for, as if all that is read were also written to the provider's cache, where
               that is dearer; not known where it is not known of one of them

Far above what most questions need: what is left over is free again as soon as the answer is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from omega.adapters.models.registry import Candidate, Registry
from omega.adapters.models.said import Usage
from omega.kernel.effects import ModelCall, Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.models import Chat, Embed

TOLD: Final = 1_024
"""Most tokens in which a model is told how to use tools, or that an answer has a form: by its provider, a few hundred
(docs.anthropic.com/en/docs/build-with-claude/tool-use/overview, pricing), or by us, one sentence (`anthropic`)."""

Price = Callable[[Candidate, Usage], int | None]
"""What a usage costs with a candidate, in millionths of a US dollar; None where nobody knows."""


def conversation(call: ModelCall) -> Chat:
    """The conversation of which the answer is the text that `call` asks for."""
    messages = ({"role": "system", "content": call.instructions}, {"role": "user", "content": call.prompt})
    return Chat(model=call.model, messages=messages, max_tokens=call.max_tokens, timeout_s=call.timeout_s)


def size_of(chat: Chat) -> int:
    """How large a question is, in bytes of JSON: its messages, and all of its options (tools, the form of the answer, ...)."""
    return len(json.dumps([list(chat.messages), dict(chat.options or {})]).encode())


def most_read(chat: Chat) -> int:
    """The most tokens that a model reads of a question."""
    options = chat.options or {}
    return size_of(chat) + (TOLD if options.get("tools") or options.get("response_format") else 0)


def highest(registry: Registry, tenant: str, request: Request, price: Price) -> Receipt:
    """The most that `request` of `tenant` can come to. Raises InputError (OMG-X002, OMG-M009) for a model that cannot be asked."""
    if not isinstance(request, ModelCall):
        return Receipt()
    if isinstance(request, Embed):
        return _vectors(registry, tenant, request.model, request.texts, price)
    whole = not isinstance(request, Chat)
    chat = request if isinstance(request, Chat) else conversation(request)
    found, _ = registry.candidates(chat.model, tenant, "chat", lenient=whole)
    usage = Usage(input=most_read(chat), output=chat.max_tokens)
    each = [_of(candidate, usage, price) for candidate in found]
    most = sum(each[1:], each[0]) if whole else _dearest(each)
    if not whole:
        read = [_of(candidate, replace(usage, output=0), price) for candidate in found[1:]]
        most = sum(read, most)
    caching = registry.caching(tenant)
    if caching is None or not caching.similarity or not chat.messages:
        return most
    try:
        return most + _vectors(registry, tenant, caching.embedding, (str(chat.messages[-1].get("content")),), price)
    except InputError:  # it is not there any more, and questions are asked without it
        return most


def _vectors(registry: Registry, tenant: str, model: str, texts: Sequence[str], price: Price) -> Receipt:
    found, _ = registry.candidates(model, tenant, "embeddings")
    usage = Usage(input=max(1, sum(len(text.encode("utf-8", "replace")) for text in texts)))
    return _dearest([_of(candidate, usage, price) for candidate in found])


def _of(candidate: Candidate, usage: Usage, price: Price) -> Receipt:
    prices = (price(candidate, usage), price(candidate, replace(usage, cache_written=usage.input)))
    known = [micros for micros in prices if micros is not None]
    return Receipt(cost_micros=max(known, default=0), tokens=usage.total, priced=prices[0] is not None)


def _dearest(each: Sequence[Receipt]) -> Receipt:
    return Receipt(
        cost_micros=max(one.cost_micros for one in each),
        tokens=max(one.tokens for one in each),
        priced=all(one.priced for one in each),
    )
