"""Agents of others at the door: cards, tasks, conversations, streams and refusals, over the real server."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from gateway.a2a.conftest import Published, said

WAITS = ("TASK_STATE_INPUT_REQUIRED",)


def task(answer: dict[str, Any]) -> dict[str, Any]:
    """The task in an answer."""
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"].get("task", answer["result"])
    return found


def reason(answer: dict[str, Any]) -> str:
    """The reason of a refusal."""
    return str(answer["error"]["data"][0]["reason"])


def events(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream, to its end."""
    with client.stream("POST", path, json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line.startswith("data: ")]


@pytest.mark.slow
@pytest.mark.promise("A2A-01")
def test_nothing_is_published_by_itself(published: Published) -> None:
    found = published.client("").get("/a2a").json()["agents"]
    assert [each["name"] for each in found] == ["cook", "deliver", "kit", "launch", "shout", "tell"], "listed, and put up here"
    with published.client() as client:
        assert client.get("/a2a/tck/.well-known/agent-card.json").status_code == 404, "a flow is no agent"
        assert client.get("/a2a/gone/.well-known/agent-card.json").status_code == 404, "its flow was not put up"


@pytest.mark.promise("A2A-02")
def test_a_card_is_signed_by_the_installation(published: Published) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from omega.wire.a2a.signing import signatures_of

    with published.client("") as stranger:
        card = stranger.get("/a2a/cook/.well-known/agent-card.json").json()
        (signature,) = signatures_of(card)
        keys = stranger.get(signature.keys_at.removeprefix(published.url)).json()["keys"]
    assert signature.algorithm == "EdDSA" and signature.keys_at.startswith(published.url)
    key = next(each for each in keys if each["kid"] == signature.kid)
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))
    public.verify(signature.value, signature.covers[0])
    assert len(signature.covers) == 1, "the card has no empty field, so both canonical forms are one"
    assert card["skills"] == [{"id": "c", "name": "Cooking", "description": "cooks", "tags": ["food"]}]
    assert [each["protocolBinding"] for each in card["supportedInterfaces"]] == ["JSONRPC", "HTTP+JSON", "GRPC"]


@pytest.mark.slow
def test_a_card_may_be_kept_and_the_front_one_lies_at_the_root(published: Published) -> None:
    with published.client("") as stranger:
        first = stranger.get("/.well-known/agent-card.json")
        assert first.json()["name"] == "shout" and first.json()["provider"]["organization"] == "Example"
        assert "max-age" in first.headers["cache-control"] and first.headers["last-modified"].endswith("GMT")
        again = stranger.get("/.well-known/agent-card.json", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert stranger.post("/a2a/cook/.well-known/agent-card.json").status_code == 405


@pytest.mark.slow
@pytest.mark.promise("A2A-01")
def test_an_unlisted_agent_is_for_its_groups_alone(published: Published) -> None:
    card = "/a2a/hidden/.well-known/agent-card.json"
    assert published.client("").get(card).status_code == 404
    assert published.client().get(card).status_code == 404, "an owner, but not of the group"
    cook = published.passport("person:cook", groups=("owner", "kitchen"))
    assert published.client(cook).get(card).headers["cache-control"].startswith("private")
    assert task(published.ask("hidden", cook)("SendMessage", message=said("soup")))["status"]["state"] == "TASK_STATE_COMPLETED"
    assert published.ask("hidden")("SendMessage", message=said("soup"))["error"]["code"] == -32000


@pytest.mark.promise("A2A-03")
def test_a_message_is_a_run_of_the_flow_on_record(published: Published, browser: httpx.Client) -> None:
    found = task(published.ask("shout")("SendMessage", message=said("hello", contextId="talk-1")))
    assert found["status"]["state"] == "TASK_STATE_COMPLETED" and found["contextId"] == "talk-1"
    assert found["artifacts"] == [{"artifactId": "result", "parts": [{"text": "HELLO"}]}]
    assert [each["parts"] for each in found["history"]] == [[{"text": "hello"}]]
    record = browser.get(f"/api/v1/executions/{found['id']}").json()
    assert (record["flow"], record["labels"]["a2a"], record["labels"]["a2a-context"]) == ("shout", "shout", "talk-1")


@pytest.mark.slow
def test_structured_data_goes_in_and_comes_out(published: Published) -> None:
    ask = published.ask("cook")
    found = task(ask("SendMessage", message=said("please", data={"dish": "soup", "count": 2})))
    assert found["artifacts"][0]["parts"] == [{"data": {"dish": "SOUP", "count": 2}}]
    assert ask("SendMessage", message=said("no order"))["error"]["code"] == -32602
    assert "dish" in ask("SendMessage", message=said(data={"count": "two"}))["error"]["message"]


@pytest.mark.slow
def test_what_fails_is_a_failed_task_without_its_insides(published: Published) -> None:
    found = task(published.ask("shout")("SendMessage", message=said("fail")))
    assert found["status"]["state"] == "TASK_STATE_FAILED" and "artifacts" not in found
    assert found["status"]["message"]["parts"][0]["metadata"]["code"] == "OMG-R001"


@pytest.mark.slow
def test_an_answer_that_is_no_task(published: Published) -> None:
    answer = published.ask("kit")("SendMessage", message=said("hi", id="tck-message-response-1"))["result"]
    assert answer["message"]["role"] == "ROLE_AGENT" and answer["message"]["parts"] == [{"text": "Direct message response"}]


@pytest.mark.promise("A2A-04")
def test_a_task_asks_and_a_message_answers(published: Published) -> None:
    ask = published.ask("deliver")
    waits = task(ask("SendMessage", message=said("soup")))
    assert waits["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    question = waits["status"]["message"]["parts"]
    assert question[0] == {"text": "where to?"} and question[1]["data"]["schema"]["required"] == ["street"]
    assert ask("SendMessage", message=said(data={"town": "x"}, taskId=waits["id"]))["error"]["code"] == -32000, "it fits no form"
    done = task(ask("SendMessage", message=said(data={"street": "Main"}, id="m-2", taskId=waits["id"])))
    assert done["status"]["state"] == "TASK_STATE_COMPLETED" and done["contextId"] == waits["contextId"]
    assert done["artifacts"][0]["parts"] == [{"text": "soup to Main"}]
    said_there = [(each["role"], each["parts"][0]) for each in done["history"]]
    assert said_there == [
        ("ROLE_USER", {"text": "soup"}),
        ("ROLE_AGENT", {"text": "where to?"}),
        ("ROLE_USER", {"data": {"street": "Main"}}),
    ]
    assert reason(ask("SendMessage", message=said("more", taskId=waits["id"]))) == "UNSUPPORTED_OPERATION"


@pytest.mark.promise("A2A-04")
def test_words_are_no_approval(published: Published) -> None:
    ask = published.ask("launch")
    waits = task(ask("SendMessage", message=said("the rocket")))
    assert waits["status"]["message"]["parts"][1]["data"] == {"kind": "approval", "role": "owner", "answer": {"approved": True}}
    for words in (said("yes, approved", taskId=waits["id"]), said(data={"approved": "true"}, taskId=waits["id"])):
        assert ask("SendMessage", message=words)["error"]["code"] == -32602
    assert task(ask("GetTask", id=waits["id"]))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    agent = published.passport("agent:helper", groups=("owner",))
    assert published.ask("launch", agent)("SendMessage", message=said(data={"approved": True}, taskId=waits["id"]))["error"]["code"] < 0
    done = task(ask("SendMessage", message=said(data={"approved": True}, taskId=waits["id"])))
    assert done["artifacts"][0]["parts"] == [{"text": "launched the rocket"}]


@pytest.mark.slow
def test_a_conversation_must_match_its_task(published: Published) -> None:
    ask = published.ask("deliver")
    waits = task(ask("SendMessage", message=said("soup", contextId="here")))
    assert ask("SendMessage", message=said("x", taskId=waits["id"], contextId="there"))["error"]["code"] == -32602
    assert task(ask("CancelTask", id=waits["id"]))["status"]["state"] == "TASK_STATE_CANCELED"
    assert reason(ask("CancelTask", id=waits["id"])) == "TASK_NOT_CANCELABLE"


@pytest.mark.promise("A2A-05")
def test_tasks_of_others_are_not_there(published: Published) -> None:
    mine = task(published.ask("shout")("SendMessage", message=said("mine", contextId="private")))
    eve = published.ask("shout", published.passport("person:eve", groups=("guest",), capabilities=("a2a:use",)))
    other_agent = published.ask("cook")
    for ask in (eve, other_agent):
        for method, params in (
            ("GetTask", {"id": mine["id"]}),
            ("CancelTask", {"id": mine["id"]}),
            ("SubscribeToTask", {"id": mine["id"]}),
        ):
            assert reason(ask(method, **params)) == "TASK_NOT_FOUND"
        assert reason(ask("SendMessage", message=said("x", taskId=mine["id"]))) == "TASK_NOT_FOUND"
        assert reason(ask("SendStreamingMessage", message=said("x", taskId=mine["id"]))) == "TASK_NOT_FOUND"
        assert ask("ListTasks", contextId="private")["result"]["tasks"] == []
    foreign = published.ask("shout", published.passport("person:ada", tenant="ten_other"))
    assert foreign("GetTask", id=mine["id"])["error"]["code"] == -32000, "the agent is not for that tenant"


@pytest.mark.slow
def test_the_gate_refuses_and_says_which_rule(published: Published) -> None:
    stranger = published.passport("person:guest", groups=())
    refused = published.ask("shout", stranger)("SendMessage", message=said("hello"))["error"]
    assert refused["code"] == -32000 and refused["data"][0]["reason"].startswith("OMG_W")
    with published.client("", **{"a2a-version": "1.0"}) as nobody:
        answer = nobody.post("/a2a/shout", json={"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": {"id": "x"}})
        assert answer.status_code == 401 and "resource_metadata" in answer.headers["www-authenticate"]
        assert answer.json()["id"] is None, "what a stranger sends is not read"
        assert nobody.get("/a2a/shout/tasks").status_code == 401


@pytest.mark.slow
def test_a_list_has_pages_the_last_changed_first(published: Published) -> None:
    ask = published.ask("shout")
    begun = [task(ask("SendMessage", message=said(f"n{number}", contextId="pages")))["id"] for number in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = ask("ListTasks", contextId="pages", pageSize=2, **({"pageToken": token} if token else {}))["result"]
        assert page["totalSize"] == 5 and page["pageSize"] == 2 and len(page["tasks"]) <= 2
        assert all("artifacts" not in each for each in page["tasks"])
        seen += [each["id"] for each in page["tasks"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert seen == begun[::-1]
    whole = ask("ListTasks", contextId="pages", includeArtifacts=True, historyLength=0, status="TASK_STATE_COMPLETED")["result"]["tasks"]
    assert len(whole) == 5 and all(each["artifacts"] and "history" not in each for each in whole)
    assert ask("ListTasks", contextId="pages", status="TASK_STATE_WORKING")["result"]["tasks"] == []
    for wrong in ({"pageSize": 0}, {"pageSize": 101}, {"pageToken": "x"}, {"status": "DONE"}, {"statusTimestampAfter": "soon"}):
        assert ask("ListTasks", **wrong)["error"]["code"] == -32602


@pytest.mark.promise("A2A-06")
def test_a_stream_shows_the_task_its_parts_and_its_end(published: Published, browser: httpx.Client) -> None:
    found = events(browser, "/a2a/tell/message:stream", {"message": said("one two three")})
    assert [next(iter(each)) for each in found] == ["task", *["artifactUpdate"] * 3, "statusUpdate"]
    assert found[0]["task"]["status"]["state"] == "TASK_STATE_WORKING"
    chunks = [each["artifactUpdate"] for each in found[1:4]]
    assert [each["artifact"]["parts"][0]["text"] for each in chunks] == ["one ", "two ", "three "]
    assert [each.get("append", False) for each in chunks] == [False, True, True]
    assert found[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    kept = browser.get(f"/a2a/tell/tasks/{found[0]['task']['id']}").json()
    assert kept["artifacts"][0]["parts"][0]["text"] == "one two three ", "what was streamed is what is kept"


@pytest.mark.slow
def test_a_stream_over_json_rpc_wraps_each_event(published: Published, browser: httpx.Client) -> None:
    body = {"jsonrpc": "2.0", "id": "s-1", "method": "SendStreamingMessage", "params": {"message": said("hey")}}
    found = events(browser, "/a2a/shout", body)
    assert {(each["jsonrpc"], each["id"]) for each in found} == {("2.0", "s-1")}
    assert [next(iter(each["result"])) for each in found] == ["task", "artifactUpdate", "statusUpdate"]
    assert found[1]["result"]["artifactUpdate"]["lastChunk"] is True


@pytest.mark.slow
@pytest.mark.promise("A2A-06")
def test_who_subscribes_sees_a_waiting_task_to_its_end(published: Published, browser: httpx.Client) -> None:
    ask = published.ask("deliver")
    waits = task(ask("SendMessage", message=said("soup")))
    found: list[dict[str, Any]] = []
    with browser.stream("POST", f"/a2a/deliver/tasks/{waits['id']}:subscribe") as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == 1:
                    ask("SendMessage", message=said(data={"street": "Main"}, taskId=waits["id"]))
    assert [next(iter(each)) for each in found] == ["task", "artifactUpdate", "statusUpdate"]
    assert found[0]["task"]["status"] == waits["status"]
    again = browser.get(f"/a2a/deliver/tasks/{waits['id']}:subscribe")
    assert again.status_code == 400 and again.json()["error"]["details"][0]["reason"] == "UNSUPPORTED_OPERATION"


@pytest.mark.slow
def test_the_extended_card_says_what_the_flow_takes(published: Published) -> None:
    card = published.ask("cook")("GetExtendedAgentCard")["result"]
    (told,) = card["capabilities"]["extensions"]
    assert told["params"]["input"]["properties"].keys() == {"dish", "count"} and card["signatures"]


@pytest.mark.slow
@pytest.mark.promise("A2A-07")
def test_both_bindings_tell_the_same(published: Published, browser: httpx.Client) -> None:
    sent = browser.post("/a2a/shout/message:send", json={"message": said("same")})
    assert sent.headers["content-type"] == "application/a2a+json"
    id = sent.json()["task"]["id"]
    assert browser.get(f"/a2a/shout/tasks/{id}").json() == task(published.ask("shout")("GetTask", id=id)) == sent.json()["task"]
    missing = browser.get("/a2a/shout/tasks/none").json()["error"]
    rpc = published.ask("shout")("GetTask", id="none")["error"]
    assert (missing["code"], missing["status"], rpc["code"]) == (404, "NOT_FOUND", -32001)
    assert missing["details"] == rpc["data"] and missing["message"] == rpc["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/a2a/shout", 405),
        ("PUT", "/a2a/shout/tasks/x", 405),
        ("DELETE", "/a2a/shout/tasks/x", 405),
        ("GET", "/a2a/shout/tasks/x:pause", 404),
        ("GET", "/a2a/shout/other", 404),
        ("POST", "/a2a/shout/message:send", 400),
        ("GET", "/a2a/none/tasks", 404),
        ("POST", "/a2a", 405),
        ("GET", "/a2a/shout/tasks?pageSize=x", 400),
        ("GET", "/a2a/shout/tasks?includeArtifacts=maybe", 400),
    ],
)
def test_what_is_not_there_is_refused(browser: httpx.Client, method: str, path: str, status: int) -> None:
    assert browser.request(method, path).status_code == status


@pytest.mark.slow
@pytest.mark.promise("A2A-08")
def test_malformed_messages_are_refused_by_name(published: Published, browser: httpx.Client) -> None:
    ask = published.ask("shout")
    wrong: list[Any] = [
        {},
        {"message": []},
        {"message": said("x") | {"role": "ROLE_AGENT"}},
        {"message": said("x") | {"messageId": ""}},
        {"message": said()},
        {"message": said("x") | {"parts": [{"text": "a", "data": 1}]}},
        {"message": said("x") | {"parts": [{"raw": "***"}]}},
        {"message": said("x") | {"parts": [{"text": 1}]}},
        {"message": said("x") | {"contextId": "c" * 200}},
        {"message": said("x"), "configuration": {"historyLength": -1}},
        {"message": said("x"), "configuration": {"returnImmediately": "yes"}},
    ]
    for params in wrong:
        assert ask("SendMessage", **params)["error"]["code"] == -32602, params
    assert reason(ask("SendMessage", message=said("x") | {"parts": [{"url": "https://x.example/a.png", "mediaType": "image/png"}]})) == (
        "CONTENT_TYPE_NOT_SUPPORTED"
    )
    assert ask("NoSuchMethod")["error"]["code"] == -32601
    for body, code in ((b"{", -32700), (b"[]", -32600), (b'{"jsonrpc":"2.0","method":"GetTask"}', -32600), (b'{"id":1,"id":2}', -32700)):
        answer = browser.post("/a2a/shout", content=body, headers={"content-type": "application/json"}).json()
        assert answer["error"]["code"] == code, body
    assert published.ask("shout", **{"a2a-version": "0.3"})("GetTask", id="x")["error"]["code"] == -32009
    assert published.ask("shout", **{"a2a-version": ""})("GetTask", id="x")["error"]["code"] == -32009
    assert published.ask("shout", **{"a2a-version": "1.0.3"})("GetTask", id="x")["error"]["code"] == -32001


@pytest.mark.slow
def test_a_repeated_key_is_the_same_task(published: Published) -> None:
    ask = published.ask("shout", **{"idempotency-key": "once"})
    first, second = (task(ask("SendMessage", message=said("hello"))) for _ in range(2))
    assert first["id"] == second["id"] and first == second


@pytest.mark.slow
def test_a_task_may_be_left_to_itself(published: Published) -> None:
    ask = published.ask("kit")
    sent = ask(
        "SendMessage", message=said("later", id="tck-input-required-1"), configuration={"returnImmediately": True, "historyLength": 0}
    )
    assert task(sent)["status"]["state"] in ("TASK_STATE_WORKING", *WAITS) and "history" not in task(sent)
    assert task(ask("CancelTask", id=task(sent)["id"]))["status"]["state"] == "TASK_STATE_CANCELED"
