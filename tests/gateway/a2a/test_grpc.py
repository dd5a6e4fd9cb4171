"""The gRPC binding over a real listener: what the other bindings say, to the same callers, within limits of its own."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.a2a.conftest import Published, said
from omega.gateway.a2a.bindings import MAX_BODY
from omega.wire.a2a.protobuf import CALLS, SERVICE, decode, encode

grpc = pytest.importorskip("grpc", reason="the extra a2a-grpc is not installed")

PATIENCE_S = 60.0
VERSION = (("a2a-version", "1.0"),)


class Caller:
    """A client on grpcio itself, with the bytes of our codec."""

    def __init__(self, channel: Any, token: str, tenant: str = "") -> None:
        self.channel, self.tenant = channel, tenant
        self.metadata = (*VERSION, *((("authorization", f"Bearer {token}"),) if token else ()))

    def raw(self, method: str, body: bytes, *, timeout_s: float = PATIENCE_S, **more: Any) -> bytes:
        found: bytes = self.channel.unary_unary(f"/{SERVICE}/{method}")(body, metadata=self.metadata, timeout=timeout_s, **more)
        return found

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        taken, given = CALLS[method]
        return decode(given, self.raw(method, encode(taken, {"tenant": self.tenant, **params})))

    def stream(self, method: str, **params: Any) -> Any:
        raw = encode(CALLS[method][0], {"tenant": self.tenant, **params})
        return self.channel.unary_stream(f"/{SERVICE}/{method}")(raw, metadata=self.metadata, timeout=PATIENCE_S)

    def refusal(self, method: str, **params: Any) -> tuple[str, str]:
        """The status and the reason of a call that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, **params)
        return caught.value.code().name, reason_of(caught.value)


def reason_of(error: Any) -> str:
    trailers = dict(error.trailing_metadata() or ())
    details = decode("Status", trailers["grpc-status-details-bin"]).get("details", []) if "grpc-status-details-bin" in trailers else []
    return "".join(decode("ErrorInfo", base64.b64decode(each["value"]))["reason"] for each in details)


@pytest.fixture
def channel(published: Published) -> Iterator[Any]:
    with grpc.insecure_channel(published.grpc) as made:
        yield made


@pytest.fixture
def caller(published: Published, channel: Any) -> Caller:
    return Caller(channel, published.passport())


def to(caller: Caller, tenant: str) -> Caller:
    made = Caller(caller.channel, "", tenant)
    made.metadata = caller.metadata
    return made


@pytest.mark.promise("A2A-12")
def test_all_bindings_tell_the_same_task(published: Published, caller: Caller) -> None:
    shout = to(caller, "shout")
    task = shout.call("SendMessage", message=said("hello", id="g-1"))["task"]
    assert task["artifacts"] == [{"artifactId": "result", "parts": [{"text": "HELLO"}]}]
    over_rpc = published.ask("shout")
    told = over_rpc("GetTask", id=task["id"])["result"]
    assert shout.call("GetTask", id=task["id"]) == told == task
    listed = shout.call("ListTasks", contextId=task["contextId"])
    assert [each["id"] for each in listed["tasks"]] == [task["id"]]
    by_default = caller.call("SendMessage", message=said("in front", id="g-2"))["task"]
    assert by_default["artifacts"][0]["parts"] == [{"text": "IN FRONT"}], "without a tenant it is the agent in front"
    cook = to(caller, "cook").call("SendMessage", message=said(data={"dish": "soup", "count": 2}, id="g-3"))["task"]
    assert cook["artifacts"][0]["parts"] == [{"data": {"dish": "SOUP", "count": 2}}]


@pytest.mark.promise("A2A-12")
def test_a_card_names_the_interface_and_tells_it_to_those_who_may(published: Published, caller: Caller) -> None:
    card = published.client("").get("/a2a/tell/.well-known/agent-card.json").json()
    own = {"url": published.grpc, "protocolBinding": "GRPC", "tenant": "tell", "protocolVersion": "1.0"}
    assert card["supportedInterfaces"][-1] == own and card["signatures"]
    extended = to(caller, "tell").call("GetExtendedAgentCard")
    assert own in extended["supportedInterfaces"]
    assert any("params" in each for each in extended["capabilities"]["extensions"])


@pytest.mark.promise("A2A-12")
def test_a_stream_shows_parts_in_order_and_ends_with_what_is_on_record(caller: Caller) -> None:
    tell = to(caller, "tell")
    events = [decode("StreamResponse", each) for each in tell.stream("SendStreamingMessage", message=said("one two three", id="g-s"))]
    assert [next(iter(each)) for each in events] == ["task", *["artifactUpdate"] * 3, "statusUpdate"]
    assert "".join(part["text"] for each in events[1:-1] for part in each["artifactUpdate"]["artifact"]["parts"]) == "one two three "
    assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    with pytest.raises(grpc.RpcError) as caught:
        list(tell.stream("SubscribeToTask", id=events[0]["task"]["id"]))
    assert (caught.value.code().name, reason_of(caught.value)) == ("UNIMPLEMENTED", "UNSUPPORTED_OPERATION")


@pytest.mark.promise("A2A-12")
def test_a_task_that_waits_goes_on_with_the_message_that_answers_it(caller: Caller) -> None:
    deliver = to(caller, "deliver")
    task = deliver.call("SendMessage", message=said("pizza", id="g-4"))["task"]
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    done = deliver.call("SendMessage", message=said(data={"street": "Elm"}, id="g-5", taskId=task["id"]))["task"]
    assert done["artifacts"][0]["parts"] == [{"text": "pizza to Elm"}]
    waits = deliver.call("SendMessage", message=said("salad", id="g-6"))["task"]
    assert deliver.call("CancelTask", id=waits["id"])["status"]["state"] == "TASK_STATE_CANCELED"
    assert deliver.refusal("CancelTask", id=waits["id"]) == ("FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")


@pytest.mark.promise("A2A-12")
def test_errors_are_those_of_the_other_bindings(published: Published, caller: Caller) -> None:
    shout = to(caller, "shout")
    task = shout.call("SendMessage", message=said("x", id="g-7"))["task"]["id"]
    assert shout.refusal("GetTask", id="no-such-task") == ("NOT_FOUND", "TASK_NOT_FOUND")
    assert to(caller, "cook").refusal("GetTask", id=task) == ("NOT_FOUND", "TASK_NOT_FOUND")
    assert shout.refusal("SendMessage", message={"messageId": "m", "role": "ROLE_USER"}) == ("INVALID_ARGUMENT", "")
    odd = said("", id="g-8", parts=[{"raw": "AAAA", "mediaType": "image/png"}])
    assert shout.refusal("SendMessage", message=odd) == ("INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
    old = Caller(caller.channel, published.passport(), "shout")
    old.metadata = tuple(pair for pair in old.metadata if pair[0] != "a2a-version")
    assert old.refusal("GetTask", id=task) == ("UNIMPLEMENTED", "VERSION_NOT_SUPPORTED")
    assert to(caller, "nobody").refusal("GetTask", id=task)[0] == "NOT_FOUND"
    failed = shout.call("SendMessage", message=said("fail", id="g-9"))["task"]
    assert failed["status"]["state"] == "TASK_STATE_FAILED"


@pytest.mark.promise("A2A-13")
def test_nobody_comes_in_who_would_not_at_the_other_port(published: Published, channel: Any) -> None:
    assert Caller(channel, "", "shout").refusal("ListTasks") == ("UNAUTHENTICATED", "OMG_T001")
    assert Caller(channel, "x.y.z", "shout").refusal("SendMessage", message=said("x"))[0] == "UNAUTHENTICATED"
    eve = Caller(channel, published.passport("person:eve", groups=(), capabilities=("flows:run",)), "shout")
    own = Caller(channel, published.passport(), "shout").call("SendMessage", message=said("mine", id="g-10"))["task"]["id"]
    assert eve.refusal("GetTask", id=own) == ("NOT_FOUND", "TASK_NOT_FOUND")
    assert to(eve, "hidden").refusal("ListTasks")[0] == "NOT_FOUND"
    nonsense = encode("SendMessageRequest", {"tenant": "shout"}) + b"\x12\x03\xff\xff\xff"
    for token, status in (("", "UNAUTHENTICATED"), (published.passport(), "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as caught:
            Caller(channel, token).raw("SendMessage", nonsense)
        assert caught.value.code().name == status, "of what a stranger sends no more is read than whom it is for"
    twice = Caller(channel, published.passport(), "shout")
    twice.metadata = (*twice.metadata, ("authorization", "Bearer x"))
    assert twice.refusal("ListTasks")[0] == "INVALID_ARGUMENT", "which of the two is meant, nobody knows"


@pytest.mark.promise("A2A-13")
@pytest.mark.parametrize("tenant", ["../mcp", "a/b", "A", "x" * 64, "shout?x", "%2e%2e", "livez/.."])
def test_the_name_of_an_agent_leads_nowhere_else(caller: Caller, tenant: str) -> None:
    assert to(caller, tenant).refusal("ListTasks") == ("NOT_FOUND", "TASK_NOT_FOUND")


@pytest.mark.promise("A2A-13")
def test_what_is_too_large_or_no_message_is_refused_before_anything_begins(caller: Caller) -> None:
    def status(body: bytes, **more: Any) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            caller.raw("SendMessage", body, **more)
        return str(caught.value.code().name)

    large = encode("SendMessageRequest", {"message": said("x" * (MAX_BODY + 1), id="g-11")})
    assert status(large) == "RESOURCE_EXHAUSTED"
    assert status(large, compression=grpc.Compression.Gzip) == "RESOURCE_EXHAUSTED", "what is small on its way is not small here"
    assert status(b"\xff" * 40) == "INVALID_ARGUMENT"
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert status(encode("SendMessageRequest", {"message": said(data=deep, id="g-12")})) == "INVALID_ARGUMENT"
    assert status(b"\x12\xff\xff\xff\x7f") == "INVALID_ARGUMENT"
    with pytest.raises(grpc.RpcError) as unknown:
        caller.raw("DeleteEverything", b"")
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.slow
@pytest.mark.promise("A2A-13")
def test_a_call_ends_at_its_deadline_and_its_task_goes_on(published: Published, caller: Caller) -> None:
    kit = to(caller, "kit")
    began = time.monotonic()
    body = encode("SendMessageRequest", {"tenant": "kit", "message": said("slow", id="tck-delayed-complete-g", contextId="g-deadline")})
    with pytest.raises(grpc.RpcError) as caught:
        kit.raw("SendMessage", body, timeout_s=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began < PATIENCE_S / 2
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        (task,) = kit.call("ListTasks", contextId="g-deadline")["tasks"]
        if task["status"]["state"] == "TASK_STATE_COMPLETED":
            return
    raise AssertionError("the task did not go on")


@pytest.mark.slow
@pytest.mark.promise("A2A-13")
def test_many_calls_and_streams_at_once_are_answered_and_leave_nobody_inside(caller: Caller) -> None:
    shout, tell = to(caller, "shout"), to(caller, "tell")

    def one(number: int) -> str:
        if number % 4 == 0:
            stream = tell.stream("SendStreamingMessage", message=said("a b c", id=f"gs-{number}"))
            next(stream)
            stream.cancel()  # whoever goes away in the middle
            return "gone"
        return str(shout.call("SendMessage", message=said(f"n{number}", id=f"gm-{number}"))["task"]["artifacts"][0]["parts"][0]["text"])

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(one, range(80)))
    assert [each for each in told if each != "gone"] == [f"N{number}" for number in range(80) if number % 4]
    assert shout.call("SendMessage", message=said("after", id="gm-after"))["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
