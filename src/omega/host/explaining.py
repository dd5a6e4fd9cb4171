"""Why the gate answered as it did: the recorded decision of a step, the text of the rules that decided, and what the policies of today say.

The question is put together again from what is recorded: who asked (the sealed start record), what (the step's row). What a row does not
hold, the capabilities and roles that the flow declares, comes from the flow itself where its target still loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omega.host.arrangements import Documents
from omega.host.policy import INSTALLATION, bundle_in_force, enacted, read_files, sources
from omega.host.reading import Archive
from omega.host.targets import load_target
from omega.kernel.compose import AnyFlow
from omega.kernel.effects import Effect
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.journal import Kind, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.trail import shown
from omega.kernel.verdict import Ask, Decision, Gate
from omega.runtime.book import Book
from omega.runtime.recovery import load
from omega.warden.cases import is_test
from omega.warden.explain import Examination, Explanation, examine, explain
from omega.warden.policies import default_sources, default_tests, inspect
from omega.warden.source import Policy, Problem


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision and its grounds. `recorded` is a `Verdict.record()`; `rules` the texts of deciding policies that are still in force."""

    execution: str
    step: str
    flow: str
    effect: str
    principal: str
    at_us: int
    recorded: Mapping[str, Any]
    rules: tuple[Policy, ...]
    today: Explanation | None
    incomplete: str = ""

    @property
    def changed(self) -> bool:
        """Whether the policies of today would answer otherwise."""
        return self.today is not None and self.today.verdict["decision"] != self.recorded.get("decision")


def explain_step(archive: Archive, text: str) -> Explained:
    """The decision that `EXECUTION/STEP` names, or with no step the entry of an execution.

    Raises InputError: OMG-I003, OMG-I004 unknown or ambiguous step, OMG-I005 a step that the gate was not asked about.
    """
    execution, _, name = text.partition("/")
    past, book, record = load(archive.world, execution)
    incomplete = ""
    flow: AnyFlow | None = None
    try:
        flow = archive.catalogue.bound(load_target(record.target).flow) if record.target else None
    except OmegaError as error:
        incomplete = f"the flow does not load from {record.target} ({error.code}): what it declares is not known"
    if flow is None and not incomplete:
        incomplete = "the execution was not started from a target: what its flow declares is not known"
    asked, verdict = _entry(past, book, flow, archive) if not name else _step(past, book, name, flow, archive)
    bundle = bundle_in_force(archive.settings.policies, archive.reader)
    policies = bundle.by_id
    rules = tuple(policies[each] for each in verdict.get("policies", ()) if each in policies)
    return Explained(
        execution,
        shown(asked.step),
        asked.flow,
        asked.effect.value,
        asked.scope.principal,
        int(asked.now * 1_000_000),
        verdict,
        rules,
        explain(bundle, asked),
        incomplete,
    )


def in_force(folder: Path, documents: Documents | None = None) -> tuple[list[Policy], list[Problem]]:
    """The policies of the default set, of `folder`, and those enacted, in order, and what keeps them from loading.

    Raises StorageError (OMG-S002).
    """
    files = sources(folder)
    found, problems = inspect(files if documents is None else {**files, **enacted(documents, INSTALLATION).cedar})
    if documents is not None and not problems:
        found = list(bundle_in_force(folder, documents).policies)
    return found, problems


def examine_files(folder: Path, files: tuple[Path, ...], documents: Documents | None = None) -> Examination:
    """Check the policies in force (with the tests beside them), or given files together with the default set.

    Raises InputError (OMG-P005) for a file that cannot be read, StorageError (OMG-S002) for one of the folder.
    """
    found = dict(default_sources()) if files else dict(sources(folder))
    if documents is not None and not files:
        found |= enacted(documents, INSTALLATION).files
    found |= read_files(files or test_files(folder))
    own = set(found) - set(default_sources())
    return examine(found if own else {**found, **default_tests()})


def test_files(folder: Path) -> tuple[Path, ...]:
    """The files of cases that lie beside the operator's policies."""
    return tuple(sorted(path for path in folder.glob("*") if is_test(path.name))) if folder.is_dir() else ()


def _entry(past: Past, book: Book, flow: AnyFlow | None, archive: Archive) -> tuple[Ask, Mapping[str, Any]]:
    start = past.start
    assert start is not None  # noqa: S101 - `load` has just looked
    ask = Ask(
        gate=Gate.ENTRY,
        scope=book.scope,
        execution=book.execution,
        step="",
        epoch=1,
        flow=start.flow,
        flow_digest=start.digest,
        effect=flow.effect if flow is not None else Effect.READ,
        input_commitment=b"",
        now=archive.world.clock.now_us() / 1_000_000,
        needs=flow.needs if flow is not None else frozenset(),
        kind=flow.body.kind if flow is not None else "task",
    )
    return ask, start.decision or {}


def _step(past: Past, book: Book, name: str, flow: AnyFlow | None, archive: Archive) -> tuple[Ask, Mapping[str, Any]]:
    recorded, step, verdict = _decided(past, name)
    leaf = next((each for each in flow.leaves() if each.name == step.flow), None) if flow is not None else None
    server, _, tool = step.flow.partition("/")
    ask = Ask(
        gate=Gate.TOUCH,
        scope=book.scope,
        execution=book.execution,
        step=recorded.position,
        epoch=book.epoch,
        flow=step.flow,
        flow_digest="",
        effect=Effect(step.effect),
        input_commitment=step.input,
        now=archive.world.clock.now_us() / 1_000_000,
        needs=leaf.needs if leaf is not None else frozenset({"tools:call"} if step.kind == "tool" else ()),
        kind=step.kind,
        approver_role=leaf.approver_role if leaf is not None else _role(verdict),
        approvals=tuple(note.by for note in recorded.approvals),
        resource={"server": server, "tool": tool} if step.kind == "tool" else {},
    )
    return ask, verdict


def _decided(past: Past, name: str) -> tuple[Recorded, Step, Mapping[str, Any]]:
    """The step that `name` means among those the gate was asked about, with its latest decision."""
    found = past.find(name) or [
        step for position, step in past.at.items() if shown(position).endswith(f":{name}")
    ]  # a tool by its own name
    if not found:
        raise InputError("OMG-I004", f"{name[:80]!r} is no step of it (steps: {_list(past)})")
    gated = [(step, meta) for step in found for meta in _decisions(step)]
    if not gated:
        raise InputError(
            "OMG-I005", f"{name[:80]} is pure: the gate was not asked about it", advice="only steps that touch the world are gated"
        )
    if len({shown(step.position) for step, _ in gated}) > 1:
        choices = ", ".join(dict.fromkeys(shown(step.position) for step, _ in gated))
        raise InputError("OMG-I004", f"{name[:80]!r} could be any of: {choices}")
    recorded, meta = gated[-1]
    return recorded, meta, meta.decision or {}


def _decisions(recorded: Recorded) -> list[Step]:
    rows = [row for row in recorded.rows if row.kind in (Kind.INTENT, Kind.DENIED, Kind.NEEDS)]
    return [meta for row in rows if isinstance(meta := decode_meta(row), Step) and meta.decision]


def _role(verdict: Mapping[str, Any]) -> str:
    """The role that the flow itself demanded, as far as the decision tells: none when a policy demanded it."""
    asked = verdict.get("decision") == Decision.NEEDS.value and "approved-by" in verdict.get("policies", ())
    return str(verdict.get("role", "")) if asked else ""


def _list(past: Past) -> str:
    names = list(dict.fromkeys(shown(position) for position in past.at))
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "none"
