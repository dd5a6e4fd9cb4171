"""The pictures of the documentation, made by the real program: the first half hour in a terminal, and the pages that a browser shows.

    .venv/bin/python .ci/pictures.py            writes docs/assets/first-half-hour.svg, and the PNGs where there is a Chromium

The commands are those of the README, word for word: `tests/repo/test_first_half_hour.py` walks the same way through `walk`. The agent
in between is a client of MCP that reads the entry which `omega connect` wrote and starts what stands there, as any client does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "docs/assets"
HEADING = "## The first half hour"
PATIENCE_S = 120.0
AGENT_WORKS_AFTER = "omega connect"
"""The command after which the agent does its work; it works once more at the end, and is refused."""

CALL = {"name": "git__git_log", "arguments": {"repo_path": ".", "max_count": 3}}
"""What the agent calls: the log of the repository, which the git server offers as a read."""

WANTED = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "claude-code", "version": "1.0.0"}}


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody sees: a command (or a remark, which begins with `#`) and what is printed below it."""

    command: str
    output: str
    status: int = 0


def commands() -> list[str]:
    """The commands of the README's first half hour, without their remarks."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(HEADING, 1)[1].split("\n## ", 1)[0]
    block = re.search(r"^```console\n(.*?)^```", section, re.M | re.S)
    if block is None:
        raise SystemExit(f"README.md shows no commands below {HEADING!r}")
    return [line[2:].split("  #")[0].strip() for line in block[1].splitlines() if line.startswith("$ ")]


@dataclass(slots=True)
class Walk:
    """Somebody new, in the folder of a repository of theirs, with a home that nothing has used yet."""

    folder: Path
    home: Path
    shown: list[Shown] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Their environment: the program on the path, nothing else of ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"HOME": str(self.home), "PATH": path, "COLUMNS": "120", "NO_COLOR": "1"}

    def run(self, command: str) -> None:
        """Type a command and wait for it."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        self.shown.append(Shown(command, done.stdout + done.stderr, done.returncode))

    def agent(self) -> None:
        """Let the agent work: once through the entry that its client was given."""
        entry = json.loads((self.folder / ".mcp.json").read_text())["mcpServers"]["omega"]
        answer = ask(entry, self.folder, self.environment, CALL)
        again = " again" if self.answers else ""
        self.answers.append(answer)
        self.shown.append(Shown(f"# the agent calls {CALL['name']}{again}", "\n".join(part.get("text", "") for part in answer["content"])))


def ask(entry: Mapping[str, Any], folder: Path, environment: Mapping[str, str], call: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one call of a tool, by a client of MCP that starts `entry`."""
    command, env = [entry["command"], *entry["args"]], {**environment, **entry["env"]}
    with subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        out, back = process.stdin, process.stdout

        def say(message: Mapping[str, Any]) -> None:
            out.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            out.flush()

        def answer(number: int) -> dict[str, Any]:
            while True:
                found: dict[str, Any] = json.loads(back.readline())
                if found.get("id") == number:
                    return found

        say({"id": 1, "method": "initialize", "params": WANTED})
        answer(1)
        say({"method": "notifications/initialized"})
        say({"id": 2, "method": "tools/call", "params": call})
        found = answer(2)
        if "result" not in found:
            raise SystemExit(f"the call failed: {found}")
        result: dict[str, Any] = found["result"]
        return result


@contextmanager
def serving(walk: Walk, command: str) -> Iterator[dict[str, str]]:
    """`omega up` in the background, as the command's `&` says; gives what it told: `up`, `sign in`, `look`."""
    log = walk.home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command.removesuffix('&').strip()}"],
            cwd=walk.folder,
            env=walk.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "look " in log.read_text() or process.poll() is not None)
        walk.shown.append(Shown(command, log.read_text(), process.poll() or 0))
        yield dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in log.read_text().splitlines() if "  " in line.strip())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def wait_for(holds: Callable[[], object]) -> None:
    """Wait until `holds`."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit("waited in vain")
        time.sleep(0.05)


def repository(folder: Path) -> None:
    """A repository of somebody's own: three commits, so that there is something to read."""
    folder.mkdir(parents=True)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    for number, words in enumerate(("begin", "count the words", "count them faster")):
        (folder / "words.txt").write_text(f"{number}\n")
        subprocess.run([*git, "add", "words.txt"], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "-m", words], cwd=folder, check=True)


def walked(place: Path, after: Callable[[dict[str, str]], None] = lambda _: None) -> Walk:
    """The whole way below `place`, as the README says it; `after` is given what `omega up` told, while it still serves."""
    walk = Walk(place / "project", place / "home")
    walk.home.mkdir(parents=True)
    repository(walk.folder)
    first, *rest = commands()
    with serving(walk, first) as told:
        for command in rest:
            walk.run(command)
            if command.startswith(AGENT_WORKS_AFTER):
                walk.agent()
        walk.agent()
        after(told)
    return walk


# -- the picture of a terminal

WIDTH = 118
"""Longest line in characters; what is longer is cut."""

LINE, LETTER, EDGE = 19.0, 7.83, 18.0
"""Height of a line, width of a letter, and the space around, in pixels at a type size of 13."""

_STYLE = (
    ".g{fill:#f6f8fa;stroke:#c3ccd6}.o{fill:#56606e}.c{fill:#1f2937;font-weight:600}.r{fill:#8a5a00}"
    "@media (prefers-color-scheme: dark){.g{fill:#14171d;stroke:#465364}.o{fill:#a3acbf}.c{fill:#e9ecf3}.r{fill:#e0b060}}"
    "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
)


def terminal(shown: Sequence[Shown], title: str) -> str:
    """An SVG of what somebody sees in a terminal, light or dark as the reader's screen is."""
    lines: list[tuple[str, str]] = []
    for each in shown:
        lines += [("", "")] if lines else []
        remark = each.command.startswith("#")
        lines.append(("r" if remark else "c", each.command if remark else f"$ {each.command}"))
        lines += [("o", line.rstrip()) for line in each.output.rstrip().splitlines()]
    cut = [(kind, line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}...") for kind, line in lines]
    wide, high = 2 * EDGE + WIDTH * LETTER, 2 * EDGE + len(cut) * LINE
    texts = "\n".join(
        f'<text x="{EDGE:g}" y="{EDGE + 13 + number * LINE:g}" class="{kind}">{escape(line, quote=False)}</text>'
        for number, (kind, line) in enumerate(cut)
        if line
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" role="img" aria-labelledby="t">'
    ground = f'<rect x=".5" y=".5" width="{wide - 1:.0f}" height="{high - 1:.0f}" rx="8" class="g"/>'
    return f'{head}\n<title id="t">{escape(title)}</title>\n<style>{_STYLE}</style>\n{ground}\n{texts}\n</svg>\n'


def tidied(walk: Walk, place: Path) -> list[Shown]:
    """What was shown with the folders of this trial as somebody's own, and long answers cut."""
    found = []
    for each in walk.shown:
        text = each.output.replace(str(walk.folder), "~/project").replace(str(walk.home), "~").replace(str(place), "~")
        text = re.sub(r"code=[A-Za-z0-9_-]+", "code=...", text)
        lines = [line for line in text.splitlines() if line.strip()]
        found.append(Shown(each.command, "\n".join(lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "..."])))
    return found


MOST_LINES = 7
"""Most lines of one output in a picture."""


def photographed(told: Mapping[str, str]) -> None:
    """The pages of a browser that signs in, as PNGs; left out where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the terminal is drawn without it
    except ImportError:
        chromium = None
    if chromium is None:
        print("no Chromium: the pictures of pages stay as they are")
        return
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 980, "height": 460})
        page = context.new_page()
        page.goto(told["sign in"])
        page.screenshot(path=ASSETS / "sign-in.png")
        page.get_by_role("button").click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ASSETS / "reference.png")
        browser.close()


def main() -> None:
    """Walk once, and write the pictures."""
    with tempfile.TemporaryDirectory(prefix="omega-pictures-") as folder:
        walk = walked(Path(folder), photographed)
        wrong = [each.command for each in walk.shown if each.status]
        if wrong:
            raise SystemExit("\n".join(f"$ {each.command}\n{each.output}" for each in walk.shown if each.status))
        picture = terminal(tidied(walk, Path(folder)), "The first half hour in a terminal")
        (ASSETS / "first-half-hour.svg").write_text(picture, encoding="utf-8")
        print(f"{ASSETS / 'first-half-hour.svg'}   {len(picture):,} bytes")


if __name__ == "__main__":
    main()
