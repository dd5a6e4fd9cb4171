"""What a list of tasks and a configuration cost is bounded, and is nobody else's: measured at the functions themselves."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from omega.adapters.memory import MemoryStore
from omega.gateway.a2a import LABEL, Account
from omega.gateway.a2a.asked import Asked
from omega.gateway.a2a.listing import MAX_LOADED, listed
from omega.gateway.front.core import Visitor
from omega.host import a2a_push, a2a_telling
from omega.host.a2a_push import (
    MAX_CONFIGS,
    MAX_OF_PRINCIPAL,
    MAX_OF_TENANT,
    PUSH,
    TOLD,
    Config,
    DropPush,
    KeepPush,
    PushEffector,
    Tell,
    prefix_of,
)
from omega.host.a2a_telling import Pushing, Teller
from omega.host.embedded import Omega
from omega.host.owning import sealed_of
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.ports import Line, Search
from omega.kernel.scope import Scope
from omega.testing.conformance import NoteSequencer
from omega.testing.conformance.effector import permit_for
from omega.trust.sealing import Keyring

ADA, KEN = "person:ada", "person:ken"


def ran(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test on an event loop of its own."""

    @functools.wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


def line(execution: str, status: str, updated_us: int = 0) -> Line:
    return Line(
        execution=execution,
        tenant="ten_one",
        flow="f",
        version="1.0.0",
        status=status,
        principal=ADA,
        target="",
        epoch=1,
        owner="",
        lease_us=0,
        started_us=updated_us,
        updated_us=updated_us,
        labels={LABEL: "cook"},
    )


@dataclass
class Recorded:
    """Tasks as a core and a desk show them; `loads` counts those whose content was loaded. The one in `refused` failed at the gate."""

    lines: Mapping[str, Line]
    refused: str = ""
    loads: int = 0

    def find(self, search: Search, scope: Any) -> list[Line]:
        found = [each for each in self.lines.values() if not search.status or each.status in search.status]
        names = [each.execution for each in found]
        begin = names.index(search.older_than) + 1 if search.older_than else 0
        return found[begin : begin + search.limit]

    def line(self, execution: str, scope: Any) -> Line:
        return self.lines[execution]

    def account(self, execution: str, scope: Any) -> Account:
        self.loads += 1
        error = {"family": "denied" if execution == self.refused else "flow"}
        return Account(line=self.lines[execution], error=error)

    def asked(self) -> Asked:
        agent, visitor = SimpleNamespace(name="cook", takes="text"), SimpleNamespace(scope=None)
        told: dict[str, Any] = {"core": self, "desk": self, "agent": agent, "visitor": visitor, "arrival": None, "connection": ()}
        return Asked(**told)


def recorded(status: str, count: int, refused: str = "") -> Recorded:
    return Recorded({f"t{number:04}": line(f"t{number:04}", status, updated_us=count - number) for number in range(count)}, refused)


@ran
async def test_a_list_loads_the_page_alone_where_the_line_tells_the_state() -> None:
    tasks = recorded("done", 300)
    page = await listed(tasks.asked(), {"pageSize": 5, "status": "TASK_STATE_COMPLETED"})
    assert [each["id"] for each in page["tasks"]] == [f"t{number:04}" for number in range(5)] and page["totalSize"] == 300
    assert tasks.loads == 5 and page["nextPageToken"]
    assert (await listed(tasks.asked(), {"status": "TASK_STATE_WORKING"}))["tasks"] == [] and tasks.loads == 5


@ran
async def test_a_list_that_fits_little_is_a_short_page_and_goes_on() -> None:
    tasks = recorded("failed", 2 * MAX_LOADED + 50, refused=f"t{2 * MAX_LOADED + 7:04}")
    found, token, pages = [], "", 0
    while pages == 0 or token:
        before = tasks.loads
        page = await listed(tasks.asked(), {"status": "TASK_STATE_REJECTED"} | ({"pageToken": token} if token else {}))
        assert tasks.loads - before <= MAX_LOADED
        found += [each["id"] for each in page["tasks"]]
        token, pages = page["nextPageToken"], pages + 1
    assert (found, pages) == ([tasks.refused], 3)


@ran
async def test_others_run_between_the_tasks_of_a_list() -> None:
    tasks = recorded("done", 50)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await listed(tasks.asked(), {"pageSize": 50})
    running.cancel()
    assert turns >= 50


# -- configurations


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    made = MemoryStore(sequencer=NoteSequencer(), owner="test", now_us=lambda: 0)
    yield made
    made.close()


def effector(store: MemoryStore) -> PushEffector:
    return PushEffector(store, Keyring(bytes(32), entropy=bytes), lambda task: line(task, "running"), lambda: 0)


async def perform(store: MemoryStore, request: KeepPush | DropPush | Tell) -> None:
    await effector(store).perform(permit_for(KeepPush.port), request, execution="exe", step="s")


@pytest.mark.promise("A2A-09")
@ran
async def test_a_configuration_of_somebody_else_is_left_alone(store: MemoryStore) -> None:
    for tenant, principal in (("ten_one", KEN), ("ten_two", ADA)):
        name = prefix_of(tenant, principal, "t") + "1"
        store.put_document(PUSH, name, b"theirs", 0)
        for request in (KeepPush(name=name, task="t", body={}), DropPush(name=name, task="t"), Tell(name=name, id="i", document={})):
            with pytest.raises(Denied, match="only one"):
                await perform(store, request)
        assert store.document(PUSH, name) == b"theirs"
    with pytest.raises(InputError, match="made of the task"):
        await perform(store, KeepPush(name=prefix_of("ten_one", ADA, "another") + "1", task="t", body={}))


@pytest.mark.parametrize(("principal", "most", "whose"), [(ADA, MAX_OF_PRINCIPAL, "of one caller"), (KEN, MAX_OF_TENANT, "of this tenant")])
@ran
async def test_a_principal_and_a_tenant_have_so_many_configurations(store: MemoryStore, principal: str, most: int, whose: str) -> None:
    for number in range(most):
        store.put_document(PUSH, prefix_of("ten_one", principal, f"t{number}") + "1", b"", 0)
    mine = KeepPush(name=prefix_of("ten_one", ADA, "t0") + "1", task="t0", body={})
    fresh = KeepPush(name=prefix_of("ten_one", ADA, "fresh") + "1", task="fresh", body={})
    with pytest.raises(InputError, match=f"at most {most:,} configurations {whose}") as refused:
        await perform(store, fresh)
    assert refused.value.code == "OMG-I001"
    if principal == ADA:
        await perform(store, mine)
        await perform(store, DropPush(name=mine.name, task="t0"))
        await perform(store, fresh)


@ran
async def test_what_others_left_with_a_task_takes_no_place_of_mine(store: MemoryStore) -> None:
    for number in range(MAX_CONFIGS):
        store.put_document(PUSH, prefix_of("ten_one", KEN, "t") + f"{number}", b"", 0)
    await perform(store, KeepPush(name=prefix_of("ten_one", ADA, "t") + "1", task="t", body={}))


def config(scope: Scope, task: str, **more: Any) -> Config:
    return Config(id="1", task=task, agent="cook", url="https://example.com/", claims=scope.claims(), **more)


def left(omega: Omega, made: Config) -> None:
    omega.store.put_document(PUSH, made.name, json.dumps(made.seal(omega.world.keyring)).encode(), 0)


@ran
async def test_a_configuration_is_opened_once_for_as_long_as_it_is_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    really = Config.open

    def counted(name: str, document: bytes, keyring: Keyring) -> Config:
        opened.append(name)
        return really(name, document, keyring)

    monkeypatch.setattr(Config, "open", counted)
    monkeypatch.setattr(a2a_telling, "FORGET_S", 1e12)
    async with Omega.open(tmp_path) as omega:
        mine, yours = (config(omega.scope(), task, token="tok-1") for task in ("t1", "t2"))
        for each in (mine, yours):
            left(omega, each)
        teller = Teller(omega)
        for _ in range(3):
            assert await teller.tick() == 0
        assert sorted(opened) == sorted([mine.name, yours.name])
        left(omega, config(omega.scope(), "t1", token="tok-2"))
        await teller.tick()
        assert len(opened) == 3 and opened[2] == mine.name
        with pytest.raises(IntegrityError):
            really(mine.name, omega.store.document(PUSH, yours.name) or b"", omega.world.keyring)


@ran
async def test_a_configuration_without_a_task_is_forgotten(tmp_path: Any) -> None:
    async with Omega.open(tmp_path) as omega:
        left(omega, config(omega.scope(), "gone"))
        omega.store.put_document(PUSH, prefix_of("local", ADA, "gone") + "1", b"{}", 0)
        assert await Teller(omega).tick() == 0
        assert omega.store.documents(PUSH) == []


@ran
async def test_who_acts_for_somebody_has_configurations_of_its_own(tmp_path: Any) -> None:
    async with Omega.open(tmp_path) as omega:
        pushing, task = Pushing(omega, lambda _: ()), line("t1", "running")
        owner = omega.scope()
        acting = owner.acting("agent:helper")
        left(omega, config(acting, "t1"))
        assert pushing.kept(task, owner) == [] and len(pushing.kept(task, acting)) == 1
        await pushing.drop(task, "1", cast("Visitor", SimpleNamespace(scope=owner)))
        assert a2a_push.task_of(config(acting, "t1").name) == "t1" and len(pushing.kept(task, acting)) == 1


def test_a_purge_of_a_tenant_finds_what_is_told_of_its_tasks(store: MemoryStore) -> None:
    name = prefix_of("ten_one", ADA, "t.1") + "1"
    store.put_document(PUSH, name, b"{}", 0)
    store.put_document(TOLD, name, b"1", 0)
    kept = cast("Any", SimpleNamespace(documents=store.documents, document=store.document, line={"t.1": line("t.1", "done")}.get))
    keyring = Keyring(bytes(32), entropy=bytes)
    assert sealed_of(kept, keyring, "ten_one") == [(PUSH, name), (TOLD, name)] and sealed_of(kept, keyring, "ten_two") == []
