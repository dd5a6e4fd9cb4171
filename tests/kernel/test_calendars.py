"""Calendars: moments in the time of a place, over every zone, through every change of its clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega import InputError
from omega.kernel.calendars import (
    DAY_US,
    HORIZON_US,
    MAX_DAYS,
    SECOND_US,
    Calendar,
    CatchUp,
    Closed,
    Timing,
    due,
    stamp,
    zone_of,
)

ZONES = sorted(available_timezones() - {"Factory", "localtime", "posixrules"})
NAMED = ("30 2 * * *", "0 0 * * *", "59 23 L * *", "15 1,2,3 * * *", "0 12 * * mon-fri", "0 3 1 jan *", "0 0 29 2 *", "7 4 * * 5#2")
EVERY_HOUR = ("* * * * *", "*/5 * * * *", "30 * * * *", "0 * * * sun", "*/10 * * * * *")
MOMENTS = st.integers(2 * DAY_US, 4_000_000_000 * SECOND_US)


def at(text: str) -> int:
    """A moment from ISO 8601 with its offset."""
    return int(datetime.fromisoformat(text).timestamp()) * SECOND_US


def local(moment: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).astimezone(ZoneInfo(zone))


def moments(timing: Timing, start: str, count: int) -> list[str]:
    found, moment = [], at(start)
    for _ in range(count):
        following = timing.next_after(moment)
        assert following is not None and following > moment
        moment = following
        found.append(stamp(moment))
    return found


# -- daylight saving


@pytest.mark.promise("TIME-01")
def test_a_skipped_moment_falls_on_the_end_of_the_gap_once() -> None:
    timing = Timing(cron="30 2 * * *", zone="America/New_York")
    assert moments(timing, "2026-03-07T00:00-05:00", 3) == ["2026-03-07T07.30Z", "2026-03-08T07.00Z", "2026-03-09T06.30Z"]


@pytest.mark.promise("TIME-01")
def test_several_skipped_moments_are_one() -> None:
    timing = Timing(cron="0,15,30,45 2 * * *", zone="Europe/Berlin")
    assert moments(timing, "2026-03-29T00:00+01:00", 2) == ["2026-03-29T01.00Z", "2026-03-30T00.00Z"]


@pytest.mark.promise("TIME-01")
def test_a_moment_that_comes_twice_falls_on_the_first() -> None:
    timing = Timing(cron="30 1 * * *", zone="America/New_York")
    assert moments(timing, "2026-10-31T12:00-04:00", 2) == ["2026-11-01T05.30Z", "2026-11-02T06.30Z"]


@pytest.mark.promise("TIME-01")
def test_a_rule_for_every_hour_follows_elapsed_time() -> None:
    timing = Timing(cron="30 * * * *", zone="America/New_York")
    assert moments(timing, "2026-11-01T00:00-04:00", 4) == [f"2026-11-01T0{hour}.30Z" for hour in (4, 5, 6, 7)]
    assert moments(timing, "2026-03-08T00:45-05:00", 3) == [f"2026-03-08T0{hour}.30Z" for hour in (6, 7, 8)]


def test_a_day_that_a_country_left_out() -> None:
    """Samoa had no 30 December 2011: what falls on it falls on the first moment of the 31st, with that day's own."""
    timing = Timing(cron="0 0 * * *", zone="Pacific/Apia")
    found = moments(timing, "2011-12-29T00:00-10:00", 2)
    assert [local(at(each.replace(".", ":").replace("Z", "+00:00")), "Pacific/Apia").day for each in found] == [31, 1]


@pytest.mark.promise("TIME-02")
@settings(max_examples=120, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(NAMED), MOMENTS)
def test_named_hours_come_once_a_local_day_in_every_zone(zone: str, cron: str, start: int) -> None:
    """Forward, on a matching local time or on the end of a gap; asking from any moment in between gives the same."""
    timing, moment = Timing(cron=cron, zone=zone), start
    plain = Timing(cron=cron)
    for _ in range(4):
        following = timing.next_after(moment)
        if following is None:
            return
        assert following > moment
        assert timing.next_after((moment + following) // 2) == following and timing.next_after(following - 1) == following
        shows = local(following, zone)
        as_utc = at(shows.replace(tzinfo=UTC).isoformat())
        if as_utc >= HORIZON_US:  # there the clocks of UTC have no rule any more
            return
        if plain.next_after(as_utc - 1) != as_utc:
            before = local(following - SECOND_US, zone)
            assert shows.utcoffset() != before.utcoffset(), "neither a time of the rule nor the end of a gap"
            missed = plain.next_after(at(before.replace(tzinfo=UTC).isoformat()))
            assert missed is not None and missed < as_utc, "nothing was skipped"
        moment = following


@pytest.mark.promise("TIME-02")
@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(EVERY_HOUR), MOMENTS)
def test_every_hour_rules_hold_exactly_when_the_clock_shows_them(zone: str, cron: str, start: int) -> None:
    """Against brute force: each second (or minute) of an hour and a half around, by what the zone's clock shows."""
    start -= start % (60 * SECOND_US)
    step = 10 * SECOND_US if cron.count(" ") == 5 else 60 * SECOND_US
    timing, plain = Timing(cron=cron, zone=zone), Timing(cron=cron)
    wanted = []
    for moment in range(start + step, start + 5_400 * SECOND_US, step):
        shows = at(local(moment, zone).replace(tzinfo=UTC, fold=0).isoformat())
        if plain.next_after(shows - 1) == shows:
            wanted.append(moment)
    found, moment = [], timing.next_after(start)
    while moment is not None and moment < start + 5_400 * SECOND_US:
        found.append(moment)
        moment = timing.next_after(moment)
    odd = local(start, zone).utcoffset() or timedelta()
    if odd.total_seconds() % 60 == 0 and local(start + 5_400 * SECOND_US, zone).utcoffset() == odd:
        assert found == wanted
    else:  # the offset changes in between, or is one of seconds, which the grid above does not meet
        assert set(wanted) <= set(found)


@pytest.mark.promise("TIME-02")
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/20 * * * *"])
@pytest.mark.parametrize("year", [2011, 2026])
def test_every_change_of_every_zone(cron: str, year: int) -> None:
    """Around each change of clocks of a year: forward, nothing twice, and nothing farther apart than a day and the gap."""
    begin, end = at(f"{year}-01-01T00:00+00:00"), at(f"{year + 1}-01-01T00:00+00:00")
    longest = (2 * DAY_US + 3_600 * SECOND_US) if cron.startswith("30") else 1_200 * SECOND_US
    for zone in ZONES[::6]:
        for change in changes(zone, begin, end):
            timing, moment = Timing(cron=cron, zone=zone), change - 7_200 * SECOND_US
            while moment < change + 7_200 * SECOND_US:
                following = timing.next_after(moment)
                assert following is not None and moment < following <= moment + longest, (zone, stamp(moment))
                moment = following


@pytest.mark.slow
@pytest.mark.promise("TIME-02")
@pytest.mark.parametrize("part", range(8))
def test_all_changes_of_all_zones_of_a_lifetime(part: int) -> None:
    """Each zone from 1970 to 2037: around each change the daily moment comes once a local day, and nothing lies behind.

    Where a whole day was left out (a country changed sides of the date line) its moment falls on the beginning of the next day, beside that
    day's own.
    """
    begin, end = at("1970-02-01T00:00+00:00"), at("2037-12-01T00:00+00:00")
    for zone in ZONES[part::8]:
        timing = Timing(cron="30 2 * * *", zone=zone)
        for change in changes(zone, begin, end, days=4):
            days, moment = [], change - 2 * DAY_US
            while moment < change + 6 * DAY_US:
                following = timing.next_after(moment)
                assert following is not None and moment < following, (zone, stamp(moment))
                moment = following
                days.append(local(moment, zone).date())
            twice = len(days) - len(set(days))
            assert twice == (1 if left_out_a_day(zone, change) else 0), (zone, days)
            steps = {(later - earlier).days for earlier, later in pairwise(days)}
            assert steps <= ({0, 1, 2} if twice else {1}), (zone, days)


def left_out_a_day(zone: str, change: int) -> bool:
    before, after = (local(moment, zone).utcoffset() or timedelta() for moment in (change, change + 4 * DAY_US))
    return after - before >= timedelta(hours=20)


def changes(zone: str, begin: int, end: int, days: int = 1) -> list[int]:
    """Moments, so many days apart, after which the offset of a zone differs."""
    moments = range(begin, end, days * DAY_US)
    offsets = [local(moment, zone).utcoffset() for moment in moments]
    return [moment for moment, (earlier, later) in zip(moments, pairwise(offsets), strict=False) if earlier != later]


# -- expressions


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("@daily", "2026-11-22T00.00Z"),
        ("@Hourly", "2026-11-21T07.00Z"),
        ("*/15 9-17 * * MON-FRI", "2026-11-23T09.00Z"),
        ("0 0 L * *", "2026-11-30T00.00Z"),
        ("0 0 LW * *", "2026-11-30T00.00Z"),
        ("0 6 * * FRI#1", "2026-12-04T06.00Z"),
        ("0 6 * * 5L", "2026-11-27T06.00Z"),
        ("30 0 6 * * *", "2026-11-22T06.00.30Z"),
        ("0 0 29 2 *", "2028-02-29T00.00Z"),
    ],
)
def test_expressions(cron: str, first: str) -> None:
    assert moments(Timing(cron=cron), "2026-11-21T06:30+00:00", 1) == [first]


@pytest.mark.promise("TIME-03")
@pytest.mark.parametrize(
    "cron", ["", " ", "* * * *", "60 * * * *", "0 0 30 2 *", "0 0 * * 8", "x y z a b", "*/0 * * * *", "5-1 * * * *", "* " * 200, "@never"]
)
def test_bad_expressions_are_input_errors(cron: str) -> None:
    with pytest.raises(InputError) as caught:
        Timing(cron=cron)
    assert caught.value.code == "OMG-I001"


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789*/,-#LW MONabc@", max_size=24))
def test_any_text_is_a_rule_or_an_input_error(text: str) -> None:
    try:
        found = Timing(cron=text).next_after(0)
    except InputError as error:
        assert error.code == "OMG-I001"
    else:
        assert found is None or found > 0


@pytest.mark.promise("TIME-03")
@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "America", "localtime", "x" * 5_000, "a\0b"])
def test_bad_zones_are_input_errors(zone: str) -> None:
    with pytest.raises(InputError):
        zone_of(zone)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"cron": "@daily", "every_s": 5},
        {"every_s": -1},
        {"every_s": True},
        {"cron": "* * * * *", "calendar": Calendar(), "closed": Closed.NEXT},
        {"every_s": 60, "closed": Closed.NEXT},
        {"cron": "@daily", "jitter_s": -1},
        {"cron": "@daily", "except_us": [(5, 5)]},
        {"cron": "@daily", "ends_us": 1 << 70},
    ],
)
def test_what_makes_no_sense_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Timing(**facts)  # type: ignore[arg-type]


# -- calendars


def test_open_days() -> None:
    calendar = Calendar(holidays=("12-25", "2026-12-28..2026-12-31", "2026-11-20"), extra=("2026-11-21",))
    closed = ["2026-12-25", "2030-12-25", "2026-12-28", "2026-12-30", "2026-12-31", "2026-11-20", "2026-11-22"]
    assert not any(calendar.is_open(date.fromisoformat(day)) for day in closed)
    assert all(calendar.is_open(date.fromisoformat(day)) for day in ("2026-11-21", "2027-01-01", "2026-12-24"))
    assert Calendar(**calendar.record()) == calendar


@pytest.mark.parametrize(
    ("closed", "found"),
    [
        (Closed.SKIP, ["2026-11-30T08.00Z", "2026-12-31T08.00Z", "2027-03-31T07.00Z"]),
        (Closed.PREVIOUS, ["2026-11-30T08.00Z", "2026-12-31T08.00Z", "2027-01-29T08.00Z"]),
        (Closed.NEXT, ["2026-11-30T08.00Z", "2026-12-31T08.00Z", "2027-02-01T08.00Z"]),
    ],
)
def test_a_closed_day_leaves_out_or_moves(closed: Closed, found: list[str]) -> None:
    timing = Timing(cron="0 9 L * *", zone="Europe/Berlin", calendar=Calendar(), closed=closed)
    assert moments(timing, "2026-11-21T00:00+01:00", 3) == found


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Closed)), MOMENTS, st.sets(st.integers(0, 6), min_size=1), st.sampled_from(["0 9 * * *", "0 9 1,15 * *"]))
def test_calendars_only_go_forward_and_only_on_open_days(closed: Closed, start: int, weekdays: set[int], cron: str) -> None:
    calendar = Calendar(weekdays=sorted(weekdays))
    timing, moment = Timing(cron=cron, zone="Europe/Berlin", calendar=calendar, closed=closed), start
    for _ in range(5):
        following = timing.next_after(moment)
        if following is None:
            return
        assert following > moment and calendar.is_open(local(following, "Europe/Berlin").date())
        assert timing.next_after((moment + following) // 2) == following
        moment = following


@pytest.mark.slow
def test_a_calendar_that_never_opens_ends() -> None:
    assert Timing(cron="* * * * * *", calendar=Calendar(weekdays=())).next_after(0) is None
    assert Timing(cron="0 9 * * *", calendar=Calendar(weekdays=()), closed=Closed.NEXT).next_after(0) is None


def test_periods_starts_and_ends() -> None:
    start = at("2026-11-21T00:00+00:00")
    hour = 3_600 * SECOND_US
    timing = Timing(every_s=3_600, starts_us=start, ends_us=start + 6 * hour, except_us=[(start + hour, start + 4 * hour)])
    assert [moment // hour for moment in timing.latest(0, start + DAY_US, 10)] == [start // hour, start // hour + 4, start // hour + 5]
    assert Timing(at_us=start).next_after(start - 1) == start and Timing(at_us=start).next_after(start) is None
    assert Timing.from_record(timing.record()) == Timing(
        every_s=3_600, starts_us=start, ends_us=start + 6 * hour, except_us=((start + hour, start + 4 * hour),)
    )


@pytest.mark.parametrize("days", [["2026-02-30"], ["tomorrow"], ["2026-12-31..2026-01-01"], ["13-01"], ["2026-01-01"] * (MAX_DAYS + 1)])
def test_bad_days_are_input_errors(days: list[str]) -> None:
    with pytest.raises(InputError):
        Calendar(holidays=days)


@pytest.mark.parametrize(
    "record", [{}, {"cron": "@daily", "more": 1}, {"cron": "@daily", "closed": "x"}, {"cron": "@daily", "except_us": 5}]
)
def test_bad_records_are_input_errors(record: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Timing.from_record(record)


# -- catching up


@pytest.mark.promise("TIME-04")
def test_what_was_missed_is_made_up_for_as_asked() -> None:
    timing, now = Timing(cron="0 * * * *"), at("2026-11-21T12:00+00:00")
    long_ago = now - 400 * DAY_US
    assert due(timing, CatchUp.LAST, long_ago, now + 30 * 60 * SECOND_US) == [now]
    assert due(timing, CatchUp.NONE, long_ago, now) == [now]
    assert due(timing, CatchUp.NONE, long_ago, now + 61 * SECOND_US) == []
    assert len(due(timing, CatchUp.ALL, long_ago, now, most=7)) == 7
    assert due(timing, CatchUp.ALL, now - 3 * 3_600 * SECOND_US, now) == [now - hours * 3_600 * SECOND_US for hours in (2, 1, 0)]
    assert due(timing, CatchUp.ALL, now, now) == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["*/7 * * * *", "0 9 * * mon", "0 0 1 * *"]), MOMENTS, st.integers(0, 500 * DAY_US), st.integers(1, 20))
def test_the_latest_are_those_that_a_walk_from_the_start_finds(cron: str, start: int, span: int, most: int) -> None:
    timing, walked = Timing(cron=cron), []
    span = min(span, 3 * DAY_US) if cron.startswith("*/7") else span
    moment = timing.next_after(start)
    while moment is not None and moment <= start + span:
        walked.append(moment)
        moment = timing.next_after(moment)
    assert timing.latest(start, start + span, most) == walked[-most:]


def test_jitter_is_bounded_and_the_same_everywhere() -> None:
    timing = Timing(cron="@hourly", jitter_s=30)
    drawn = {timing.delay_us(f"schedule-{number}", 5) for number in range(200)}
    assert len(drawn) > 150 and all(0 <= delay <= 30 * SECOND_US for delay in drawn)
    assert timing.delay_us("a", 5) == Timing(cron="@daily", jitter_s=30).delay_us("a", 5)
    assert Timing(cron="@hourly").delay_us("a", 5) == 0
