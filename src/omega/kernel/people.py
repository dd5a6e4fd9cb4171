"""Steps that people take: say yes, fill in a form, send a signal.

    approval("owner", "pay the supplier?")          passes its input on once a person of that role has said yes
    form(Correction, message="which account?")      gives what a person filled in, as a value of that type
    wait_for("paid", Payment, within="2d")          gives the next signal of that name, as a value of that type

Each is a leaf that waits, without an engine if need be. Who is asked, what for and until when stands on record from the first moment on
(`question_of`); whoever answers is checked, and so is the answer, before it is recorded. With `within`, the step fails with OMG-R043 when
that time is over: `.fallback(other)` says what happens then. A person looking does not run down a deadline of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.compose import AnyFlow, seconds
from omega.kernel.definition import Body, Flow
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.journal import Step, decode_meta
from omega.kernel.past import Recorded
from omega.kernel.types import type_of

MAX_MESSAGE = 2_000
"""Longest message to a person, in characters."""

MAX_SCHEMA = 64 << 10
"""Largest JSON Schema of a form, in bytes: it stands readable in the journal."""

MAX_SIGNAL = 64
"""Longest name of a signal, in characters."""

_ROLE = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Person(Body):
    """A step that waits for a person. `within_s` seconds after it was first asked it is too late; 0 is no limit."""

    message: str = ""
    role: str = ""
    within_s: float = 0.0

    def parameters(self) -> Mapping[str, Any]:
        return {"message": self.message, "role": self.role, "within_s": self.within_s}

    def due_us(self, asked_us: int) -> int:
        """When it is too late for what was asked at `asked_us` (both Unix microseconds); 0 when it never is."""
        return asked_us + round(self.within_s * 1_000_000) if self.within_s else 0


@dataclass(frozen=True, slots=True)
class Approval(Person):
    """A person of `role` says yes."""

    kind: ClassVar[str] = "approval"


@dataclass(frozen=True, slots=True)
class Form(Person):
    """A person (of `role`, where one is named) fills in a value of the flow's output type."""

    kind: ClassVar[str] = "form"


@dataclass(frozen=True, slots=True)
class Awaited(Person):
    """The next signal called `signal`."""

    kind: ClassVar[str] = "signal"
    signal: str = ""

    def parameters(self) -> Mapping[str, Any]:
        return {"signal": self.signal, "within_s": self.within_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a waiting step asks, as it stands on record. `due_us` is when it is too late (Unix microseconds; 0: never)."""

    kind: str
    message: str
    role: str
    due_us: int
    schema: Mapping[str, Any]
    signal: str = ""

    def record(self) -> dict[str, Any]:
        """The question as data, for whoever lists what waits."""
        told = {"kind": self.kind, "message": self.message, "role": self.role, "due_us": self.due_us, "schema": dict(self.schema)}
        return told | ({"signal": self.signal} if self.signal else {})


def approval(role: str, message: str = "", *, of: Any = Any, within: float | str = 0, name: str = "approval") -> AnyFlow:
    """A flow that gives its input (of the type `of`) once a person of `role` has approved it: `omega approve ID STEP`.

    Nobody approves what they asked for themselves, except an owner. Fails with OMG-R043 after `within` ("2d", "8h"), where that is given.
    """
    _role(role, needed=True)
    return _leaf(Approval(_message(message), role, _within(within)), of, of, name, approver_role=role)


def form(model: Any, *, message: str = "", role: str = "", of: Any = Any, within: float | str = 0, name: str = "form") -> AnyFlow:
    """A flow that asks a person to fill in a value of the type `model`: `omega answer ID STEP`.

    Anybody of `role` may answer, or an owner; without a role, whoever started the run or an owner. `omega show ID --json` gives the message
    and the JSON Schema. Takes anything (or a value of the type `of`), and fails with OMG-R043 after `within`, where that is given.
    """
    _role(role, needed=False)
    asking = _leaf(Form(_message(message), role, _within(within)), of, model, name)
    size = len(json.dumps(asking.output.schema()))
    if size > MAX_SCHEMA:
        raise DefinitionError("OMG-F003", f"the schema of {asking.output.name} has {size:,} bytes, the limit of a form is {MAX_SCHEMA:,}")
    return asking


def wait_for(signal: str, model: Any = Any, *, of: Any = Any, within: float | str = 0, name: str = "wait_for") -> AnyFlow:
    """A flow that gives the next signal called `signal`, as a value of the type `model`: `omega signal ID NAME VALUE`.

    A signal sent before it was waited for counts too; one of another type is a failure (OMG-I001). Fails with OMG-R043 after `within`.
    """
    if not 0 < len(signal) <= MAX_SIGNAL:
        raise DefinitionError("OMG-F003", f"a signal needs a name of 1 to {MAX_SIGNAL} characters")
    return _leaf(Awaited(within_s=_within(within), signal=signal), of, model, name)


def question_of(recorded: Recorded) -> Question | None:
    """What the step asks a person; None when it does not wait for one."""
    if recorded.waiting is None or recorded.settled is not None:
        return None
    step = decode_meta(recorded.waiting)
    if not isinstance(step, Step) or step.decision is None:
        return None
    asked = step.decision.get("asks") or {}
    return Question(
        kind=str(asked.get("kind", Approval.kind)),
        message=step.note,
        role=str(asked.get("role", step.decision.get("role", ""))),
        due_us=int(asked.get("due_us", 0)),
        schema=asked.get("schema") or {},
        signal=str(asked.get("signal", "")),
    )


def _leaf(body: Person, source: Any, result: Any, name: str, *, approver_role: str = "") -> AnyFlow:
    """A person's answer comes from outside, so the step is a read: gated, never cached, safe to ask again."""
    return Flow(
        name=name,
        body=body,
        input=type_of(source),
        output=type_of(result),
        description=body.message,
        effect=Effect.READ,
        approver_role=approver_role,
    )


def _role(role: str, *, needed: bool) -> None:
    if (role or needed) and not _ROLE.fullmatch(role):
        raise DefinitionError("OMG-F005", f"{role!r} is no role: lower-case letters, digits and dashes")


def _message(message: str) -> str:
    if len(message) > MAX_MESSAGE:
        raise DefinitionError("OMG-F003", f"a message of {len(message):,} characters is over the limit of {MAX_MESSAGE:,}")
    return message


def _within(within: float | str) -> float:
    return 0.0 if within == 0 else seconds(within)
