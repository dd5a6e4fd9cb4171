"""Analyser: ruff, with rules that find mistakes rather than matters of taste, and none of the repository's own configuration."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review.analysis import Answer, Job, by_file, run, tool, version

RULES = "E7,E9,F,B,PLE,ASYNC"
"""pyflakes, syntax and runtime errors, likely bugs (bugbear), pylint errors, async mistakes."""

ARGUMENTS = (
    "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--quiet", "--output-format", "json", "--select", RULES,
    "--target-version", "py313", "--no-respect-gitignore", "--no-force-exclude", "--",
)  # fmt: skip

_UNREADABLE = {"syntax-error": "does not parse: only its syntax was judged", "E902": "cannot be read as UTF-8"}
"""Rules that mean that the rest of the file was not judged."""

_HIGH = ("F821", "F822", "F823", "F402", "F50", "F52", "F6", "F70", "PLE", "E9", "B012", "B035")
_MEDIUM = ("B", "F8", "ASYNC", "E722", "F40")


def analyse(job: Job, answer: Answer) -> None:
    """Run ruff over every Python file; a file that does not parse is named as skipped and reported as a finding."""
    files = job.of(".py", ".pyi")
    if not files:
        answer.status, answer.reason = "not applicable", "no Python files"
        return
    answer.version, answer.command = version("ruff"), f"ruff {' '.join(ARGUMENTS[1:-1])} ."
    answer.files = len(files)
    shown = by_file(job, files)
    for found in tool(job, files, ARGUMENTS, accept=(0, 1)):
        for one in found:
            _add(answer, one, shown(one["filename"]))
    answer.notes.append("suppressions in the code (noqa) are honoured")


def _add(answer: Answer, one: dict[str, Any], path: str) -> None:
    rule = one["code"] if one["code"] not in (None, "invalid-syntax") else "syntax-error"
    at, end = one["location"] or {}, one["end_location"] or {}
    answer.add(
        rule, _severity(rule), path, at.get("row", 0), one["message"],
        end_line=end.get("row", 0), column=at.get("column", 0), url=one.get("url") or "",
    )  # fmt: skip
    if rule in _UNREADABLE and not any(skip["path"] == path for skip in answer.skipped):
        answer.skipped.append({"path": path, "reason": _UNREADABLE[rule]})


def _severity(rule: str) -> str:
    if rule == "syntax-error" or rule.startswith(_HIGH):
        return "high"
    return "medium" if rule.startswith(_MEDIUM) else "low"


if __name__ == "__main__":
    sys.exit(run("ruff", analyse))
