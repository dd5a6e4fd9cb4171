"""What was revoked stays so however it is kept, and shuts out nobody else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosted import Installation
from omega.host import revocations
from omega.host.arrangements import Shelf
from omega.host.grants import GRANT, GRANT_OF, MAX_PER_PERSON, SPENT_S, Grant, Grants, new_grant_id
from omega.host.revocations import BEFORE, LASTING_S, NEWS, REVOKED, Follower, account_of, load, revoke, sweep
from omega.host.tenants import Bearer, SandboxKey
from omega.kernel.errors import Denied
from omega.trust.passport import MAX_TTL_S, Authority
from omega.trust.sealing import Keyring

NOW = 1_800_000_000
HOUR = 3_600
KEY = SandboxKey()


class Records:
    """Documents in memory, which count how much of them was read."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}
        self.read = 0

    def document(self, kind: str, name: str) -> bytes | None:
        return self.kept.get((kind, name))

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        found = sorted((name, body) for (its, name), body in self.kept.items() if its == kind and name.startswith(prefix))
        self.read += len(found)
        return found

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self.kept[kind, name] = body

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        if self.kept.get((kind, name)) != was:
            return False
        self.kept[kind, name] = body
        return True

    def drop_document(self, kind: str, name: str) -> bool:
        return self.kept.pop((kind, name), None) is not None

    def of(self, kind: str) -> list[str]:
        return sorted(name for its, name in self.kept if its == kind)


def office() -> Authority:
    return Authority(KEY, issuer="here", audience="here")


def issued(authority: Authority, jti: str, now: float = NOW, tenant: str = "acme") -> str:
    more: dict[str, Any] = {"tenant": tenant, "principal": "person:ada", "capabilities": ["flows:run"]}
    return authority.issue(ttl_s=MAX_TTL_S, now=now, jti=jti, **more)


def us(seconds: float) -> int:
    return int(seconds * 1_000_000)


def refused(authority: Authority, passport: str) -> bool:
    try:
        authority.check_id(passport)
    except Denied:
        return True
    return False


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("revoke"), st.integers(0, 7)),
        st.tuples(st.just("sweep"), st.integers(0, 1)),
        st.tuples(st.just("hours"), st.integers(1, 400)),
        st.tuples(st.just("restart"), st.integers(0, 1)),
        st.tuples(st.just("follow"), st.integers(0, 1)),
        st.tuples(st.just("refresh"), st.integers(0, 7)),
    ),
    max_size=40,
)


@pytest.mark.slow
@pytest.mark.promise("REVOKE-01")
@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_nothing_that_was_revoked_comes_back_to_life(steps: list[tuple[str, int]]) -> None:
    """Two engines on the same records: whatever order things come in, what was revoked is refused at the door, and where a sealed scope is
    gone on with; what was not revoked is not refused, as long as there is room."""
    records, engines, now = Records(), [office(), office()], float(NOW)
    followers = [Follower(records, each) for each in engines]
    claims = {n: engines[0].verify(issued(engines[0], f"usr_{n}/pas_{n}"), now=NOW).claims() for n in range(8)}
    gone: set[int] = set()
    for verb, n in steps:
        if verb == "revoke":
            revoke(records, engines[0], f"usr_{n}", us(now), account="local")
            gone.add(n)
        elif verb == "sweep":
            sweep(records, engines[n], us(now))
        elif verb == "hours":
            now += n * HOUR
        elif verb == "restart":
            engines[n] = office()
            load(records, engines[n])
            followers[n] = Follower(records, engines[n])
        elif verb == "follow":
            followers[n].look(us(now))
        else:
            for engine in engines[:1]:
                token = issued(engine, f"usr_{n}/pas_{n}", now)
                assert (n in gone) == _fails(engine, token, now)
        for m in range(8):
            assert refused(engines[0], f"usr_{m}/key_1/pas_{m}") == (m in gone)
    followers[1].look(us(now))
    for engine in engines:
        for n, sealed in claims.items():
            assert refused(engine, str(sealed["passport"])) == (n in gone)


def _fails(authority: Authority, token: str, now: float) -> bool:
    try:
        authority.refresh(token, ttl_s=60, now=now, jti="pas_again")
    except Denied:
        return True
    return False


@pytest.mark.promise("REVOKE-01")
def test_past_what_a_tenant_may_keep_its_own_old_scopes_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_BEFORE", 3)
    records, authority, now = Records(), office(), NOW
    old = {t: authority.verify(issued(authority, f"{t}/pas_{t}", tenant=t), now=NOW).claims() for t in ("ten_loud", "ten_calm")}
    for tenant in old:
        records.put_document("tenant", tenant, b'{"state": "active"}', 0)
    for number in range(9):
        revoke(records, authority, f"ten_loud/pas_{number}", us(now))
        now += 20 * 24 * HOUR
        sweep(records, authority, us(now))
    again = office()
    load(records, again)
    for engine in (authority, again):
        assert engine.restore(old["ten_calm"]).tenant == "ten_calm"
        with pytest.raises(Denied, match="not known any more"):
            engine.restore(old["ten_loud"])
        late = engine.verify(issued(engine, "ten_loud/pas_new", now, "ten_loud"), now=now)
        assert engine.restore(late.claims()).passport == "ten_loud/pas_new", "who comes now goes on"
    assert again.buried("ten_loud") == 3 and len(records.of(REVOKED)) == 0 and account_of("ten_loud/pas_1") == "ten_loud"


def test_full_and_too_young_to_forget_it_stays_as_it_is_and_the_tenant_makes_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_BEFORE", 2)
    records, authority = Records(), office()
    for number in range(2):
        revoke(records, authority, f"usr_{number}", us(NOW))
    assert sweep(records, authority, us(NOW + LASTING_S + 1)) == 2
    revoke(records, authority, "usr_2", us(NOW))
    assert sweep(records, authority, us(NOW + LASTING_S + 1)) == 0 and refused(authority, "usr_2")
    with pytest.raises(Denied):
        revocations.demand_room(authority, "local")
    revocations.demand_room(authority, "ten_other")


def test_revocations_of_an_earlier_release_load_and_count_as_made_now() -> None:
    records, authority = Records(), office()
    records.put_document(REVOKED, "ten_1/key_2", b"", 0)
    load(records, authority)
    assert refused(authority, "ten_1/key_2/pas_3")
    sweep(records, authority, us(NOW))
    assert json.loads(records.kept[REVOKED, "ten_1/key_2"]) == {"of": "ten_1", "at_us": us(NOW)}


def test_a_sweep_is_bounded_and_news_are_dropped() -> None:
    records, authority = Records(), office()
    for number in range(revocations.SWEPT_AT_ONCE + 5):
        revoke(records, authority, f"usr_{number}", us(NOW))
    late = us(NOW + LASTING_S + 1)
    assert [sweep(records, authority, late) for _ in range(3)] == [revocations.SWEPT_AT_ONCE, 5, 0]
    assert not records.of(REVOKED) and records.of(BEFORE) == ["local"] and not records.of(NEWS)


def test_a_suspended_tenant_stays_so_and_a_purged_one_leaves_nothing() -> None:
    records, authority = Records(), office()
    for tenant in ("ten_1", "ten_2"):
        revoke(records, authority, tenant, us(NOW))
    revoke(records, authority, "ten_2/key_1", us(NOW))
    records.put_document("tenant", "ten_1", b'{"state": "suspended"}', 0)
    sweep(records, authority, us(NOW + LASTING_S + 1))
    assert records.of(REVOKED) == ["ten_1"] and not records.of(BEFORE) and refused(authority, "ten_1/pas_1")
    records.put_document("tenant", "ten_1", b'{"state": "active"}', 0)
    records.drop_document(REVOKED, "ten_1")
    assert Follower(records, authority).look(us(NOW)) and not refused(authority, "ten_1/pas_1")


def test_following_reads_what_is_new_alone() -> None:
    records, here, there = Records(), office(), office()
    for number in range(2_000):
        revoke(records, here, f"usr_{number}", us(NOW))
    follower = Follower(records, there)
    assert follower.look(us(NOW)) and there.charged("local") == 2_000
    late = NOW + 10 * revocations.WINDOW_S
    follower.look(us(late))
    revoke(records, here, "usr_new", us(late + 1))
    records.read = 0
    assert follower.look(us(late + 1)) and refused(there, "usr_new/pas_1") and records.read == 1


@pytest.mark.slow
@pytest.mark.promise("REVOKE-02")
def test_a_tenant_that_revokes_without_end_is_alone_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_OF_TENANT", 4)
    asyncio.run(_flooding(tmp_path / "home"))


async def _flooding(home: Path) -> None:
    async with Installation.open(home) as here:
        loud, calm = await here.tenant("loud"), await here.tenant("calm")
        admin = here.passport(loud)
        user = (await here.ask("directory.create_user", {"user_name": "x"}, admin))["user"]
        codes = []
        for _ in range(6):
            codes.append(await here.refusal("directory.suspend_user", {"user": user}, admin))
            codes.append(await here.refusal("directory.resume_user", {"user": user}, admin))
        assert codes.count("OMG-G007") >= 1 and not any(codes[::2]), "suspending works always"
        for passport in (here.passport(calm), here.owner()):
            assert not await here.refusal("tenancy.keys", {}, passport)
            assert not await here.refusal("directory.create_user", {"user_name": "y"}, passport)
        assert await here.refusal("directory.create_user", {"user_name": "z"}, admin) == "OMG-G007"
    async with Installation.open(home) as here:
        assert not await here.refusal("tenancy.keys", {})


class Desk:
    """Grants on records of their own."""

    def __init__(self) -> None:
        self.now_s, self.records, self.authority = float(NOW), Records(), office()
        self.keyring = Keyring(b"r" * 32, entropy=lambda count: b"e" * count)
        self.drawn = 0
        shelf: Shelf = self.records
        self.grants = Grants(shelf, self.keyring, self.authority, lambda: us(self.now_s))

    def take(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")

    def allow(self, person: str, generation: int = 0, client: str = "cli_1") -> Grant:
        bearer = Bearer(tenant="ten_1", principal=person)
        words = dict.fromkeys(("anchor", "client_name", "voucher", "redirect", "issuer", "resource"), "")
        times: dict[str, Any] = {"made_s": self.now_s, "expires_s": self.now_s + 10_000, "secret": "00", "generation": generation}
        made = Grant(id=new_grant_id(self, us(self.now_s)), bearer=bearer, client=client, actor="agent:x", scopes=(), **words, **times)
        self.grants.keep("ten_1", made.id, self.grants.sealed(made))
        return made


def test_the_grants_of_one_person_are_read_without_those_of_others() -> None:
    desk = Desk()
    own = desk.allow("person:ada")
    for number in range(200):
        desk.allow(f"person:{number}")
    desk.grants.of("ten_1", "person:ada")
    desk.records.read = 0
    assert [each.id for each in desk.grants.of("ten_1", "person:ada")] == [own.id] and desk.records.read == 1
    assert desk.grants.clients() == {"cli_1"}


def test_grants_of_an_earlier_release_are_found() -> None:
    desk = Desk()
    own = desk.allow("person:ada", generation=1)
    for name in desk.records.of(GRANT_OF):
        desk.records.drop_document(GRANT_OF, name)
    assert [each.id for each in desk.grants.of("ten_1", "person:ada")] == [own.id]


def test_grants_are_swept_in_batches_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.host.grants.SWEPT_AT_ONCE", 3)
    desk = Desk()
    used = desk.allow("person:ada", generation=1)
    for number in range(4):
        desk.allow(f"person:{number}")
    desk.now_s += SPENT_S + 1
    left = []
    for _ in range(3):
        desk.grants.sweep()
        desk.grants.sweep()
        left.append(len(desk.records.of(GRANT)))
        desk.now_s += 60
    assert left[0] >= 2 and left[-1] == 1 and desk.grants.find(used.id) is not None
    desk.now_s += 10_000
    desk.grants.sweep()
    assert not desk.records.of(GRANT) and not desk.records.of(GRANT_OF)


def test_who_allows_and_withdraws_without_end_is_alone_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_OF_PERSON", 2)
    desk = Desk()
    for _ in range(2):
        desk.grants.demand_room("ten_1", "person:eve")
        desk.grants.end(desk.allow("person:eve").id, "ten_1")
    with pytest.raises(Denied) as caught:
        desk.grants.demand_room("ten_1", "person:eve")
    assert caught.value.code == "OMG-G007" and not desk.records.of(GRANT_OF) and MAX_PER_PERSON > 0
    desk.grants.demand_room("ten_1", "person:ada")
    revocations.demand_room(desk.authority, "ten_1")
