"""Credentials that are refused: counted by address and minute, braked, told once; a good one is let in all the while."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.conftest import opened
from omega.chronicle.flags import Kind
from omega.host.guessing import MAX_ADDRESSES, MAX_TOLD, MOST_A_MINUTE, OTHERS, Guesses, Refused
from omega.host.logview import newest
from omega.host.reading import Archive
from omega.kernel.errors import Denied, InputError

pytestmark = pytest.mark.promise("DOOR-43")
AT = 1_800_000_000.0
"""The beginning of a minute, in Unix seconds."""


def refuse(guesses: Guesses, address: str, now_s: float = AT, code: str = "OMG-T001") -> str:
    """The code that whoever shows something wrong is told."""
    try:
        with guesses.counted(address, now_s):
            raise Denied(code, "no")
    except Denied as error:
        return error.code


def test_past_the_limit_what_is_wrong_waits_until_the_minute_is_over() -> None:
    guesses = Guesses(most=3)
    said = [refuse(guesses, "10.0.0.1", AT + second) for second in range(5)]
    assert said == ["OMG-T001"] * 3 + ["OMG-G007"] * 2
    with guesses.counted("10.0.0.1", AT + 5):
        pass  # what is good is let in
    with pytest.raises(Denied) as caught:
        guesses.demand("10.0.0.1", AT + 41.5)
    assert caught.value.details == {"retry_after_s": 19}
    guesses.demand("10.0.0.2", AT)
    assert refuse(guesses, "10.0.0.2") == "OMG-T001", "another address is another count"
    assert refuse(guesses, "10.0.0.1", AT + 60) == "OMG-T001", "another minute too"
    assert guesses.ended(AT + 59) == []
    assert guesses.ended(AT + 60) == [Refused("10.0.0.1", 5, int(AT)), Refused("10.0.0.2", 1, int(AT))]
    assert guesses.ended(AT + 60) == [], "a minute is told once"


def test_what_is_no_credential_is_not_counted() -> None:
    guesses = Guesses(most=1)
    assert [refuse(guesses, "10.0.0.1", code="OMG-W001") for _ in range(3)] == ["OMG-W001"] * 3
    with pytest.raises(InputError), guesses.counted("10.0.0.1", AT):
        raise InputError("OMG-I001", "no")
    assert guesses.ended(AT + 60) == []


@pytest.mark.parametrize(
    ("addresses", "place"),
    [
        (("2001:db8::1", "2001:db8::ffff:1"), "2001:db8::/64"),
        (("::ffff:10.0.0.1", "10.0.0.1"), "10.0.0.1"),
        (("::1",), "::1"),
        (("", "a socket"), OTHERS),
    ],
)
def test_an_address_is_counted_as_whoever_has_it(addresses: tuple[str, ...], place: str) -> None:
    guesses = Guesses()
    for address in addresses:
        refuse(guesses, address)
    assert [(each.address, each.count) for each in guesses.ended(AT + 60)] == [(place, len(addresses))]


def test_a_flood_from_ever_new_addresses_takes_no_more_memory_and_few_entries() -> None:
    guesses = Guesses()
    many = MAX_ADDRESSES + 500
    for number in range(many):
        refuse(guesses, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    for _ in range(3):
        refuse(guesses, "10.0.0.7")
    assert sum(map(len, guesses._counts.values())) <= MAX_ADDRESSES + 1
    told = guesses.ended(AT + 60)
    assert len(told) == MAX_TOLD + 1 and told[0] == Refused("10.0.0.7", 4, int(AT)) and told[-1].address == OTHERS
    assert sum(each.count for each in told) == many + 3, "nothing is left out of the count"


@contextmanager
def open_house(home: Path) -> Any:
    yield from opened(home, drain_s=2.0, refusals=MOST_A_MINUTE)


@pytest.mark.slow
def test_whoever_guesses_at_the_door_is_braked_and_on_record_and_the_good_are_let_in(tmp_path: Path) -> None:
    home, secret = tmp_path / "home", "omk_a-guess-that-nobody-should-ever-find-in-a-log"
    with open_house(home) as house:
        with house.client("") as nobody:
            assert {nobody.get("/api/v1/me").status_code for _ in range(MOST_A_MINUTE + 5)} == {401}, "who shows nothing asks what to show"
        with house.client(secret) as guesser, house.client() as owner:
            answers: list[httpx.Response] = []
            while not answers or (answers[-1].status_code == 401 and len(answers) < 3 * MOST_A_MINUTE):
                answers.append(guesser.get("/api/v1/me"))
            last = answers[-1]
            assert (last.status_code, last.json()["code"]) == (429, "OMG-G007"), last.text
            assert 1 <= int(last.headers["retry-after"]) <= 60
            assert owner.get("/api/v1/me").status_code == 200, "somebody else behind the same address"
            token = {"grant_type": "client_credentials", "client_id": "x", "client_secret": secret}
            assert owner.post("/oauth/token", data=token, headers={"authorization": ""}).status_code in {400, 401, 429}
            page = owner.post("/sign-in", data={"shown": secret, "factor": "123456"}, headers={"authorization": ""})
            assert page.status_code in {401, 429}
    with Archive.open(home) as archive:
        flagged = list(newest(archive.reader, "local", 20, flagged=True))
    entries = [each for each in flagged if each.flags[0].kind in {Kind.REFUSED, Kind.GUESSED}]
    assert 1 <= len(entries) <= 2, "one for the address and minute; two where a minute ended meanwhile"
    assert any(each.flags[0].kind is Kind.GUESSED and each.flags[0].alarming for each in entries)
    assert all(each.leaf.address == "127.0.0.1" and each.leaf.kind == "entry" for each in entries)
    kept = b"".join(each.read_bytes() for each in home.rglob("*") if each.is_file())
    assert secret.encode() not in kept
