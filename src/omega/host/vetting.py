"""With OMEGA_ATTEST=require, the program of a tool server is asked for its attestation each time before it is started.

What a trusted builder must vouch for, byte for byte: the program that is found; the interpreter on its first line; and every file that the
command names among its arguments, the script of an interpreter above all. Not asked is the interpreter that Omega itself runs on, which is
part of the installation; so a command that has it run anything but a file (`-c`, `-m`, a folder, standard input) is refused, and so is code
in the arguments of any other interpreter. Variables that have a program load other code are refused, too.

Not looked at: what an attested program loads by itself, a script's own imports among it, and what changes between this look and the start.
What a server may do once it runs is its sandbox's business (`omega.host.sandboxing`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Final

from omega.adapters.process.launch import environment, program_of
from omega.adapters.process.places import interpreters
from omega.host.attesting import ATTEST, Office, enforce
from omega.kernel.errors import Denied

LOADING: Final = frozenset(
    {"BASH_ENV", "ENV", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "NODE_OPTIONS", "NODE_PATH", "PATH", "PERL5LIB", "PERL5OPT"}
    | {"RUBYLIB", "RUBYOPT", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "PHPRC", "PHP_INI_SCAN_DIR"}
)
"""Variables by which a program is made to load code that its command does not name."""

LOADING_PREFIXES: Final = ("LD_", "PYTHON", "DYLD_")
"""Beginnings of the names of others. Those of Python that load nothing are few, and none of them is needed by a server."""

_HARMLESS: Final = frozenset({"PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"})
_INTERPRETER: Final = re.compile(
    r"(python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|luajit|java|bash|dash|ash|sh|zsh|ksh|fish)[\d.]*",
)
"""Programs that run what their arguments say."""

_STARTER: Final = re.compile(
    r"(env|nice|nohup|timeout|setsid|xargs|stdbuf|busybox|sudo|su|doas|chroot|unshare|npx|npm|pnpm|yarn|bunx|uvx|uv|pipx|docker|podman)[\d.]*"
)
"""Programs that start others; some fetch them first."""

_PLAIN_OPTION: Final = re.compile(r"-[BEIOPSbdqsuv]+|-jar|--no-warnings|--enable-source-maps|--expose-gc|--max-old-space-size=\d+")
"""Options of interpreters that take no value of their own, so that the next argument is what they run."""

_CHAIN: Final = 8
"""Longest chain of interpreters that is followed."""


def demand_server(argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str]) -> None:
    """Raise Denied (OMG-T008) unless everything that the command starts is attested, where attestations are asked for.

    Raises InputError (OMG-P001) where there is no such program.
    """
    finder = enforce()
    if finder is None:
        return
    loading = sorted(name for name in env if _loads(name))
    if loading:
        raise _refused(f"the variable {loading[0][:64]} has it load code that nobody vouches for", "leave that variable out of its record")
    path = environment({})["PATH"]
    program = program_of(argv[0], cwd=cwd, path=path)
    files = list(_files(argv[1:], cwd))
    if _named(program, _STARTER):
        cause = f"{os.path.basename(program)} starts another program, about which it says nothing"
        raise _refused(cause, "name that program itself, installed on this machine: omega mcp add NAME -- PROGRAM FILE")
    if os.path.realpath(program) == _own() or _named(program, _INTERPRETER):
        _demand_script(program, argv[1:], cwd)
    for place in dict.fromkeys((*_chain(program, path), *files)):
        _demand(finder.office, place)


def _demand(office: Office, place: str) -> None:
    try:
        with open(place, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        office.demand_digest(Path(place), digest)
    except OSError as error:
        cause = f"{place} is not attested: it cannot be read ({(error.strerror or 'unknown').lower()})"
        raise Denied("OMG-T008", cause, advice=f"have it readable, or unset {ATTEST}", details={"file": place}) from error
    except Denied as error:
        beside = f"{os.path.basename(place)}.dsse"
        advice = f"put a statement of a trusted builder about sha256 {digest} into {office.folder}, or beside it as {beside}"
        raise Denied("OMG-T008", f"tool server: {error.cause}", advice=advice, details={**error.details, "file": place}) from error


def _chain(program: str, path: str) -> Iterator[str]:
    """The program and what interprets it, real paths; without the interpreter that Omega runs on. Raises Denied where there is no end."""
    seen: list[str] = []
    waiting = [program]
    while waiting:
        place = os.path.realpath(waiting.pop())
        if place in seen:
            continue
        if len(seen) >= _CHAIN:
            raise _refused(f"{program} has more than {_CHAIN} interpreters", "name the last of them, and the script as its argument")
        seen.append(place)
        if place != _own():
            yield place
            waiting += [each for each in interpreters(place, path) if os.path.isfile(each)]


def _named(program: str, kinds: re.Pattern[str]) -> bool:
    """Whether the program, or what it leads to, has a name of these."""
    return any(map(kinds.fullmatch, (os.path.basename(program), os.path.basename(os.path.realpath(program)))))


def _demand_script(program: str, arguments: Sequence[str], cwd: str | None) -> None:
    """Raise Denied (OMG-T008) unless what an interpreter is told to run is a file, which is then asked for like any that is named."""
    told = next((each for each in arguments if not _PLAIN_OPTION.fullmatch(each)), "")
    if not told or told.startswith("-") or not os.path.isfile(os.path.join(cwd or os.curdir, told)):
        cause = f"{os.path.basename(program)} is told to run what is in no file ({told[:80] or 'nothing'})"
        raise _refused(cause, "name the file of the server: omega mcp add NAME -- PROGRAM FILE")


def _files(arguments: Iterable[str], cwd: str | None) -> Iterator[str]:
    """The files that a command names, as real paths: each argument by itself, and what stands behind its first '='."""
    for argument in arguments:
        for text in (argument, argument.partition("=")[2]):
            place = os.path.join(cwd or os.curdir, os.path.expanduser(text))
            if text and "\0" not in text and os.path.isfile(place):
                yield os.path.realpath(place)


def _loads(name: str) -> bool:
    return name in LOADING or (name.startswith(LOADING_PREFIXES) and name not in _HARMLESS)


def _own() -> str:
    return os.path.realpath(sys.executable)


def _refused(cause: str, advice: str) -> Denied:
    return Denied("OMG-T008", f"tool server is not attested: {cause}", advice=advice)
