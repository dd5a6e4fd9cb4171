"""Decisions that reach another engine by letter: made as whoever wrote them, and by nobody else's leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from omega import Context, flow
from omega.kernel.errors import Denied, FlowError
from omega.kernel.journal import Kind, Note, Status, decode_meta
from omega.kernel.people import approval
from omega.kernel.ports import Letter
from omega.runtime.forking import fork
from omega.runtime.letters import carry_out, decide_anywhere, written
from omega.testing import Lab, run_virtual
from omega.trust import letter as sealed

GO = {"name": "go", "value": 5}


@flow
async def told(ctx: Context, n: int) -> int:
    return n + int(await ctx.signal("go"))


CLERKS = '@id("clerks-act")\n@reason("clerks act here")\npermit (principal is Person in Group::"clerk", action, resource);\n'


def engines() -> tuple[Lab, Lab]:
    """Two engines on the same records: the first holds what runs, the second is where people decide."""
    first = Lab(owner="first", policies={"clerks.cedar": CLERKS})
    return first, Lab(owner="second", beside=first, seed=1)


async def waiting(lab: Lab, by: str = "person:ada", **facts: Any) -> str:
    """An execution of `by` that `lab` has in hand, and that waits for a signal."""
    outcome = await lab.run(told, 4, execution="held", scope=lab.scope(by, **facts))
    assert outcome.status == Status.WAITING
    now = lab.clock.now_us()
    await lab.store.claim("held", owner=lab.world.owner, lease_us=now + 3_600_000_000, now_us=now)
    return "held"


def post(lab: Lab, execution: str, verb: str, body: Mapping[str, Any]) -> Letter:
    lab.store.post(execution, verb, body, lab.clock.now_us())
    letter: Letter = lab.store.letters()[-1]
    return letter


def signals(lab: Lab, execution: str) -> list[Note]:
    notes = [decode_meta(row) for row in lab.store.rows(execution) if row.kind == Kind.SIGNAL]
    return [note for note in notes if isinstance(note, Note)]


def refusals(lab: Lab) -> list[tuple[str, str]]:
    return [(leaf.code, leaf.reason) for leaf in lab.leaves() if leaf.kind == "deny"]


@pytest.mark.promise("TRUST-15")
def test_a_decision_by_letter_is_made_as_whoever_wrote_it() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        number = await decide_anywhere(other.engine, name, "signal", GO, other.scope("person:grace"))
        (letter,) = holder.store.letters()
        assert letter.number == number and '"go"' not in json.dumps(dict(letter.body))
        assert await carry_out(holder.engine, letter)
        (note,) = signals(holder, name)
        assert (note.by, note.value) == ("person:grace", number) and note.letter.startswith("let_")
        assert holder.verify().sound

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
def test_a_letter_gives_nobody_rights_that_they_do_not_have() -> None:
    """Before, it was decided as the person whose engine read it."""

    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        mallory = other.scope("person:mallory", groups=())
        letter = post(holder, name, "signal", written(other.world, mallory, name, "signal", GO))
        assert await carry_out(holder.engine, letter)
        assert signals(holder, name) == []
        ((code, reason),) = refusals(holder)
        assert code == "OMG-W001" and "person:mallory" in reason

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
def test_nobody_approves_their_own_call_through_another_engine() -> None:
    async def run() -> None:
        holder, other = engines()
        asks = approval("clerk", of=int)
        clerk = {"groups": ("clerk",)}
        outcome = await holder.run(asks, 4, execution="mine", scope=holder.scope("person:cleo", **clerk))
        assert outcome.status == Status.WAITING
        now = holder.clock.now_us()
        await holder.store.claim("mine", owner="first", lease_us=now + 3_600_000_000, now_us=now)
        letter = post(holder, "mine", "approve", written(other.world, other.scope("person:cleo", **clerk), "mine", "approve", {}))
        assert await carry_out(holder.engine, letter)
        assert not [row for row in holder.store.rows("mine") if row.kind == Kind.APPROVED]
        assert refusals(holder)[-1][0] == "OMG-W007"

    run_virtual(run())


def anonymous(lab: Lab, body: dict[str, Any]) -> Letter:
    return post(lab, "held", "signal", GO)


def other_verb(lab: Lab, body: dict[str, Any]) -> Letter:
    return post(lab, "held", "cancel", body)


def other_execution(lab: Lab, body: dict[str, Any]) -> Letter:
    return replace(post(lab, "held", "signal", body), execution="elsewhere")


def changed(lab: Lab, body: dict[str, Any]) -> Letter:
    middle = len(body["sealed"]) // 2
    turned = "A" if body["sealed"][middle] != "A" else "B"
    return post(lab, "held", "signal", body | {"sealed": body["sealed"][:middle] + turned + body["sealed"][middle + 1 :]})


def extended(lab: Lab, body: dict[str, Any]) -> Letter:
    return post(lab, "held", "signal", body | {"letter": 7})


def foreign(lab: Lab, body: dict[str, Any]) -> Letter:
    """Sealed under the keys of another installation."""
    from omega.trust.sealing import Keyring

    keyring = Keyring(b"x" * 32, entropy=lab.entropy.take)
    contents = sealed.Contents(id="let_1", body=GO, until_s=1 << 40, claims=lab.scope().claims())
    return post(lab, "held", "signal", sealed.seal(contents, execution="held", verb="signal", keyring=keyring))


def calls_off(lab: Lab, body: dict[str, Any]) -> Letter:
    """A letter about a child, for something that is nobody's child."""
    contents = sealed.Contents(id="let_1", body={}, until_s=1 << 40, parent="other", by="person:mallory")
    return post(lab, "held", "cancel", sealed.seal(contents, execution="held", verb="cancel", keyring=lab.world.keyring))


@pytest.mark.promise("TRUST-15")
@pytest.mark.parametrize("forge", [anonymous, other_verb, changed, extended, foreign, calls_off])
def test_a_letter_that_is_not_what_was_sealed_is_refused_on_record(forge: Callable[[Lab, dict[str, Any]], Letter]) -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        body = written(other.world, other.scope("person:grace"), name, "signal", GO)
        assert await carry_out(holder.engine, forge(holder, body))
        assert signals(holder, name) == [] and holder.store.line(name).status == Status.WAITING
        assert [code for code, _ in refusals(holder)] == ["OMG-T009"]
        assert holder.verify().sound

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
def test_a_letter_for_another_execution_is_settled_without_a_trace_of_what_is_not_there() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        body = written(other.world, other.scope("person:grace"), name, "signal", GO)
        assert await carry_out(holder.engine, other_execution(holder, body))
        assert signals(holder, name) == [] and refusals(holder) == []

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
def test_a_copy_of_a_letter_that_was_carried_out_is_refused() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        body = written(other.world, other.scope("person:grace"), name, "signal", GO)
        first = post(holder, name, "signal", body)
        for _ in range(2):  # read twice, because it was carried out and not settled: nothing happens, and nothing is wrong
            assert await carry_out(holder.engine, first)
        assert len(signals(holder, name)) == 1 and refusals(holder) == []
        assert await carry_out(holder.engine, post(holder, name, "signal", body))
        assert len(signals(holder, name)) == 1
        ((code, reason),) = refusals(holder)
        assert code == "OMG-T009" and "copy" in reason

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
@pytest.mark.parametrize("late", [True, False])
def test_a_letter_ends(late: bool) -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        letter = post(holder, name, "signal", written(other.world, other.scope("person:grace"), name, "signal", GO))
        await asyncio.sleep(sealed.LIFE_S + 1 if late else sealed.LIFE_S - 1)
        assert await carry_out(holder.engine, letter)
        assert len(signals(holder, name)) == (0 if late else 1)
        assert [code for code, _ in refusals(holder)] == (["OMG-T009"] if late else [])

    run_virtual(run())


@pytest.mark.promise("TRUST-15")
@pytest.mark.promise("TRUST-03")
def test_a_letter_of_somebody_whose_passport_was_revoked_meanwhile_is_refused() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        scope = other.scope("person:grace")
        letter = post(holder, name, "signal", written(other.world, scope, name, "signal", GO))
        holder.authority.revoke(scope.passport)
        assert await carry_out(holder.engine, letter)
        assert signals(holder, name) == [] and [code for code, _ in refusals(holder)] == ["OMG-T001"]

    run_virtual(run())


def test_what_another_engine_has_in_hand_is_left_for_it() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        letter = post(holder, name, "signal", written(other.world, other.scope("person:grace"), name, "signal", GO))
        assert not await carry_out(other.engine, letter)
        assert await carry_out(holder.engine, letter)

    run_virtual(run())


@pytest.mark.parametrize(("body", "code"), [({"value": "x" * (2 << 20)}, "OMG-R003"), ({"value": object()}, "OMG-R002")])
def test_a_body_that_cannot_travel_is_refused_where_it_is_written(body: dict[str, Any], code: str) -> None:
    lab = Lab()
    with pytest.raises(FlowError) as caught:
        written(lab.world, lab.scope(), "held", "answer", body)
    assert caught.value.code == code


def test_the_longest_answer_fits_into_a_letter() -> None:
    async def run() -> None:
        holder, other = engines()
        name = await waiting(holder)
        body = {"name": "go", "value": "x" * ((1 << 20) - 100)}
        post(holder, name, "signal", written(other.world, other.scope("person:grace"), name, "signal", body))

    run_virtual(run())


# -- forking and carrying over, decided alike


@pytest.mark.promise("FORK-01")
def test_who_forks_needs_a_passport_that_lasts_and_the_origin_keeps_its_grant() -> None:
    @flow
    def double(n: int) -> int:
        return n * 2

    async def run() -> None:
        lab = Lab()
        await lab.run(double, 21, execution="origin")
        early = lab.scope()
        await asyncio.sleep(25 * 3600)  # the passports of both have ended
        with pytest.raises(Denied) as caught:
            await fork(lab.engine, "origin", double, early, at="double")
        assert caught.value.code == "OMG-T001"
        made = await fork(lab.engine, "origin", double, lab.scope(), at="double")
        assert (await lab.resume(made, double)).value == 42
        revoked = lab.scope("person:grace")
        lab.authority.revoke(revoked.passport)
        with pytest.raises(Denied) as caught:
            await fork(lab.engine, "origin", double, revoked, at="double")
        assert caught.value.code == "OMG-T001"

    run_virtual(run())
