"""OMEGA_ATTEST=require: the program of a tool server starts only when a trusted builder vouches for it, byte for byte."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.adapters.mcp import Transport, Upstream
from omega.host import attesting, toolbox
from omega.host.sandboxing import launcher
from omega.host.settings import Settings
from omega.host.vetting import demand_server
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.sandbox import PLAIN
from omega.trust.attest import attest, provenance
from omega.trust.keys import PublicKey

BUILDER = "https://build.example/servers"
SIGNER = SeededSigner(63)
SERVER = """
import json, pathlib, sys
pathlib.Path(sys.argv[1], "started").touch()
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    told = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}},
        "tools/list": {"tools": [{"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}}]},
    }.get(asked["method"])
    body = {"result": told} if told else {"error": {"code": -32601, "message": "no such method"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **body}), flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that asks for attestations by BUILDER, signed with SIGNER."""
    folder = tmp_path / "home" / attesting.FOLDER
    folder.mkdir(parents=True)
    keys = [{"jwk": PublicKey(SIGNER.public).jwk(), "until_s": 1 << 39}]
    (folder / attesting.TRUSTED).write_text(json.dumps({"builders": [BUILDER], "keys": keys}))
    monkeypatch.setenv("OMEGA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(attesting.ATTEST, attesting.REQUIRE)
    finders = sys.meta_path[:]
    yield tmp_path / "home"
    sys.meta_path[:] = finders


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server" / "server.py"
    path.parent.mkdir()
    path.write_text(SERVER)
    return path


def vouch(home: Path, *files: str | Path) -> None:
    subjects = {Path(file).name: sha256(Path(file).read_bytes()).hexdigest() for file in files}
    statement = attest(
        provenance(subjects, builder=BUILDER, build_type="https://build.example/v1", parameters={}, dependencies={}), [SIGNER]
    )
    (home / attesting.FOLDER / f"{len(list((home / attesting.FOLDER).iterdir()))}.dsse").write_bytes(statement)


def refused(call: Callable[[], Any], why: str = "not attested") -> Denied:
    with pytest.raises(Denied, match=why) as caught:
        call()
    assert caught.value.code == "OMG-T008"
    return caught.value


def demand(*argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    demand_server([str(each) for each in argv], cwd=None if cwd is None else str(cwd), env=env or {})


@pytest.mark.slow
@pytest.mark.promise("CRED-06")
def test_a_real_server_starts_when_it_is_attested_and_no_more_when_it_changed(
    home: Path, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"sandbox": PLAIN}
    upstream = Upstream(name="looker", transport=Transport.STDIO, argv=(sys.executable, str(script), str(tmp_path)), **free)
    unconfined = Upstream.from_json({**upstream.to_json(), "sandbox": {"on": False, "read": [], "write": [], "network": "all"}})

    def add(name: str) -> list[str]:
        named = Upstream.from_json({**unconfined.to_json(), "name": name})
        return [tool.name for tool in asyncio.run(toolbox.add(str(home), named))]

    error = refused(lambda: add("first"), "server.py is not attested: there is no statement")
    assert sha256(script.read_bytes()).hexdigest() in error.advice and "attestations" in error.advice
    assert not (tmp_path / "started").exists()  # it was asked before it was started, not after
    vouch(home, script)
    assert add("second") == ["look"]
    assert (tmp_path / "started").exists()
    script.write_text(SERVER + "\n# changed\n")
    (tmp_path / "started").unlink()
    refused(lambda: add("third"), "not attested")
    assert not (tmp_path / "started").exists()
    monkeypatch.delenv(attesting.ATTEST)
    assert add("fourth") == ["look"]  # without it nothing changes


@pytest.mark.promise("CRED-06")
def test_whatever_starts_servers_asks(home: Path, script: Path) -> None:
    start = launcher(Settings.load(home))
    refused(lambda: start((sys.executable, str(script)), cwd=None, env={}, sandbox=PLAIN))
    with pytest.raises(InputError) as caught:
        start(("no-such-program",), cwd=None, env={}, sandbox=PLAIN)
    assert caught.value.code == "OMG-P001"


@pytest.mark.promise("CRED-06")
def test_a_program_its_interpreter_and_the_files_that_it_names_are_asked_for(home: Path, script: Path, tmp_path: Path) -> None:
    other, tool = tmp_path / "server" / "data.json", tmp_path / "tool"
    other.write_text("{}")
    vouch(home, script)
    demand(sys.executable, "-u", script)
    demand(sys.executable, "server.py", cwd=script.parent)
    refused(lambda: demand(sys.executable, script, other), "data.json")
    refused(lambda: demand(sys.executable, script, f"--data={other}"), "data.json")
    vouch(home, other)
    demand(sys.executable, script, f"--data={other}")
    shutil.copy("/bin/true", tool)
    tool.chmod(0o755)
    refused(lambda: demand(tool), "tool is not attested")
    vouch(home, tool)
    demand(tool)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f"#!{tool}\n")
    wrapper.chmod(0o755)
    refused(lambda: demand(wrapper), "wrapper is not attested")
    vouch(home, wrapper)
    demand(wrapper)
    tool.write_bytes(tool.read_bytes() + b"\0")
    refused(lambda: demand(wrapper), "tool is not attested")
    link = tmp_path / "link"
    link.symlink_to(tool)
    refused(lambda: demand(link), "tool is not attested")


@pytest.mark.promise("CRED-06")
@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import this"),
        ("-m", "http.server"),
        ("-W", "server.py", "-m", "http.server"),
        ("-",),
        (),
        (".",),
        (".", "server.py"),
        ("-uc", "import this", "server.py"),
        ("missing.py", "server.py"),
        ("--", "server.py"),
    ],
    ids=" ".join,
)
def test_code_that_is_in_no_file_is_refused(home: Path, script: Path, arguments: tuple[str, ...]) -> None:
    vouch(home, script)
    refused(lambda: demand(sys.executable, *arguments, cwd=script.parent), "in no file")


@pytest.mark.promise("CRED-06")
def test_programs_that_run_others_are_no_way_around(home: Path, script: Path) -> None:
    env, shell = shutil.which("env"), shutil.which("sh")
    assert env
    assert shell
    vouch(home, script, os.path.realpath(env), os.path.realpath(shell))
    refused(lambda: demand("env", script), "starts another program")
    refused(lambda: demand("sh", "-c", f"{sys.executable} -c 'import this'"), "in no file")


@pytest.mark.promise("CRED-06")
@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "NODE_OPTIONS", "PATH", "BASH_ENV"])
def test_variables_that_load_other_code_are_refused(home: Path, script: Path, name: str) -> None:
    vouch(home, script)
    demand(sys.executable, script, env={"TOKEN": "x", "PYTHONUNBUFFERED": "1"})
    refused(lambda: demand(sys.executable, script, env={name: "/elsewhere"}), name)


def test_without_the_setting_nothing_is_asked(home: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(attesting.ATTEST)
    demand(sys.executable, "-c", "import this", env={"PYTHONPATH": "/elsewhere"})
    monkeypatch.setenv(attesting.ATTEST, "perhaps")
    with pytest.raises(OmegaError):
        demand(sys.executable, script)
