"""Erasure on PostgreSQL: the server's own files, its log of writes and all, hold nothing of what was erased."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from omega import flow
from omega.chronicle.export import write_export
from omega.chronicle.tiles import export_tiles
from omega.chronicle.verifier import verify_export
from omega.host.embedded import Omega
from omega.host.erasing import erase
from omega.host.levels import LEVEL
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.kernel.marks import SENSITIVE, SUBJECT
from omega.kernel.ports import Call
from servers.postgres import PostgresServer
from servers.postgres import serve as started

NUMBER = "078-05-1120"
NAME = "Grete Samsa of Charlottenstrasse"
MARKS = [form for mark in (NUMBER, NAME, "Samsa") for form in (mark.encode(), mark.encode("utf-16-le"), mark.encode().hex().encode())]


class Patient(BaseModel):
    number: Annotated[str, SUBJECT]
    name: Annotated[str, SENSITIVE]


@flow
def treat(patient: Patient) -> str:
    return f"treated {patient.name} " * 5_000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    monkeypatch.setenv("OMEGA_BLOBS", (tmp_path / "blobs").as_uri())
    return tmp_path / "home"


def traces(*folders: Path) -> list[str]:
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                raw = path.read_bytes()
                found += [path.name for form in MARKS if form in raw]
    return found


def files_of(archive: Archive, folder: Path) -> bytes:
    """Every form in which the log leaves: an export, and tiles in `folder`."""

    def write(path: str, body: bytes) -> None:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)

    export_tiles(archive.reader, TENANT, write)
    out = io.BytesIO()
    executions = [line.execution for line in archive.reader.lines(tenant=TENANT, limit=1000)]
    write_export(archive.reader, TENANT, out, keys=[archive.log_key(TENANT)], executions=executions)
    (folder / "log.omega").write_bytes(out.getvalue())
    return out.getvalue()


@pytest.mark.promise("LOG-27")
@pytest.mark.promise("LOG-30")
def test_no_byte_of_a_subject_is_left_in_the_files_of_the_server(home: Path, tmp_path: Path, server: PostgresServer) -> None:
    async def whole() -> None:
        async with Omega.open(home) as omega:
            await omega.run(treat, Patient(number=NUMBER, name=NAME), execution="exe_one")
            call = Call(passport=omega.passport(), flow=treat, input={"number": "1", "name": NAME}, labels={"subject": NUMBER})
            assert (await omega.road.call(call)).error is None
            done = await omega.ask(erase, {"mark": omega.world.keyring.subject(TENANT, NUMBER)})
            assert (done["erased"], done["left"]) == (2, 0)
            assert omega.store.key("exe_one") is None

    asyncio.run(whole())
    asyncio.run(server.execute("CHECKPOINT", dsn=server.dsn(role="postgres")))
    with Archive.open(home) as archive:
        out = tmp_path / "out"
        export = files_of(archive, out)
        (proof,) = prove(archive)
    assert traces(server.folder, home, tmp_path / "blobs", out) == []
    assert verify_export(io.BytesIO(export)).sound
    assert proof.sound and proof.erased == 2, proof.record()


@pytest.mark.promise("LOG-31")
def test_a_redacted_execution_holds_what_is_left_under_another_key(home: Path) -> None:
    async def whole() -> None:
        async with Omega.open(home) as omega:
            await omega.arrange(LEVEL, TENANT, {"level": "redacted"})
            omega.levels.read()
            await omega.run(treat, Patient(number=NUMBER, name=NAME), execution="exe_one")
            first = omega.store.key("exe_one")
        async with Omega.open(home) as omega:
            assert omega.store.key("exe_one") not in (None, first)

    asyncio.run(whole())
    with Archive.open(home) as archive:
        (proof,) = prove(archive)
    assert proof.sound and proof.redacted == 1, proof.record()
