"""For whom a call is made, while it is made: a client of ours that stands in between a person and a tool server.

What a server says in the middle of a call (progress, log messages, questions) goes to the client whose call it is, and to nobody else. It
is not part of what the step gives, is not recorded, and is gone when the call is over; a step that runs without a client is deaf to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Whose = tuple[str, str]
"""Tenant and principal of a caller."""


class Guest(Protocol):
    """A client that waits for a call."""

    @property
    def modern(self) -> bool:
        """Whether it speaks the newer era; one of the older is best met by a conversation of the older."""
        ...

    @property
    def whose(self) -> str:
        """Who is calling, as a text that nobody else has."""
        ...

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it can do, as it said: `sampling`, `elicitation`, `roots`."""
        ...

    @property
    def log_level(self) -> str:
        """The least severe log message that it wants; empty for none."""
        ...

    @property
    def wants_progress(self) -> bool:
        """Whether it asked to be told how far the call is."""
        ...

    def begun(self, execution: str) -> None:
        """The call runs under this id: by it, it can be cancelled."""
        ...

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Pass on a notification of the server."""
        ...

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pass on a question of the server; gives the client's answer. Raises LookupError when the client cannot be asked."""
        ...


Guests = Callable[[], Guest | None]
"""The client for whom the current task works; None where there is none."""


def nobody() -> None:
    """No client waits."""
