"""A tool server that names somebody of its own as who gives tokens."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from omega.adapters.mcp.obtaining import About, Obtaining
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web
from omega.kernel.errors import InputError, UpstreamError

SECRET = "agreed with the real one alone"
HERE = "http://127.0.0.1:1/callback"


class _Server(BaseHTTPRequestHandler):
    """A tool server, and who gives its tokens: it takes whatever is sent to it."""

    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        base = f"http://127.0.0.1:{self.server.server_port}"
        if "oauth-protected-resource" in self.path:
            self._say({"resource": f"{base}/mcp", "authorization_servers": [base]})
        else:
            places = {"authorization_endpoint": f"{base}/page", "token_endpoint": f"{base}/token"}
            self._say({"issuer": base, "code_challenge_methods_supported": ["S256"], **places})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.came.append(f"{self.headers.get('authorization', '')} {body}")  # type: ignore[attr-defined]
        self._say({"access_token": "t-1", "token_type": "bearer"})

    def _say(self, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def server() -> Iterator[Any]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    made.came = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


async def obtained(server: Any, issuer: str, sent: list[str]) -> str:
    """The token that is held once the server has asked for one; `sent` are the pages that a person was sent to."""

    async def consent(where: str) -> str:
        sent.append(where)
        state = where.partition("state=")[2].partition("&")[0]
        return f"{HERE}?code=c-1&state={state}"

    web = Web(networks(["127.0.0.0/8"]))
    try:
        about = About(redirect=HERE, id="client-1", secret=SECRET, issuer=issuer)
        base = f"http://127.0.0.1:{server.server_address[1]}"
        obtaining = Obtaining("far", f"{base}/mcp", web, about, consent)
        await obtaining.answer(401, "Bearer", 0)
        return obtaining.held.access
    finally:
        await web.close()


def test_a_client_secret_goes_to_the_issuer_that_it_was_agreed_with_alone(server: Any) -> None:
    sent: list[str] = []
    base = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(UpstreamError, match="was agreed with"):
        asyncio.run(obtained(server, "https://login.example", sent))
    assert sent == [] and server.came == [], "nobody is asked, and nothing is shown"
    assert asyncio.run(obtained(server, base, sent)) == "t-1"
    assert len(sent) == 1 and len(server.came) == 1


def test_a_client_secret_names_whose_it_is() -> None:
    with pytest.raises(InputError) as caught:
        About(redirect=HERE, id="client-1", secret=SECRET)
    assert caught.value.code == "OMG-I001" and "issuer" in caught.value.cause
