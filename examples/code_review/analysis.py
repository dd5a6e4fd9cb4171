"""What the analyser programs share: the job they are given, the answer they print, and running a tool over many files.

A program reads one JSON object from standard input (`repo`, `since`, `key`, `commit`: where the workspace is, or how to make it
again) and prints one JSON object:

    analyser   its name                     status   ok | not applicable | failed
    version    of the tool or rule set      reason   why not ok, or empty
    files      how many files were read     command  what it ran, to run by hand inside the checkout
    findings   rule, severity, path, line, end_line, column, message, url; in order of path, line, rule, message
    skipped    path, reason: files it could not judge       notes   sentences that a reader should know
    facts      figures of its own, flat

Standard library and PyYAML only; nothing of the repository is imported or executed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from code_review import paths, tokens, workspace

BATCH_BYTES = 96 << 10
"""Bytes of file names in one command line: well under the system's limit for arguments (128 KiB each, 2 MiB in all)."""

TOOL_TIMEOUT_S = 240.0
"""One batch of one tool."""

MAX_FINDINGS = 2_000
"""Findings one analyser hands on, the most severe first; the rest is counted and said."""

MAX_MESSAGE = 400
"""Characters of one message."""

EXIT_REFUSED = 3
"""Exit status when the repository cannot be used; the printed object then holds `kind`, `cause` and `advice`."""

SEVERITIES = ("high", "medium", "low", "info")


class ToolFailed(Exception):
    """The tool itself failed; the message is one plain sentence."""


@dataclass(slots=True)
class Answer:
    """What an analyser found, as it is printed."""

    analyser: str
    version: str = ""
    status: str = "ok"
    reason: str = ""
    command: str = ""
    files: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(
        self, rule: str, severity: str, path: str, line: int, message: str, *, end_line: int = 0, column: int = 0, url: str = ""
    ) -> None:
        """Keep one finding; lines and columns are 1-based, 0 where the tool gives none."""
        self.findings.append({
            "rule": rule, "severity": severity, "path": path, "line": line, "end_line": max(line, end_line), "column": column,
            "message": paths.one_line(tokens.redact(message, tokens.load()), MAX_MESSAGE), "url": url,
        })  # fmt: skip

    def record(self) -> dict[str, Any]:
        """The answer as printed: findings in a fixed order, cut to the limit with a note that says so."""
        total = len(self.findings)
        worst = sorted(self.findings, key=lambda one: (SEVERITIES.index(one["severity"]), *_place(one)))[:MAX_FINDINGS]
        if total > MAX_FINDINGS:
            self.notes.append(f"{total} findings; the {MAX_FINDINGS} most severe are listed")
        return {
            "analyser": self.analyser, "version": self.version, "status": self.status, "reason": self.reason, "command": self.command,
            "files": self.files, "findings_total": total, "findings": sorted(worst, key=_place),
            "skipped": sorted(self.skipped, key=lambda one: (one["path"], one["reason"])), "notes": self.notes, "facts": self.facts,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """The files to look at: `scratch` is the workspace, `files` its readable files in order of name."""

    scratch: Path
    commit: str
    files: tuple[dict[str, Any], ...]

    def of(self, *suffixes: str) -> list[dict[str, Any]]:
        """The readable files whose name ends in one of `suffixes`."""
        return [file for file in self.files if file["path"].endswith(suffixes)]

    def text(self, file: dict[str, Any]) -> str:
        """The content of a file, bytes that are not UTF-8 replaced."""
        content: bytes = (self.scratch / file["file"]).read_bytes()
        return content.decode("utf-8", "replace")


def run(analyser: str, analyse: Callable[[Job, Answer], None]) -> int:
    """Be an analyser program: read the job, call `analyse`, print the answer; gives the exit status."""
    try:
        job = _job(json.load(sys.stdin))
    except workspace.Refused as error:
        return _print({"kind": error.kind, "cause": error.cause, "advice": error.advice}, EXIT_REFUSED)
    answer = Answer(analyser)
    try:
        analyse(job, answer)
    except ToolFailed as error:
        answer = Answer(
            analyser, answer.version, "failed", paths.one_line(str(error).replace(f"{job.scratch}/", ""), MAX_MESSAGE), answer.command
        )
    return _print(answer.record(), 0)


def tool(job: Job, files: Sequence[dict[str, Any]], arguments: Sequence[str], accept: tuple[int, ...]) -> Iterator[Any]:
    """Run a Python tool (`python -m ...`) over `files` in batches and give the JSON that each batch printed. Raises ToolFailed."""
    for batch in _batches(files):
        yield from _run_batch(job, [file["file"] for file in batch], arguments, accept)


def version(module: str) -> str:
    """The installed version of a tool. Raises ToolFailed when there is none."""
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError as error:
        raise ToolFailed(f"{module} is not installed") from error


def by_file(job: Job, files: Iterable[dict[str, Any]]) -> Callable[[str], str]:
    """From a file name as a tool prints it to the shown path in the repository."""
    known = {os.path.normpath(file["file"]): file["path"] for file in files}

    def shown(name: str) -> str:
        relative = os.path.relpath(name, job.scratch) if os.path.isabs(name) else name
        path: str = known.get(os.path.normpath(relative), paths.one_line(relative, MAX_MESSAGE))
        return path

    return shown


def by_hand(program: str) -> str:
    """The command by which a person runs one of our own programs on the repository in the working folder."""
    order = json.dumps({"repo": ".", "since": "", "key": "by-hand", "commit": ""})
    return f"echo '{order}' | python -I examples/code_review/programs/{program}"


def _job(order: dict[str, str]) -> Job:
    facts = workspace.ensure(repo=order["repo"], since=order["since"], key=order["key"], commit=order["commit"])
    scratch = Path(facts["scratch"])
    readable = (file for file in workspace.manifest(scratch) if file["kind"] in ("python", "text"))
    return Job(scratch, facts["commit"], tuple(readable)[: workspace.MAX_FILES])


def _run_batch(job: Job, names: list[str], arguments: Sequence[str], accept: tuple[int, ...]) -> Iterator[Any]:
    command = [sys.executable, "-I", "-m", *arguments, *names]
    try:
        done = subprocess.run(
            command, cwd=job.scratch, env=_environment(job), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=TOOL_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"{arguments[0]} took more than {TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode not in accept:
        raise ToolFailed(f"{arguments[0]} ended with status {done.returncode}: {_last_line(done.stderr)}")
    try:
        yield json.loads(done.stdout)
    except ValueError as error:
        raise ToolFailed(f"{arguments[0]} printed no JSON: {_last_line(done.stderr)}") from error


def _environment(job: Job) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(job.scratch), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}


def _batches(files: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for file in files:
        length = len(os.fsencode(file["file"])) + 1
        if batch and size + length > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch


def _place(finding: dict[str, Any]) -> tuple[Any, ...]:
    return (finding["path"], finding["line"], finding["column"], finding["rule"], finding["message"])


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return paths.one_line(lines[-1], MAX_MESSAGE) if lines else "no message"


def _print(record: dict[str, Any], status: int) -> int:
    sys.stdout.write(json.dumps(record, ensure_ascii=True) + "\n")
    return status
