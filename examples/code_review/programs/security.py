"""Analyser: bandit, over every Python file, with its own defaults and none of the repository's configuration."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review.analysis import Answer, Job, by_file, run, tool, version
from code_review.paths import is_test

ARGUMENTS = ("bandit", "--quiet", "--format", "json", "--exit-zero", "--exclude", "/no/such/folder", "--")

PASSWORD_RULES = frozenset({"B105", "B106", "B107"})
"""bandit repeats the value it takes for a password; a report must not."""

_QUOTED = re.compile(r"(:\s*)'.*'", re.DOTALL)


def analyse(job: Job, answer: Answer) -> None:
    """Run bandit; severities are bandit's own, lowered by one step where bandit itself is not confident."""
    files = job.of(".py")
    if not files:
        answer.status, answer.reason = "not applicable", "no Python files"
        return
    answer.version, answer.command = version("bandit"), f"{' '.join(ARGUMENTS[:-1])} -r ."
    answer.files = len(files)
    shown, suppressed = by_file(job, files), 0
    for found in tool(job, files, ARGUMENTS, accept=(0, 1)):
        for one in found["results"]:
            _add(answer, one, shown(one["filename"]))
        answer.skipped += [{"path": shown(one["filename"]), "reason": "cannot be read or does not parse"} for one in found["errors"]]
        suppressed += found["metrics"]["_totals"]["nosec"] + found["metrics"]["_totals"]["skipped_tests"]
    answer.notes.append(f"suppressions in the code (nosec) are honoured: {suppressed}")


def _add(answer: Answer, one: dict[str, Any], path: str) -> None:
    message = one["issue_text"]
    if one["test_id"] in PASSWORD_RULES:
        message = _QUOTED.sub(r"\1(value not shown)", message)
    severity = one["issue_severity"].lower()
    if one["issue_confidence"] == "LOW":
        severity = {"high": "medium", "medium": "low"}.get(severity, severity)
    if one["test_id"] == "B101" and is_test(path):
        severity = "info"  # an assert is what a test is made of
    lines = one.get("line_range") or [one["line_number"]]
    answer.add(
        one["test_id"], severity if severity in ("high", "medium", "low") else "info", path, one["line_number"], message,
        end_line=max(lines), column=one.get("col_offset", -1) + 1, url=one.get("more_info") or "",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run("bandit", analyse))
