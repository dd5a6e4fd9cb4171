"""Chores never end because of an error, and never fail unseen."""

from __future__ import annotations

import asyncio
import logging

import pytest

from omega.host import a2a_telling
from omega.host.chores import FIRST_PAUSE_S, LONGEST_PAUSE_S, WELL_S, Chores
from omega.host.webhooks import JITTER, WAITS_S
from omega.kernel.errors import StorageError


def test_a_chore_that_fails_is_told_and_begun_anew_after_longer_and_longer_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, pauses, done = [0.0], [], []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    async def chore() -> None:
        done.append(now[0])
        if len(done) == 10:
            now[0] += WELL_S  # a long time without an error
        if len(done) < 12:
            raise ValueError("a value that nobody may see")

    monkeypatch.setattr("omega.host.chores.asyncio.sleep", pause)
    chores = Chores(clock=lambda: now[0])
    with caplog.at_level(logging.ERROR, logger="omega.host"):
        asyncio.run(chores.keep("sweeping", chore))
    assert len(done) == 12
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[8] == LONGEST_PAUSE_S and pauses[9] == FIRST_PAUSE_S, "what was well for long begins with a short pause again"
    assert chores.failing()["sweeping"].startswith("ValueError at test_chores.py:")
    now[0] += WELL_S
    assert chores.failing() == {}
    assert len(caplog.records) == 11 and "nobody may see" not in caplog.text


def test_a_store_that_is_away_is_no_news_for_the_log_but_for_health(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def chore() -> None:
        tried.append(1)
        if len(tried) < 3:
            raise StorageError("OMG-S004", "away")

    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr("omega.host.chores.asyncio.sleep", at_once)
    chores = Chores()
    with caplog.at_level(logging.INFO, logger="omega.host"):
        asyncio.run(chores.keep("letters", chore))
    assert (len(tried), chores.failing(), caplog.records) == (3, {"letters": "OMG-S004"}, [])


def test_a_configuration_outlives_every_attempt_to_deliver_under_it() -> None:
    assert sum(WAITS_S) * (1 + JITTER) < a2a_telling.KEPT_S
