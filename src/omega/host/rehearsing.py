"""Dry run: what other policies would have said to the decisions that are on record.

The questions are put together again from the journal, newest execution first: who asked (the sealed start record), what (the step's row),
with which approvals. Both the policies in force and the candidate are asked, so what is counted is what the change changes. Decisions of
the gate's own rules (capability, rate, budget, quarantine) are left out: no policy changes them. What a row does not hold, the
capabilities that the flow declares and facts about the target, is missing from both questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from omega.host.reading import Archive
from omega.kernel.effects import Effect
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Kind, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.ports import Search
from omega.kernel.trail import shown
from omega.kernel.verdict import Ask, Gate, Verdict
from omega.runtime.book import Book
from omega.runtime.people import in_force
from omega.runtime.recovery import load
from omega.warden.admit import Warden
from omega.warden.limits import UNLIMITED
from omega.warden.policies import Bundle

LAST = 1_000
MAX_LAST = 100_000
"""Most decisions of one dry run."""

PAGE = 200
OWN_RULES = frozenset({"scope", "pure-step", "tenant-boundary", "capabilities", "rate-limit", "budget", "quarantine", "quota", "revoked"})
"""Rules of the gate that no policy changes."""


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that would come out otherwise, or by other policies."""

    execution: str
    step: str
    flow: str
    principal: str
    action: str
    now: Verdict
    then: Verdict

    def record(self) -> dict[str, Any]:
        """As data."""
        told: dict[str, Any] = {
            "execution": self.execution,
            "step": self.step,
            "flow": self.flow,
            "principal": self.principal,
            "action": self.action,
        }
        told |= {"now": self.now.decision.value, "now_by": list(self.now.policies), "then": self.then.decision.value}
        return told | {"then_by": list(self.then.policies), "reason": self.then.reason}


@dataclass(slots=True)
class Rehearsal:
    """What a dry run found: how many decisions were asked again, which would change, how many could not be asked."""

    asked: int = 0
    executions: int = 0
    unreadable: int = 0
    changes: list[Change] = field(default_factory=list)

    @property
    def by_policy(self) -> dict[str, int]:
        """How many decisions would change, by the policies that would decide."""
        return dict(Counter(name for change in self.changes for name in change.then.policies).most_common())


def rehearse(archive: Archive, current: Bundle, candidate: Bundle, *, last: int = LAST) -> Rehearsal:
    """Ask `candidate` about the newest `last` decisions of the archive. Raises StorageError."""
    found = Rehearsal()
    now, then = Warden(current, limits=UNLIMITED), Warden(candidate, limits=UNLIMITED)
    for execution in _executions(archive):
        try:
            past, book, _ = load(archive.world, execution)
        except OmegaError:  # its payloads are gone, or it is of a newer form
            found.unreadable += 1
            continue
        found.executions += 1
        for ask in _asked(past, book):
            if found.asked >= min(last, MAX_LAST):
                return found
            found.asked += 1
            before, after = now.ask(ask), then.ask(ask)
            if before.decision is not after.decision:
                action = "run" if ask.gate is Gate.ENTRY else ask.effect.value
                found.changes.append(Change(execution, shown(ask.step), ask.flow, ask.scope.principal, action, before, after))
    return found


def _executions(archive: Archive) -> Iterator[str]:
    page = Search(limit=PAGE)
    while True:
        lines = archive.reader.search(page)
        for line in lines:
            yield line.execution
        if len(lines) < PAGE:
            return
        page = replace(page, older_than=lines[-1].execution)


def _asked(past: Past, book: Book) -> Iterator[Ask]:
    """The questions that the gate was asked about one execution, except those that its own rules answered."""
    start = past.start
    if start is not None and start.decision and not OWN_RULES & set(start.decision.get("policies", ())):
        yield _ask(book, Gate.ENTRY, "", start.flow, Effect.WRITE, "flow", start.at_us, (), "")
    for recorded in past.at.values():
        for meta in _decisions(recorded):
            role = _role(meta)
            yield _ask(
                book,
                Gate.TOUCH,
                recorded.position,
                meta.flow,
                Effect(meta.effect),
                meta.kind,
                meta.at_us,
                in_force(recorded, meta.at_us),
                role,
            )


def _decisions(recorded: Recorded) -> Iterator[Step]:
    """The newest decision about a step, unless a rule of the gate itself made it."""
    rows = [row for row in recorded.rows if row.kind in (Kind.INTENT, Kind.DENIED, Kind.NEEDS)]
    for row in rows[-1:]:
        meta = decode_meta(row)
        if isinstance(meta, Step) and meta.decision and not OWN_RULES & set(meta.decision.get("policies", ())):
            yield meta


def _role(meta: Step) -> str:
    """The role that the flow itself demanded, as far as the decision tells."""
    decision = meta.decision or {}
    return str(decision.get("role", "")) if "approved-by" in decision.get("policies", ()) else ""


def _ask(  # noqa: PLR0913, PLR0917 - the parts of a question, as the journal has them
    book: Book, gate: Gate, step: str, flow: str, effect: Effect, kind: str, at_us: int, approvals: tuple[str, ...], role: str
) -> Ask:
    server, _, tool = flow.partition("/")
    scope = book.scope
    return Ask(
        gate=gate,
        scope=scope,
        execution=book.execution,
        step=step,
        epoch=book.epoch,
        flow=flow,
        flow_digest="",
        effect=effect,
        input_commitment=b"",
        now=min(at_us / 1_000_000, scope.expires_at - 1),
        needs=frozenset(),
        kind=kind,
        approver_role=role,
        approvals=approvals,
        resource={"server": server, "tool": tool} if kind == "tool" and tool else {},
    )
