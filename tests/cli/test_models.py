"""`omega models` and `omega relay`: what is kept about models, and events on a bus."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.program import HELLO, finished, omega, started
from omega.adapters.bus import NatsBus
from omega.cli.exits import Exit
from omega.contracts.events import Event
from omega.host.whereabouts import FILE, known, noted
from servers.nats import NatsServer
from servers.nats import serve as serve_nats

URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    yield from serve_nats()


@pytest.mark.slow
@pytest.mark.promise("MODEL-14")
def test_models_routes_and_allowances_are_added_listed_and_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_KEY", "a key")
    assert "no model is known: omega models add" in omega("models", "list").out
    said = omega(
        "models", "add", "small", "--url", URL, "--model", "qwen3:4b", "--price", "0.10", "0.40", "--key", "env:SMALL_KEY", "--default"
    )
    assert (said.status, said.out.splitlines()[0]) == (0, "small   qwen3:4b at small   0.10 and 0.40 USD per million tokens")
    assert omega("models", "add", "large", "--provider", "small").status == 0
    assert omega("models", "route", "fast", "small", "large", "--order", "cost").out == "fast   route by cost   small, large\n"
    assert omega("models", "allow", "agent:helper", "--usd", "5").out.startswith("agent.helper-day   agent:helper   5.00 USD per day")
    assert omega("models", "add", "idle", "--url", URL, "--key", "env:NOT_SET_ANYWHERE").status == 0
    told = omega("models", "list", "--json").document
    assert told["idle"] == [{"name": "idle", "why": "env:NOT_SET_ANYWHERE is not set where the engine runs"}]
    assert [each["name"] for each in told["models"]] == ["large", "small"]
    assert {each["name"]: each["models"] for each in told["routes"]} == {"default": ["small"], "fast": ["small", "large"]}
    assert told["allowances"] == [{"name": "agent.helper-day", "who": "agent:helper", "window": "day", "cost_micros": 5_000_000}]
    lines = omega("models", "list").out.splitlines()
    assert any(line.startswith("small ") and "0.000500 USD per 1,000 tokens in and out" in line for line in lines)
    assert any(line.startswith("fast ") and line.endswith("small, large") for line in lines)
    for name, kind in (("fast", "route"), ("agent.helper-day", "allowance"), ("large", "model")):
        assert omega("models", "remove", name, "--kind", kind).out == f"{name}   removed\n"
    assert omega("models", "remove", "large", "--json").document["error"]["code"] == "OMG-M009"


@pytest.mark.parametrize(
    "given",
    [
        ("add", "small"),
        ("add", "small", "--provider", "here", "--key", "env:X"),
        ("allow", "agent:helper"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_kept(home: Path, given: tuple[str, ...]) -> None:
    said = omega("models", *given)
    assert (said.status, said.err[:8]) == (Exit.USAGE, "OMG-X001")
    assert not home.exists()


@pytest.mark.slow
@pytest.mark.promise("MODEL-14")
def test_a_relay_publishes_what_happens_until_it_is_told_to_stop(home: Path, nats_server: NatsServer) -> None:
    assert omega("run", HELLO, "--input", "name=before").status == 0
    process = started(home, "relay", nats_server.address, "--type", "flow:executed", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"event": "relaying"}

    async def heard() -> Event:
        listener = await NatsBus.open(nats_server.address)
        try:
            subscription = await listener.subscribe("omega.events.local.>")
            said = await asyncio.to_thread(finished, started(home, "run", HELLO, "--input", "name=x", "--id", "told"))
            assert said.status == 0, said.err
            message = await subscription.next(30)
            assert message is not None
            return Event.read(json.loads(message[1]))
        finally:
            await listener.aclose()

    event = asyncio.run(heard())
    assert (event.type, event.key) == ("flow:executed", "told")
    process.send_signal(signal.SIGTERM)
    last: dict[str, Any] = json.loads(finished(process).out)
    assert (last["event"], last["told"]) == ("stopped", 1)


def test_a_bus_that_cannot_be_meant_is_named_without_its_password(home: Path) -> None:
    said = omega("relay", "http://user:secret-words@127.0.0.1:1")
    assert said.status == Exit.USAGE
    assert "secret-words" not in said.err + said.out


@pytest.mark.promise("START-03")
def test_a_gateway_is_found_where_it_says_and_nowhere_once_it_is_gone(tmp_path: Path) -> None:
    assert known(tmp_path) == ""
    with noted(tmp_path, "http://127.0.0.1:1"):
        assert known(tmp_path) == "http://127.0.0.1:1"
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
        with noted(tmp_path, "http://127.0.0.1:2"):
            assert known(tmp_path) == "http://127.0.0.1:2"
    assert known(tmp_path) == ""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for text in (
        "",
        "1",
        f"{os.getpid()} file:///etc/passwd",
        f"{gone.pid} http://127.0.0.1:1",
        f"{'9' * 30} http://x",
        "0 http://x",
        "\udcff",
    ):
        (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
        assert known(tmp_path) == ""


def test_runs_of_today_and_a_budget_with_the_connection(home: Path) -> None:
    assert omega("run", HELLO, "--input", "name=x", "--id", "one").status == 0
    assert [each["execution"] for each in omega("runs", "--today", "--json").document["runs"]] == ["one"]
    assert omega("runs", "--today", "--since", "2h").status == Exit.USAGE
    said = omega("connect", "cursor", "--budget", "5 USD/day")
    assert "budget    cost day agent:cursor   5 USD per day" in said.out.splitlines()
    assert [each["name"] for each in omega("limit", "list", "--json").document["limits"]] == ["cost day agent:cursor"]
    assert omega("connect", "vscode", "--budget", "plenty").status == Exit.USAGE
    assert not Path(".vscode").exists(), "nothing is written where the budget cannot be meant"
    assert omega("connect", "cursor", "--budget", "5 USD/day", "--remove").status == Exit.USAGE
