"""What an operator asks about policies before changing them: the packs, a prohibition in one line, dry runs, how good the tests are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.host.explaining import test_files
from omega.host.policy import INSTALLATION, Enacted, bundle_in_force, enacted, read_files, sources
from omega.host.reading import Archive
from omega.host.rehearsing import Rehearsal, rehearse
from omega.kernel.errors import InputError
from omega.warden.cases import is_test
from omega.warden.coverage import Coverage, Mutation, cases_of, covered, mutated
from omega.warden.explain import Examination, examine
from omega.warden.packs import pack, packs
from omega.warden.policies import SCHEMA_FILE, Bundle, default_sources, default_tests, shipped

_TARGET = re.compile(r"[\w.:-]{1,100}(?:/(?:\*|[\w.:-]{1,100}))?")
_AGENT = re.compile(r"agent:[\w.@-]{1,100}")


def schema() -> str:
    """Everything that a policy may speak of, as Cedar's schema."""
    return shipped(SCHEMA_FILE)


def offered(newest: Enacted) -> list[dict[str, Any]]:
    """The packs that ship: name, version, summary, and the version that is in force (None: none)."""
    used = {label.partition("@")[0]: label.partition("@")[2] for label in newest.packs}
    return [{"name": each.name, "version": each.version, "used": used.get(each.name), "summary": each.summary} for each in packs()]


def with_pack(newest: Enacted, name: str, *, drop: bool = False) -> Enacted:
    """The version after `newest` with the pack in force, or without it. Raises InputError (OMG-X001)."""
    found = pack(name)
    if drop and found.file not in newest.files:
        raise InputError("OMG-X001", f"the pack {name} is not used", advice="omega policy packs")
    files = {file: text for file, text in newest.files.items() if file != found.file}
    labels = tuple(label for label in newest.packs if label.partition("@")[0] != name)
    if drop:
        return following(newest, files, f"pack {found.label} dropped", labels)
    return following(newest, {**files, found.file: found.policies}, f"pack {found.label} used", (*labels, found.label))


def following(newest: Enacted, files: Mapping[str, str], note: str, labels: tuple[str, ...] | None = None) -> Enacted:
    """The version after `newest`, with these files."""
    return Enacted(version=newest.version + 1, files=dict(files), packs=newest.packs if labels is None else labels, note=note)


def prohibition(target: str, whom: str, reason: str = "") -> tuple[str, str, str]:
    """(name, policy, case) that forbid `target`: a flow, `server/tool` or `server/*`; for agents, one agent or everybody.

    Raises InputError (OMG-X001) for what cannot be named.
    """
    if not _TARGET.fullmatch(target):
        raise InputError("OMG-X001", f"{target[:80]!r} is no flow, tool or server", advice='name it as "review", "git/git_push" or "git/*"')
    if whom not in ("agents", "everybody") and not _AGENT.fullmatch(whom):
        raise InputError("OMG-X001", f"{whom[:80]!r} is nobody", advice="say agents, agent:NAME or everybody")
    server = target.removesuffix("/*") if target.endswith("/*") else ""
    name = f"deny-{re.sub(r'[^a-z0-9]+', '-', f'{target} {whom}'.lower()).strip('-')}"[:64]
    scope = f'resource in Server::"{server}"' if server else f'resource == Flow::"{target}"'
    why = re.sub(r'[{}"\\\n]', "", reason) or f"{target} is closed to {whom}"
    agent = whom.partition(":")[2]
    who = f'\nwhen {{ principal == Agent::"{agent}" || principal.actors.contains("{whom}") }}' if agent else ""
    who = "\nwhen { principal is Agent || principal.delegated }" if whom == "agents" else who
    action = 'action in Action::"touch"' if "/" in target else "action"
    text = f'@id("{name}")\n@reason("{why}")\nforbid (principal, {action}, {scope}){who};\n'
    asked = f"{server}/anything" if server else target
    caller = {"agents": "agent:x", "everybody": "person:ada"}.get(whom, whom)
    case = f'- {{name: {name}, ask: {{principal: "{caller}", flow: "{asked}", effect: read}}, expect: deny, by: {name}}}\n'
    return name, text, case


def tried(archive: Archive, owner: str, paths: Iterable[Path], *, last: int) -> Rehearsal:
    """What would have changed, had the policies in force been joined by the files at `paths`.

    Raises InputError: OMG-P005 for a file that cannot be read, OMG-W003 for policies that do not load.
    """
    given = {name: text for name, text in read_files(paths).items() if not is_test(name)}
    folder, documents = archive.settings.policies, archive.reader
    current = bundle_in_force(folder, documents)
    if owner == INSTALLATION:
        candidate = Bundle.load({**sources(folder), **enacted(documents, owner).cedar, **given})
    else:
        candidate = current.with_tenant(owner, {**enacted(documents, owner).cedar, **given})
    return rehearse(archive, current, candidate, last=last)


@dataclass(frozen=True, slots=True)
class Trial:
    """What running the cases found, and how good they are where that was asked."""

    examination: Examination
    coverage: Coverage | None = None
    mutation: Mutation | None = None


def trial(files: Mapping[str, str], *, about: Iterable[str] = (), coverage: bool, mutate: bool) -> Trial:
    """Run the cases among `files`; how good they are is judged by the policies in those that are named in `about` (none: all).

    Raises InputError (OMG-W003) for policies that do not load.
    """
    found = examine(files)
    bundle = Bundle.load({name: text for name, text in files.items() if not is_test(name)})
    cases, named = cases_of(files), frozenset(about)
    only = frozenset(policy.id for policy in bundle.policies if not named or policy.file in named)
    return Trial(
        found,
        covered(bundle, cases, only=only) if coverage else None,
        mutated(bundle, cases, only=only) if mutate else None,
    )


def files_to_try(folder: Path, newest: Enacted, paths: tuple[Path, ...]) -> dict[str, str]:
    """The files at `paths` beside the default set; without any, what is in force, or the default set where nothing in force has cases."""
    if paths:
        return {**default_sources(), **read_files(paths)}
    own = {**sources(folder), **read_files(test_files(folder)), **newest.files}
    return own if any(map(is_test, own)) else {**default_sources(), **default_tests()}
