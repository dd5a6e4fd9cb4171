"""Requests that two readers might cut differently (RFC 9112, 11.2): each is refused, once, and the connection that carried it is closed.

A refusal that left the connection open would let the rest of the bytes pass for the next request, which is what a smuggler wants.
"""

from __future__ import annotations

from typing import Any

import pytest

from attacks.judging import wrong_with
from attacks.wire import dialled

SMUGGLED = b"GET /api/v1/me HTTP/1.1\r\nhost: %NAME%\r\n%SHOWN%\r\n"
RUN = b"POST /api/v1/flows/double/run HTTP/1.1\r\nhost: %NAME%\r\n%SHOWN%content-type: application/json\r\n"

TWO_WAYS = {
    "both lengths": RUN + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "both lengths, the other order": RUN + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "an unknown coding": RUN + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked, and then another": RUN + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": RUN + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": RUN + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a tab in the name": RUN + b"transfer\t-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": RUN + b"content-length: 1\r\ncontent-length: 60\r\n\r\n1" + SMUGGLED,
    "the same length twice": RUN + b"content-length: 1\r\ncontent-length: 1\r\n\r\n1" + SMUGGLED,
    "a list of lengths": RUN + b"content-length: 1, 1\r\n\r\n1" + SMUGGLED,
    "a signed length": RUN + b"content-length: +1\r\n\r\n1" + SMUGGLED,
    "a hexadecimal length": RUN + b"content-length: 0x1\r\n\r\n1" + SMUGGLED,
    "a length of Latin digits": RUN + b"content-length: \xb2\r\n\r\n11" + SMUGGLED,
    "a length beyond any": RUN + b"content-length: 99999999999999999999999999\r\n\r\n1" + SMUGGLED,
    "a folded header": RUN + b"content-length:\r\n 1\r\n\r\n1" + SMUGGLED,
    "a header without a colon": RUN + b"content-length 1\r\n\r\n1" + SMUGGLED,
    "a carriage return alone": RUN + b"x-odd: a\rcontent-length: 60\r\ncontent-length: 1\r\n\r\n1" + SMUGGLED,
    "a zero byte in a header": RUN + b"x-odd: a\x00b\r\ncontent-length: 1\r\n\r\n1" + SMUGGLED,
    "a chunk of negative size": RUN + b"transfer-encoding: chunked\r\n\r\n-1\r\n1\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk of hexadecimal look": RUN + b"transfer-encoding: chunked\r\n\r\n0x1\r\n1\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk beyond any": RUN + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n1\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk without its end": RUN + b"transfer-encoding: chunked\r\n\r\n1\r\n1X\r\n0\r\n\r\n" + SMUGGLED,
    "another protocol's beginning": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "a version that is none": b"GET /api/v1/me HTTP/1.9x\r\nhost: %NAME%\r\n\r\n" + SMUGGLED,
}


def spelled(text: bytes, name: str, shown: str) -> bytes:
    return text.replace(b"%NAME%", name.encode()).replace(b"%SHOWN%", f"authorization: Bearer {shown}\r\n".encode())


@pytest.mark.promise("ATTACK-01")
@pytest.mark.parametrize("attack", TWO_WAYS)
def test_what_two_readers_would_cut_differently_is_refused_once(house: Any, faults: list[str], attack: str) -> None:
    with dialled(house.url) as line:
        line.say(spelled(TWO_WAYS[attack], line.name, house.passport()))
        answers = line.answers()
    assert len(answers) == 1, [each.body for each in answers]
    assert (answers[0].status, answers[0].code) in ((400, "OMG-G001"), (413, "OMG-G004")), answers[0]
    assert not wrong_with(answers[0])


ODD_HEADS = {
    "an address of another host": (b"GET http://evil.example/api/v1/me HTTP/1.1\r\nhost: %NAME%\r\n%SHOWN%\r\n", {(400, "OMG-G001")}),
    "a tunnel": (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: %NAME%\r\n\r\n", {(400, "OMG-G001")}),
    "a star": (b"OPTIONS * HTTP/1.1\r\nhost: %NAME%\r\n\r\n", {(404, "OMG-G002")}),
    "two hosts": (b"GET /api/v1/me HTTP/1.1\r\nhost: %NAME%\r\nhost: evil.example\r\n%SHOWN%\r\n", {(400, "OMG-G001")}),
    "no host": (b"GET /api/v1/me HTTP/1.1\r\n%SHOWN%\r\n", {(403, "OMG-G006"), (400, "OMG-G001")}),
    "no host, in an older version": (b"GET /api/v1/me HTTP/1.0\r\n%SHOWN%\r\n", {(403, "OMG-G006")}),
    "a user in the host": (b"GET /api/v1/me HTTP/1.1\r\nhost: 127.0.0.1@evil.example\r\n%SHOWN%\r\n", {(403, "OMG-G006")}),
    "a host behind a mark": (b"GET /api/v1/me HTTP/1.1\r\nhost: evil.example#127.0.0.1\r\n%SHOWN%\r\n", {(403, "OMG-G006")}),
    "an address in another notation": (b"GET /api/v1/me HTTP/1.1\r\nhost: 2130706433\r\n%SHOWN%\r\n", {(403, "OMG-G006")}),
    "two passports at once": (b"GET /api/v1/me HTTP/1.1\r\nhost: %NAME%\r\nauthorization: Bearer x, Bearer y\r\n\r\n", {(401, "OMG-T001")}),
    "the passport as a parameter": (b"GET /api/v1/me?access_token=%TOKEN% HTTP/1.1\r\nhost: %NAME%\r\n\r\n", {(401, "OMG-T001")}),
    "the passport as a cookie": (b"GET /api/v1/me HTTP/1.1\r\nhost: %NAME%\r\ncookie: omega_session=%TOKEN%\r\n\r\n", {(401, "OMG-T001")}),
    "another scheme": (b"GET /api/v1/me HTTP/1.1\r\nhost: %NAME%\r\nauthorization: Basic %TOKEN%\r\n\r\n", {(401, "OMG-T001")}),
    "a proxy that nobody trusts": (
        b"GET /api/v1/me HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-host: %NAME%\r\n%SHOWN%\r\n",
        {(403, "OMG-G006")},
    ),
}  # fmt: skip


@pytest.mark.promise("ATTACK-01")
@pytest.mark.parametrize("attack", ODD_HEADS)
def test_a_head_that_means_somebody_else_is_refused(house: Any, faults: list[str], attack: str) -> None:
    told, allowed = ODD_HEADS[attack]
    token = house.passport()
    with dialled(house.url) as line:
        answer = line.ask(spelled(told, line.name, token).replace(b"%TOKEN%", token.encode()))
    assert answer is not None
    assert (answer.status, answer.code) in allowed, answer
    assert token.encode() not in answer.body
    assert not wrong_with(answer)


BODIES = {
    "UTF-16": '{"hours": 1}'.encode("utf-16"),
    "Latin-1": '{"hours": "\xe9"}'.encode("latin-1"),
    "an overlong letter": b'{"hours\xc0\xaf": 1}',
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*\xcd+.IL\xcfIU\xb2\x02\x00",
    "two values": b'{"hours": 1}{"hours": 2}',
    "a comment": b'{"hours": 1 /* */}',
    "a key twice, spelled differently": b'{"hours": 1, "\\u0068ours": 2}',
    "a half character": b'{"hours": 1, "\\udc00": 2}',
    "65 levels": b'{"hours":' * 65 + b"1" + b"}" * 65,
    "a million levels": b"[" * 1_000_000,
}
PLACES = {
    "http": "/api/v1/insights/summary",
    "mcp": "/mcp",
    "openai": "/v1/chat/completions",
}


@pytest.mark.promise("ATTACK-01")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", BODIES)
def test_a_body_in_disguise_is_refused_at_every_entrance(house: Any, faults: list[str], attack: str, place: str) -> None:
    with house.client() as client:
        headers = {"content-type": "application/json; charset=utf-16", "content-encoding": "gzip" if attack == "compressed" else "identity"}
        answer = client.post(PLACES[place], content=BODIES[attack], headers=headers)
    assert answer.status_code == 400, answer.text
    assert '"OMG-G001"' in answer.text or (place == "mcp" and answer.json()["error"]["code"] in (-32700, -32600)), answer.text
