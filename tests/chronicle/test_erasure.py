"""Erasure: nothing of the payload is left anywhere, everything still verifies, and the log holds the receipt."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from omega import Context
from omega.chronicle.export import write_export
from omega.chronicle.record import decode
from omega.chronicle.verifier import verify_export
from omega.host.embedded import Omega
from omega.host.erasing import erase
from omega.host.holds import HOLD, release_hold
from omega.host.identity import Caller
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.retention import RETENTION, retentions
from omega.host.settings import TENANT
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.marks import SENSITIVE, SUBJECT
from omega.kernel.ports import Call

NUMBER = "078-05-1120"
SECRET = f"patient Grete Samsa {NUMBER} of Charlottenstrasse"
MARKS = (SECRET, "Samsa", NUMBER, "Charlottenstrasse")
LARGE = 200_000
"""Letters of a value that goes to the blob store, where there is one, and over many pages of the database."""


class Visit(BaseModel):
    number: Annotated[str, SUBJECT]
    name: Annotated[str, SENSITIVE]


@flow
def treat(patient: str) -> str:
    return f"treated {patient} " + f"{patient} " * (LARGE // len(patient))


def files(home: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(home.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def traces(home: Path) -> list[str]:
    """Where any mark stands, as text or in the encodings that a careless copy would have."""
    wanted = [form for mark in MARKS for form in (mark.encode(), mark.encode("utf-16-le"), mark.encode().hex().encode())]
    return [path.name for path, raw in files(home) if any(form in raw for form in wanted)]


def exported(home: Path) -> bytes:
    with Archive.open(home) as archive:
        out = io.BytesIO()
        executions = [line.execution for line in archive.reader.lines(tenant=TENANT, limit=1000)]
        write_export(archive.reader, TENANT, out, keys=[archive.log_key(TENANT)], executions=executions)
        return out.getvalue()


async def treated(omega: Omega) -> int:
    """Run the flow on the secret; gives the moment right after."""
    outcome = await omega.run(treat, SECRET)
    assert outcome.error is None
    return omega.world.clock.now_us() + 1


@pytest.mark.promise("LOG-27")
def test_nothing_of_the_payload_is_left_and_every_proof_verifies(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def whole() -> bytes:
        async with Omega.open(home) as omega:
            moment = await treated(omega)
            kept = omega.store.checkpoints(TENANT)[-1][1]
            while omega.world.clock.now_us() < moment:
                await asyncio.sleep(0)
            wrapped = _wrapped(omega)
            assert any(wrapped in raw for _, raw in files(home)), "the key is in the folder before it is destroyed"
            assert await omega.erase(moment) == 1
            assert not any(wrapped in raw for _, raw in files(home)), "not even while the engine goes on"
            assert await omega.erase(moment) == 0, "twice is the same as once"
        assert not any(wrapped in raw for _, raw in files(home)), "neither database nor its log of writes keeps the key"
        return kept

    kept = asyncio.run(whole())
    assert traces(home) == []
    export = exported(home)
    assert not any(mark.encode() in export for mark in MARKS)
    assert verify_export(io.BytesIO(export), kept=[kept]).sound
    with Archive.open(home) as archive:
        (proof,) = prove(archive, kept=[kept])
    assert proof.sound, proof.record()
    assert proof.erased == 1


@pytest.mark.promise("LOG-27")
def test_what_remains_cannot_be_guessed_from_a_dictionary(tmp_path: Path) -> None:
    """The attacker knows the value up to a few digits and tries every plain digest of it against every digest that remains."""
    home = tmp_path / "home"

    async def whole() -> None:
        async with Omega.open(home) as omega:
            moment = await treated(omega)
            await omega.erase(moment)

    asyncio.run(whole())
    export = exported(home)
    everything = export + b"".join(raw for _, raw in files(home))
    for guess in (f"patient Grete Samsa 078-05-11{last:02} of Charlottenstrasse" for last in range(100)):
        for plain in (guess, f'"{guess}"', f'{{"patient":"{guess}"}}'):
            for digest in (hashlib.sha256(plain.encode()), hashlib.sha512(plain.encode()), hashlib.blake2b(plain.encode())):
                assert digest.digest() not in everything
                assert digest.hexdigest().encode() not in everything


@pytest.mark.promise("LOG-28")
def test_the_log_holds_the_receipt(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            moment = await treated(omega)
            await omega.erase(moment)
            leaves = [decode(raw) for raw in omega.store.leaves(TENANT)]
            receipt = [leaf for leaf in leaves if leaf.flow == "erase" or leaf.execution == leaves[-1].execution]
            kinds = [leaf.kind for leaf in receipt]
            assert kinds == ["entry", "admit", "outcome", "end"]
            assert receipt[0].principal.startswith("person:")
            assert receipt[-1].status == "done"
            assert all(leaf.at_us for leaf in receipt)

    asyncio.run(whole())


@pytest.mark.promise("LOG-28")
def test_a_legal_hold_blocks_erasure_and_retention_until_it_is_lifted(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            moment = await treated(omega)
            await omega.arrange(RETENTION, TENANT, {"after_s": 60})
            assert [rule.tenant for rule in retentions(omega.store)] == [TENANT]
            await omega.arrange(HOLD, TENANT, {"reason": "case 7 at the court of appeal"})
            wrapped = _wrapped(omega)
            with pytest.raises(Denied) as caught:
                await omega.erase(moment)
            assert caught.value.code == "OMG-C004"
            assert "case 7" in caught.value.cause
            assert retentions(omega.store) == []
            assert _wrapped(omega) == wrapped, "nothing was destroyed"
            for refused in (omega.dissolve(HOLD, TENANT), omega.arrange(HOLD, TENANT, {"reason": "another"})):
                with pytest.raises(Denied):
                    await refused
            first = await omega.ask(release_hold, TENANT)
            assert first["released"] is False
            again = Caller(f"person:{omega.settings.person.upper()}", ("owner",))
            for nobody in ("", again, Caller("agent:helper", grants=("holds:use",))):
                with pytest.raises(Denied):
                    await omega.ask(release_hold, TENANT, nobody)
            with pytest.raises(Denied):
                await omega.erase(moment)
            assert (await omega.ask(release_hold, TENANT, Caller("person:grace", ("owner",))))["released"] is True
            assert await omega.erase(moment) == 1

    asyncio.run(whole())


def test_an_erasure_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            for moment in (0, -1, omega.world.clock.now_us() + 3_600_000_000):
                with pytest.raises(InputError):
                    await omega.erase(moment)
            with pytest.raises(InputError):
                await omega.arrange(HOLD, TENANT, {"reason": " "})

    asyncio.run(whole())


@flow
def visit(patient: Visit) -> str:
    return f"seen {patient.name}"


class Ward(BaseModel):
    patients: list[Visit]


@flow
async def round_of(ctx: Context, ward: Ward) -> list[str]:
    return [await ctx.join(await ctx.start(visit, patient)) for patient in ward.patients]


@pytest.mark.promise("LOG-30")
def test_everything_about_a_subject_is_found_by_its_mark_and_erased(tmp_path: Path) -> None:
    home = tmp_path / "home"
    grete, other = Visit(number=NUMBER, name=SECRET), Visit(number="219-09-9999", name="Gregor")

    async def whole() -> None:
        async with Omega.open(home) as omega:
            one = await omega.run(visit, grete)
            two = await omega.run(visit, other)
            ward = await omega.run(round_of, Ward(patients=[grete]))
            named = await omega.road.call(
                Call(passport=omega.passport(), flow=treat, input=SECRET, labels={"subject": NUMBER, "team": "core"})
            )
            assert named.error is None and ward.error is None
            line = omega.store.line(named.execution)
            assert line is not None and NUMBER not in str(line.labels) and line.labels["team"] == "core"
            mark = omega.world.keyring.subject(TENANT, NUMBER)
            done = await omega.ask(erase, {"mark": mark})
            assert (done["erased"], done["left"]) == (4, 0), "the visit, the round, the visit in it, the treatment"
            for gone in (one, ward, named):
                assert omega.store.key(gone.execution) is None
                left = omega.store.line(gone.execution)
                assert left is not None and not left.labels
            assert omega.store.key(two.execution) is not None, "nobody else's data is touched"
            assert (await omega.ask(erase, {"mark": mark}))["erased"] == 0, "nothing is found by the mark any more"

    asyncio.run(whole())
    assert traces(home) == []
    with Archive.open(home) as archive:
        (proof,) = prove(archive)
    assert proof.sound, proof.record()


@pytest.mark.promise("LOG-30")
def test_an_execution_that_is_named_is_erased_once_it_has_ended(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            waits = asyncio.create_task(omega.run(waiting, SECRET, execution="exe_waits"))
            while omega.store.line("exe_waits") is None:
                await asyncio.sleep(0.01)
            await omega.run(treat, SECRET, execution="exe_done")
            done = await omega.ask(erase, {"executions": ["exe_done", "exe_waits", "exe_unknown"]})
            assert (done["erased"], done["left"], done["waiting"]) == (1, 1, ["exe_waits"])
            await omega.decide("exe_waits", "signal", {"name": "go", "value": 1})
            await waits
            await omega.resume("exe_waits", waiting)
            assert (await omega.ask(erase, {"executions": ["exe_waits"]}))["erased"] == 1
            for nonsense in ({}, {"mark": "x"}, {"mark": 1}, {"executions": ["a"], "mark": "a" * 32}, {"other": 1}):
                with pytest.raises(InputError):
                    await omega.ask(erase, nonsense)

    asyncio.run(whole())


@flow
async def waiting(ctx: Context, patient: str) -> str:
    return f"{patient} {await ctx.signal('go')}"


def _wrapped(omega: Omega) -> bytes:
    """The wrapped data key of the treatment."""
    (line,) = [line for line in omega.store.lines(tenant=TENANT, limit=100) if line.flow == "treat"]
    found = omega.store.key(line.execution)
    assert found is not None
    return found
