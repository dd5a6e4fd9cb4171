"""The shape of the package as figures with limits: what separates code that stays pleasant from code that grows heavy.

    python .ci/shape.py            prints one line per figure with its worst item; exit status 1 when a limit is broken

Measured on the source alone; nothing of it is executed. Imports are counted between our own modules, as grimp reads them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PACKAGE = "omega"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

P95_LINES = 50
"""95 of 100 functions are at most this long: what fits on a screen with its callers in mind."""
MAX_LINES = 60
"""The longest function that may stand: a table of cases, never a path with branches (those are bounded by lint)."""
MAX_FAN_OUT = 12
"""Modules of ours that one module may import, the kernel's apart: its nouns are vocabulary. The host, which knows everyone, and what stands
above it are not counted."""
UNCOUNTED = ("omega.host", "omega.cli", "omega.testing")
MIN_DOCUMENTED = 0.90
"""Share of public classes and functions outside of classes that say what they are for."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value with its limit; `worst` names the item to look at first."""

    name: str
    value: float
    limit: float
    worst: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'ok  ' if self.holds else 'OVER'}  {self.name:<28} {self.value:>8.4g}  {sign} {self.limit:<6g} {self.worst}"


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def lengths(trees: list[tuple[Path, ast.Module]]) -> list[tuple[int, str]]:
    """Every function with its lines, longest last; its docstring and the functions inside it, counted by themselves, are taken off."""
    found: list[tuple[int, str]] = []
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                apart = [node.body[0]] if ast.get_docstring(node) is not None else []
                apart += [part for part in node.body if isinstance(part, FUNCTIONS)]
                found.append((height(node) - sum(height(part) for part in apart), f"{path}:{node.lineno} {node.name}"))
    return sorted(found)


def height(node: ast.stmt) -> int:
    """Lines from a statement's first to its last."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def undocumented(trees: list[tuple[Path, ast.Module]]) -> tuple[int, list[str]]:
    """How many public names there are at the top of modules, and which of them have no docstring."""
    total, missing = 0, []
    for path, tree in trees:
        for node in tree.body:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
                total += 1
                if ast.get_docstring(node) is None:
                    missing.append(f"{path}:{node.lineno} {node.name}")
    return total, missing


def fan_out() -> tuple[int, str]:
    """The module that imports most others of ours."""
    sys.path.insert(0, str(SOURCE))
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    counted = [module for module in graph.modules if not module.startswith(UNCOUNTED)]
    return max((len(beyond_kernel(graph.find_modules_directly_imported_by(module))), module) for module in counted)


def beyond_kernel(modules: set[str]) -> list[str]:
    """Those of `modules` that are not the kernel's."""
    return [module for module in modules if not module.startswith("omega.kernel")]


def figures() -> list[Figure]:
    """Every figure of the package as it stands."""
    trees = list(parsed())
    spans = lengths(trees) or [(0, "")]
    p95 = spans[int(0.95 * (len(spans) - 1))]
    total, missing = undocumented(trees)
    widest = fan_out()
    return [
        Figure("function lines, 95th", p95[0], P95_LINES, f"of {len(spans)} functions"),
        Figure("function lines, longest", spans[-1][0], MAX_LINES, spans[-1][1]),
        Figure("imports of ours, most", widest[0], MAX_FAN_OUT, widest[1]),
        Figure("public names documented", 1 - len(missing) / max(total, 1), MIN_DOCUMENTED, "; ".join(missing[:3]), at_least=True),
    ]


def main() -> int:
    """Print every figure; 1 when one is over its limit."""
    rows = figures()
    sys.stdout.write("".join(f"{row.line()}\n" for row in rows))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
