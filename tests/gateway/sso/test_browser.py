"""A real browser, which decides by itself which cookie it sends where."""

from __future__ import annotations

import base64
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from lxml import etree

from gateway.sso.test_saml_door import answered
from servers.chromium import chromium

pytestmark = pytest.mark.slow


@pytest.mark.promise("SSO-06")
def test_a_browser_goes_to_its_provider_and_comes_back_signed_in(signing: Any) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{signing.house.url}/sso")
        page.fill("input[name=name]", "acme")
        page.click("button")
        page.wait_for_url(f"{signing.provider}/**")
        page.fill("input[name=sub]", "u-ada")
        page.click("button[type=submit], input[type=submit], button")
        page.wait_for_url(f"{signing.house.url}/api/docs")
        answer = page.goto(f"{signing.house.url}/api/v1/executions")
        assert answer is not None and answer.status in (200, 403), "somebody is signed in"


@pytest.mark.promise("SSO-07")
def test_a_browser_posts_what_its_provider_says_and_our_page_goes_on_by_itself(signing: Any) -> None:
    def provider(route: Any) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        request = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15)).get("ID")
        said = answered(signing, str(request), name="kim", id="_browser")
        fields = f'<input name="SAMLResponse" value="{said}"><input name="RelayState" value="{query["RelayState"][0]}">'
        form = f'<form method="post" action="{signing.house.url}/sso/paper/acs">{fields}</form>'
        route.fulfill(content_type="text/html", body=f"<body>{form}<script>document.forms[0].submit()</script></body>")

    with chromium() as browser:
        page = browser.new_page()
        page.route("https://idp.example/**", provider)
        sent = page.context.request.get(f"{signing.house.url}/sso/paper", max_redirects=0)
        page.goto(sent.headers["location"], wait_until="commit")
        page.wait_for_url(f"{signing.house.url}/api/docs")
        answer = page.goto(f"{signing.house.url}/api/v1/executions")
        assert answer is not None and answer.status in (200, 403), "somebody is signed in"
