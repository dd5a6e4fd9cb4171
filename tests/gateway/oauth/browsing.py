"""A person with a browser, and a client that wants to act for them: the authorization-code flow, request by request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from itertools import cycle
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from omega.host.clock import SystemClock
from omega.wire.oauth import challenge_of

REDIRECT = "http://127.0.0.1:3118/callback"
VERIFIER = "v" * 43


@dataclass
class App:
    """A client that has registered at the house."""

    house: Any
    redirect: str = REDIRECT
    registered: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return str(self.house.url)

    @property
    def id(self) -> str:
        return str(self.registered["client_id"])

    def asking(self, **more: str | None) -> str:
        """The address to which it sends a browser; None leaves a parameter out."""
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect,
            "state": "st&te =1",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            "resource": f"{self.url}/mcp",
        }
        return "/oauth/authorize?" + urlencode({name: value for name, value in (given | more).items() if value is not None})

    def redeem(self, code: str, **more: str) -> httpx.Response:
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect, "code_verifier": VERIFIER}
        return self.post("/oauth/token", given | {"client_id": self.id} | more)

    def refresh(self, token: str, **more: str) -> httpx.Response:
        return self.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.id} | more)

    def post(self, path: str, form: dict[str, str]) -> httpx.Response:
        with self.house.client("") as outside:
            return outside.post(path, data=form)


_ADDRESSES = cycle(range(2, 250))


def registered(house: Any, redirect: str = REDIRECT, **more: Any) -> App:
    document = {"client_name": "a client", "redirect_uris": [redirect], "token_endpoint_auth_method": "none", **more}
    # Each from an address of its own: one address registers so many an hour, and all tests share a house.
    outside = httpx.HTTPTransport(local_address=f"127.0.0.{next(_ADDRESSES)}")
    with httpx.Client(base_url=house.url, transport=outside, timeout=30) as anybody:
        made = anybody.post("/oauth/register", json=document)
    assert made.status_code == 201, made.text
    return App(house, redirect, made.json())


@contextmanager
def browser(house: Any, key: str = "") -> Iterator[httpx.Client]:
    """A browser in which the owner has signed in, or whoever has the API key."""
    with house.client("", origin=house.url) as made:
        shown = {"shown": key} if key else {"code": link(house)}
        assert made.post("/sign-in", data=shown).status_code == 303
        yield made


def link(house: Any) -> str:
    with house.client(house.identity.passport("", now_us=SystemClock().now_us())) as owner:
        return str(owner.post("/sign-in/link").json()["path"].rpartition("=")[2])


def ticket(page: httpx.Response) -> str:
    found = re.search(r'name="ticket" value="([^"]*)"', page.text)
    assert found is not None, page.text
    return unescape(found[1])


def decide(browser: httpx.Client, page: httpx.Response, word: str = "allow") -> httpx.Response:
    return browser.post("/oauth/authorize", data={"ticket": ticket(page), "decision": word})


def told(answer: httpx.Response) -> dict[str, str]:
    """What the client is told: the query of where the browser is sent."""
    assert answer.status_code == 303, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def allowed(browser: httpx.Client, app: App, **more: str | None) -> str:
    """The code of a client that was allowed what it asked for."""
    return told(decide(browser, browser.get(app.asking(**more))))["code"]


def tools(house: Any, token: str, path: str = "/mcp") -> int:
    """The status of a list of tools with that token."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    with house.client(token, accept="application/json, text/event-stream") as client:
        return int(client.post(path, json=body).status_code)
