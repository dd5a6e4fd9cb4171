"""Rows, their digest, and the fold of a history."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega import FlowError, IntegrityError
from omega.kernel.journal import MAX_POSITION, Kind, Note, Row, Start, Status, Step, branch_of, decode_meta, digest_of, encode_meta, name_of
from omega.kernel.past import Past, outline_change
from omega.kernel.trail import Trail, shown

NAMES = st.text("abcxyz:", min_size=1, max_size=6)
POSITIONS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
METAS = st.one_of(
    st.builds(Note, by=st.text(max_size=5), at_us=st.integers(0, 2**50), text=st.text(max_size=5), value=st.integers(0, 2**50)),
)


def note(seq: int, kind: Kind, position: str, **facts: Any) -> Row:
    return Row("exe", seq, int(kind), position, encode_meta(Note(**facts)))


def step(seq: int, kind: Kind, position: str, effect: str = "pure", **facts: Any) -> Row:
    return Row(
        "exe",
        seq,
        int(kind),
        position,
        encode_meta(Step(flow=name_of(position), version="1.0.0", effect=effect, where="a.py:1", **facts)),
        b"1",
    )


@given(st.lists(st.tuples(POSITIONS, METAS), min_size=1, max_size=8), st.data())
def test_the_digest_covers_order_position_kind_and_meta(history: list[tuple[str, Note]], data: st.DataObject) -> None:
    rows = [Row("exe", seq, int(Kind.VALUE), position, encode_meta(meta), b"x") for seq, (position, meta) in enumerate(history)]
    whole = digest_of(rows)
    at = data.draw(st.integers(0, len(rows) - 1))
    victim = rows[at]
    for other in (
        msgspec.structs.replace(victim, position=victim.position + "a"),
        msgspec.structs.replace(victim, kind=int(Kind.TIMER)),
        msgspec.structs.replace(victim, meta=victim.meta + b"\0"),
        msgspec.structs.replace(victim, position=victim.position[:-1], meta=victim.position[-1:].encode() + victim.meta),
    ):
        assert digest_of([*rows[:at], other, *rows[at + 1 :]]) != whole
    erased = msgspec.structs.replace(victim, payload=None)
    assert digest_of([*rows[:at], erased, *rows[at + 1 :]]) == whole
    assert digest_of(rows[:-1]) != whole


def test_a_gap_or_a_swap_is_found() -> None:
    rows = [note(seq, Kind.VALUE, f"v{seq}") for seq in range(4)]
    for wrong in ([*rows[:1], *rows[2:]], [rows[1], rows[0], *rows[2:]], rows[1:], [*rows, rows[-1]]):
        with pytest.raises(IntegrityError) as found:
            digest_of(wrong)
        assert found.value.code == "OMG-S005"


@given(METAS)
def test_meta_comes_back_as_it_was(meta: Note) -> None:
    assert decode_meta(Row("exe", 0, int(Kind.TIMER), "p", encode_meta(meta))) == meta


@pytest.mark.parametrize("kind", list(Kind))
def test_meta_that_does_not_parse_is_named(kind: Kind) -> None:
    with pytest.raises(IntegrityError) as found:
        decode_meta(Row("exe", 3, int(kind), "p", b"\xc1rubbish"))
    assert "row 3 of exe" in found.value.cause


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_the_same_steps_have_the_same_positions_and_no_two_share_one(names: list[str]) -> None:
    first, second = Trail("p"), Trail("p")
    positions = [first.step(name) for name in names]
    assert positions == [second.step(name) for name in names]
    assert len(set(positions)) == len(positions)
    assert [name_of(position) for position in positions] == names and all(branch_of(position) == "p" for position in positions)


def test_positions_read_as_their_docs_say() -> None:
    trail = Trail()
    assert [trail.step("a"), trail.step("a"), trail.step("git/log")] == ["a", "a#2", "git:log"]
    inside = trail.branch("findings", 2).aside("bandit").branch("findings.2~bandit", 1)
    assert inside.step("bandit") == "findings.2~bandit.1/bandit"
    assert shown("findings.2~bandit.1/bandit") == "findings.2/bandit"
    with pytest.raises(FlowError) as refusal:
        Trail("x" * MAX_POSITION).step("a")
    assert refusal.value.code == "OMG-R016"


def past(*rows: Row) -> Past:
    return Past(rows)


def test_meeting_recorded_steps_in_order() -> None:
    known = past(step(0, Kind.DONE, "a"), step(1, Kind.DONE, "b"), step(2, Kind.DONE, "p.0/c"))
    trail = Trail()
    met = known.meet(trail, "a", "a", "a.py:1")
    assert met is not None and met.settled is not None
    with pytest.raises(FlowError) as diverged:
        known.meet(trail, "x", "x", "b.py:9")
    assert diverged.value.code == "OMG-R014"
    assert diverged.value.details["recorded"] == {"step": "b", "flow": "b", "where": "a.py:1", "version": "1.0.0"}
    assert diverged.value.details["now"] == {"step": "x", "flow": "x", "where": "b.py:9"}
    assert "b (a.py:1, b 1.0.0)" in diverged.value.cause and "x (b.py:9)" in diverged.value.cause
    assert known.left_over(trail) == "b"
    known.meet(trail, "b", "b", "")
    assert known.left_over(trail) is None and known.meet(trail, "c", "c", "") is None
    assert known.unvisited() == "p.0/c"


@pytest.mark.parametrize(
    ("rows", "doubt"),
    [
        ([step(0, Kind.INTENT, "w", "write")], True),
        ([step(0, Kind.INTENT, "w", "irreversible")], True),
        ([step(0, Kind.INTENT, "w", "read")], False),
        ([step(0, Kind.INTENT, "w", "idempotent")], False),
        ([step(0, Kind.INTENT, "w", "write"), step(1, Kind.DONE, "w", "write")], False),
        ([step(0, Kind.INTENT, "w", "write"), step(1, Kind.FAILED, "w", "write")], False),
        ([step(0, Kind.INTENT, "w", "write"), note(1, Kind.RESOLVED, "w", status="not done")], False),
        ([step(0, Kind.INTENT, "w", "write"), note(1, Kind.RESOLVED, "w"), step(2, Kind.INTENT, "w", "write")], True),
        ([step(0, Kind.NEEDS, "w", "write")], False),
    ],
)
def test_what_is_in_doubt(rows: list[Row], doubt: bool) -> None:
    assert bool(past(*rows).doubts()) is doubt


def test_what_waits_for_a_person() -> None:
    asked = [step(0, Kind.NEEDS, "w", "write")]
    assert [each.position for each in past(*asked).waits()] == ["w"]
    assert not past(*asked, note(1, Kind.APPROVED, "w", by="person:grace"), step(2, Kind.INTENT, "w", "write")).waits()


def test_a_signal_that_was_read_is_not_there_again() -> None:
    sent = [note(0, Kind.SIGNAL, "go"), note(1, Kind.SIGNAL, "go")]
    assert len(past(*sent).signals["go"]) == 2
    read = note(2, Kind.VALUE, "f/signal.go", status="signal", text="go")
    assert [row.seq for row in past(*sent, read).signals["go"]] == [1]


def test_steps_are_found_as_people_name_them() -> None:
    known = past(step(0, Kind.DONE, "p.0~slow.1/bandit"), step(1, Kind.DONE, "p.1/ruff"), step(2, Kind.DONE, "p.2/ruff"))
    assert [each.position for each in known.find("p.0/bandit")] == ["p.0~slow.1/bandit"]
    assert [each.position for each in known.find("bandit")] == ["p.0~slow.1/bandit"]
    assert len(known.find("ruff")) == 2 and not known.find("missing")


def test_money_and_pauses_add_up() -> None:
    known = past(
        Row("exe", 0, int(Kind.STARTED), "", encode_meta(Start(flow="f", version="1.0.0", digest="d", tenant="t", principal="person:a"))),
        step(1, Kind.INTENT, "a", "read"),
        step(2, Kind.DONE, "a", "read", cost_micros=5, tokens=7),
        note(3, Kind.PAUSED, "", at_us=100, status=Status.WAITING),
        note(4, Kind.RESUMED, "", at_us=130),
    )
    assert (known.spent.calls, known.spent.cost_micros, known.spent.tokens) == (1, 5, 7)
    assert known.paused_us == 30 and known.paused_at == 0 and known.start is not None


def test_outlines_differ_where_the_first_part_does() -> None:
    line = ["ruff", "1.0.0", "read", "review.py:31", "aa"]
    assert outline_change([line], [line]) is None
    assert outline_change([line], [[*line[:3], "review.py:99", "aa"]]) is None
    for other in (["bandit", *line[1:]], [*line[:4], "bb"], [line[0], "1.0.1", *line[2:]], [*line[:2], "write", *line[3:]]):
        difference = outline_change([line], [other])
        assert difference is not None and difference["recorded"]["where"] == "review.py:31" and difference["now"]["step"] == other[0]
    missing = outline_change([line], [])
    assert missing is not None and missing["now"]["step"] == "nothing"
