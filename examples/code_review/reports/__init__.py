"""The four files of a review, made of one `Report`: HTML, Markdown, SARIF 2.1.0 and JSON. Pure: the same report gives the same bytes.

What differs from run to run (execution id, time, durations) stands in one place of each file, and `without_run` takes it out, so that the
reports of two runs can be compared byte by byte.
"""

from __future__ import annotations

import json
import re

from code_review.models import Report
from code_review.reports import document, html, markdown, sarif

NAMES = ("report.html", "report.md", "report.sarif", "report.json")

_RUN_BLOCK = re.compile(rb"<!-- run -->.*?<!-- /run -->", re.DOTALL)


def render(report: Report) -> dict[str, bytes]:
    """The four files by name."""
    return {
        "report.html": html.render(report),
        "report.md": markdown.render(report),
        "report.sarif": sarif.render(report),
        "report.json": document.render(report),
    }


def without_run(name: str, data: bytes) -> bytes:
    """The bytes of a report without its run block: equal for two runs on the same commit with the same tools."""
    if name.endswith((".html", ".md")):
        return _RUN_BLOCK.sub(b"", data)
    loaded = json.loads(data)
    if name.endswith(".sarif"):
        for run in loaded["runs"]:
            run["properties"].pop("run", None)
    else:
        loaded.pop("run", None)
    return json.dumps(loaded, indent=2).encode()
