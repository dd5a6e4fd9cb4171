"""What an exit status of `omega` means. One table: the help, the documentation and every command speak of these."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit statuses. Scripts may rely on them: a number never changes its meaning."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    WAITING = 4
    IN_DOUBT = 5
    STORAGE = 6
    INTERRUPTED = 130


MEANING: dict[Exit, str] = {
    Exit.DONE: "done; identical; sound",
    Exit.FAILED: "the run failed or was cancelled; the replay differs; the log is not sound",
    Exit.USAGE: "the command or its input was not understood; nothing was run",
    Exit.DENIED: "denied by policy, limits, budget or passport",
    Exit.WAITING: "waiting for a person or a signal",
    Exit.IN_DOUBT: "a step is in doubt",
    Exit.STORAGE: "the data folder cannot be used: in use, full, damaged, newer",
    Exit.INTERRUPTED: "stopped by Ctrl-C or SIGTERM; what is recorded can be resumed",
}

_FAMILIES = {
    "definition": Exit.USAGE,
    "input": Exit.USAGE,
    "denied": Exit.DENIED,
    "suspended": Exit.WAITING,
    "storage": Exit.STORAGE,
}


def exit_of(error: Mapping[str, Any], *, started: bool = False) -> Exit:
    """The exit status for an `OmegaError.record()`; `started` says that it ended a run, rather than kept one from starting."""
    code = str(error.get("code", ""))
    if code == "OMG-R006":
        return Exit.IN_DOUBT
    if code == "OMG-S005":
        return Exit.STORAGE
    found = _FAMILIES.get(str(error.get("family", "")), Exit.FAILED)
    return Exit.FAILED if started and found is Exit.USAGE else found
