"""Making and changing schedules: what a person types becomes a sealed document that carries their authority, kept on record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omega.host.asking import forget, keep
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Caller, Identity
from omega.host.orders import OWNER, Placing
from omega.host.reading import Archive
from omega.host.schedules import SCHEDULE, Progress, Schedule, schedules
from omega.host.settings import Settings
from omega.host.storage import may_make_keys
from omega.host.targets import Target
from omega.kernel.budget import Budget
from omega.kernel.calendars import CatchUp, Overlap, Timing
from omega.kernel.errors import InputError, OmegaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a schedule starts, when, and how: see `omega.host.schedules.Schedule`."""

    name: str
    timing: Timing
    target: Target
    input: Any
    placing: Placing = field(default_factory=Placing)
    caller: Caller = OWNER
    catch_up: CatchUp = CatchUp.LAST
    overlap: Overlap = Overlap.ALLOW
    budget: Budget | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A schedule as it stands: what is arranged, how far it has come, and when it is due next (Unix microseconds)."""

    schedule: Schedule
    progress: Progress
    upcoming: Sequence[int]

    def record(self) -> dict[str, Any]:
        """As data, without what it starts its flow with."""
        schedule = self.schedule
        return {
            "schedule": schedule.name,
            "flow": schedule.flow,
            "target": schedule.target,
            "timing": schedule.timing.record(),
            "queue": schedule.queue,
            "key": schedule.key,
            "priority": schedule.priority,
            "labels": dict(schedule.labels),
            "catch_up": str(schedule.catch_up),
            "overlap": str(schedule.overlap),
            "paused": schedule.paused,
            "by": str(schedule.claims.get("principal", "")),
            "passport": str(schedule.claims.get("passport", "")),
            "last": self.progress.execution,
            "left_out": self.progress.left_out,
            "error": None if self.progress.error is None else dict(self.progress.error),
        }


async def add(home: str | os.PathLike[str] | None, plan: Plan) -> Schedule:
    """Keep a schedule, on record, with the rights of whoever makes it. Raises InputError (OMG-I001), Denied, StorageError."""
    settings = Settings.load(home)
    may_make_keys(settings)
    identity, now_us = Identity.load(settings, SystemEntropy()), SystemClock().now_us()
    scope = identity.authority.verify(identity.passport(plan.caller, now_us=now_us), now=now_us / 1_000_000)
    plan.target.flow.input.read(plan.input)
    made = Schedule(
        name=plan.name,
        timing=plan.timing,
        flow=plan.target.flow.name,
        input=plan.input,
        target=plan.target.text,
        claims=scope.claims(),
        since_us=now_us,
        queue=plan.placing.queue,
        key=plan.placing.key,
        priority=plan.placing.priority,
        labels=plan.placing.labels,
        catch_up=plan.catch_up,
        overlap=plan.overlap,
        budget={} if plan.budget is None else plan.budget.record(),
        timeout_s=plan.timeout_s,
    )
    await keep(home, SCHEDULE, made.name, made.seal(identity.keyring))
    return made


async def pause(home: str | os.PathLike[str] | None, name: str, *, paused: bool) -> None:
    """Pause a schedule, or have it start things again. Raises InputError (OMG-I003) when there is none of that name."""
    with Archive.open(home) as archive:
        found = replace(standing(archive, name).schedule, paused=paused)
        body = found.seal(archive.identity.keyring)
    await keep(home, SCHEDULE, name, body)


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget a schedule; what it started goes on. Raises InputError (OMG-I003)."""
    await forget(home, SCHEDULE, name)


def standing(archive: Archive, name: str, count: int = 1) -> Standing:
    """One schedule with its next `count` moments. Raises InputError (OMG-I003), IntegrityError (OMG-T004)."""
    found, problems = schedules(archive.reader, archive.identity.keyring)
    if name in problems:
        raise problems[name]
    for schedule in found:
        if schedule.name == name:
            return _standing(archive, schedule, count)
    raise InputError("OMG-I003", f"there is no schedule {name[:64]} (known: {', '.join(each.name for each in found) or 'none'})")


def all_standing(archive: Archive) -> tuple[list[Standing], Mapping[str, OmegaError]]:
    """Every schedule, and what is wrong with those that cannot be read."""
    found, problems = schedules(archive.reader, archive.identity.keyring)
    return [_standing(archive, schedule, 1) for schedule in found], problems


def _standing(archive: Archive, schedule: Schedule, count: int) -> Standing:
    progress = Progress.of(archive.reader, schedule.name)
    after_us = max(schedule.since_us, archive.world.clock.now_us())
    return Standing(schedule, progress, () if schedule.paused else tuple(schedule.upcoming(after_us, count)))
