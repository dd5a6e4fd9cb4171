"""Signing in with a real OpenID provider, through every redirection; and what happens when somebody interferes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest

pytestmark = pytest.mark.slow


def at_provider(place: str, sub: str) -> str:
    """What a person does at the provider: says who they are; gives where the browser is sent."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        answer = client.post(place, data={"sub": sub})
        assert answer.status_code in (302, 303), answer.text
        return answer.headers["location"]


def begun(signing: Any, browser: httpx.Client, name: str = "acme") -> str:
    answer = browser.get(f"/sso/{name}", follow_redirects=False)
    assert answer.status_code == 302, answer.text
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/sso" in cookie
    place = str(answer.headers["location"])
    query = parse_qs(urlsplit(place).query)
    assert place.startswith(signing.provider) and query["code_challenge_method"] == ["S256"] and query["nonce"] and query["state"]
    return place


def back(browser: httpx.Client, place: str, **changed: str | None) -> httpx.Response:
    parts = urlsplit(place)
    query = {**dict(parse_qsl(parts.query)), **changed}
    kept = urlencode({name: value for name, value in query.items() if value is not None})
    return browser.get(f"{parts.path}?{kept}")


def who(browser: httpx.Client) -> int:
    """Whether the browser's session counts: what the interface answers it."""
    return browser.post("/api/v1/insights/summary", json={}, headers={"sec-fetch-site": "same-origin"}).status_code


@pytest.mark.promise("SSO-06")
def test_a_person_signs_in_with_their_account_and_is_in_their_groups(signing: Any) -> None:
    with signing.browser() as browser, signing.browser() as again:
        answer = back(browser, at_provider(begun(signing, browser), "u-ada"))
        assert answer.status_code == 200 and 'http-equiv="refresh"' in answer.text, answer.text
        assert any("omega_session=" in each and "SameSite=Strict" in each for each in answer.headers.get_list("set-cookie"))
        found = signing.ask("directory.users", {"filter": {"attribute": "user_name", "value": "ada@example.com"}})["users"][0]
        assert found["display_name"] == "Ada" and [each["name"] for each in found["groups"]] == ["engineers"], "and no owner by a claim"
        assert who(browser) in (200, 403)
        assert back(again, at_provider(begun(signing, again), "u-ada")).status_code == 200
        assert signing.ask("directory.users", {"filter": {"attribute": "user_name", "value": "ada@example.com"}})["total"] == 1, (
            "the same user"
        )
        signing.ask("directory.suspend_user", {"user": found["user"]})
        assert who(browser) == 401 and who(again) == 401, "a session ends with its user"
        refused = back(again, at_provider(begun(signing, again), "u-ada"))
        assert refused.status_code == 403 and "not let in" in refused.text
        signing.ask("directory.resume_user", {"user": found["user"]})
        assert who(browser) == 401, "what was begun before counts no more"
        assert back(again, at_provider(begun(signing, again), "u-ada")).status_code == 200
        assert who(again) in (200, 403)


@pytest.mark.promise("SSO-06")
@pytest.mark.parametrize("sub", ["u-eve", "u-sly", "u-nobody"])
def test_whose_address_does_not_count_is_not_let_in(signing: Any, sub: str) -> None:
    with signing.browser() as browser:
        answer = back(browser, at_provider(begun(signing, browser), sub))
        assert answer.status_code == 403 and "omega_session" not in answer.headers.get("set-cookie", "")


@pytest.mark.promise("SSO-11")
def test_a_name_counts_where_the_provider_vouches_for_it(signing: Any) -> None:
    for name, roles in (("boss@example.com", []), ("chief@example.com", ["admin"]), ("lin", [])):
        signing.ask("directory.create_user", {"user_name": name, "roles": roles})

    def signed(name: str, sub: str) -> tuple[int, list[str]]:
        """The status of a sign-in, and whom it made."""
        before = {each["user_name"] for each in signing.ask("directory.users", {})["users"]}
        with signing.browser() as browser:
            status = back(browser, at_provider(begun(signing, browser, name), sub)).status_code
        return status, sorted({each["user_name"] for each in signing.ask("directory.users", {})["users"]} - before)

    assert signed("linked", "u-mal") == (200, ["mal@example.com"]), "a name that they wrote themselves is not theirs"
    assert signed("linked", "u-boss") == (200, []), "the verified address is"
    assert signed("linked", "u-chief") == (403, []), "nobody is linked to who manages others"
    assert signed("linked", "u-lin") == (403, []), "neither a name nor an address that counts"
    assert signed("trusting", "u-lin") == (200, []), "but where the connection relies on that claim"
    assert signed("narrow", "u-far") == (200, ["far@example.com"]), "a name of another domain does not count"


@pytest.mark.promise("SSO-09")
def test_nobody_signs_in_as_somebody_who_has_keys(signing: Any) -> None:
    wanted = {"name": "k", "secret_sha256": "a" * 64, "principal": "person:keyed@example.com", "roles": ["owner"]}
    signing.ask("tenancy.create_key", wanted)
    with signing.browser() as browser:
        answer = back(browser, at_provider(begun(signing, browser, "linked"), "u-keyed"))
    assert answer.status_code == 403 and "has this name" in answer.text
    found = signing.ask("directory.users", {"filter": {"attribute": "user_name", "value": "keyed@example.com"}})
    assert found["total"] == 0


def test_a_connection_that_makes_nobody_lets_in_who_is_known_alone(signing: Any) -> None:
    with signing.browser() as browser:
        answer = back(browser, at_provider(begun(signing, browser, "closed"), "u-eve"))
        assert answer.status_code == 403 and "nobody of this tenant" in answer.text


@pytest.mark.promise("SSO-08")
def test_an_attempt_ends_where_it_began_and_once(signing: Any) -> None:
    with signing.browser() as browser, signing.browser() as other:
        place = at_provider(begun(signing, browser), "u-ada")
        assert back(other, place).status_code == 403, "no attempt began there"
        begun(signing, other)
        assert back(other, place).status_code == 403, "another one did: somebody was sent a link"
        for changed in ({"state": "x"}, {"state": None}, {"code": None}, {"iss": "https://evil.example"}, {"error": "access_denied"}):
            assert back(browser, begun_anew(signing, browser), **changed).status_code == 403, changed
        begun(signing, browser, "closed")
        assert back(browser, place).status_code == 403, "an attempt by another connection"
    with signing.browser() as browser:
        place = at_provider(begun(signing, browser), "u-ada")
        cookie = browser.cookies["omega_sign_on"]
        assert back(browser, place).status_code == 200
        browser.cookies.set("omega_sign_on", cookie, domain="127.0.0.1", path="/sso")
        assert back(browser, place).status_code == 403, "once"
        browser.cookies.set("omega_sign_on", cookie[:-4] + "AAAA", domain="127.0.0.1", path="/sso")
        assert back(browser, place).status_code == 403, "a cookie that was not sealed here"


def begun_anew(signing: Any, browser: httpx.Client) -> str:
    browser.cookies.clear()
    return at_provider(begun(signing, browser), "u-ada")


def test_a_code_of_another_attempt_is_no_good(signing: Any) -> None:
    with signing.browser() as browser, signing.browser() as thief:
        stolen = parse_qs(urlsplit(at_provider(begun(signing, browser), "u-ada")).query)["code"][0]
        mine = at_provider(begun(signing, thief), "u-eve")
        assert back(thief, mine, code=stolen).status_code == 403, "its nonce is another's"


@pytest.mark.promise("SSO-08")
def test_a_sign_in_is_on_record_without_its_secrets(signing: Any) -> None:
    with signing.browser() as browser:
        place = at_provider(begun(signing, browser), "u-ada")
        assert back(browser, place).status_code == 200
    code = parse_qs(urlsplit(place).query)["code"][0]
    with signing.house.client(signing.house.passport(tenant=signing.tenant)) as client:
        runs = client.get("/api/v1/executions", params={"flow": "sign-on", "limit": 1}).json()
    assert "sso-" in str(runs) and len(code) > 8
    held = b"".join(path.read_bytes() for path in signing.home.rglob("*") if path.is_file())
    assert code.encode() not in held and b"a secret of the client" not in held


def test_pages_ask_for_an_organisation_and_lead_nowhere_else(signing: Any) -> None:
    with signing.browser() as browser:
        page = browser.get("/sso", params={"onward": "https://evil.example"})
        assert page.status_code == 200 and "evil" not in page.text and "frame-ancestors 'none'" in page.headers["content-security-policy"]
        led = browser.get("/sso", params={"name": '"><script>', "onward": "//evil.example"})
        assert "<script>" not in led.text and "evil" not in led.text
        assert browser.get("/sso/unknown").status_code == 404 and browser.post("/sso/acme").status_code == 405
        assert browser.get("/sso/acme/metadata").status_code == 404
