"""The one road:

who is it, may they, do it, what happened. The only implementation of the port `Road`; every entrance holds it and nothing behind it.
"""

from __future__ import annotations

from omega.kernel.definition import Flow
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Outcome
from omega.runtime.engine import Engine


class EngineRoad:
    """The road through one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(self, call: Call) -> str:
        """Admit `call` and set it going; gives its execution. Raises what `Engine.start` raises, and Denied (OMG-T001)."""
        return await self._start(call, soon=call.untold)

    async def _start(self, call: Call, *, soon: bool) -> str:
        world = self._engine.world
        scope = world.authority.verify(call.passport, now=world.clock.now_us() / 1_000_000)
        if not isinstance(call.flow, Flow):
            raise InputError("OMG-I002", "a call names its flow by value here")
        return await self._engine.start(
            call.flow,
            call.input,
            scope,
            execution=call.execution,
            target=call.target,
            budget=call.budget,
            timeout_s=call.timeout_s,
            labels=call.labels,
            trace=call.trace,
            origin=call.origin,
            soon=soon,
        )

    async def call(self, call: Call) -> Outcome:
        """Take `call` to its end. A refusal or failure comes back inside the Outcome."""
        try:  # an id that the caller chose is on disk before anything is done: whoever asks again by it finds it taken
            return await self._engine.outcome(await self._start(call, soon=call.untold or not call.execution))
        except OmegaError as error:
            return Outcome(execution=call.execution or str(error.details.get("execution", "")), status=Status.FAILED, error=error.record())
