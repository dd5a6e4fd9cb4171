"""Operations tried from the page of the interface: a real `omega up` in Chromium, by keyboard, light, dark and narrow."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.front.test_factors_page import Tab, up
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from servers.chromium import CONTRAST, ENOUGH

__all__ = ["up"]


@pytest.fixture
def tab(browser: Any, up: dict[str, Any]) -> Any:
    made = Tab(browser, up)
    yield made
    assert made.wrong == []
    made.context.close()


def passport(up: dict[str, Any], person: str = "") -> str:
    return Identity.load(Settings.load(up["home"]), SystemEntropy()).passport(person, now_us=SystemClock().now_us())


def answered(tab: Tab, operation: str, text: str) -> str:
    """What the answer of an operation says, once it says `text`."""
    place = tab.page.locator(f"[id='{operation}'] .answer")
    place.get_by_text(text).first.wait_for()
    return str(place.inner_text())


@pytest.mark.slow
@pytest.mark.promise("DOOR-41")
def test_an_operation_is_tried_with_the_session_of_the_browser(tab: Tab, up: dict[str, Any]) -> None:
    tab.sign_in()
    page = tab.page
    form = page.locator("[id='run'] form")
    form.get_by_label("flow, path").fill("pay")
    form.get_by_label("body, JSON").fill('{"to": "ACME <b>&</b>"')
    form.get_by_label("flow, path").focus()
    page.keyboard.press("Enter")
    assert "the body is no JSON" in answered(tab, "run", "no JSON")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA", "whoever is wrong is led there"
    form.get_by_label("body, JSON").fill('{"to": "ACME <b>&</b>", "amount": "1 EUR"}')
    form.get_by_role("button", name="send run").focus()
    page.keyboard.press("Enter")
    said = answered(tab, "run", "202")
    assert "application/json" in said and "omega-execution" in said and " ms" in said
    page.locator("[id='find'] form").get_by_label("limit, query, optional").fill("1")
    page.get_by_role("button", name="send find", exact=True).click()
    found = answered(tab, "find", "200")
    assert '"executions": [' in found and "x-request-id" in found
    tab.picture("docs-tried")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
@pytest.mark.promise("DOOR-41")
def test_what_is_refused_is_shown_with_its_code_and_what_to_do(tab: Tab, up: dict[str, Any]) -> None:
    page = tab.page
    page.goto(f"{up['url']}/api/docs")
    page.get_by_role("button", name="send me", exact=True).click()
    said = answered(tab, "me", "401")
    assert "OMG-T001" in said and "send a passport or an API key" in said
    page.get_by_label("passport or API key").fill(passport(up, "agent:stranger"))
    form = page.locator("[id='approve'] form")
    form.get_by_label("execution, path").fill("exe_nothing")
    form.get_by_role("button", name="send approve").click()
    link = page.locator("[id='approve'] .answer a")
    link.wait_for()
    assert link.inner_text().startswith("OMG-") and link.get_attribute("href") == f"/api/docs/errors#{link.inner_text().lower()}"
    page.get_by_role("button", name="send me", exact=True).click()
    assert "agent:stranger" in answered(tab, "me", "200")
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0, "a key is kept nowhere"
    page.reload()
    assert page.get_by_label("passport or API key").input_value() == ""


@pytest.mark.slow
@pytest.mark.promise("DOOR-41")
def test_the_page_is_readable_in_the_dark_and_complete_without_a_script(tab: Tab, browser: Any, up: dict[str, Any]) -> None:
    page = tab.page
    page.goto(f"{up['url']}/api/docs")
    page.get_by_role("button", name="send me", exact=True).click()
    answered(tab, "me", "401")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for selector in ("#me .try h4", "#run .try label", "#me button", ".whose p", ".answer .told", ".answer td"):
            assert page.evaluate(CONTRAST, selector) >= ENOUGH, (selector, scheme)
    unnamed = "[...document.querySelectorAll('.try input, .try textarea, .whose input')].filter(each => !each.labels.length).length"
    assert page.evaluate(unnamed) == 0, "each field has a name for whoever hears the page"
    still = browser.new_context(java_script_enabled=False)
    plain = still.new_page()
    plain.goto(f"{up['url']}/api/docs")
    assert plain.locator("article").count() > 10 and plain.locator("form:visible").count() == 0
    still.close()
