"""`make demo`: everything Omega is for, on the repository it lies in, in about two minutes.

    1. the code review of a real repository
    2. an agent's tool call that policy denies, with the explanation
    3. the same review killed with SIGKILL in the middle, and the resume that repeats nothing
    4. its replay, offline
    5. the verification of the log; then of a copy with one byte changed, which fails and says where

Data lies in .omega/demo, reports in omega-report; both are made anew each time. Nothing else is touched. What stands after `$` can be
typed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".omega/demo"
REPORT = ROOT / "omega-report"
SECOND_REPORT = HOME / "second-report"
BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"OMEGA_HOME": str(HOME), "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}

DENIED = 3
"""Exit status of a run that the gate refused; see docs/cli.md."""
ENOUGH_STEPS = 4
"""The second review is killed once so many steps of it are recorded."""
PATIENCE_S = 120.0
"""Longest wait for those."""


def say(words: str = "") -> None:
    """One line for whoever watches."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def chapter(number: int, title: str) -> None:
    """The heading of a part."""
    say(f"\n{number}. {title}\n")


def fail(words: str) -> NoReturn:
    """End the demo: it must not pretend."""
    say(f"\nthe demo stopped: {words}")
    sys.exit(1)


def omega(*arguments: str, expect: int = 0, shown: bool = True) -> str:
    """Run one command of Omega as a user would; its output goes to the terminal (and is returned when it is not shown)."""
    if shown:
        say(f"$ omega {' '.join(arguments)}")
    run = subprocess.run(
        [BIN / "omega", *arguments], cwd=ROOT, env=ENVIRONMENT, check=False, text=True, stdout=None if shown else subprocess.PIPE
    )
    if run.returncode != expect:
        fail(f"omega {' '.join(arguments)} exited {run.returncode}, not {expect}")
    return run.stdout or ""


def review(name: str, out: Path) -> list[str]:
    """The arguments of a review of this repository."""
    return ["run", "examples/code_review", "--input", "repo=.", "--input", f"out={os.path.relpath(out, ROOT)}", "--id", name]


def recorded_steps(name: str) -> int:
    """How many steps of an execution are durably done."""
    run = subprocess.run([BIN / "omega", "show", name, "--json"], cwd=ROOT, env=ENVIRONMENT, check=False, text=True, capture_output=True)
    return 0 if run.returncode else count_done(json.loads(run.stdout))


def count_done(shown: Any) -> int:
    """Steps with status done, wherever they stand in the document."""
    if isinstance(shown, dict):
        here = int(shown.get("status") == "done" and "effect" in shown)
        return here + sum(count_done(value) for value in shown.values())
    return sum(count_done(value) for value in shown) if isinstance(shown, list) else 0


def killed_review() -> int:
    """Start a second review and kill it once some of it is recorded; gives how many steps were."""
    arguments = review("review-2", SECOND_REPORT)
    say(f"$ omega {' '.join(arguments)} &")
    process = subprocess.Popen([BIN / "omega", *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline and recorded_steps("review-2") < ENOUGH_STEPS:
        time.sleep(0.05)
    if process.poll() is not None:
        fail(f"the second review ended with {process.returncode} before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps = recorded_steps("review-2")
    say(f"$ kill -9 {process.pid}      # {steps} steps were recorded by then")
    return steps


def report_digest(folder: Path) -> str:
    """Digest of a report without its run data: id, times, durations, attempts and where it was written."""
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    data.pop("run", None)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def changed_copy(export: Path) -> Path:
    """A copy of an export with one bit of one byte changed, in the middle of its records."""
    raw = bytearray(export.read_bytes())
    at = raw.find(b'"step":', len(raw) // 2) + len(b'"step":') + 2
    raw[at] ^= 1
    copy = export.with_name("changed.omega")
    copy.write_bytes(raw)
    return copy


def verify_alone(export: Path, *, expect: int) -> None:
    """Run the stand-alone verifier, without Omega."""
    say(f"$ python verify.py {export.name}")
    run = subprocess.run([sys.executable, "-I", HOME / "verify.py", export.name], cwd=HOME, check=False)
    if run.returncode != expect:
        fail(f"verify.py exited {run.returncode}, not {expect}")


def main() -> None:
    """Tell the story."""
    began = time.monotonic()
    for folder in (HOME, REPORT):
        shutil.rmtree(folder, ignore_errors=True)
    chapter(1, "a review of this repository: history and diff through an MCP server, analysers in parallel, one report")
    omega(*review("review", REPORT))
    chapter(2, "an agent may read with a tool; it may not commit")
    omega("run", "examples/agent_commit", "--input", "repo=.", "--as", "agent:tidy", "--id", "commit", expect=DENIED)
    chapter(3, "the same review, killed in the middle and resumed")
    steps = killed_review()
    omega("resume", "review-2")
    same = report_digest(REPORT) == report_digest(SECOND_REPORT)
    if not same:
        fail("a resumed review must give the same report as an undisturbed one")
    say(f"\n{steps} recorded steps were not run again, and the report is that of the first review, run data aside")
    chapter(4, "replay: from the journal alone, touching nothing")
    omega("replay", "review-2")
    chapter(5, "proof: the log verifies, also without Omega; a copy with one byte changed does not")
    export = HOME / "export.omega"
    omega("verify", "--export", os.path.relpath(export, ROOT))
    verify_alone(export, expect=0)
    verify_alone(changed_copy(export), expect=1)
    say(f"\nthat was all of it, in {time.monotonic() - began:.0f} s. open:\n")
    for path, what in (
        (REPORT / "report.html", "the report"),
        (HOME, "the data folder"),
        (ROOT / "docs/getting-started.md", "how to go on"),
    ):
        say(f"  {os.path.relpath(path, ROOT):<28} {what}")
    say("\n  OMEGA_HOME=.omega/demo omega runs, show review, policy explain commit/... look at what is recorded")


if __name__ == "__main__":
    main()
