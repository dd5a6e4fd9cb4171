"""What a process that serves does about Python's garbage collector."""

from __future__ import annotations

import subprocess
import sys


def test_what_stands_at_the_start_is_out_of_the_collectors_way() -> None:
    """In a process of its own: it is for good."""
    program = (
        "import gc; from omega.cli.collecting import THRESHOLDS, settled; settled();"
        "assert gc.get_freeze_count() > 10_000 and len(gc.get_objects()) < 1_000, (gc.get_freeze_count(), len(gc.get_objects()));"
        "assert gc.get_threshold() == THRESHOLDS and gc.isenabled()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
