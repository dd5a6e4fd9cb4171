"""Testing flows, adapters and the engine itself: shipped for everyone who writes one.

    omega_test             the pytest fixture: run a flow through gate and journal, in memory, in no time   (omega.testing.plugin)
    Lab                    the world behind it: real engine, gate, keys and log on a store in memory         (omega.testing.lab)
    RecordingEffector      stands where the world would be, and remembers every touch                        (omega.testing.effectors)
    VirtualLoop            an event loop whose time jumps instead of passing                                 (omega.testing.virtual)
    FakeClock              a clock that moves when a test says so                                            (omega.testing.clock)
    conformance            the suites that every adapter of a port passes unchanged
    simulator              crashes the engine at every append and checks what must hold

Nothing is loaded until it is used: the pytest plugin is part of every test run of every project that has Omega installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Crash": "omega.testing.effectors",
    "FakeClock": "omega.testing.clock",
    "Lab": "omega.testing.lab",
    "LoopClock": "omega.testing.virtual",
    "RecordingEffector": "omega.testing.effectors",
    "SeededEntropy": "omega.testing.entropy",
    "Touch": "omega.testing.effectors",
    "VirtualLoop": "omega.testing.virtual",
    "run_virtual": "omega.testing.virtual",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - a literal would be a second list to keep


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'omega.testing' has no attribute {name!r}")
    return getattr(import_module(home), name)


if TYPE_CHECKING:
    from omega.testing.clock import FakeClock as FakeClock
    from omega.testing.effectors import Crash as Crash
    from omega.testing.effectors import RecordingEffector as RecordingEffector
    from omega.testing.effectors import Touch as Touch
    from omega.testing.entropy import SeededEntropy as SeededEntropy
    from omega.testing.lab import Lab as Lab
    from omega.testing.virtual import LoopClock as LoopClock
    from omega.testing.virtual import VirtualLoop as VirtualLoop
    from omega.testing.virtual import run_virtual as run_virtual
