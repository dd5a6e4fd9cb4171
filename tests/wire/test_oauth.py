"""Laws of what clients say of themselves: where answers may be sent, what a resource covers, what is shown."""

from __future__ import annotations

import base64
from hashlib import sha256
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.wire.oauth import (
    Client,
    answered,
    check_redirect,
    client_document,
    covering,
    is_challenge,
    is_document_id,
    origin_of,
    resource_name,
    same_redirect,
    shown,
    verifies,
)

LOCAL = "http://127.0.0.1:4000/callback"
PORTS = st.integers(1, 65_535)
TEXTS = st.text(max_size=60)


@settings(max_examples=60, deadline=None)
@given(PORTS)
def test_the_port_is_free_on_the_persons_own_machine_alone(port: int) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert same_redirect(f"http://{host}:{port}/callback", [f"http://{host}:4000/callback"])
    assert not same_redirect(f"https://app.example:{port}/callback", ["https://app.example/callback"])
    assert not same_redirect(f"http://127.0.0.1:{port}/callback/", [LOCAL])
    assert not same_redirect(f"http://127.0.0.1:{port}@evil.example/callback", [LOCAL])


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_what_may_be_answered_never_breaks_a_header_or_a_policy(text: str) -> None:
    for uri in (text, f"https://{text}/callback", f"http://127.0.0.1{text}", f"app:{text}", f"https://app.example/{text}"):
        try:
            check_redirect(uri)
        except InputError:
            continue
        assert uri.isascii() and uri.isprintable() and not set(uri) & set(' "<>\\^`{}|#')
        assert not set(origin_of(uri)) & set(" ;,'")
        assert urlsplit(uri).scheme not in ("javascript", "data", "file", "blob")
        assert urlsplit(uri).scheme != "http" or urlsplit(uri).hostname in ("127.0.0.1", "localhost", "::1")


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["code", "state", "iss", "error"]), TEXTS.map(lambda text: text.encode("utf-8", "replace").decode()))
)
def test_an_answer_says_what_it_was_given_behind_what_was_there(fields: dict[str, str]) -> None:
    where = answered("https://app.example/callback?kept=1", fields)
    assert parse_qsl(urlsplit(where).query, keep_blank_values=True) == [
        ("kept", "1"),
        *((name, text) for name, text in fields.items() if text),
    ]
    assert where.isascii() and "\n" not in where


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abcXYZ019-._~", min_size=43, max_size=128))
def test_a_verifier_is_known_by_its_hash_alone(verifier: str) -> None:
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert is_challenge(challenge) and verifies(verifier, challenge)
    assert not verifies(verifier[:-1] + ("a" if verifier[-1] != "a" else "b"), challenge)
    assert not verifies(challenge, challenge) and not verifies("", challenge)


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("cursor://anysphere.cursor-retrieval/oauth/user-agent-callback", True),
        ("com.example.app:/oauth", True),
        ("https://app.example/callback?x=1", True),
        ("https://app.example:99999/", False),
        ("https://app.example/a/../callback", False),
        ("https://app.example/%2e%2e/callback", False),
        ("https:///callback", False),
        ("HTTPS://app.example/callback", False),
        ("JavaScript:alert(1)", False),
        ("//app.example/callback", False),
        ("/callback", False),
        ("", False),
    ],
)
def test_addresses_for_answers(uri: str, good: bool) -> None:
    if good:
        check_redirect(uri)
    else:
        with pytest.raises(InputError):
            check_redirect(uri)


def test_a_document_is_known_by_its_own_address() -> None:
    address = "https://app.example/oauth/client.json"
    document = {"client_id": address, "client_name": "App", "redirect_uris": [LOCAL], "client_uri": "https://evil.example/"}
    client = client_document(document, address)
    assert (client.voucher, client.home, client.actor) == ("app.example", "", "agent:app.example/oauth/client.json")
    for other in ({"client_id": f"{address}x"}, {"client_secret": "s"}, {"token_endpoint_auth_method": "client_secret_post"}):
        with pytest.raises(InputError):
            client_document(document | other, address)
    assert is_document_id(address)
    for text in (
        "http://app.example/c",
        "https://app.example",
        "https://app.example/",
        "https://a@app.example/c",
        "https://app.example/a/../c",
    ):
        assert not is_document_id(text), text


def test_a_long_client_still_has_a_name_in_a_chain() -> None:
    one, two = (Client(id=f"https://app.example/{'x' * 200}{n}", name="", redirects=(LOCAL,), voucher="app.example") for n in range(2))
    assert one.actor != two.actor and len(one.actor) <= 128 and one.actor.startswith("agent:app.example~")


def test_a_virtual_server_is_a_resource_of_its_own() -> None:
    assert covering("http://h/mcp/one") == ("http://h/mcp/one", "http://h")
    assert covering("http://h/mcp") == ("http://h/mcp", "http://h")
    assert "http://h/api" in covering("http://h/api/v1/me")
    assert resource_name("HTTP://Host:1/mcp/") == "http://host:1/mcp"
    for text in ("ftp://h/mcp", "http://h/mcp?x", "http://h/mcp#", "http://u@h/mcp", "mcp", "http://h/a/../mcp"):
        with pytest.raises(InputError):
            resource_name(text)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_name_is_shown_on_one_line_and_hides_nothing(text: str) -> None:
    found = shown(text)
    assert len(found) <= 80 and not set(found) & set("\n\r\t\u202e\u200b\u2066\ufeff")
