"""What operators arrange about the gate, on a real folder: it holds at once, survives, is on record, and can be taken back."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omega.adapters.memory import MemoryStore
from omega.chronicle.record import decode
from omega.host import mfa, watching
from omega.host.acting import owner_passport
from omega.host.arrangements import arrange
from omega.host.embedded import Omega
from omega.host.governing import GONE_US, Governor
from omega.host.identity import Caller
from omega.host.limits import aliases, crowded, read_amount, read_whose
from omega.host.policy import INSTALLATION, POLICY, Enacted, bundle_in_force, enacted, versions
from omega.host.quarantine import isolate, release
from omega.host.reading import Archive
from omega.host.rehearsing import rehearse
from omega.host.tenants import Bearer, passport_for
from omega.kernel.context import Context
from omega.kernel.effects import ListExecutions
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.flow import flow
from omega.kernel.ports import Call
from omega.testing.lab import sequencer
from omega.trust.sealing import Keyring
from omega.warden.admit import Warden
from omega.warden.approvals import same_person
from omega.warden.breakers import MAX_BREAKERS
from omega.warden.policies import Bundle

NO_COUNTING = '@id("no-counting") @reason("nobody counts") forbid (principal, action, resource == Flow::"count");\n'
CASE = '- {name: nobody counts, ask: {principal: "person:ada", groups: [owner], flow: count}, expect: deny, by: no-counting}\n'


@flow(effect="read", needs="records:read")
async def count(ctx: Context, n: int) -> int:
    return n + len(await ctx.touch(ListExecutions())) * 0


def version(number: int, **files: str) -> dict[str, object]:
    return Enacted(version=number, files={name.replace("_", ".", 1).replace("_", "."): text for name, text in files.items()}).record()


@pytest.mark.promise("WARD-09")
def test_policies_are_enacted_checked_listed_and_rolled_back(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            assert (await omega.run(count, 1)).value == 1
            await omega.arrange(POLICY, INSTALLATION, version(1, mine_cedar=NO_COUNTING, mine_test_yaml=CASE))
            refused = await omega.run(count, 1)
            assert (refused.error or {})["details"]["policies"] == ["no-counting"], "it holds at once"
            for wrong in (
                version(2, mine_cedar="permit ("),
                version(2, mine_cedar=NO_COUNTING, mine_test_yaml=CASE.replace("deny", "allow")),
                version(1, mine_cedar=NO_COUNTING),
                version(3),
                {"version": 2, "files": {"../x.cedar": ""}},
                {"version": 2, "files": {"x.py": ""}},
            ):
                with pytest.raises(InputError):
                    await omega.arrange(POLICY, INSTALLATION, wrong)
            assert enacted(omega.store, INSTALLATION).version == 1
        async with Omega.open(tmp_path) as omega:
            assert (await omega.run(count, 1)).error is not None, "it survives"
            await omega.arrange(POLICY, INSTALLATION, version(2))
            assert (await omega.run(count, 1)).value == 1
            assert [each.version for each in versions(omega.store, INSTALLATION)] == [2, 1]
            flows = [decode(leaf) for leaf in omega.store.leaves("local")]
            assert sum(leaf.flow == "arrange" and leaf.kind == "outcome" and leaf.status == "done" for leaf in flows) == 2

    asyncio.run(whole())


@pytest.mark.promise("WARD-04")
def test_a_tenants_own_policies_are_enacted_under_its_name(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            await omega.arrange(POLICY, "ten_a", version(1, own_cedar=NO_COUNTING))
            assert (await omega.run(count, 1)).value == 1, "it is another tenant's"
            assert "ten_a/no-counting" in bundle_in_force(tmp_path / "policies", omega.store).by_id
            with pytest.raises(InputError, match="can only forbid"):
                await omega.arrange(POLICY, "ten_b", version(1, own_cedar=NO_COUNTING.replace("forbid", "permit")))

    asyncio.run(whole())


@pytest.mark.promise("WARD-05")
def test_a_limit_holds_at_once_and_what_was_used_today_counts_after_a_restart(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            await omega.arrange("limit", "two", {**read_whose("flow:count"), **read_amount("2 requests/day")})
            outcomes = [await omega.run(count, n) for n in range(3)]
            assert [outcome.status for outcome in outcomes] == ["done", "done", "failed"]
            assert (outcomes[2].error or {})["code"] == "OMG-W004"
        async with Omega.open(tmp_path) as omega:
            assert (await omega.run(count, 1)).status == "failed"
            await omega.dissolve("limit", "two")
            assert (await omega.run(count, 1)).status == "done"

    if time.time() % 86_400 > 86_390:  # at midnight the window would turn in between
        time.sleep(15)
    asyncio.run(whole())


@pytest.mark.promise("WARD-07")
def test_an_agent_is_locked_out_and_let_in_by_two_different_people(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            agent, other = Caller("agent:x", grants=("records:read",)), Caller("agent:y", grants=("records:read",))
            assert (await omega.run(count, 1, principal=agent)).status == "done"
            await omega.ask(isolate, {"principal": "agent:x", "reason": "it ran wild"})
            refused = await omega.run(count, 1, principal=agent)
            assert (refused.error or {})["code"] == "OMG-W009"
            assert (await omega.run(count, 1, principal=other)).status == "done"
            with pytest.raises(Denied):
                await omega.ask(release, "agent:x", agent)
            await omega.arrange("person", "person:robert", {"is": "person:bob"})
            assert (await omega.ask(release, "agent:x", Caller("person:bob", groups=("owner",))))["released"] is False
            for same in ("person:bob", "person:BOB", "person:robert"):
                with pytest.raises(Denied) as caught:
                    await omega.ask(release, "agent:x", Caller(same, groups=("owner",)))
                assert caught.value.code == "OMG-W007"
            assert (await omega.run(count, 1, principal=agent)).status == "failed"
            assert (await omega.ask(release, "agent:x", Caller("person:eve", groups=("owner",))))["released"] is True
            assert (await omega.run(count, 1, principal=agent)).status == "done"
            with pytest.raises(InputError):
                await omega.ask(isolate, {"principal": "person:ada", "reason": "no"})

    asyncio.run(whole())


@pytest.mark.promise("WARD-08")
def test_the_watch_reads_the_log_and_acts_only_where_that_is_arranged(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            agent = Caller("agent:wild", grants=("records:read",))
            for n in range(30):
                await omega.run(count, n, principal=agent)
            await omega.store.flush()
            watch = watching.Watch(omega.store, "local")
            assert watch.look()["agent:wild"].points == 0
            assert watch.look() == {}, "what was read is not read again"
            for _ in range(4_000):
                watch.profiles["agent:wild"].note(time.time())
            assert watch.profiles["agent:wild"].score().rogue
            assert watching.acting(omega.store) == []
            await omega.arrange("watch", "local", {"acts": True})
            assert watching.acting(omega.store) == ["local"]
            hosted = f"ten_{'1' * 32}"
            elsewhere = watching.Watch(omega.store, hosted)
            elsewhere.profiles["agent:wild"] = watch.profiles["agent:wild"]
            wanted = {"kind": "watch", "name": hosted, "body": {"acts": True}}
            now_us, world = omega.world.clock.now_us(), omega.world
            owner = owner_passport(omega.identity, hosted, now_us)
            assert (await omega.road.call(Call(passport=owner, flow=arrange, input=wanted))).error is None
            assert watching.acting(omega.store) == ["local", hosted]
            theirs = Bearer(tenant=hosted, principal="agent:wild", roles=(), capabilities=("records:read",))
            passport = passport_for(world.authority, world.entropy, theirs, ttl_s=600, now_us=now_us)
            known = {"local": watch, hosted: elsewhere}

            async def put_away(tenant: str, principal: str, reason: str) -> None:
                by = owner_passport(omega.identity, tenant, now_us)
                await omega.road.call(Call(passport=by, flow=isolate, input={"principal": principal, "reason": reason}))

            monitored = asyncio.create_task(watching.keep(omega.store, omega.store, put_away, world.warden.isolated, known))
            await omega.run(count, 1, principal=agent)
            await omega.road.call(Call(passport=passport, flow=count, input=1))
            async with asyncio.timeout(30):
                while not all(world.warden.isolated(tenant, "agent:wild") for tenant in known):
                    await asyncio.sleep(0.05)
            monitored.cancel()
            assert not world.warden.isolated("local", "agent:tame")
            assert (await omega.run(count, 1, principal=agent)).status == "failed"

    watching_every, watching.LOOK_S = watching.LOOK_S, 0.05
    try:
        asyncio.run(whole())
    finally:
        watching.LOOK_S = watching_every


@pytest.mark.promise("WARD-13")
def test_a_change_is_tried_on_what_is_on_record(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            for n in range(3):
                await omega.run(count, n)
            await omega.run(count, 1, principal="agent:x")  # without the right: denied by capability, which no policy changes

    asyncio.run(whole())
    with Archive.open(tmp_path) as archive:
        current = bundle_in_force(tmp_path / "policies", archive.reader)
        found = rehearse(archive, current, Bundle.load({"default.cedar": "", "mine.cedar": ""}))
        assert found.asked == len(found.changes) > 0 and set(found.by_policy) == {"default-deny"}
        candidate = Bundle.load({**_default(), "mine.cedar": NO_COUNTING})
        found = rehearse(archive, current, candidate)
        assert {change.flow for change in found.changes} == {"count"} and found.by_policy == {"no-counting": 6}
        assert {(change.now.decision.value, change.then.decision.value) for change in found.changes} == {("allow", "deny")}
        assert rehearse(archive, current, current).changes == []
        assert rehearse(archive, current, candidate, last=2).asked == 2
        assert found.changes[0].record()["then_by"] == ["no-counting"]


def _default() -> dict[str, str]:
    from omega.warden.policies import default_sources

    return default_sources()


def memory() -> MemoryStore:
    return MemoryStore(sequencer=sequencer(), owner="test", now_us=lambda: 0)


RFC_SECRET = b"12345678901234567890"


@pytest.mark.promise("WARD-03")
@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")]
)
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    """Appendix B of RFC 6238, SHA-1, cut to six digits."""
    assert mfa.code_at(RFC_SECRET, at // 30) == code
    assert mfa.accepted(RFC_SECRET, code, now_s=at, after=0) == at // 30
    assert mfa.accepted(RFC_SECRET, code, now_s=at, after=at // 30) == 0, "a code is good once"
    assert mfa.accepted(RFC_SECRET, code, now_s=at + 90, after=0) == 0


@pytest.mark.promise("WARD-03")
def test_a_factor_is_sealed_used_once_and_asleep_after_wrong_codes() -> None:
    store, keyring, now = memory(), Keyring(b"k" * 32, entropy=lambda n: b"e" * n), [1_700_000_000.0]
    name = mfa.name_of("local", "person:ada")
    governor = Governor(store, Path("/nonexistent"), Warden(), lambda: int(now[0] * 1_000_000))
    body = mfa.enrolment(RFC_SECRET, keyring, name)
    assert RFC_SECRET.hex() not in str(body)
    store.put_document(mfa.FACTOR, name, json.dumps(dict(governor.readings()[mfa.FACTOR](name, body))).encode(), 0)
    holds = mfa.verifier(store, keyring, lambda: int(now[0] * 1_000_000))
    code = mfa.code_at(RFC_SECRET, int(now[0] // 30))
    assert not holds("local", "person:bob", {"code": code}) and not holds("acme", "person:ada", {"code": code})
    assert holds("local", "person:ada", {"code": code})
    assert not holds("local", "person:ada", {"code": code})
    for _ in range(mfa.MAX_WRONG - 1):
        assert not holds("local", "person:ada", {"code": "000000"})
    now[0] += 60
    fresh = mfa.code_at(RFC_SECRET, int(now[0] // 30))
    assert not holds("local", "person:ada", {"code": fresh}), "it sleeps"
    now[0] += mfa.LOCKED_S
    assert holds("local", "person:ada", {"code": mfa.code_at(RFC_SECRET, int(now[0] // 30))})
    for odd in ({}, {"code": 123456}, {"code": "12345"}, {"code": "１２３４５６"}):  # noqa: RUF001 - full-width digits
        assert not holds("local", "person:ada", odd)


@pytest.mark.promise("WARD-17")
def test_a_code_that_two_engines_are_told_at_once_is_good_at_one_of_them() -> None:
    store, keyring, now = memory(), Keyring(b"k" * 32, entropy=lambda n: b"e" * n), 1_700_000_000
    name = mfa.name_of("local", "person:ada")
    store.put_document(mfa.FACTOR, name, json.dumps(mfa.enrolment(RFC_SECRET, keyring, name)).encode(), 0)
    code = {"code": mfa.code_at(RFC_SECRET, now // 30)}
    second = mfa.verifier(store, keyring, lambda: now * 1_000_000)
    seen: list[bool] = []

    class Between:
        """The records as the first engine meets them: just after it has read the factor, the other one is told the same code."""

        def __getattr__(self, what: str) -> Any:
            return getattr(store, what)

        def document(self, kind: str, name: str) -> bytes | None:
            found = store.document(kind, name)
            if not seen:
                seen.append(second("local", "person:ada", code))
            return found

    first = mfa.verifier(Between(), keyring, lambda: now * 1_000_000)  # type: ignore[arg-type]
    assert not first("local", "person:ada", code)
    assert seen == [True]


@pytest.mark.promise("WARD-06")
def test_engines_on_the_same_records_count_each_other() -> None:
    store, now = memory(), [0]
    one, two = (Governor(store, Path("/nonexistent"), Warden(Bundle.default()), lambda: now[0]) for _ in range(2))
    store.put_document("limit", "l", b'{"of": "requests", "amount": 10, "window_s": 60, "tenant": "*", "principal": "", "flow": ""}', 0)
    one.follow("one")
    assert one._engines == 1 and one.warden.ledger.busy
    two.follow("two")
    one.follow("one")
    assert (one._engines, two._engines) == (2, 2)
    now[0] += GONE_US
    one.follow("one")
    assert one._engines == 1, "who has not been heard of is gone"


def test_policies_that_do_not_load_hold_up_nothing_else(tmp_path: Path) -> None:
    store = memory()
    (tmp_path / "broken.cedar").write_text("permit (")
    governor = Governor(store, tmp_path, Warden(Bundle.default()), lambda: 0)
    governor.refresh()
    store.put_document(POLICY, INSTALLATION, b"{}", 0)
    body = {"tenant": "local", "principal": "agent:bad", "reason": "x", "by": "person:ada", "since_us": 0}
    store.put_document("quarantine", "q", json.dumps(body).encode(), 0)
    with pytest.raises(OmegaError):
        governor.refresh()
    assert governor.warden.isolated("local", "agent:bad")


@pytest.mark.promise("WARD-19")
def test_more_than_may_be_arranged_holds_and_stops_nothing(tmp_path: Path) -> None:
    """As records may have it from engines that wrote side by side, or from an earlier release."""
    store = memory()
    one = {"flow": "x/*", "tenant": "ten_a"}
    for number in range(MAX_BREAKERS + 1):
        store.put_document("breaker", f"ten_a {number}", json.dumps(one).encode(), 0)
    governor = Governor(store, tmp_path, Warden(Bundle.default()), lambda: 0)
    told, readings = governor.told(), governor.readings()
    told.put_document("limit", "all", b'{"of": "requests", "amount": 1, "window_s": 60}', 0)
    assert governor.warden.ledger.busy and crowded(store, "breaker") == {"ten_a": MAX_BREAKERS + 1}
    with pytest.raises(Denied) as caught:
        readings["breaker"]("ten_a one more", one)
    assert caught.value.code == "OMG-W012"
    assert readings["breaker"]("everybody", {**one, "tenant": "*"})["tenant"] == "*"
    for number in range(2):
        store.drop_document("breaker", f"ten_a {number}")
    assert readings["breaker"]("ten_a 7", one) and readings["breaker"]("ten_a one more", one), "in place of one, and the last"


@pytest.mark.promise("WARD-19")
@pytest.mark.parametrize("bad", ["policy", "guard", "limit", "breaker", "fact", "person"])
def test_a_kind_that_cannot_be_told_holds_up_no_other(tmp_path: Path, bad: str) -> None:
    store = memory()
    governor = Governor(store, tmp_path, Warden(Bundle.default()), lambda: 0)
    governor.world = SimpleNamespace(guards=None)  # type: ignore[assignment]
    store.put_document(bad, "x", b"{", 0)
    told = governor.told()
    body = {"tenant": "local", "principal": "agent:bad", "reason": "x", "by": "person:ada", "since_us": 0}
    told.put_document("quarantine", "q", json.dumps(body).encode(), 0)
    told.put_document("fact" if bad != "fact" else "limit", "f", b'{"value": "x", "of": "requests", "amount": 1, "window_s": 60}', 0)
    assert governor.warden.isolated("local", "agent:bad")
    assert governor.warden.ledger.busy if bad == "fact" else governor.warden._facts == {"": {"f": "x"}}
    with pytest.raises(OmegaError) as caught:
        told.put_document(bad, "y", b"{", 0)
    assert caught.value.code == "OMG-S005"
    for name in "xy":
        store.drop_document(bad, name)
    governor.refresh()


@pytest.mark.parametrize("order", list(permutations([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")])))
def test_everybody_who_is_connected_is_one_person(order: tuple[tuple[str, str], ...]) -> None:
    store = memory()
    for one, other in order:
        store.put_document("person", f"person:{one}", json.dumps({"is": f"person:{other}"}).encode(), 0)
    known = aliases(store)
    assert len({same_person(f"person:{name}", known) for name in "abcd"} | {same_person("person:A", known)}) == 1


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("5 USD/day", {"of": "cost", "amount": 5_000_000, "window_s": 86_400}),
        ("0.25USD/hour", {"of": "cost", "amount": 250_000, "window_s": 3_600}),
        ("100000 tokens/hour", {"of": "tokens", "amount": 100_000, "window_s": 3_600}),
        ("60 requests/minute", {"of": "requests", "amount": 60, "window_s": 60}),
        ("3 at once", {"of": "concurrency", "amount": 3, "window_s": 0}),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, body: dict[str, object]) -> None:
    assert read_amount(text) == body


@pytest.mark.parametrize(
    "text", ["", "5", "5 USD", "5 EUR/day", "x tokens/day", "5 tokens/week", "-1 USD/day", "1e9 USD/day", "at once", "5 hearts/day"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_amount(text)
    with pytest.raises(InputError):
        read_whose(text or "nobody")


@pytest.mark.promise("WARD-08")
def test_the_installation_locks_out_for_a_tenant_whose_limits_are_used_up_and_no_tenant_for_another(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            hosted, other = f"ten_{'1' * 32}", f"ten_{'2' * 32}"
            wanted = {"principal": "agent:wild", "reason": "too much"}
            theirs = owner_passport(omega.identity, other, omega.world.clock.now_us())
            refused = await omega.road.call(Call(passport=theirs, flow=isolate, input=wanted | {"tenant": hosted}))
            assert refused.error is not None and refused.error["code"] == "OMG-W001"
            await omega.ask(isolate, wanted | {"tenant": hosted})
            assert [omega.world.warden.isolated(tenant, "agent:wild") for tenant in (hosted, other, "local")] == [True, False, False]

    asyncio.run(whole())


def test_a_watch_that_begins_reads_on_in_parts_and_judges_nobody_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            agent = Caller("agent:wild", grants=("records:read",))
            for n in range(4):
                await omega.run(count, n, principal=agent)
            await omega.store.flush()
            watch = watching.Watch(omega.store, "local")
            looks = [watch.look() for _ in range(12)]
            assert looks[0] == {} and sum(bool(each) for each in looks) == 1, "one whole picture, after several parts"
            assert watching.Watch(omega.store, "local").look_through() == next(each for each in looks if each), "asked once, all of it"

    monkeypatch.setattr(watching, "BATCH", 1)
    asyncio.run(whole())
