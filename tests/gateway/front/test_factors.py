"""The pages of second factors over the network: who may ask, from where, about what; a soft key stands in for a browser's."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import Any

import httpx
import pytest

from gateway.conftest import Open
from omega.host.clock import SystemEntropy
from omega.host.confirming import own_origins
from omega.host.exchange import draw_secret, key_text
from trust.authenticator import Authenticator


class Person:
    """Somebody with a passport, and perhaps a key, at the page of the house that stands at `localhost`."""

    def __init__(self, house: Open, name: str, **given: Any) -> None:
        self.origin = house.url.replace("127.0.0.1", "localhost")
        self.key = Authenticator(id=f"the key of {name} in a test".encode())
        self.client = house.client(house.passport(f"person:{name}", **given), host=self.origin.partition("//")[2])

    def ask(self, **wanted: str) -> httpx.Response:
        return self.client.post("/passkeys/ask", json=wanted)

    def proof(self, **wanted: str) -> dict[str, Any]:
        asked = self.ask(**wanted).json()["prove"]
        return {"ceremony": asked["ceremony"], "answer": self.key.get(asked["options"], self.origin)}

    def register(self) -> httpx.Response:
        asked = self.ask(**{"for": "register"}).json()["create"]
        said = {"ceremony": asked["ceremony"], "answer": self.key.create(asked["options"], self.origin)}
        return self.client.post("/passkeys/register", json={"name": "blue key", "said": said, "proof": {}})

    def waiting_run(self) -> str:
        return str(self.client.post("/api/v1/flows/launches/run", json="moon").headers["omega-execution"])


Someone = Callable[..., Person]


@pytest.fixture
def someone(house: Open) -> Iterator[Someone]:
    """Makes people, and closes their clients."""
    with ExitStack() as stack:

        def made(name: str, **given: Any) -> Person:
            person = Person(house, name, **given)
            stack.enter_context(person.client)
            return person

        yield made


def test_the_pages_name_their_own_script_and_style(client: httpx.Client) -> None:
    for path in ("/passkeys", "/approvals", "/approvals?execution=exe_1&step=pay"):
        found = client.get(path)
        policy = found.headers["content-security-policy"]
        for part in ("script", "style"):
            inline = re.findall(rf"<{part}>(.*?)</{part}>", found.text, re.S)
            assert len(inline) == 1
            digest = b64encode(sha256(inline[0].encode()).digest()).decode()
            assert f"{part}-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert found.headers["cache-control"] == "no-store"
        assert not re.search(r"""(?:src|action)=|@import|url\(|innerHTML|https:""", found.text)


def test_whoever_is_not_signed_in_is_shown_where_they_are_and_comes_back(house: Open) -> None:
    with house.client("") as stranger:
        for path in ("/passkeys", "/approvals?execution=exe_1&step=pay"):
            found = stranger.get(path)
            assert found.status_code == 401 and f'value="{path.replace("&", "&amp;")}"' in found.text
        foreign = stranger.get("/approvals?to=//evil.example'%22")
        assert foreign.status_code == 401 and "evil" not in foreign.text
        for path in ("/passkeys/mine", "/approvals/waiting", "/approvals/one"):
            assert stranger.get(path).status_code == 401
        for path in ("/passkeys/ask", "/passkeys/register", "/passkeys/remove"):
            assert stranger.post(path, json={}).status_code == 401


@pytest.mark.slow
@pytest.mark.promise("MFA-06")
def test_a_key_is_registered_approves_and_is_removed(someone: Someone) -> None:
    grace = someone("grace")
    assert grace.register().status_code == 201
    mine = grace.client.get("/passkeys/mine").json()
    assert mine["here"] == "" and [key["name"] for key in mine["keys"]] == ["blue key"] and "public" not in mine["keys"][0]
    run = grace.waiting_run()
    listed = {each["execution"]: each for each in grace.client.get("/approvals/waiting").json()["waiting"]}
    assert listed[run]["reason"].startswith("launches cannot be undone") and listed[run]["role"] == "owner"
    one = grace.client.get("/approvals/one", params={"execution": run, "step": "launches"}).json()
    assert one["input"] == "moon" and one["policies"] == ["irreversible-needs-owner"]
    said = grace.proof(**{"for": "approve", "execution": run, "step": "launches"})
    place = f"/api/v1/executions/{run}/approve"
    other = grace.client.post(f"/api/v1/executions/{grace.waiting_run()}/approve", json={"passkey": said})
    assert (other.status_code, other.json()["code"]) == (403, "OMG-T011")
    assert grace.client.post(place, json={"passkey": said}).json()["code"] == "OMG-T011", "it was used up there"
    said = grace.proof(**{"for": "approve", "execution": run, "step": ""})
    assert grace.client.post(place, json={"step": "launches", "passkey": said}).status_code == 200
    gone = grace.proof(**{"for": "remove", "key": mine["keys"][0]["id"]})
    assert grace.client.post("/passkeys/remove", json={"key": mine["keys"][0]["id"], "proof": gone}).status_code == 200
    assert grace.client.get("/passkeys/mine").json()["keys"] == []


@pytest.mark.promise("MFA-07")
def test_who_has_passkeys_alone_gets_no_session_for_a_key(house: Open, someone: Someone) -> None:
    rosa = someone("rosa")
    secret, digest = draw_secret(SystemEntropy())
    wanted = {"name": "k", "secret_sha256": digest, "principal": "person:rosa", "roles": ["owner"], "capabilities": ["*"]}
    with house.client() as owner:
        made = owner.post("/api/v1/tenancy/create_key", json=wanted)
    assert made.status_code in (200, 201), made.text
    shown = {"shown": key_text(made.json()["key"], secret)}
    with house.client("", origin=house.url) as browser:
        assert browser.post("/sign-in", data=shown).status_code == 303, "a key alone is enough for who has no factor"
        assert rosa.register().status_code == 201
        browser.cookies.clear()
        refused = browser.post("/sign-in", data=shown | {"factor": "123456"})
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
        assert "OMG-T013" in refused.text and "omega sign-in" in refused.text and "organisation" in refused.text
        other = browser.post("/sign-in", data={"shown": f"{shown['shown'][:-4]}AAAA"})
        assert other.status_code == 401 and "OMG-T013" not in other.text, "told to whoever has the key alone"


@pytest.mark.promise("MFA-01")
@pytest.mark.parametrize("host", ["localhost:8000", "localhost", "127.0.0.1"])
def test_at_an_address_that_is_not_the_gateways_own_nothing_is_asked(house: Open, host: str) -> None:
    with house.client(house.passport("person:hedy"), host=host) as client:
        refused = client.post("/passkeys/ask", json={"for": "register"})
        assert refused.json()["code"] == "OMG-G006"
        assert client.get("/passkeys/mine").json()["here"]
    with house.client(house.passport("person:hedy")) as client:  # the address itself: there are no passkeys at a number
        assert client.post("/passkeys/ask", json={"for": "register"}).json()["code"] == "OMG-I001"
        assert "address" in client.get("/passkeys/mine").json()["here"]


@pytest.mark.promise("MFA-01")
def test_an_answer_that_was_given_to_another_page_is_refused(someone: Someone) -> None:
    ida = someone("ida")
    asked = ida.ask(**{"for": "register"}).json()["create"]
    said = {"ceremony": asked["ceremony"], "answer": ida.key.create(asked["options"], "http://localhost:8000")}
    refused = ida.client.post("/passkeys/register", json={"name": "x", "said": said, "proof": {}})
    assert (refused.status_code, refused.json()["code"]) == (403, "OMG-T011")


@pytest.mark.promise("MFA-03")
def test_who_may_not_see_a_run_is_told_nothing_of_it(someone: Someone) -> None:
    joan, eve = someone("joan"), someone("eve", groups=("reader",), capabilities=("flows:run",))
    run = joan.waiting_run()
    for refused in (
        eve.client.get("/approvals/one", params={"execution": run, "step": "launches"}),
        eve.client.get("/approvals/one", params={"execution": "exe_nobody", "step": ""}),
        eve.ask(**{"for": "approve", "execution": run, "step": "launches"}),
        someone("joan", tenant="ten_b").client.get("/approvals/one", params={"execution": run, "step": ""}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (404, "OMG-I003")
    assert run not in [each["execution"] for each in eve.client.get("/approvals/waiting").json()["waiting"]]
    finance = someone("kay", groups=("owner",), capabilities=("flows:run",))
    one = finance.client.get("/approvals/one", params={"execution": run, "step": "launches"}).json()
    assert one["reason"] and one["input"] is None and "records:read" in one["withheld"]


def test_only_people_who_act_themselves_have_factors(house: Open) -> None:
    with house.client(house.passport("agent:x")) as agent:
        assert agent.get("/passkeys/mine").json()["code"] == "OMG-W001"
        assert agent.post("/passkeys/ask", json={"for": "register"}).json()["code"] == "OMG-W001"
        assert agent.post("/passkeys/register", json={"name": "x"}).json()["code"] == "OMG-W001"
        assert agent.get("/approvals/waiting").json()["code"] == "OMG-W001"


@pytest.mark.parametrize("wanted", [{}, {"for": "all"}, {"for": 7}, {"for": "approve"}, {"for": "cancel", "execution": "../x"}])
def test_what_a_key_cannot_be_asked_for_is_refused(someone: Someone, wanted: dict[str, Any]) -> None:
    lise = someone("lise")
    assert lise.client.post("/passkeys/ask", json=wanted).json()["code"] in ("OMG-I001", "OMG-I003")
    assert lise.client.post("/passkeys/ask", json=[]).json()["code"] == "OMG-I001"
    assert lise.client.post("/passkeys/register", content=b"x" * 70_000).json()["code"] == "OMG-G004"
    assert lise.client.post("/passkeys/register", json={"said": 7}).json()["code"] == "OMG-I001"
    assert lise.client.get("/passkeys/else").status_code == lise.client.get("/approvals/else").status_code == 404


def test_the_own_pages_are_where_it_listens_and_behind_a_proxy_its_public_names() -> None:
    assert own_origins("http://127.0.0.1:9405", ["localhost"]) == {"http://localhost:9405"}
    assert own_origins("https://127.0.0.1:443", ["omega.example"]) == {"https://omega.example"}
    assert own_origins("http://10.0.0.1:80", ["a"], ["omega.example"]) == {"http://a", "https://omega.example"}
