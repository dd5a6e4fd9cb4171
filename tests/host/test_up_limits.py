"""What a hosted tenant used today counts after a start too: a process that is killed and comes back gives nobody their limit anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hosted import Installation
from omega.host.limits import LIMIT

NOTICE = {"type": "review:asked", "key": "design", "data": {}}


@pytest.mark.slow
@pytest.mark.promise("DOOR-19")
def test_a_start_counts_what_every_tenant_has_used_today(tmp_path: Path) -> None:
    async def main() -> None:
        async with Installation.open(tmp_path / "home") as here:
            # a publication is two touches
            body = {"of": "requests", "amount": 4, "window_s": 86_400, "tenant": "ten_small", "principal": "", "flow": ""}
            await here.omega.arrange(LIMIT, "little", body)
            passport = here.passport("ten_small")
            assert [await here.refusal("events.publish", NOTICE, passport) for _ in range(3)] == ["", "", "OMG-W004"]
        async with Installation.open(tmp_path / "home") as again:
            assert await again.refusal("events.publish", NOTICE, again.passport("ten_small")) == "OMG-W004"
            assert await again.refusal("events.publish", NOTICE, again.passport("ten_other")) == ""

    asyncio.run(main())
