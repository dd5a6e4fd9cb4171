"""The pure parts of `incident-response.poml`: the first source that answers is believed, and what to do follows from it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from omega import flow


class Alert(BaseModel):
    """What a monitor reported. `errors` is per minute."""

    service: str
    errors: int


@flow
def parse(line: str) -> Alert:
    """`service errors`. Raises ValueError for anything else."""
    service, errors = line.split()
    return Alert(service=service, errors=int(errors))


@flow
def runbook(alert: Alert) -> list[str]:
    """The steps written down for a service. Raises KeyError for one without any."""
    return {"shop": ["drain", "restart"], "mail": ["restart"]}[alert.service]


@flow
def usual(alert: Alert) -> list[str]:
    """What helps where nothing is written down."""
    return ["look"]


@flow
def render(step: str) -> str:
    """One step as a line for people."""
    return f"- {step}"


@flow
def note(alert: Alert) -> str:
    """The alert itself as a line."""
    return f"{alert.service}: {alert.errors} errors a minute"


@flow
def plan(found: tuple[str, list[str]]) -> dict[str, Any]:
    """Note and steps together."""
    return {"note": found[0], "steps": found[1]}


@flow
def quiet(alert: Alert) -> dict[str, Any]:
    """Nothing to do."""
    return {"note": f"{alert.service} is well", "steps": []}
