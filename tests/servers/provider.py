"""A model provider on this machine that can do everything one can do wrong: over real HTTP, deterministic, one per test if need be.

It speaks OpenAI's chat completions and embeddings, whole and streamed, and Anthropic's messages. The model's name says what it does:

    echo           says what the last message said, word by word where it streams
    json           answers {"answer": 42}
    tool           wants the first tool called, with {"city": "Paris"}
    slow           streams one word, then waits until it is released
    hangs          answers nothing until it is released
    broken         status 500; `busy` 429; `wrong` 400
    cut            breaks the connection off after one streamed word
    liar           says that nothing was used;  `silent` says nothing about usage
    gpt-4o-mini    echoes, under a name that has a public price
    scripted       says what the test's own function makes of the whole conversation
    embed          vectors: how often each letter occurs
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUSES = {"broken": 500, "busy": 429, "wrong": 400}
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Upstream:
    """A provider that runs: its base URL, what it was asked, and the brake of `slow` and `hangs`."""

    url: str = ""
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    server: ThreadingHTTPServer | None = None
    connections: list[socket.socket] = field(default_factory=list)
    answer: Callable[[str], str] = lambda text: text

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of the questions so far."""
        return [body for _, _, body in self.seen]

    def kill(self) -> None:
        """Stop listening and close every connection: whoever asks now is refused."""
        if self.server is not None:
            server, self.server = self.server, None
            self.released.set()
            server.shutdown()
            server.server_close()
            for connection in self.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def provider() -> Iterator[Upstream]:
    """A provider for as long as the context lasts."""
    upstream = Upstream()

    class Handler(_Handler):
        at = upstream

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream.server, upstream.url = server, f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield upstream
    finally:
        upstream.kill()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    at: Upstream

    def setup(self) -> None:
        super().setup()
        self.at.connections.append(self.connection)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.at.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        model = body["model"]
        try:
            if model == "hangs":
                self.at.released.wait(30)
            if model in STATUSES:
                self._whole({"error": {"message": f"secret prompt {body}", "type": "upstream_says_no"}}, STATUSES[model])
            elif self.path.endswith("/embeddings"):
                self._whole(_vectors(body))
            elif self.path.endswith("/v1/messages"):
                self._messages(body)
            elif body.get("stream"):
                self._completions_streamed(body)
            else:
                self._whole(_completion(body, self.at))
        except (ConnectionError, TimeoutError):
            self.at.left.set()
            self.close_connection = True

    def _completions_streamed(self, body: dict[str, Any]) -> None:
        whole = _completion(body, self.at)
        message = whole["choices"][0]["message"]
        base = {"id": "c1", "object": "chat.completion.chunk", "model": whole["model"], "system_fingerprint": "fp_1"}
        self._begin_events()
        if message["tool_calls"]:
            call = message["tool_calls"][0]
            start = {"index": 0, "id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": ""}}
            self._event({**base, "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [start]}}]})
            for piece in _halves(call["function"]["arguments"]):
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
                self._event({**base, "choices": [{"index": 0, "delta": delta}]})
        for word in _words(message["content"] or ""):
            self._event({**base, "choices": [{"index": 0, "delta": {"content": word}}]})
            if body["model"] == "cut":
                self.close_connection = True
                return
            if body["model"] == "slow":
                self._wait_while_there()
        self._event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}]})
        if "usage" in whole:
            self._event({**base, "choices": [], "usage": whole["usage"]})
        self._write(b"data: [DONE]\n\n")

    def _wait_while_there(self) -> None:
        """Until released, or until whoever asked has gone away: a comment that cannot be written tells."""
        while not self.at.released.wait(0.02):
            self._write(b": waiting\n\n")

    def _messages(self, body: dict[str, Any]) -> None:
        said = f"{body.get('system', '')}|{_last(body)}"
        usage = {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 7}
        content: list[dict[str, Any]] = [{"type": "text", "text": said}]
        if body["model"] == "tool":
            content = [{"type": "tool_use", "id": "tu_1", "name": body["tools"][0]["name"], "input": {"city": "Paris"}}]
        stop = "tool_use" if body["model"] == "tool" else "end_turn"
        message = {
            "id": "m1",
            "model": f"{body['model']}-20260101",
            "role": "assistant",
            "content": content,
            "stop_reason": stop,
            "usage": usage,
        }
        if not body.get("stream"):
            self._whole(message)
            return
        self._begin_events()
        self._event({"type": "message_start", "message": {**message, "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}})
        block = content[0]
        empty = {**block, "input": {}} if block["type"] == "tool_use" else {"type": "text", "text": ""}
        self._event({"type": "content_block_start", "index": 0, "content_block": empty})
        self._event({"type": "ping"})
        if block["type"] == "tool_use":
            for piece in _halves(json.dumps(block["input"])):
                self._event({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}})
        else:
            for word in _words(said):
                self._event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        self._event({"type": "content_block_stop", "index": 0})
        self._event({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}})
        self._event({"type": "message_stop"})

    def _begin_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _event(self, data: Any) -> None:
        self._write(f"data: {json.dumps(data)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def _whole(self, answer: Any, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _completion(body: dict[str, Any], at: Upstream) -> dict[str, Any]:
    model, said, calls = body["model"], _last(body), None
    if model == "scripted":
        said = at.answer("\n".join(str(message["content"]) for message in body["messages"]))
    if model == "json":
        said = '{"answer": 42}'
    if model == "tool":
        calls = [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": body["tools"][0]["function"]["name"], "arguments": '{"city": "Paris"}'},
            }
        ]
    message = {"role": "assistant", "content": None if calls else said, "tool_calls": calls}
    answer: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "model": f"{model}-2026-01-01" if model != "gpt-4o-mini" else "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
    }
    if model == "liar":
        answer["usage"] = {"prompt_tokens": 0, "completion_tokens": -5, "total_tokens": "many"}
    elif model != "silent":
        answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return answer


def _vectors(body: dict[str, Any]) -> dict[str, Any]:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    rows = [{"index": at, "embedding": [text.lower().count(letter) for letter in ALPHABET]} for at, text in enumerate(texts)]
    return {
        "object": "list",
        "model": "embed-1",
        "data": rows[::-1],
        "usage": {"prompt_tokens": 4 * len(texts), "total_tokens": 4 * len(texts)},
    }


def _last(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]
