"""Effectors come into being when they are asked for, each at the port that it says it serves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omega.host.embedded import Omega
from omega.host.wiring import Effectors, given
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import DefinitionError
from omega.kernel.verdict import Permit


class Bell:
    port = "bell"

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        permit.spend(self.port)
        return None, Receipt()


def test_each_is_made_once_when_it_is_asked_for() -> None:
    made: list[str] = []

    def ring() -> Bell:
        made.append("bell")
        return Bell()

    effectors = Effectors({"bell": ring}, *given([]))
    assert "bell" in effectors and list(effectors) == ["bell"] and len(effectors) == 1
    assert effectors.get("horn") is None and effectors.made() == () and made == []
    assert effectors["bell"] is effectors["bell"]
    assert made == ["bell"] and effectors.made() == (effectors["bell"],)


def test_a_port_is_served_by_one() -> None:
    with pytest.raises(DefinitionError) as caught:
        Effectors({"bell": Bell}, *given([Bell()]))
    assert caught.value.code == "OMG-F003" and "bell" in str(caught.value)


def test_each_serves_the_port_that_it_is_found_at(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            effectors = omega.world.effectors
            assert {"process", "files", "mcp", "model", "models", "tenants", "arrangements"} <= set(effectors)
            assert {port: effectors[port].port for port in effectors} == {port: port for port in effectors}

    asyncio.run(whole())


@pytest.mark.promise("REPO-11")
def test_an_engine_loads_what_it_uses() -> None:
    """Opening the engine's module loads neither pydantic nor the programs behind ports that nobody has asked for."""
    heavy = (
        "pydantic", "aiohttp", "uvloop", "sqlalchemy", "mcp", "omega.adapters.mcp.session", "omega.adapters.models.effector",
        "omega.adapters.webhooks.effector", "omega.host.kinds", "omega.contracts.publishing",
    )  # fmt: skip
    script = f"import sys, omega.host.embedded; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert loaded.strip() == "[]"
