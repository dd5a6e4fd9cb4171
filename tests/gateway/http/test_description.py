"""The description of the interface: made of what is installed, sound as a document, and what it describes is what answers."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from omega.gateway.http.openapi import document
from omega.gateway.http.pages import errors, errors_page, guide, guide_page
from omega.gateway.http.trying import MAX_DEPTH, sample
from omega.host.discover import offers
from omega.kernel.errors import CODES

CHECKS_S = 60
"""How long (seconds) the description is held against the house."""

SETTINGS = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "401", "402", "403", "404", "409", "422", "429", "503"]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""
"""What a sound request may be answered with: values have laws that a schema cannot say (OMG-I001), keys are used again (OMG-G010), and no
model is configured here (OMG-X002, 503)."""

NO_PATIENCE = "Prefer: wait=0.5"
"""What takes longer (following events for a minute) is answered with 202, as it is described."""


@pytest.mark.promise("DOOR-10")
def test_every_method_is_described_with_its_types_and_demands(house: Any) -> None:
    with house.client("") as client:
        told = client.get("/api/v1/openapi.json").json()
    for offer in offers():
        path = f"/api/v1/{offer.service}/{offer.name}"
        if "http" not in offer.method.entrances:
            assert path not in told["paths"]
            continue
        operation = told["paths"][path]["post"]
        assert operation["operationId"] == offer.flow.name
        assert all(need in operation["description"] for need in offer.flow.needs)
    names = [each["operationId"] for verbs in told["paths"].values() for each in verbs.values()]
    assert len(names) == len(set(names))


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in references(value)]
    return [found for each in part for found in references(each)] if isinstance(part, list) else []


def test_every_reference_leads_somewhere_and_every_example_fits() -> None:
    told = document(offers())
    for reference in references(told):
        place: Any = told
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for verbs in told["paths"].values():
        content = verbs.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            jsonschema.validate(content["example"], {**content["schema"], "components": told["components"]})


def test_the_pages_name_every_operation_and_every_code_and_load_nothing() -> None:
    page, codes = guide_page(document(offers(), base="http://h")), errors_page()
    for offer in offers():
        if "http" in offer.method.entrances:
            assert f'id="{offer.flow.name}"' in page
    for code in CODES:
        assert f'id="{code.lower()}"' in codes
    for text in (page, codes):
        assert "src=" not in text and "@import" not in text
        assert '<html lang="en">' in text and '<main id="content"' in text
    assert "<script" not in codes
    assert page.count("<script") == 1, "the one that its policy names"
    assert page.count('<form class="try" hidden') == page.count("<article"), "each can be tried, where a script runs"


async def sent(app: Any) -> tuple[str, str]:
    """The policy and the body of what is answered."""
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    await app(send)
    return dict(told[0]["headers"])[b"content-security-policy"].decode(), told[1]["body"].decode()


@pytest.mark.promise("DOOR-41")
def test_a_page_runs_no_script_but_the_one_that_its_policy_names() -> None:
    for app, scripts in ((lambda send: guide(send, document(offers())), 1), (lambda send: errors(send, None), 0)):
        policy, text = asyncio.run(sent(app))
        written = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert len(written) == scripts
        for kind, each in [("script", each) for each in written] + [("style", re.findall(r"<style>(.*?)</style>", text, re.DOTALL)[0])]:
            digest = b64encode(sha256(each.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert "unsafe" not in policy and policy.startswith("default-src 'none'; ")
        assert ("connect-src 'self'" in policy) == bool(scripts)


def test_a_form_begins_with_a_value_that_fits() -> None:
    told = document(offers())
    for verbs in told["paths"].values():
        content = verbs.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:
            whole = jsonschema.Draft202012Validator({**content["schema"], "components": told["components"]})
            wrong = {error.validator for error in whole.iter_errors(sample(told, content["schema"]))}
            assert wrong <= {"pattern"}, "a person fills in what is to look a certain way"
    tree = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/tree"}}}
    made = json.dumps(sample({"tree": tree}, tree))
    assert made.count("next") == MAX_DEPTH, "a schema that leads back to itself ends"
    asked = {
        "type": "object",
        "required": ["name", "when", "how", "many", "several"],
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "when": {"type": ["string", "null"], "format": "date-time"},
            "how": {"anyOf": [{"enum": ["slow", "fast"]}, {"type": "null"}]},
            "many": {"type": "integer", "minimum": 2},
            "several": {"type": "array", "minItems": 1, "items": {"type": "boolean"}},
            "left": {"type": "string"},
        },
    }
    jsonschema.validate(sample({}, asked), asked)
    assert sample({}, asked) == {"name": "xxx", "when": "2030-01-01T00:00:00Z", "how": "slow", "many": 2, "several": [False]}


def shortened(report: str) -> str:
    """What it says, with each line cut: the requests in it may be long."""
    return "\n".join(line[:300] for line in report.splitlines()[-200:])


@pytest.mark.slow
@pytest.mark.promise("DOOR-10")
def test_generated_requests_are_answered_as_described(house: Any, tmp_path: Path) -> None:
    """Schemathesis with all of its checks: no crash, no undeclared status, type or body, nothing accepted that should not be."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(SETTINGS)
    command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config), "run", f"{house.url}/api/v1/openapi.json"]
    told = subprocess.run(
        [
            *command,
            *("-H", f"Authorization: Bearer {house.passport()}", "--checks", "all", "--phases", "examples,coverage,fuzzing"),
            *("-H", NO_PATIENCE, "--max-examples", "10", "--max-time", str(CHECKS_S), "--seed", "1"),
            *("--suppress-health-check", "all", "--request-timeout", "60"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=CHECKS_S + 60,
        check=False,
    )
    assert told.returncode == 0, shortened(told.stdout)
