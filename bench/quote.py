"""Write what bench/results.json says into docs/bench.md, between two marker lines. `make bench` does it at its end; a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results.json"
PAGE = ROOT / "docs/bench.md"
BEGIN = "<!-- results: begin (written by bench/quote.py from bench/results.json) -->\n"
END = "<!-- results: end -->\n"


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: when and where, then one row per figure."""
    where = results["machine"]
    rows = [
        f"Measured {results['when'][:10]} by `{results['command']}` in {results['took_s']} s on {where['cores']} cores of {where['cpu']},",
        f"{where['memory_gb']} GB, {where['system']}, Python {where['python']}, load {where['load']} at the start.",
        "",
        "| figure | what | value | range | goal | holds |",
        "|---|---|---|---|---|---|",
    ]
    for figure in results["figures"]:
        low_high = figure.get("range")
        spread = f"{low_high[0]:g} .. {low_high[1]:g}" if low_high else ""
        peer = f", {figure['peer']}" if figure.get("peer") else ""
        sides = f" ({figure['omega']:g} / {figure['other']:g} {figure['absolute_unit']})" if "omega" in figure else ""
        value = f"{figure['value']:,.4g} {figure['unit']}".strip()
        goal = "" if figure["goal"] is None else str(figure["goal"])
        cells = (figure["id"], f"{figure.get('what', '')}{peer}{sides}", value, spread, goal, "yes" if figure["holds"] else "**no**")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def quoted(page: str, results: dict[str, Any]) -> str:
    """`page` with the block between the markers replaced."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n" + table(results) + "\n" + END + rest.partition(END)[2]


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(quoted(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
