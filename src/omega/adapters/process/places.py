"""Which files a confined program gets: what any program needs, what this one consists of, and what was granted.

Theory. Landlock grants folders with all that is in them and can take nothing out again. So a grant that would take in what is protected
(the data folder with its keys) is refused where a person named it, and goes around it, entry by entry, where it follows from a rule.
What follows from the program is found by looking at the program, and the program may be hostile: only things that can be run are followed
(a link, the interpreter on a script's first line), never what a file says about other folders (`.pth` files, configuration).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omega.kernel.errors import InputError
from omega.kernel.sandbox import Sandbox

SYSTEM: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store", "/proc"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/run/systemd/resolve"),
)
"""What any program may read and run. Of `/proc` the kernel shows a confined process no more of others than `ps` tells."""

OF_ETC: Final = (
    *("alternatives", "ca-certificates.conf", "crypto-policies", "debian_version", "fonts", "gai.conf", "gitconfig", "group", "host.conf"),
    *("hosts", "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "locale.alias", "locale.conf", "localtime"),
    *("lsb-release", "magic", "mailcap", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/certs"),
    *("pki/tls/cert.pem", "pki/tls/openssl.cnf", "protocols", "resolv.conf", "services", "ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem"),
    *("terminfo", "timezone", "xml", "java", "perl", "python3", "R"),
)
"""What any program may read of `/etc`: nothing that holds a secret, also where Omega runs as root."""

DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_PARTS: Final = ("bin", "lib", "lib64", "libexec", "ssl")
"""What a program under PREFIX/bin is made of."""

_INTERPRETER: Final = re.compile(r"(python|pypy|node|deno|bun|ruby|perl|php|lua|java|bash|dash|sh)[\d.]*")
_CODE_FOLLOWS: Final = ("-m", "-c", "-e", "--eval", "-p", "--print")
_SHEBANG_BYTES: Final = 256
_LINKS: Final = 8
_PACKAGE_LEVELS: Final = 3


@dataclass(frozen=True, slots=True)
class Places:
    """Real paths that a program may read and run, and such that it may change."""

    read: tuple[str, ...]
    write: tuple[str, ...]


def places(program: str, argv: Sequence[str], *, cwd: str | None, path: str, sandbox: Sandbox, protected: Sequence[str]) -> Places:
    """What `program` (an absolute path, started as `argv` in `cwd` with `path` to search in) gets under `sandbox`.

    Nothing of it lies in `protected`. Raises InputError (OMG-P009) where a granted path holds or is something protected, or leads
    elsewhere now.
    """
    kept = [os.path.realpath(each) for each in protected]
    for granted in (*sandbox.read, *sandbox.write):
        check_grant(granted, kept)
    read = [*SYSTEM, *(f"/etc/{name}" for name in OF_ETC), *_made_of(program, path, kept)]
    if cwd and not _broad(os.path.realpath(cwd), kept):
        read.append(cwd)
    script = _script(program, argv, cwd)
    if script:
        read += _own(os.path.realpath(script), kept)
    return Places(_around([*read, *sandbox.read], kept), _around([*DEVICES, *sandbox.write], kept))


def check_grant(path: str, protected: Iterable[str]) -> None:
    """Raise InputError (OMG-P009) for a path that cannot be granted: what it leads to has changed, or takes in what is protected."""
    for each in protected:
        if within(each, path) or within(path, each):
            raise InputError(
                "OMG-P009",
                f"{path} cannot be granted: the data folder {each} lies there",
                advice="grant the folders that the server needs, one by one",
                details={"path": path},
            )
    if os.path.lexists(path) and os.path.realpath(path) != path:
        advice = "look at what lies there now, then grant it anew: omega mcp sandbox NAME"
        raise InputError("OMG-P009", f"{path} was granted, and leads elsewhere now", advice=advice, details={"path": path})


def named(argv: Sequence[str], cwd: str | None, protected: Iterable[str]) -> tuple[str, ...]:
    """The real paths that a command names among its arguments and that are there: whoever wrote the command means the server to read them.

    Not the home folder as a whole, nor what holds it or anything protected: these are granted on purpose only.
    """
    kept, found = [os.path.realpath(each) for each in protected], []
    for argument in argv[1:]:
        text = argument.partition("=")[2] if argument.startswith("--") and "=" in argument else argument
        if ("/" not in text and text not in (".", "..")) or "\0" in text:
            continue
        place = os.path.realpath(os.path.join(cwd or os.curdir, os.path.expanduser(text)))
        if os.path.exists(place) and not _broad(place, kept) and "\n" not in place:
            found.append(place)
    return tuple(dict.fromkeys(found))


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it. Both are real paths."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _broad(folder: str, kept: Iterable[str]) -> bool:
    """Whether too much lies in `folder` to follow from a rule: everybody's temporary files, somebody's home, anything protected."""
    homes = (os.path.realpath(os.path.expanduser("~")), "/home", "/root", os.path.realpath(tempfile.gettempdir()), "/var/tmp")  # noqa: S108
    return any(within(each, folder) for each in (*homes, *kept)) or any(within(folder, each) for each in kept)


def _around(paths: Iterable[str], kept: Sequence[str]) -> tuple[str, ...]:
    """The real paths of `paths` that are there, each once; where one holds something protected, its other entries in its place."""
    found: dict[str, None] = {}
    for path in dict.fromkeys(os.path.realpath(each) for each in paths):
        found.update(dict.fromkeys(_spared(path, kept)))
    return tuple(found)


def _spared(path: str, kept: Sequence[str]) -> Iterator[str]:
    if any(within(path, each) for each in kept) or not os.path.exists(path) or "\n" in path:
        return
    if not any(within(each, path) for each in kept):
        yield path
        return
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.path for entry in entries if not entry.is_symlink())
    except OSError:  # what cannot be listed here is not granted
        return
    for each in names:
        yield from _spared(each, kept)


def _made_of(program: str, path: str, kept: Sequence[str]) -> Iterator[str]:
    """What a program consists of: the program, what its links lead to, its interpreter, and the folders that belong to each."""
    seen: list[str] = []
    waiting = [program]
    while waiting and len(seen) < _LINKS:
        place = waiting.pop()
        if place in seen or not os.access(place, os.X_OK) or os.path.isdir(place):
            continue
        seen.append(place)
        yield from _around_program(place, kept)
        if os.path.islink(place):
            waiting.append(os.path.join(os.path.dirname(place), os.readlink(place)))
        waiting += interpreters(place, path)


def _around_program(place: str, kept: Sequence[str]) -> Iterator[str]:
    """The folders that belong to a program: its environment or prefix, or the package that it is a file of."""
    folder = Path(os.path.normpath(place)).parent
    prefix = os.path.realpath(folder.parent)
    if folder.name not in ("bin", "sbin", "Scripts"):
        yield from _own(os.path.realpath(place), kept)
    elif (folder.parent / "pyvenv.cfg").is_file() and not _broad(prefix, kept):
        yield prefix
    elif not within(os.path.realpath(os.path.expanduser("~")), prefix):
        yield from (each for part in _PARTS if not _broad(each := os.path.join(prefix, part), kept))
    else:
        yield os.path.realpath(place)


def interpreters(place: str, path: str) -> list[str]:
    """What runs a script: the program on its first line, and the Python beside it, where that line was too long for the kernel."""
    try:
        with open(place, "rb") as file:
            first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return []
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    found = []
    if words and os.path.basename(words[0]) == "env":
        found = [shutil.which(word, path=path) or "" for word in words[1:] if not word.startswith("-") and "=" not in word][:1]
    elif words:
        found = [words[0]]
    beside = os.path.join(os.path.dirname(place), "python")
    return [each for each in (*found, beside if words else "") if each]


def _script(program: str, argv: Sequence[str], cwd: str | None) -> str:
    """The script that an interpreter is told to run; empty where there is none."""
    if _INTERPRETER.fullmatch(os.path.basename(program)) is None:
        return ""
    for word in argv[1:]:
        if word in _CODE_FOLLOWS:
            return ""
        place = os.path.join(cwd or os.curdir, word)
        if not word.startswith("-") and os.path.isfile(place):
            return place
    return ""


def _own(file: str, kept: Sequence[str]) -> Iterator[str]:
    """The package that a file belongs to: all of the outermost `node_modules`, the folder with its `package.json`, or the folder it lies
    in; the file alone, where too much lies there."""
    yield file
    above = [str(each) for each in Path(file).parents]
    modules = [each for each in above if os.path.basename(each) == "node_modules"]
    packages = [each for each in above[:_PACKAGE_LEVELS] if os.path.isfile(os.path.join(each, "package.json"))]
    folder = (modules[-1:] or packages[:1] or above[:1])[0]
    if not _broad(folder, kept):
        yield folder
