"""The policies in force: the default set, every `*.cedar` file in OMEGA_HOME/policies, what was enacted, and each tenant's own.

Enacted policies lie in the store, under the owner's name (`installation`, or a tenant): the files, the packs among them, and the versions
before. Each change is an arrangement, hence gated and sealed; it is checked as a whole, tests included, before it is kept, and names the
version it was made from, so that two people do not undo each other's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omega.host.arrangements import Documents, all_arranged, arranged
from omega.kernel.errors import InputError, StorageError
from omega.warden.cases import is_test
from omega.warden.explain import examine, examine_bundle
from omega.warden.policies import Bundle, default_sources

MAX_FILE = 1 << 20
"""Largest policy file in bytes."""

POLICY = "policy"
"""The kind of the documents; the name of each is its owner."""

INSTALLATION = "installation"
"""The owner of policies that hold for everybody."""

MAX_FILES = 256
MAX_VERSIONS = 32
"""Earlier versions that are kept beside the newest: what is older is in the log as a digest only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enacted:
    """One version of an owner's policies: Cedar and test files by name, the packs they came from (`name@version`), why it was made."""

    version: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    packs: tuple[str, ...] = ()
    note: str = ""
    at_us: int = 0

    @property
    def cedar(self) -> dict[str, str]:
        """The policy files alone."""
        return {name: text for name, text in self.files.items() if not is_test(name)}

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"version": self.version, "files": dict(self.files), "packs": list(self.packs), "note": self.note, "at_us": self.at_us}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Enacted:
        """From a document. Raises InputError (OMG-I001)."""
        files, packs = body.get("files"), body.get("packs", [])
        version, note, at_us = body.get("version"), body.get("note", ""), body.get("at_us", 0)
        if not isinstance(files, Mapping) or len(files) > MAX_FILES or not all(map(_is_file, files.items())):
            raise InputError("OMG-I001", f"policies are at most {MAX_FILES} files *.cedar and *.test.yaml of {MAX_FILE:,} letters each")
        if type(version) is not int or type(note) is not str or type(at_us) is not int or len(note) > 500:
            raise InputError("OMG-I001", "a version of policies has a number, a note of at most 500 letters and a moment")
        if not isinstance(packs, list) or not all(type(pack) is str for pack in packs):
            raise InputError("OMG-I001", "packs are named name@version")
        return cls(version=version, files=dict(files), packs=tuple(packs), note=note, at_us=at_us)


def _is_file(entry: tuple[Any, Any]) -> bool:
    name, text = entry
    if type(name) is not str or type(text) is not str or len(text) > MAX_FILE or len(name) > 128 or not name.isprintable():
        return False
    return (name.endswith(".cedar") or is_test(name)) and "/" not in name


def enacted(documents: Documents, owner: str) -> Enacted:
    """The newest version of an owner's policies; version 0 without files where nothing was enacted."""
    found = arranged(documents, POLICY, owner)
    return Enacted() if found is None else Enacted.read(found)


def versions(documents: Documents, owner: str) -> list[Enacted]:
    """Every version that is kept, the newest first."""
    found = arranged(documents, POLICY, owner)
    return [] if found is None else [Enacted.read(found), *(Enacted.read(each) for each in found.get("earlier", ()))]


def sources(folder: Path) -> dict[str, str]:
    """The policy texts by file name, the default set first. Raises StorageError (OMG-S002) when one cannot be read."""
    found = dict(default_sources())
    for path in sorted(folder.glob("*.cedar")) if folder.is_dir() else ():
        try:
            if path.stat().st_size > MAX_FILE:
                raise StorageError("OMG-S002", f"{path} is larger than {MAX_FILE:,} bytes")
            found[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError("OMG-S002", f"{path} cannot be read: {error}") from error
    return found


def load_bundle(folder: Path) -> Bundle:
    """The bundle of the files alone. Raises InputError (OMG-W003) naming file and line: no half of a policy set is ever used."""
    return Bundle.load(sources(folder))


def bundle_in_force(folder: Path, documents: Documents) -> Bundle:
    """The bundle with everything that was enacted. Raises InputError (OMG-W003)."""
    kept = {owner: Enacted.read(body) for owner, body in all_arranged(documents, POLICY).items()}
    return assembled(sources(folder), kept)


def assembled(files: Mapping[str, str], kept: Mapping[str, Enacted]) -> Bundle:
    """The bundle of `files` and what owners have enacted. Raises InputError (OMG-W003)."""
    installation = kept.get(INSTALLATION, Enacted())
    bundle = Bundle.load({**files, **installation.cedar})
    for tenant, own in sorted(kept.items()):
        if tenant != INSTALLATION and own.cedar:
            bundle = bundle.with_tenant(tenant, own.cedar)
    return bundle


def reading(folder: Path, documents: Documents, now_us: Callable[[], int]) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """Checks a new version (see `arrangements.Reading`): its number follows the newest, all of it loads, and its own tests hold.

    Raises InputError: OMG-I001 for a number that does not follow, OMG-W003 for what does not load or hold.
    """

    def check(owner: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = Enacted.read({**body, "at_us": now_us()})
        newest = enacted(documents, owner)
        if wanted.version != newest.version + 1:
            raise InputError(
                "OMG-I001",
                f"the policies of {owner} are at version {newest.version}: a change makes the next one, not {wanted.version}",
                advice="look at what changed meanwhile: omega policy history",
            )
        kept = {name: Enacted.read(each) for name, each in all_arranged(documents, POLICY).items()}
        demand_sound(sources(folder), kept | {owner: wanted}, owner)
        earlier = [each.record() for each in versions(documents, owner)[:MAX_VERSIONS]]
        return {**wanted.record(), "earlier": earlier}

    return check


def demand_sound(files: Mapping[str, str], kept: Mapping[str, Enacted], owner: str) -> None:
    """Raise InputError (OMG-W003) unless everything loads and the tests of `owner` hold."""
    bundle = assembled(files, kept)
    own = kept[owner]
    tests = {name: text for name, text in own.files.items() if is_test(name)}
    found = examine({**files, **own.files}) if owner == INSTALLATION else examine_bundle(bundle, tests)
    wrong = [problem for problem in found.problems if problem.severity == "error"]
    if wrong:
        raise InputError(
            "OMG-W003",
            f"{wrong[0].where}: {wrong[0].text}",
            advice=wrong[0].advice,
            details={"problems": [problem.record() for problem in wrong]},
        )


def read_files(paths: Iterable[Path]) -> dict[str, str]:
    """Policy and test files by name. Raises InputError (OMG-P005)."""
    found = {}
    for path in paths:
        try:
            if path.stat().st_size > MAX_FILE:
                raise InputError("OMG-P005", f"{path} is larger than {MAX_FILE:,} bytes")
            found[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
            raise InputError("OMG-P005", f"{path} cannot be read: {reason}") from error
    return found
