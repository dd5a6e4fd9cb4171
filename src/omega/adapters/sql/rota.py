"""How a store looks for work without reading every line that waits.

Lines that can be told apart by queue, flow digest, priority and tenant (and partition key, where the queue limits it) form a group. An
index holds the groups one after another and, within a group, the lines in the order in which they become ready. So a look jumps from
group to group, takes the first few of each, and leaves the choice to `kernel.queueing.choose`. Its cost grows with the number of groups
and the logarithm of the number of lines, not with the number of lines.

A look at one queue and digest ends after MAX_GROUPS; the next one goes on behind it, so that a tenant whose name sorts last has its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from omega.kernel.ports import Want
from omega.kernel.queueing import Limits

MAX_GROUPS = 1_000
"""Most groups of one queue and digest in one look."""

ALL_KEYS = None
"""The place of the partition key in a group whose queue does not limit keys."""

Pair: TypeAlias = tuple[str, str]
"""A queue and a digest."""

Group: TypeAlias = tuple[int, str, str | None]
"""A priority, a tenant, and a partition key or ALL_KEYS."""


BEFORE_ALL: Group = (2**31 - 1, "", "")
"""Higher than every group."""


class Rota:
    """Where the next look at each queue and digest begins."""

    def __init__(self) -> None:
        self._behind: dict[Pair, Group] = {}

    def behind(self, pair: Pair) -> Group:
        """The group behind which the look begins; groups follow one another downwards."""
        return self._behind.get(pair, BEFORE_ALL)

    def note(self, pair: Pair, groups: Sequence[Group]) -> None:
        """A look has seen `groups`, in order."""
        if len(groups) >= MAX_GROUPS:
            self._behind[pair] = groups[-1]
        else:
            self._behind.pop(pair, None)

    def midway(self, want: Want) -> bool:
        """Whether the next look would begin somewhere behind the first group."""
        return any((queue, digest) in self._behind for queue in want.queues for digest in want.digests)


def keyed(want: Want, queue: str) -> bool:
    """Whether `queue` limits its partition keys."""
    limits = want.limits.get(queue)
    return limits is not None and limits.per_key is not None


def limited(want: Want) -> list[str]:
    """The queues of `want` that have any limit, sorted: over these all workers must agree."""
    return sorted(queue for queue in set(want.queues) if (limits := want.limits.get(queue)) is not None and limits != Limits())


def rated(want: Want) -> dict[str, int]:
    """The queues of `want` with a rate, and the moment (Unix microseconds) after which what was begun counts."""
    return {
        queue: want.now_us - int(limits.per_s * 1_000_000)
        for queue, limits in want.limits.items()
        if limits.rate is not None and queue in want.queues
    }
