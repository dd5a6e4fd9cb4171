"""Attestation of components: with OMEGA_ATTEST=require no code runs that a trusted builder did not vouch for.

    OMEGA_HOME/attestations/trusted.json     {"threshold": 1, "builders": ["https://..."], "keys": [{"jwk": {...}, "until_s": 1900000000}]}
    OMEGA_HOME/attestations/*.dsse           statements (`omega.trust.attest`), each about any number of files
    FILE.dsse                                a statement that lies beside its file

It is asked where Python looks for code, so nothing can be loaded beside it: the bytes that are checked are the bytes that are compiled,
cached bytecode is not looked at, and code without a source (extension modules, zip files) is refused. It covers what is loaded as a target,
whatever that imports from its own folders, and packages that offer services or effectors. Not asked are the standard library, Omega itself
and the other installed packages: those are the installation, and its package manager holds them to their lock file. Programs of tool
servers are asked for before they start: `omega.host.vetting`.

A module that is loaded serves every tenant of the process, so this is a setting of the process and of no tenant.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from omega.host.settings import Settings
from omega.kernel.errors import Denied, InputError
from omega.trust import attest
from omega.trust.keys import PublicKey, public_of_jwk

ATTEST = "OMEGA_ATTEST"
REQUIRE = "require"
FOLDER = "attestations"
TRUSTED = "trusted.json"
SUFFIX = ".dsse"
GROUPS = ("omega.features", "omega.effectors")
"""The entry points whose packages are components, and not part of the installation."""

MAX_STATEMENTS = 10_000
MAX_TRUSTED = 1 << 20

_OMEGA = Path(__file__).resolve().parents[1]
_INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")})
_LIBRARY = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe: `keys` with the end of each in Unix seconds, the builders they may speak for, how many of them must sign."""

    keys: tuple[tuple[PublicKey, int], ...]
    builders: frozenset[str]
    threshold: int

    @classmethod
    def read(cls, folder: Path) -> Trust:
        """From `trusted.json`. Raises InputError (OMG-X001) when it is missing or says something else."""
        try:
            raw = (folder / TRUSTED).read_bytes()
            found: Any = json.loads(raw) if len(raw) <= MAX_TRUSTED else None
            keys = tuple((public_of_jwk(each["jwk"]), int(each["until_s"])) for each in found["keys"])
            builders, threshold = frozenset(map(str, found["builders"])), int(found.get("threshold", 1))
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = f"{folder / TRUSTED} does not say whose attestations count ({type(error).__name__})"
            raise InputError("OMG-X001", cause, advice="write it as docs/keys.md shows") from error
        if threshold < 1:
            raise InputError("OMG-X001", f"{folder / TRUSTED} asks for {threshold} signatures")
        return cls(keys, builders, threshold)


class Office:
    """Answers whether a file may run. `now` gives Unix seconds."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._now = now

    def demand(self, path: Path, body: bytes) -> None:
        """Raise Denied (OMG-T008) unless a trusted builder vouches for `body`, the bytes of the file `path`."""
        self.demand_digest(path, sha256(body).hexdigest())

    def demand_digest(self, path: Path, digest: str) -> None:
        """The same of a file by its SHA-256 in hexadecimal."""
        trust, now_s = Trust.read(self.folder), self._now()
        keys = [key for key, until_s in trust.keys if now_s < until_s]
        why = "there is no statement about it"
        for place in self._statements(path):
            try:
                statement = attest.opened(place.read_bytes(), keys, threshold=trust.threshold)
                if digest in statement.subjects.values():
                    attest.require(statement, digest=digest, builders=trust.builders)
                    return
            except (Denied, OSError) as error:
                if place.stem == path.name:
                    why = error.cause if isinstance(error, Denied) else "its statement cannot be read"
        raise Denied("OMG-T008", f"{path.name} is not attested: {why}", details={"sha256": digest})

    def _statements(self, path: Path) -> list[Path]:
        beside = path.with_name(path.name + SUFFIX)
        return [*([beside] if beside.is_file() else []), *sorted(self.folder.glob(f"*{SUFFIX}"))[:MAX_STATEMENTS]]


class _Loader(SourceFileLoader):
    """Compiles what was checked, and nothing that was cached."""

    def __init__(self, name: str, path: str, office: Office) -> None:
        super().__init__(name, path)
        self._office = office

    def get_code(self, fullname: str) -> CodeType | None:
        """The code of the module, from bytes that are attested. Raises Denied (OMG-T008)."""
        path = self.get_filename(fullname)
        body = self.get_data(path)
        self._office.demand(Path(path), body)
        code: CodeType = self.source_to_code(body, path)
        return code


class Finder(MetaPathFinder):
    """Stands before all other finders, and gives components their checking loader."""

    def __init__(self, office: Office) -> None:
        self.office = office

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a component; None for what is part of the installation. Raises Denied (OMG-T008) for code that has no source."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.has_location or not is_component(fullname, Path(spec.origin)):
            return None
        if not isinstance(spec.loader, SourceFileLoader):
            raise Denied("OMG-T008", f"{fullname} is not attested: it has no source that could be checked")
        inner = spec.submodule_search_locations
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=_Loader(fullname, spec.origin, self.office), submodule_search_locations=inner
        )


def enforce() -> Finder | None:
    """Ask for attestations from now on, where OMEGA_ATTEST says so; gives what does. Raises InputError (OMG-X001) for another word."""
    said = os.environ.get(ATTEST, "")
    if not said:
        return None
    if said != REQUIRE:
        raise InputError("OMG-X001", f"{ATTEST} is {said[:40]!r}", advice=f"set {ATTEST}={REQUIRE}, or leave it away")
    folder = Settings.load().home / FOLDER
    standing = next((each for each in sys.meta_path if isinstance(each, Finder)), None)
    if standing is None or standing.office.folder != folder:
        standing = Finder(Office(folder))
        sys.meta_path[:] = [standing, *(each for each in sys.meta_path if not isinstance(each, Finder))]
    return standing


def spec_of(name: str, path: Path) -> ModuleSpec | None:
    """The spec of a file that is loaded by its place, with the checking loader where one is asked for."""
    finder = enforce()
    if finder is None or not is_component(name, path):
        return importlib.util.spec_from_file_location(name, path)
    return importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path), finder.office))


def demand(path: Path) -> None:
    """Raise Denied (OMG-T008) for a document that is not attested, where attestations are asked for."""
    finder = enforce()
    if finder is not None and not _within(path.resolve(), (_OMEGA,)):
        finder.office.demand(path, path.read_bytes())


def is_component(name: str, origin: Path) -> bool:
    """Whether code at `origin`, loaded as `name`, is a component rather than a part of the installation."""
    place = origin.resolve()
    if _within(place, (_OMEGA,)):
        return False
    if _within(place, _INSTALLED):
        return name.partition(".")[0] in _offering()
    return not _within(place, _LIBRARY)


def _offering() -> frozenset[str]:
    """The top packages of everything installed that offers services or effectors, but for Omega's own."""
    points: list[Any] = [point for group in GROUPS for point in entry_points(group=group)]
    return frozenset(point.module.partition(".")[0] for point in points) - {"omega"}


def _within(place: Path, folders: Sequence[Path]) -> bool:
    return any(place.is_relative_to(folder) for folder in folders)
