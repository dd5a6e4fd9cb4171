"""Analyser: cyclomatic complexity of every Python function, measured by radon, judged by thresholds of our own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review.analysis import Answer, Job, by_file, run, tool, version

ARGUMENTS = ("radon", "cc", "--json", "--no-assert", "--show-closures", "--")

THRESHOLDS = ((30, "high"), (20, "medium"), (12, "low"))
"""Above 10 a function is hard to test (McCabe, 1976); we speak up a little later, and loudly where nobody tests every path any more."""


def analyse(job: Job, answer: Answer) -> None:
    """Report functions and methods at or above the lowest threshold; the number of all of them and the mean are facts."""
    files = job.of(".py")
    if not files:
        answer.status, answer.reason = "not applicable", "no Python files"
        return
    answer.version, answer.command = version("radon"), "radon cc --json --no-assert --show-closures ."
    answer.files = len(files)
    shown, total, count = by_file(job, files), 0, 0
    for found in tool(job, files, ARGUMENTS, accept=(0,)):
        for name, blocks in found.items():
            path = shown(name)
            if "error" in blocks:
                answer.skipped.append({"path": path, "reason": "cannot be read or does not parse"})
                continue
            for block in _functions(blocks):
                total, count = total + block["complexity"], count + 1
                _add(answer, block, path)
    answer.facts = {"functions": count, "mean_complexity": round(total / count, 2) if count else 0.0}


def _functions(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every function, method and closure once: radon lists a method both by itself and inside its class."""
    seen: set[tuple[int, int, str]] = set()
    for block in blocks:
        if block["type"] == "class":
            continue
        for one in (block, *block.get("closures", ())):
            key = (one["lineno"], one["col_offset"], one["name"])
            if key not in seen:
                seen.add(key)
                yield one


def _add(answer: Answer, block: dict[str, Any], path: str) -> None:
    for threshold, severity in THRESHOLDS:
        if block["complexity"] >= threshold:
            name = f"{block['classname']}.{block['name']}" if block.get("classname") else block["name"]
            message = f"{block['type']} {name} has cyclomatic complexity {block['complexity']} (threshold {threshold})"
            answer.add(
                "high-complexity", severity, path, block["lineno"], message, end_line=block["endline"], column=block["col_offset"] + 1
            )
            return


if __name__ == "__main__":
    sys.exit(run("complexity", analyse))
