"""Schedules: flows that are started when a timing says so, by whichever worker looks first.

A schedule is a document, sealed under the keys of the installation because it carries authority: who made it, with which rights. At each
moment that is due a scheduler makes one execution named after it,

    nightly@2026-11-21T06.00Z

down the same road as any call: it acts for whoever made the schedule, as `service:scheduler`, and the entry gate is asked every time. The
name comes from the schedule and the moment alone, so any number of schedulers that look at the same time make one execution; and how far a
schedule has come is only a note that saves looking twice. It may be lost, or set back, and nothing happens twice. No caller can take such a
name: `@` stands in no id that a person may choose.

    clock set back        nothing is due until it has caught up; what was started stays the only one
    clock set forward     what lies in between was missed: made up for as the schedule says, at most `most` of them
    clock right again     a note that lies more than an hour ahead counts for nothing

What a scheduler cannot start (an input that no longer fits, a revoked passport, a refusal of the gate) it notes with the error, and goes on
with the next moment: a schedule that fails does not hold up the others.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from omega.host.arrangements import Shelf
from omega.kernel.budget import Budget
from omega.kernel.calendars import CatchUp, Overlap, Timing, due, stamp
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, IntegrityError, OmegaError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search
from omega.kernel.queueing import DEFAULT
from omega.kernel.scope import SCHEDULER, Scope
from omega.runtime import admission
from omega.runtime.decisions import decide
from omega.runtime.engine import Engine
from omega.runtime.letters import written
from omega.trust.sealing import Keyring

SCHEDULE = "schedule"
"""The kind of the documents that are schedules."""

PROGRESS = "schedule-progress"
"""The kind of the documents that note how far each has come."""

LABEL = "schedule"
"""The label that names the schedule on every execution it started."""

MAX_SCHEDULES = 10_000
"""Most schedules of an installation that a scheduler serves; the rest are left to be seen in its problems."""

MAX_CATCH_UP = 1_000
"""Most missed moments that one schedule makes up for."""

MAX_AHEAD_US = 3_600_000_000
"""A note of progress that lies further ahead than this (microseconds) was written under a wrong clock."""

PAGE = 500
"""Unfinished executions of a schedule looked at at once."""

POLL_S = 5.0
"""How often, at least, a scheduler looks for new and changed schedules: one cheap read."""

UNFINISHED = (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.IN_DOUBT)
"""The statuses in which an earlier execution still goes on. A dead one does not: it waits for somebody, and its successors do not."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is started when, for whom.

    `flow` is the name of a flow that workers serve, `target` what it was loaded from when the schedule was made, `claims` the scope of
    whoever made it (`Scope.claims()`). Moments after `since_us` count. `key`, `priority` and `queue` place the executions (see
    `kernel.queueing`); `most` bounds what `catch_up` makes up for, `grace_s` how late a moment is still met when nothing is made up for.
    Raises InputError (OMG-I001).
    """

    name: str
    timing: Timing
    flow: str
    input: Any = None
    target: str = ""
    claims: Mapping[str, Any]
    since_us: int
    queue: str = DEFAULT
    key: str = ""
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    catch_up: CatchUp = CatchUp.LAST
    most: int = 100
    grace_s: float = 60.0
    overlap: Overlap = Overlap.ALLOW
    budget: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    paused: bool = False

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise InputError("OMG-I001", f"{self.name[:80]!r} cannot name a schedule: 1 to 32 lower-case letters, digits, '-' and '_'")
        if not 1 <= self.most <= MAX_CATCH_UP:
            raise InputError("OMG-I001", f"a schedule makes up for 1 to {MAX_CATCH_UP} missed moments, not {self.most!r}")
        if self.timing.next_after(self.since_us) is None:
            raise InputError("OMG-I001", f"{self.name} would never be due", advice="omega schedule add --help says what timings there are")
        admission.Line(queue=self.queue, key=self.key, priority=self.priority, labels=self.labels)

    def upcoming(self, after_us: int, count: int) -> Iterator[int]:
        """The next `count` moments after `after_us`."""
        moment = self.timing.next_after(after_us)
        while moment is not None and count > 0:
            yield moment
            count -= 1
            moment = self.timing.next_after(moment)

    def execution(self, moment_us: int) -> str:
        """The name of what is started at that moment."""
        return f"{self.name}@{stamp(moment_us)}"

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "timing"}
        fields |= {name: dict(getattr(self, name)) for name in ("claims", "labels", "budget")}
        fields["timing"] = self.timing.record()
        context = _context(self.name)
        wrapped, sealer = keyring.create(context)
        sealed = sealer.seal(json.dumps(fields).encode(), context.encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, body: Mapping[str, Any], keyring: Keyring) -> Schedule:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", f"the schedule {name[:64]} has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", f"the schedule {name[:64]} has no known form") from error
        context = _context(name)
        fields = json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))
        timing = Timing.from_record(fields.pop("timing"))
        return cls(timing=timing, catch_up=CatchUp(fields.pop("catch_up")), overlap=Overlap(fields.pop("overlap")), **fields)


def _context(name: str) -> str:
    """What a schedule's key and seal are bound to."""
    return f"schedule {name}"


def reading(keyring: Keyring) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The check of a schedule's document before it is kept: sealed here, under its own name. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            Schedule.open(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="make schedules with omega schedule add") from error
        return body

    return read


def _opened(name: str, document: bytes, keyring: Keyring) -> Schedule:
    """The schedule in a document. Raises IntegrityError (OMG-T004), InputError (OMG-I001)."""
    try:
        body = json.loads(document)
    except ValueError as error:
        raise IntegrityError("OMG-T004", f"the schedule {name[:64]} is damaged") from error
    return Schedule.open(name, body, keyring)


def schedules(documents: Any, keyring: Keyring) -> tuple[list[Schedule], dict[str, OmegaError]]:
    """All schedules by name, and what is wrong with those that cannot be read."""
    found, problems = [], {}
    for name, body in documents.documents(SCHEDULE):
        try:
            found.append(_opened(name, body, keyring))
        except OmegaError as error:
            problems[name] = error
    return found, problems


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule has come: the last moment that was met, what became of it, and how many its overlap rule left out."""

    last_us: int = 0
    execution: str = ""
    left_out: int = 0
    error: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, documents: Any, name: str) -> Progress:
        """As noted; from the beginning when nothing readable is."""
        body = documents.document(PROGRESS, name)
        try:
            return cls() if body is None else msgspec.json.decode(body, type=cls)
        except msgspec.DecodeError:
            return cls()

    def body(self) -> bytes:
        """As its document."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()


@dataclass(frozen=True, slots=True)
class _Calm:
    """A schedule that was looked at, and for which nothing is due until `until_us`, unless the clock is set back before `since_us`."""

    schedule: Schedule
    since_us: int
    until_us: int


class Scheduler:
    """Starts what is due. `resolve` gives the flow of a schedule, or None when this worker does not serve it: then another one does.

    `shelf` holds the documents, `post` leaves a letter for whoever runs an execution elsewhere. `problems` are the schedules that could not
    be read or met at the last look, with the error.
    """

    def __init__(
        self,
        engine: Engine,
        shelf: Shelf,
        resolve: Callable[[Schedule], AnyFlow | None],
        *,
        post: Callable[[str, str, Mapping[str, Any], int], Any] | None = None,
    ) -> None:
        self._engine = engine
        self._world = engine.world
        self._shelf = shelf
        self._resolve = resolve
        self._post = post
        self._opened: dict[str, tuple[bytes, Schedule]] = {}
        self._calm: dict[str, _Calm] = {}
        self.problems: dict[str, OmegaError] = {}

    async def run(self) -> None:
        """Look for ever. Raises StorageError when the store fails."""
        while True:
            now = self._world.clock.now_us()
            following = await self.tick(now)
            wait = POLL_S if following is None else min(POLL_S, max(0.0, (following - now) / 1_000_000))
            await self._world.clock.sleep(wait)

    async def tick(self, now_us: int) -> int | None:
        """Start what is due at `now_us`; gives the next moment of any schedule, None when there is none. Raises StorageError."""
        self.problems = {}
        following: list[int] = []
        for schedule in self._schedules():
            flow = self._resolve(schedule)
            if schedule.paused or flow is None:
                continue
            calm = self._calm.get(schedule.name)
            if calm is not None and calm.schedule is schedule and calm.since_us <= now_us < calm.until_us:
                following.append(calm.until_us)
                continue
            try:
                last = await self._meet(schedule, flow, now_us)
            except StorageError:
                raise
            except OmegaError as error:
                self.problems[schedule.name] = error
                continue
            moment = schedule.timing.next_after(max(last, now_us))
            if moment is None:
                continue
            following.append(moment)
            if schedule.timing.next_after(last) == moment:  # nothing waits for its turn
                self._calm[schedule.name] = _Calm(schedule, now_us, moment)
        return min(following, default=None)

    def _schedules(self) -> Sequence[Schedule]:
        """The schedules as they stand, opened once per version."""
        held = self._opened
        self._opened = {}
        documents = self._shelf.documents(SCHEDULE)
        for name, _ in documents[MAX_SCHEDULES:]:
            self.problems[name] = InputError("OMG-I001", f"a scheduler serves {MAX_SCHEDULES:,} schedules, and this is one too many")
        for name, body in documents[:MAX_SCHEDULES]:
            known = held.get(name)
            if known is None or known[0] != body:
                try:
                    known = (body, _opened(name, body, self._world.keyring))
                except OmegaError as error:
                    self.problems[name] = error
                    continue
            self._opened[name] = known
        self._calm = {name: calm for name, calm in self._calm.items() if name in self._opened}
        return [schedule for _, schedule in self._opened.values()]

    async def _meet(self, schedule: Schedule, flow: AnyFlow, now_us: int) -> int:
        """Act on every moment of `schedule` that is due; gives how far it has come."""
        progress = Progress.of(self._shelf, schedule.name)
        last = max(schedule.since_us, progress.last_us)
        if last > now_us + MAX_AHEAD_US:
            last = max(schedule.since_us, now_us - int(schedule.grace_s * 1_000_000))
        catch_up = CatchUp.ALL if schedule.overlap is Overlap.QUEUE else schedule.catch_up
        for moment in due(schedule.timing, catch_up, last, now_us, most=schedule.most, grace_s=schedule.grace_s):
            if self._world.reader.line(schedule.execution(moment)) is None:
                standing = [] if schedule.overlap is Overlap.ALLOW else self._unfinished(schedule)
                if standing and schedule.overlap is Overlap.QUEUE:
                    return last  # looked at again when the next sweep comes; nothing is lost, for the note stays where it is
                progress = await self._act(schedule, flow, moment, standing, progress)
            else:
                progress = replace(progress, last_us=moment, execution=schedule.execution(moment), error=None)
            self._shelf.put_document(PROGRESS, schedule.name, progress.body(), now_us)
            last = moment
        return last

    def _unfinished(self, schedule: Schedule) -> list[Line]:
        """What the schedule started and has not ended yet. Anybody may give a run of theirs the label, nobody the name."""
        found: list[Line] = []
        page = Search(tenant=str(schedule.claims.get("tenant", "")), status=UNFINISHED, labels={LABEL: schedule.name}, limit=PAGE)
        while lines := self._world.reader.search(page):
            found += (line for line in lines if line.execution.startswith(f"{schedule.name}@"))
            page = replace(page, older_than=lines[-1].execution)
        return found

    async def _act(self, schedule: Schedule, flow: AnyFlow, moment: int, standing: list[Line], progress: Progress) -> Progress:
        """Start what is due at `moment`, or leave it out."""
        if standing and schedule.overlap is Overlap.SKIP:
            return replace(progress, last_us=moment, left_out=progress.left_out + 1)
        name = schedule.execution(moment)
        try:
            scope = self._world.authority.restore(schedule.claims).acting(SCHEDULER)
            for line in standing:
                await self._cancel(line, scope)
            await self._start(schedule, flow, moment, scope)
        except StorageError as error:
            if error.code != "OMG-R010":
                raise
        except OmegaError as error:  # refused, revoked, does not fit: noted, and the next moment is another one
            if error.code != "OMG-R010":
                self.problems[schedule.name] = error
                return replace(progress, last_us=moment, execution=name, error=error.record())
        return replace(progress, last_us=moment, execution=name, error=None)

    async def _start(self, schedule: Schedule, flow: AnyFlow, moment: int, scope: Scope) -> None:
        """One execution, on disk when this returns. Raises Denied, InputError; StorageError OMG-R010 when another scheduler was first."""
        value = flow.input.read(schedule.input)
        begins = moment + schedule.timing.delay_us(schedule.name, moment)
        await self._engine.commission(
            admission.Order(
                execution=schedule.execution(moment),
                flow=flow,
                data=flow.input.encode(value)[0],
                scope=scope,
                budget=Budget(**schedule.budget),
                target=schedule.target,
                deadline=None if schedule.timeout_s is None else begins / 1_000_000 + schedule.timeout_s,
                line=admission.Line(
                    queue=schedule.queue,
                    key=schedule.key,
                    priority=schedule.priority,
                    due_us=begins,
                    labels={**schedule.labels, LABEL: schedule.name},
                ),
            )
        )

    async def _cancel(self, line: Line, scope: Scope) -> None:
        """Cancel an earlier execution, here or by a letter to whoever runs it."""
        try:
            await decide(self._engine, line.execution, "cancel", {}, scope)
        except OmegaError as error:
            if error.code == "OMG-R010" and self._post is not None:
                letter = written(self._world, scope, line.execution, "cancel", {})
                self._post(line.execution, "cancel", letter, self._world.clock.now_us())
            elif error.code not in ("OMG-I005", "OMG-R010"):  # it has ended meanwhile
                raise
