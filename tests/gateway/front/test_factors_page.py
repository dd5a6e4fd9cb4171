"""Passkeys in a browser: the real pages of a real `omega up`, in Chromium with a virtual key, by keyboard, light, dark and narrow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from servers.chromium import CONTRAST, ENOUGH

PATIENCE_S = 60.0
PICTURES = os.environ.get("OMEGA_PICTURES", "")
"""A folder for pictures of the pages, for a person to look at; none are made without it."""

FLOWS = '''
from omega import Context, WriteFiles, flow


@flow(effect="write", needs="files:write")
async def pay(ctx: Context, order: dict[str, str]) -> list[str]:
    """Pay an order."""
    return await ctx.touch(WriteFiles(files={"paid.txt": order["to"].encode()}))
'''
RULE = """
@id("payments-take-a-key")
@reason("{flow} moves money, so whoever asked for it touches their key")
@approval("webauthn")
forbid (principal, action == Action::"write", resource == Flow::"pay") unless { context.approved.contains("webauthn") };
"""


def omega(home: Path, *words: str) -> Any:
    """What a command prints with --json."""
    command = [sys.executable, "-m", "omega", *words, "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("keys")
    home = folder / "home"
    (folder / "pay.py").write_text(FLOWS)
    (folder / "pay.cedar").write_text(RULE)
    omega(home, "policy", "enact", str(folder / "pay.cedar"))
    command = [sys.executable, "-m", "omega", "up", str(folder / "pay.py"), "--json", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder) as process:
        assert process.stdout is not None
        told: dict[str, Any] = json.loads(process.stdout.readline())
        yield told | {"home": home, "flow": folder / "pay.py"}
        process.kill()


class Tab:
    """One page in one browser, with a key in it; what goes wrong on the page is an error of the test."""

    def __init__(self, browser: Any, up: dict[str, Any], **given: Any) -> None:
        self.context = browser.new_context(viewport={"width": 900, "height": 900}, **given)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if "Content Security" in said.text else None)
        self.home = up["home"]
        self.cdp = self.context.new_cdp_session(self.page)
        self.cdp.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
        self.key = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def sign_in(self) -> str:
        """Come in by a link of `omega mfa page`; gives where the page of keys stands."""
        told = omega(self.home, "mfa", "page")
        self.page.goto(told["sign_in"])
        self.page.get_by_role("button", name="sign in").click()
        self.page.wait_for_url("**/api/docs")
        return str(told["page"])

    def told(self, text: str) -> None:
        """Wait until the page says `text`."""
        self.page.get_by_role("status").get_by_text(text).wait_for()

    def picture(self, name: str) -> None:
        """For a person to look at: light, dark and narrow."""
        if not PICTURES:
            return
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=f"{PICTURES}/{name}-{scheme}.png", full_page=True)
        self.page.set_viewport_size({"width": 380, "height": 800})
        self.page.screenshot(path=f"{PICTURES}/{name}-narrow.png", full_page=True)
        self.page.set_viewport_size({"width": 900, "height": 900})
        self.page.emulate_media(color_scheme="light")


def waiting(up: dict[str, Any], to: str) -> str:
    """A run that waits for a key."""
    passport = Identity.load(Settings.load(up["home"]), SystemEntropy()).passport("", now_us=SystemClock().now_us())
    with httpx.Client(base_url=up["url"], trust_env=False, timeout=PATIENCE_S) as client:
        given = {"to": to, "amount": "1200 EUR"}
        answer = client.post("/api/v1/flows/pay/run", json=given, headers={"authorization": f"Bearer {passport}"})
        return str(answer.headers["omega-execution"])


@pytest.mark.slow
@pytest.mark.promise("MFA-06")
def test_a_person_registers_a_key_and_approves_and_denies_with_it(browser: Any, up: dict[str, Any]) -> None:
    tab = Tab(browser, up)
    page = tab.page
    page.goto(tab.sign_in())
    page.get_by_role("button", name="register a passkey").wait_for()
    tab.picture("keys-none")
    page.get_by_label("name").fill("blue key")
    page.keyboard.press("Enter")
    tab.told("registered: blue key")
    tab.picture("keys-one")
    run = waiting(up, "ACME & <b>sons</b>\u202e")
    told = omega(up["home"], "approve", run)
    assert told["recorded"] is False and told["page"].startswith("http://localhost:")
    page.goto(told["page"].partition("?")[0])
    page.get_by_role("link", name="look at pay").wait_for()
    tab.picture("approvals")
    page.get_by_role("link", name="look at pay").click()
    button = page.get_by_role("button", name="approve with a passkey")
    button.wait_for()
    shown = page.inner_text("main")
    for each in ("payments-take-a-key", "moves money", "ACME & <b>sons</b>\\u{202e}", "1200 EUR", "person:", run):
        assert each in shown, each
    tab.picture("approval")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for selector in ("dt", "dd", "main p", ".choices button", ".choices button.plain", "nav a"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST, selector) >= ENOUGH, (selector, scheme)
    button.focus()
    page.keyboard.press("Enter")
    tab.told("approved: pay")
    page.wait_for_function(f"fetch('/api/v1/executions/{run}/outcome?wait=20').then(a => a.json()).then(o => o.status === 'done')")
    refused = waiting(up, "nobody")
    page.goto(omega(up["home"], "mfa", "page", refused)["page"])
    page.get_by_role("button", name="deny with a passkey").click()
    tab.told("denied, and the run ends: pay")
    assert omega(up["home"], "show", refused)["status"] == "cancelled"
    page.goto(told["page"].partition("approvals")[0] + "passkeys")
    page.get_by_role("button", name="remove blue key").click()
    tab.told("removed: blue key")
    assert omega(up["home"], "mfa", "list")["passkeys"] == []
    tab.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": tab.key, "isUserVerified": False})
    page.get_by_label("name").fill("unsure key")
    page.keyboard.press("Enter")
    tab.told("the key was not touched, or not in time")
    tab.picture("keys-refused")
    page.goto(f"{up['url']}/passkeys")
    page.get_by_role("heading", name="sign in").wait_for()
    tab.picture("keys-stranger")
    assert tab.wrong == []
    tab.context.close()
