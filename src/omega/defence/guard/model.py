"""The nouns of the guard."""

from __future__ import annotations

from pydantic import BaseModel, Field

from omega.defence.guard.acting import Facts


class Wanted(BaseModel):
    """What service level to hold executions to: `target` is the share that must end well, `within_s` how fast (0: at any speed)."""

    target: float = Field(default=0.999, gt=0, lt=1, description="the share that must end well")
    days: float = Field(default=30, ge=1, le=366, description="the window, in days")
    within_s: float = Field(default=0, ge=0, description="how long one may take, in seconds; 0 for any time")
    channels: list[str] = Field(default_factory=list, max_length=16, description="who is told of new alerts, by name of channel")


class Level(BaseModel):
    """How one flow, or with the name `all` the whole tenant, stands. `left` is the share of its error budget that is left."""

    name: str
    executions: int
    bad: int
    availability: float
    left: float
    burn_hour: float
    severity: str


class Levels(BaseModel):
    """Every flow's level, the whole tenant first. `truncated` tells that there was more than was read."""

    target: float
    levels: list[Level]
    truncated: bool


class WorkerHealth(BaseModel):
    """A process that holds executions."""

    name: str
    holds: int
    alive: bool
    silent_s: float


class Todo(BaseModel):
    """Something that somebody should do."""

    about: str
    what: str
    do: str


class Health(BaseModel):
    """What works, and what should be looked at."""

    open: int
    dead: int
    workers: list[WorkerHealth]
    advice: list[Todo]


class Alert(BaseModel):
    """Something to tell people: `key` names what it is about, so that the same trouble is told once."""

    key: str
    severity: str
    title: str
    text: str
    do: str = ""


class Seen(BaseModel):
    """The alerts that stand, and those of them that are new."""

    standing: list[Alert]
    new: list[Alert]


class Telling(BaseModel):
    """An alert on its way to a channel."""

    channel: str
    alert: Alert


class Weighing(BaseModel):
    """What is looked at to tell what is due: the level wanted, and what the guard goes by."""

    wanted: Wanted
    facts: Facts


class Swept(BaseModel):
    """What a sweep found: all alerts that stand, those that are new since the last sweep, and who was told of them. `did` is what the guard
    did by itself, `undone` what was due and was refused or failed."""

    standing: list[Alert]
    new: list[Alert]
    told: list[str]
    untold: list[str]
    did: list[str] = []
    undone: list[str] = []
