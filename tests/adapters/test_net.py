"""Where requests to addresses of others may go, as far as the text says and as a name says; and credentials that come back in answers."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.net.reach import check_host, may_reach, networks, resolved
from omega.adapters.net.scrubbing import MIN_SECRET, Scrubber
from omega.adapters.net.web import Web, WebAnswer, check_address
from omega.adapters.webhooks import Deliver, Receiver
from omega.adapters.webhooks.effector import send
from omega.adapters.webhooks.reach import checked_url
from omega.kernel.errors import Denied, InputError

LOOPBACK = networks(["127.0.0.0/8"])
PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    "host",
    ["2130706433", "127.1", "0177.0.0.1", "0", "127.0.0.1.", "0x7f000001", "127.0.0.0X1", "0x", "name.7", "169.254.43518", "1.2.3.4.5"],
)
@pytest.mark.parametrize("check", [check_address, checked_url])
def test_a_number_that_is_no_address_by_the_book_is_refused_whoever_connects(host: str, check: Callable[..., str]) -> None:
    for allowed in ((), LOOPBACK):
        with pytest.raises(InputError, match="ends in a number"):
            check(f"https://{host}/", allowed)


@pytest.mark.parametrize("host", ["api.example", "api2.example", "7.example", "x0.example7a", "localhost."])
def test_a_name_is_still_a_name(host: str) -> None:
    check_host(host, ())


def test_an_address_within_another_is_the_one_that_is_meant() -> None:
    ten = networks(["10.0.0.0/8"])
    for text in ("::ffff:0:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1"):
        assert may_reach(ipaddress.ip_address(text), ten) and not may_reach(ipaddress.ip_address(text), LOOPBACK)
    for text in ("::1", "fec0::1", "64:ff9b:1::1", "168.63.129.16"):
        address = ipaddress.ip_address(text)
        assert may_reach(address, networks([text])) and not may_reach(address, ())
    assert not may_reach(ipaddress.ip_address("::"), networks(["::1/128"]))


def test_http_stays_within_what_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in (check_address, checked_url):
        assert check(f"https://{PUBLIC}/", LOOPBACK) and check("http://127.0.0.1/", LOOPBACK)
        with pytest.raises(Denied):
            check(f"http://{PUBLIC}/", LOOPBACK)
    assert asyncio.run(resolved(PUBLIC, 443, LOOPBACK))
    with pytest.raises(Denied):
        asyncio.run(resolved(PUBLIC, 80, LOOPBACK, secure=False))

    def known(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", PUBLIC)]

    async def asked() -> None:
        web = Web(LOOPBACK)
        try:
            with pytest.raises(Denied, match="outside the networks that http was allowed in"):
                await web.ask("GET", "http://api.example/", headers={"Authorization": "Bearer sesame"}, timeout_s=5)
        finally:
            await web.close()
        with pytest.raises(Denied, match="outside the networks that http was allowed in"):
            await send(Receiver("http://api.example/", "", LOOPBACK), Deliver(hook="h", id="1", document={}), 0)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    asyncio.run(asked())


@settings(max_examples=25, deadline=None)
@given(secret=st.text("aZ09+/='\"\\&<>%-_.~ é€😀", min_size=MIN_SECRET, max_size=30))
def test_a_secret_is_taken_out_however_it_is_written_in_an_answer(secret: str) -> None:
    ways = (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        "".join(letter if letter.isascii() and letter.isalnum() else "".join(map(r"\u{:04X}".format, _units(letter))) for letter in secret),
        quote(secret, safe=""),
    )
    for written in ways:
        assert Scrubber([secret, "short"]).clean(f"x{written}x".encode()) == b"x***x"


def _units(letter: str) -> list[int]:
    raw = letter.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]


def test_what_holds_no_secret_stays_as_it_is() -> None:
    answer = WebAnswer(200, {"x-told": "Bearer sesame-open", "content-type": "text/plain"}, b"open sesame, short")
    told = Scrubber(["sesame-open", "short"]).answer(answer)
    assert told.body == answer.body and told.headers == {"x-told": "Bearer ***", "content-type": "text/plain"}
    assert Scrubber([]).answer(answer) is answer
