"""`python -m omega.testing.simulator [--seed N] [--seeds COUNT]`: run seeds and print what was found, as JSON. Exit status 1 on a
violation."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from omega.testing.simulator import crash_everywhere, soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m omega.testing.simulator", description="crash the engine at every append, and check what must hold"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed to begin with (and the only one unless --seeds is given)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, counted up from --seed")
    parser.add_argument(
        "--every-append", action="store_true", help="crash before and after every append of the first seed, on both kinds of disk"
    )
    options = parser.parse_args(arguments)
    found = soak(range(options.seed, options.seed + options.seeds))
    if options.every_append:
        found["every_append"] = sum(len(crash_everywhere(eager=eager, seed=options.seed)) for eager in (False, True))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
