"""The long counts: kill the engine at random moments, thousands of times, and compare what it recorded with a witness it does not know.

    python bench/soak.py [--kills 1000] [--worker-kills 1000] [--seeds 2000] [--fuzz 3600] [--calls 1000000] [--seed 1]

It writes bench/soak/<date>.json.

One trial: a flow of a few items, each a pure step, an idempotent touch and a write (bench/soak_flow.py), in a process of its own. It is
killed with SIGKILL at a random moment, started again to resume, killed again, until a start is let through. A write in doubt is settled as
a person would settle it: by looking at the target. Afterwards must hold:

* the result is the one an undisturbed run gives;
* no step that was durably recorded before a start left a line in that start;
* each write left exactly one line;
* the log verifies;
* after each kill, no process of it is left.

A trial that fails is printed with its seed, and the same seed gives the same kills (as far as the machine's timing allows).

At the same time three workers on PostgreSQL are killed and paused under a mixed load (drills/worker_kills.py says what must hold), the
simulator of `omega.testing` runs its seeds (crashes, crashes during recovery and takeovers, in memory and in no time), and every fuzz test
that is marked `soak` (tokens, policies, documents, exports; requests, messages and frames at every entrance of a gateway) has its hour,
at a lower priority. After all of that a million calls go through one gateway, whose memory has to stay flat (bench/soak_calls.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "soak"
ITEMS = 8
EXECUTION = "soak"
LONGEST_S = 1.2
"""A kill comes at most so long after the start: about the time an undisturbed run takes."""
WORKER_KILLS = 100
"""Kills of one drill over several workers; the next has a database of its own."""
LEASE_S = "3"
"""The lease of the workers in these drills, in seconds: long enough that a busy machine does not pass for a slow take-over."""
MOST_KILLS = 3
"""Kills of one trial; then it is let through."""
GONE_S = 5.0
"""After a kill, its children have so long to be gone."""
FUZZED = re.compile(r"fuzz: (?P<kind>[a-z0-9 ]+)(?:, seed \d+)?[:,] (?P<cases>[\d,]+) ")
"""What a fuzz test says at its end."""
IN_DOUBT = 5
"""Exit status of a start that ended in doubt."""


@dataclass(slots=True)
class Trial:
    """What happened in one trial: kills that hit a live process, writes that were in doubt, and what was wrong."""

    seed: int
    kills: int = 0
    doubts: int = 0
    wrong: list[str] = field(default_factory=list)


# -- the process that is killed


async def start(home: Path) -> int:
    """Run the flow, or resume it where it is recorded; the exit status of the process."""
    import soak_flow

    from omega.host.embedded import Omega

    async with Omega.open(home) as omega:
        if omega.store.line(EXECUTION) is None:
            outcome = await omega.run(soak_flow.main, list(range(ITEMS)), execution=EXECUTION)
        else:
            outcome = await omega.resume(EXECUTION, soak_flow.main)
        sys.stdout.write(json.dumps(outcome.value) + "\n")
        if outcome.status == "in doubt":
            return IN_DOUBT
        return 0 if outcome.status == "done" else 1


async def settle(home: Path, witness: Path) -> None:
    """Say of each write in doubt what the witness knows: done, with its result, or not done."""
    from omega.host.embedded import Omega
    from omega.kernel.past import Past

    sent = {int(line.split()[2]) for line in lines(witness) if line.split()[1] == "send"}
    async with Omega.open(home) as omega:
        for step in Past(omega.store.rows(EXECUTION)).doubts():
            item = item_of(step.position)
            await omega.decide(EXECUTION, "resolve", {"step": step.position, "done": item in sent, "value": item * item})


# -- the process that kills


def lines(witness: Path) -> list[str]:
    """The witness's lines so far."""
    return witness.read_text().splitlines() if witness.is_file() else []


def item_of(position: str) -> int:
    """Which item a position belongs to: the number of its branch."""
    found = re.search(r"\.(\d+)", position)
    return int(found[1]) if found else -1


def recorded(home: Path) -> set[tuple[str, int]]:
    """(step, item) of everything that is durably settled now."""
    from omega.adapters.sqlite import SqliteReader
    from omega.kernel.errors import StorageError
    from omega.kernel.journal import name_of
    from omega.kernel.past import Past

    try:
        with SqliteReader.open(home) as reader:
            past = Past(reader.rows(EXECUTION))
    except StorageError:  # killed before there was a database
        return set()
    return {(name_of(position), item_of(position)) for position, step in past.at.items() if step.settled is not None}


def left_over(mark: str) -> list[str]:
    """Command lines of live processes that mention `mark`, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if mark.encode() in words and path.parent.name != str(os.getpid()):
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def one_start(folder: Path, number: int, kill_after: float | None) -> tuple[int | None, str]:
    """Start the engine; its exit status and output, or None when it was killed."""
    environment = os.environ | {"OMEGA_SOAK_WITNESS": str(folder / "witness"), "OMEGA_SOAK_RUN": str(number)}
    process = subprocess.Popen(
        [sys.executable, __file__, "--start", folder / "home"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None, ""
    return process.returncode, out if process.returncode in (0, IN_DOUBT) else err


def trial(seed: int, folder: Path) -> Trial:
    """One flow, killed up to `MOST_KILLS` times and then let through."""
    dice, seen, result = random.Random(seed), Trial(seed), None
    for number in range(1, 100):
        before, settled = len(lines(folder / "witness")), recorded(folder / "home")
        kill_after = dice.uniform(0.1, LONGEST_S) if seen.kills < MOST_KILLS else None
        status, out = one_start(folder, number, kill_after)
        seen.kills += status is None
        check_start(seen, folder, number, settled, before)
        if status == 0:
            result = json.loads(out)
            break
        if status == IN_DOUBT:
            seen.doubts += 1
            asyncio.run(settle(folder / "home", folder / "witness"))
        elif status is not None:
            seen.wrong.append(f"start {number} exited {status}: {out[-500:]}")
            break
    if not seen.wrong:
        check_end(seen, folder, result)
    return seen


def check_start(seen: Trial, folder: Path, number: int, settled: set[tuple[str, int]], before: int) -> None:
    """After a start: nothing of what was settled before it ran in it, and no process of it is left."""
    deadline = time.monotonic() + GONE_S
    while left_over(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    seen.wrong += [f"after start {number} still alive: {words}" for words in left_over(str(folder))]
    for line in lines(folder / "witness")[before:]:
        _, step, item = line.split()
        if (step, int(item)) in settled:
            seen.wrong.append(f"start {number} repeated {step} of item {item}, which was recorded")


def check_end(seen: Trial, folder: Path, result: object) -> None:
    """After the last start: the right result, each write once, a sound log."""
    if result != [item * item for item in range(ITEMS)]:
        seen.wrong.append(f"the result is {result}")
    sent = Counter(line.split()[2] for line in lines(folder / "witness") if line.split()[1] == "send")
    if sent != Counter(str(item) for item in range(ITEMS)):
        seen.wrong.append(f"writes per item: {dict(sent)}")
    verify = subprocess.run(
        [Path(sys.executable).with_name("omega"), "verify"],
        env=os.environ | {"OMEGA_HOME": str(folder / "home")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if verify.returncode:
        seen.wrong.append(f"omega verify: {verify.stdout}{verify.stderr}"[-500:])


def kills(wanted: int, seed: int) -> dict[str, object]:
    """Trials until `wanted` kills hit; what was found."""
    hits = doubts = trials = 0
    wrong: list[dict[str, object]] = []
    while hits < wanted:
        folder = Path(tempfile.mkdtemp(prefix="omega-soak-"))
        seen = trial(seed + trials, folder)
        trials, hits, doubts = trials + 1, hits + seen.kills, doubts + seen.doubts
        if seen.wrong:
            wrong.append({"seed": seen.seed, "wrong": seen.wrong, "folder": str(folder)})
            sys.stderr.write(f"seed {seen.seed}: {seen.wrong}\n")
        else:
            shutil.rmtree(folder)
        sys.stderr.write(f"{hits} kills, {trials} trials, {doubts} in doubt, {len(wrong)} wrong\n")
    return {"kills": hits, "trials": trials, "writes_in_doubt": doubts, "wrong": wrong}


def worker_kills(wanted: int, first: int) -> dict[str, Any]:
    """Drills of `WORKER_KILLS` kills each until there were `wanted`, each on a database of its own; the counts together."""
    total: dict[str, Any] = {"kills": 0, "wrong": []}
    for seed in range(first, first + -(-wanted // WORKER_KILLS)):
        at_once = min(WORKER_KILLS, wanted - total["kills"])
        command = [
            sys.executable,
            str(HERE.parent / "drills" / "worker_kills.py"),
            "--kills",
            str(at_once),
            "--seed",
            str(seed),
            "--lease",
            LEASE_S,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            found = {"kills": 0, "wrong": [f"the drill ended with {done.returncode}: {done.stderr[-2_000:]}"]}
        if found["wrong"]:
            total["wrong"].append({"seed": seed, "wrong": found["wrong"]})
            sys.stderr.write(f"seed {seed}: {found['wrong']}\n")
        for name in ("kills", "pauses", "executions", "doubts", "redriven", "took_over"):
            total[name] = total.get(name, 0) + found.get(name, 0)
        total["recovery_s"] = max(total.get("recovery_s", 0.0), found.get("recovery_s", 0.0))
        sys.stderr.write(f"{total['kills']} worker kills, {total.get('executions', 0)} executions, {len(total['wrong'])} wrong\n")
        if not found["kills"]:
            break
    return total


def together(one: Any, other: Any) -> Any:
    """Two counts, or lists, or tables of counts, as one; of the longest recoveries the longer."""
    if isinstance(one, dict):
        return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}
    return max(one, other) if isinstance(one, float) else one + other


def seeds(wanted: int, first: int) -> dict[str, object]:
    """The simulator's counts over `wanted` seeds, a hundred at a time so that progress shows."""
    from omega.testing.simulator import soak

    total: dict[str, Any] = {}
    for at in range(first, first + wanted, 100):
        for name, value in soak(range(at, min(at + 100, first + wanted))).items():
            total[name] = together(total[name], value) if name in total else value
        sys.stderr.write(f"{total['seeds']} seeds, {total['crashes']} crashes, {len(total['violations'])} violations\n")
    return total


def fuzz(seconds: float) -> dict[str, object]:
    """Every fuzz test marked `soak`, for so many seconds each; what they say."""
    if not seconds:
        return {"each_s": 0, "wrong": []}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-rA", "-m", "soak", "-p", "no:cacheprovider", "tests"],
        env=os.environ | {"OMEGA_FUZZ_SOAK_S": str(seconds)}, cwd=HERE.parent, capture_output=True, text=True, check=False,
        preexec_fn=lambda: os.nice(10) and None,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith(("fuzz:", "PASSED", "FAILED"))]
    return {"each_s": seconds, "cases": cases(said), "said": said, "wrong": [done.stdout[-4_000:]] if done.returncode else []}


def cases(said: list[str]) -> dict[str, int]:
    """How many cases ran of each kind, from lines such as `fuzz: a2a, seed 7: 4203 attacks, each refused or answered`."""
    found = (FUZZED.match(line) for line in said)
    return {match["kind"]: int(match["cases"].replace(",", "")) for match in found if match is not None}


def calls(wanted: int) -> dict[str, Any]:
    """The count of calls through one gateway."""
    import soak_calls

    return soak_calls.calls(wanted)


def main() -> int:
    """Run what is asked for and keep the result; 1 when anything was wrong."""
    ask = argparse.ArgumentParser(description="the long counts")
    ask.add_argument("--kills", type=int, default=1_000)
    ask.add_argument("--worker-kills", type=int, default=1_000)
    ask.add_argument("--seeds", type=int, default=2_000)
    ask.add_argument("--fuzz", type=float, default=3_600, help="seconds for each fuzz test")
    ask.add_argument("--calls", type=int, default=1_000_000, help="calls through one gateway, whose memory has to stay flat")
    ask.add_argument("--seed", type=int, default=int(time.time()))
    ask.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    ask.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="write the result under bench/soak/")
    given = ask.parse_args()
    if given.start is not None:
        return asyncio.run(start(given.start))
    began = time.time()
    with ThreadPoolExecutor() as pool:
        counts = [
            pool.submit(kills, given.kills, given.seed),
            pool.submit(worker_kills, given.worker_kills, given.seed),
            pool.submit(seeds, given.seeds, given.seed),
            pool.submit(fuzz, given.fuzz),
        ]
        killed, workers, simulated, fuzzed = (count.result() for count in counts)
    called = calls(given.calls)
    whole = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "took_s": round(time.time() - began),
        "command": f"python bench/soak.py --kills {given.kills} --worker-kills {given.worker_kills} --seeds {given.seeds}"
        f" --fuzz {given.fuzz:g} --calls {given.calls} --seed {given.seed}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "kills": killed,
        "worker_kills": workers,
        "simulator": simulated,
        "fuzz": fuzzed,
        "calls": called,
    }
    if given.keep:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M', time.gmtime(began))}.json"
        path.write_text(json.dumps(whole, indent=1) + "\n")
        sys.stderr.write(f"written to {path.relative_to(HERE.parent)}\n")
    return 1 if killed["wrong"] or workers["wrong"] or simulated.get("violations") or fuzzed["wrong"] or called["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
