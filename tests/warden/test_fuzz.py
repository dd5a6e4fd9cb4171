"""Policy files that were tampered with at random, for longer: two minutes in the slow suite, an hour in the soak."""

from __future__ import annotations

import os
import time

import pytest

from warden.test_attacks import fuzz

SLOW_S = float(os.environ.get("OMEGA_FUZZ_S", "20"))


@pytest.mark.slow
@pytest.mark.promise("WARD-12")
def test_policies_tampered_with_for_a_while() -> None:
    count, loaded = fuzz(SLOW_S, seed=int(time.time()))
    assert count > 10
    assert loaded < count


@pytest.mark.soak
def test_policies_tampered_with_for_an_hour() -> None:
    seconds = float(os.environ.get("OMEGA_FUZZ_SOAK_S", "3600"))
    count, loaded = fuzz(seconds, seed=int(time.time()))
    print(f"fuzz: policies, {count} sets in {seconds:.0f} s, {loaded} loaded, no crash, no allow with an error")
    assert count > 100
