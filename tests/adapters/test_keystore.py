"""The key store: made once, private, refused when it is not, and whole after any race."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import omega
from omega.adapters.keystore import KINDS, Keystore
from omega.kernel.errors import StorageError

SOURCE = str(Path(omega.__file__).parents[1]) if omega.__file__ else ""


@pytest.mark.promise("TRUST-04")
def test_keys_are_made_on_first_use_and_stay(tmp_path: Path) -> None:
    previous = os.umask(0o000)
    try:
        store = Keystore.open(tmp_path / "home" / "keys")
    finally:
        os.umask(previous)
    folder = tmp_path / "home" / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {f"{name}.key" for name in KINDS}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    again = Keystore.open(folder)
    assert again.secret("seal") == store.secret("seal")
    for name in ("passport", "log"):
        signer = store.signer(name)
        assert (signer.name, signer.public) == (name, again.signer(name).public)
        Ed25519PublicKey.from_public_bytes(signer.public).verify(signer.sign(b"message"), b"message")
    assert store.signer("passport").public != store.signer("log").public
    assert len(store.secret("seal")) == 32


def _open_to_group(folder: Path) -> None:
    folder.chmod(0o750)


def _readable_key(folder: Path) -> None:
    (folder / "log.key").chmod(0o604)


def _linked_key(folder: Path) -> None:
    (folder / "log.key").rename(folder.parent / "elsewhere.key")
    (folder / "log.key").symlink_to(folder.parent / "elsewhere.key")


def _linked_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


def _file_for_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("")


def _pipe(folder: Path) -> None:
    (folder / "log.key").unlink()
    os.mkfifo(folder / "log.key", 0o600)


def _empty(folder: Path) -> None:
    (folder / "log.key").write_bytes(b"")


def _garbled(folder: Path) -> None:
    (folder / "log.key").write_bytes(b"omega-key 1 ed25519 !!!!\n")


def _short(folder: Path) -> None:
    (folder / "log.key").write_bytes(b"omega-key 1 ed25519 AAAA\n")


def _other_kind(folder: Path) -> None:
    (folder / "log.key").write_bytes((folder / "seal.key").read_bytes())


def _huge(folder: Path) -> None:
    (folder / "log.key").write_bytes(b"omega-key " * 100_000)


SPOILED = [
    _open_to_group,
    _readable_key,
    _linked_key,
    _linked_folder,
    _file_for_folder,
    _pipe,
    _empty,
    _garbled,
    _short,
    _other_kind,
    _huge,
]


@pytest.mark.promise("TRUST-04")
@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_store_that_others_could_reach_or_that_is_damaged_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = tmp_path / "keys"
    Keystore.open(folder)
    spoil(folder)
    with pytest.raises(StorageError) as caught:
        Keystore.open(folder).signer("log")
    assert caught.value.code == "OMG-T003"
    assert str(tmp_path) in caught.value.cause or "key log" in caught.value.cause


@pytest.mark.promise("TRUST-04")
@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a folder away")
def test_a_store_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keystore.open(folder)
    os.chown(folder / "seal.key", 12345, 12345)
    with pytest.raises(StorageError, match="belongs to user 12345"):
        Keystore.open(folder).secret("seal")
    os.chown(folder, 12345, 12345)
    with pytest.raises(StorageError, match="belongs to user 12345"):
        Keystore.open(folder)


def test_a_newer_file_an_unknown_key_and_an_impossible_folder_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    store = Keystore.open(folder)
    for ask in (lambda: store.signer("seal"), lambda: store.secret("log"), lambda: store.secret("../../etc/passwd")):
        with pytest.raises(StorageError) as unknown:
            ask()
        assert unknown.value.code == "OMG-T003"
    (folder / "log.key").write_bytes(b"omega-key 2 ml-dsa-65 AAAA\n")
    with pytest.raises(StorageError) as newer:
        store.signer("log")
    assert newer.value.code == "OMG-S003"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as impossible:
        Keystore.open(tmp_path / "file" / "keys")
    assert impossible.value.code == "OMG-S002"


def test_a_key_swapped_after_opening_is_checked_again(tmp_path: Path) -> None:
    store = Keystore.open(tmp_path / "keys")
    (tmp_path / "keys" / "seal.key").chmod(0o644)
    with pytest.raises(StorageError):
        store.secret("seal")


@pytest.mark.promise("TRUST-06")
def test_processes_that_race_end_with_one_store(tmp_path: Path) -> None:
    program = (
        "import sys; from omega.adapters.keystore import Keystore; sys.stdin.read();"
        "store = Keystore.open(sys.argv[1]);"
        "print(store.signer('passport').public.hex(), store.signer('log').public.hex(), store.secret('seal').hex())"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
    said = set()
    for racer in racers:
        assert racer.stdout is not None
        with racer.stdout:
            said.add(racer.stdout.read())
        assert racer.wait(timeout=60) == 0
    assert len(said) == 1
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {f"{name}.key" for name in KINDS}, "no draft is left"


def test_no_key_shows_in_text(tmp_path: Path) -> None:
    signer = Keystore.open(tmp_path / "keys").signer("log")
    assert repr(signer) == "<signer log>"
