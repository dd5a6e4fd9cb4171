"""A browser signs in: the real page of a real process, in Chromium, by keyboard, light and dark; and `omega sign-in` for another link."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Caller, Identity
from omega.host.settings import Settings
from servers.chromium import CONTRAST, ENOUGH

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A process that serves: what it told when it was up, and its `home`."""
    home = tmp_path_factory.mktemp("signing") / "home"
    command = [sys.executable, "-m", "omega", "up", "--json", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        told: dict[str, Any] = json.loads(process.stdout.readline())
        yield told | {"home": home}
        process.kill()


def link(up: dict[str, Any]) -> str:
    """Another link, as `omega sign-in` prints it."""
    command = [sys.executable, "-m", "omega", "sign-in", "--home", str(up["home"])]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.strip()
    assert found.startswith(f"{up['url']}/sign-in?code=")
    return found


@pytest.mark.slow
@pytest.mark.promise("START-02")
def test_a_browser_signs_in_by_keyboard_and_calls_as_the_owner(browser: Any, up: dict[str, Any]) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(up["sign_in"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "sign in"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{up['url']}/api/docs")
    page.goto(f"{up['url']}/api/v1/me")
    assert json.loads(page.inner_text("pre"))["principal"].startswith("person:")
    page.goto(f"{up['url']}/api/v1/executions")
    assert json.loads(page.inner_text("pre"))["executions"] == []
    again = context.new_page()
    again.goto(up["sign_in"])
    again.get_by_role("button", name="sign in").click()
    again.get_by_role("heading", name="this link is used up or too old").wait_for()
    assert "omega sign-in" in again.inner_text("main")
    page.goto(f"{up['url']}/sign-out")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "sign out"
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="signed out").wait_for()
    assert page.goto(f"{up['url']}/api/v1/me").status == 401 and context.cookies() == []
    context.close()


@pytest.mark.slow
@pytest.mark.promise("START-02")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_have_contrast_names_and_room(browser: Any, up: dict[str, Any], scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 320, "height": 560})
    page = context.new_page()
    page.goto(link(up))
    for selector in ("h1", "p", "button"):
        assert page.evaluate(CONTRAST, selector) >= ENOUGH, selector
    assert page.title() == "sign in to omega"
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut on a small screen"
    page.goto(f"{up['url']}/sign-out")
    for selector in ("h1", "p", "button"):
        assert page.evaluate(CONTRAST, selector) >= ENOUGH, selector
    assert page.title() == "sign out of omega"
    page.goto(f"{up['url']}/sign-in")
    assert page.inner_text("h1") == "sign in by a link"
    assert page.evaluate(CONTRAST, "code") >= ENOUGH
    context.close()


@pytest.mark.slow
@pytest.mark.promise("DOOR-12")
def test_another_link_is_for_the_owner_alone(up: dict[str, Any]) -> None:
    identity = Identity.load(Settings.load(up["home"]), SystemEntropy())
    with httpx.Client(base_url=up["url"], trust_env=False, timeout=PATIENCE_S) as client:
        assert client.post("/sign-in/link").status_code == 401
        for caller in ("agent:claude-code", "person:eve", Caller("person:eve", groups=("owner",))):
            passport = identity.passport(caller, now_us=SystemClock().now_us())
            refused = client.post("/sign-in/link", headers={"authorization": f"Bearer {passport}"})
            assert (refused.status_code, refused.json()["code"]) == (403, "OMG-W001"), caller


@pytest.mark.slow
def test_without_a_gateway_there_is_no_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "omega", "sign-in", "--home", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (said.returncode, said.stderr[:8]) == (2, "OMG-X001")
    assert "omega up" in said.stderr
