"""Keys of people: what is asked is answered once, by whom it was asked of, about what it was asked, and in time; rings and their copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omega.adapters.memory import MemoryStore
from omega.chronicle.record import decode
from omega.host import enrolling, mfa, passkeys
from omega.host.embedded import Omega
from omega.host.enrolling import DropPasskey, FactorsEffector, KeepCode, KeepPasskey, Reset
from omega.host.owning import sealed_of
from omega.host.passkeys import ASKED, HELD, LASTS_S, MAX_ASKED, MAX_KEYS, RING, Passkeys
from omega.kernel.context import Context
from omega.kernel.errors import Denied, IntegrityError, OmegaError
from omega.kernel.flow import flow
from omega.runtime.decisions import decide
from omega.testing.lab import sequencer
from omega.trust.sealing import Keyring
from trust.authenticator import EDDSA, Authenticator

ORIGIN = "https://omega.example"
ADA, BOB = ("local", "person:ada"), ("local", "person:bob")
PAY = ("approve", "exe_1", "pay")


@dataclass
class Bench:
    """Rings on a real store, a clock that is set by hand, and keys."""

    store: MemoryStore
    keyring: Keyring
    now_us: int = 1_000_000_000
    drawn: int = 0

    @property
    def keys(self) -> Passkeys:
        return Passkeys(self.store, self.keyring, lambda: self.now_us, self.draw)

    def draw(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")

    def register(self, person: tuple[str, str], device: Authenticator, name: str = "blue key") -> None:
        asked = self.keys.ask_new(person, ORIGIN)
        self.keys.register(person, name, {"ceremony": asked["ceremony"], "answer": device.create(asked["options"], ORIGIN)})

    def said(self, person: tuple[str, str], device: Authenticator, about: tuple[str, ...] = PAY) -> dict[str, Any]:
        asked = self.keys.ask(person, about, ORIGIN)
        return {"ceremony": asked["ceremony"], "answer": device.get(asked["options"], ORIGIN)}


@pytest.fixture
def bench() -> Bench:
    root = bytes(range(32))
    return Bench(MemoryStore(sequencer=sequencer(), owner="a test", now_us=lambda: 0), Keyring(root, entropy=bytes))


def refusal(work: Callable[[], Any]) -> str:
    with pytest.raises(OmegaError) as caught:
        work()
    return caught.value.code


@pytest.mark.promise("MFA-01")
def test_an_answer_is_good_once_and_in_time(bench: Bench) -> None:
    device = Authenticator()
    bench.register(ADA, device)
    said = bench.said(ADA, device)
    assert bench.keys.prove(ADA, PAY, said) == "blue key"
    assert [held.used_us for held in bench.keys.keys(ADA)] == [bench.now_us]
    assert refusal(lambda: bench.keys.prove(ADA, PAY, said)) == "OMG-T011", "replayed"
    late = bench.said(ADA, device)
    bench.now_us += LASTS_S * 1_000_000
    assert refusal(lambda: bench.keys.prove(ADA, PAY, late)) == "OMG-T011"
    in_time = bench.said(ADA, device)
    bench.now_us += LASTS_S * 1_000_000 - 1
    assert bench.keys.prove(ADA, PAY, in_time) == "blue key"
    wrong = bench.said(ADA, device) | {"answer": {}}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, wrong)) == "OMG-T011"
    right = wrong | {"answer": device.get({"challenge": "AAAA", "rpId": "omega.example"}, ORIGIN)}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, right)) == "OMG-T011", "a challenge is used up by a wrong answer too"


class Between:
    """A shelf on which something else happens just before a document is taken off it or replaced, once."""

    def __init__(self, store: MemoryStore, happens: Callable[[], Any]) -> None:
        self.store, self.happens = store, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def _before(self) -> None:
        happens, self.happens = self.happens, lambda: None
        happens()


class Taking(Between):
    def drop_document(self, kind: str, name: str) -> bool:
        self._before()
        return self.store.drop_document(kind, name)


class Replacing(Between):
    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        self._before()
        return self.store.swap_document(kind, name, was, body, at_us)


@pytest.mark.promise("MFA-01")
@pytest.mark.promise("MFA-02")
def test_of_two_engines_that_are_told_the_same_one_believes_it(bench: Bench) -> None:
    device = Authenticator()
    bench.register(ADA, device)
    said, told = bench.said(ADA, device), []
    shelf = Taking(bench.store, lambda: told.append(bench.keys.prove(ADA, PAY, said)))
    other = Passkeys(shelf, bench.keyring, lambda: bench.now_us, bench.draw)
    assert refusal(lambda: other.prove(ADA, PAY, said)) == "OMG-T011" and told == ["blue key"]
    copy = Authenticator(_private=device._private, count=device.count)
    first, second = bench.said(ADA, device), bench.said(ADA, copy)
    shelf = Replacing(bench.store, lambda: told.append(bench.keys.prove(ADA, PAY, first)))
    other = Passkeys(shelf, bench.keyring, lambda: bench.now_us, bench.draw)
    assert refusal(lambda: other.prove(ADA, PAY, second)) == "OMG-T012", "the same count twice is noticed, whoever comes second"
    assert [held.copied for held in bench.keys.keys(ADA)] == [True]


@pytest.mark.promise("MFA-03")
@pytest.mark.parametrize(
    "other", [("approve", "exe_2", "pay"), ("approve", "exe_1", "pay/2"), ("cancel", "exe_1", "pay"), ("register",), ()]
)
def test_an_answer_for_one_decision_answers_no_other(bench: Bench, other: tuple[str, ...]) -> None:
    device = Authenticator()
    bench.register(ADA, device)
    assert refusal(lambda: bench.keys.prove(ADA, other, bench.said(ADA, device))) == "OMG-T011"
    asked, swapped = bench.keys.ask(ADA, other, ORIGIN), bench.keys.ask(ADA, PAY, ORIGIN)
    mixed = {"ceremony": swapped["ceremony"], "answer": device.get(asked["options"], ORIGIN)}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, mixed)) == "OMG-T011", "what was signed names the decision too"


@pytest.mark.promise("MFA-03")
def test_nobody_answers_what_somebody_else_was_asked(bench: Bench) -> None:
    hers, his = Authenticator(), Authenticator(id=b"the key of another", alg=EDDSA)
    bench.register(ADA, hers)
    bench.register(BOB, his)
    elsewhere = ("ten_a", "person:ada")
    assert refusal(lambda: bench.keys.prove(BOB, PAY, bench.said(ADA, hers))) == "OMG-T011"
    assert refusal(lambda: bench.keys.prove(elsewhere, PAY, bench.said(ADA, hers))) == "OMG-T011"
    asked = bench.keys.ask(ADA, PAY, ORIGIN)
    with_his = {"ceremony": asked["ceremony"], "answer": his.get(asked["options"], ORIGIN)}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, with_his)) == "OMG-T011"
    named_hers = Authenticator(id=hers.id, _private=his._private, alg=EDDSA)
    asked = bench.keys.ask(ADA, PAY, ORIGIN)
    forged = {"ceremony": asked["ceremony"], "answer": named_hers.get(asked["options"], ORIGIN)}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, forged)) == "OMG-T011"
    for nothing in (None, {}, {"ceremony": 7}, {"ceremony": ""}, {"ceremony": "x" * 65}, {"ceremony": "ü"}, {"ceremony": "unknown"}):
        assert refusal(lambda nothing=nothing: bench.keys.prove(ADA, PAY, nothing)) == "OMG-T011"


@pytest.mark.promise("MFA-02")
def test_a_key_with_a_copy_counts_no_more(bench: Bench) -> None:
    device, second = Authenticator(), Authenticator(id=b"a second key of her")
    bench.register(ADA, device)
    bench.register(ADA, second, "red key")
    copy = Authenticator(_private=device._private, count=device.count)
    assert bench.keys.prove(ADA, PAY, bench.said(ADA, copy)) == "blue key"
    assert refusal(lambda: bench.keys.prove(ADA, PAY, bench.said(ADA, device))) == "OMG-T012"
    device.count += 100
    assert [held.copied for held in bench.keys.keys(ADA)] == [True, False]
    asked = bench.keys.ask(ADA, PAY, ORIGIN)
    assert [each["id"] for each in asked["options"]["allowCredentials"]] == [bench.keys.keys(ADA)[1].id]
    said = {"ceremony": asked["ceremony"], "answer": device.get(asked["options"], ORIGIN)}
    assert refusal(lambda: bench.keys.prove(ADA, PAY, said)) == "OMG-T011"
    assert bench.keys.prove(ADA, PAY, bench.said(ADA, second)) == "red key"
    bench.keys.remove(ADA, bench.keys.keys(ADA)[0].id)
    bench.register(ADA, device)


@pytest.mark.promise("MFA-04")
def test_a_key_is_on_one_ring_and_rings_have_room_for_so_many(bench: Bench) -> None:
    device = Authenticator()
    bench.register(ADA, device)
    assert refusal(lambda: bench.register(BOB, device)) == "OMG-W007"
    assert refusal(lambda: bench.register(("ten_a", "person:ada"), device)) == "OMG-W007"
    assert refusal(lambda: bench.register(ADA, device, "again")) == "OMG-W007"
    assert refusal(lambda: bench.register(ADA, Authenticator(id=b"one more"), "blue key")) == "OMG-I001"
    for name in ("", " x", "a\nb", "x" * 65, "\u202ex"):
        assert refusal(lambda name=name: bench.register(ADA, Authenticator(id=b"one more"), name)) == "OMG-I001"
    for number in range(1, MAX_KEYS):
        bench.register(ADA, Authenticator(id=b"key %d" % number), f"key {number}")
    assert refusal(lambda: bench.register(ADA, Authenticator(id=b"too many"), "too many")) == "OMG-W012"
    bench.keys.remove(ADA, bench.keys.keys(ADA)[0].id)
    bench.register(BOB, device)
    assert refusal(lambda: bench.keys.remove(ADA, bench.keys.keys(BOB)[0].id)) == "OMG-I003"


@pytest.mark.promise("MFA-04")
def test_a_ring_was_sealed_here_for_its_person(bench: Bench) -> None:
    bench.register(ADA, Authenticator())
    body = bench.store.document(RING, "local person:ada") or b""
    assert b"blue key" not in body
    bench.store.put_document(RING, "local person:bob", body, 0)
    with pytest.raises(IntegrityError):
        bench.keys.keys(BOB)
    bench.store.put_document(RING, "local person:ada", body[:-8] + b"AAAAAAA=", 0)
    with pytest.raises(IntegrityError):
        bench.keys.keys(ADA)


def test_what_is_asked_is_bounded_and_swept(bench: Bench) -> None:
    bench.register(ADA, Authenticator())
    for _ in range(MAX_ASKED + 5):
        bench.keys.ask(ADA, PAY, ORIGIN)
    bench.register(BOB, Authenticator(id=b"his key"))
    bench.keys.ask(BOB, PAY, ORIGIN)
    assert len(bench.store.documents(ASKED)) == MAX_ASKED + 1, "one person's questions leave those of others alone"
    bench.now_us += LASTS_S * 1_000_000
    bench.keys.ask(ADA, PAY, ORIGIN)
    assert len(bench.store.documents(ASKED)) == 2


def test_a_key_is_asked_for_at_its_own_name_alone(bench: Bench) -> None:
    bench.register(ADA, Authenticator())
    assert refusal(lambda: bench.keys.ask(ADA, PAY, "https://other.example")) == "OMG-I003"
    assert refusal(lambda: bench.keys.ask(BOB, PAY, ORIGIN)) == "OMG-I003"
    assert refusal(lambda: bench.keys.ask_new(ADA, "https://127.0.0.1")) == "OMG-I001"
    options = bench.keys.ask_new(ADA, ORIGIN)["options"]
    assert options["authenticatorSelection"]["userVerification"] == "required" and len(options["excludeCredentials"]) == 1
    assert "ada" not in bytes.fromhex(passkeys._plain(options["user"]["id"]).decode()).decode("latin-1")


def test_a_purge_of_a_tenant_finds_its_factors(bench: Bench) -> None:
    bench.register(("ten_a", "person:ada"), Authenticator())
    bench.register(("ten_ab", "person:ada"), Authenticator(id=b"another tenant's"))
    bench.keys.ask(("ten_a", "person:ada"), PAY, ORIGIN)
    bench.keys.ask(("ten_ab", "person:ada"), PAY, ORIGIN)
    found = sealed_of(bench.store, bench.keyring, "ten_a")
    assert sum(kind == ASKED for kind, _ in found) == 1
    held = [name for kind, name in found if kind == HELD]
    assert (RING, "ten_a person:ada") in found and (RING, "ten_ab person:ada") not in found
    assert len(held) == 1 and bench.store.document(HELD, held[0]) is not None


# -- factors come and go


class Pass:
    """A permit, as far as an effector reads it."""

    def __init__(self, person: tuple[str, str]) -> None:
        self.tenant, self.principal = person

    def spend(self, port: str) -> None:
        assert port == FactorsEffector.port


def perform(bench: Bench, person: tuple[str, str], request: Any) -> Any:
    effector = FactorsEffector(bench.store, bench.keyring, lambda: bench.now_us)
    return asyncio.run(effector.perform(Pass(person), request, execution="e", step="s"))[0]


def wanting(bench: Bench, device: Authenticator, name: str, proof: Any) -> KeepPasskey:
    asked = bench.keys.ask_new(ADA, ORIGIN)
    said = {"ceremony": asked["ceremony"], "answer": device.create(asked["options"], ORIGIN)}
    return KeepPasskey(name=name, said=said, proof=proof)


def app(bench: Bench, person: tuple[str, str]) -> tuple[bytes, KeepCode]:
    name, secret = mfa.name_of(*person), bytes(mfa.SECRET_BYTES)
    return secret, KeepCode(person=person[1], body=mfa.enrolment(secret, bench.keyring, name), proof={})


@pytest.mark.promise("MFA-04")
def test_with_a_passkey_another_comes_or_goes_only_by_a_passkey(bench: Bench) -> None:
    blue, red = Authenticator(), Authenticator(id=b"a red key of hers")
    assert perform(bench, ADA, wanting(bench, blue, "blue", {}))["name"] == "blue"
    for proof in ({}, {"code": "123456"}, bench.said(ADA, blue, ("remove", "x")), bench.said(ADA, blue, PAY)):
        assert refusal(lambda proof=proof: perform(bench, ADA, wanting(bench, red, "red", proof))) in ("OMG-W007", "OMG-T011")
    assert perform(bench, ADA, wanting(bench, red, "red", bench.said(ADA, blue, (enrolling.REGISTER,))))["name"] == "red"
    gone = bench.keys.keys(ADA)[0].id
    other = bench.said(ADA, red, (enrolling.REMOVE, bench.keys.keys(ADA)[1].id))
    assert refusal(lambda: perform(bench, ADA, DropPasskey(key=gone, proof=other))) == "OMG-T011"
    assert refusal(lambda: perform(bench, ADA, app(bench, ADA)[1])) == "OMG-W007", "nor does an app come beside it"
    right = bench.said(ADA, red, (enrolling.REMOVE, gone))
    assert perform(bench, ADA, DropPasskey(key=gone, proof=right))["name"] == "blue"


@pytest.mark.promise("MFA-04")
def test_with_an_app_its_code_opens_the_way_to_the_first_passkey(bench: Bench) -> None:
    secret, first = app(bench, ADA)
    assert perform(bench, ADA, first) == "person:ada"
    assert refusal(lambda: perform(bench, ADA, app(bench, ADA)[1])) == "OMG-W007", "an app is not replaced without its code"
    device = Authenticator()
    code = mfa.code_at(secret, bench.now_us // 1_000_000 // mfa.STEP_S)
    assert refusal(lambda: perform(bench, ADA, wanting(bench, device, "blue", {"code": f"{(int(code) + 1) % 10**6:06d}"}))) == "OMG-W007"
    assert perform(bench, ADA, wanting(bench, device, "blue", {"code": code}))["name"] == "blue"
    bench.now_us += 60_000_000
    fresh = mfa.code_at(secret, bench.now_us // 1_000_000 // mfa.STEP_S)
    second = Authenticator(id=b"a key after a code")
    assert refusal(lambda: perform(bench, ADA, wanting(bench, second, "red", {"code": fresh}))) == "OMG-W007"


@pytest.mark.promise("MFA-04")
def test_another_person_resets_and_nobody_resets_themself(bench: Bench) -> None:
    perform(bench, ADA, app(bench, ADA)[1])
    bench.register(ADA, Authenticator())
    assert refusal(lambda: perform(bench, ADA, Reset(person="person:ada"))) == "OMG-W007"
    assert refusal(lambda: perform(bench, BOB, app(bench, ADA)[1])) == "OMG-W007", "nor is one put in the place of hers"
    assert refusal(lambda: perform(bench, ("local", "agent:x"), Reset(person="person:ada"))) == "OMG-W007"
    assert refusal(lambda: perform(bench, ("ten_a", "person:bob"), Reset(person="person:ada"))) == "OMG-I003", "not across tenants"
    assert perform(bench, BOB, Reset(person="person:ada")) == "person:ada"
    assert bench.keys.keys(ADA) == [] and bench.store.document(mfa.FACTOR, "local person:ada") is None
    bench.register(BOB, Authenticator(id=Authenticator().id))


# -- the gate

RULE = """
@id("pays-by-key")
@reason("{flow} takes a key")
@approval("%s")
forbid (principal, action == Action::"write", resource) unless { context.approved.contains("%s") };
"""


@flow(effect="write")
async def pays(ctx: Context, to: str) -> str:
    """Pays."""
    return to


@pytest.mark.slow
@pytest.mark.promise("MFA-02")
@pytest.mark.promise("MFA-05")
@pytest.mark.parametrize("role", ["webauthn", "step-up"])
def test_a_policy_that_asks_for_a_key_is_answered_by_a_key(tmp_path: Path, role: str) -> None:
    (tmp_path / "policies").mkdir(parents=True)
    (tmp_path / "policies" / "pay.cedar").write_text(RULE % (role, role))

    async def whole() -> None:
        async with Omega.open(tmp_path) as omega:
            world, scope = omega.world, omega.scope()
            person = (scope.tenant, scope.principal)
            keys = Passkeys(omega.store, world.keyring, world.clock.now_us, world.entropy.take)
            device = Authenticator()
            asked = keys.ask_new(person, ORIGIN)
            keys.register(person, "blue key", {"ceremony": asked["ceremony"], "answer": device.create(asked["options"], ORIGIN)})
            waiting = await omega.run(pays, "ACME")
            run = waiting.execution
            assert waiting.status == "waiting"
            step = {"step": "pays"}

            async def approve(**more: Any) -> str:
                try:
                    await decide(omega.engine, run, "approve", step | more, scope)
                except Denied as error:
                    return error.code
                return ""

            def shown(about: tuple[str, str, str], by: Authenticator = device) -> dict[str, Any]:
                wanted = keys.ask(person, about, ORIGIN)
                return {"ceremony": wanted["ceremony"], "answer": by.get(wanted["options"], ORIGIN)}

            assert await approve() == "OMG-W007"
            assert await approve(code="000000") == "OMG-W007"
            assert await approve(passkey=shown(("approve", "exe_other", "pays"))) == "OMG-T011"
            assert await approve(passkey=shown(("cancel", run, ""))) == "OMG-T011"
            assert await approve(passkey=None) == "OMG-T011", "what came must hold"
            copied = Authenticator(_private=device._private, count=0, step=0)
            assert await approve(passkey=shown(("approve", run, "pays"), copied)) == "OMG-T012"
            keys.remove(person, keys.keys(person)[0].id)
            asked = keys.ask_new(person, ORIGIN)
            keys.register(person, "blue key", {"ceremony": asked["ceremony"], "answer": device.create(asked["options"], ORIGIN)})
            said = shown(("approve", run, "pays"))
            assert await approve(passkey=said) == ""
            leaves = [decode(leaf) for leaf in omega.store.leaves(scope.tenant)]
            denied = [leaf for leaf in leaves if leaf.kind == "deny" and leaf.code.startswith(("OMG-T01", "OMG-W007"))]
            assert [leaf.code for leaf in denied][-1] == "OMG-T012" and len(denied) == 6
            assert all(scope.principal in leaf.reason for leaf in denied)
            assert any(leaf.kind == "approve" and "with the passkey blue key" in leaf.reason for leaf in leaves)
            assert (await omega.resume(run, pays)).status == "done"

    asyncio.run(whole())
