"""Asking again for what stands still, has ended, or is under way without running here: the answer is the one that the first caller had."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
import pytest


def parts(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, with their data."""
    lines = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in text.split("\n\n")]
    return [(each["event"], json.loads(each["data"])) for each in lines if "event" in each]


@pytest.mark.promise("DOOR-03")
def test_a_repeat_of_what_stands_still_says_for_what_and_goes_on_once_somebody_acts(client: httpx.Client) -> None:
    key, name = {"idempotency-key": secrets.token_hex(8)}, secrets.token_hex(4)
    first = client.post("/api/v1/flows/waits/run", json=name, headers=key)
    again = client.post("/api/v1/flows/waits/run", json=name, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["execution"] == first.json()["execution"]
    assert again.json()["waits_for"]["code"] == first.json()["waits_for"]["code"] == "OMG-R018"
    stands = client.get(first.json()["outcome"], params={"wait": 5}).json()
    assert (stands["status"], stands["error"]["code"]) == ("waiting", "OMG-R018")
    client.post(f"/api/v1/executions/{first.json()['execution']}/signal", json={"name": name, "value": 7}).raise_for_status()
    ended = client.get(first.json()["outcome"], params={"wait": 20}).json()
    assert (ended["status"], ended["value"]) == ("done", 7)
    assert client.post("/api/v1/flows/waits/run", json=name, headers=key).json() == 7


@pytest.mark.promise("DOOR-03")
def test_what_waits_for_an_approval_names_the_step_when_it_is_asked_about_later(client: httpx.Client) -> None:
    key = {"idempotency-key": secrets.token_hex(8)}
    first = client.post("/api/v1/flows/launches/run", json="rocket", headers=key).json()
    again = client.post("/api/v1/flows/launches/run", json="rocket", headers=key).json()
    assert again["waits_for"]["code"] == first["waits_for"]["code"] == "OMG-R011"
    assert again["waits_for"]["details"]["steps"] == ["launches"]


@pytest.mark.promise("DOOR-03")
@pytest.mark.promise("DOOR-05")
def test_a_repeat_of_a_stream_joins_it_and_another_content_under_its_key_is_refused(client: httpx.Client) -> None:
    headers = {"idempotency-key": secrets.token_hex(8), "accept": "text/event-stream"}
    first = parts(client.post("/api/v1/flows/words/run", json="one two", headers=headers).text)
    again = parts(client.post("/api/v1/flows/words/run", json="one two", headers=headers).text)
    assert [each for each, _ in first] == ["started", "part", "part", "outcome"]
    assert [each for each, _ in again] == ["started", "outcome"]
    assert again[-1][1] == first[-1][1] and again[0][1] == first[0][1]
    assert client.post("/api/v1/flows/words/run", json="three", headers=headers).json()["code"] == "OMG-G010"
