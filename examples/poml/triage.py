"""The pure parts of `support-triage.poml`: a ticket is cleaned, judged by two flows at once, and routed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from omega import flow


class Ticket(BaseModel):
    """What a customer wrote."""

    id: str
    customer: str
    text: str


class Judged(BaseModel):
    """A ticket with what was found out about it. `urgency` is 1 (low) to 5."""

    ticket: Ticket
    urgency: int
    team: str


@flow
def redact(ticket: Ticket) -> Ticket:
    """Take e-mail addresses out before anything else sees the text."""
    words = ["(address)" if "@" in word else word for word in ticket.text.split()]
    return ticket.model_copy(update={"text": " ".join(words)})


@flow
def urgency(ticket: Ticket) -> int:
    """5 when something is down, else 2."""
    return 5 if "down" in ticket.text.lower() else 2


@flow
def team(ticket: Ticket) -> str:
    """Who knows about it."""
    return "billing" if "invoice" in ticket.text.lower() else "operations"


@flow
def same(ticket: Ticket) -> Ticket:
    """The ticket itself, so that it stands beside what was found out."""
    return ticket


@flow
def judge(found: tuple[Ticket, int, str]) -> Judged:
    """The three findings as one value."""
    ticket, level, group = found
    return Judged(ticket=ticket, urgency=level, team=group)


@flow
def page(judged: Judged) -> dict[str, Any]:
    """What is sent to whoever is on call."""
    return {"page": judged.team, "ticket": judged.ticket.id}


@flow
def reply(judged: Judged) -> dict[str, Any]:
    """What is sent to the customer."""
    return {"reply": f"{judged.team} will look into it", "ticket": judged.ticket.id}
