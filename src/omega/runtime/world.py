"""What the engine stands on: the ports it was given, and the moments it tells those who watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from omega.kernel.compose import AnyFlow
from omega.kernel.ports import Clock, Effector, Entropy, Reader, Store
from omega.runtime.kept import Kept
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from omega.warden.admit import Warden


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that just happened, for progress bars: `kind` is started, began, ended, failed, denied, waiting, paused, recalled or
    finished."""

    kind: str
    execution: str
    position: str = ""
    flow: str = ""
    effect: str = ""
    took_s: float = 0.0
    note: str = ""


Watch = Callable[[Moment], None]


def as_written(leaf: AnyFlow) -> AnyFlow:
    """No descriptions are known."""
    return leaf


def unwatched(moment: Moment) -> None:
    """Nobody looks."""


@dataclass(slots=True, kw_only=True)
class World:
    """The ports of one engine, wired by the host (or by `omega.testing`)."""

    store: Store
    reader: Reader
    clock: Clock
    entropy: Entropy
    warden: Warden
    keyring: Keyring
    authority: Authority
    effectors: Mapping[str, Effector]
    owner: str = "embedded"
    bind: Callable[[AnyFlow], AnyFlow] = as_written
    """Gives a tool leaf the effect, schema and pin of its accepted description."""
    kept: Kept = field(default_factory=Kept)
    watch: Watch = unwatched
