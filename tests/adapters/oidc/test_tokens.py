"""ID tokens: one that holds, and every way in which one does not. Each crooked token is signed by a key that the provider has, but for
those that are about keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from omega.adapters.oidc import Expected, challenge_of, claims_of
from omega.kernel.errors import Denied

NOW = 1_790_000_000
EXPECTED = Expected(issuer="https://idp.example", client_id="omega", nonce="n-1", now=NOW, access_token="at-1")


@cache
def key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def keys(*kids: str) -> dict[str, Any]:
    return {"keys": [key(kid).as_dict(private=False) for kid in kids]}


def claims(**changed: Any) -> dict[str, Any]:
    usual = {"iss": "https://idp.example", "aud": "omega", "sub": "u1", "nonce": "n-1", "exp": NOW + 300, "iat": NOW - 1}
    return {name: value for name, value in (usual | changed).items() if value is not None}


def token(said: dict[str, Any], kid: str = "k1", alg: str = "RS256") -> str:
    return jwt.encode({"alg": alg, "kid": kid}, said, key(kid), algorithms=[alg])


def at_hash(access: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(access.encode()).digest()[:16]).decode().rstrip("=")


@pytest.mark.promise("SSO-06")
def test_a_token_that_holds_says_who_it_is() -> None:
    for said in (claims(), claims(aud=["omega", "more"], azp="omega"), claims(at_hash=at_hash("at-1")), claims(exp=NOW - 30)):
        assert claims_of(token(said), keys("k1", "k2"), EXPECTED)["sub"] == "u1"
    assert claims_of(token(claims(), alg="PS256"), {"keys": [key("k1").as_dict(private=False)]}, EXPECTED)["sub"] == "u1"
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "RFC 7636, B"


CROOKED = {
    "another issuer": claims(iss="https://idp.example/"),
    "no issuer": claims(iss=None),
    "for somebody else": claims(aud="other"),
    "for nobody": claims(aud=None),
    "for many, given to nobody": claims(aud=["omega", "other"]),
    "given to somebody else": claims(aud=["omega"], azp="other"),
    "an audience that is no text": claims(aud=["omega", {"a": 1}], azp="omega"),
    "of another attempt": claims(nonce="n-2"),
    "of no attempt": claims(nonce=None),
    "a nonce that is no text": claims(nonce=["n-1"]),
    "over": claims(exp=NOW - 61),
    "without an end": claims(exp=None),
    "an end that is no number": claims(exp="never"),
    "of a time to come": claims(iat=NOW + 61),
    "not yet": claims(nbf=NOW + 61),
    "made too long ago": claims(iat=NOW - 1_000),
    "without a beginning": claims(iat=None),
    "of nobody": claims(sub=None),
    "of an empty name": claims(sub=""),
    "of a name without an end": claims(sub="x" * 256),
    "of a name of two lines": claims(sub="a\nb"),
    "of a name that is no text": claims(sub=7),
    "beside another access token": claims(at_hash=at_hash("at-2")),
}


@pytest.mark.promise("SSO-06")
@pytest.mark.parametrize("said", CROOKED.values(), ids=CROOKED)
def test_what_does_not_hold_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        claims_of(token(said), keys("k1"), EXPECTED)


def _none(said: dict[str, Any]) -> str:
    parts = [json.dumps({"alg": "none"}), json.dumps(said)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


def _symmetric(said: dict[str, Any]) -> str:
    parts = [json.dumps({"alg": "HS256", "kid": "k1"}), json.dumps(said)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    mac = hmac.digest(key("k1").as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.promise("SSO-06")
def test_signatures_of_other_keys_and_of_other_kinds_are_refused() -> None:
    good = token(claims())
    header, body, signature = good.split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims(sub="admin")).encode()).decode().rstrip("=")
    embedded = jwt.encode({"alg": "RS256", "jwk": key("k9").as_dict(private=False)}, claims(), key("k9"), algorithms=["RS256"])
    crooked = {
        "not signed": _none(claims()),
        "signed with what is public": _symmetric(claims()),
        "another body": f"{header}.{other}.{signature}",
        "no signature": f"{header}.{body}.",
        "another key of that name": jwt.encode({"alg": "RS256", "kid": "k1"}, claims(), key("k9"), algorithms=["RS256"]),
        "a key that it brings along": embedded,
        "no token": "x",
        "a token of five parts": "a.b.c.d.e",
        "a header that is no object": base64.urlsafe_b64encode(b"[]").decode() + ".e30.",
        "a long one": "e30." + "a" * 70_000 + ".x",
    }
    for what, text in crooked.items():
        with pytest.raises(Denied):
            claims_of(text, keys("k1"), EXPECTED)
            pytest.fail(what)
    with pytest.raises(Denied):
        claims_of(token(claims(), kid="k2"), keys("k1"), EXPECTED)
    elliptic = ECKey.generate_key("P-256", {"kid": "k1"}).as_dict(private=False)
    for listed in ({"keys": [elliptic]}, {"keys": []}, {}, {"keys": [None, 1]}, {"keys": [key("k1").as_dict(private=False)] * 2}):
        with pytest.raises(Denied):
            claims_of(good, listed, EXPECTED)
    encrypting = {"keys": [key("k1").as_dict(private=False) | {"use": "enc"}]}
    with pytest.raises(Denied):
        claims_of(good, encrypting, EXPECTED)
