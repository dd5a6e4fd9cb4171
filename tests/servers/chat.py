"""A model provider on this machine: speaks OpenAI's chat completions and Anthropic's messages, and misbehaves on request.

The model's name says what to do: `echo` answers with what it was asked; see `_ANSWERS` and `Handler.do_POST` for the others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

_ANSWERS: dict[str, tuple[int, Any]] = {
    "broken": (500, {"error": {"message": "the key sk-test-123456 is wrong, prompt was PRIVATE", "type": "server_error"}}),
    "echoes-key": (401, {"error": {"message": "no", "code": "sk-test-123456"}}),
    "no-json": (200, None),
    "no-answer": (200, {"choices": []}),
    "empty": (200, {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}),
    "cut": (200, {"choices": [{"message": {"content": "half of i"}, "finish_reason": "length"}]}),
    "moved": (307, {}),
}


class Handler(BaseHTTPRequestHandler):
    """Answers one request; `seen` collects path, headers and body of each."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, dict[str, str], dict[str, Any]]]] = []
    released: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        model = body["model"]
        if model == "hangs":
            self.released.wait(30)
        if model == "floods":
            self._send(200, b"x" * (9 << 20))
            return
        status, answer = _ANSWERS.get(model, (200, None))
        if model in _ANSWERS:
            self._send(status, b"not json" if answer is None else json.dumps(answer).encode())
            return
        said = "/".join(message["content"] for message in body["messages"])
        if self.path.endswith("/v1/messages"):
            answer = {
                "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": f"{body['system']}|{said}"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": 7},
            }
        else:
            answer = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": {"total_tokens": 9}}
        self._send(200, json.dumps(answer).encode())

    def _send(self, status: int, data: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 307:
                self.send_header("Location", "http://127.0.0.1:9/stolen")
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[str]:
    """A provider for as long as the context lasts; gives its base URL."""
    Handler.seen.clear()
    Handler.released.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        Handler.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
