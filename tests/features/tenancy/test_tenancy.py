"""Tenancy: who may make tenants, keys and members, what is refused, and that each tenant sees its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosted import Installation, gone
from omega.features.tenancy.plans import PLANS
from omega.features.tenancy.service import is_on
from omega.kernel.errors import OmegaError

from .conftest import Run

DIGEST = "0" * 64


def test_a_tenant_is_made_listed_and_shown(installed: Run) -> None:
    async def work(here: Installation) -> None:
        made = await here.ask("tenancy.create", {"organisation": "acme", "project": "web", "environment": "staging", "plan": "business"})
        assert made["tenant"].startswith("ten_") and made["limits"] == PLANS["business"].limits() and made["state"] == "active"
        assert await here.ask("tenancy.show", {"tenant": made["tenant"]}) == made
        other = await here.tenant("production")
        assert [row["tenant"] for row in await here.ask("tenancy.tenants")] == [other, made["tenant"]]
        assert await here.ask("tenancy.tenants", {"organisation": "nobody"}) == []

    installed(work)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"environment": "production"}, "OMG-I001"),
        ({"environment": "staging", "plan": "gold"}, "OMG-I001"),
        ({"environment": "staging", "region": "us"}, "OMG-I001"),
        ({"environment": "staging", "residency": ["us"], "region": "us"}, "OMG-I001"),
        ({"environment": "../x"}, "OMG-I001"),
        ({"environment": "staging", "tenant": "ten_forged"}, "OMG-I001"),
        ({"environment": "staging", "hours": 49}, "OMG-I001"),
    ],
    ids=["twice", "plan", "region", "residency", "name", "extra", "hours"],
)
def test_what_makes_no_tenant(installed: Run, wanted: dict[str, Any], code: str) -> None:
    async def work(here: Installation) -> None:
        await here.tenant("production", region="eu", residency=["eu"])
        assert await here.refusal("tenancy.create", {"organisation": "acme", "project": "web", **wanted}) == code
        assert len(await here.ask("tenancy.tenants")) == 1

    installed(work)


OPERATORS_ONLY = ("create", "tenants", "show", "suspend", "resume", "upgrade", "delete", "expire", "discard")


def test_only_operators_of_the_installation_manage_tenants(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        inputs: dict[str, dict[str, Any]] = {
            "create": {"organisation": "evil", "project": "web", "environment": "production"},
            "tenants": {},
            "suspend": {"tenant": tenant, "reason": "envy"},
            "upgrade": {"tenant": tenant, "plan": "business"},
            "delete": {"tenant": tenant, "export": DIGEST},
        }
        strangers = [
            here.passport(tenant),
            here.passport(tenant, roles=("operator", "owner")),
            here.passport("local", "person:mallory", roles=("member",)),
            here.passport("local", "agent:eager", roles=("writers",)),
        ]
        for name in OPERATORS_ONLY:
            for passport in strangers:
                assert await here.refusal(f"tenancy.{name}", inputs.get(name, {"tenant": tenant}), passport) in ("OMG-W001", "OMG-W008")
        found = await here.ask("tenancy.tenants")
        assert [(row["tenant"], row["state"], row["plan"]) for row in found] == [(tenant, "active", "team")]

    installed(work)


def test_a_tenant_leaves_only_suspended_and_exported(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        assert await here.refusal("tenancy.delete", {"tenant": tenant, "export": DIGEST}) == "OMG-I005"
        await here.ask("tenancy.suspend", {"tenant": tenant, "reason": "they left"})
        assert await here.refusal("tenancy.delete", {"tenant": tenant}) == "OMG-I001"
        left = await here.ask("tenancy.delete", {"tenant": tenant, "export": DIGEST})
        assert left["tenant"] == tenant and left["export"] == DIGEST
        assert await here.refusal("tenancy.show", {"tenant": tenant}) == "OMG-I003"
        assert await here.refusal("tenancy.resume", {"tenant": tenant}) == "OMG-I003"

    installed(work)


def test_neither_expiry_nor_discarding_takes_a_tenant_that_stays(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        assert await here.refusal("tenancy.expire", {"tenant": tenant}) == "OMG-I005"
        assert await here.refusal("tenancy.discard", {"tenant": tenant}) == "OMG-I005"

    installed(work)


def test_a_key_does_at_most_what_its_maker_may(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        rights = ("flows:run", "tenancy:use", "tenants:use", "tenants:write")
        maker = here.passport(tenant, roles=("admin", "owner"), capabilities=rights)
        wanted = {"name": "x", "secret_sha256": DIGEST, "principal": "agent:x", "capabilities": ["flows:run"]}
        assert (await here.ask("tenancy.create_key", wanted, maker))["capabilities"] == ["flows:run"]
        assert await here.refusal("tenancy.create_key", wanted | {"capabilities": ["*"]}, maker) == "OMG-T002"
        assert await here.refusal("tenancy.create_key", wanted | {"capabilities": ["files:write"]}, maker) == "OMG-T002"
        assert await here.refusal("tenancy.create_key", wanted | {"roles": ["operator"]}, maker) == "OMG-I001"
        assert await here.refusal("tenancy.create_key", wanted, here.passport(tenant, roles=("member",))) == "OMG-W001"
        assert await here.refusal("tenancy.create_key", wanted | {"days": 400}, maker) == "OMG-I001"
        assert await here.refusal("tenancy.create_key", wanted | {"principal": "person:a b"}, maker) == "OMG-I001"

    installed(work)


def test_the_plan_bounds_agents_and_revoked_keys_do_not_count(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant(plan="sandbox")
        keys = [(await here.key(tenant, f"agent:a{number}"))[0] for number in range(3)]
        await here.key(tenant, "agent:a0")  # another key of the same agent
        with pytest.raises(OmegaError, match="allows 3 agents"):
            await here.key(tenant, "agent:a3")
        await here.key(tenant, "service:timer")
        await here.ask("tenancy.revoke_key", {"key": keys[1]}, here.owner(tenant))
        await here.key(tenant, "agent:a3")

    installed(work)


def test_keys_members_and_settings_are_the_tenants_own(installed: Run) -> None:
    async def work(here: Installation) -> None:
        one, other = await here.tenant("one"), await here.tenant("other")
        key, _ = await here.key(one)
        await here.ask("tenancy.put_member", {"principal": "person:ada", "role": "admin"}, here.owner(one))
        await here.ask("tenancy.put_setting", {"name": "colour", "value": {"deep": ["red"]}}, here.owner(one))
        await here.ask("tenancy.put_flag", {"name": "editor", "percent": 100}, here.owner(one))
        assert await here.ask("tenancy.settings", {}, here.owner(one)) == {"colour": {"deep": ["red"]}}
        assert await here.ask("tenancy.flags", {}, here.owner(one)) == {"editor": True}
        for name in ("keys", "members", "settings", "flags"):
            assert not await here.ask(f"tenancy.{name}", {}, here.owner(other)), name
        assert await here.refusal("tenancy.revoke_key", {"key": key}, here.owner(other)) == "OMG-I003"
        assert await here.refusal("tenancy.drop_member", {"principal": "person:ada"}, here.owner(other)) == "OMG-I003"
        assert await here.refusal("tenancy.drop_setting", {"name": "colour"}, here.owner(other)) == "OMG-I003"
        assert [row["revoked_us"] for row in await here.ask("tenancy.keys", {}, here.owner(one))] == [0]

    installed(work)


def test_members_and_settings_change_and_go(installed: Run) -> None:
    async def work(here: Installation) -> None:
        for role in ("member", "admin"):
            await here.ask("tenancy.put_member", {"principal": "person:ada", "role": role, "name": "Ada"})
        assert await here.ask("tenancy.members") == [{"principal": "person:ada", "role": "admin", "name": "Ada"}]
        await here.ask("tenancy.drop_member", {"principal": "person:ada"})
        await here.ask("tenancy.put_setting", {"name": "a", "value": 1})
        await here.ask("tenancy.put_setting", {"name": "a", "value": None})
        assert (await here.ask("tenancy.members"), await here.ask("tenancy.settings")) == ([], {"a": None})
        await here.ask("tenancy.put_flag", {"name": "a", "percent": 0})
        assert await here.ask("tenancy.flags", {"principal": "person:ada"}) == {"a": False}
        await here.ask("tenancy.drop_flag", {"name": "a"})
        await here.ask("tenancy.drop_setting", {"name": "a"})
        assert (await here.ask("tenancy.flags"), await here.ask("tenancy.settings")) == ({}, {})

    installed(work)


@pytest.mark.promise("TEN-02")
def test_the_secret_of_a_key_is_in_no_file(installed: Run, tmp_path: Path) -> None:
    async def work(here: Installation) -> str:
        key, text = await here.key(await here.tenant())
        here.exchange.passport_of_key(text)
        assert key.removeprefix("key_") in text
        return text[len("omk_") + 32 + 1 :]

    secret = installed(work)
    assert len(secret) == 43 and not gone(tmp_path, secret)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.floats(0, 100), st.floats(0, 100))
@settings(max_examples=200, deadline=None)
def test_a_flag_only_ever_gains_principals(flag: str, principal: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert not is_on("t", flag, principal, low) or is_on("t", flag, principal, high)
    assert not is_on("t", flag, principal, 0) and is_on("t", flag, principal, 100)


def test_a_share_of_principals_is_about_that_share() -> None:
    on = sum(is_on("t", "editor", f"person:{number}", 25) for number in range(4_000))
    assert 850 < on < 1_150
