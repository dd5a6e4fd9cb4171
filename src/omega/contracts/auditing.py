"""Reading one's own log from within a flow: the requests. The tenant is that of the permit, so none of them names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from omega.kernel.effects import Request

READ_LOG: Final = "log:read"
"""The capability that reading the log takes. Owners and admins hold it; everybody else, and every agent, only by a grant."""

MAX_FOUND: Final = 1_000
"""Most leaves of one page."""

MAX_WAIT_S: Final = 30.0
"""Longest wait for the next leaf, in seconds."""

MAX_PART: Final = 512 * 1024
"""Most bytes of one part of an export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLog(Request):
    """The leaves that match, newest first; `wanted` has the fields of a search of the log. Gives `leaves` and where to go on `before`."""

    port: ClassVar[str] = "audit"
    wanted: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedLeaves(Request):
    """The same for the leaves that have flags, going back from the index `before` (0: the end); `alarming` for grave ones alone."""

    port: ClassVar[str] = "audit"
    before: int = 0
    limit: int = 100
    alarming: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLog(Request):
    """The leaves after the index `after` (-1: from the beginning), oldest first, at most `limit`; while there is none, up to `wait_s`
    seconds of waiting for one.

    `wanted` has the fields of a search that are about leaves; `flagged` for those alone that have flags. Leaves of the execution that asks
    are left out: its looking is on record, too, and would never end. Gives `leaves` and the `position` to go on after."""

    port: ClassVar[str] = "audit"
    after: int = -1
    wanted: Mapping[str, Any] = field(default_factory=dict)
    flagged: bool = False
    limit: int = 100
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestCheckpoint(Request):
    """The newest signed checkpoint, `lasting` with the second signature where one is made, and the public keys to check it with."""

    port: ClassVar[str] = "audit"
    lasting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveLog(Request):
    """That the leaf `index` (-1: none) is in the log of `size` leaves (0: all), and that this log continues the one of `old` (0: none)."""

    port: ClassVar[str] = "audit"
    index: int = -1
    size: int = 0
    old: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLog(Request):
    """The bytes of a signed export from `position` on, at most `most`. Empty, `export` begins one; then it names the one to go on with.
    `to` is the region where the copy goes, where the log belongs to one."""

    port: ClassVar[str] = "audit"
    export: str = ""
    position: int = 0
    most: int = MAX_PART
    to: str = ""
