"""Permits for tests of effectors: what the warden would mint after an ALLOW."""

from __future__ import annotations

import time

from omega.kernel.verdict import Permit, mint_permit

EXECUTION = "exe_test"
STEP = "step#0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def permit_for(port: str, *, step: str = STEP, expires_in_s: float = 60.0) -> Permit:
    """A fresh permit for one touch through `port`."""
    return mint_permit(
        tenant="ten_test",
        execution=EXECUTION,
        step=step,
        epoch=1,
        port=port,
        commitment=b"\0" * 32,
        ttl_s=expires_in_s,
        clock=time.monotonic,
        trace=TRACE,
    )
