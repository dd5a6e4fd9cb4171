"""OMEGA_ATTEST=require: nothing runs that a trusted builder did not vouch for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.host import attesting
from omega.host.targets import load_target
from omega.kernel.errors import Denied, InputError
from omega.trust.attest import attest, provenance
from omega.trust.keys import PublicKey

BUILDER = "https://build.example/release"
SIGNER, OTHER = SeededSigner(61), SeededSigner(62)
SOURCE = "from omega import flow\n\n\n@flow\ndef double(n: int) -> int:\n    return n * 2\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that asks for attestations by BUILDER, signed with SIGNER."""
    folder = tmp_path / "home" / attesting.FOLDER
    folder.mkdir(parents=True)
    trust(folder)
    monkeypatch.setenv("OMEGA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(attesting.ATTEST, attesting.REQUIRE)
    finders, path, modules = sys.meta_path[:], sys.path[:], set(sys.modules)
    yield folder
    sys.meta_path[:], sys.path[:] = finders, path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def trust(folder: Path, *, until_s: float = 1 << 39, builders: tuple[str, ...] = (BUILDER,), threshold: int = 1) -> None:
    keys = [{"jwk": PublicKey(SIGNER.public).jwk(), "until_s": int(until_s)}]
    (folder / attesting.TRUSTED).write_text(json.dumps({"threshold": threshold, "builders": builders, "keys": keys}))


def vouched(*files: Path, signer: Any = SIGNER, builder: str = BUILDER) -> bytes:
    subjects = {file.name: sha256(file.read_bytes()).hexdigest() for file in files}
    return attest(provenance(subjects, builder=builder, build_type="https://build.example/v1", parameters={}, dependencies={}), [signer])


def written(folder: Path, name: str, source: str = SOURCE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(source)
    return path


def refused(call: Callable[[], Any]) -> Denied:
    with pytest.raises(Denied) as caught:
        call()
    assert caught.value.code == "OMG-T008"
    return caught.value


@pytest.mark.promise("TRUST-18")
@pytest.mark.parametrize("beside", [True, False])
def test_what_is_attested_runs(home: Path, tmp_path: Path, beside: bool) -> None:
    file = written(tmp_path / "src", "attested_flow.py")
    refused(lambda: load_target(str(file)))
    (file.with_name(file.name + ".dsse") if beside else home / "release.dsse").write_bytes(vouched(file))
    assert load_target(str(file)).flow(21) == 42


@pytest.mark.promise("TRUST-18")
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("another digest", lambda home, file: file.write_text(SOURCE.replace("* 2", "* 3"))),
        ("another builder", lambda home, file: (home / "a.dsse").write_bytes(vouched(file, builder="https://evil.example"))),
        ("another key", lambda home, file: (home / "a.dsse").write_bytes(vouched(file, signer=OTHER))),
        ("an expired key", lambda home, file: trust(home, until_s=time.time() - 1)),
        ("too few signatures", lambda home, file: trust(home, threshold=2)),
        ("a builder who counts no more", lambda home, file: trust(home, builders=("https://other.example",))),
        ("a cut statement", lambda home, file: (home / "a.dsse").write_bytes(vouched(file)[:-9])),
        ("an empty statement", lambda home, file: (home / "a.dsse").write_bytes(b"")),
    ],
)
def test_what_is_not_attested_does_not_run(home: Path, tmp_path: Path, name: str, spoil: Callable[[Path, Path], Any]) -> None:
    marker = tmp_path / "ran"
    file = written(tmp_path / "src", "spoiled_flow.py", f"open({str(marker)!r}, 'w').close()\n{SOURCE}")
    (home / "a.dsse").write_bytes(vouched(file))
    spoil(home, file)
    refused(lambda: load_target(str(file)))
    assert name and not marker.exists()


@pytest.mark.promise("TRUST-18")
def test_what_a_target_imports_is_asked_for_too(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "attested_pack"
    helper = written(folder, "helper.py", "def twice(n: int) -> int:\n    return n * 2\n")
    source = SOURCE.replace("from omega import flow\n", "from attested_pack.helper import twice\nfrom omega import flow\n")
    main = written(folder, "flow.py", source.replace("n * 2", "twice(n)"))
    (home / "a.dsse").write_bytes(vouched(main))
    error = refused(lambda: load_target(str(folder)))
    assert "helper.py" in error.cause
    (home / "b.dsse").write_bytes(vouched(main, helper))
    assert load_target(str(folder)).flow(21) == 42


@pytest.mark.promise("TRUST-18")
def test_cached_bytecode_does_not_speak_for_a_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import py_compile

    folder = tmp_path / "src"
    file = written(folder, "cached_flow.py", SOURCE.replace("* 2", "* 9"))
    py_compile.compile(str(file))
    when = file.stat()
    file.write_text(SOURCE)
    os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))  # size and time as the evil bytecode has noted them
    (home / "a.dsse").write_bytes(vouched(file))
    monkeypatch.syspath_prepend(str(folder))
    assert load_target("cached_flow:double").flow(21) == 42


@pytest.mark.promise("TRUST-18")
def test_a_document_is_asked_for_too(home: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "src", "doc.poml", "poml: 2.0.0\nname: doc\nnodes: {}\n")
    refused(lambda: load_target(str(file)))


def test_the_installation_itself_is_not_asked_for(home: Path) -> None:
    import importlib

    attesting.enforce()
    sys.modules.pop("colorsys", None)
    assert importlib.import_module("colorsys").rgb_to_hls
    assert not attesting.is_component("omega.kernel.flow", Path(attesting.__file__))
    assert not attesting.is_component("pytest", Path(pytest.__file__))
    assert attesting.is_component("flow", Path("/tmp/flow.py"))


def test_a_setting_that_cannot_be_meant_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = written(tmp_path / "src", "settings_flow.py")
    for text in ("", "{}", '{"keys": [], "builders": [], "threshold": 0}', '{"keys": [{"jwk": {}, "until_s": 1}], "builders": []}'):
        (home / attesting.TRUSTED).write_text(text)
        with pytest.raises(InputError):
            load_target(str(file))
    monkeypatch.setenv(attesting.ATTEST, "maybe")
    with pytest.raises(InputError):
        load_target(str(file))
