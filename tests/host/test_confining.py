"""The caps of a plan, from the tenant's document down to a real program: what a sandbox starts is ended when it goes over, and is told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hosted import Installation
from omega.adapters.process import NO_CAPS, Caps
from omega.features.tenancy.plans import PLANS
from omega.host.confining import Confining
from omega.host.doctor import examine
from omega.kernel.context import Context
from omega.kernel.effects import Command
from omega.kernel.errors import from_record
from omega.kernel.flow import flow
from omega.kernel.ports import Call

HUNGRY = "import time\nkept = []\nwhile True:\n    kept.append(b'x' * (20 << 20))\n    time.sleep(0.01)"


@flow(name="eats", effect="read", needs="process:run")
async def eats(ctx: Context, code: str) -> int:
    return int((await ctx.touch(Command(argv=(sys.executable, "-I", "-S", "-c", code), timeout_s=60))).code)


@pytest.mark.promise("TEN-32")
@pytest.mark.slow
def test_what_a_sandbox_starts_is_held_to_its_plan_and_shown_to_the_operator(tmp_path: Path) -> None:
    async def whole() -> str:
        async with Installation.open(tmp_path / "home") as here:
            tenant = await here.tenant("trial", plan="sandbox", hours=24)
            outcome = await here.omega.road.call(Call(passport=here.passport(tenant), flow=eats, input=HUNGRY))
            assert outcome.error is not None
            error = from_record(outcome.error)
            assert error.code == "OMG-P008" and "512 MB" in error.cause, error
            fine = await here.omega.road.call(Call(passport=here.passport(tenant), flow=eats, input="pass"))
            assert fine.value == 0
            return tenant

    tenant = asyncio.run(whole())
    told = [finding.text for finding in examine(tmp_path / "home", servers=False) if finding.what == "caps"]
    assert told == [f"each program, with all it starts: {tenant} 60 s of processor, 512 MB, 32 processes"]


class Shelf:
    """Documents that say how often they were read."""

    def __init__(self, limits: Mapping[str, Any]) -> None:
        self.limits, self.reads = limits, 0

    def document(self, kind: str, name: str) -> bytes | None:
        import json

        self.reads += 1
        return json.dumps({"limits": dict(self.limits)}).encode() if (kind, name) == ("tenant", "ten_a") else None

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return []


def test_caps_are_those_of_the_plan_and_a_server_is_started_anew_only_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omega.host.confining.time.monotonic", lambda: now[0])
    shelf = Shelf(PLANS["sandbox"].limits())
    confining = Confining(shelf)
    assert asdict(confining.caps("ten_a")) == {"cpu_s": 60, "memory_mb": 512, "processes": 32}
    first = confining.launcher("ten_a")
    assert first is not None and confining.launcher("ten_a") is first and shelf.reads == 1
    shelf.limits, now[0] = PLANS["team"].limits(), 2.0
    assert confining.caps("ten_a") == Caps(cpu_s=600, memory_mb=4_096, processes=256)
    assert confining.launcher("ten_a") is not first
    assert (confining.caps("ten_b"), confining.launcher("ten_b")) == (NO_CAPS, None)
    assert confining.caps("local") == NO_CAPS
