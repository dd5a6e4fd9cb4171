"""Allowances for models over several engines on the same records: each uses its part, so together they stay within the amount."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.models.allowances import Allowance, Purse, limits_of, part_of
from omega.host.governing import ENGINE, GONE_US
from omega.host.models import FOLLOW_US, ModelShelf
from omega.kernel.budget import Spent
from omega.kernel.errors import Denied

DAY_US = 86_400_000_000


class Records:
    """Documents that several engines share."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.now_us = 1_000 * DAY_US

    def here(self, owner: str) -> None:
        """That engine says that it is there."""
        self.kept[ENGINE, owner] = b"%d" % self.now_us


class Part:
    """One engine: its view of the records, and what it holds back."""

    def __init__(self, records: Records, owner: str, amount: int) -> None:
        self.owner, self._records = owner, records
        records.here(owner)
        self.shelf = ModelShelf(self, {}, lambda: records.now_us)
        self.purse = Purse(self.shelf)
        self._allowance = Allowance(who="tenant", tokens=amount)
        self.shelf.read()

    def documents(self, kind: str) -> list[tuple[str, bytes]]:
        return [(name, body) for (of, name), body in sorted(self._records.kept.items()) if of == kind]

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self._records.kept[kind, name] = body

    def drop_document(self, kind: str, name: str) -> bool:
        return self._records.kept.pop((kind, name), None) is not None

    @property
    def limits(self):
        return limits_of([self._allowance], "acme", "agent:x", self._records.now_us)

    def ask(self, tokens: int) -> bool:
        """Set so much aside; whether it was there."""
        try:
            self.purse.hold(self.limits, Spent(tokens=tokens), priced=True)
        except Denied as error:
            assert error.code == "OMG-W005"
            return False
        return True

    def answered(self, tokens: int, used: int) -> None:
        self.purse.settle(self.limits, Spent(tokens=tokens), Spent(tokens=used))

    def spend(self, tokens: int) -> bool:
        held = self.ask(tokens)
        if held:
            self.answered(tokens, tokens)
        return held


@pytest.mark.promise("MODEL-09")
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 100),
    st.integers(2, 3),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["ask", "ask", "end", "read"]), st.integers(1, 60)), max_size=40),
)
def test_engines_together_never_use_more_than_was_allowed(amount, number, moves) -> None:
    """Whatever each asks at once with the others, and however late it hears of what they used."""
    records = Records()
    parts = [Part(records, f"e{each}", amount) for each in range(number)]
    for part in parts:
        part.shelf.read()
    aside: list[list[int]] = [[] for _ in parts]
    for each, move, tokens in moves:
        part, held = parts[each % number], aside[each % number]
        if move == "read":
            part.shelf.read()
        elif move == "end" and held:
            part.answered(most := held.pop(), min(most, tokens))
        elif move == "ask" and part.ask(tokens):
            held.append(tokens)
    for part, held in zip(parts, aside, strict=True):
        for tokens in held:
            part.answered(tokens, tokens)
        part.shelf.read()
    (_, account), *_ = parts[0].limits
    assert all(part.shelf.spent(account).tokens <= amount for part in parts)


@pytest.mark.promise("MODEL-09")
def test_two_engines_that_ask_at_once_do_not_both_get_the_last_of_it() -> None:
    records = Records()
    first, second = Part(records, "a", 100), Part(records, "b", 100)
    first.shelf.read()
    assert first.ask(50)
    assert second.ask(50)
    assert not first.ask(1)
    assert not second.ask(1)


def test_an_engine_that_has_gone_leaves_its_part_and_its_count() -> None:
    records = Records()
    first, second = Part(records, "a", 100), Part(records, "b", 100)
    assert second.spend(20)
    records.now_us += GONE_US
    records.here("a")
    first.shelf.refresh()
    assert not first.ask(81)
    assert first.spend(80)


def test_an_engine_that_joins_gets_what_is_left_and_no_more() -> None:
    records = Records()
    first = Part(records, "a", 100)
    assert first.spend(70)
    second = Part(records, "b", 100)
    records.now_us += FOLLOW_US
    first.shelf.refresh()
    assert not first.ask(1), "the first is above its part already"
    assert not second.ask(31)
    assert second.spend(30)


def test_a_new_window_forgets_the_counts_before_it_and_nobody_elses() -> None:
    records = Records()
    part = Part(records, "a", 100)
    assert part.spend(100)
    records.kept["model-spent", "acme|agent:y|day 2000|day 1972-09-26|a"] = b'{"cost_micros":0,"tokens":1,"calls":1}'
    kept = {name for _, name in records.kept}
    records.now_us += DAY_US
    records.here("a")
    part.shelf.refresh()
    assert part.spend(100)
    names = {name for _, name in records.kept}
    assert len(kept - names) == 1
    assert len(names - kept) == 1


@settings(max_examples=100)
@given(st.integers(0, 1_000), st.lists(st.integers(0, 400), min_size=1, max_size=5), st.integers(0, 400))
def test_parts_fit_into_the_amount(amount, used, gone) -> None:
    parts = [part_of(amount, mine, [*used[:at], *used[at + 1 :]], gone) for at, mine in enumerate(used)]
    assert all(part >= 0 for part in parts)
    assert sum(used) + sum(parts) + gone <= max(amount, sum(used) + gone)
    assert part_of(amount, used[0], [], gone) == max(0, amount - gone - used[0])
