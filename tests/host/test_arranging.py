"""What a hosted tenant arranges is its own: tried for every kind that the registry knows, so a new kind is covered by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.permits import EXECUTION, STEP, permit_for
from hosted import Installation, gone
from omega.adapters.alerts import Address
from omega.adapters.memory import MemoryStore
from omega.adapters.webhooks import new_secret
from omega.host import arrangements, credentials, guard, mfa, quarantine
from omega.host.admitting import Entry, name_of
from omega.host.arrangements import ArrangementsEffector, Keep, arrange, dissolve
from omega.host.discover import find_method
from omega.host.governing import Governor
from omega.host.owning import owners
from omega.host.schedules import Schedule
from omega.host.webhooks import Webhook
from omega.kernel.calendars import Timing
from omega.kernel.errors import Denied
from omega.kernel.ports import Call
from omega.testing.lab import sequencer
from omega.trust.sealing import Keyring
from omega.warden.admit import Warden
from omega.warden.policies import Bundle

ADA = "person:ada"
DENIED = "OMG-W001"

Sample = Callable[[Keyring, str], tuple[str, Mapping[str, Any]]]
"""A name and a body, as far as they say whose the document is."""


def named(**body: Any) -> Sample:
    return lambda keyring, tenant: (tenant, body)


def said(**body: Any) -> Sample:
    return lambda keyring, tenant: (f"{tenant} mine", {**body, "tenant": tenant})


def claims(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant, "principal": ADA}


def webhook(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    made = Webhook(name="tell", url="https://example.com/hook", secret=new_secret(b"s" * 24), claims=claims(tenant))
    return made.name, made.seal(keyring)


def schedule(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    made = Schedule(name="nightly", timing=Timing(cron="0 * * * *"), flow="report", claims=claims(tenant), since_us=0)
    return made.name, made.seal(keyring)


def channel(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    return "desk", guard.seal("desk", Address("webhook", "https://example.com/alerts"), tenant, keyring)


def credential(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    return credentials.document_name(tenant, ADA, "github"), credentials.sealed(keyring, tenant, ADA, "github", "tell-tale-secret")


def workload(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    made = Entry(workload="spiffe://example.org/billing", tenant=tenant)
    return name_of(made.workload), made.seal(keyring)


def factor(keyring: Keyring, tenant: str) -> tuple[str, Mapping[str, Any]]:
    name = mfa.name_of(tenant, ADA)
    return name, mfa.enrolment(b"s" * mfa.SECRET_BYTES, keyring, name)


OWN: Mapping[str, Sample] = {
    "archive": named(place="file:///archive", size=1, until_s=1),
    "hold": named(reason="a lawsuit"),
    "level": named(level="full"),
    "rules": named(),
    "log": named(after_s=1e9),
    "witnessed": named(note="", keys=[]),
    "region": named(region="eu"),
    "retention": named(after_s=60.0),
    "policy": named(version=1, files={}),
    "watch": named(acts=True),
    "guard-orders": named(redrive=1, isolate=True, pause=False),
    "consent": lambda keyring, tenant: (f"{tenant}.eu", {"reason": "they asked"}),
    "limit": said(of="requests", amount=5_000, window_s=60),
    "breaker": said(flow="git/*"),
    "guard": said(what="personal", where="arguments", doing="block"),
    "factor": factor,
    "schedule": schedule,
    "webhook": webhook,
    "alert-channel": channel,
    "credential": credential,
}
"""Kinds of which a tenant has its own."""

OPERATORS: Mapping[str, Sample] = {
    "queue": named(at_once=1),
    "fact": lambda keyring, tenant: (f"{tenant} change-window", {"value": "open"}),
    "person": lambda keyring, tenant: ("person:ada", {"is": "person:bob"}),
    "virtual-server": named(tenants=[], tools=[{"tool": "git/*"}]),
    "workload": workload,
}
"""Kinds that are the installation's, and so is every kind that is not in these two lists."""


def installed(home: Path, work: Callable[[Installation], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with Installation.open(home) as here:
            return await work(here)

    return asyncio.run(whole())


async def code(here: Installation, flow: Any, tenant: str, kind: str, name: str, body: Any = None) -> str:
    """The code with which an arrangement by Ada of `tenant` is refused; empty when it is not."""
    passport = here.passport(tenant, ADA)
    outcome = await here.omega.road.call(Call(passport=passport, flow=flow, input={"kind": kind, "name": name, "body": body}))
    return str((outcome.error or {"code": ""})["code"])


def known(here: Installation) -> dict[str, Sample]:
    """A sample of every kind in the registry."""
    kinds = here.omega.world.effectors["arrangements"]._readings  # type: ignore[attr-defined]
    assert {*OWN, *OPERATORS} <= set(kinds)
    return {kind: {**OWN, **OPERATORS}.get(kind, named()) for kind in kinds}


@pytest.mark.slow
@pytest.mark.promise("WARD-16")
def test_a_tenant_arranges_its_own_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    async def work(here: Installation) -> None:
        mine, theirs = await here.tenant("mine", plan="own"), await here.tenant("theirs")
        keyring, store = here.omega.identity.keyring, here.omega.store
        for kind, sample in known(here).items():
            name, body = sample(keyring, theirs)
            assert await code(here, arrange, mine, kind, name, body) == DENIED, kind
            store.put_document(kind, name, json.dumps(dict(body)).encode(), 0)
            assert await code(here, dissolve, mine, kind, name) == DENIED, kind
            assert store.document(kind, name) is not None
            own_name, own_body = sample(keyring, mine)
            assert await code(here, arrange, mine, kind, name, own_body) == DENIED, f"{kind}: in the place of theirs"
            store.drop_document(kind, name)
            refused = await code(here, arrange, mine, kind, own_name, own_body)
            assert (refused == DENIED) == (kind not in OWN), (kind, refused)

    installed(tmp_path, work)


@pytest.mark.slow
@pytest.mark.promise("WARD-16")
@pytest.mark.parametrize("kind", ["limit", "breaker", "guard"])
def test_what_says_a_tenant_says_the_own_one_under_an_own_name(tmp_path: Path, kind: str) -> None:
    async def work(here: Installation) -> None:
        mine, theirs = await here.tenant("mine", plan="sandbox"), await here.tenant("theirs")
        name, body = OWN[kind](here.omega.identity.keyring, mine)
        odd = [{**body, "tenant": whose} for whose in (theirs, "*", "", "local", None, 7, [mine])]
        odd += [{key: value for key, value in body.items() if key != "tenant"}]
        for each in odd:
            assert await code(here, arrange, mine, kind, name, each) == DENIED, each
        for elsewhere in (f"{theirs} mine", f"minute {mine}", "mine", f"{mine}mine", ""):
            assert await code(here, arrange, mine, kind, elsewhere, body) == DENIED, elsewhere
        assert await code(here, dissolve, mine, "limit", f"minute {mine}") == DENIED, "what the plan says stays"
        assert await code(here, arrange, mine, kind, name, body) == ""
        assert await code(here, dissolve, mine, kind, name) == ""

    installed(tmp_path, work)


@pytest.mark.promise("WARD-16")
def test_a_tenants_guard_only_blocks_and_a_factor_is_the_persons_own(tmp_path: Path) -> None:
    async def work(here: Installation) -> None:
        mine = await here.tenant("mine")
        name, body = OWN["guard"](here.omega.identity.keyring, mine)
        for doing in ("off", "flag", "redact"):
            assert await code(here, arrange, mine, "guard", name, {**body, "doing": doing}) == DENIED
        other = mfa.name_of(mine, "person:bob")
        enrolled = mfa.enrolment(b"s" * mfa.SECRET_BYTES, here.omega.identity.keyring, other)
        assert await code(here, arrange, mine, "factor", other, enrolled) == DENIED

    installed(tmp_path, work)


@pytest.mark.promise("WARD-19")
@pytest.mark.parametrize("kind", ["limit", "breaker", "guard", "quarantine"])
def test_a_tenant_has_so_many_of_a_kind(kind: str) -> None:
    """Permits of tests are of the tenant `ten_test`."""
    shelf = MemoryStore(sequencer=sequencer(), owner="test", now_us=lambda: 0)
    governor = Governor(shelf, Path("/nonexistent"), Warden(Bundle.default()), lambda: 0)
    keyring = Keyring(b"k" * 32, entropy=lambda n: b"e" * n)
    lines = SimpleNamespace(line=lambda execution: SimpleNamespace(principal=ADA))
    jail = quarantine.QuarantineEffector(shelf, lines, dict, lambda: 1)  # type: ignore[arg-type]
    table = ArrangementsEffector(shelf, governor.readings(), lambda: 1, owners=owners(keyring))

    async def keep(name: str) -> None:
        if kind == "quarantine":
            isolate = quarantine.Isolate(principal=f"agent:{name}", reason="x")
            await jail.perform(permit_for("quarantine"), isolate, execution=EXECUTION, step=STEP)
        else:
            wanted = Keep(kind=kind, name=f"ten_test {name}", body=OWN[kind](keyring, "ten_test")[1])
            await table.perform(permit_for("arrangements"), wanted, execution=EXECUTION, step=STEP)

    async def work() -> None:
        for number in range(3):
            await keep(str(number))
        before = shelf.documents(kind)
        with pytest.raises(Denied) as caught:
            await keep("more")
        assert caught.value.code == "OMG-W012" and shelf.documents(kind) == before, "it is told before it is kept"
        await keep("1")
        shelf.drop_document(kind, before[0][0])
        await keep("more")

    with pytest.MonkeyPatch.context() as patch:
        for module in (arrangements, quarantine):
            patch.setattr(module, "MOST_OWN", 3)
        asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("WARD-19")
def test_a_tenant_that_arranges_all_it_may_keeps_no_operator_from_arranging(tmp_path: Path) -> None:
    async def work(here: Installation) -> None:
        mine, store = await here.tenant("mine"), here.omega.store
        for kind in ("limit", "breaker", "guard"):
            name, body = OWN[kind](here.omega.identity.keyring, mine)
            for number in range(arrangements.MOST_OWN):
                store.put_document(kind, f"{mine} {number}", json.dumps(dict(body)).encode(), 0)
            assert await code(here, arrange, mine, kind, name, body) == "OMG-W012"
            await here.omega.arrange(kind, f"{mine} ours", body)
        await here.omega.ask(quarantine.isolate, {"principal": "agent:rogue", "reason": "x"})
        assert here.omega.world.warden.isolated("local", "agent:rogue")

    installed(tmp_path, work)
    installed(tmp_path, lambda here: here.tenant("another"))


@pytest.mark.promise("TEN-05")
def test_what_is_sealed_goes_with_the_tenant_and_what_is_anothers_stays(tmp_path: Path) -> None:
    sealed = {kind: OWN[kind] for kind in ("schedule", "webhook", "alert-channel", "credential")} | {"workload": workload}

    async def work(here: Installation) -> None:
        tenant, other = await here.tenant("mine"), await here.tenant("theirs")
        store, keyring = here.omega.store, here.omega.identity.keyring
        for kind, sample in sealed.items():
            name, body = sample(keyring, tenant)
            store.put_document(kind, name, json.dumps(dict(body)).encode(), 0)
        kept, body = credential(keyring, other)
        store.put_document("credential", kept, json.dumps(dict(body)).encode(), 0)
        store.put_document("webhook-progress", "tell", b"7", 0)
        for whose in (tenant, other):
            passport = here.passport(whose, ADA)
            ran = await here.omega.road.call(Call(passport=passport, flow=find_method("tenancy.settings")[0], input={}))
            assert ran.error is None
            store.put_document("a2a-push", f"{ran.execution}.1", b"{}", 0)
            store.put_document("a2a-push-told", f"{ran.execution}.1", b"7", 0)
        await here.ask("tenancy.suspend", {"tenant": tenant, "reason": "x"})
        await here.ask("tenancy.delete", {"tenant": tenant, "export": "0" * 64})
        left = {kind: [name for name, _ in store.documents(kind)] for kind in (*sealed, "webhook-progress")}
        assert left == {kind: [kept] if kind == "credential" else [] for kind in (*sealed, "webhook-progress")}
        assert [[name for name, _ in store.documents(kind)] for kind in ("a2a-push", "a2a-push-told")] == [[f"{ran.execution}.1"]] * 2

    installed(tmp_path, work)
    assert gone(tmp_path, "tell-tale-secret") == []
