"""Responses of SAML: one that holds, and the list of what attackers and broken providers send."""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from lxml import etree

from adapters.saml.idp import ENTITY, NAMES, A, P, Response, encoded, keypair, metadata, sign
from omega.adapters.saml import Awaited, Side, address_of, issuer_of, said_by
from omega.adapters.saml import metadata as published
from omega.kernel.errors import Denied, InputError

NOW = 1_790_000_000.0
SIDE = Side(entity="https://omega.example/sso/acme/metadata", recipient="https://omega.example/sso/acme/acs")


def awaited(key: str = "idp", **changed: Any) -> Awaited:
    usual: dict[str, Any] = {"issuer": ENTITY, "audience": SIDE.entity, "recipient": SIDE.recipient, "request": "_q1", "now": NOW}
    return Awaited(**usual | {"certificates": [keypair("old")[1], keypair(key)[1]]} | changed)


def response(**changed: Any) -> Any:
    usual: dict[str, Any] = {"request": "_q1", "recipient": SIDE.recipient, "audience": SIDE.entity, "now": NOW}
    return Response(**usual | changed).document()


@pytest.mark.promise("SSO-07")
@pytest.mark.parametrize("whole", [False, True])
def test_a_signed_response_says_who_it_is(whole: bool) -> None:
    said = said_by(encoded(sign(response(), whole=whole)), awaited())
    assert (said.id, said.name, said.attributes) == ("_a1", "ada", {"email": ["ada@example.com"], "groups": ["eng"]})
    assert NOW < said.until <= NOW + 400


SAID = {
    "another audience": {"audience": "https://other.example"},
    "another recipient": {"recipient": "https://other.example/acs"},
    "another attempt": {"request": "_q2"},
    "no attempt": {"request": ""},
    "another provider": {"entity": "https://evil.example"},
    "over": {"lasts_s": -61},
    "not yet": {"age_s": -120},
    "for too long": {"lasts_s": 4_000},
    "not signed in": {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"},
    "of a name that changes": {"format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"},
    "of nobody": {"name": ""},
    "of a name in parts": {"name": "ad<a:b/>a"},
    "not of a bearer": {"method": "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"},
    "of a long name": {"name": "x" * 600},
}


@pytest.mark.promise("SSO-07")
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_what_is_signed_and_does_not_hold_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        said_by(encoded(sign(response(**said))), awaited())


def test_an_audience_and_a_sign_in_are_said() -> None:
    for gone in ("a:Assertion/a:Conditions/a:AudienceRestriction", "a:Assertion/a:AuthnStatement", "a:Assertion/a:Conditions"):
        root = response()
        element = root.find(gone, NAMES)
        element.getparent().remove(element)
        with pytest.raises(Denied):
            said_by(encoded(sign(root)), awaited())


def _forged(good: Any) -> Any:
    """The signed assertion's twin, without its signature, for somebody else."""
    twin = copy.deepcopy(good.find("a:Assertion", NAMES))
    twin.remove(twin.find("ds:Signature", NAMES))
    twin.find("a:Subject/a:NameID", NAMES).text = "admin"
    return twin


def _beside(root: Any, *, first: bool, same: bool) -> Any:
    """XSW: a forged assertion beside the signed one, before or after it, with its id or another."""
    twin = _forged(root)
    twin.set("ID", root.find("a:Assertion", NAMES).get("ID") if same else "_evil")
    root.insert(2 if first else len(root), twin)
    return root


def _around(root: Any) -> Any:
    """XSW: the forged one where the signed one was, which lies inside it."""
    own, twin = root.find("a:Assertion", NAMES), _forged(root)
    twin.set("ID", "_evil")
    root.replace(own, twin)
    twin.append(own)
    return root


def _taken(root: Any) -> Any:
    """XSW: the forged one has taken the signature, whose object holds the signed one."""
    own, twin = root.find("a:Assertion", NAMES), _forged(root)
    twin.set("ID", "_evil")
    signature = own.find("ds:Signature", NAMES)
    own.remove(signature)
    etree.SubElement(signature, "{http://www.w3.org/2000/09/xmldsig#}Object").append(own)
    twin.insert(1, signature)
    root.append(twin)
    return root


def _extended(root: Any) -> Any:
    """XSW: the signed one lies in an extension, the forged one where it belongs."""
    own, twin = root.find("a:Assertion", NAMES), _forged(root)
    twin.set("ID", "_evil")
    root.replace(own, twin)
    etree.SubElement(root, f"{{{P}}}Extensions").append(own)
    return root


def _wrapped_response(root: Any) -> Any:
    """XSW: a signed response inside a forged one."""
    outer = etree.fromstring(etree.tostring(response(name="admin", id="_evil")))
    outer.set("ID", "_evil_r")
    etree.SubElement(outer, f"{{{P}}}Extensions").append(sign(response(), whole=True))
    return outer


def _moved_signature(root: Any) -> Any:
    """The assertion's signature moved to the response, the assertion changed."""
    own = root.find("a:Assertion", NAMES)
    signature = own.find("ds:Signature", NAMES)
    own.remove(signature)
    root.insert(1, signature)
    own.find("a:Subject/a:NameID", NAMES).text = "admin"
    return root


def _edited(root: Any) -> Any:
    root.find("a:Assertion/a:Subject/a:NameID", NAMES).text = "admin"
    return root


def _encrypted(root: Any) -> Any:
    etree.SubElement(root, f"{{{A}}}EncryptedAssertion")
    return root


WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    "beside, before": lambda root: _beside(root, first=True, same=False),
    "beside, after": lambda root: _beside(root, first=False, same=False),
    "beside, before, of the same id": lambda root: _beside(root, first=True, same=True),
    "beside, after, of the same id": lambda root: _beside(root, first=False, same=True),
    "around": _around,
    "with the signature of another": _taken,
    "in place of one in an extension": _extended,
    "a response around a response": _wrapped_response,
    "a signature that was moved": _moved_signature,
    "changed after it was signed": _edited,
    "with one that cannot be read": _encrypted,
}


@pytest.mark.promise("SSO-07")
@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_nothing_is_read_but_what_was_signed(wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(Denied):
        said_by(encoded(wrap(sign(response()))), awaited())


@pytest.mark.promise("SSO-07")
def test_signatures_of_nobody_of_strangers_and_of_old_kinds_are_refused() -> None:
    with pytest.raises(Denied, match="not signed"):
        said_by(encoded(response()), awaited())
    with pytest.raises(Denied, match="does not hold"):
        said_by(encoded(sign(response(), key="evil")), awaited())
    with pytest.raises(Denied):
        said_by(encoded(sign(sign(response(name="admin"), key="evil"), key="evil2", whole=True)), awaited())
    old = etree.tostring(sign(response())).replace(b"xmldsig-more#rsa-sha256", b"xmldsig-more#hmac-sha256")
    with pytest.raises(Denied):
        said_by(encoded(old), awaited())
    turned = etree.tostring(sign(response())).replace(b"2000/09/xmldsig#enveloped-signature", b"TR/1999/REC-xslt-19991116", 1)
    with pytest.raises(Denied, match="transforms"):
        said_by(encoded(turned), awaited())


@pytest.mark.promise("SSO-07")
def test_xml_that_could_be_read_in_two_ways_is_not_read() -> None:
    good = etree.tostring(sign(response()))
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + good.replace(b"eng", b"&b;")
    crooked = {
        "a comment in a name": good.replace(b">ada<", b">admin<!-- -->@x<"),
        "a comment before": b"<!-- -->" + good,
        "an instruction": good.replace(b"<p:Status>", b"<?x y?><p:Status>"),
        "a bomb": bomb,
        "a file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + good.replace(b"eng", b"&a;"),
        "a document type alone": b"<!DOCTYPE p:Response>" + good,
        "in other bytes": good.decode().encode("utf-16"),
        "in other bytes, said so": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + good,
        "deep": b"<a>" * 100 + b"</a>" * 100,
        "wide": b"<a>" + b"<b/>" * 3_000 + b"</a>",
        "huge": b"<a>" + b" " * (300 << 10) + b"</a>",
        "no XML": b"hello",
        "nothing": b"",
    }
    for what, body in crooked.items():
        with pytest.raises(Denied):
            said_by(base64.b64encode(body).decode(), awaited())
            pytest.fail(what)
    with pytest.raises(Denied):
        said_by("not base64 at all", awaited())


def test_a_request_and_metadata_say_where_this_side_is() -> None:
    place = address_of("https://idp.example/sso?x=1", SIDE, "_q1", "state", NOW)
    query = parse_qs(urlsplit(place).query)
    root = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15))
    assert query["x"] == ["1"] and query["RelayState"] == ["state"] and root.get("ID") == "_q1"
    assert root.get("AssertionConsumerServiceURL") == SIDE.recipient and root.findtext("a:Issuer", namespaces=NAMES) == SIDE.entity
    told = etree.fromstring(published(SIDE))
    assert told.get("entityID") == SIDE.entity and SIDE.recipient.encode() in published(SIDE)
    found = issuer_of(metadata().encode())
    assert (found.entity, found.address) == (ENTITY, "https://idp.example/sso") and "BEGIN CERTIFICATE" in found.certificates[0]
    for text in (
        "<a/>",
        metadata().replace("HTTP-Redirect", "HTTP-POST"),
        metadata().replace("<ds:X509Certificate>", "<ds:X509Certificate>x"),
    ):
        with pytest.raises(InputError):
            issuer_of(text.encode())
