"""Results kept for `cache`:

in memory, per tenant, bounded, gone with the process. What was taken from here is journaled like any other value.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from omega.kernel.compose import AnyFlow

MAX_RESULTS = 1_024
"""Most results kept; the one unused for longest goes first."""

MAX_RESULT = 1 << 20
"""Largest result kept, in bytes as stored."""


class Kept:
    """An LRU of stored results with an end of life each."""

    def __init__(self) -> None:
        self._results: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    def get(self, key: bytes, now_us: int) -> bytes | None:
        """The result under `key` while it is still good."""
        found = self._results.get(key)
        if found is None:
            return None
        if found[0] <= now_us:
            del self._results[key]
            return None
        self._results.move_to_end(key)
        return found[1]

    def put(self, key: bytes, data: bytes, until_us: int) -> None:
        """Keep `data` under `key` until `until_us`; silently not, when it is too large to be worth it."""
        if len(data) > MAX_RESULT:
            return
        self._results[key] = (until_us, data)
        self._results.move_to_end(key)
        if len(self._results) > MAX_RESULTS:
            self._results.popitem(last=False)


def key_of(tenant: str, flow: AnyFlow, data: bytes) -> bytes:
    """The key of `flow`'s result for the input `data`: one tenant's results are never another's, new code never meets old results."""
    codes = ",".join(leaf.code for leaf in flow.leaves())
    return hashlib.sha256(f"{len(tenant)} {tenant} {flow.digest} {codes}\n".encode() + data).digest()
