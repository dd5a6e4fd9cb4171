"""Nothing crosses tenants. Every method of every installed service is called with a passport of another tenant, with the ids of the first
one's things wherever an input has room for one. The list is made from the registry, so a new method is covered without anybody's
remembering it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hosted import Installation
from omega.host.discover import offers
from omega.kernel.errors import OmegaError
from omega.kernel.flow import flow
from omega.kernel.ports import Call, Search

MARK = "only-the-first-tenant-knows-this"
METHODS = sorted(f"{each.service}.{each.name}" for each in offers())


@flow(name="private")
def private(text: str) -> str:
    return text


async def _furnished(here: Installation) -> tuple[str, dict[str, str]]:
    """A tenant with one of everything, and the ids of it."""
    tenant = await here.tenant("first")
    owner = here.passport(tenant, "person:ada")
    key, _ = await here.key(tenant, "agent:first", name=MARK)
    await here.ask("tenancy.put_member", {"principal": "person:ada", "role": "admin", "name": MARK}, owner)
    await here.ask("tenancy.put_setting", {"name": "greeting", "value": MARK}, owner)
    await here.ask("tenancy.put_flag", {"name": "new-editor", "percent": 100}, owner)
    outcome = await here.omega.road.call(Call(passport=owner, flow=private, input=MARK))
    assert outcome.status == "done"
    return tenant, {"tenant": tenant, "key": key, "execution": outcome.execution, "principal": "person:ada"}


async def _everything(here: Installation, tenant: str) -> str:
    """All that a tenant has, as text."""
    owner = here.owner(tenant)
    found: dict[str, Any] = {name: await here.ask(f"tenancy.{name}", {}, owner) for name in ("keys", "members", "settings", "flags")}
    found["standing"] = await here.ask("tenancy.show", {"tenant": tenant})
    lines = here.omega.store.search(Search(tenant=tenant, principal="person:ada", limit=500))
    found["lines"] = [(line.execution, line.status, line.epoch) for line in lines]
    return json.dumps(found, sort_keys=True, default=str)


def _inputs(example: dict[str, Any], ids: dict[str, str]) -> list[dict[str, Any]]:
    """The example as it is, and with the first tenant's ids in place of its own."""
    return [example, {name: ids.get(name, value) for name, value in example.items()}, {**example, "tenant": ids["tenant"]}]


@pytest.mark.slow
@pytest.mark.promise("TEN-05")
def test_no_method_of_any_service_reaches_another_tenant(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            first, ids = await _furnished(here)
            second = await here.tenant("second", plan="own")
            reached: set[str] = set()
            before = await _everything(here, first)
            strangers = [
                here.passport(second, "person:eve"),
                here.passport(second, "person:ada"),
                here.passport(second, "person:eve", roles=("operator", "owner", "admin")),
                here.passport(second, "agent:first", roles=("writers",)),
            ]
            for offer in offers():
                for passport in strangers:
                    for value in _inputs(dict(offer.method.example), ids):
                        outcome = await here.omega.road.call(Call(passport=passport, flow=offer.flow, input=value, timeout_s=10))
                        told = json.dumps([outcome.value, outcome.error], default=str)
                        name = f"{offer.service}.{offer.name}"
                        if outcome.error is None:
                            reached.add(name)
                        else:
                            assert outcome.error["code"] != "OMG-W004", "a limit hides what this test is about"
                        assert MARK not in told and ids["execution"] not in told, name
                        assert not (first in told and outcome.error is None), name
            assert await _everything(here, first) == before
            assert {"insights.summary", "tenancy.keys", "tenancy.put_setting"} <= reached  # strangers do get at what is their own

    asyncio.run(work())


@pytest.mark.promise("TEN-05")
def test_executions_of_another_tenant_are_not_there(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            first, ids = await _furnished(here)
            second = await here.tenant("second")
            stranger = here.omega.world.authority.verify(here.passport(second), now=here.now_us / 1e6)
            for verb, body in (
                ("cancel", {}),
                ("signal", {"name": "go", "value": 1}),
                ("approve", {"step": "x"}),
                ("resolve", {"step": "x", "done": True}),
            ):
                with pytest.raises(OmegaError) as caught:
                    await here.omega.decide_anywhere(ids["execution"], verb, body, stranger)
                assert first not in str(caught.value.record())
            assert here.omega.store.search(Search(tenant=second, principal="person:ada")) == []

    asyncio.run(work())


def test_the_list_is_that_of_the_registry() -> None:
    assert {"tenancy.create", "tenancy.keys", "insights.summary"} <= set(METHODS)
