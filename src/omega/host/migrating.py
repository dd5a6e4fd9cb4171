"""Carrying executions over to another version of their flow: which there are, what would become of each, and doing it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omega.host.embedded import Omega
from omega.host.reading import Archive
from omega.host.searching import every
from omega.host.targets import Target
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.ports import Line, Search
from omega.runtime.migration import MOVABLE, REFUSED, Step, migrate, plan
from omega.runtime.recovery import pin_of


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes, or became, of one execution: `verdict` is unaffected, mapped or refused; `reason` why it is refused."""

    line: Line
    verdict: str
    steps: int
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """As data."""
        return {
            "execution": self.line.execution,
            "version": self.line.version,
            "status": self.line.status,
            "verdict": self.verdict,
            "steps": self.steps,
            "reason": self.reason,
        }


def standing(archive: Archive, flow: str, target: Target) -> list[Line]:
    """The executions of `flow` that stand still on another version than the target's."""
    pin = pin_of(archive.catalogue.bound(target.flow))
    lines = every(archive.reader, Search(flow=flow, status=tuple(MOVABLE)))
    return [line for line in lines if line.digest != pin]


async def planned(archive: Archive, flow: str, target: Target) -> list[Fate]:
    """What would become of each, without changing anything. Raises InputError, IntegrityError."""
    lines = standing(archive, flow, target)
    steps = await plan(archive.world, [line.execution for line in lines], archive.catalogue.bound(target.flow))
    return [_fate(line, step) for line, step in zip(lines, steps, strict=True)]


async def carry_over(home: str | os.PathLike[str] | None, target: Target, lines: Sequence[Line]) -> list[Fate]:
    """Carry each over, on record; one that is refused stays as it was. Raises StorageError when the store cannot be used."""
    fates = []
    async with Omega.open(home) as omega:
        flow = await omega.prepare(target.flow, target.servers)
        for line in lines:
            try:
                fates.append(_fate(line, await migrate(omega.engine, line.execution, flow, omega.scope())))
            except OmegaError as error:
                if isinstance(error, StorageError) and error.code == "OMG-S004":
                    raise
                fates.append(Fate(line, REFUSED, 0, f"{error.code} {error.cause}"))
    return fates


def _fate(line: Line, step: Step) -> Fate:
    return Fate(line, step.verdict, step.steps, step.reason)
