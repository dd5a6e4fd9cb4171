"""The nouns of Agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from omega.contracts.remembering import DAYS, MAX_DAYS, Conversation
from omega.kernel.agents import MAX_TOKENS, MAX_TOOLS, MAX_TURNS
from omega.kernel.guardrails import MAX_AGAIN, MAX_CHECKS
from omega.kernel.offered import CAPABILITY, MAX_OFFERED
from omega.kernel.roster import RELEVANT

MAX_TASK = 100_000
"""Longest task in characters."""

MAX_TEAM = 16
"""Most agents that work together."""

MAX_ROUNDS = 8
"""Most rounds of a debate."""

MAX_REMEMBERED = 100
"""Most turns of a conversation, and most notes, that an agent is told at once."""

NAME = r"[a-z][a-z0-9_-]{0,63}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Limits(_Strict):
    """What one piece of work of an agent may spend at most; None is what its caller has left."""

    tokens: int | None = Field(default=None, ge=1)
    cost_micros: int | None = Field(default=None, ge=0)
    calls: int | None = Field(default=None, ge=1)


class Memory(_Strict):
    """What an agent is told of what it remembers: the latest `turns` of a conversation (a task or an answer each), and the `notes` that a
    task speaks of; a turn is kept for so many `days`."""

    turns: int = Field(default=20, ge=0, le=MAX_REMEMBERED)
    notes: int = Field(default=5, ge=0, le=MAX_REMEMBERED)
    days: float = Field(default=DAYS, gt=0, le=MAX_DAYS)


Guard = Literal["injection", "personal"]


class Guardrails(_Strict):
    """Guards that what an agent is given, and what it answers, has to pass; `again` is how often its model is asked again about an answer
    that does not."""

    input: list[Guard] = Field(default_factory=list, max_length=MAX_CHECKS)
    output: list[Guard] = Field(default_factory=list, max_length=MAX_CHECKS)
    again: int = Field(default=0, ge=0, le=MAX_AGAIN)


class Card(_Strict):
    """One version of an agent. `model` is a model or a route; `tools` are `server/tool`; `offered` capabilities of further tools, such as
    `git:read` (`omega.kernel.offered`); `output` a JSON Schema that the answer fits (none:
    a text); `capabilities` what it says it is good at, in a few words each; `max_input` the longest task that it takes, in characters; with
    no `memory` each task is its first. One with `own_host` runs elsewhere, by whatever means, and answers what it is asked."""

    name: str = Field(pattern=f"^{NAME}$")
    version: str = Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}(-[0-9A-Za-z.-]{1,40})?$")
    instructions: str = Field(min_length=1, max_length=50_000)
    description: str = Field(default="", max_length=2_000)
    capabilities: list[str] = Field(default_factory=list, max_length=50)
    owner: str = Field(default="", max_length=200)
    model: str = Field(default="", max_length=128)
    tools: list[str] = Field(default_factory=list, max_length=MAX_TOOLS)
    offered: list[Annotated[str, Field(pattern=f"^{CAPABILITY}$")]] = Field(default_factory=list, max_length=MAX_OFFERED)
    guardrails: Guardrails = Guardrails()
    output: dict[str, Any] | None = None
    turns: int = Field(default=0, ge=0, le=MAX_TURNS)
    max_tokens: int = Field(default=2_000, ge=1, le=MAX_TOKENS)
    max_input: int = Field(default=MAX_TASK, ge=1, le=MAX_TASK)
    limits: Limits = Limits()
    memory: Memory | None = None
    own_host: bool = False


class Named(_Strict):
    """Which agent."""

    name: str = Field(pattern=f"^{NAME}$")


class Which(_Strict):
    """What to list: those with a capability that holds this text; empty is everybody."""

    capability: str = Field(default="", max_length=200)


class Trial(Named):
    """A version to be tried on a share of the work."""

    version: str = Field(max_length=80)
    share: float = Field(gt=0, le=1)


class Standing(BaseModel):
    """One version of an agent: how it has done lately (see `omega.kernel.roster`)."""

    version: str
    health: str
    reputation: float
    outcomes: int


class Entry(BaseModel):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: list[str]
    owner: str
    versions: list[Standing]


class Job(_Strict):
    """A task for one agent; in a `conversation` of the caller's own, for one with memory."""

    agent: str = Field(pattern=f"^{NAME}$")
    task: str = Field(max_length=MAX_TASK)
    conversation: Conversation = ""


class Done(BaseModel):
    """What an agent made of its task."""

    agent: str
    version: str
    answer: Any


class Call(_Strict):
    """A task, and how relevant it must at least be (0 to 1) for an agent to take it to be its own."""

    task: str = Field(max_length=MAX_TASK)
    least: float = Field(default=RELEVANT, ge=0, le=1)


class Volunteer(BaseModel):
    """An agent that takes the task to be its own."""

    agent: str
    relevance: float
    reputation: float


class Team(_Strict):
    """A task for several agents; `model` is asked by whoever leads them."""

    task: str = Field(max_length=MAX_TASK)
    agents: list[Annotated[str, Field(pattern=f"^{NAME}$")]] = Field(min_length=1, max_length=MAX_TEAM)
    model: str = Field(default="", max_length=128)


class Debate(Team):
    """A question that agents argue about for some rounds, before a judge decides."""

    rounds: int = Field(default=2, ge=1, le=MAX_ROUNDS)


class Swarm(Call):
    """A task for whoever takes it to be theirs, at most so many."""

    most: int = Field(default=5, ge=1, le=MAX_TEAM)


class Part(BaseModel):
    """A part of a task, for one agent."""

    agent: str
    task: str


class Joint(BaseModel):
    """What several agents made of a task: the answer, and what each of them said on the way."""

    answer: Any
    said: list[Done]
