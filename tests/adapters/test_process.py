"""Outside programs: what they get, what they give, what limits them, and that none of them is ever left behind."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.process import ProcessEffector, environment, launch
from omega.adapters.process.effector import LAST_WORDS, STDERR_LIMIT, scrub
from omega.kernel.effects import Command, CommandResult, ReadFile, Receipt
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError

PATIENCE_S = 60.0


def do(command: Command) -> CommandResult:
    return asyncio.run(perform(command))[0]


async def perform(command: Command) -> tuple[CommandResult, Receipt]:
    return await ProcessEffector().perform(permit_for("process"), command, execution=EXECUTION, step=STEP)


def python(code: str, *arguments: str, **fields: Any) -> Command:
    return Command(argv=(sys.executable, "-I", "-S", "-c", code, *arguments), **fields)


def failure(command: Command) -> OmegaError:
    with pytest.raises(OmegaError) as caught:
        do(command)
    return caught.value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def pids_in(folder: Path, count: int) -> list[int]:
    """The process ids that the members of a tree wrote into `folder`, once all `count` are there."""

    def written() -> list[Path]:
        return [file for file in folder.iterdir() if file.suffix != ".part"]  # those are about to be renamed

    assert wait_until(lambda: len(written()) >= count), f"only {[file.name for file in folder.iterdir()]} started"
    return [int(file.read_text()) for file in written()]


# What a program gets and gives


def test_result_holds_code_output_and_error() -> None:
    result, receipt = asyncio.run(
        perform(python("import sys; sys.stdout.write('out'); sys.stderr.write('err'); sys.exit(3)", accept=(0, 3)))
    )
    assert (result.code, result.stdout, result.stderr) == (3, b"out", b"err")
    assert result.duration_s > 0
    assert receipt.bytes_in == 6


def test_stdin_and_arguments_arrive_byte_for_byte() -> None:
    data = bytes(range(256)) * 4096
    odd = "a b\n$HOME;'\"\\ é"
    code = "import os,sys; d=sys.stdin.buffer.read(); sys.stdout.buffer.write(os.fsencode(sys.argv[1])+b'|'+d)"
    assert do(python(code, odd, stdin=data)).stdout == odd.encode() + b"|" + data


def test_program_may_ignore_its_stdin() -> None:
    assert do(python("pass", stdin=b"x" * (1 << 20))).code == 0


def test_without_stdin_the_program_reads_end_of_file() -> None:
    assert do(python("import sys; print(len(sys.stdin.read()))")).stdout == b"0\n"


@pytest.mark.promise("TOOL-08")
def test_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_TEST_SECRET", "do not pass on")
    result = do(python("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))", env={"GIVEN": "1"}))
    assert result.stdout.decode().strip() == "['GIVEN', 'HOME', 'LANG', 'PATH']"


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    do(Command(argv=("echo", f"$(touch {tmp_path}/made)", ";", "touch", f"{tmp_path}/made")))
    assert not (tmp_path / "made").exists()


def test_runs_in_the_working_folder(tmp_path: Path) -> None:
    assert do(Command(argv=("pwd",), cwd=str(tmp_path))).stdout.decode().strip() == str(tmp_path.resolve())


def test_program_has_default_signal_handling() -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), open('/proc/self/status').read())"
    lines = do(python(code)).stdout.decode().splitlines()
    assert lines[0].startswith("set()")
    assert not int(next(line for line in lines if line.startswith("SigBlk")).split()[1], 16)


def test_program_beside_the_interpreter_is_found_last() -> None:
    assert environment({})["PATH"].split(os.pathsep)[-1] == str(Path(sys.executable).parent)


# Limits and refusals


@pytest.mark.promise("TOOL-09")
def test_unaccepted_exit_code_is_coded_with_last_words() -> None:
    error = failure(python("import sys; sys.exit('it went wrong')"))
    assert isinstance(error, UpstreamError)
    assert (error.code, error.details["exit_code"], error.details["last_words"]) == ("OMG-P002", 1, "it went wrong")


def test_death_by_signal_is_128_plus_signal() -> None:
    assert failure(python("import os; os.kill(os.getpid(), 9)")).details["exit_code"] == 128 + signal.SIGKILL


def test_last_words_are_bounded_and_hold_no_given_value() -> None:
    code = "import os,sys; sys.stderr.write('x'*200_000 + ' token ' + os.environ['TOKEN']); sys.exit(1)"
    error = failure(python(code, env={"TOKEN": "tok_4711_very_secret"}))
    assert "tok_4711" not in str(error.record())
    assert error.details["last_words"].endswith("token ***")
    assert len(error.details["last_words"]) <= LAST_WORDS


def test_standard_error_is_kept_to_its_limit() -> None:
    result = do(python("import sys; sys.stderr.write('a'*1_000_000 + 'end')"))
    assert len(result.stderr) == STDERR_LIMIT
    assert result.stderr.endswith(b"end")


@pytest.mark.promise("TOOL-09")
def test_too_much_output_stops_the_program() -> None:
    error = failure(python("import os\nwhile True: os.write(1, b'x'*65536)", stdout_limit=1 << 20))
    assert (error.code, error.details["limit_bytes"]) == ("OMG-P004", 1 << 20)


def test_output_of_exactly_the_limit_passes() -> None:
    assert len(do(python("import sys; sys.stdout.write('x'*1000)", stdout_limit=1000)).stdout) == 1000


@pytest.mark.promise("TOOL-09")
@pytest.mark.parametrize("argv", [("no-such-program-anywhere",), ("./no/such",), ("",), (), ("/etc/hostname",), ("echo", "a\0b")])
def test_program_that_cannot_run_is_coded(argv: tuple[str, ...]) -> None:
    error = failure(Command(argv=argv))
    assert isinstance(error, InputError)
    assert error.code == "OMG-P001"


def test_file_that_is_no_program_is_coded(tmp_path: Path) -> None:
    script = tmp_path / "text"
    script.write_bytes(b"\x00\x01 not a program")
    script.chmod(0o755)
    error = failure(Command(argv=(str(script),)))
    assert error.code == "OMG-P001"
    assert "exec format" in error.cause.lower()


def test_missing_working_folder_is_coded(tmp_path: Path) -> None:
    assert failure(Command(argv=("pwd",), cwd=str(tmp_path / "none"))).code == "OMG-P005"


def test_a_spent_or_foreign_permit_runs_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    command = Command(argv=("touch", str(made)))
    permit = permit_for("files")
    with pytest.raises(Denied):
        asyncio.run(ProcessEffector().perform(permit, command, execution=EXECUTION, step=STEP))
    with pytest.raises(Denied):
        asyncio.run(ProcessEffector().perform(permit_for("process", expires_in_s=-1), command, execution=EXECUTION, step=STEP))
    assert not made.exists()


def test_a_foreign_request_is_refused() -> None:
    with pytest.raises(InputError):
        asyncio.run(ProcessEffector().perform(permit_for("process"), ReadFile(path="/etc/hostname"), execution=EXECUTION, step=STEP))


@settings(max_examples=30, deadline=None)
@given(st.text(), st.lists(st.text(min_size=6), max_size=4))
def test_scrubbed_text_holds_no_secret(text: str, secrets: list[str]) -> None:
    for secret in secrets:
        if "*" not in secret:
            assert secret not in scrub(text + secret + text, secrets)


# Nothing is left behind

TREE = """
import os, signal, subprocess, sys, time
folder = sys.argv[1]
def note(name):
    with open(os.path.join(folder, name + '.part'), 'w') as file:
        file.write(f'{os.getpid()}\\n')
    os.rename(os.path.join(folder, name + '.part'), os.path.join(folder, name))
def sleeper(name, *preparations):
    if os.fork() == 0:
        for prepare in preparations:
            prepare()
        note(name)
        while True:
            time.sleep(60)
def twice():
    if os.fork():
        os._exit(0)
def deaf():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
sleeper('plain')
sleeper('deaf', deaf)
sleeper('session', os.setsid)
sleeper('daemon', twice, os.setsid, twice, deaf)
sleeper('group', os.setpgrp)
"""
STAY = TREE + "note('main')\nprint('up', flush=True)\ntime.sleep(600)\n"
LEAVE = TREE + "print('gone', flush=True)\n"
WAIT_THEN_LEAVE = TREE + "while len(os.listdir(folder)) < 5: time.sleep(0.01)\n"

ENGINE = """
import asyncio, sys
sys.path[:0] = [{tests!r}, {source!r}]
from adapters.permits import permit_for
from omega.adapters.process import ProcessEffector
from omega.kernel.effects import Command
command = Command(argv=(sys.executable, '-I', '-S', '-c', {code!r}, sys.argv[1]), timeout_s=600.0)
asyncio.run(ProcessEffector().perform(permit_for('process'), command, execution='e', step='s'))
"""


def start_engine(folder: Path, code: str = STAY) -> subprocess.Popen[bytes]:
    here = Path(__file__).resolve().parents[1]
    program = ENGINE.format(tests=str(here), source=str(here.parent / "src"), code=code)
    return subprocess.Popen([sys.executable, "-c", program, str(folder)])


@pytest.mark.promise("RUN-15")
def test_engine_killed_outright_leaves_no_process(tmp_path: Path) -> None:
    engine = start_engine(tmp_path)
    try:
        tree = pids_in(tmp_path, 6)
        assert all(alive(pid) for pid in tree)
    finally:
        engine.kill()
        engine.wait()
    assert wait_until(lambda: not any(alive(pid) for pid in tree)), [pid for pid in tree if alive(pid)]


@pytest.mark.slow
@pytest.mark.promise("RUN-15")
def test_engine_killed_while_starting_leaves_no_process(tmp_path: Path) -> None:
    for moment in range(6):
        folder = tmp_path / str(moment)
        folder.mkdir()
        engine = start_engine(folder)
        wait_until(lambda folder=folder, moment=moment: len(list(folder.iterdir())) >= moment)  # type: ignore[misc]
        engine.kill()
        engine.wait()
        assert wait_until(lambda folder=folder: not _running(str(folder)))  # type: ignore[misc]


def _running(argument: str) -> list[int]:
    """Processes with `argument` on their command line: forks inherit it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if argument.encode() in words and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_timeout_ends_the_whole_tree(tmp_path: Path) -> None:
    command = python(STAY, str(tmp_path), timeout_s=2.0)
    error = failure(command)
    assert (error.code, error.details["timeout_s"]) == ("OMG-P003", 2.0)
    assert len(pids_in(tmp_path, 6)) == 6
    assert not _running(str(tmp_path))


def test_cancelling_ends_the_whole_tree(tmp_path: Path) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(perform(python(STAY, str(tmp_path))))
        await asyncio.to_thread(pids_in, tmp_path, 6)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not _running(str(tmp_path))

    asyncio.run(scenario())


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    result = do(python(WAIT_THEN_LEAVE, str(tmp_path)))
    assert result.code == 0
    assert not _running(str(tmp_path))


def test_shield_killed_takes_the_program_with_it(tmp_path: Path) -> None:
    argv, _ = launch((sys.executable, "-I", "-S", "-c", STAY, str(tmp_path)), cwd=None, env={})
    shield = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    pids_in(tmp_path, 6)
    main = int((tmp_path / "main").read_text())
    shield.kill()
    shield.wait()
    try:
        assert wait_until(lambda: not alive(main))
    finally:
        for pid in _running(str(tmp_path)):  # the others belonged to nobody: the promise is about the engine, not the shield
            os.kill(pid, signal.SIGKILL)


def test_shield_refuses_to_start_for_an_engine_that_is_gone(tmp_path: Path) -> None:
    made = tmp_path / "made"
    argv = list(launch(("touch", str(made)), cwd=None, env={})[0])
    argv[4] = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 127
    assert b"the engine is gone" in done.stderr
    assert not made.exists()


def test_shield_outlives_the_thread_that_started_it() -> None:
    code = "import sys; print('up', flush=True); sys.stdin.read(); print('still here', flush=True)"
    argv, _ = launch((sys.executable, "-I", "-S", "-c", code), cwd=None, env={})
    started: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    may_end = threading.Event()

    def start_and_linger() -> None:
        started.put(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        may_end.wait(PATIENCE_S)

    thread = threading.Thread(target=start_and_linger)
    thread.start()
    with started.get() as shield:
        assert shield.stdout is not None
        assert shield.stdout.readline() == b"up\n"
        may_end.set()
        thread.join()
        assert shield.communicate(timeout=PATIENCE_S)[0] == b"still here\n"
        assert shield.returncode == 0
