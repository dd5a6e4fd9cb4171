"""Tenants, API keys and sandboxes on the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cli.program import finished, omega, started, wait_for
from hosted import gone

NAME = "acme/web/production"


@pytest.mark.slow
def test_a_tenant_from_its_making_to_its_export(home: Path, tmp_path: Path) -> None:
    made = omega("tenant", "create", NAME, "--region", "eu", "--residency", "eu", "--json").document
    shown = omega("tenant", "show", NAME, "--json").document
    assert shown["tenant"] == made["tenant"] and shown["region"] == "eu" and shown["state"] == "active"
    assert omega("tenant", "create", "acme/web/staging", "--region", "us").status == 2
    assert omega("tenant", "delete", NAME, "--export", str(tmp_path / "out")).status != 0  # not while it is active
    assert omega("tenant", "suspend", made["tenant"], "--reason", "they left").status == 0
    deleted = omega("tenant", "delete", NAME, "--export", str(tmp_path / "out"), "--json").document
    assert len(deleted["export"]) == 64 and (tmp_path / "out" / "log.omega").is_file()
    assert json.loads((tmp_path / "out" / "tenant.json").read_text())["tenant"]["tenant"] == made["tenant"]
    assert omega("tenant", "list", "--json").document["tenants"] == []


@pytest.mark.promise("TEN-02")
def test_a_key_is_shown_once(home: Path) -> None:
    omega("tenant", "create", NAME)
    made = omega("key", "create", "ci", "--as", "agent:ci", "--tenant", NAME, "--grant", "flows:run", "--for", "2d", "--json").document
    assert made["api_key"].startswith(f"omk_{made['key'][4:]}_") and made["capabilities"] == ["flows:run"]
    listed = omega("key", "list", "--tenant", NAME, "--json")
    assert made["api_key"] not in listed.out and "secret" not in listed.out
    assert [row["key"] for row in listed.document["keys"]] == [made["key"]]
    assert omega("key", "list", "--json").document["keys"] == []  # that of the installation's own tenant
    assert omega("key", "revoke", made["key"]).status != 0
    assert omega("key", "revoke", made["key"], "--tenant", NAME, "--json").document["revoked_us"] > 0
    assert not gone(home, made["api_key"][37:])


@pytest.mark.parametrize(
    "command",
    [
        ("tenant", "create", "acme"),
        ("tenant", "create", "acme/../x"),
        ("tenant", "create", NAME, "--plan", "gold"),
        ("tenant", "show", "nobody/at/home"),
        ("tenant", "show", "ten_" + "0" * 32),
        ("tenant", "suspend", "ten_" + "0" * 32),
        ("key", "create", "ci", "--as", "ci"),
        ("key", "create", "ci", "--as", "agent:ci", "--for", "soon"),
        ("key", "revoke", "key_1"),
        ("sandbox", "up", "--hours", "72"),
        ("sandbox", "down", "ten_" + "0" * 32),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused_in_one_line(home: Path, command: tuple[str, ...]) -> None:
    said = omega(*command)
    assert said.status not in (0, None) and said.out == "" and "OMG-" in said.err and "Traceback" not in said.err


@pytest.mark.promise("TEN-06")
def test_a_sandbox_comes_and_goes(home: Path) -> None:
    made = omega("sandbox", "up", "--json").document
    (row,) = omega("sandbox", "list", "--json").document["sandboxes"]
    assert row["tenant"] == made["tenant"] and row["expires_us"] == made["expires_us"]
    assert omega("show", made["samples"]["greeting"]).status == 0
    assert omega("sandbox", "upgrade", made["tenant"], "--json").document["expires_us"] == 0
    assert omega("sandbox", "list", "--json").document["sandboxes"] == []
    assert omega("sandbox", "down", made["tenant"]).status != 0  # it is none any more
    assert omega("show", made["samples"]["greeting"]).status == 0


@pytest.mark.slow
@pytest.mark.promise("TEN-06")
def test_a_sandbox_is_made_beside_a_running_house_and_its_key_runs_the_samples(home: Path) -> None:
    house = started(home, "up", "--port", "0", "--json")
    assert house.stdout is not None
    told = json.loads(house.stdout.readline())
    made = omega("sandbox", "up", "--json").document
    assert set(made["samples"]) == {"greeting", "words"} and made["agents"] == ["librarian", "editor"]
    headers = {"Authorization": f"Bearer {made['api_key']}", "Content-Type": "application/json"}

    def ask(path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        answers: list[Any] = []

        def asked() -> bool:  # a sandbox has one request a second
            try:
                with urllib.request.urlopen(urllib.request.Request(told["url"] + path, data, headers), timeout=30) as answer:
                    answers.append(json.loads(answer.read()))
            except urllib.error.HTTPError as error:
                assert error.code == 429, error.read()
            return bool(answers)

        wait_for(asked)
        return answers[0]

    assert {"hello", "words"} <= {each["name"] for each in ask("/api/v1/flows")["flows"]}
    assert ask("/api/v1/modules/words/execute", {"input": "b a b"}) == "b"
    house.terminate()
    assert finished(house).status == 0
