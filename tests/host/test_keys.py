"""Keys of an installation: rotated on record, seen by every process, proved by the verifier that stands alone."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import omega
from omega import flow
from omega.adapters.keystore import Keystore
from omega.adapters.worm.folder import FolderWorm
from omega.chronicle import verifier
from omega.chronicle.export import write_export
from omega.chronicle.record import decode
from omega.host import archiving, doctor, keys, proof
from omega.host.clock import SystemEntropy
from omega.host.identity import Identity, origin_of
from omega.host.reading import Archive
from omega.host.settings import TENANT, Settings
from omega.host.unsealing import UNSEAL
from omega.kernel.errors import Denied, InputError, IntegrityError, OmegaError, StorageError

SECOND_US = 1_000_000
NOW_US = int(time.time()) * SECOND_US
"""Today: what a rotation retires counts from the clock of this machine."""


@flow
def double(n: int) -> int:
    return n * 2


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert omega.run(double, 21, home=tmp_path / "home") == 42
    return tmp_path / "home"


def rotate(home: Path, name: str, **more: int) -> str:
    return asyncio.run(keys.rotate(home, name, **more))


def states(home: Path, name: str) -> list[str]:
    return [row["state"] for row in keys.listed(home) if row["name"] == name]


def identity(home: Path) -> Identity:
    return Identity.load(Settings.load(home), SystemEntropy())


@pytest.mark.promise("TRUST-07")
def test_passports_cross_a_rotation_both_ways_between_processes_that_run_on(home: Path) -> None:
    running = identity(home)
    before = running.passport("", now_us=NOW_US)
    signs = rotate(home, "passport")
    after = identity(home).passport("", now_us=NOW_US)
    later = NOW_US / SECOND_US + 2
    for office in (running.authority, identity(home).authority):
        for token in (before, after):
            assert office.verify(token, now=later).principal.startswith("person:")
    assert keys.jwks(home)["keys"][0]["kid"] == signs == running.authority.jwks(now=later + 2)["keys"][0]["kid"]
    assert states(home, "passport") == ["signs", "retired"]


@pytest.mark.promise("TRUST-07")
def test_a_stolen_key_counts_no_more_within_a_second_everywhere(home: Path) -> None:
    running = identity(home)
    forged = running.passport("", now_us=NOW_US)
    running.authority.verify(forged, now=NOW_US / SECOND_US)
    rotate(home, "passport", overlap_s=0)
    with pytest.raises(Denied) as caught:
        running.authority.verify(forged, now=time.time() + 1)
    assert caught.value.code == "OMG-T001"


@pytest.mark.promise("LOG-10")
def test_a_log_is_handed_over_on_record_and_still_proved_here_and_by_a_stranger(home: Path) -> None:
    with Archive.open(home) as archive:
        first = archive.log_key(TENANT).text()
        kept = proof.newest_checkpoint(archive, TENANT)
    for _ in range(2):
        rotate(home, "log")
        assert omega.run(double, 1, home=home) == 2
    out = home.parent / "export.omega"
    with Archive.open(home) as archive:
        (proved,) = proof.prove(archive, kept=[kept])
        assert (proved.sound, proved.log.handovers) == (True, 2), proved.log.findings
        leaves = [decode(raw) for raw in archive.reader.leaves(TENANT)]
        proof.export(archive, TENANT, out)
    handed = [leaf for leaf in leaves if leaf.kind == "handover"]
    assert len(handed) == 2 and all(origin_of(TENANT) in leaf.note for leaf in handed)
    assert [leaf.flow for leaf in leaves if leaf.kind == "entry"].count("hand-over-log") == 2, "on record who did it"
    (home.parent / "kept").write_bytes(kept)
    command = [
        sys.executable,
        str(out.parent / proof.VERIFIER),
        str(out),
        "--key",
        first,
        "--checkpoint",
        str(home.parent / "kept"),
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    found = json.loads(ended.stdout)
    assert (ended.returncode, found["handovers"], found["kept"]) == (0, 2, 1), found["findings"]
    assert states(home, "log") == ["signs", "retired", "retired"]


@pytest.mark.promise("LOG-10")
def test_a_rotation_that_was_interrupted_after_the_hand_over_is_finished_by_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Keystore, "promote", _dies)
        with pytest.raises(OmegaError):
            rotate(home, "log")
    assert states(home, "log") == ["signs", "next"]
    assert omega.run(double, 1, home=home) == 2, "the log goes on with the key that it was handed over to"
    with pytest.raises(InputError):
        keys.drop(home, "log")
    with Archive.open(home) as archive:
        assert proof.prove(archive)[0].sound
    rotate(home, "log")
    with Archive.open(home) as archive:
        (proved,) = proof.prove(archive)
        assert (proved.sound, proved.log.handovers) == (True, 1)


def _dies(*_: object, **__: object) -> None:
    raise StorageError("OMG-S004", "the disk is gone")


@pytest.mark.promise("LOG-11")
def test_a_second_signature_is_exported_and_checked(home: Path) -> None:
    keys.add_lasting(home)
    with Archive.open(home) as archive:
        assert proof.prove(archive)[0].sound, "before the first checkpoint with it, nothing is missing"
    assert omega.run(double, 1, home=home) == 2
    out = home.parent / "export.omega"
    with Archive.open(home) as archive:
        assert proof.prove(archive)[0].log.lasting > 0
        proof.export(archive, TENANT, out)
    given = [word for key in keys.verifier_keys(home, TENANT) for word in ("--key", key)]
    ended = subprocess.run(
        [sys.executable, str(out.parent / proof.VERIFIER), str(out), *given], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0 and "ML-DSA-65" in ended.stdout and len(given) == 4


@pytest.mark.slow
@pytest.mark.promise("LOG-43")
def test_what_is_taken_away_is_signed_to_last_unless_it_is_turned_off(home: Path) -> None:
    exports = [home.parent / f"{number}.omega" for number in range(2)]
    with Archive.open(home) as archive:
        assert not proof.prove(archive)[0].log.lasting, "checkpoints of commits have one signature"
        proof.export(archive, TENANT, exports[0])
        kept = proof.newest_checkpoint(archive, TENANT)
        assert [row["state"] for row in keys.listed(home) if row["name"] == "lasting"] == ["exports"]
    classical, lasting = keys.verifier_keys(home, TENANT)
    asyncio.run(keys.turn_lasting(home, on=False))
    with Archive.open(home) as archive:
        proof.export(archive, TENANT, exports[1])
    assert keys.verifier_keys(home, TENANT) == [classical] and keys.lasting_state(home) == "off"
    asyncio.run(keys.turn_lasting(home, on=True))
    assert keys.verifier_keys(home, TENANT) == [classical, lasting], "the same key, kept nowhere"
    first, second = (path.read_bytes() for path in exports)
    found = stranger(first, classical, lasting, kept=kept)
    assert (found.sound, found.lasting, found.unchecked) == (True, 1, 0), found.findings
    assert any("ML-DSA-65" in said for said in found.proves())
    found = stranger(first, classical)
    assert (found.sound, found.lasting, found.unchecked) == (True, 0, 1) and any("ML-DSA-65" in said for said in found.does_not_prove())
    assert stranger(second, classical).sound and stranger(second, classical).unchecked == 0
    assert not stranger(second, classical, lasting).sound, "asked for, and not there"


@pytest.mark.promise("LOG-43")
def test_an_archive_that_is_gone_on_with_keeps_the_checkpoint_that_lies_there(home: Path) -> None:
    worm = FolderWorm.open(home.parent / "kept")
    until_s = int(time.time()) + 86_400
    with Archive.open(home) as records:
        done = [archiving.archive(records, TENANT, worm, "file:///kept", until_s) for _ in range(2)]
        second = records.lasting_key(TENANT)
        assert second is not None and done[0] == done[1], "signed twice it would be another file"
        assert archiving.signatures(worm, TENANT, done[0].size, second) == "signed with ML-DSA-65 too"
        both = (records.log_key(TENANT), second)
        assert archiving.verify_archive(worm, TENANT, done[0].size, keys=both, origin=origin_of(TENANT)) == done[0].size


def test_where_nothing_knows_ml_dsa_an_export_has_one_signature_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.host.lasting.able", lambda: False)
    out = io.BytesIO()
    with Archive.open(home) as archive:
        write_export(archive.reader, TENANT, out, keys=archive.log_keys(TENANT), lasting=archive.lasting())
    assert stranger(out.getvalue()).sound and len(keys.verifier_keys(home, TENANT)) == 1
    assert {each.what: each.state for each in doctor.examine(home, servers=False)}["lasting"] == doctor.WARN


def stranger(export: bytes, *given: str, kept: bytes = b"") -> verifier.Report:
    return verifier.verify_export(io.BytesIO(export), keys=given, kept=[kept] if kept else [])


@pytest.mark.promise("TRUST-10")
def test_a_sealed_root_opens_with_the_private_half_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half, other = home.parent / "half", home.parent / "other"
    keys.new_opening(half)
    keys.new_opening(other)
    root = Keystore.open(home / "keys").secret("seal")
    keys.seal_root(home, half)
    assert root not in (home / "keys" / "seal.key").read_bytes()
    for path, code in ((None, "OMG-T003"), (other, "OMG-T004"), (home.parent / "nowhere", "OMG-T003")):
        monkeypatch.setenv(UNSEAL, str(path or ""))
        with pytest.raises((StorageError, IntegrityError)) as caught:
            omega.run(double, 1, home=home)
        assert caught.value.code == code
    monkeypatch.setenv(UNSEAL, str(half))
    assert omega.run(double, 1, home=home) == 2
    with Archive.open(home) as archive:
        assert proof.prove(archive)[0].sound, "what was sealed before still opens"
    half.chmod(0o644)
    with pytest.raises(StorageError, match="open to others"):
        omega.run(double, 1, home=home)
    with pytest.raises(InputError):
        keys.new_opening(half)


def test_what_cannot_be_rotated_is_refused(home: Path) -> None:
    for name, overlap_s in (("seal", 0), ("nothing", 0), ("passport", -1), ("passport", 10_000_000)):
        with pytest.raises(InputError):
            rotate(home, name, overlap_s=overlap_s)
    with pytest.raises(InputError):
        keys.drop(home, "passport")
    keys.prepare(home, "passport")
    assert keys.prepare(home, "passport") == keys.listed(home)[2]["kid"], "prepared once"
    keys.drop(home, "passport")
    assert states(home, "passport") == ["signs"]


def test_only_an_owner_rotates(home: Path) -> None:
    from omega.host.embedded import Omega

    async def whole() -> None:
        effector = keys.KeysEffector()
        async with Omega.open(home, effectors=[effector]) as engine:
            effector.serve(engine)
            with pytest.raises(Denied):
                outcome = await engine.run(keys.promote_key, {"name": "passport", "overlap_s": 0}, principal="agent:helper")
                raise omega.kernel.errors.from_record(outcome.error)  # type: ignore[attr-defined]

    keys.prepare(home, "passport")
    asyncio.run(whole())
    assert states(home, "passport") == ["signs", "next"]
