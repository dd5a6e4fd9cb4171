"""SCIM over a real socket: what providers really send, and what nobody is let do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def patch(client: httpx.Client, path: str, *operations: dict[str, Any], **headers: str) -> httpx.Response:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}
    return client.patch(path, json=body, headers=headers)


def test_the_forms_that_entra_and_okta_send(scim: httpx.Client, make: Any) -> None:
    extension = {ENTERPRISE: {"department": "R"}, "title": "Dr", "password": "not kept anywhere"}
    ada = make("ada@example.com", active=True, emails=[{"value": "ada@example.com", "type": "work", "primary": True}], **extension)
    place = f"Users/{ada['id']}"
    # Entra ID: an operation's name with a capital, truths as texts, paths with filters, names of extensions
    answer = patch(
        scim,
        place,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "a.l@example.com"},
        {"op": "Add", "path": "name.familyName", "value": "Lovelace"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "S"},
        {"op": "Replace", "path": "active", "value": "False"},
    )
    found = answer.json()
    assert answer.status_code == 200 and found["active"] is False and found["name"] == {"familyName": "Lovelace"}
    assert [each["value"] for each in found["emails"]] == ["a.l@example.com"] and ENTERPRISE not in found
    # Okta: no path, an object of names
    found = patch(scim, place, {"op": "replace", "value": {"active": True, "name.givenName": "Ada"}}).json()
    assert found["active"] is True and "password" not in found
    assert patch(scim, place, {"op": "replace", "path": "id", "value": "usr_1"}).json()["scimType"] == "mutability"
    assert patch(scim, place, {"op": "remove", "path": "active"}).status_code == 400
    assert patch(scim, place, {"op": "move", "path": "active"}).json()["scimType"] == "invalidSyntax"
    suspended = patch(scim, place, {"op": "replace", "path": "active", "value": False})
    kept = scim.put(place, json={"schemas": [USER], "userName": "ada@example.com"}).json()
    assert suspended.status_code == 200 and kept["active"] is False, "who is not spoken of is not let in again"


def test_groups_gain_and_lose_members_in_every_way(scim: httpx.Client, make: Any) -> None:
    ada, bob = make("ada"), make("bob")
    group = scim.post("Groups", json={"displayName": "Crew", "externalId": "g1", "members": [{"value": ada["id"]}]}).json()
    place = f"Groups/{group['id']}"

    def members(answer: httpx.Response) -> set[str]:
        assert answer.status_code == 200, answer.text
        return {each["value"] for each in answer.json().get("members", [])}

    assert members(patch(scim, place, {"op": "Add", "path": "members", "value": [{"value": bob["id"]}]})) == {ada["id"], bob["id"]}
    assert members(patch(scim, place, {"op": "remove", "path": f'members[value eq "{ada["id"]}"]'})) == {bob["id"]}
    assert members(patch(scim, place, {"op": "replace", "path": "members", "value": [{"value": ada["id"]}]})) == {ada["id"]}
    assert members(patch(scim, place, {"op": "Remove", "path": "members", "value": [{"value": ada["id"]}]})) == set()
    assert scim.get(f"Users/{bob['id']}").json().get("groups") is None
    listed = scim.get("Groups", params={"filter": 'displayName eq "crew"', "excludedAttributes": "members"}).json()
    assert listed["totalResults"] == 1 and "members" not in listed["Resources"][0]
    assert patch(scim, place, {"op": "add", "path": "members", "value": [{"value": "usr_" + "0" * 32}]}).status_code == 404
    assert scim.delete(place).status_code == 204 and scim.get(place).status_code == 404


def test_lists_are_filtered_and_paged_and_filters_are_read_to_the_end(scim: httpx.Client, make: Any) -> None:
    for name in ("f-ada@x.org", "f-bob@x.org", "f-cyd@y.org"):
        make(name, displayName=name.title(), active="cyd" not in name, externalId=f"E{name}")

    def names(text: str, **more: Any) -> list[str]:
        answer = scim.get("Users", params={"filter": text, **more})
        assert answer.status_code == 200, answer.text
        return [each["userName"][2:5] for each in answer.json()["Resources"]]

    assert names('userName sw "F-" and (emails.value pr or active eq true)') == ["ada", "bob"]
    assert names('userName sw "f-" and not (userName co "@x.")') == ["cyd"]
    assert names('externalId eq "Ef-bob@x.org"') == ["bob"]
    assert names('userName sw "f-"', startIndex=2, count=1) == ["bob"]
    assert names(f'{USER}:userName eq "f-ada@x.org" or userName eq "F-CYD@y.org"') == ["ada", "cyd"]
    assert names('userName eq "x\\" or userName pr or userName eq \\""') == []
    wrong = (
        "userName",
        "userName eq",
        'userName gt "a"',
        "secret eq 1",
        'userName eq "a" and',
        "(" * 9,
        'userName eq "a" ]',
        "active eq maybe",
    )
    for text in (*wrong, "(" * 99, "active pr"):
        answer = scim.get("Users", params={"filter": text})
        assert answer.status_code == 400 and answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"], text


def test_versions_conflicts_and_unreadable_bodies_are_told_in_scims_words(scim: httpx.Client, make: Any) -> None:
    ada = make("v-ada")
    place, tag = f"Users/{ada['id']}", ada["meta"]["version"]
    assert scim.get(place, headers={"if-none-match": tag}).status_code == 304
    assert scim.post("Users", json={"userName": "V-ADA"}).json()["scimType"] == "uniqueness"
    changed = patch(scim, place, {"op": "replace", "path": "displayName", "value": "A"}, **{"if-match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag
    stale = patch(scim, place, {"op": "replace", "path": "displayName", "value": "B"}, **{"if-match": tag})
    assert stale.status_code == 412 and scim.delete(place, headers={"if-match": tag}).status_code == 412
    assert scim.post("Users", json=[1]).json()["scimType"] == "invalidSyntax"
    assert scim.post("Users", content=b"{", headers={"content-type": "application/scim+json"}).status_code == 400
    assert scim.post("Users", content=b'"' + b"x" * (1 << 20) + b'"').status_code == 413
    assert scim.post("Users", json={"userName": "a b"}).status_code == 400
    assert scim.get("Users/nobody").status_code == 404 and scim.get("Bulk").status_code == 404 and scim.put("Users").status_code == 405


@pytest.mark.promise("SSO-05")
def test_a_key_reaches_its_own_directory_and_nothing_else(provisioned: Any, keys: dict[str, str], scim: httpx.Client, make: Any) -> None:
    ada = make("t-ada")
    with provisioned.client(keys["other"]) as other:
        assert other.get(f"Users/{ada['id']}").status_code == 404
        assert other.delete(f"Users/{ada['id']}").status_code == 404
        assert other.get("Users", params={"filter": 'userName eq "t-ada"'}).json()["totalResults"] == 0
    with provisioned.client(keys["reader"]) as reader:
        assert reader.get(f"Users/{ada['id']}").status_code == 200
        assert reader.delete(f"Users/{ada['id']}").status_code == 403
    with provisioned.client(keys["nobody"]) as nobody:
        assert nobody.get("Users").status_code == 403
    with provisioned.client("omk_no") as stranger:
        refused = stranger.get("Users")
        assert refused.status_code == 401 and refused.json()["status"] == "401" and "www-authenticate" in refused.headers
    with provisioned.house.client(keys["scim"]) as elsewhere:
        assert elsewhere.post("/api/v1/tenancy/keys", json={}).status_code == 403


def test_whoever_is_made_inactive_calls_no_more(provisioned: Any, keys: dict[str, str], tenants: list[str], scim: httpx.Client) -> None:
    with provisioned.house.client(keys["person"]) as gil:
        assert gil.post("/api/v1/tenancy/members", json={}).status_code == 200
        taken = scim.post("Users", json={"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "gil@example.com"})
        assert taken.status_code == 409, "whoever has a key is made a user by an owner alone"
        assert gil.post("/api/v1/tenancy/members", json={}).status_code == 200, "and does what they did"
        with provisioned.house.client(provisioned.house.passport(tenant=tenants[0])) as owner:
            made = owner.post("/api/v1/directory/create_user", json={"user_name": "gil@example.com"})
            user = {"id": made.json()["user"]}
        assert gil.post("/api/v1/tenancy/members", json={}).status_code == 403, "a user's key does what the user may"
        patch(scim, f"Users/{user['id']}", {"op": "replace", "path": "active", "value": False})
        assert gil.post("/api/v1/tenancy/members", json={}).status_code == 401
        assert scim.delete(f"Users/{user['id']}").status_code == 204
