"""Calls over HTTP: values, refusals, waits, keys, streams, and what a person decides."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest


def post(client: httpx.Client, path: str, value: Any, **headers: str) -> httpx.Response:
    return client.post(path, content=json.dumps(value), headers={"content-type": "application/json", **headers})


def run(client: httpx.Client, flow: str, value: Any, **headers: str) -> httpx.Response:
    return post(client, f"/api/v1/flows/{flow}/run", value, **headers)


@pytest.mark.promise("DOOR-01")
def test_a_call_gives_the_value_and_is_on_record(client: httpx.Client) -> None:
    answer = run(client, "double", 21)
    assert (answer.status_code, answer.json()) == (200, 42)
    execution = answer.headers["omega-execution"]
    told = client.get(f"/api/v1/executions/{execution}").json()
    assert (told["flow"], told["status"], told["principal"]) == ("double", "done", "person:ada")
    assert client.get(f"/api/v1/executions/{execution}/outcome").json()["value"] == 42


def test_a_method_of_a_service_is_called_and_read(client: httpx.Client) -> None:
    called = post(client, "/api/v1/insights/summary", {"hours": 1})
    read = client.get("/api/v1/insights/summary", params={"hours": 1})
    assert called.status_code == read.status_code == 200
    assert read.json()["executions"] >= called.json()["executions"] >= 1
    assert client.post("/api/v1/modules/insights/execute", json={"method": "summary", "input": {"hours": 1}}).status_code == 200
    assert client.post("/api/v1/modules/double/execute", json={"input": 4}).json() == 8


def test_what_is_there_is_listed(client: httpx.Client) -> None:
    services = {each["name"]: each for each in client.get("/api/v1/services").json()["services"]}
    assert "summary" in {method["name"] for method in services["insights"]["methods"]}
    flows = {each["name"]: each["effect"] for each in client.get("/api/v1/flows").json()["flows"]}
    assert flows["double"] == "pure"
    assert client.get("/api/v1/tools").json() == {"tools": []}
    me = client.get("/api/v1/me").json()
    assert (me["tenant"], me["principal"], me["groups"]) == ("local", "person:ada", ["owner"])


@pytest.mark.promise("DOOR-02")
@pytest.mark.parametrize(
    ("path", "value", "status", "code"),
    [
        ("flows/double/run", "no number", 400, "OMG-I001"),
        ("flows/nothing/run", 1, 404, "OMG-I002"),
        ("insights/summary", {"hours": -1}, 400, "OMG-I001"),
        ("insights/nothing", {}, 404, "OMG-G002"),
        ("modules/insights/execute", {"method": "nothing"}, 404, "OMG-I002"),
        ("modules/insights/execute", [], 400, "OMG-I001"),
        ("tools/git/log/call", {}, 404, "OMG-M005"),
        ("executions/exe_none/cancel", {}, 404, "OMG-I003"),
        ("executions/exe_none/resolve", {"done": "yes"}, 400, "OMG-I001"),
        ("flows/fails/run", 3, 500, "OMG-R001"),
    ],
)
def test_an_error_is_problem_details_with_code_and_advice(client: httpx.Client, path: str, value: Any, status: int, code: str) -> None:
    answer = post(client, f"/api/v1/{path}", value)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["advice"] and problem["detail"] and problem["whose"]
    assert problem["type"].endswith(f"/api/docs/errors#{code.lower()}")


@pytest.mark.promise("DOOR-03")
def test_a_key_makes_a_repeat_give_the_recorded_outcome(client: httpx.Client) -> None:
    first = run(client, "double", 5, **{"idempotency-key": "five"})
    again = run(client, "double", 5, **{"idempotency-key": "five"})
    other = run(client, "double", 6, **{"idempotency-key": "five"})
    assert (first.json(), again.json()) == (10, 10)
    assert first.headers["omega-execution"] == again.headers["omega-execution"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert (other.status_code, other.json()["code"]) == (422, "OMG-G010")


def test_a_key_of_one_caller_is_not_that_of_another(client: httpx.Client, house: Any) -> None:
    mine = run(client, "double", 7, **{"idempotency-key": "shared"})
    with house.client(house.passport("person:bob")) as bob:
        theirs = run(bob, "double", 8, **{"idempotency-key": "shared"})
    assert (mine.json(), theirs.json()) == (14, 16)
    assert mine.headers["omega-execution"] != theirs.headers["omega-execution"]


@pytest.mark.promise("DOOR-04")
def test_what_waits_says_where_to_look_and_goes_on_when_somebody_decides(client: httpx.Client) -> None:
    answer = run(client, "waits", "go")
    assert answer.status_code == 202
    assert answer.json()["waits_for"]["code"] == "OMG-R018"
    place = answer.headers["location"]
    assert client.get(place).json()["status"] == "waiting"
    told = post(client, f"{place}/signal", {"name": "go", "value": {"far": 3}})
    assert (told.status_code, told.json()["decided"]) == (200, "signal")
    outcome: dict[str, Any] = {}
    for _ in range(200):
        outcome = client.get(f"{place}/outcome", params={"wait": 5}).json()
        if outcome["status"] == "done":
            break
    assert outcome["value"] == {"far": 3}


def test_an_approval_over_http_lets_the_step_run(client: httpx.Client) -> None:
    answer = run(client, "launches", "it")
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert post(client, f"{place}/approve", {}).status_code == 200
    outcome: dict[str, Any] = {}
    for _ in range(200):
        outcome = client.get(f"{place}/outcome", params={"wait": 5}).json()
        if outcome["status"] == "done":
            break
    assert outcome["value"] == "launched it"
    assert post(client, f"{place}/approve", {}).json()["code"] == "OMG-I005"


def test_a_caller_who_does_not_want_to_wait_is_told_where_to_look(client: httpx.Client) -> None:
    answer = run(client, "double", 2, prefer="respond-async")
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    place = answer.json()["outcome"]
    for _ in range(200):
        outcome = client.get(place, params={"wait": 5}).json()
        if outcome["status"] == "done":
            break
    assert outcome["value"] == 4


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.mark.promise("DOOR-05")
def test_the_parts_of_a_stream_come_as_events_and_then_the_outcome(client: httpx.Client) -> None:
    answer = run(client, "words", "one two three", accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [name for name, _ in told] == ["started", "part", "part", "part", "outcome"]
    assert [data["value"] for name, data in told if name == "part"] == ["one ", "two ", "three "]
    assert told[-1][1]["value"] == "one two three "
    late = client.get(f"/api/v1/executions/{told[0][1]['execution']}/events")
    assert [name for name, _ in events(late.text)] == ["started", "outcome"]


def test_what_is_refused_before_it_starts_is_no_stream(client: httpx.Client) -> None:
    answer = run(client, "words", 3, accept="text/event-stream")
    assert (answer.status_code, answer.json()["code"]) == (400, "OMG-I001")


@pytest.mark.promise("DOOR-06")
def test_lists_are_pages_without_gaps_and_filters_narrow_them(client: httpx.Client) -> None:
    for n in range(5):
        assert run(client, "double", n).status_code == 200
    seen: list[str] = []
    query: dict[str, Any] = {"flow": "double", "limit": 2}
    while True:
        page = client.get("/api/v1/executions", params=query)
        seen += [each["execution"] for each in page.json()["executions"]]
        cursor = page.json()["next"]
        assert ('rel="next"' in page.headers.get("link", "")) == (cursor is not None)
        if cursor is None:
            break
        query["cursor"] = cursor
    assert len(seen) == len(set(seen)) >= 5
    whole = client.get("/api/v1/executions", params={"flow": "double", "limit": 200}).json()["executions"]
    assert [each["execution"] for each in whole] == seen
    assert client.get("/api/v1/executions", params={"status": "dead"}).json() == {"executions": [], "next": None}
    assert client.get("/api/v1/executions", params={"since": "2999-01-01T00:00:00Z"}).json()["executions"] == []


@pytest.mark.parametrize(
    "query", ["status=none", "limit=0", "limit=x", "limit=1&limit=2", "cursor=%00", "since=soon", "label=x", "nothing=1", "flow=%ff"]
)
def test_a_parameter_that_cannot_be_meant_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/executions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "OMG-G001")


def test_budget_and_deadline_of_the_headers_bound_the_call(client: httpx.Client) -> None:
    late = run(client, "waits", "never", **{"omega-deadline": "1"})
    assert (late.status_code, late.json()["code"]) == (504, "OMG-R004")
    assert run(client, "double", 1, **{"omega-budget": "much"}).json()["code"] == "OMG-I001"
    assert run(client, "double", 1, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").status_code == 200
