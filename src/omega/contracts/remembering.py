"""Remembering and recalling from within a flow: the requests, and the flows by which a feature does so.

    said = await ctx.call(recall, Query(agent="billing", conversation="4711"))
    await ctx.call(remember, Entry(agent="billing", conversation="4711", said="task", text="where is my refund?"))

What is remembered belongs to a tenant, and to an agent of it. It is one of three kinds, which `Entry` and `Query` tell by their fields:

    a conversation    `conversation` names it       only whoever began it reads it and adds to it
    a note            of whoever keeps it           only they read it
    a shared note     `shared`                      everybody of the tenant who may use memory reads it

Whose something is comes from the scope of the flow, never from its input. Everything expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omega.kernel.context import Context
from omega.kernel.effects import Consult, Transact
from omega.kernel.flow import flow
from omega.kernel.marks import SUBJECT

MEMORY: Final = "memory:use"
"""The capability that remembering and recalling take."""

MAX_TEXT: Final = 20_000
"""Longest text that is remembered, in characters."""

MAX_DAYS: Final = 366.0
"""Longest time until something is forgotten, in days."""

DAYS: Final = 30.0
"""How long something is remembered unless somebody says otherwise, in days."""

MAX_RECALLED: Final = 200
"""Most entries that are recalled at once."""

PREFIX: Final = "mem"
"""How the id of something that is remembered begins."""

DAY_US: Final = 86_400 * 1_000_000
NAME: Final = r"^[a-z][a-z0-9_-]{0,63}$"
WORDS: Final = r"^[^\x00]*$"
"""Any text but one with a null character, which not every database can hold."""

CONVERSATION: Final = r"^[A-Za-z0-9._:-]{0,128}$"

Agent = Annotated[str, Field(pattern=NAME, description="whose memory it is")]
Conversation = Annotated[str, Field(pattern=CONVERSATION, description="which conversation; empty for notes")]
Subject = Annotated[Annotated[str, Field(min_length=1, max_length=200, pattern=WORDS)] | None, SUBJECT]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Entry(_Strict):
    """Something to remember: what was `said` (a task, its answer, or a note), in a conversation or by itself, for so many `days`.

    `about` names the person it is about, by which it can be forgotten.
    """

    agent: Agent
    conversation: Conversation = ""
    shared: bool = Field(default=False, strict=True, description="for everybody of the tenant; else for whoever keeps it alone")
    said: Literal["task", "answer", "note"] = "note"
    text: str = Field(min_length=1, max_length=MAX_TEXT, pattern=WORDS)
    about: Subject = Field(default=None, description="whom it is about")
    days: float = Field(default=DAYS, gt=0, le=MAX_DAYS, description="when it is forgotten")

    @model_validator(mode="after")
    def _one_kind(self) -> Entry:
        if self.shared and self.conversation:
            raise ValueError("a conversation is shared with nobody")
        return self


class Query(_Strict):
    """What to recall: the latest of a conversation in order, or the notes that `words` speak of, the most relevant first."""

    agent: Agent
    conversation: Conversation = ""
    words: str = Field(default="", max_length=100_000, description="what notes should speak of; empty for the latest")
    most: int = Field(default=20, ge=1, le=MAX_RECALLED)


class Forgotten(_Strict):
    """What to forget: all that fits, and at least one of these has to be said."""

    id: str = Field(default="", pattern=r"^(mem_[0-9a-f]{32})?$")
    agent: str = Field(default="", pattern=r"^([a-z][a-z0-9_-]{0,63})?$")
    conversation: Conversation = ""
    about: Subject = None

    @model_validator(mode="after")
    def _something(self) -> Forgotten:
        if not (self.id or self.agent or self.conversation or self.about):
            raise ValueError("say what: an id, an agent, a conversation, or whom it is about")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember(Transact):
    """A change of what is remembered."""

    port: ClassVar[str] = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(Consult):
    """A question to what is remembered."""

    port: ClassVar[str] = "memory"


@flow(name="memory.remember", effect="idempotent", needs=MEMORY)
async def remember(ctx: Context, entry: Entry) -> dict[str, Any]:
    """Remember something; gives its `id` and when it `expires_us`. Raises InputError (OMG-I001) when the tenant remembers too much."""
    now_us = await now(ctx)
    values = entry.model_dump(exclude={"days", "shared"}) | {
        "id": f"{PREFIX}_{(await ctx.uuid()).replace('-', '')}",
        "about": entry.about or "",
        "owner": "" if entry.shared else ctx.scope.principal,
        "at_us": now_us,
        "expires_us": now_us + int(entry.days * DAY_US),
    }
    kept: dict[str, Any] = await ctx.touch(Remember(name="keep", values=values))
    return kept


@flow(name="memory.recall", effect="read", needs=MEMORY)
async def recall(ctx: Context, query: Query) -> list[dict[str, Any]]:
    """What the caller may recall: `id`, `said`, `text`, `about`, `shared`, `at_us`, `expires_us` of each."""
    values = query.model_dump() | {"owner": ctx.scope.principal, "now_us": await now(ctx)}
    found: list[dict[str, Any]] = await ctx.touch(Recall(name="find", values=values))
    return found


async def now(ctx: Context) -> int:
    """Unix microseconds, recorded."""
    return int(await ctx.now() * 1_000_000)
