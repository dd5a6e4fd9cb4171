"""Callers are told of their tasks at an address that they left."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from gateway.a2a.conftest import Published, said

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0


class Receiver:
    """What listens for notifications. `answers` are the statuses of the first ones; all later ones get 200."""

    def __init__(self, answers: list[int]) -> None:
        self.heard: queue.Queue[tuple[Mapping[str, str], dict[str, Any]]] = queue.Queue()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(answers.pop(0) if answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()
                owner.heard.put(({name.lower(): value for name, value in self.headers.items()}, body))

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is written."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/told"

    def next(self) -> tuple[Mapping[str, str], dict[str, Any]]:
        """The next notification: its headers and its body."""
        return self.heard.get(timeout=PATIENCE_S)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on this machine."""
    made = Receiver([])
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(PATIENCE_S)


@pytest.mark.promise("A2A-09")
def test_each_state_is_told_once_with_what_was_left(published: Published, receiver: Receiver) -> None:
    ask = published.ask("kit")
    config = {"id": "mine", "url": receiver.url, "token": "tok-1", "authentication": {"scheme": "Bearer", "credentials": "sesame"}}
    begun = ask("SendMessage", message=said("x", id="tck-input-required-p"), configuration={"taskPushNotificationConfig": config})
    task = begun["result"]["task"]
    headers, body = receiver.next()
    assert (headers["authorization"], headers["x-a2a-notification-token"]) == ("Bearer sesame", "tok-1")
    assert headers["content-type"] == "application/a2a+json"
    told = body["statusUpdate"]
    assert (told["taskId"], told["contextId"], told["status"]["state"]) == (task["id"], task["contextId"], "TASK_STATE_INPUT_REQUIRED")
    assert told["status"]["timestamp"] == task["status"]["timestamp"] and "message" not in told["status"], "the state, and no content"
    ask("SendMessage", message=said("go on", id="tck-complete-task-p", taskId=task["id"]))
    assert receiver.next()[1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    with pytest.raises(queue.Empty):
        receiver.heard.get(timeout=1.5)


@pytest.mark.promise("A2A-09")
def test_configurations_are_the_callers_own_and_without_secrets(published: Published, browser: httpx.Client) -> None:
    ask = published.ask("kit")
    task = ask("SendMessage", message=said("x", id="tck-input-required-q"))["result"]["task"]["id"]
    base = f"/a2a/kit/tasks/{task}/pushNotificationConfigs"
    left = {"id": "one", "url": "https://example.com/told", "token": "tok", "authentication": {"scheme": "Bearer", "credentials": "sesame"}}
    shown = {"id": "one", "taskId": task, "url": left["url"], "authentication": {"scheme": "Bearer"}}
    assert browser.post(base, json=left).json() == shown
    assert ask("GetTaskPushNotificationConfig", taskId=task, id="one")["result"] == shown
    assert ask("ListTaskPushNotificationConfigs", taskId=task)["result"] == {"configs": [shown], "nextPageToken": ""}
    ken = published.ask("kit", published.passport("person:ken"))
    assert ken("ListTaskPushNotificationConfigs", taskId=task)["result"]["configs"] == [], "another owner may see the task, not this"
    assert "result" in ken("CreateTaskPushNotificationConfig", taskId=task, id="one", url="https://example.com/ken"), "one of his own"
    assert ken("DeleteTaskPushNotificationConfig", taskId=task, id="one")["result"] == {}
    assert ask("ListTaskPushNotificationConfigs", taskId=task)["result"]["configs"] == [shown], "and the other stands as it was"
    guest = published.ask("kit", published.passport("person:eve", groups=("guest",), capabilities=("a2a-push:use",)))
    assert guest("GetTaskPushNotificationConfig", taskId=task, id="one")["error"]["code"] == -32001
    for _ in range(2):
        assert browser.delete(f"{base}/one").status_code == 200, "once more does no harm"
    assert browser.get(f"{base}/one").json()["error"]["status"] == "NOT_FOUND"
    ask("CancelTask", id=task)


@pytest.mark.promise("A2A-09")
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "https://169.254.169.254/", "http://example.com/", "file:///etc/x"]
)
def test_addresses_inside_are_refused_unless_the_operator_allows_them(published: Published, url: str) -> None:
    found = published.ask("deliver")("SendMessage", message=said("soup", contextId="push"))["result"]["task"]["id"]
    refused = published.ask("deliver")("CreateTaskPushNotificationConfig", taskId=found, url=url)["error"]
    assert refused["code"] == -32000 and refused["data"][0]["reason"] in ("OMG_P011", "OMG_I001")
    assert published.ask("deliver")("ListTaskPushNotificationConfigs", taskId=found)["result"]["configs"] == []
    left = {"taskPushNotificationConfig": {"url": url}}
    assert "error" in published.ask("deliver")("SendMessage", message=said("x", contextId=f"not-begun {url}"), configuration=left)
    assert published.ask("deliver")("ListTasks", contextId=f"not-begun {url}")["result"]["tasks"] == [], "and nothing was begun"


def test_a_task_has_so_many_addresses_and_no_more(published: Published) -> None:
    ask = published.ask("kit")
    task = ask("SendMessage", message=said("x", id="tck-input-required-r"))["result"]["task"]["id"]
    for number in range(10):
        assert "result" in ask("CreateTaskPushNotificationConfig", taskId=task, id=f"n{number}", url="https://example.com/")
    assert "result" in ask("CreateTaskPushNotificationConfig", taskId=task, id="n3", url="https://example.com/other"), "in place of itself"
    assert ask("CreateTaskPushNotificationConfig", taskId=task, id="more", url="https://example.com/")["error"]["code"] == -32000
    ask("CancelTask", id=task)
