"""Nearly good requests, by grammar and by mutation, for each way in: MCP of both eras, HTTP, OpenAI's interface, RPC over a WebSocket, both
bindings of A2A, the API of registries.

Every attacker draws from one `random.Random`, so a seed gives the same attacks again. What comes back is judged by `attacks.judging`.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attacks.wire import BINARY, CLOSE, PING, TEXT, Line, Requested, framed

ODD_BYTES = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\r\n\r\n",
    b"[" * 200,
    b'{"a":' * 80,
    b"1e999",
    b"-0",
    b"9" * 500,
    b'"\\ud800"',
    b"NaN",
    b"}}",
)
ODD_TEXTS = (
    "",
    "\x00",
    "..",
    "../../etc/passwd",
    "a" * 5_000,
    "\u202e",
    "\ud800",
    "%00",
    "' or 1=1 --",
    "${jndi:x}",
    "{{7*7}}",
    "\r\nset-cookie: a=b",
    "null",
    "exe_0",
    "key-0",
    "ten_0",
    "*",
    "local",
    "-1",
    "\uff0e\uff0e",
)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308)


def value(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON value, most of them odd."""
    kind = dice.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return dice.choice((None, True, False))
    if kind <= 2:
        return dice.choice(ODD_NUMBERS)
    if kind <= 5:
        return dice.choice(ODD_TEXTS) if dice.random() < 0.6 else "".join(dice.choices(string.printable, k=dice.randrange(20)))
    if kind == 6:
        return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice((*ODD_TEXTS[:6], "name", "id", "input", "arguments")): value(dice, depth + 1) for _ in range(dice.randrange(4))}


def near(dice: random.Random, good: Any) -> Any:
    """A value near `good`: one part of it left out, doubled, or something else."""
    if dice.random() < 0.15:
        return value(dice)
    if isinstance(good, dict) and good:
        changed = dict(good)
        name = dice.choice(list(changed))
        way = dice.randrange(4)
        if way == 0:
            del changed[name]
        elif way == 1:
            changed[dice.choice(ODD_TEXTS)] = changed[name]
        else:
            changed[name] = near(dice, changed[name])
        return changed
    if isinstance(good, list) and good:
        at = dice.randrange(len(good))
        return dice.choice(([*good[:at], near(dice, good[at]), *good[at + 1 :]], good * 2, good[:at]))
    return value(dice) if dice.random() < 0.5 else good


def mutated(dice: random.Random, data: bytes, most: int = 4) -> bytes:
    """Bytes near `data`: pieces dropped, doubled, turned around or replaced."""
    for _ in range(dice.randint(1, most)):
        at, many = dice.randrange(len(data) + 1), dice.randint(1, 24)
        piece = data[at : at + many]
        data = data[:at] + dice.choice((b"", piece * 2, piece[::-1], dice.choice(ODD_BYTES), dice.randbytes(3))) + data[at + many :]
    return data


def written(dice: random.Random, message: Any) -> bytes:
    """A value as JSON, sometimes as what is nearly JSON."""
    body = json.dumps(message).encode("utf-8", "replace")
    return mutated(dice, body) if dice.random() < 0.3 else body


@dataclass
class Attacker:
    """What all of them share: a house, whoever they claim to be, and an execution that they should learn nothing of."""

    line: Line
    dice: random.Random
    token: Callable[[], str]
    execution: str
    operations: Sequence[tuple[str, str, Any]] = ()
    methods: Sequence[str] = ()
    broken: bool = False

    def shown(self) -> dict[str, str]:
        """The header with the passport."""
        return {"authorization": f"Bearer {self.token()}"}

    def word(self) -> str:
        """A short text that may mean something."""
        known = ("double", "words", "waits", "insights", "summary", self.execution, "find_tools", "insights__summary", "mock", "local", "7")
        return self.dice.choice(known) if self.dice.random() < 0.6 else self.dice.choice(ODD_TEXTS)

    def sent(self, request: Requested) -> bytes:
        """The bytes of a request, now and then with a broken head: then the other side may wait for more, and `broken` says so."""
        raw = request.raw(self.line.name)
        self.broken = self.dice.random() < 0.1
        if not self.broken:
            return raw
        head, _, body = raw.partition(b"\r\n\r\n")
        return mutated(self.dice, head, 2) + b"\r\n\r\n" + body


@dataclass
class OverHttp(Attacker):
    """Operations of the description, with input that is nearly right."""

    def shot(self) -> bytes:
        """One request."""
        dice = self.dice
        verb, path, example = dice.choice(self.operations)
        path = path.replace("EXECUTION", self.execution if dice.random() < 0.7 else "exe_00000000000000000000000000000000")
        if dice.random() < 0.1:
            path = mutated(dice, path.encode(), 1).decode("latin-1").replace("\r", "").replace("\n", "").replace(" ", "") or "/"
        if verb == "GET" and dice.random() < 0.5:
            name = dice.choice(("limit", "cursor", "status", "hours", "wait", "values", "since", "flow"))
            path += f"?{name}={dice.choice(('1', '-1', 'x', '%ff', '1e9', ''))}"
        headers = {**self.shown(), "content-type": "application/json", "prefer": dice.choice(("wait=0", "respond-async", "wait=0.2"))}
        if dice.random() < 0.2:
            name = dice.choice(
                ("idempotency-key", "omega-budget", "omega-deadline", "traceparent", "accept", "cookie", "range", "if-none-match")
            )
            headers[name] = dice.choice(("k", "cost_micros=1;currency=USD", "1", "text/event-stream", "a=b", "\xe9", "x" * 300, "-1"))
        sound = dice.choice((example, example, {}, 7, {"name": "x"}, {"method": "summary", "input": {}}))
        body = b"" if verb == "GET" else written(dice, near(dice, sound))
        return self.sent(Requested(verb, path, headers, body))


MCP_METHODS = (
    *("tools/call", "tools/call", "tools/list", "server/discover", "resources/list", "resources/read", "resources/templates/list"),
    *("prompts/list", "prompts/get", "completion/complete", "ping", "initialize", "logging/setLevel", "notifications/cancelled"),
    *("notifications/initialized", "resources/subscribe", "no/such/method"),
)
"""Methods of both eras, and some of neither. What listens (`subscriptions/listen`) never ends, and is left out."""


@dataclass
class OverMcp(Attacker):
    """JSON-RPC of both eras, with headers that agree with the body, or nearly."""

    newer: bool = True
    session: str = ""

    def shot(self) -> bytes:
        """One request."""
        dice = self.dice
        method = dice.choice(MCP_METHODS)
        name = self.word()
        params: dict[str, Any] = {"name": name, "arguments": {"query": "x", "hours": 1}, "uri": name, "cursor": "1", "level": "info"}
        params = {key: each for key, each in params.items() if dice.random() < 0.6}
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
        if self.newer:
            params["_meta"] = {**meta, "omega/execution": self.execution} if dice.random() < 0.2 else meta
        if method == "initialize":
            params |= {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        message: Any = {"jsonrpc": "2.0", "id": dice.choice((1, "a", 2**53, None, [], 1.5)), "method": method, "params": params}
        if dice.random() < 0.6:
            message = near(dice, message)
        headers = {**self.shown(), "content-type": "application/json", "accept": "application/json, text/event-stream"}
        headers["mcp-protocol-version"] = "2026-07-28" if self.newer else "2025-11-25"
        if self.newer:
            headers |= {"mcp-method": method, "mcp-name": str(params.get("name", params.get("uri", "")))}
        elif self.session and dice.random() < 0.8:
            headers["mcp-session-id"] = self.session if dice.random() < 0.8 else mutated(dice, self.session.encode(), 1).decode("latin-1")
        headers = {key: each.replace("\r", "").replace("\n", "") for key, each in headers.items() if dice.random() < 0.95}
        path = "/mcp" if dice.random() < 0.9 else f"/mcp/{dice.choice(('reviews', '..', 'x' * 100))}"
        return self.sent(Requested("POST", path, headers, written(dice, message)))


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
QUESTIONS: dict[str, Any] = {
    "/v1/chat/completions": {
        "model": "mock",
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [CALLED]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "temperature": 0.5,
        "max_tokens": 5,
        "stream": False,
    },
    "/v1/responses": {
        "model": "mock",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "instructions": "be brief",
        "max_output_tokens": 5,
        "stream": False,
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
    },
    "/v1/embeddings": {"model": "mock", "input": ["a", "b"], "encoding_format": "base64"},
}
"""What each operation of OpenAI's interface takes."""


@dataclass
class OverOpenAI(Attacker):
    """Chat completions, responses and embeddings."""

    def shot(self) -> bytes:
        """One request."""
        dice = self.dice
        path = dice.choice(list(QUESTIONS))
        body = QUESTIONS[path]
        for _ in range(dice.randrange(4)):
            body = near(dice, body)
        verb = "POST" if dice.random() < 0.95 else "GET"
        if dice.random() < 0.1:
            path = dice.choice(("/v1/models", "/v1/models/x", "/v1/files", "/v1/models/..%2f"))
        headers = {**self.shown(), "content-type": "application/json"}
        if dice.random() < 0.1:
            headers["idempotency-key"] = dice.choice(("k", "x" * 300, "\xe9"))
        return self.sent(Requested(verb, path, headers, written(dice, body) if verb == "POST" else b""))


MESSAGE = {
    "messageId": "m-1",
    "role": "ROLE_USER",
    "parts": [{"text": "7"}, {"data": {"n": 7}, "mediaType": "application/json"}, {"raw": "Nw==", "filename": "n.txt"}],
    "contextId": "c-1",
    "metadata": {"a": 1},
}
SETTING = {"acceptedOutputModes": ["text/plain"], "historyLength": 2, "returnImmediately": False}
A2A_METHODS: dict[str, Any] = {
    "SendMessage": {"message": MESSAGE, "configuration": SETTING},
    "SendStreamingMessage": {"message": MESSAGE},
    "GetTask": {"id": "TASK", "historyLength": 1},
    "ListTasks": {"contextId": "c-1", "pageSize": 5, "pageToken": "", "status": "TASK_STATE_COMPLETED"},
    "CancelTask": {"id": "TASK"},
    "SubscribeToTask": {"id": "TASK"},
    "CreateTaskPushNotificationConfig": {"taskId": "TASK", "id": "p-1", "url": "http://127.0.0.1:9/hook", "token": "t"},
    "GetTaskPushNotificationConfig": {"taskId": "TASK", "id": "p-1"},
    "ListTaskPushNotificationConfigs": {"taskId": "TASK", "pageSize": 5},
    "DeleteTaskPushNotificationConfig": {"taskId": "TASK", "id": "p-1"},
    "GetExtendedAgentCard": {},
    "tasks/send": {"id": "TASK"},
}
"""What each method of A2A takes; the last one is of an older version."""

A2A_PATHS: tuple[tuple[str, str, str], ...] = (
    ("POST", "message:send", "SendMessage"),
    ("POST", "message:stream", "SendStreamingMessage"),
    ("GET", "tasks", ""),
    ("GET", "tasks/TASK", ""),
    ("POST", "tasks/TASK:cancel", "CancelTask"),
    ("GET", "tasks/TASK:subscribe", ""),
    ("POST", "tasks/TASK/pushNotificationConfigs", "CreateTaskPushNotificationConfig"),
    ("GET", "tasks/TASK/pushNotificationConfigs", ""),
    ("DELETE", "tasks/TASK/pushNotificationConfigs/p-1", ""),
    ("GET", "extendedAgentCard", ""),
    ("GET", ".well-known/agent-card.json", ""),
)
"""Verb and path of each operation over HTTP+JSON, with the method whose parameters its body holds."""


@dataclass
class OverA2a(Attacker):
    """Messages and tasks of published agents, over JSON-RPC and over HTTP+JSON."""

    agents: Sequence[str] = ()

    def shot(self) -> bytes:
        """One request."""
        dice = self.dice
        agent = dice.choice(self.agents) if dice.random() < 0.9 else self.word()
        verb, path, body = self._called() if dice.random() < 0.6 else self._gone_to()
        headers = {**self.shown(), "content-type": dice.choice(("application/json", "application/a2a+json"))}
        if dice.random() < 0.9:
            headers["a2a-version"] = dice.choice(("1.0", "1.0", "1.0", "0.3", "9", "\xe9"))
        if dice.random() < 0.05:
            path = mutated(dice, path.encode(), 1).decode("latin-1")
        whole = "".join(each for each in f"/a2a/{agent}/{path}".rstrip("/") if each not in "\r\n ")
        return self.sent(Requested(verb, whole, headers, body))

    def _called(self) -> tuple[str, str, bytes]:
        dice = self.dice
        method = dice.choice(list(A2A_METHODS))
        message: Any = {"jsonrpc": "2.0", "id": dice.choice((1, "a", None)), "method": method, "params": self._filled(A2A_METHODS[method])}
        return "POST", "", written(dice, near(dice, message) if dice.random() < 0.3 else message)

    def _gone_to(self) -> tuple[str, str, bytes]:
        dice = self.dice
        verb, path, method = dice.choice(A2A_PATHS)
        path = path.replace("TASK", self._task())
        if verb == "GET" and dice.random() < 0.5:
            name = dice.choice(("pageSize", "pageToken", "historyLength", "status", "odd"))
            path += f"?{name}={dice.choice(('1', '-1', 'x', '%ff', '1e9', ''))}"
        return verb, path, written(dice, self._filled(A2A_METHODS[method])) if method else b""

    def _filled(self, sound: Any) -> Any:
        """Parameters about some task, or nearly such."""
        filled = json.loads(json.dumps(sound).replace("TASK", self._task()))
        for _ in range(self.dice.randrange(3)):
            filled = near(self.dice, filled)
        return filled

    def _task(self) -> str:
        return self.dice.choice((self.execution, self.execution, "exe_00000000000000000000000000000000", "..", "key-0"))


REGISTRY_PATHS = (
    *("servers", "servers", "servers/NAME", "servers/NAME/versions", "servers/NAME/versions/VERSION", "health"),
    *("ping", "publish", "servers/NAME/versions/VERSION/x"),
)
REGISTRY_WORDS = ("cursor", "limit", "search", "updated_since", "version", "include_deleted", "odd")


@dataclass
class OverRegistry(Attacker):
    """What is asked of a registry of servers."""

    def shot(self) -> bytes:
        """One request."""
        dice = self.dice
        path = dice.choice(REGISTRY_PATHS).replace("NAME", dice.choice(("io.example%2Ftools", "a", "..%2f..", "%2F", "x" * 300, "%25")))
        path = path.replace("VERSION", dice.choice(("latest", "1.0.0", "-1", "%ff")))
        asked = [f"{dice.choice(REGISTRY_WORDS)}={self._value()}" for _ in range(dice.randrange(4))]
        whole = f"/{dice.choice(('v0', 'v0.1', 'v0.1', 'v1'))}/{path}" + (f"?{'&'.join(asked)}" if asked else "")
        if dice.random() < 0.1:
            whole = "/" + "".join(each for each in mutated(dice, whole.encode(), 1).decode("latin-1") if each not in "\r\n ")
        verb = "GET" if dice.random() < 0.9 else dice.choice(("POST", "PUT", "DELETE", "HEAD", "OPTIONS"))
        if verb == "HEAD":  # its answer names a length that does not come
            verb = "GET"
        return self.sent(Requested(verb, whole, self.shown(), b"" if verb == "GET" else written(dice, value(dice))))

    def _value(self) -> str:
        return self.dice.choice(
            ("1", "100", "-1", "1e9", "latest", "2025-01-01T00:00:00Z", "9999-99-99", "%ff", "", "true", "a:b", "x" * 200)
        )


@dataclass
class OverRpc(Attacker):
    """Frames of a WebSocket: text that is nearly a message, and frames that break the rules of frames."""

    number: int = field(default=0)

    def shot(self) -> bytes:
        """One frame, or a few."""
        dice = self.dice
        self.broken = dice.random() < 0.1
        if self.broken:
            return self._broken()
        params: Any = {
            "input": dice.choice(({}, {"hours": 1}, 7)),
            "key": dice.choice(("", "k")),
            "timeout_s": 5,
            "credit": dice.choice((0, 1)),
        }
        if dice.random() < 0.5:
            params = near(dice, params)
        method = dice.choice((*self.methods, "rpc.ping", "rpc.authorize", "rpc.credit", "rpc.cancel", "no.such", "rpc.odd"))
        if method == "rpc.authorize":
            params = {"passport": dice.choice(("x", 7, "a.b.c"))}
        message: Any = {"jsonrpc": "2.0", "id": dice.choice((1, 2, "a", None, True)), "method": method, "params": params}
        if dice.random() < 0.5:
            message = near(dice, message)
        return framed(written(dice, message), TEXT if dice.random() < 0.9 else BINARY)

    def _broken(self) -> bytes:
        dice = self.dice
        text = b'{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}'
        return dice.choice((
            lambda: framed(text, dice.randrange(16)),
            lambda: framed(text, masked=False),
            lambda: framed(text, reserved=dice.randrange(1, 8)),
            lambda: framed(text, final=False),
            lambda: framed(text, 0),
            lambda: framed(b"x" * 200, PING),
            lambda: framed(b"\xff\xfe\xfd", TEXT),
            lambda: framed(b"\x00", CLOSE),
            lambda: framed(b"", claimed=1 << 62),
            lambda: mutated(dice, framed(text), 2),
            lambda: framed(text[:10], final=False) + framed(text[10:], 0),
        ))()  # fmt: skip

    def asked_after(self) -> bytes:
        """A good frame, whose answer shows that the session goes on."""
        self.number += 1
        return framed(json.dumps({"jsonrpc": "2.0", "id": f"after-{self.number}", "method": "rpc.ping"}).encode())
