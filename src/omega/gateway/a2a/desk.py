"""What the protocol needs of the process beside the core: which agents are published, what is recorded of a task, whom to tell of it.

The host implements `Desk` (`omega.host.a2a`). An agent is a flow that an operator published under a name; nothing is published by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from omega.gateway.front.core import Visitor
from omega.kernel.compose import AnyFlow
from omega.kernel.ports import Line
from omega.kernel.scope import Scope
from omega.wire.a2a.cards import Profile

LABEL: Final = "a2a"
"""The label that names the agent on each execution that is a task of it."""

CONTEXT: Final = "a2a-context"
"""The label that names the conversation."""

MESSAGE: Final = "a2a-message"
"""The label that holds the id of the message that began the task."""

SIGNAL: Final = "message"
"""The name of the signal that a further message is, unless the task waits for one of another name."""

Takes = Literal["text", "data", "message"]
"""What the flow of an agent takes: the text of a message, its structured data, or the whole message as the protocol has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A published flow. `target` is where the flow is loaded from again, `listed` whether strangers may read its card."""

    name: str
    flow: AnyFlow
    takes: Takes
    profile: Profile
    target: str = ""
    listed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something that was said in a task after its first message: by whom (`user` or `agent`), when (Unix microseconds), and what."""

    by: Literal["user", "agent"]
    at_us: int
    key: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a task waits for: an `approval`, a `form` or a `signal`; `step` is where, `role` who may answer, `schema` what fits."""

    kind: str
    step: str = ""
    message: str = ""
    role: str = ""
    signal: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is recorded of a task. `kept` is false where its content was erased or redacted; `busy` that it stands still for something that
    is no person: a moment, or a child."""

    line: Line
    input: Any = None
    value: Any = None
    error: Mapping[str, Any] | None = None
    said: Sequence[Said] = ()
    asks: Question | None = None
    busy: bool = False
    kept: bool = True


class Desk(Protocol):
    """The published agents of the installation."""

    def agent(self, name: str, scope: Scope | None) -> Agent:
        """The agent of that name, as far as `scope` may use it; without a scope the listed ones, for their cards alone.

        Raises InputError (OMG-I002) where there is none for this caller.
        """
        ...

    def agents(self, scope: Scope | None) -> Sequence[Agent]:
        """All of them, by name, as far as `scope` may use them; without a scope the listed ones."""
        ...

    def front(self) -> str:
        """The name of the listed agent whose card stands at the root of the installation; empty where there is none."""
        ...

    def grpc_port(self) -> int:
        """The port at which the gRPC binding answers; 0 where it does not."""
        ...

    def sign(self, card: Mapping[str, Any], base: str) -> dict[str, Any]:
        """`card` with the signature of the installation; its keys lie below `base`."""
        ...

    def account(self, execution: str, scope: Scope) -> Account:
        """What is recorded of `execution`. Raises InputError (OMG-I003)."""
        ...

    def check_address(self, agent: str, url: str, scope: Scope) -> None:
        """Raise Denied (OMG-P011) or InputError (OMG-I001) for an address at which callers of `agent` may not have themselves told, and for
        a caller who has left as many as there may be."""
        ...

    async def tell(self, execution: str, config: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
        """Have the holder of `config` told of each state of `execution`, on record, as the visitor; gives what is kept.

        Raises Denied, InputError (OMG-I001, OMG-I003).
        """
        ...

    def told(self, execution: str, scope: Scope) -> Sequence[Mapping[str, Any]]:
        """Who is told of `execution`: the configurations of this caller, by id, without their secrets. Raises InputError (OMG-I003)."""
        ...

    async def untell(self, execution: str, config: str, visitor: Visitor) -> None:
        """Forget a configuration; one that is not there is forgotten already. Raises Denied, InputError (OMG-I003)."""
        ...
