"""`kill -9` of the code review at random moments; see code_review_kills.py for what must hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drills.code_review_kills import drill

KILLS = int(os.environ.get("OMEGA_DRILL_KILLS", "20"))
SEED = int(os.environ.get("OMEGA_DRILL_SEED", "1"))


@pytest.mark.slow
@pytest.mark.promise("EX-05")
@pytest.mark.promise("RUN-01")
@pytest.mark.promise("RUN-15")
def test_a_review_that_is_killed_and_resumed_repeats_nothing_and_reports_the_same(tmp_path: Path) -> None:
    found = drill(tmp_path, KILLS, SEED)
    assert not found.wrong, (SEED, found)
    assert found.kills >= KILLS
