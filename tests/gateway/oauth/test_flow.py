"""The authorization-code flow as it should go, and what each of its attackers gets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.conftest import Open
from gateway.oauth.browsing import REDIRECT, VERIFIER, App, allowed, browser, decide, registered, ticket, told, tools
from omega.wire.oauth import challenge_of


@pytest.fixture(scope="module")
def app(house: Open) -> App:
    return registered(house)


@pytest.fixture(scope="module")
def person(house: Open) -> Iterator[httpx.Client]:
    with browser(house) as made:
        yield made


def claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


@pytest.mark.promise("OAUTH-01")
def test_a_client_is_allowed_and_acts_for_the_person_with_less_rights(house: Open, app: App, person: httpx.Client) -> None:
    page = person.get(app.asking())
    assert "may a client act for you?" in page.text and "http://127.0.0.1:3118" in page.text and "nobody vouches" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"] and page.headers["x-frame-options"] == "DENY"
    assert "form-action 'self' http://127.0.0.1:3118;" in page.headers["content-security-policy"]
    back = told(decide(person, page))
    assert (back["state"], back["iss"]) == ("st&te =1", house.url)
    given = app.redeem(back["code"]).json()
    assert given["token_type"] == "Bearer" and 0 < given["expires_in"] <= 900
    found = claims(given["access_token"])
    assert found["sub"].startswith("person:") and found["act"] == {"sub": f"agent:{app.id}"}
    assert "*" not in found["caps"] and sorted(given["scope"].split()) == found["caps"]
    assert tools(house, given["access_token"]) == 200
    again = app.refresh(given["refresh_token"]).json()
    assert tools(house, again["access_token"]) == 200 and again["refresh_token"] != given["refresh_token"]


@pytest.mark.slow
@pytest.mark.promise("OAUTH-01")
def test_denying_is_told_to_the_client_and_gives_nothing(app: App, person: httpx.Client) -> None:
    back = told(decide(person, person.get(app.asking()), "deny"))
    assert back["error"] == "access_denied" and "code" not in back and back["state"] == "st&te =1"


@pytest.mark.promise("OAUTH-02")
def test_a_code_is_good_once_and_what_it_gave_ends_when_it_comes_again(house: Open, app: App, person: httpx.Client) -> None:
    code = allowed(person, app)
    given = app.redeem(code).json()
    assert tools(house, given["access_token"]) == 200
    again = app.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert tools(house, given["access_token"]) == 401
    assert app.refresh(given["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-02")
def test_a_refresh_token_that_comes_twice_ends_the_grant(house: Open, app: App, person: httpx.Client) -> None:
    first = app.redeem(allowed(person, app)).json()
    second = app.refresh(first["refresh_token"]).json()
    guessed = first["refresh_token"][:-4] + "AAAA"
    assert app.refresh(guessed).json()["error"] == "invalid_grant" and tools(house, second["access_token"]) == 200, "a guess ends nothing"
    assert app.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert tools(house, second["access_token"]) == 401
    assert app.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-02")
def test_a_code_is_bound_to_client_address_and_verifier(house: Open, app: App, person: httpx.Client) -> None:
    other = registered(house)
    for change in ({"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": f"{REDIRECT}x"}, {"client_id": other.id}):
        refused = app.redeem(allowed(person, app), **change)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant"), change
    code = allowed(person, app)
    plain = {"code_verifier": challenge_of(VERIFIER)}
    assert app.redeem(code, **plain).json()["error"] == "invalid_grant", "the challenge itself is no verifier"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-02")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain", "code_challenge": VERIFIER}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
        ({"resource": "http://127.0.0.1:1/mcp"}, "invalid_target"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
def test_what_is_no_request_is_told_to_the_client(app: App, person: httpx.Client, change: dict[str, str | None], error: str) -> None:
    back = told(person.get(app.asking(**change)))
    assert (back["error"], back["state"]) == (error, "st&te =1") and "code" not in back and back["iss"]


@pytest.mark.slow
@pytest.mark.promise("OAUTH-02")
def test_without_a_state_a_code_still_hangs_on_the_verifier_of_who_began(app: App, person: httpx.Client) -> None:
    back = told(decide(person, person.get(app.asking(state=None))))
    assert "state" not in back and back["iss"]
    injected = app.redeem(back["code"], code_verifier="x" * 43)
    assert injected.json()["error"] == "invalid_grant", "a code that was put into another session is worth nothing there"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-02")
def test_a_code_of_one_issuer_is_none_of_another(house: Open, app: App, person: httpx.Client) -> None:
    code = allowed(person, app)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, "client_id": app.id}
    with house.client("", host=house.url.removeprefix("http://").replace("127.0.0.1", "localhost")) as outside:
        refused = outside.post("/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.slow
@pytest.mark.promise("OAUTH-03")
@pytest.mark.parametrize(
    "redirect",
    [
        "",
        "http://127.0.0.1:3118/callback/",
        "http://127.0.0.1:3118/callback?x=1",
        "http://127.0.0.1:3118/callback#x",
        "http://127.0.0.1:3118/x/../callback",
        "http://127.0.0.1:3118/x/%2e%2e/callback",
        "http://127.0.0.1:3118//callback",
        "http://127.0.0.1:3118/Callback",
        "http://127.0.0.1:3118@evil.example/callback",
        "http://evil.example/callback",
        "https://127.0.0.1:3118/callback",
        "http://localhost:3118/callback",
        "http://127.0.0.1.evil.example:3118/callback",
        "http://127.0.0.1:3118\\@evil.example/callback",
        "//evil.example/callback",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_an_address_that_was_not_registered(app: App, person: httpx.Client, redirect: str) -> None:
    answer = person.get(app.asking(redirect_uri=redirect))
    assert answer.status_code == 400 and "location" not in answer.headers and "OMG-G012" in answer.text


@pytest.mark.slow
@pytest.mark.promise("OAUTH-03")
def test_on_the_persons_own_machine_the_port_is_the_clients(app: App, person: httpx.Client) -> None:
    other = "http://127.0.0.1:50999/callback"
    answer = decide(person, person.get(app.asking(redirect_uri=other)))
    assert answer.headers["location"].startswith(f"{other}?code=")
    assert app.redeem(told(answer)["code"]).json()["error"] == "invalid_grant", "and the code hangs on that very address"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-03")
@pytest.mark.parametrize(
    "redirect",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://evil.example/x",
        "https://a;script-src/x",
        "https://u@h/x",
        "file:///x",
        "https:/x",
    ],
)
def test_no_client_registers_an_address_that_is_none(house: Open, redirect: str) -> None:
    with house.client("") as outside:
        refused = outside.post("/oauth/register", json={"redirect_uris": [redirect], "token_endpoint_auth_method": "none"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.slow
@pytest.mark.promise("OAUTH-03")
def test_an_unknown_client_sends_nobody_anywhere(app: App, person: httpx.Client) -> None:
    for client in ("", "cli_" + "0" * 32, "https://127.0.0.1/client.json", "https://10.0.0.1/client.json", "https://[::1]/client.json"):
        answer = person.get(app.asking(client_id=client))
        assert answer.status_code in (400, 403) and "location" not in answer.headers, client
    twice = person.get(app.asking() + "&client_id=x")
    assert twice.status_code == 400 and "location" not in twice.headers


@pytest.mark.promise("OAUTH-04")
def test_a_token_is_good_at_its_resource_alone(house: Open, app: App, person: httpx.Client) -> None:
    one = app.redeem(allowed(person, app, resource=f"{house.url}/mcp/one")).json()["access_token"]
    whole = app.redeem(allowed(person, app)).json()["access_token"]
    assert tools(house, one, "/mcp/two") == 401 and tools(house, one, "/mcp") == 401
    assert tools(house, one, "/mcp/one") != 401
    assert tools(house, whole, "/mcp") == 200 and tools(house, whole, "/mcp/one") == 401
    with house.client(whole) as client:
        assert client.get("/api/v1/me").status_code == 401
        assert client.post("/sign-in/link").status_code == 401
        narrowed = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": whole,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        less = client.post("/oauth/token", data=narrowed, headers={"authorization": ""}).json()["access_token"]
    with house.client(less) as client:
        assert client.get("/api/v1/me").status_code == 401, "what is made from it is bound to the same place"
    refused = app.redeem(allowed(person, app), resource=f"{house.url}/mcp/one")
    assert refused.json()["error"] == "invalid_target"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-04")
def test_a_refusal_at_a_virtual_server_leads_to_its_own_metadata(house: Open) -> None:
    with house.client("") as outside:
        refused = outside.post("/mcp/one", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        where = refused.headers["www-authenticate"].partition('resource_metadata="')[2].rstrip('"')
        found = outside.get(where).json()
        assert found["resource"] == f"{house.url}/mcp/one"
        server = outside.get(f"{found['authorization_servers'][0]}/.well-known/oauth-authorization-server").json()
    assert server["issuer"] == house.url and server["code_challenge_methods_supported"] == ["S256"]
    assert server["authorization_response_iss_parameter_supported"] is True and server["client_id_metadata_document_supported"] is True


@pytest.mark.slow
@pytest.mark.promise("OAUTH-05")
def test_a_page_is_for_the_person_it_was_shown_to(house: Open, app: App, person: httpx.Client) -> None:
    page = person.get(app.asking())
    with browser(house) as other:
        fixed = decide(other, page)
        assert fixed.status_code == 401 and "location" not in fixed.headers, "a ticket of another session allows nothing"
    with house.client("") as outside:
        cookie = {"cookie": f"omega_session={person.cookies['omega_session']}"}
        foreign = outside.post("/oauth/authorize", data={"ticket": ticket(page), "decision": "allow"}, headers=cookie)
        assert foreign.status_code == 401, "it says nothing of where it came from"
        evil = cookie | {"origin": "https://evil.example"}
        assert outside.post("/oauth/authorize", data={"ticket": ticket(page), "decision": "allow"}, headers=evil).status_code == 403
    assert person.post("/oauth/authorize", data={"ticket": "x", "decision": "allow"}).status_code == 401
    assert person.post("/oauth/authorize", data={"ticket": ticket(page), "decision": ""}).status_code == 400


@pytest.mark.slow
@pytest.mark.promise("OAUTH-05")
def test_who_has_not_signed_in_does_so_first_and_comes_back(house: Open, app: App) -> None:
    from gateway.oauth.browsing import link

    with house.client("", origin=house.url) as stranger:
        page = stranger.get(app.asking())
        assert "sign in first" in page.text and app.id in page.text and "a client" not in page.text
        again = stranger.get(app.asking(), headers={"sec-fetch-site": "cross-site"})
        assert 'http-equiv="refresh"' in again.text
        shown = {"shown": f"{house.url}/sign-in?code={link(house)}", "onward": app.asking()}
        assert stranger.post("/sign-in", data=shown).headers["location"] == app.asking()
        for evil in ("https://evil.example", "//evil.example", "/\\evil.example", "/oauth/authorize", "/oauth/authorize?\r\nx", "/mcp"):
            sent = stranger.post("/sign-in", data={"shown": link(house), "onward": evil})
            assert sent.headers["location"] == "/api/docs", evil
        assert stranger.post("/sign-in", data={"shown": "wrong"}).status_code == 401


@pytest.mark.slow
@pytest.mark.promise("OAUTH-05")
def test_only_a_browser_of_a_person_allows_anything(house: Open, app: App) -> None:
    with house.client() as owner:
        assert "sign in first" in owner.get(app.asking()).text, "a passport is no person who looks at a page"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-06")
def test_what_was_allowed_is_listed_and_ended(house: Open, person: httpx.Client) -> None:
    app = registered(house, client_name="Lister \u202e<b>")
    given = app.redeem(allowed(person, app)).json()
    page = person.get(app.asking())
    assert "you have allowed this before" in page.text
    mine = [each for each in person.get("/oauth/grants").json()["grants"] if each["client"] == app.id]
    assert len(mine) == 1 and mine[0]["client_name"] == "Lister <b>"
    assert "Lister &lt;b&gt;" in person.get("/connections").text
    with house.client(house.passport("person:eve")) as eve:
        assert eve.get("/oauth/grants").json() == {"grants": []}
        assert eve.delete(f"/oauth/grants/{mine[0]['grant']}").status_code == 404
    assert person.post("/connections", data={"grant": mine[0]["grant"]}).status_code == 303
    assert tools(house, given["access_token"]) == 401
    assert app.refresh(given["refresh_token"]).json()["error"] == "invalid_grant"
    flows = {line["flow"] for line in person.get("/api/v1/executions?limit=100").json()["executions"]}
    assert {"allow_client", "withdraw_client"} <= flows, "on record"


@pytest.mark.slow
@pytest.mark.promise("OAUTH-06")
def test_a_client_gives_its_token_back(house: Open, app: App, person: httpx.Client) -> None:
    given = app.redeem(allowed(person, app)).json()
    other = registered(house)
    assert other.post("/oauth/revoke", {"token": given["refresh_token"], "client_id": other.id}).status_code == 200
    assert tools(house, given["access_token"]) == 200, "it is another client's"
    assert app.post("/oauth/revoke", {"token": given["refresh_token"], "client_id": app.id}).status_code == 200
    assert tools(house, given["access_token"]) == 401


@pytest.mark.slow
def test_rights_that_nobody_holds_or_everything_are_not_given(app: App, person: httpx.Client) -> None:
    assert person.get(app.asking(scope="*")).status_code == 400
    given = app.redeem(allowed(person, app, scope="tools:call offline_access")).json()
    assert given["scope"] == "tools:call"
    wider = app.refresh(given["refresh_token"], scope="tools:call files:read").json()
    assert wider["error"] == "invalid_scope"


@pytest.mark.slow
def test_a_client_with_a_secret_shows_it(house: Open, person: httpx.Client) -> None:
    app = registered(house, token_endpoint_auth_method="client_secret_basic")
    secret = app.registered["client_secret"]
    code = allowed(person, app)
    assert app.redeem(code).status_code == 401 and app.redeem(code, client_secret="x" * 43).status_code == 401
    assert app.redeem(code, client_secret=secret).status_code == 200, "a refusal used nothing up"
