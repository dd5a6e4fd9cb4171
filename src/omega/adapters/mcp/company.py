"""The clients whose calls are open in one conversation, and for whom something is that came on no call's stream.

Over standard streams, and on the standing stream of the older era, a tool server asks and tells without saying for which call. What comes
with a token of progress belongs to its call. Anything else is for the only caller that the conversation ever had: what several share must
not carry the words of a tool server, or a person's answers, from one of them to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omega.adapters.mcp.guests import Guest


class Company:
    """The clients of one conversation."""

    def __init__(self) -> None:
        self._open: dict[int, Guest] = {}
        self._callers: set[str] = set()

    @contextmanager
    def joined(self, number: int, guest: Guest | None) -> Iterator[None]:
        """Call `number` is open for `guest` (None: for no client, which hears nothing)."""
        if guest is None:
            yield
            return
        self._open[number] = guest
        self._callers.add(guest.whose)
        try:
            yield
        finally:
            del self._open[number]

    def meant(self, params: Mapping[str, Any]) -> Guest | None:
        """For whom a notification or question with `params` is; None where that cannot be told."""
        token = params.get("progressToken")
        if isinstance(token, int) and token in self._open:
            return self._open[token]
        return next(reversed(self._open.values()), None) if len(self._callers) == 1 else None
