"""Orders: what another process asks the one engine of a folder to start, because the folder is the engine's alone while it works.

An order is a document, sealed under the keys of the installation, with a passport of whoever asks; the engine takes it down the same road
as any call. It is named after the execution that it makes, so that one which is read twice starts once. The answer is a document too, and
is taken away by whoever asked.

    asker      put order NAME  ->  wait for answer NAME  ->  drop it
    engine     for each order: start it (or find it started)  ->  put answer NAME, drop order NAME

Where engines share a database nobody needs this: every command is an engine of its own there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from omega.host.identity import Caller
from omega.host.targets import Target
from omega.kernel.budget import Budget
from omega.kernel.errors import FlowError, IntegrityError
from omega.kernel.queueing import DEFAULT
from omega.trust.sealing import Keyring

ORDER = "order"
ANSWER = "answer"
"""The kinds of the documents."""

MAX_ORDER = 3 << 20
"""Largest order in bytes: a document has a limit, and an input above it is better put into a file."""

OWNER = Caller()
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where an execution lines up: see `kernel.queueing`. `due_us` 0 is at once."""

    queue: str = DEFAULT
    key: str = ""
    priority: int = 0
    due_us: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: the flow, its input, for whom, within which limits, and where it lines up. `passport` outweighs `caller`."""

    target: Target
    input: Any
    execution: str = ""
    caller: Caller = OWNER
    budget: Budget | None = None
    timeout_s: float | None = None
    placing: Placing | None = None
    passport: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One thing to start: `target` names the flow, `digest` says which version of it the asker saw; without a `placing` it runs at once."""

    execution: str
    passport: str
    target: str
    digest: str
    input: Any
    budget: Budget | None = None
    timeout_s: float | None = None
    placing: Placing | None = None

    def seal(self, keyring: Keyring) -> bytes:
        """As the body of its document. Raises FlowError (OMG-R003) when it is too large."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("budget", "placing")}
        fields["budget"] = None if self.budget is None else self.budget.record()
        fields["placing"] = None if self.placing is None else asdict(self.placing)
        plain = json.dumps(fields).encode()
        if len(plain) > MAX_ORDER:
            raise FlowError(
                "OMG-R003",
                f"the input has {len(plain):,} bytes; while an engine works in the folder, {MAX_ORDER:,} can be handed to it",
                advice="put large data into a file and hand over its path",
            )
        wrapped, sealer = keyring.create(_name(self.execution))
        return msgspec.msgpack.encode((_FORMAT, wrapped, sealer.seal(plain, _name(self.execution).encode())))

    @classmethod
    def open(cls, execution: str, body: bytes, keyring: Keyring) -> Order:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            number, wrapped, sealed = msgspec.msgpack.decode(body, type=tuple[int, bytes, bytes])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise IntegrityError("OMG-T004", "an order has no known form") from error
        if number != _FORMAT:
            raise IntegrityError("OMG-T004", f"an order has the form {number}, this release reads {_FORMAT}")
        fields = json.loads(keyring.open(_name(execution), wrapped).open(sealed, _name(execution).encode()))
        budget, placing = fields.pop("budget"), fields.pop("placing")
        return cls(**fields, budget=None if budget is None else Budget(**budget), placing=None if placing is None else Placing(**placing))


def _name(execution: str) -> str:
    """What an order's key and seal are bound to: never the execution's own, which it gets when it starts."""
    return f"order {execution}"
