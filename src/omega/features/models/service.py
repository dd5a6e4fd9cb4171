"""The verbs of Models. Each question is one touch of the port `model`: gated, counted, recorded with everything that names who answered."""

from __future__ import annotations

from typing import Any

from omega.contracts.events import ModelLoaded
from omega.contracts.publishing import tell
from omega.features.models.evaluation import METRICS, digest
from omega.features.models.model import Case, Kept, Kind, Message, Question, Reply, Texts, Trial, Vectors, Verdict, Which
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Effect
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.evaluate import is_failure
from omega.kernel.models import Chat, Embed, KeepModels, ReadModels
from omega.kernel.models import Models as ListModels
from omega.kernel.service import OPERATOR, method, plays

BYTES_PER_TOKEN = 4
"""By which the tokens of texts are reserved before their provider counts them."""

_OPERATORS_OWN = ("provider", "model", "route")
_TENANTS_OWN = ("allowance", "cache")
_ARRANGES = (OPERATOR, "owner", "admin")
"""Who arranges a tenant's own records, and changes or drops cases that are kept: what was measured by them is compared by their name."""


@flow(name="models.ask", effect=Effect.READ, needs="model:ask")
async def ask(ctx: Context, question: Question) -> Reply:
    """One question of an evaluation to a model or a route, as a step of its own: it is measured, so nothing remembered answers it."""
    return await _asked(ctx, question, fresh=True)


@flow(name="models.kept", effect=Effect.READ, needs="models:use")
async def kept(ctx: Context, kind: Kind) -> dict[str, Any]:
    """The records of a kind, as a step of its own."""
    found: dict[str, Any] = await ctx.touch(ReadModels(kind=kind.kind))
    return found


class Models:
    """Asks models, and keeps what is known of them."""

    @method(effect="read", needs="model:ask", example={"messages": [{"role": "user", "content": "hello"}]})
    async def chat(self, ctx: Context, question: Question) -> Reply:
        """The next message of a conversation."""
        return await _asked(ctx, question)

    @method(effect="read", needs="model:ask", example={"texts": ["hello"]})
    async def embed(self, ctx: Context, texts: Texts) -> Vectors:
        """Texts as vectors."""
        size = sum(len(text.encode("utf-8", "replace")) for text in texts.texts)
        request = Embed(
            model=texts.model,
            texts=texts.texts,
            dimensions=texts.dimensions,
            timeout_s=texts.timeout_s,
            max_tokens=max(1, -(-size // BYTES_PER_TOKEN)),
        )
        return Vectors.model_validate(await ctx.touch(request))

    @method(effect="read", needs="model:ask", example={})
    async def list(self, ctx: Context, which: Which) -> list[dict[str, Any]]:
        """The models and routes that the caller may name, with what they cost and how they do."""
        found: list[dict[str, Any]] = await ctx.touch(ListModels())
        return [each for each in found if which.kind in ("", each["kind"])]

    @method(effect="idempotent", needs="models:use", example={"kind": "route", "name": "fast", "body": {"models": ["small"]}})
    async def keep(self, ctx: Context, record: Kept) -> dict[str, Any] | None:
        """Keep a provider, a model, a route (an operator does), or the tenant's own cache, allowance or cases; null forgets it.
        Cases that are kept are changed and forgotten by an owner or admin alone."""
        if record.kind in _OPERATORS_OWN and not plays(ctx.scope, (OPERATOR,)):
            raise _operators(record.kind)
        if record.kind in _TENANTS_OWN and not plays(ctx.scope, _ARRANGES):
            raise Denied("OMG-W001", f"the {record.kind} is for an owner or admin of the tenant", advice="have one of them keep it")
        only_new = record.kind == "cases" and not plays(ctx.scope, _ARRANGES)
        wanted = KeepModels(kind=record.kind, name=record.name, body=record.body, only_new=only_new)
        found: dict[str, Any] | None = await ctx.touch(wanted)
        if record.kind == "model" and found is not None:
            await tell(ctx, ModelLoaded(model=record.name, provider=str(found.get("provider", ""))))
        return found

    @method(effect="read", needs="models:use", example={"kind": "route"})
    async def kept(self, ctx: Context, kind: Kind) -> dict[str, Any]:
        """The records of a kind, by name. Keys are references; the keys themselves are nowhere."""
        if kind.kind in _OPERATORS_OWN and not plays(ctx.scope, (OPERATOR,)):
            raise _operators(kind.kind)
        found: dict[str, Any] = await ctx.touch(ReadModels(kind=kind.kind))
        return found

    @method(effect="idempotent", needs=("model:ask", "models:use"), example={"cases": "greetings", "metric": "contains"})
    async def evaluate(self, ctx: Context, trial: Trial) -> Verdict:
        """Ask a model each stored case and count the answers that are right. Each case is a step: a crash goes on where it was."""
        found = await ctx.call(kept, Kind(kind="cases"))
        if trial.cases not in found:
            raise InputError("OMG-M009", f"there are no cases {trial.cases[:80]} (kept: {', '.join(sorted(found)) or 'none'})")
        return await _tried(ctx, trial, found[trial.cases]["cases"])


def _operators(kind: str) -> Denied:
    return Denied(
        "OMG-W001",
        f"each {kind} is an operator's business: it serves every tenant",
        advice="have an operator of the installation do it; models.list shows what may be named",
        details={"roles": [OPERATOR]},
    )


async def _asked(ctx: Context, question: Question, *, fresh: bool = False) -> Reply:
    chat = Chat(
        model=question.model,
        messages=[message.model_dump(exclude_none=True) for message in question.messages],
        options=question.options(),
        max_tokens=question.max_tokens,
        timeout_s=question.timeout_s,
        show=ctx.emit if question.stream else None,
        fresh=fresh,
    )
    return Reply.model_validate(await ctx.touch(chat))


async def _tried(ctx: Context, trial: Trial, cases: list[dict[str, str]]) -> Verdict:
    metric, counts = METRICS[trial.metric]
    results: list[Case] = []
    versions: dict[str, None] = {}
    tokens, cost = 0, 0
    priced = True
    for number, case in enumerate(cases, 1):
        messages = [Message(role="system", content=case["instructions"])] if case.get("instructions") else []
        messages.append(Message(role="user", content=case["prompt"]))
        question = Question(model=trial.model, messages=messages, max_tokens=trial.max_tokens, seed=trial.seed)
        try:
            reply: Reply = await ctx.call(ask, question)
        except OmegaError as error:
            if not is_failure(error):
                raise
            results.append(Case(number=number, passed=False, error=error.code))
            continue
        results.append(Case(number=number, passed=counts(reply.text or "", case["expected"])))
        versions[f"{reply.provider}:{reply.version or reply.model}"] = None
        tokens += reply.usage.input + reply.usage.output
        cost, priced = cost + (reply.cost_micros or 0), priced and reply.priced
    passed = sum(result.passed for result in results)
    return Verdict(
        model=trial.model,
        versions=list(versions),
        metric=metric,
        cases=trial.cases,
        cases_digest=digest(cases),
        count=len(cases),
        passed=passed,
        score=round(passed / len(cases), 4),
        tokens=tokens,
        cost_micros=cost if priced else None,
        results=results,
    )
