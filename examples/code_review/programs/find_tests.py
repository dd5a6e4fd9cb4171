"""Analyser: which tests there are and which modules they import, read from the syntax tree; nothing is imported or run."""

import ast
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review.analysis import Answer, Job, by_hand, run
from code_review.paths import is_test

ROOTS = ("src/", "lib/", "python/")
"""Folders that are commonly on the import path: `src/click/core.py` is imported as `click.core`."""

_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python's parser raises on hostile input."""


def analyse(job: Job, answer: Answer) -> None:
    """Facts: `tests` (functions), `test_files`, `tested` (source file to the number of test files that import it)."""
    files = job.of(".py")
    if not files:
        answer.status, answer.reason = "not applicable", "no Python files"
        return
    answer.version = f"Python {sys.version_info.major}.{sys.version_info.minor} syntax"
    answer.command, answer.files = by_hand("find_tests.py"), len(files)
    modules = {name: file["path"] for file in files for name in _module_names(file["path"])}
    tested = {file["path"]: 0 for file in files if not is_test(file["path"])}
    test_files = count = 0
    for file in files:
        if not is_test(file["path"]):
            continue
        tree = _parsed(job.text(file))
        if tree is None:
            answer.skipped.append({"path": file["path"], "reason": "does not parse"})
            continue
        test_files, count = test_files + 1, count + sum(1 for _ in _tests(tree))
        for path in _reached(tree, modules) & tested.keys():
            tested[path] += 1
    answer.facts = {"tests": count, "test_files": test_files, "source_files": len(tested), "tested": dict(sorted(tested.items()))}
    answer.notes.append("a file counts as tested when a test file imports its module, or a package that holds it; coverage is not measured")


def _module_names(path: str) -> Iterator[str]:
    for root in ("", *ROOTS):
        if path.startswith(root):
            dotted = path[len(root) :].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            if dotted:
                yield dotted


def _parsed(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except _BROKEN:
            return None


def _tests(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node


def _reached(tree: ast.Module, modules: dict[str, str]) -> set[str]:
    """Files that the imports of a test name: `import a.b`, `from a import b` reach a/b.py and the packages above it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    reached = set()
    for name in names:
        parts = name.split(".")
        reached |= {modules[dotted] for end in range(1, len(parts) + 1) if (dotted := ".".join(parts[:end])) in modules}
    return reached


if __name__ == "__main__":
    sys.exit(run("tests", analyse))
