"""The sandbox of tool servers: a hostile one tries, deed by deed, what it should not, and gets what it was granted and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.mcp import McpEffector, PassedCall, Transport, Upstream, describe
from omega.adapters.mcp.confined import advice
from omega.adapters.process import landlock, launch, sockets
from omega.adapters.process.launch import unconfinable
from omega.adapters.process.places import named, places
from omega.kernel.definition import Tool, tool
from omega.kernel.effects import ToolCall
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.sandbox import PLAIN, Sandbox

HOSTILE = Path(__file__).resolve().parents[1] / "servers" / "hostile_mcp.py"
KEY = "the key of the installation"


class Inside:
    """The hostile server, started as `launch` says; `attempt` has it try a deed and gives its words."""

    def __init__(self, sandbox: Sandbox | None, protected: tuple[str, ...] = (), *, cwd: str | None = None, extra: int = -1) -> None:
        argv = (sys.executable, "-I", "-S", str(HOSTILE))
        command, env = launch(argv, cwd=cwd, env={}, sandbox=sandbox, protected=protected)
        passed = (extra,) if extra >= 0 else ()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, cwd=cwd, text=True, pass_fds=passed)
        self.number = 0

    def attempt(self, deed: str, target: object = "") -> str:
        self.number += 1
        params = {"name": "attempt", "arguments": {"deed": deed, "target": str(target)}}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": params}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return str(answer["result"]["content"][0]["text"])

    def close(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=30)


class Machine:
    """What there is to steal and to break: a data folder with a key, a home with an ssh key, somebody's notes, a port that answers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.key, self.ssh, self.notes = folder / "omega/keys/log.key", folder / "person/.ssh/id_ed25519", folder / "shared/notes.txt"
        for place in (self.key, self.ssh, self.notes):
            place.parent.mkdir(parents=True)
            place.write_text(KEY)
        self.inside = Inside(Sandbox(read=(str(self.notes.parent),)), (str(folder / "omega"),))


@contextmanager
def answering() -> Iterator[int]:
    """A port of this machine that says hello to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    made, _ = listener.accept()
                except OSError:
                    return
                with made:
                    made.sendall(b"hello")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with answering() as port:
        made = Machine(tmp_path_factory.mktemp("machine"), port)
        with closing(made.inside):
            yield made


def refused(words: str) -> bool:
    return words.startswith(("refused EACCES", "refused EPERM", "refused EXDEV"))


# What it may not


@pytest.mark.promise("TOOL-60")
@pytest.mark.parametrize("deed", ["read", "write", "cut", "remove", "take", "link", "hard_link", "run"])
def test_keys_of_the_installation_are_out_of_reach(machine: Machine, deed: str) -> None:
    assert refused(machine.inside.attempt(deed, machine.key))
    assert machine.key.read_text() == KEY


@pytest.mark.promise("TOOL-60")
def test_the_data_folder_is_not_even_listed(machine: Machine) -> None:
    assert refused(machine.inside.attempt("listed", machine.key.parent))
    assert refused(machine.inside.attempt("write", machine.key.parent / "new.key"))
    assert not (machine.key.parent / "new.key").exists()


@pytest.mark.promise("TOOL-60")
@pytest.mark.parametrize("deed", ["read", "write", "cut", "run"])
def test_what_lies_in_a_home_is_out_of_reach(machine: Machine, deed: str) -> None:
    assert refused(machine.inside.attempt(deed, machine.ssh))
    assert refused(machine.inside.attempt("listed", Path.home()))
    assert machine.ssh.read_text() == KEY


@pytest.mark.promise("TOOL-60")
@pytest.mark.parametrize("deed", ["write", "cut", "remove", "take"])
def test_what_may_be_read_may_not_be_changed(machine: Machine, deed: str) -> None:
    assert machine.inside.attempt("read", machine.notes) == f"done {KEY.encode().hex()}"
    assert refused(machine.inside.attempt(deed, machine.notes))
    assert machine.notes.read_text() == KEY


@pytest.mark.promise("TOOL-60")
def test_what_other_programs_put_into_the_temporary_folder_is_out_of_reach(machine: Machine, tmp_path: Path) -> None:
    assert refused(machine.inside.attempt("listed", "/tmp"))
    assert refused(machine.inside.attempt("write", tmp_path / "left"))


@pytest.mark.promise("TOOL-60")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read it anyway")
def test_secrets_of_the_system_are_out_of_reach_of_a_server_of_root(machine: Machine) -> None:
    assert refused(machine.inside.attempt("read", "/etc/shadow"))
    assert machine.inside.attempt("read", "/etc/passwd").startswith("done")


@pytest.mark.promise("TOOL-61")
def test_a_port_of_this_machine_cannot_be_reached(machine: Machine) -> None:
    assert refused(machine.inside.attempt("connect", machine.port))


@pytest.mark.promise("TOOL-61")
def test_nothing_can_be_listened_on(machine: Machine) -> None:
    assert refused(machine.inside.attempt("listen", 0))


@pytest.mark.promise("TOOL-61")
@pytest.mark.parametrize("deed", ["datagram", "multipath", "fast"])
def test_no_other_way_leads_to_a_port(machine: Machine, deed: str) -> None:
    """Landlock alone holds none of these."""
    assert refused(machine.inside.attempt(deed, machine.port))


@pytest.mark.promise("TOOL-61")
def test_a_socket_that_has_a_path_cannot_be_reached(machine: Machine, tmp_path: Path) -> None:
    place = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        assert refused(machine.inside.attempt("local", place))


@pytest.mark.slow
@pytest.mark.promise("TOOL-61")
def test_a_granted_port_opens_no_way_to_another_one(machine: Machine) -> None:
    with answering() as port, closing(Inside(Sandbox(network=str(port)))) as inside:
        assert inside.attempt("connect", port) == "done hello"
        assert [refused(inside.attempt(deed, machine.port)) for deed in ("connect", "multipath", "fast")] == [True] * 3


@pytest.mark.promise("TOOL-62")
@pytest.mark.parametrize("deed", ["kill", "trace", "peek"])
@pytest.mark.parametrize("whose", ["engine", "shield"])
def test_neither_engine_nor_shield_can_be_touched(machine: Machine, deed: str, whose: str) -> None:
    pid = os.getpid() if whose == "engine" else machine.inside.process.pid
    assert refused(machine.inside.attempt(deed, pid))


@pytest.mark.promise("TOOL-62")
@pytest.mark.parametrize("name", ["environ", "maps", "fd/0", "cwd/pyproject.toml", "root/etc/hostname"])
def test_nothing_of_the_engine_is_read_through_proc(machine: Machine, name: str) -> None:
    assert refused(machine.inside.attempt("read", f"/proc/{os.getpid()}/{name}"))


@pytest.mark.promise("TOOL-62")
def test_keyrings_of_the_kernel_are_out_of_reach(machine: Machine) -> None:
    assert refused(machine.inside.attempt("keyring"))


@pytest.mark.promise("TOOL-62")
def test_an_abstract_socket_of_somebody_else_cannot_be_reached(machine: Machine) -> None:
    name = f"omega-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        assert refused(machine.inside.attempt("local", f"@{name}"))


@pytest.mark.slow
@pytest.mark.promise("TOOL-62")
def test_no_descriptor_and_no_privilege_is_kept() -> None:
    secret = os.open(os.devnull, os.O_RDONLY)
    try:
        with closing(Inside(PLAIN, extra=secret)) as inside:
            assert inside.attempt("descriptors") == "done "
            assert inside.attempt("status", "NoNewPrivs:") == "done 1"
            assert [inside.attempt("status", f"Cap{kind}:") for kind in ("Prm", "Eff", "Inh", "Amb")] == ["done " + "0" * 16] * 4
    finally:
        os.close(secret)


# What it may


@pytest.mark.slow
@pytest.mark.promise("TOOL-63")
def test_a_folder_of_its_own_is_home_and_goes_with_it(tmp_path: Path) -> None:
    with closing(Inside(PLAIN)) as inside:
        places_named = [inside.attempt("own", name) for name in ("HOME", "TMPDIR")]
        place = Path(places_named[0].removeprefix("done "))
        assert places_named[0] == places_named[1] and (place / "note").read_text() == "mine"
        assert place.stat().st_mode & 0o777 == 0o700
        with closing(Inside(PLAIN)) as other:
            assert refused(other.attempt("read", place / "note")), "no server sees another's"
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.promise("TOOL-63")
def test_what_is_granted_can_be_done(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/note").write_text("old")
    with answering() as port, answering() as other:
        granted = Sandbox(write=(str(tmp_path / "in"),), network=f"{port}")
        with closing(Inside(granted)) as inside:
            assert inside.attempt("write", tmp_path / "in/note").startswith("done")
            assert inside.attempt("write", tmp_path / "in/new").startswith("done")
            assert inside.attempt("connect", port) == "done hello"
            assert refused(inside.attempt("connect", other))
            assert refused(inside.attempt("write", tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "new", "note"]
    assert (tmp_path / "in/note").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.promise("TOOL-63")
def test_the_whole_network_can_be_granted_without_any_file(machine: Machine) -> None:
    with closing(Inside(Sandbox(network="all"), (str(machine.folder / "omega"),))) as inside:
        assert inside.attempt("connect", machine.port) == "done hello"
        assert refused(inside.attempt("read", machine.key))


@pytest.mark.slow
@pytest.mark.promise("TOOL-63")
def test_without_a_sandbox_all_of_it_can_be_done(machine: Machine) -> None:
    """The deeds are real: what is refused above is possible to the same program outside."""
    with ExitStack() as stack:
        for sandbox in (None, Sandbox(on=False)):
            free = stack.enter_context(closing(Inside(sandbox)))
            assert free.attempt("read", machine.key) == f"done {KEY.encode().hex()}"
            assert free.attempt("connect", machine.port) == "done hello"
            assert free.attempt("kill", os.getpid()).startswith("done")
            assert free.attempt("status", "NoNewPrivs:") == "done 0"


@pytest.mark.promise("TOOL-63")
def test_the_folder_it_works_in_can_be_read_and_what_lies_beside_it_cannot(tmp_path: Path) -> None:
    for name in ("work", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note").write_text("x")
    with closing(Inside(PLAIN, cwd=str(tmp_path / "work"))) as inside:
        assert inside.attempt("read", "note") == "done 78"
        assert refused(inside.attempt("write", "note"))
        assert refused(inside.attempt("read", tmp_path / "beside/note"))


# Through the effector


@pytest.mark.slow
@pytest.mark.promise("TOOL-65")
def test_a_call_may_change_its_own_folder_and_a_refusal_names_the_grant(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    upstream = Upstream(name="it", transport=Transport.STDIO, argv=(sys.executable, "-I", "-S", str(HOSTILE)))

    async def scenario() -> None:
        pins = {tool.name: tool for tool in await describe(upstream, launch)}
        effector = McpEffector({"it": upstream}.get, lambda server, tool: pins.get(tool), launch)

        async def call(kind: type[ToolCall], cwd: str | None, deed: str, target: object) -> Any:
            arguments = {"deed": deed, "target": str(target)}
            more: dict[str, Any] = {"more": {}} if kind is PassedCall else {}
            request = kind(server="it", tool="attempt", arguments=arguments, cwd=cwd, **more)
            return (await effector.perform(permit_for("mcp"), request, execution=EXECUTION, step=STEP))[0]

        try:
            one = str(tmp_path / "one")
            assert str(await call(ToolCall, one, "write", "made")).startswith("done")
            assert refused(await call(ToolCall, one, "write", tmp_path / "two/made"))
            assert refused(await call(ToolCall, None, "write", tmp_path / "one/made"))
            with pytest.raises(UpstreamError) as caught:
                await call(ToolCall, None, "words", "/home/ada/notes")
            assert "omega mcp sandbox it --read" in caught.value.advice
            told = await call(PassedCall, None, "words", "/home/ada/notes")
            assert "omega mcp sandbox it --read" in told["content"][-1]["text"]
        finally:
            await effector.aclose()

    asyncio.run(scenario())
    assert (tmp_path / "one/made").read_text() == "mine" and not (tmp_path / "two/made").exists()


def test_the_folder_of_a_call_is_what_the_named_argument_says() -> None:
    plain, working = tool("git", "git_log").body, tool("git", "git_log", folder="repo_path").body
    assert isinstance(plain, Tool) and isinstance(working, Tool)
    assert plain.works_in({"repo_path": "/a"}) is None and "folder" not in plain.parameters(), "what was recorded of such a flow stays"
    assert [working.works_in(given) for given in ({"repo_path": "/a"}, {"repo_path": 1}, {"repo_path": ""}, {})] == ["/a", None, None, None]


# What cannot be granted


@pytest.mark.promise("TOOL-64")
@pytest.mark.parametrize("grant", ["omega/keys", "omega", "", "omega/keys/log.key"])
def test_the_data_folder_cannot_be_granted(machine: Machine, grant: str) -> None:
    place = str(machine.folder / grant) if grant else str(machine.folder)
    with pytest.raises(InputError) as caught:
        Inside(Sandbox(write=(place,)), (str(machine.folder / "omega"),))
    assert caught.value.code == "OMG-P009"


@pytest.mark.promise("TOOL-64")
def test_a_granted_path_that_leads_elsewhere_now_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    granted = Sandbox(read=(str(place),))
    place.rmdir()
    place.symlink_to("/var")
    with pytest.raises(InputError, match="leads elsewhere"):
        Inside(granted)


@pytest.mark.promise("TOOL-64")
@pytest.mark.parametrize(
    ("version", "sandbox", "word"), [(0, PLAIN, "no Landlock"), (2, PLAIN, "version 3"), (3, Sandbox(network="443"), "version 4")]
)
def test_where_the_kernel_cannot_hold_it_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, version: int, sandbox: Sandbox, word: str
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: version)
    with pytest.raises(InputError, match=word) as caught:
        launch(("true",), cwd=None, env={}, sandbox=sandbox)
    assert caught.value.code == "OMG-P009"
    assert unconfinable(Sandbox(on=False)) == ""
    assert launch(("true",), cwd=None, env={}, sandbox=Sandbox(on=False))[0][-1].endswith("/true")


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a//b", "/a/./b", "/a\nb", "/a\0b"])
def test_a_path_that_is_not_plain_is_no_grant(path: str) -> None:
    with pytest.raises(InputError):
        Sandbox(read=(path,))


@pytest.mark.parametrize("network", ["", "loopback", "0", "65536", "443,", "-1", "٣"])
def test_a_network_that_is_none_is_refused(network: str) -> None:
    with pytest.raises(InputError):
        Sandbox(network=network)


def test_a_sandbox_comes_back_from_its_record() -> None:
    for sandbox in (PLAIN, Sandbox(read=("/a",), write=("/b",), network="443,80"), Sandbox(on=False)):
        assert Sandbox.from_json(json.loads(json.dumps(sandbox.to_json()))) == sandbox
    for wrong in ({}, {**PLAIN.to_json(), "more": 1}, {**PLAIN.to_json(), "on": 1}, {**PLAIN.to_json(), "read": "/a"}):
        with pytest.raises(InputError):
            Sandbox.from_json(wrong)


# What follows from a command


def test_what_a_command_names_is_found_and_nothing_broad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person/work").mkdir(parents=True)
    (tmp_path / "person/work/a.db").write_text("")
    kept = str(tmp_path / "person/work/omega")
    argv = ("server", "~/work/a.db", "--db=~/work/a.db", f"--at={tmp_path}/person/work/a.db", "~", "~/work", "/", "word", "./gone", kept)
    assert named(argv, str(tmp_path), [kept]) == (str(tmp_path / "person/work/a.db"),)
    assert named(argv, str(tmp_path), []) == (str(tmp_path / "person/work/a.db"), str(tmp_path / "person/work"))


def test_a_program_is_taken_with_what_it_is_made_of_and_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "person"
    monkeypatch.setenv("HOME", str(home))
    package = home / "lib/node_modules/server"
    (package / "dist").mkdir(parents=True)
    (home / "bin").mkdir()
    script, entry = package / "dist/index.js", home / "bin/server"
    script.write_text("#!/usr/bin/env sh\n")
    script.chmod(0o755)
    entry.symlink_to(script)
    (home / "secret").write_text("#!/bin/sh\n")
    found = places(str(entry), ("server",), cwd=str(home), path="/usr/bin:/bin", sandbox=PLAIN, protected=())
    mine = [path for path in found.read if path.startswith(str(tmp_path))]
    assert str(home / "lib/node_modules") in mine
    assert not any(path in (str(home), str(tmp_path)) for path in mine), "a home is never taken whole"
    (home / "bin/evil").write_text(f"#!{home / 'secret'}\n")
    (home / "bin/evil").chmod(0o755)
    evil = places(str(home / "bin/evil"), ("evil",), cwd=None, path="/usr/bin:/bin", sandbox=PLAIN, protected=())
    assert str(home / "secret") not in evil.read, "what cannot be run is no interpreter"


def test_a_system_folder_with_the_data_folder_in_it_is_taken_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omega.adapters.process import places as module

    for name in ("a", "b/omega", "b/c"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(module, "SYSTEM", (str(tmp_path),))
    found = places("/bin/true", ("true",), cwd=None, path="/bin", sandbox=PLAIN, protected=(str(tmp_path / "b/omega"),))
    assert [path for path in found.read if path.startswith(str(tmp_path))] == [str(tmp_path / "a"), str(tmp_path / "b/c")]


@pytest.mark.parametrize(
    ("words", "grant"),
    [
        ("PermissionError: [Errno 13] Permission denied: '/home/ada/x'", "--read"),
        ("Error: EACCES: permission denied, open '/x'", "--write"),
        ("getaddrinfo ENOTFOUND api.example", "--network"),
        ("unable to open database file", "--write"),
        ("no such table", ""),
    ],
)
def test_words_that_read_like_a_refusal_name_the_grant(words: str, grant: str) -> None:
    assert (grant in advice("git", words)) if grant else advice("git", words) == ""


@pytest.mark.parametrize("machine", sorted(sockets.MACHINES))
@pytest.mark.parametrize("network", ["none", "ports", "all"])
def test_every_way_through_the_filter_ends_in_it(machine: str, network: str) -> None:
    """The kernel refuses a filter that leads out of itself; here this is known for the machines that no test runs on."""
    filtered = sockets.instructions(machine, network)
    for place, (code, holds, fails, _) in enumerate(filtered):
        assert code == 0x06 or place + 1 + max(holds, fails) < len(filtered)
