"""The four files: valid, escaped, self-contained, and the same for the same report."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from code_review import reports
from code_review.models import Report, RunFacts
from code_review.reports import document, html, markdown, sarif, without_run
from examples.conftest import EXAMPLE, ROOT
from examples.sample import FINDINGS, NASTY, REPORT

SARIF_SCHEMA = ROOT.parent / "shared" / "data" / "sarif-schema-2.1.0.json"


class Elements(HTMLParser):
    """Collects every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1] if self.open else ''}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Elements:
    return Elements(html.render(REPORT).decode())


def sarif_schema() -> dict[str, Any]:
    """The published schema: a data file beside the checkout."""
    if not SARIF_SCHEMA.is_file():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{SARIF_SCHEMA.name} is not there, and in CI it must be")
        pytest.skip(f"{SARIF_SCHEMA.name} is not there: SARIF is not validated")
    loaded: dict[str, Any] = json.loads(SARIF_SCHEMA.read_text("utf-8"))
    return loaded


@pytest.mark.promise("EX-11")
def test_html_runs_nothing_and_loads_nothing(page: Elements) -> None:
    tags = {tag for tag, _ in page.found}
    assert not tags & {"script", "iframe", "object", "embed", "link", "img", "form", "base", "audio", "video", "source"}
    for tag, attributes in page.found:
        assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in attributes), (tag, attributes)
        target = attributes.get("href") or "#"
        assert target.startswith(("#", "https://")), target
    assert "url(" not in html.render(REPORT).decode() and "@import" not in html.render(REPORT).decode()


@pytest.mark.promise("EX-11")
def test_html_is_well_formed_and_escapes_everything(page: Elements) -> None:
    assert page.open == []
    assert page.text.count("<script>alert(1)</script>") >= 6, "the nasty text is shown, as text"
    assert "src/<b>.py" in page.text and "javascript:" not in {attributes.get("href") for _, attributes in page.found}
    assert b"<script" not in html.render(REPORT)


@pytest.mark.promise("EX-11")
def test_the_policy_allows_the_one_style_sheet_and_nothing_else(page: Elements) -> None:
    policy = next(attributes["content"] for tag, attributes in page.found if attributes.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", html.render(REPORT).decode(), re.DOTALL)
    assert style and policy
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@pytest.mark.promise("EX-11")
def test_html_can_be_read_without_eyes(page: Elements) -> None:
    assert ("html", {"lang": "en"}) in page.found
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in page.found if tag == "a" and (attributes.get("href") or "").startswith("#")}
    assert links <= set(ids)
    for tag, attributes in page.found:
        assert tag != "svg" or "aria-hidden" in attributes or attributes.get("aria-label")
    headings = [tag for tag, _ in page.found if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1" and headings.count("h1") == 1


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.promise("EX-11")
def test_words_stand_out_from_what_is_behind_them_in_light_and_dark() -> None:
    """WCAG 2.1, 1.4.3: contrast of at least 4.5 to 1."""
    style = (EXAMPLE / "reports" / "style.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\n\s*\}", style, re.DOTALL)[:2]
    )
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent") for ground in ("page", "card", "tint")]
    pairs += [(severity, f"{severity}-tint") for severity in ("high", "medium", "low", "info")] + [("add", "tint")]
    for colours in (light, dark):
        for ink, ground in pairs:
            brighter, darker = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
            assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, ground, colours[ink], colours[ground])


@pytest.mark.promise("EX-04")
def test_sarif_is_valid() -> None:
    jsonschema.Draft7Validator(sarif_schema()).validate(json.loads(sarif.render(REPORT)))


def test_sarif_tells_what_was_found_where_and_what_failed() -> None:
    runs = {run["tool"]["driver"]["name"]: run for run in sarif.build(REPORT)["runs"]}
    result = runs["ruff"]["results"][0]
    assert (result["ruleId"], result["level"], result["properties"]["place"]) == ("F821", "error", "line")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "src/%3Cb%3E.py"
    assert runs["ruff"]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "F821"
    assert runs["secrets"]["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "sp%20ace/%FF.py", "uriBaseId": "ROOT"}
    }
    failed = runs["complexity"]["invocations"][0]
    assert failed["executionSuccessful"] is False and "radon is not installed" in failed["toolExecutionNotifications"][0]["message"]["text"]
    assert sum(len(run["results"]) for run in runs.values()) == len(FINDINGS)


def test_json_fits_its_published_schema() -> None:
    schema = json.loads((EXAMPLE / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    built = json.loads(document.render(REPORT))
    jsonschema.Draft202012Validator(schema).validate(built)
    assert built["totals"]["by_place"] == {"line": 1, "file": 1, "elsewhere": 1}


def test_markdown_escapes_and_lists_every_part() -> None:
    text = markdown.render(REPORT).decode()
    assert set(re.findall(r"(?<!\\)<[^>]*>", text)) == {"<!-- run -->", "<!-- /run -->"}
    assert "](https://evil" not in text and "\n| high | src/\\<b\\>.py\\:6 |" in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 7), line
    assert "failed: radon is not installed" in text and "- and 2 more" in text


@pytest.mark.promise("EX-05")
@pytest.mark.parametrize("name", reports.NAMES)
def test_only_the_run_block_differs_between_runs(name: str) -> None:
    other = REPORT.model_copy(update={"run": RunFacts(execution="exe_2", at="2027-01-01T00:00:00+00:00", durations_s={"ruff": 9.5})})
    first, again, second = (reports.render(report)[name] for report in (REPORT, REPORT, other))
    assert first == again != second
    assert without_run(name, first) == without_run(name, second)
    assert b"exe_1" not in without_run(name, first) and b"exe_1" in first


@pytest.mark.parametrize("name", reports.NAMES)
def test_a_report_travels_without_local_paths(name: str) -> None:
    data = reports.render(REPORT)[name]
    assert b"/home/somebody" not in data and b"/scratch" not in data


@pytest.mark.parametrize("name", reports.NAMES)
def test_nothing_is_hidden(name: str) -> None:
    data = reports.render(REPORT)[name].decode()
    assert "radon is not installed" in data and "could not be read" in data
    assert all(one.id in data for one in FINDINGS)


def test_an_empty_report_is_a_report(tmp_path: Path) -> None:
    empty = REPORT.model_copy(update={"analyses": (), "ranked": type(REPORT.ranked)(), "changes": type(REPORT.changes)(source="x")})
    assert isinstance(empty, Report)
    assert Elements(html.render(empty).decode()).open == []
    assert markdown.render(empty) and NASTY.encode() not in markdown.render(empty)
