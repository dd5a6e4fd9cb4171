"""What an attacker may see, and what must never be seen."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from attacks.wire import Answer

SECRET = "the-owner-alone-may-read-this-9f3c51"
"""What an execution of the owner holds."""

INSIDES = ("Traceback (most recent call last)", 'File "/', "/site-packages/", "src/omega/", "sqlite3.")
"""What no answer shows, whatever was sent."""

BUSY = {"OMG-G008", "OMG-X002"}
"""Codes with which an answer of the kind 503 is no fault: too much at once, and no model configured."""


class Faults(logging.Handler):
    """Collects what the gateway, its server and the event loop report as faults."""

    NAMES = ("omega.gateway", "uvicorn.error", "asyncio")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one report, unless it only says what the other side did wrong."""
        if record.getMessage().startswith("Invalid UTF-8 sequence received from client"):
            return
        self.found.append(f"{record.name}: {record.getMessage()} {record.exc_info[1] if record.exc_info else ''}"[:500])


def leaks(body: bytes, hidden: Iterable[str] = ()) -> list[str]:
    """What `body` shows of our insides, or of what is `hidden` from whoever asked."""
    return [each for each in (*INSIDES, *hidden) if each.encode() in body]


def wrong_with(answer: Answer | None, hidden: Iterable[str] = ()) -> str:
    """Why an answer over HTTP is none that an attacker should get; empty when it is a good one. No answer is a closed connection."""
    if answer is None:
        return ""
    if answer.code in ("OMG-G011", "-32603"):
        return f"an internal error: {answer.body[:300]!r}"
    if answer.status >= 500 and not (answer.status == 503 and answer.code in BUSY):
        return f"status {answer.status}: {answer.body[:300]!r}"
    shown = leaks(answer.body, hidden)
    return f"it shows {shown}" if shown else ""
