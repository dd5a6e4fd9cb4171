"""What stands where the world would be: effectors that spend their permits like real ones, remember every touch, and answer as a test
says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import FlowError
from omega.kernel.ports import Clock
from omega.kernel.verdict import Permit

FOREVER_S = 10 * 366 * 24 * 3600.0
"""How long `hanging` does not answer: past every limit that a flow can state."""


class Crash(BaseException):
    """The process died here. No `except Exception` of anybody stops it, as none would stop `kill -9`."""


@dataclass(frozen=True, slots=True)
class Touch:
    """One touch as the outside saw it: who asked, what for, and when (Unix microseconds)."""

    execution: str
    step: str
    request: Request
    epoch: int
    at_us: int


Answer = Callable[[Touch], Any]
"""Gives the result of a touch, or an awaitable of it, or a (result, Receipt) pair; raises what the effector should raise."""


class RecordingEffector:
    """An Effector for one port. `touches` lists what got past the permit, in order; it lies outside every journal."""

    def __init__(self, port: str, clock: Clock, answer: Answer | None = None) -> None:
        self.port = port
        self.touches: list[Touch] = []
        self.answer: Answer = answer or unanswered
        self._clock = clock

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Spend the permit, remember the touch, answer. Raises Denied (OMG-W006) before anything else when the permit is no good."""
        now_us = self._clock.now_us()
        permit.spend(self.port)
        touch = Touch(execution, step, request, permit.epoch, now_us)
        self.touches.append(touch)
        result = self.answer(touch)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Receipt) else (result, Receipt())


def unanswered(touch: Touch) -> Any:
    """No answer is known: FlowError OMG-R017 naming step and request."""
    raise FlowError(
        "OMG-R017", f"{touch.step} wants {type(touch.request).__name__} from {touch.request.port}, and no answer was given for it"
    )


def always(value: Any) -> Answer:
    """`value`, whatever is asked."""
    return lambda touch: value


def failing(error: BaseException) -> Answer:
    """`error`, whatever is asked; `failing(Crash())` is a process that dies after its request has left."""

    def answer(touch: Touch) -> Any:
        raise error

    return answer


def after(seconds: float, answer: Answer, clock: Clock) -> Answer:
    """`answer`, `seconds` later."""

    async def late(touch: Touch) -> Any:
        await clock.sleep(seconds)
        result = answer(touch)
        return await result if isinstance(result, Awaitable) else result

    return late


def hanging(clock: Clock) -> Answer:
    """No answer in any time that a test lasts."""
    return after(FOREVER_S, always(None), clock)
