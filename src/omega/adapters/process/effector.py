"""The effector for outside programs: no shell, a minimal environment, limits on time and output, and the shield around all of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from omega.adapters.process.launch import NO_CAPS, Caps, launch
from omega.adapters.process.shield import CANNOT_START, CAPPED, MARK
from omega.kernel.effects import Command, CommandResult, Receipt, Request
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.verdict import Permit

STDERR_LIMIT: Final = 64 << 10
"""Bytes of standard error that are kept, the last ones: programs say at the end why they failed."""

LAST_WORDS: Final = 2_000
"""Characters of standard error that an error carries."""

TREE_END_S: Final = 12.0
"""Seconds the shield may take to end a tree (its grace and its last resort) before the shield itself is killed."""

_KILLED_S: Final = 1.0
_CHUNK: Final = 64 << 10
_SECRET_LENGTH: Final = 6


class _TooMuch(Exception):
    """Standard output passed its limit."""


def no_caps(tenant: str) -> Caps:
    """Nobody is held to anything."""
    return NO_CAPS


class ProcessEffector:
    """Runs `Command` requests. Holds no state: each command is a process tree of its own that ends with the call. `caps` gives what the
    programs of a tenant may use."""

    port = Command.port

    def __init__(self, caps: Callable[[str], Caps] = no_caps) -> None:
        self._caps = caps

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[CommandResult, Receipt]:
        """Run one command to its end.

        Raises InputError (OMG-P001 no such program, OMG-P005 no such working folder) and UpstreamError (OMG-P002 exit code
        outside `accept`, OMG-P003 out of time, OMG-P004 too much output, OMG-P008 over a cap). In each case, and when the awaiting task
        is cancelled, no process of the command is left.
        """
        permit.spend(self.port)
        if not isinstance(request, Command):
            raise InputError("OMG-I001", f"the process port runs commands, not {type(request).__name__}")
        caps = self._caps(permit.tenant)
        result = await _run(request, caps)
        if caps != NO_CAPS and (over := _over(result)):
            details = {"program": request.argv[0], "cap": over}
            raise UpstreamError("OMG-P008", f"{request.argv[0]} and what it started used {over}", details=details)
        if result.code not in request.accept:
            raise _failure(request, result)
        return result, Receipt(bytes_in=len(result.stdout) + len(result.stderr), bytes_out=len(request.stdin))


async def _run(command: Command, caps: Caps) -> CommandResult:
    argv, env = launch(command.argv, cwd=command.cwd, env=command.env, caps=caps)
    start = time.monotonic()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if command.stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=command.cwd,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError("OMG-P001", f"{command.argv[0]} cannot be started: {os.strerror(error.errno or 0)}") from error
    try:
        async with asyncio.timeout(command.timeout_s):
            stdout, stderr = await _talk(process, command)
            code = await process.wait()
    except TimeoutError as error:
        details = {"program": command.argv[0], "timeout_s": command.timeout_s}
        raise UpstreamError("OMG-P003", f"{command.argv[0]} did not end within {command.timeout_s:g} s", details=details) from error
    except _TooMuch as error:
        details = {"program": command.argv[0], "limit_bytes": command.stdout_limit}
        raise UpstreamError("OMG-P004", f"{command.argv[0]} printed more than {command.stdout_limit} bytes", details=details) from error
    finally:
        await _end(process)
    return CommandResult(code, stdout, stderr, time.monotonic() - start)


async def _talk(process: asyncio.subprocess.Process, command: Command) -> tuple[bytes, bytes]:
    """Feed standard input and read both outputs at once, so that no full pipe blocks the program."""
    if process.stdout is None or process.stderr is None:
        raise InputError("OMG-P001", "the command was started without pipes")
    feeding = asyncio.create_task(_feed(process, command.stdin))
    warning = asyncio.create_task(_last(process.stderr))
    try:
        stdout = await _all(process.stdout, command.stdout_limit)
        await feeding
        return stdout, await warning
    finally:
        feeding.cancel()
        warning.cancel()
        await asyncio.gather(feeding, warning, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):  # a program may end without reading all of it
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _all(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise _TooMuch
        chunks.append(chunk)
    return b"".join(chunks)


async def _last(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while chunk := await stream.read(_CHUNK):
        kept = (kept + chunk)[-STDERR_LIMIT:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let the shield end the tree, and wait for it even if the awaiting task is cancelled meanwhile."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        waiting = asyncio.ensure_future(_wait_or_kill(process))
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            await waiting
            raise


async def _wait_or_kill(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(_drained(process), TREE_END_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(TimeoutError):  # something beyond SIGKILL still holds the pipes: go on without it
            await asyncio.wait_for(process.wait(), _KILLED_S)


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Throw away what the program still prints: a full pipe must not keep it from ending."""
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(_CHUNK):
            continue
    await process.wait()


def _over(result: CommandResult) -> str:
    """The cap that the shield ended a program for, in its words; empty when the program ended by itself."""
    last = result.stderr.rstrip(b"\n").rpartition(b"\n")[2].decode("utf-8", "replace")
    return last.removeprefix(MARK) if result.code == CAPPED and last.startswith(MARK) else ""


def _failure(command: Command, result: CommandResult) -> InputError | UpstreamError:
    words = scrub(result.stderr.decode("utf-8", "replace"), command.env.values())[-LAST_WORDS:].strip()
    if result.code == CANNOT_START and words.startswith(MARK):
        reason = words.removeprefix(MARK)
        return InputError("OMG-P001", f"{command.argv[0]} cannot be started: {reason}", details={"program": command.argv[0]})
    details = {"program": command.argv[0], "exit_code": result.code, "last_words": words}
    return UpstreamError("OMG-P002", f"{command.argv[0]} ended with exit code {result.code}", details=details)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` without the given values (those long enough to be a secret): an error never carries what an environment held."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_LENGTH:
            text = text.replace(secret, "***")
    return text
