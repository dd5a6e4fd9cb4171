"""Calendars: at which moments something is due, in the time of a place, and which of the missed ones are made up for.

A `Timing` is a rule (a cron expression, an interval, or one moment) with what bounds it: a zone, a calendar of open days, periods left out,
a start and an end. It is a pure function from a moment to the next one: `next_after` only ever goes forward, and every host that asks gets
the same answer, so a moment can name what was started at it.

Clocks that are set forward and back (daylight saving, and whole days where a country changed sides of the date line):

    a rule that names its hours       a moment that the clock skips falls on the first moment after the gap, once;
                                      a moment that comes twice falls on the first of the two
    a rule for every hour             follows elapsed time: skipped moments do not exist, repeated ones happen twice

Expressions are parsed and matched by `cronsim`: five fields, or six with seconds first; names, ranges, steps, lists, `L`, `LW`, `5L`,
`5#2`; as in Debian's cron both day fields must match when one of them begins with a star, else either. It is only ever asked about local
times without a zone; the two rules above are ours.

All moments are Unix microseconds. Zones are IANA names; their rules come from the system's tz database, or from the package `tzdata`.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from omega.kernel.errors import InputError

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

MAX_EXPRESSION = 256
"""Longest cron expression in characters."""

MAX_DAYS = 4_000
"""Most entries of a calendar or list of periods: ten years of single days."""

MAX_LOOKS = 20_000
"""Candidates looked at before a rule counts as never due again: a day each for more than fifty years."""

MAX_MOVED_DAYS = 31
"""Farthest that a closed day moves a moment: a calendar that is closed for longer drops it."""

HORIZON_US = 4_102_444_800 * SECOND_US
"""2100-01-01: no zone's rules are known that far ahead, and nothing is due after it."""

_LAST_YEAR = 2100

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARLY = re.compile(r"\d{2}-\d{2}")


class Closed(StrEnum):
    """What becomes of a moment on a closed day: it is left out, or falls on the next or the previous open day at the same local time."""

    SKIP = "skip"
    NEXT = "next"
    PREVIOUS = "previous"


class CatchUp(StrEnum):
    """Which missed moments are made up for when nobody looked for a while: none, the last one, or all (the newest `most`)."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What happens when a moment comes while what an earlier one started still goes on: both run, the new one is left out, it waits until
    the old one has ended, or the old one is cancelled."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel-previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Open days: those of `weekdays` (Monday is 0) that are no `holidays`, and `extra` ones in any case.

    Days are written `2026-12-24`, `2026-12-24..2027-01-02` or, for every year, `12-25`. Raises InputError (OMG-I001).
    """

    weekdays: Sequence[int] = (0, 1, 2, 3, 4)
    holidays: Sequence[str] = ()
    extra: Sequence[str] = ()
    _closed: _Days = field(init=False, repr=False, compare=False)
    _open: _Days = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if any(not isinstance(day, int) or day not in range(7) for day in self.weekdays):
            raise _refused(f"days of the week are 0 (Monday) to 6, not {list(self.weekdays)[:8]}")
        for name in ("weekdays", "holidays", "extra"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "_closed", _Days.read(self.holidays))
        object.__setattr__(self, "_open", _Days.read(self.extra))

    def is_open(self, day: date) -> bool:
        """Whether `day` is an open one."""
        return self._open.has(day) or (day.weekday() in self.weekdays and not self._closed.has(day))

    def moved(self, day: date, direction: Closed) -> date | None:
        """`day` when it is open, else the nearest open day in that direction; None to leave it out."""
        if self.is_open(day):
            return day
        if direction is Closed.SKIP:
            return None
        step = timedelta(days=1 if direction is Closed.NEXT else -1)
        for _ in range(MAX_MOVED_DAYS):
            day += step
            if self.is_open(day):
                return day
        return None

    def record(self) -> dict[str, Any]:
        """The calendar as data; `Calendar(**record)` makes it again."""
        return {"weekdays": list(self.weekdays), "holidays": list(self.holidays), "extra": list(self.extra)}


@dataclass(frozen=True, slots=True)
class _Days:
    """A set of days: single ones, ranges, and (month, day) of every year."""

    single: frozenset[date]
    ranges: tuple[tuple[date, date], ...]
    yearly: frozenset[tuple[int, int]]

    @classmethod
    def read(cls, entries: Sequence[str]) -> _Days:
        if len(entries) > MAX_DAYS:
            raise _refused(f"a calendar has at most {MAX_DAYS} entries, not {len(entries)}")
        single, ranges, yearly = set(), [], set()
        for entry in entries:
            first, dots, last = entry.partition("..")
            if dots:
                start, end = _day(first, entry), _day(last, entry)
                if end < start:
                    raise _refused(f"{entry!r} ends before it begins")
                ranges.append((start, end))
            elif _YEARLY.fullmatch(entry):
                leap = _day(f"2000-{entry}", entry)
                yearly.add((leap.month, leap.day))
            else:
                single.add(_day(entry, entry))
        return cls(frozenset(single), tuple(ranges), frozenset(yearly))

    def has(self, day: date) -> bool:
        return day in self.single or (day.month, day.day) in self.yearly or any(start <= day <= end for start, end in self.ranges)


def _refused(cause: str) -> InputError:
    return InputError("OMG-I001", cause, advice="docs/schedules.md says what timings and calendars there are")


def _day(text: str, entry: str) -> date:
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass  # a thirtieth of February: refused below like any other text
    raise _refused(f"{entry[:40]!r} is no day: write 2026-12-24, 2026-12-24..2027-01-02 or 12-25")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When something is due. Exactly one of `cron`, `every_s` (from `starts_us` on, or from the epoch) and `at_us` is given.

    `calendar` and `closed` say what happens on closed days (in `zone`); moving a moment is for expressions that name one time of day.
    `except_us` are periods (from, until exclusive) in which nothing is due, `starts_us` and `ends_us` bound the whole (from, until
    exclusive; 0: unbounded). `jitter_s` spreads what many schedules start at the same moment; the moment itself, and so every name made
    from it, stays. Raises InputError (OMG-I001) for what makes no sense.
    """

    cron: str = ""
    every_s: int = 0
    at_us: int = 0
    zone: str = "UTC"
    calendar: Calendar | None = None
    closed: Closed = Closed.SKIP
    except_us: Sequence[tuple[int, int]] = ()
    starts_us: int = 0
    ends_us: int = 0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        if sum(map(bool, (self.cron, self.every_s, self.at_us))) != 1:
            raise _refused("a timing is one of a cron expression, an interval in seconds, and a moment")
        for name in ("every_s", "at_us", "starts_us", "ends_us"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HORIZON_US:
                raise _refused(f"{name} is a whole number from 0, not {value!r}")
        if not 0 <= self.jitter_s <= 86_400:
            raise _refused(f"jitter_s is between 0 and a day, not {self.jitter_s!r}")
        if len(self.except_us) > MAX_DAYS or any(len(each) != 2 or not 0 <= each[0] < each[1] for each in self.except_us):
            raise _refused(f"periods to leave out are at most {MAX_DAYS} pairs (from, until)")
        zone_of(self.zone)
        object.__setattr__(self, "except_us", tuple((start, end) for start, end in self.except_us))
        if self.cron:
            rule = _parsed(self.cron)
            if Closed(self.closed) is not Closed.SKIP and not (len(rule.seconds) == len(rule.minutes) == len(rule.hours) == 1):
                raise _refused("only an expression that names one time of day can move to another day")
        elif Closed(self.closed) is not Closed.SKIP:
            raise _refused("only a cron expression can move to another day")

    def next_after(self, at_us: int) -> int | None:
        """The first moment after `at_us` at which it is due; None when there is none before the horizon."""
        at_us = max(at_us, self.starts_us - 1, -1)
        for _ in range(MAX_LOOKS):
            found = self._candidate(at_us)
            if found is None or found >= HORIZON_US or (self.ends_us and found >= self.ends_us):
                return None
            resume = self._left_out(found)
            if resume is None:
                return found
            at_us = max(found, resume - 1)
        return None

    def latest(self, after_us: int, until_us: int, most: int) -> list[int]:
        """The newest `most` moments in (after, until], the oldest first; found from the end, so that a long absence costs little."""
        span = 60 * SECOND_US
        while True:
            start = max(after_us, until_us - span)
            kept: deque[int] = deque(maxlen=most)
            moment = self.next_after(start)
            while moment is not None and moment <= until_us:
                kept.append(moment)
                moment = self.next_after(moment)
            if len(kept) == most or start == after_us:
                return list(kept)
            span *= 4

    def delay_us(self, name: str, moment_us: int) -> int:
        """How much later than `moment_us` the schedule `name` begins: the same on every host, spread evenly over the jitter."""
        if not self.jitter_s:
            return 0
        drawn = int.from_bytes(hashlib.sha256(f"{name}\n{moment_us}".encode()).digest()[:8], "big")
        return drawn % (int(self.jitter_s * SECOND_US) + 1)

    def record(self) -> dict[str, Any]:
        """The timing as data; `Timing.from_record` makes it again."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        found["calendar"] = None if self.calendar is None else self.calendar.record()
        found["closed"] = Closed(self.closed).value
        found["except_us"] = [list(each) for each in self.except_us]
        return found

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Timing:
        """From `record()`. Raises InputError (OMG-I001)."""
        facts = dict(record)
        try:
            calendar = facts.pop("calendar", None)
            periods = tuple((int(start), int(end)) for start, end in facts.pop("except_us", ()))
            closed = Closed(facts.pop("closed", Closed.SKIP))
            return cls(calendar=None if calendar is None else Calendar(**calendar), except_us=periods, closed=closed, **facts)
        except (TypeError, ValueError) as error:
            raise _refused(f"this is no timing: {error}") from error

    # -- inside

    def _candidate(self, at_us: int) -> int | None:
        """The next moment of the rule alone."""
        if self.at_us:
            return self.at_us if self.at_us > at_us else None
        if self.every_s:
            step = self.every_s * SECOND_US
            return self.starts_us + max(0, (at_us - self.starts_us) // step + 1) * step
        zone = zone_of(self.zone)
        if self.calendar is not None and self.closed is not Closed.SKIP:
            return self._moved(at_us, zone)
        rule = _parsed(self.cron)
        return _elapsed(self.cron, zone, at_us) if rule.every_hour else _named(self.cron, zone, at_us)

    def _moved(self, at_us: int, zone: ZoneInfo) -> int | None:
        """The next moment when closed days move it: the first local time whose own moment, moved, lies after `at_us`."""
        calendar = self.calendar
        assert calendar is not None  # noqa: S101 - the caller has just looked
        local = _local(at_us, zone)
        back = MAX_MOVED_DAYS + 1 if self.closed is Closed.NEXT else 1
        for time in _local_times(self.cron, local - timedelta(days=back)):
            if time.year > _LAST_YEAR:
                break
            day = calendar.moved(time.date(), self.closed)
            if day is not None:
                moment = _moment(datetime.combine(day, time.time()), zone)
                if moment > at_us:
                    return moment
        return None

    def _left_out(self, moment: int) -> int | None:
        """None when `moment` counts; else from when on to look again."""
        for start, end in self.except_us:
            if start <= moment < end:
                return end
        if self.calendar is not None and self.closed is Closed.SKIP:
            zone = zone_of(self.zone)
            day = _local(moment, zone).date()
            if not self.calendar.is_open(day):
                return max(moment, _moment(datetime.combine(day + timedelta(days=1), datetime.min.time()), zone))
        return None


@dataclass(frozen=True, slots=True)
class _Rule:
    expression: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]

    @property
    def every_hour(self) -> bool:
        return len(self.hours) == 24


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> _Rule:
    """A cron expression, understood. Raises InputError (OMG-I001) for one that is none, or never comes true."""
    text = expression.strip()
    if len(text) > MAX_EXPRESSION:
        raise _refused(f"a cron expression has at most {MAX_EXPRESSION} characters, not {len(text)}")
    text = MACROS.get(text.lower(), text)
    try:
        found = CronSim(text, datetime(2024, 1, 1))  # noqa: DTZ001 - local times have no zone here
        first = next(found, None)
    except CronSimError as error:
        raise InputError(
            "OMG-I001", f"{expression[:80]!r} is no cron expression: {str(error).lower()}", advice="write minute hour day month weekday"
        ) from error
    if first is None:
        raise _refused(f"{expression[:80]!r} never comes true")
    return _Rule(text, frozenset(found.seconds), frozenset(found.minutes), frozenset(found.hours))


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The rules of an IANA zone. Raises InputError (OMG-I001) for a name that is none, or means something else on every host."""
    if name in ("localtime", "Factory", "posixrules"):
        raise InputError("OMG-I001", f"{name} is another zone on every host", advice="name a zone such as Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError("OMG-I001", f"{name[:80]!r} is no time zone", advice="name a zone such as Europe/Berlin, or UTC") from error


def stamp(moment_us: int) -> str:
    """A moment as a name can hold it, in UTC: `2026-11-21T06.00Z`, with seconds where it has any."""
    at = _utc(moment_us)
    return at.strftime("%Y-%m-%dT%H.%M.%SZ" if at.second else "%Y-%m-%dT%H.%MZ")


def _utc(moment_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_us)


def _local(moment_us: int, zone: ZoneInfo) -> datetime:
    """What the clocks of `zone` show, without the zone."""
    return _utc(moment_us).astimezone(zone).replace(tzinfo=None, fold=0)


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _local_times(expression: str, after: datetime) -> CronSim:
    """The local times after `after` at which an expression holds."""
    return CronSim(_parsed(expression).expression, after)


def _moment(local: datetime, zone: ZoneInfo) -> int:
    """The first moment at which the clocks of `zone` show `local`; the end of the gap when they skip it (PEP 495)."""
    there = local.replace(tzinfo=zone, fold=0)
    found = _micros(there.astimezone(UTC))
    if _local(found, zone) == local:
        return found
    before = _micros(local.replace(tzinfo=zone, fold=1).astimezone(UTC))
    return _change(zone, before, found)


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """The moment in (low, high] from which on the offset is that of `high`. Offsets change at whole seconds."""
    low, high = low // SECOND_US, -(-high // SECOND_US)
    target = _offset(zone, high * SECOND_US)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle * SECOND_US) == target:
            high = middle
        else:
            low = middle
    return high * SECOND_US


def _offset(zone: ZoneInfo, moment_us: int) -> timedelta:
    return _utc(moment_us).astimezone(zone).utcoffset() or timedelta()


def _named(expression: str, zone: ZoneInfo, at_us: int) -> int | None:
    """The next moment of a rule that names its hours."""
    for local in _local_times(expression, _local(at_us, zone)):
        moment = _moment(local, zone)
        if moment > at_us:
            return moment
    return None


def _elapsed(expression: str, zone: ZoneInfo, at_us: int) -> int | None:
    """The next moment of a rule for every hour: the next local time under the offset of now, and from each change of offset on anew."""
    for _ in range(MAX_LOOKS):
        offset = _offset(zone, at_us)
        shown = (_utc(at_us) + offset).replace(tzinfo=None)
        local = next(_local_times(expression, shown), None)
        if local is None:
            return None
        moment = _micros(local.replace(tzinfo=UTC) - offset)
        change = _first_change(zone, at_us, moment, offset)
        if change is None:
            return moment
        new = _offset(zone, change)
        shown = (_utc(change) + new).replace(tzinfo=None) - timedelta(microseconds=1)
        local = next(_local_times(expression, shown), None)
        if local is None:
            return None
        moment = _micros(local.replace(tzinfo=UTC) - new)
        if moment == change:
            return moment
        at_us = change
    return None


def _first_change(zone: ZoneInfo, low: int, high: int, offset: timedelta) -> int | None:
    """The first moment in (low, high] with another offset, looked for day by day; None when there is none."""
    while low < high:
        end = min(low + DAY_US, high)
        if _offset(zone, end) != offset:
            return _change(zone, low, end)
        low = end
    return None


def due(timing: Timing, catch_up: CatchUp, last_us: int, now_us: int, *, most: int = 100, grace_s: float = 60.0) -> list[int]:
    """The moments in (last, now] that are to be acted upon, the oldest first.

    `none` gives those of the last `grace_s` seconds only: what is later than that was missed. Never more than `most`.
    """
    if catch_up is CatchUp.LAST:
        return timing.latest(last_us, now_us, 1)
    if catch_up is CatchUp.NONE:
        last_us = max(last_us, now_us - int(grace_s * SECOND_US) - 1)
    return timing.latest(last_us, now_us, most)
