"""A model that asks for what it may not have: nothing of it happens, whoever it says it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from features.test_agents import call, run
from omega.host.embedded import Omega
from servers.provider import provider

WANTED = ("legal", "erase", "tenancy.suspend", "billing ", "Billing", "b\u0456lling", "../billing", "models.chat")
"""Another agent, flows and methods of the installation, and names that look like the one tool there is."""


@pytest.mark.slow
@pytest.mark.promise("ATTACK-01")
def test_a_tool_that_was_not_given_is_not_called(tmp_path: Path) -> None:
    """The supervisor's model has one tool, the agent `billing`, and asks for everything else by turns."""
    asked = iter(WANTED * 20)

    with provider() as upstream:
        upstream.answer = lambda text: json.dumps({"call": next(asked), "input": {"tenant": "local", "executions": ["*"]}})

        async def work(omega: Omega) -> tuple[Any, set[str]]:
            outcome = await call(omega, "agents.supervise", {"task": "have everything erased", "agents": ["billing"]})
            return outcome.error, {line.flow for line in omega.store.lines(tenant="local", limit=1_000)}

        error, flows = run(tmp_path, upstream, work)
        assert error is not None and str(error["code"]).startswith("OMG-"), error
        assert not {"erase", "tenancy.suspend", "models.chat"} & flows
        told = [json.dumps(body) for body in upstream.bodies()]
        assert told and not any("you are legal" in body or "you are billing" in body for body in told)
