"""Every operation that there is, generated from what is installed, with every kind of credential that is no good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.host.clock import SystemClock
from omega.host.discover import offers
from omega.trust.dpop import prove, thumbprint
from omega.trust.passport import Authority
from trust.signers import P256Signer

SECRET = "nobody-else-may-see-this"


OFFERS = offers()


def operations() -> list[tuple[str, str]]:
    """Method and path of every operation, as the description lists them, with something in the place of each parameter."""
    from omega.gateway.http.openapi import document

    found = []
    for path, verbs in document(OFFERS)["paths"].items():
        filled = path.replace("{execution}", "EXECUTION").replace("{flow}", "double").replace("{module}", "insights")
        filled = filled.replace("{server}", "git").replace("{tool}", "log")
        found += [(verb.upper(), filled) for verb in verbs]
    return found


OPERATIONS = operations()


@pytest.fixture(scope="module")
def started(house: Any) -> str:
    """An execution of the owner, with a value that nobody else may see."""
    with house.client() as client:
        return str(client.post("/api/v1/flows/words/run", json=SECRET).headers["omega-execution"])


def forged(house: Any) -> str:
    """A passport with the right claims and a key of somebody else's."""
    stranger = Authority(SeededSigner(99), issuer="omega.local", audience="omega.local")
    now = SystemClock().now_us() / 1e6
    return stranger.issue(tenant="local", principal="person:eve", groups=("owner",), capabilities=("*",), ttl_s=60, now=now, jti="pas_eve")


def unsigned(house: Any) -> str:
    _head, claims, _ = house.passport().split(".")
    return f"eyJhbGciOiJub25lIiwidHlwIjoicGFzc3BvcnQrand0In0.{claims}."


STRANGERS: dict[str, Callable[[Any], str]] = {
    "none": lambda house: "",
    "wrong": lambda house: "not.a.passport",
    "expired": lambda house: house.passport(age_s=7_200),
    "forged": forged,
    "algorithm none": unsigned,
    "cut short": lambda house: house.passport()[:-8],
    "an unknown key": lambda house: "omk_0123456789abcdef_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
    "bound, shown without its key": lambda house: house.passport(holder="A" * 43),
}

SAMPLE = ("none", "algorithm none", "bound, shown without its key")
"""What is tried each time; the others are in the slow suite."""


@pytest.mark.promise("DOOR-07")
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind in SAMPLE else pytest.mark.slow) for kind in STRANGERS])
def test_no_operation_lets_a_stranger_in(house: Any, started: str, kind: str) -> None:
    assert len(OPERATIONS) > 20
    with house.client(STRANGERS[kind](house)) as client:
        for verb, path in OPERATIONS:
            answer = client.request(verb, path.replace("EXECUTION", started), json=None if verb == "GET" else {})
            assert answer.status_code == 401, (verb, path, answer.text)
            assert answer.json()["code"] == "OMG-T001"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert SECRET not in answer.text and started not in answer.text


@pytest.mark.promise("DOOR-07")
def test_no_operation_shows_another_tenant_anything(house: Any, started: str) -> None:
    with house.client(house.passport("person:eve", tenant="ten_0000000000000000000000000000000f")) as client:
        for verb, path in OPERATIONS:
            if "EXECUTION" not in path:
                continue
            answer = client.request(verb, path.replace("EXECUTION", started), json=None if verb == "GET" else body_of(path))
            assert answer.status_code == 404, (verb, path, answer.text)
            assert answer.json()["code"] == "OMG-I003"
            assert SECRET not in answer.text
        assert client.get("/api/v1/executions").json()["executions"] == []
        assert client.get("/api/v1/flows").json() == {"flows": []}
        assert client.post("/api/v1/flows/double/run", json=1).status_code == 404


@pytest.mark.promise("DOOR-07")
def test_who_acts_for_a_person_sees_nothing_that_the_person_started(house: Any, started: str) -> None:
    authority, now = house.identity.authority, SystemClock().now_us() / 1e6
    ada = authority.verify(house.passport(), now=now)
    acting = authority.delegate(ada, actor="agent:bot", capabilities=("model:ask", "flows:run"), ttl_s=60, now=now, jti="pas_bot")
    with house.client(house.passport()) as client:
        own = str(client.post("/api/v1/flows/words/run", json=SECRET).headers["omega-execution"])
    with house.client(acting) as client:
        for path in (f"/api/v1/executions/{own}", f"/api/v1/executions/{own}?values=true"):
            answer = client.get(path)
            assert answer.status_code == 404 and SECRET not in answer.text
        assert client.get("/api/v1/executions").json()["executions"] == []
        mine = str(client.post("/api/v1/flows/double/run", json=2).headers["omega-execution"])
        assert client.get(f"/api/v1/executions/{mine}").status_code == 200
        assert [each["execution"] for each in client.get("/api/v1/executions").json()["executions"]] == [mine]


def body_of(path: str) -> dict[str, Any]:
    return {"answer": {"value": 1}, "resolve": {"done": False}, "signal": {"name": "x"}}.get(path.rpartition("/")[2], {})


@pytest.mark.promise("DOOR-07")
def test_narrowed_rights_open_nothing_that_needs_more(house: Any, started: str) -> None:
    """A caller without rights sees nothing of others, and every operation that needs a capability says which one is missing."""
    with house.client(house.passport("person:bob", groups=("guest",), capabilities=())) as client:
        for verb, path in OPERATIONS:
            if "EXECUTION" in path:
                answer = client.request(verb, path.replace("EXECUTION", started), json=None if verb == "GET" else body_of(path))
                assert answer.status_code in (403, 404), (verb, path, answer.text)
                assert SECRET not in answer.text
        for offer in OFFERS:
            if "http" not in offer.method.entrances or not offer.flow.needs:
                continue
            answer = client.post(f"/api/v1/{offer.service}/{offer.name}", json=dict(offer.method.example))
            assert answer.status_code in (400, 403), (offer.flow.name, answer.text)
            if offer.method.example and not offer.method.keyed:
                assert answer.json()["code"] == "OMG-W008", (offer.flow.name, answer.text)
        assert client.get("/api/v1/executions").json()["executions"] == [
            each for each in client.get("/api/v1/executions").json()["executions"] if each["principal"] == "person:bob"
        ]


@pytest.mark.promise("DOOR-14")
def test_a_bound_passport_counts_with_a_proof_for_this_request_alone(house: Any) -> None:
    signer = P256Signer(51)
    passport = house.passport("agent:reviewer", capabilities=("flows:run",), groups=(), holder=thumbprint(signer))
    now = SystemClock().now_us() / 1e6

    def shown(jti: str, path: str = "/api/v1/me", method: str = "GET") -> dict[str, str]:
        proof = prove(signer, passport=passport, method=method, address=house.url + path, now=now, jti=jti)
        return {"authorization": f"DPoP {passport}", "dpop": proof}

    with house.client("") as client:
        once = shown("one")
        assert client.get("/api/v1/me", headers=once).json()["principal"] == "agent:reviewer"
        assert client.get("/api/v1/me", headers=once).status_code == 401, "a proof counts once"
        assert client.get("/api/v1/me", headers=shown("two", path="/api/v1/flows")).status_code == 401
        assert client.get("/api/v1/me", headers=shown("three", method="POST")).status_code == 401
        ran = client.post("/api/v1/flows/double/run", json=4, headers=shown("four", path="/api/v1/flows/double/run", method="POST"))
        assert (ran.status_code, ran.json()) == (200, 8)
