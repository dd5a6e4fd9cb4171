"""What must hold whatever comes: random requests, a restart in the middle of a task, many who follow one task."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.a2a.conftest import Published, _opened, said
from omega.wire.a2a.operations import METHODS

pytestmark = pytest.mark.slow

WORDS = st.sampled_from(
    ["", "x", "shout", "../..", "\u0000", "ROLE_USER", "TASK_STATE_WORKING", "9" * 300, "\U0001f600", "2026-01-01T00:00:00Z"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("messageId", "role", "parts", "contextId", "taskId", "metadata", "extensions", "referenceTaskIds"), VALUES),
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "message": VALUES | MESSAGES | st.just(said("hello")),
        "configuration": VALUES,
        **dict.fromkeys(("id", "taskId", "pageSize", "pageToken", "status", "historyLength", "statusTimestampAfter", "url"), VALUES),
    },
)


@pytest.mark.promise("A2A-08")
def test_no_random_request_is_a_fault_of_ours(published: Published) -> None:
    client = published.client(**{"a2a-version": "1.0"})

    @given(st.sampled_from([*METHODS, "x"]), PARAMS | VALUES, st.integers(0, 9) | WORDS)
    @settings(max_examples=150, deadline=None)
    def ask(method: str, params: Any, id: Any) -> None:
        answer = client.post("/a2a/shout", json={"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        assert answer.status_code < 500, answer.text
        if not answer.headers["content-type"].startswith("text/event-stream"):
            found = answer.json()
            assert found.get("error", {}).get("code") != -32603, found

    ask()


@pytest.mark.promise("A2A-08")
def test_no_random_address_is_a_fault_of_ours(published: Published) -> None:
    client = published.client(**{"a2a-version": "1.0"})
    pieces = st.sampled_from(
        ["tasks", "message:send", "message:stream", "x", ":cancel", "x:subscribe", "pushNotificationConfigs", "%00", "a b", "é"]
    )

    @given(st.sampled_from(["GET", "POST", "DELETE", "PUT"]), st.lists(pieces, max_size=5), VALUES)
    @settings(max_examples=80, deadline=None)
    def ask(method: str, path: list[str], body: Any) -> None:
        answer = client.request(method, "/a2a/shout/" + "/".join(path), json=body)
        assert answer.status_code < 500, answer.text

    ask()


@contextmanager
def house(home: Path) -> Iterator[Published]:
    """A house on `home`, closed at the end."""
    opened = _opened(home)
    try:
        yield next(opened)
    finally:
        for _ in opened:
            pass


@pytest.mark.promise("A2A-03")
def test_a_task_outlives_the_process_that_began_it(tmp_path: Path) -> None:
    with house(tmp_path / "home") as first:
        waits = first.ask("deliver")("SendMessage", message=said("soup"))["result"]["task"]
    with house(tmp_path / "home") as second:
        ask = second.ask("deliver")
        assert ask("GetTask", id=waits["id"])["result"]["status"] == waits["status"]
        done = ask("SendMessage", message=said(data={"street": "Main"}, id="m-2", taskId=waits["id"]))["result"]["task"]
        assert done["artifacts"][0]["parts"] == [{"text": "soup to Main"}]
        assert len(done["history"]) == 3


@pytest.mark.promise("A2A-06")
def test_all_who_follow_a_task_see_the_same(published: Published) -> None:
    ask = published.ask("deliver")
    task = ask("SendMessage", message=said("soup"))["result"]["task"]["id"]
    begun, seen = threading.Barrier(5), [list[str]() for _ in range(4)]

    def follow(place: int) -> None:
        client = published.client(**{"a2a-version": "1.0"})
        with client.stream("GET", f"/a2a/deliver/tasks/{task}:subscribe") as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    seen[place].append(line)
                    if len(seen[place]) == 1:
                        begun.wait(20)
                        if place == 3:
                            return

    threads = [threading.Thread(target=follow, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(20)
    ask("SendMessage", message=said(data={"street": "Main"}, taskId=task))
    for thread in threads:
        thread.join(30)
    assert len(seen[3]) == 1, "who goes away takes nobody along"
    assert len(seen[0]) == 3 and seen[0] == seen[1] == seen[2], "\n".join(seen[0])


def test_who_goes_away_leaves_the_task_at_work(published: Published) -> None:
    client = published.client(**{"a2a-version": "1.0"})
    with pytest.raises(httpx.ReadTimeout):
        client.post("/a2a/kit/message:send", json={"message": said("x", id="tck-delayed-complete-1", contextId="left")}, timeout=0.5)
    ask = published.ask("kit")
    (task,) = ask("ListTasks", contextId="left")["result"]["tasks"]
    assert task["status"]["state"] in ("TASK_STATE_WORKING", "TASK_STATE_COMPLETED")
    with client.stream("GET", f"/a2a/kit/tasks/{task['id']}:subscribe") as response:
        assert response.status_code in (200, 400), "it may have ended"
        response.read()
    assert ask("GetTask", id=task["id"])["result"]["status"]["state"] == "TASK_STATE_COMPLETED"
