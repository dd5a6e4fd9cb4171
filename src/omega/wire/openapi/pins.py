"""What whoever took in an interface pinned: names that no argument sets, however the argument is written.

Servers read names loosely: headers in any case, `X_Tenant` as `X-Tenant` (RFC 3875, 4.1.18), `tenant[]` and `tenant[x]` as `tenant`. Which
of two values counts is theirs to say, so a name that could be read as a pinned one is not sent at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

IN_QUERY: Final = "?"
"""Begins the name of what is pinned in the query and not as a header."""

_ENDS: Final = re.compile(r"[\[\0]")
_ALIKE: Final = re.compile(r"[-. ]")


@dataclass(frozen=True, slots=True)
class Pins:
    """Pinned names of the query and of headers, in the one form in which names are compared."""

    query: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """From the keys of references: a header by its name, a parameter of the query with `?` before it."""
        known = list(keys)
        query = frozenset(_form(key.removeprefix(IN_QUERY)) for key in known if key.startswith(IN_QUERY))
        return cls(query, frozenset(_form(key) for key in known if not key.startswith(IN_QUERY)))

    def hold(self, place: str, name: str) -> bool:
        """Whether a parameter `name` of `place` (path, query, header, cookie) is pinned. A pinned `Cookie` holds every cookie."""
        if place == "cookie":
            return "cookie" in self.headers
        return (place == "query" and _form(name) in self.query) or (place == "header" and _form(name) in self.headers)


NO_PINS: Final = Pins()


def _form(name: str) -> str:
    return _ALIKE.sub("_", _ENDS.split(name.strip(), maxsplit=1)[0].lower())
