"""The nouns of Memory; what is kept and asked for is in `omega.contracts.remembering`, because agents speak of it too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Kept(BaseModel):
    """What was remembered, and until when (Unix microseconds)."""

    id: str
    expires_us: int


class Recalled(BaseModel):
    """One thing that is remembered."""

    id: str
    said: str
    text: str
    about: str
    shared: bool
    at_us: int
    expires_us: int


class Count(BaseModel):
    """How much was forgotten."""

    forgotten: int


class Whose(BaseModel):
    """Whose memory; `agent` empty is everybody's."""

    model_config = ConfigDict(extra="forbid")

    agent: str = Field(default="", max_length=64)


class Standing(BaseModel):
    """How much an agent remembers."""

    agent: str
    entries: int
