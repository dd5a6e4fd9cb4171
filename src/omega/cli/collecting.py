"""Python's garbage collector in a process that serves for long: what stands once it has begun stays, and the rest is looked at seldom.

The collector walks what is alive again and again, and most of that was made at the start: modules, types, policies. With that out of its
way and a longer first step, a governed call takes less CPU (`python bench/mcp.py` prints how much). Calls leave next to nothing that only
the collector could free; memory stays flat over a million of them (bench/soak_calls.py).
"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 50)
"""Objects made and not freed before the youngest are looked at, and how often that happens before the older are: see `gc.set_threshold`."""


def settled() -> None:
    """What is alive now stays as long as the process does. Call once, when everything that serves has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
