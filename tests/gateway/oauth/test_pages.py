"""The consent page in a browser: by keyboard, light and dark, wide and narrow; and a foreign page that would frame it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.conftest import Open
from gateway.oauth.browsing import App, link, registered, tools
from servers.chromium import CONTRAST, ENOUGH

LONG = "A client with a very long name indeed that goes on and on without an end in sight, and further"

pytestmark = [pytest.mark.slow, pytest.mark.promise("OAUTH-05")]


@pytest.fixture
def client(house: Open) -> Iterator[tuple[App, str]]:
    """A client that waits on this machine for its answer, and a page of another site that leads to the gateway or frames it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            where = f"{house.url}{app.asking()}".replace("&", "&amp;")
            page = f'<a id="go" href="{where}">go</a>' if self.path == "/leads" else f'<iframe src="{where}"></iframe>'
            self.wfile.write((page if self.path in ("/leads", "/frames") else "<h1>you may close this</h1>").encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        app = registered(house, f"http://127.0.0.1:{server.server_port}/callback", client_name=LONG)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield app, f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_somebody_is_led_here_signs_in_allows_and_ends_it(browser: Any, house: Open, client: tuple[App, str]) -> None:
    app, elsewhere = client
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{elsewhere}/leads")
    page.click("#go")
    page.get_by_role("heading", name="sign in first").wait_for()
    page.get_by_label("sign-in link, or API key").fill(f"{house.url}/sign-in?code={link(house)}")
    page.get_by_role("button", name="sign in").click()
    page.get_by_role("button", name="allow").wait_for()
    for wanted in ("deny", "allow"):
        while page.evaluate("document.activeElement.textContent") != wanted:
            page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="you may close this").wait_for()
    back = parse_qs(urlsplit(page.url).query)
    given = app.redeem(back["code"][0]).json()
    assert back["iss"] == [house.url] and tools(house, given["access_token"]) == 200
    page.goto(f"{elsewhere}/leads")
    page.click("#go")
    page.get_by_text("you have allowed this before").wait_for()
    page.get_by_role("button", name="deny").click()
    page.get_by_role("heading", name="you may close this").wait_for()
    assert "error=access_denied" in page.url
    page.goto(f"{house.url}/connections")
    ended = page.locator("section", has_text=LONG[:40]).first
    ended.get_by_role("button").click()
    page.wait_for_load_state()
    assert tools(house, given["access_token"]) == 401
    context.close()


def test_no_foreign_page_frames_the_question(browser: Any, client: tuple[App, str]) -> None:
    _, elsewhere = client
    page = browser.new_page()
    page.goto(f"{elsewhere}/frames")
    assert all("act for you" not in frame.content() and "sign in first" not in frame.content() for frame in page.frames)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1100])
def test_the_pages_have_contrast_names_and_room(browser: Any, house: Open, client: tuple[App, str], scheme: str, width: int) -> None:
    app, _ = client
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 760})
    page = context.new_page()
    page.goto(f"{house.url}{app.asking()}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shot(page, f"signing_{scheme}_{width}")
    page.get_by_label("sign-in link, or API key").fill(link(house))
    page.get_by_role("button", name="sign in").click()
    page.get_by_role("button", name="allow").wait_for()
    for selector in ("h1", "p", "dt", "dd", "small.warn", "code", "button[value=allow]", "button[value=deny]", "a"):
        assert page.evaluate(CONTRAST, selector) >= ENOUGH, selector
    sizes = [page.locator(f"button[value={word}]").bounding_box() for word in ("allow", "deny")]
    assert abs(sizes[0]["width"] - sizes[1]["width"]) < 2 and abs(sizes[0]["height"] - sizes[1]["height"]) < 2, "denying is as easy"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut on a small screen"
    assert page.evaluate("document.documentElement.lang") == "en"
    shot(page, f"consent_{scheme}_{width}")
    page.get_by_role("button", name="allow").click()
    page.get_by_role("heading", name="you may close this").wait_for()
    page.goto(f"{house.url}/connections")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shot(page, f"connections_{scheme}_{width}")
    context.close()


def shot(page: Any, name: str) -> None:
    """A picture of the page, for whoever wants to look: OMEGA_PICTURES names the folder."""
    folder = os.environ.get("OMEGA_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
