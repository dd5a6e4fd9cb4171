"""A short soak in every full verification: the script itself stays sound, and a few tens of kills are always made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_what_fuzz_tests_say_is_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import soak

    said = [
        "fuzz: a2a, seed 7: 4203 attacks, each refused or answered, nothing of others shown",
        "fuzz: mcp newer, seed 12: 17 attacks, each refused or answered, nothing of others shown",
        "fuzz: policies, 1,234 sets in 60 s, 7 loaded, no crash, no allow with an error",
        "PASSED tests/attacks/test_fuzz.py",
    ]
    assert soak.cases(said) == {"a2a": 4_203, "mcp newer": 17, "policies": 1_234}


@pytest.mark.slow
@pytest.mark.promise("RUN-01")
@pytest.mark.promise("RUN-06")
@pytest.mark.promise("RUN-15")
def test_a_short_soak_finds_nothing() -> None:
    counts = ["--kills", "15", "--worker-kills", "0", "--seeds", "110", "--fuzz", "0", "--calls", "400", "--seed", "7"]
    command = [sys.executable, ROOT / "bench/soak.py", *counts, "--no-keep"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert run.returncode == 0, run.stderr[-4000:]
