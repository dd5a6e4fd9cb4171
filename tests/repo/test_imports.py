"""The import contract, and what it cannot say: who may name the facade, who may mint, what stays out of the start-up."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
HEAVY = ("aiohttp", "anyio", "asyncio.sslproto", "cedarpy", "cryptography", "fastapi", "httpx", "httpx2", "joserfc", "jsonschema", "mcp")
HEAVY += ("pydantic", "rich", "sqlalchemy", "starlette", "uvicorn")
START_S = 0.3
"""The promised time of `import omega` and `omega --help`: median of nine, warm."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("omega", cache_dir=None)


@pytest.mark.promise("REPO-04")
def test_nothing_inside_imports_the_facade(graph: grimp.ImportGraph) -> None:
    assert graph.find_modules_that_directly_import("omega") == set()


def names_used(path: Path) -> Iterator[str]:
    """Every identifier, attribute and imported name in a source file."""
    for node in nodes(path):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]


def floors_naming(name: str) -> set[str]:
    """The floors (first folders under omega) whose source names `name`; modules directly under omega count as themselves."""
    naming = (path for path in mentioning(name) if name in set(names_used(path)))
    return {path.relative_to(SOURCE / "omega").with_suffix("").parts[0] for path in naming}


def mentioning(name: str) -> list[Path]:
    """The source files in whose text `name` stands: no other can name it, and taking all apart takes seconds."""
    return [path for path in SOURCE.rglob("*.py") if name in path.read_text(encoding="utf-8")]


@pytest.mark.promise("GATE-16")
@pytest.mark.parametrize(("mint", "floors"), [("mint_scope", {"kernel", "trust"}), ("mint_permit", {"kernel", "warden"})])
def test_only_their_owners_mint(mint: str, floors: set[str]) -> None:
    """The definition is the kernel's, the use its owner's; `_TOKEN`, the key to both types, is named by nobody else."""
    assert floors_naming(mint) <= floors
    defined = [path for path in (SOURCE / "omega/kernel").rglob("*.py") if mint in path.read_text()]
    assert len(defined) == 1, "the kernel defines it and nothing else in the kernel speaks of it"


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def takes_token(node: ast.AST) -> bool:
    match node:
        case ast.alias(name="_TOKEN") | ast.Attribute(attr="_TOKEN") | ast.Constant(value="_TOKEN"):
            return True
    return False


@pytest.mark.promise("GATE-16")
def test_nobody_takes_the_tokens_of_scope_and_permit() -> None:
    """Neither by import, nor as an attribute, nor by its name as a text; a module may have a `_TOKEN` of its own."""
    owners = {SOURCE / "omega/kernel/scope.py", SOURCE / "omega/kernel/verdict.py"}
    takers = [path for path in mentioning("_TOKEN") if path not in owners and any(map(takes_token, nodes(path)))]
    assert not takers


@pytest.mark.promise("GATE-03")
def test_nothing_but_runtime_host_and_testing_knows_the_warden(graph: grimp.ImportGraph) -> None:
    importers = {
        importer.split(".")[1]
        for module in graph.modules
        if module == "omega.warden" or module.startswith("omega.warden.")
        for importer in graph.find_modules_that_directly_import(module)
    }
    assert importers <= {"warden", "runtime", "host", "testing"}


@pytest.mark.promise("REPO-03")
def test_the_import_contract_holds() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]


def python(*arguments: str) -> str:
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.promise("REPO-01")
@pytest.mark.parametrize(
    "start",
    ["import omega", "import sys; sys.argv = ['omega', '--help']\nfrom omega.cli import main\ntry: main()\nexcept SystemExit: pass"],
)
def test_start_up_loads_nothing_heavy(start: str) -> None:
    loaded = set(python("-c", f"{start}\nimport sys; print('\\nLOADED', *sys.modules)").rpartition("LOADED")[2].split())
    assert "omega" in loaded
    assert not {name for name in loaded if name in HEAVY}


@pytest.mark.promise("REPO-01")
@pytest.mark.parametrize("arguments", [("-c", "import omega"), ("-m", "omega", "--help")])
def test_start_up_is_quick(arguments: tuple[str, ...]) -> None:
    """CPU time of the child, so that a busy neighbour does not count; the bench reports wall time too."""
    spent = []
    python(*arguments)
    for _ in range(9):
        before = os.times()
        began = time.perf_counter()
        python(*arguments)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        spent.append(min(cpu, time.perf_counter() - began))
    assert statistics.median(spent) < START_S, spent


SURFACE = ROOT / "tests/repo/surface.txt"


@pytest.mark.promise("REPO-09")
def test_the_public_surface_is_the_committed_one() -> None:
    """A name added to or taken from `omega` shows in review: tests/repo/surface.txt changes with it."""
    import omega

    names = sorted(omega.__all__)
    assert list(omega.__all__) == names, "omega.__all__ is sorted"
    assert names == SURFACE.read_text().split(), f"write the new list to {SURFACE.relative_to(ROOT)}"
    assert all(getattr(omega, name) is not None for name in names)
    assert not {name for name in names if name.startswith("_") and name != "__version__"}
    assert set(names) <= set(dir(omega))


def test_the_version_is_said_once() -> None:
    import omega

    assert re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1] == omega.__version__
