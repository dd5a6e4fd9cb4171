"""The documentation runs: every Python block, every console block, in the order of the page, in a folder and a data folder of its own.

How a page is read, from top to bottom:

    ```python                   executed; the blocks of a page share one namespace
    ```python title="hello.py"  written to that file (any language), so that later blocks can import or run it
    ```console                  lines after `$ ` are run by a shell, and what they print must match the lines below: `...` stands for
                                anything, runs of spaces for each other; a command may end in `# exit 3`, else it must exit 0
    <!-- not run: reason -->    directly above a block: it is shown only, and says why

A console block without output below a command accepts any output.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND_S = 120
MANY_COMMANDS = 4
LONG = ("a2a.md", "certificates.md", "extending.md", "guards.md", "registry.md", "testing.md", "tools.md")
"""Pages whose few commands take long: they run tests, or start tool servers."""
FENCE = re.compile(r"(?:<!-- not run: (?P<why>.+?) -->\s*)?^(?P<indent> *)```(?P<info>[^\n`]+)\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its language, the file it is written to (empty: none), its text."""

    line: int
    language: str
    title: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that are run or written; those that are only shown are left out."""
    source = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(source):
        if match["why"] is None:
            language, _, rest = match["info"].strip().partition(" ")
            title = re.search(r'title="([^"]+)"', rest)
            text = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.M)
            yield Block(source.count("\n", 0, match.start("body")) + 1, language, title[1] if title else "", text)


def commands(text: str) -> Iterator[tuple[str, int, str]]:
    """Each command of a console block with the exit status and the output that the page shows."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = part.replace("\\\n", "").partition("\n")
        command, _, status = command.partition("  # exit ")
        yield command.strip(), int(status or 0), shown.strip()


def matches(shown: str, printed: str) -> bool:
    """Whether `printed` is what the page shows, where `...` stands for anything and spaces for spaces."""
    parts = re.split(r"(\s*\.\.\.\s*|\s+)", shown)
    pattern = "".join(".*" if part.strip() == "..." else r"\s+" if part.isspace() else re.escape(part) for part in parts if part)
    return re.fullmatch(rf"\s*{pattern}\s*", printed, re.S) is not None


def run_commands(page: Path, block: Block, folder: Path, env: dict[str, str]) -> None:
    for command, status, shown in commands(block.text):
        run = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        printed = run.stdout + run.stderr
        assert run.returncode == status, f"{page.name}:{block.line}: `{command}` exited {run.returncode}:\n{printed}"
        where = f"{page.name}:{block.line}"
        assert not shown or matches(shown, printed), f"{where}: `{command}` printed\n{printed}\nbut the page shows\n{shown}"


def execute(page: Path, block: Block, folder: Path, namespace: dict[str, object]) -> None:
    """Run a Python block from a file of its own, so that tracebacks and the digests of flows find their source."""
    source = folder / f"{page.stem}_line_{block.line}.py"
    source.write_text(block.text)
    exec(compile(block.text, str(source), "exec", dont_inherit=True), namespace)


def forget_modules_of(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


PAGES = [page for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]) if page.is_file() and any(blocks(page))]


def as_cases(pages: list[Path]) -> list[object]:
    """The pages as cases. One with more than MANY_COMMANDS starts many processes and is in the slow suite, as those in LONG are."""
    cases = []
    for page in pages:
        count = sum(len(list(commands(block.text))) for block in blocks(page) if block.language == "console")
        marks = [pytest.mark.slow] if count > MANY_COMMANDS or page.name in LONG else []
        cases.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return cases


@pytest.mark.promise("REPO-06")
@pytest.mark.parametrize("page", as_cases(PAGES))
def test_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("OMEGA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMEGA_ROOT", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "140")
    namespace: dict[str, object] = {"__name__": "page"}
    try:
        for block in blocks(page):
            if block.title:
                (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.title).write_text(block.text)
            elif block.language == "python":
                execute(page, block, folder, namespace)
            elif block.language == "console":
                run_commands(page, block, folder, dict(os.environ))
    finally:
        forget_modules_of(folder)


def test_most_blocks_run() -> None:
    """A page may show a block without running it, with a reason; that stays the exception."""
    fences = [match for page in PAGES for match in FENCE.finditer(page.read_text(encoding="utf-8"))]
    runnable = [match for match in fences if match["info"].split()[0] in ("python", "console")]
    assert sum(match["why"] is not None for match in runnable) <= len(runnable) / 4


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("done", "done\n", True),
        ("a  b", "a      b", True),
        ("exe_... done", "exe_0193 x\ny done\n", True),
        ("... sound ...", "sound\n", True),
        ("done", "done, almost", False),
        ("1 step", "11 step", False),
        ("a b", "ab", False),
    ],
)
def test_matching(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def error_sections() -> dict[str, str]:
    """Code -> section of docs/errors.md."""
    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    return {match[1]: match[2] for match in re.finditer(r"^### (OMG-[A-Z]\d{3})\n(.*?)(?=^##|\Z)", text, re.M | re.S)}


@pytest.mark.promise("REPO-07")
def test_every_error_code_is_documented_and_every_document_is_of_a_code() -> None:
    from omega.kernel.errors import CODES

    sections = error_sections()
    assert list(sections) == list(CODES), "one section per code, in the order of CODES"
    for name, code in CODES.items():
        head, _, prose = sections[name].strip().partition("\n\n")
        assert head == f"**{code.title}** · whose turn: {code.fault.value} · to do: {code.advice}", name
        assert len(prose.split()) >= 8, f"{name} has no paragraph"
