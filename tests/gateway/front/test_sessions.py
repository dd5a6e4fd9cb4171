"""Codes and sessions of browsers: who can make one, whose revocation ends it, and how a browser leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest

from chronicle.ledger import SeededSigner
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.tenants import Bearer
from omega.host.visitors import CODE, COOKIE, MAX_CODES, MAX_OF_ONE, MAX_OF_TENANT, MAX_SESSIONS, SESSION, SESSION_S, Sessions
from omega.kernel.errors import Denied, OmegaError, StorageError
from omega.trust.dpop import prove, thumbprint
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from trust.signers import P256Signer

NOW = 1_800_000_000.0
ASKER = "pas_1"


class Shelf:
    """Documents that a test may write to, as whoever has the address of the database can."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def document(self, kind: str, name: str) -> bytes | None:
        return self.kept.get((kind, name))

    def documents(self, kind: str) -> list[tuple[str, bytes]]:
        return [(name, body) for (its, name), body in self.kept.items() if its == kind]

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        self.kept[kind, name] = body

    def drop_document(self, kind: str, name: str) -> bool:
        return self.kept.pop((kind, name), None) is not None


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def authority() -> Authority:
    return Authority(SeededSigner(7), issuer="here", audience="here")


def sessions(authority: Authority, shelf: Shelf | None, root: bytes = b"r" * 32) -> Sessions:
    entropy = SystemEntropy()
    return Sessions(entropy, Keyring(root, entropy=entropy.take), authority, shelf)


def named(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.promise("DOOR-12")
@pytest.mark.parametrize("body", [b"99999999999", b"inf", b"nan", b"", b".", b"AAAA.AAAA", b"\xff.\xff", b'[99999999999,""]'])
def test_who_writes_to_the_records_makes_no_session_and_no_code(authority: Authority, shelf: Shelf, body: bytes) -> None:
    for kind in (SESSION, CODE):
        shelf.kept[kind, named("evil")] = body
    browsers = sessions(authority, shelf)
    assert not browsers.known("evil", NOW)
    with pytest.raises(Denied):
        browsers.redeem("evil", NOW)
    browsers.redeem(browsers.code(NOW), NOW)
    assert all(named("evil") != name for _, name in shelf.kept), "what was never sealed here is swept away"


@pytest.mark.promise("DOOR-12")
def test_what_was_sealed_is_good_in_its_own_place_alone(authority: Authority, shelf: Shelf) -> None:
    browsers = sessions(authority, shelf)
    code = browsers.code(NOW)
    cookie = browsers.redeem(browsers.code(NOW), NOW)
    shelf.kept[SESSION, named("evil")] = shelf.kept[SESSION, named(cookie)]
    shelf.kept[SESSION, named(code)] = shelf.kept[CODE, named(code)]
    assert browsers.known(cookie, NOW) and sessions(authority, shelf).known(cookie, NOW), "every process knows it"
    assert not browsers.known("evil", NOW)
    assert not browsers.known(code, NOW), "a code is no cookie"
    assert not sessions(authority, shelf, b"s" * 32).known(cookie, NOW), "another installation sealed it"


def test_a_session_ends_in_time_and_when_its_browser_leaves_wherever_that_is_told(authority: Authority, shelf: Shelf) -> None:
    here, there = sessions(authority, shelf), sessions(authority, shelf)
    first, second = (here.redeem(here.code(NOW), NOW) for _ in range(2))
    assert there.known(first, NOW + SESSION_S - 1) and not there.known(first, NOW + SESSION_S)
    here.forget(first)
    here.forget("nobody's")
    assert not there.known(first, NOW) and there.known(second, NOW)


@pytest.mark.parametrize("shared", [True, False])
def test_the_code_and_the_session_end_with_the_passport_that_asked(authority: Authority, shelf: Shelf, shared: bool) -> None:
    browsers = sessions(authority, shelf if shared else None)
    printed, mine = (browsers.redeem(browsers.code(NOW, asker), NOW) for asker in ("", f"{ASKER}/pas_2"))
    late = browsers.code(NOW, ASKER)
    assert browsers.known(mine, NOW)
    authority.revoke(ASKER)
    assert not browsers.known(mine, NOW)
    with pytest.raises(Denied):
        browsers.redeem(late, NOW)
    assert browsers.known(printed, NOW), "the link that was printed at the start hangs on no passport"


def test_the_code_that_ends_first_makes_room(authority: Authority) -> None:
    browsers = sessions(authority, None)
    codes = [browsers.code(NOW + n / 1_000) for n in range(MAX_CODES + 1)]
    with pytest.raises(Denied):
        browsers.redeem(codes[0], NOW + 1)
    assert all(browsers.redeem(code, NOW + 1) for code in codes[1:3])


def person(tenant: str, name: str) -> Bearer:
    return Bearer(tenant=tenant, principal=f"person:{name}", roles=(), capabilities=())


@pytest.mark.promise("DOOR-12")
def test_who_signs_in_over_and_over_signs_out_themselves_alone(authority: Authority, shelf: Shelf) -> None:
    browsers = sessions(authority, shelf)
    victims = [
        browsers.begin(person("local", "ada"), NOW),
        browsers.redeem(browsers.code(NOW), NOW),
        browsers.begin(person("acme", "bo"), NOW),
    ]
    mine = [browsers.begin(person("acme", "eve"), NOW + 1 + n / 1_000) for n in range(3 * MAX_OF_ONE)]
    assert all(browsers.known(cookie, NOW + 2) for cookie in victims)
    assert [browsers.known(cookie, NOW + 2) for cookie in mine] == [False] * 2 * MAX_OF_ONE + [True] * MAX_OF_ONE


@pytest.mark.promise("DOOR-12")
def test_a_tenant_that_is_full_refuses_the_newcomer_and_leaves_the_others(authority: Authority, shelf: Shelf) -> None:
    browsers = sessions(authority, shelf)
    first = browsers.begin(person("acme", "bo"), NOW)
    for n in range(MAX_OF_TENANT - 1):
        browsers.begin(person("acme", f"p{n // MAX_OF_ONE}"), NOW + 1)
    with pytest.raises(StorageError) as refused:
        browsers.begin(person("acme", "late"), NOW + 2)
    assert refused.value.code == "OMG-G008" and browsers.known(first, NOW + 2)
    assert browsers.known(browsers.begin(person("acme", "p0"), NOW + 2), NOW + 2)  # in the place of one of their own
    assert browsers.known(browsers.begin(person("other", "cy"), NOW + 2), NOW + 2)
    assert browsers.known(browsers.begin(person("acme", "late"), NOW + SESSION_S + 1), NOW + SESSION_S + 1)  # the others have ended


@pytest.mark.promise("DOOR-12")
def test_the_owner_finds_a_place_in_a_full_house(authority: Authority, shelf: Shelf) -> None:
    browsers = sessions(authority, shelf)
    for n in range(MAX_SESSIONS):
        shelf.kept[SESSION, f"{n}"] = f"AAAA.AAAA.{(NOW + 9) * 1_000:.0f}:tenant{n}:person{n}".encode()
    with pytest.raises(OmegaError):
        browsers.begin(person("acme", "bo"), NOW)
    assert browsers.known(browsers.redeem(browsers.code(NOW), NOW), NOW)


@pytest.fixture
def owner(house: Any) -> Iterator[httpx.Client]:
    with house.client(house.identity.passport("", now_us=SystemClock().now_us())) as client:
        yield client


@contextmanager
def signed_in(house: Any, owner: httpx.Client) -> Iterator[httpx.Client]:
    """A browser that came by a link which `owner` asked for."""
    code = owner.post("/sign-in/link").json()["path"].rpartition("=")[2]
    with house.client("", origin=house.url) as browser:
        assert browser.post("/sign-in", data={"code": code}).status_code == 303
        yield browser


@pytest.mark.promise("DOOR-12")
def test_a_browser_does_not_renew_itself_and_ends_with_the_passport_that_asked(house: Any, owner: httpx.Client) -> None:
    with signed_in(house, owner) as browser:
        refused = browser.post("/sign-in/link")
        assert (refused.status_code, refused.json()["code"]) == (403, "OMG-W001")
        assert browser.get("/api/v1/me").json()["groups"] == ["owner"]
        token = owner.headers["authorization"].partition(" ")[2]
        assert owner.post("/oauth/revoke", data={"token": token}).status_code == 200
        assert browser.get("/api/v1/me").status_code == 401


def test_a_passport_that_is_bound_to_a_key_asks_for_no_cookie_that_is_not(house: Any) -> None:
    signer = P256Signer(52)
    passport = house.passport(f"person:{house.identity.settings.person}", holder=thumbprint(signer))

    def shown(method: str, path: str) -> dict[str, str]:
        now = SystemClock().now_us() / 1_000_000
        proof = prove(signer, passport=passport, method=method, address=house.url + path, now=now, jti=SystemEntropy().take(12).hex())
        return {"authorization": f"DPoP {passport}", "dpop": proof}

    with house.client("") as client:
        assert client.get("/api/v1/me", headers=shown("GET", "/api/v1/me")).json()["groups"] == ["owner"]
        refused = client.post("/sign-in/link", headers=shown("POST", "/sign-in/link"))
        assert (refused.status_code, refused.json()["code"]) == (403, "OMG-W001")


def test_a_browser_signs_out_from_a_page_of_this_installation_alone(house: Any, owner: httpx.Client) -> None:
    with signed_in(house, owner) as browser:
        cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        assert "sign out" in browser.get("/sign-out").text
        with house.client("") as foreign:
            assert foreign.post("/sign-out", headers=cookie).status_code == 401, "nothing says where this came from"
            assert foreign.get("/api/v1/me", headers=cookie).status_code == 200
        left = browser.post("/sign-out")
        assert left.status_code == 200 and f"{COOKIE}=; Path=/; Max-Age=0" in left.headers["set-cookie"]
        assert COOKIE not in browser.cookies
        assert browser.get("/api/v1/me", headers=cookie).status_code == 401, "the session is forgotten, not the cookie alone"
        assert browser.get("/sign-out/x").status_code == 404
        assert browser.put("/sign-out").headers["allow"] == "GET, POST"
