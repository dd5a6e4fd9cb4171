"""Erasure: nothing of the payload is left anywhere, everything still verifies, and the log holds the receipt."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega.chronicle.export import write_export
from omega.chronicle.record import decode
from omega.chronicle.verifier import verify_export
from omega.host.embedded import Omega
from omega.host.erasing import HOLD
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.retention import RETENTION, retentions
from omega.host.settings import TENANT
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow

NUMBER = "078-05-1120"
SECRET = f"patient Grete Samsa {NUMBER} of Charlottenstrasse"
MARKS = (SECRET, "Samsa", NUMBER, "Charlottenstrasse")
LARGE = 200_000
"""Letters of a value that goes to the blob store, where there is one, and over many pages of the database."""


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
            await omega.dissolve(HOLD, TENANT)
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


def _wrapped(omega: Omega) -> bytes:
    """The wrapped data key of the treatment."""
    (line,) = [line for line in omega.store.lines(tenant=TENANT, limit=100) if line.flow == "treat"]
    found = omega.store.key(line.execution)
    assert found is not None
    return found
