"""The effector for models: one question, one answer, nothing invented.

who may ask         allowances of the caller and of the tenant: what the question can use at most is reserved, or it is refused
remembered          the very same question of the same caller, or a similar one, where the tenant has asked for that (`shared`: of anybody
                    in the tenant). A similar one only where the last word is a person's and no tools are offered: a tool called with what
                    another question named, or a result that only looks like another, would be a wrong act and not a near answer.
                    A `fresh` question is never answered so: an evaluation measures the model, not what was remembered of it
which model         the candidates of the name, in the order of their route; one that fails before it has shown anything is followed by the
                    next. That is one touch: a question is a read, its candidates were known when it was admitted, each try is recorded
redaction           what leaves for a provider that is marked so has been cleaned before
what it cost        tokens by the provider's own count, if it can be true; money at the price of that day, or openly unpriced
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from omega.adapters.models.allowances import Account, Allowance, Counts, Ledger, Purse, limits_of
from omega.adapters.models.client import ANSWER_LIMIT, ASKED_WRONGLY, Client, failed, show_whole
from omega.adapters.models.foretelling import conversation, highest, most_read, size_of
from omega.adapters.models.health import Health
from omega.adapters.models.memory import AnswerMemory, digest_of
from omega.adapters.models.prices import Cost, PriceBook
from omega.adapters.models.provider import Provider, configured
from omega.adapters.models.registry import Caching, Candidate, Registry
from omega.adapters.models.said import Said, Usage, counted, given_bytes
from omega.kernel.budget import Spent
from omega.kernel.effects import ModelCall, Receipt, Request
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.models import Chat, Embed, Models
from omega.kernel.verdict import Permit

__all__ = ["ANSWER_LIMIT", "ModelEffector", "Surroundings"]

MAX_TEXTS: Final = 2_048
"""Most texts of one request for vectors."""

_PROBE: Final = Usage(input=1_000, output=1_000)
"""What models are compared at, where they are asked in the order of their prices."""


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What the host hands in: allowances and where they are counted, who runs an execution, how prompts are cleaned, the time, and
    how to learn what was changed meanwhile (`refresh`, before each question)."""

    allowances: Callable[[str], Sequence[Allowance]] = lambda tenant: ()
    ledger: Ledger = field(default_factory=Counts)
    principal: Callable[[str], str] = lambda execution: ""
    redact: Callable[[Any], Any] = _as_it_is
    now_us: Callable[[], int] = lambda: time.time_ns() // 1_000
    refresh: Callable[[], None] = lambda: None
    salt: bytes = field(default_factory=lambda: os.urandom(32), repr=False)


@dataclass(slots=True)
class _Asked:
    """One question on its way: what was tried, what came and went."""

    tenant: str
    principal: str
    trace: str = ""
    tried: list[dict[str, Any]] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0
    extra: Spent = field(default_factory=Spent)
    unpriced: bool = False


class ModelEffector:
    """Serves `ModelCall`, `Chat`, `Embed` and `Models`. Belongs to one event loop."""

    port = ModelCall.port

    def __init__(
        self, variables: Mapping[str, str] = os.environ, *, registry: Registry | None = None, surroundings: Surroundings | None = None
    ) -> None:
        self.registry = registry if registry is not None else Registry(variables)
        self.health = Health()
        self.prices = PriceBook()
        self._around = surroundings or Surroundings()
        self._client = Client()
        self._purse = Purse(self._around.ledger)
        self._memory = AnswerMemory(os.urandom(32))

    def available(self) -> str | None:
        """`provider:model` of the model that the environment configures, None when there is none."""
        found = configured(self.registry.variables)
        return found.label if isinstance(found, Provider) else None

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Ask, and give a text (`ModelCall`) or a record (`Chat`, `Embed`); or tell what may be asked (`Models`).

        Raises InputError (OMG-X002 when no model is configured, OMG-M009 for one that is not known), Denied (OMG-W005 past an allowance)
        and UpstreamError (OMG-M008) when every model failed, ran out of time or did not finish its text: half an answer is none.
        """
        permit.spend(self.port)
        self._around.refresh()
        if isinstance(request, Models):
            if self.registry.names(permit.tenant):
                await self._have_prices()
            return self.describe(permit.tenant), Receipt()
        if not isinstance(request, ModelCall):
            raise InputError("OMG-I001", f"the model port asks models, not {type(request).__name__}")
        asked = _Asked(permit.tenant, self._around.principal(execution), permit.traceparent())
        if isinstance(request, Embed):
            return await self._embed(asked, request)
        if isinstance(request, Chat):
            return await self._chat(asked, request)
        return await self._text(asked, request)

    async def foretell(self, tenant: str, request: Request) -> Receipt:
        """What the request can come to at most; see `kernel.ports.Foretelling`. Raises InputError (OMG-X002, OMG-M009)."""
        self._around.refresh()
        await self._have_prices()
        return highest(self.registry, tenant, request, lambda candidate, usage: self._cost(candidate, "", usage).micros)

    async def _have_prices(self) -> None:
        if not self.prices.ready:
            await asyncio.to_thread(self.prices.load)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def forget(self, tenant: str) -> None:
        """Forget the answers that are remembered for a tenant."""
        self._memory.forget(tenant)

    def describe(self, tenant: str) -> list[dict[str, Any]]:
        """What the tenant may name: models with what they cost and how they do, routes with what they stand for."""
        found = []
        for name in self.registry.names(tenant):
            route = self.registry.routes.get(name)
            if route is not None:
                found.append({"name": name, "kind": "route", "order": route.order, "models": list(route.models)})
                continue
            for kind in ("chat", "embeddings"):
                found += [self._described(each, name) for each in self._known(name, tenant, kind)]
        return found

    # -- asking

    async def _text(self, asked: _Asked, call: ModelCall) -> tuple[str, Receipt]:
        reply, receipt = await self._chat(asked, conversation(call), whole=True)
        return str(reply["text"]), receipt

    async def _chat(self, asked: _Asked, chat: Chat, *, whole: bool = False) -> tuple[dict[str, Any], Receipt]:
        found, order = self.registry.candidates(chat.model, asked.tenant, "chat", lenient=whole)
        await self._have_prices()
        candidates = self._ordered(found, order)
        caching = self.registry.caching(asked.tenant)
        memory = None if chat.fresh else await self._remembered(asked, chat, candidates, caching)
        if memory is not None and memory.reply is not None:
            return await self._from_memory(asked, chat, memory)
        said, chosen, question = await self._in_turn(asked, chat, candidates, whole=whole)
        reply, receipt = self._reply(asked, chat, said, chosen, question)
        if memory is not None and caching is not None and said.finish in ("stop", "tool_calls"):
            until = self._now_s() + caching.ttl_s
            self._memory.keep(asked.tenant, memory.digest, reply, until, alike=memory.alike, vector=memory.vector)
        return reply, receipt

    async def _in_turn(self, asked: _Asked, chat: Chat, candidates: Sequence[Candidate], *, whole: bool) -> tuple[Said, Candidate, Chat]:
        """The first answer within the question's time.

        Raises what the last one failed with; what is wrong with the question itself ends it at once.
        """
        until = time.monotonic() + chat.timeout_s
        for number, candidate in enumerate(candidates, 1):
            question = self._cleaned(chat, candidate)
            began = time.monotonic()
            try:
                said = await self._one(asked, question, candidate, whole=whole, left_s=until - began)
            except UpstreamError as error:
                now = time.monotonic()
                if _its_own(error):
                    self.health.failed(candidate, now)
                if asked.extra != Spent():
                    error.details["used"] = {"cost_micros": asked.extra.cost_micros, "tokens": asked.extra.tokens}
                if number == len(candidates) or not error.details.get("elsewhere") or now >= until:
                    raise
                asked.tried.append({"model": candidate.name, "code": error.code, "cause": error.cause})
                continue
            self.health.answered(candidate, time.monotonic() - began)
            return said, candidate, question
        raise AssertionError("a name stands for at least one model")

    async def _one(self, asked: _Asked, chat: Chat, candidate: Candidate, *, whole: bool, left_s: float) -> Said:
        """Ask one model within what is allowed."""
        most = Usage(input=most_read(chat), output=chat.max_tokens)
        limits, wanted = self._hold(asked, candidate, most)
        used = Spent()
        limit_s = min(candidate.timeout_s, left_s)
        watched = _Watched(chat)
        try:
            async with asyncio.timeout(limit_s):
                said, came, went = await self._client.chat(candidate.provider, watched.chat, asked.trace)
            asked.bytes_in, asked.bytes_out = asked.bytes_in + came, asked.bytes_out + went
            usage = said.usage = counted(said.usage, sent=size_of(chat), given=given_bytes(said))
            used = Spent(self._cost(candidate, said.version, usage).micros or 0, usage.total, 1)
        except TimeoutError as error:
            used = self._broken_off(asked, candidate, watched)
            by_model = limit_s >= candidate.timeout_s
            raise failed(candidate.provider, f"did not answer within {limit_s:.3g} s", elsewhere=True, its_own=by_model) from error
        except asyncio.CancelledError:
            used = self._broken_off(asked, candidate, watched)
            raise
        except UpstreamError:
            if watched.given:
                used = self._broken_off(asked, candidate, watched)
            raise
        finally:
            self._purse.settle(limits, wanted, used)
        if whole:
            try:
                _check_whole(candidate.provider, said)
            except UpstreamError:  # half an answer is paid for all the same
                asked.extra += used
                asked.unpriced |= self._cost(candidate, said.version, usage).micros is None
                raise
        return said

    def _broken_off(self, asked: _Asked, candidate: Candidate, watched: _Watched) -> Spent:
        """What a question came to that left and was not answered to the end, as far as it is known here: it was read, and what was shown
        of the answer was written. Nobody gets that for nothing by giving up in time."""
        usage = counted(None, sent=size_of(watched.chat), given=watched.given)
        cost = self._cost(candidate, "", usage)
        used = Spent(cost.micros or 0, usage.total, 1)
        asked.extra += Spent(used.cost_micros, used.tokens)
        asked.unpriced |= cost.micros is None
        return used

    async def _embed(self, asked: _Asked, embed: Embed) -> tuple[dict[str, Any], Receipt]:
        if not 0 < len(embed.texts) <= MAX_TEXTS:
            raise InputError("OMG-I001", f"1 to {MAX_TEXTS:,} texts can be turned into vectors at once")
        found, order = self.registry.candidates(embed.model, asked.tenant, "embeddings")
        await self._have_prices()
        candidate = self._ordered(found, order)[0]  # vectors of two models do not compare, so there is no second choice
        question = replace(embed, texts=[str(self._around.redact(text)) for text in embed.texts]) if candidate.redact else embed
        size = sum(len(text.encode("utf-8", "replace")) for text in question.texts)
        limits, wanted = self._hold(asked, candidate, Usage(input=max(1, size)))
        used = Spent()
        limit_s = min(candidate.timeout_s, embed.timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                vectors, said, came, went = await self._client.embed(candidate.provider, question, asked.trace)
            usage = counted(said.usage, sent=size, given=0)
            cost = self._cost(candidate, said.version, usage)
            used = Spent(cost.micros or 0, usage.total, 1)
        except TimeoutError as error:
            raise failed(candidate.provider, f"did not answer within {limit_s:g} s", elsewhere=True) from error
        finally:
            self._purse.settle(limits, wanted, used)
        receipt = Receipt(cost_micros=used.cost_micros, tokens=usage.total, bytes_in=came, bytes_out=went, priced=cost.micros is not None)
        facts = {"usage": usage.record(), "cost_micros": cost.micros, "priced": cost.micros is not None, "prices": cost.source}
        return {"vectors": vectors, "model": candidate.name, "provider": candidate.provider.name, "version": said.version, **facts}, receipt

    # -- memory

    async def _remembered(self, asked: _Asked, chat: Chat, candidates: Sequence[Candidate], caching: Caching | None) -> _Memory | None:
        """What memory says to the question; None where the tenant wants none."""
        if caching is None or not caching.ttl_s:
            return None
        if not caching.shared and not asked.principal:
            return None  # nobody knows whose it would be
        named = {
            "models": [each.provider.label for each in candidates],
            "most": chat.max_tokens,
            "options": chat.options or {},
            "whose": "" if caching.shared else asked.principal,
        }
        digest = self._memory.digest(asked.tenant, {**named, "messages": list(chat.messages)})
        reply = self._memory.same(asked.tenant, digest, self._now_s())
        if reply is not None or not caching.similarity or not _may_be_alike(chat):
            return _Memory(digest, reply, "exact")
        last = {key: value for key, value in chat.messages[-1].items() if key != "content"}
        alike = self._memory.digest(asked.tenant, {**named, "before": list(chat.messages[:-1]), "last": last})
        vector = await self._vector(asked, caching, chat)
        reply = self._memory.alike(asked.tenant, alike, vector, caching.similarity, self._now_s()) if vector else None
        return _Memory(digest, reply, "semantic", alike, vector)

    async def _vector(self, asked: _Asked, caching: Caching, chat: Chat) -> Sequence[float]:
        """The vector of the last message; none where the embedding model fails: then the question is asked as if nothing were like it."""
        question = Embed(model=caching.embedding, texts=(chat.messages[-1]["content"],), timeout_s=chat.timeout_s)
        try:
            found, receipt = await self._embed(asked, question)
        except (UpstreamError, InputError):
            return ()
        asked.extra += Spent(receipt.cost_micros, receipt.tokens)
        asked.unpriced |= not receipt.priced
        vector: Sequence[float] = found["vectors"][0]
        return vector

    async def _from_memory(self, asked: _Asked, chat: Chat, memory: _Memory) -> tuple[dict[str, Any], Receipt]:
        reply = {**(memory.reply or {}), "cache": memory.how, "cost_micros": 0, "priced": True, "tried": []}
        if chat.show is not None:
            await show_whole(Said(text=reply["text"], tool_calls=list(reply["tool_calls"])), chat.show)
        receipt = Receipt(cost_micros=asked.extra.cost_micros, tokens=asked.extra.tokens, priced=not asked.unpriced)
        return reply, receipt

    # -- counting

    def _hold(self, asked: _Asked, candidate: Candidate, most: Usage) -> tuple[list[tuple[Allowance, Account]], Spent]:
        """Reserve what the question can use at most. Raises Denied (OMG-W005)."""
        limits = limits_of(self._around.allowances(asked.tenant), asked.tenant, asked.principal, self._around.now_us())
        cost = self._cost(candidate, "", most) if limits else Cost(None, "")
        wanted = Spent(cost.micros or 0, most.total, 1)
        self._purse.hold(limits, wanted, priced=cost.micros is not None)
        return limits, wanted

    def _cost(self, candidate: Candidate, version: str, usage: Usage) -> Cost:
        return self.prices.cost(candidate, version, usage, self._around.now_us())

    def _reply(self, asked: _Asked, chat: Chat, said: Said, chosen: Candidate, question: Chat) -> tuple[dict[str, Any], Receipt]:
        usage = said.usage or Usage()
        cost = self._cost(chosen, said.version, usage)
        options = dict(chat.options or {})
        facts = {"model": chosen.provider.label, "messages": list(question.messages), "options": options, "most": chat.max_tokens}
        reply = {
            "text": said.text,
            "tool_calls": said.tool_calls,
            "finish": "tool_calls" if said.tool_calls and said.finish == "stop" else said.finish,
            "usage": usage.record(),
            "model": chosen.name,
            "provider": chosen.provider.name,
            "version": said.version,
            "fingerprint": said.fingerprint,
            "seed": options.get("seed"),
            "digest": digest_of(facts, self._around.salt),
            "cost_micros": cost.micros,
            "priced": cost.micros is not None,
            "prices": cost.source,
            "cache": "",
            "redacted": [*question.messages] != [*chat.messages] or question.options != chat.options,
            "tried": asked.tried,
        }
        receipt = Receipt(
            cost_micros=(cost.micros or 0) + asked.extra.cost_micros,
            tokens=usage.total + asked.extra.tokens,
            bytes_in=asked.bytes_in,
            bytes_out=asked.bytes_out,
            priced=cost.micros is not None and not asked.unpriced,
        )
        return reply, receipt

    # -- choosing

    def _ordered(self, found: Sequence[Candidate], order: str) -> list[Candidate]:
        return self.health.ordered(found, order, time.monotonic(), lambda each: self._cost(each, "", _PROBE).micros)

    def _cleaned(self, chat: Chat, candidate: Candidate) -> Chat:
        if not candidate.redact:
            return chat
        messages, options = self._around.redact([[dict(message) for message in chat.messages], dict(chat.options or {})])
        return replace(chat, messages=messages, options=options or chat.options)

    def _known(self, name: str, tenant: str, kind: str) -> list[Candidate]:
        try:
            return self.registry.candidates(name, tenant, kind)[0]
        except InputError:  # it is for another kind
            return []

    def _described(self, each: Candidate, name: str) -> dict[str, Any]:
        cost = self._cost(each, "", _PROBE)
        return {
            "name": name,
            "kind": each.kind,
            "provider": each.provider.name,
            "model": each.provider.model,
            "quality": each.quality,
            "redact": each.redact,
            "priced": cost.micros is not None,
            "micros_per_1000_in_and_out": cost.micros,
            "prices": cost.source,
            "health": self.health.record(each, time.monotonic()),
        }

    def _now_s(self) -> float:
        return self._around.now_us() / 1_000_000


class _Watched:
    """A question whose answer is counted while it is shown: `given` bytes so far."""

    def __init__(self, chat: Chat) -> None:
        self.given = 0
        self.chat = chat if chat.show is None else replace(chat, show=self._seen)
        self._show = chat.show

    async def _seen(self, part: Any) -> None:
        self.given += len((part.get("text") or (part.get("tool") or {}).get("arguments") or "").encode("utf-8", "replace"))
        if self._show is not None:
            await self._show(part)


@dataclass(slots=True)
class _Memory:
    """What memory said: under which name the question is remembered, the answer if there is one, and how it was found."""

    digest: bytes
    reply: Mapping[str, Any] | None
    how: str
    alike: bytes = b""
    vector: Sequence[float] = ()


def _may_be_alike(chat: Chat) -> bool:
    """Whether an answer to nearly the same question would do: see the top."""
    last = chat.messages[-1] if chat.messages else {}
    return last.get("role") == "user" and isinstance(last.get("content"), str) and not (chat.options or {}).get("tools")


def _its_own(error: UpstreamError) -> bool:
    """Whether a failure tells of the model, and not of a question that is wrong, too short or in too much of a hurry: one tenant's
    questions must not make a model look dead to the others."""
    return bool(error.details.get("its_own", True)) and error.details.get("status") not in ASKED_WRONGLY


def _check_whole(provider: Provider, said: Said) -> None:
    """Raises UpstreamError (OMG-M008) for half an answer, or none."""
    if said.finish == "length":
        raise failed(provider, "did not finish its answer within max_tokens", elsewhere=True, its_own=False)
    if not (said.text or "").strip():
        raise failed(provider, "gave an empty answer", elsewhere=True)
