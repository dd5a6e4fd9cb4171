"""Signing in with a SAML provider over a real socket: the form of a foreign page, the form of our own, and a response that comes twice."""

from __future__ import annotations

import base64
import time
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from lxml import etree

from adapters.saml.idp import Response, encoded, sign
from gateway.sso.conftest import form_of

pytestmark = pytest.mark.slow
IDP = "https://idp.example"


def begun(browser: httpx.Client, name: str = "paper") -> tuple[str, str]:
    """The id of the request, and what the provider is to send along."""
    answer = browser.get(f"/sso/{name}", follow_redirects=False)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    root = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15))
    return str(root.get("ID")), query["RelayState"][0]


def answered(signing: Any, request: str, **said: Any) -> str:
    side = f"{signing.house.url}/sso/paper"
    made = Response(request=request, recipient=f"{side}/acs", audience=f"{side}/metadata", now=time.time(), **said)
    return encoded(sign(made.document()))


def posted(browser: httpx.Client, form: dict[str, str]) -> httpx.Response:
    """As browsers do it: the provider's page posts without our cookie, then our page posts with it."""
    kept = httpx.Cookies(browser.cookies)
    browser.cookies.clear()
    first = browser.post("/sso/paper/acs", data=form, headers={"origin": IDP})
    browser.cookies.update(kept)
    if first.status_code != 200:
        return first
    action, fields = form_of(first.text)
    assert action == "/sso/paper/acs" and "script-src 'sha256-" in first.headers["content-security-policy"]
    origin = {"origin": str(browser.base_url).rstrip("/")}
    return browser.post(action, data=fields, headers=origin)


@pytest.mark.promise("SSO-07")
def test_a_person_signs_in_with_an_assertion_once(signing: Any) -> None:
    with signing.browser() as browser:
        request, relay = begun(browser)
        form = {"SAMLResponse": answered(signing, request, name="pat", id="_once"), "RelayState": relay}
        held = browser.cookies["omega_sign_on"]
        answer = posted(browser, form)
        assert answer.status_code == 200 and any("omega_session=" in each for each in answer.headers.get_list("set-cookie")), answer.text
        found = signing.ask("directory.users", {"filter": {"attribute": "user_name", "value": "pat"}})["users"][0]
        assert found["roles"] == ["viewer"] and [each["name"] for each in found["groups"]] == ["engineers"]
        browser.cookies.clear()
        browser.cookies.set("omega_sign_on", held, domain="127.0.0.1", path="/sso")
        assert posted(browser, form).status_code == 403, "an attempt is ended once"
        request, relay = begun(browser)
        again = {"SAMLResponse": answered(signing, request, name="pat", id="_once"), "RelayState": relay}
        refused = posted(browser, again)
        assert refused.status_code == 403 and "used before" in refused.text


@pytest.mark.promise("SSO-08")
def test_a_response_is_taken_in_the_browser_that_asked_for_it_alone(signing: Any) -> None:
    with signing.browser() as browser, signing.browser() as victim:
        request, relay = begun(browser)
        form = {"SAMLResponse": answered(signing, request, id="_b1"), "RelayState": relay}
        assert posted(victim, form).status_code == 403, "nobody ends up as somebody else by a form that they were sent"
        begun(victim)
        assert posted(victim, form).status_code == 403
        other, _ = begun(browser)
        assert posted(browser, form | {"RelayState": "x"}).status_code == 403
        twice = {"SAMLResponse": answered(signing, request, id="_b2"), "RelayState": relay}
        assert other != request and posted(browser, twice).status_code == 403, "in answer to an earlier request"
        assert browser.post("/sso/paper/back", headers={"origin": IDP}).status_code == 403, "only that path takes forms of others"
        assert browser.post("/sso/paper/acs", content=b"x" * (2 << 20), headers={"origin": IDP}).status_code == 413
        assert browser.get("/sso/paper/metadata").headers["content-type"] == "application/samlmetadata+xml"
