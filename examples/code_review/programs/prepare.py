"""Make the private copy of the pinned commit, read its diff, or remove it.

python prepare.py ensure|diff|remove, with the order as JSON on standard input.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review import analysis, changes, workspace


def main() -> int:
    """Print the answer as JSON; exit status 3 and the reason when the repository cannot be reviewed."""
    order = json.load(sys.stdin)
    try:
        answer, status = _answer(sys.argv[1], order), 0
    except workspace.Refused as error:
        answer, status = {"kind": error.kind, "cause": error.cause, "advice": error.advice}, analysis.EXIT_REFUSED
    sys.stdout.write(json.dumps(answer) + "\n")
    return status


def _answer(verb: str, order: dict[str, str]) -> dict[str, Any]:
    if verb == "remove":
        return {"removed": workspace.remove(order["key"])}
    facts = workspace.ensure(repo=order["repo"], since=order["since"], key=order["key"], commit=order.get("commit", ""))
    if verb == "diff":
        return {"files": changes.parse(workspace.diff(Path(facts["scratch"]) / "repo", facts["base"]))}
    return facts


if __name__ == "__main__":
    sys.exit(main())
