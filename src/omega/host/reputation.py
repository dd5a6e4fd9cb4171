"""Reputation: how reliable a tool has been, by what the log says of its calls. Nothing else is kept, and nobody can vote.

    done                                   speaks for the tool
    failed, hung, answered out of shape    against it: OMG-M001, M002, M003, M005, M006 and the P codes
    changed its description, or stopped by a guard
                                           against it, three times as much: OMG-M004, OMG-W010
    reported an error of its own           nothing: an answer is an answer, and it may well have been right
    refused, cancelled, wrong arguments    nothing: that was the caller's or the policy's doing

Each outcome counts half as much after a week, so a tool mends its name by working. A tool with few calls is thought of as most tools are:
the score is the mean of a beta distribution that begins with five calls, of which four were good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from omega.chronicle.pruned import is_pruned
from omega.chronicle.record import Leaf, decode
from omega.kernel.errors import IntegrityError
from omega.kernel.journal import Status
from omega.kernel.ports import Reader

HALF_LIFE_S: Final = 7 * 86_400.0
"""After how long (seconds) an outcome counts half as much."""

PRIOR_GOOD: Final = 4.0
PRIOR_ALL: Final = 5.0
FLAG_WEIGHT: Final = 3.0
SLOW_S: Final = 10.0
"""From which typical time (seconds) on a tool counts as slow; a slow one loses a tenth."""

LOOK_S: Final = 2.0
"""How often the log is looked at, at most, in seconds."""

BATCH: Final = 2_048
AT_ONCE: Final = 4 * BATCH
"""Leaves that are read before the answer to a search: a long log is caught up with over several of them."""

MAX_BEHIND: Final = 200_000
"""Leaves before the end at which reading begins: older ones would count next to nothing."""

LATELY: Final = 20_000
"""Leaves before the end that say how a server does: enough for what is going on, and read in a moment."""

MAX_TOOLS: Final = 10_000
"""Most tools that are kept count of."""

_FLAGS: Final = frozenset({"OMG-M004", "OMG-W010"})
_FAULTS: Final = frozenset({"OMG-M001", "OMG-M002", "OMG-M003", "OMG-M005", "OMG-M006"})
_OWN_ERROR: Final = "OMG-M007"
_BREAKER: Final = "OMG-W011"


@dataclass(slots=True)
class Record:
    """What is known of one tool. `good`, `bad` and `flagged` have faded up to `at_s` (Unix seconds); the others are plain counts."""

    good: float = 0.0
    bad: float = 0.0
    flagged: float = 0.0
    at_s: float = 0.0
    calls: int = 0
    failures: int = 0
    errors: int = 0
    denied: int = 0
    flags: int = 0
    log_took: float = 0.0
    good_us: int = 0
    """When it last worked, in Unix microseconds; 0 for never."""
    bad_us: int = 0
    """When it last failed, and `bad_code` with which code."""
    bad_code: str = ""
    held_us: int = 0
    """When a breaker last kept a call away from it."""
    codes: dict[str, int] = field(default_factory=dict)

    def note(self, leaf: Leaf) -> None:
        """Take in one leaf about the tool."""
        if leaf.kind == "deny":
            self.denied += 1
            self.held_us = leaf.at_us if leaf.code == _BREAKER else self.held_us
            if leaf.code not in _FLAGS:
                return
        if leaf.kind == "outcome" and leaf.status == Status.DONE:
            self._fade(leaf.at_us / 1e6)
            self.good += 1
            self.good_us = leaf.at_us
            self._took(leaf.took_us)
            self.calls += 1
            return
        if leaf.code == _OWN_ERROR:
            self.errors += 1
            self.calls += 1
            self.good_us = leaf.at_us  # an answer is an answer
        elif leaf.code in _FLAGS or leaf.code in _FAULTS or leaf.code.startswith("OMG-P"):
            self._fade(leaf.at_us / 1e6)
            self.codes[leaf.code] = self.codes.get(leaf.code, 0) + 1
            self.calls += leaf.kind == "outcome"
            if leaf.code in _FLAGS:
                self.flags += 1
                self.flagged += 1
            else:
                self.failures += 1
                self.bad += 1
                self.bad_us, self.bad_code = leaf.at_us, leaf.code

    def score(self, now_s: float) -> float:
        """From 0 to 1."""
        fade = _fading(now_s - self.at_s)
        good, bad = self.good * fade, (self.bad + FLAG_WEIGHT * self.flagged) * fade
        reliable = (good + PRIOR_GOOD) / (good + bad + PRIOR_ALL)
        return reliable * (0.9 if self.typical_s > SLOW_S else 1.0)

    @property
    def typical_s(self) -> float:
        """How long a good call typically takes, in seconds: a geometric mean in which the last ones count most."""
        return math.exp(self.log_took) if self.log_took else 0.0

    def words(self, now_s: float) -> str:
        """The score, and what it comes from."""
        parts = [f"{self.calls} call{'' if self.calls == 1 else 's'}"]
        parts += [f"{self.failures} failed"] if self.failures else []
        parts += [f"{self.errors} with an error of its own"] if self.errors else []
        parts += [f"{self.flags} flagged"] if self.flags else []
        parts += [f"{self.denied} denied"] if self.denied else []
        parts += [f"typically {self.typical_s * 1_000:.0f} ms"] if self.log_took else []
        return f"reputation {self.score(now_s):.2f}: {', '.join(parts)}"

    def told(self, now_s: float) -> dict[str, Any]:
        """As data."""
        counts = {"calls": self.calls, "failed": self.failures, "errors": self.errors, "flags": self.flags, "denied": self.denied}
        return {"score": round(self.score(now_s), 3), **counts, "typical_ms": round(self.typical_s * 1_000, 1), "codes": dict(self.codes)}

    def _fade(self, at_s: float) -> None:
        if at_s > self.at_s:
            fade = _fading(at_s - self.at_s)
            self.good, self.bad, self.flagged, self.at_s = self.good * fade, self.bad * fade, self.flagged * fade, at_s

    def _took(self, took_us: int) -> None:
        took = math.log(max(took_us, 1) / 1e6)
        self.log_took = took if not self.log_took else self.log_took + (took - self.log_took) * max(0.05, 1 / (self.calls + 1))


@dataclass(frozen=True, slots=True)
class Health:
    """How a tool server has done lately, by what was asked of it anyway: `good_us` and `bad_us` are when it last answered and last failed
    (Unix microseconds; 0 for never), `code` what it failed with. Nobody asks a server anything to learn this."""

    good_us: int = 0
    bad_us: int = 0
    code: str = ""
    held_us: int = 0
    """When a circuit breaker last kept a call away; 0 for never. While one does, the server is left alone."""
    opened: bool | None = None
    """Whether a circuit that it is behind is open, as the gate of this process has it; None where only the log is known."""

    @property
    def breaker(self) -> str:
        """`open` while calls are kept away: as the gate has it, else as the log has it last; `closed` otherwise."""
        kept_away = self.held_us > max(self.good_us, self.bad_us) if self.opened is None else self.opened
        return "open" if kept_away else "closed"

    @property
    def state(self) -> str:
        """`working`, `failing`, or `not called` lately."""
        if not self.good_us and not self.bad_us:
            return "not called"
        return "working" if self.good_us >= self.bad_us else "failing"

    def told(self) -> dict[str, Any]:
        """As data."""
        return {"state": self.state, "answered_at": _moment(self.good_us), "failed_at": _moment(self.bad_us), "code": self.code} | {
            "breaker": self.breaker,
            "kept_away_at": _moment(self.held_us),
        }

    def words(self) -> str:
        """In a few words."""
        return words_of(self.told())


def words_of(told: Mapping[str, Any]) -> str:
    """What `Health.told` says, in a few words."""
    said = {"working": f"working, {told['answered_at']}", "failing": f"failing, {told['failed_at']}: {told['code']}"}
    words = said.get(str(told["state"]), str(told["state"]))
    return f"{words}, left alone by a breaker" if told.get("breaker") == "open" else words


def health_of(server: str, records: Mapping[str, Record], *, opened: Iterable[str] | None = None) -> Health:
    """The health of a server, of what is known of its tools. `opened` are the targets (SERVER/TOOL, SERVER/*) whose circuits are open,
    where the gate that has them is at hand."""
    own = [record for name, record in records.items() if name.startswith(f"{server}/")]
    worst = max(own, key=lambda record: record.bad_us, default=Record())
    good_us = max((record.good_us for record in own), default=0)
    held_us = max((record.held_us for record in own), default=0)
    known = None if opened is None else any(target.startswith(f"{server}/") for target in opened)
    return Health(good_us, worst.bad_us, worst.bad_code, held_us, known)


def _moment(at_us: int) -> str | None:
    """A time as people and programs read it, to the second; None for never."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at_us else None


def _fading(seconds: float) -> float:
    return float(0.5 ** (max(0.0, seconds) / HALF_LIFE_S))


class Reputation:
    """The records of the tools of one tenant, as its log tells of them."""

    def __init__(
        self,
        reader: Reader,
        tenant: str,
        now_us: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        behind: int = MAX_BEHIND,
    ) -> None:
        self.records: dict[str, Record] = {}
        self._behind = behind
        self._reader, self._tenant, self._now_us, self._monotonic = reader, tenant, now_us, monotonic
        self._next = -1
        self._looked_at = float("-inf")

    def look(self) -> Mapping[str, Record]:
        """Read what is new, a bounded part of it and not more often than every `LOOK_S`. Raises StorageError."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self.read(AT_ONCE)
        return self.records

    def read(self, most: int = MAX_BEHIND) -> Mapping[str, Record]:
        """Read at most so many leaves that are new. One that cannot be read is passed over. Raises StorageError."""
        size = max((size for size, _ in self._reader.checkpoints(self._tenant)), default=0)
        if self._next < 0:
            self._next = max(0, size - self._behind)
        until = min(size, self._next + most)
        while self._next < until:
            raw = self._reader.leaves(self._tenant, self._next, min(until, self._next + BATCH))
            if not raw:
                break
            for each in raw:
                self._note(each)
            self._next += len(raw)
        return self.records

    def standing(self, tool: str) -> tuple[float, str] | None:
        """The score of `SERVER/TOOL` and what it comes from; None when nothing is known of it."""
        record = self.look().get(tool)
        if record is None:
            return None
        now_s = self._now_us() / 1e6
        return record.score(now_s), record.words(now_s)

    def _note(self, raw: bytes) -> None:
        if is_pruned(raw):
            return
        try:
            leaf = decode(raw)
        except IntegrityError:  # `omega verify` names it
            return
        if leaf.kind not in ("outcome", "deny") or "/" not in leaf.flow:
            return
        record = self.records.get(leaf.flow)
        if record is None:
            if len(self.records) >= MAX_TOOLS:
                return
            record = self.records[leaf.flow] = Record()
        record.note(leaf)
