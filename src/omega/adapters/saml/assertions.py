"""What a signed assertion says, once every check has passed.

shape      one Response, one Assertion below it and none elsewhere, signatures where they belong: nothing to wrap (XSW) stays unseen
signature  by a certificate of the provider, over the assertion or over the whole response; read is what was signed, and nothing else
response   success, for this attempt, sent to this address
assertion  of this provider, for this side, for this attempt (`InResponseTo`), to this address, not over, about somebody
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from omega.adapters.saml.reading import ASSERTION, MAX_BYTES, PROTOCOL, SIGNATURE, library, read, refused, text_of

LEEWAY_S: Final = 60
"""How far the provider's clock may be from ours, in seconds."""

MAX_LIFE_S: Final = 3_600
"""Longest time (seconds) that an assertion may count: it is remembered for as long, to be used once."""

MAX_NAME: Final = 512
MAX_ATTRIBUTES: Final = 100
MAX_VALUES: Final = 500

SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
TRANSFORMS: Final = frozenset(
    {
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2006/12/xml-c14n11",
    }
)
_PLACES: Final = (f"./{ASSERTION}Assertion/", "./")
"""Where a signature may stand: in the assertion, or in the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What a response is held against: the provider's entity and certificates (PEM), this side's entity and address, the id of the request,
    and the time in Unix seconds."""

    issuer: str
    certificates: Sequence[str]
    audience: str
    recipient: str
    request: str
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an assertion says: its id, the name of the subject and the attributes by name, and until when (Unix seconds) it counts."""

    id: str
    name: str
    attributes: dict[str, list[str]]
    until: float


def said_by(encoded: str, awaited: Awaited) -> Said:
    """What the response `encoded` (base64, as the form brings it) says. Raises Denied (OMG-T001) for whatever does not hold."""
    if len(encoded) > MAX_BYTES * 2:
        raise refused(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        body = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused("it is no base64") from error
    root = read(body)
    _demand_shape(root)
    _demand_response(root, awaited)
    assertion = _signed_assertion(root, awaited)
    return _said(assertion, awaited)


def _demand_shape(root: Any) -> None:
    if root.tag != f"{PROTOCOL}Response":
        raise refused("it is no Response")
    inside = [child for child in root if child.tag == f"{ASSERTION}Assertion"]
    everywhere = list(root.iter(f"{ASSERTION}Assertion"))
    if len(inside) != 1 or len(everywhere) != 1 or any(True for _ in root.iter(f"{ASSERTION}EncryptedAssertion")):
        raise refused("it has not one assertion that can be read")
    for signature in root.iter(f"{SIGNATURE}Signature"):
        if signature.getparent() not in (root, inside[0]):
            raise refused("a signature stands where none belongs")
        used = {each.get("Algorithm") for each in signature.iter(f"{SIGNATURE}Transform")}
        if not used <= TRANSFORMS:
            raise refused("a signature transforms what it covers")
    for place in (root, inside[0]):
        if len(place.findall(f"{SIGNATURE}Signature")) > 1:
            raise refused("something is signed twice")


def _demand_response(root: Any, awaited: Awaited) -> None:
    """What the response says around its assertion; it may not be signed, so none of it is believed, but it is held against the attempt."""
    status = root.find(f"{PROTOCOL}Status/{PROTOCOL}StatusCode")
    if root.get("Version") != "2.0" or status is None or status.get("Value") != SUCCESS:
        raise refused("the provider did not sign anybody in")
    if root.get("InResponseTo") != awaited.request or root.get("Destination", awaited.recipient) != awaited.recipient:
        raise refused("it is of another attempt, or for another address")
    issuer = root.find(f"{ASSERTION}Issuer")
    if issuer is not None and text_of(issuer) != awaited.issuer:
        raise refused("it is of another provider")


def _signed_assertion(root: Any, awaited: Awaited) -> Any:
    """The assertion out of what a signature covers. Raises Denied (OMG-T001) where none does."""
    signxml = library("signxml")
    own = root.find(f"{ASSERTION}Assertion")
    for place in _PLACES:
        if root.find(f"{place}{SIGNATURE}Signature") is None:
            continue
        signed = _verified(signxml, root, place, awaited.certificates)
        found = signed if signed.tag == f"{ASSERTION}Assertion" else signed.find(f"{ASSERTION}Assertion")
        holder = own if place != "./" else root
        if found is None or signed.tag != holder.tag or signed.get("ID") != holder.get("ID") or not signed.get("ID"):
            raise refused("what is signed is not what stands there")
        return found
    raise refused("it is not signed")


def _verified(signxml: Any, root: Any, place: str, certificates: Sequence[str]) -> Any:
    """What the signature at `place` covers, if a certificate of the provider made it; parsed anew from the bytes that were signed."""
    methods = frozenset(each for each in signxml.SignatureMethod if "SHA1" not in each.name and not each.name.startswith("HMAC"))
    expected = signxml.SignatureConfiguration(location=place, expect_references=1, signature_methods=methods)
    for certificate in certificates:
        try:
            result = signxml.XMLVerifier().verify(root, x509_cert=certificate, expect_config=expected, id_attribute="ID")
        except (signxml.InvalidInput, signxml.InvalidSignature, signxml.InvalidDigest, ValueError):
            continue  # of another key of the provider, perhaps
        if result.signed_xml is not None:
            return read(result.signed_data)
    raise refused("its signature does not hold")


def _said(assertion: Any, awaited: Awaited) -> Said:
    name, identifier = assertion.get("ID", ""), assertion.find(f"{ASSERTION}Subject/{ASSERTION}NameID")
    if (
        assertion.get("Version") != "2.0"
        or not 0 < len(name) <= MAX_NAME
        or text_of(assertion.find(f"{ASSERTION}Issuer")) != awaited.issuer
    ):
        raise refused("the assertion is of another provider")
    subject = text_of(identifier)
    if identifier is None or not 0 < len(subject) <= MAX_NAME or not subject.isprintable() or identifier.get("Format") == TRANSIENT:
        raise refused("the assertion names nobody for good")
    if assertion.find(f"{ASSERTION}AuthnStatement") is None:
        raise refused("the assertion says of no sign-in")
    until = min(_confirmed_until(assertion, awaited), _conditions_until(assertion, awaited))
    if until - awaited.now > MAX_LIFE_S:
        raise refused("the assertion counts for too long")
    return Said(id=name, name=subject, attributes=_attributes(assertion), until=until + LEEWAY_S)


def _confirmed_until(assertion: Any, awaited: Awaited) -> float:
    """Until when a bearer may show it here, in answer to this attempt (saml-profiles-2.0, 4.1.4.2). Raises Denied (OMG-T001)."""
    for each in assertion.findall(f"{ASSERTION}Subject/{ASSERTION}SubjectConfirmation"):
        data = each.find(f"{ASSERTION}SubjectConfirmationData")
        if each.get("Method") != BEARER or data is None or data.get("NotBefore") is not None:
            continue
        until = _moment(data.get("NotOnOrAfter"))
        mine = data.get("Recipient") == awaited.recipient and data.get("InResponseTo") == awaited.request
        if mine and awaited.now < until + LEEWAY_S:
            return until
    raise refused("the assertion is over, of another attempt, or for another address")


def _conditions_until(assertion: Any, awaited: Awaited) -> float:
    conditions = assertion.findall(f"{ASSERTION}Conditions")
    if len(conditions) != 1:
        raise refused("the assertion has no conditions")
    found = conditions[0]
    before = _moment(found.get("NotBefore")) if found.get("NotBefore") else 0.0
    until = _moment(found.get("NotOnOrAfter")) if found.get("NotOnOrAfter") else awaited.now + MAX_LIFE_S
    if not before - LEEWAY_S <= awaited.now < until + LEEWAY_S:
        raise refused("the assertion does not count now")
    restrictions = found.findall(f"{ASSERTION}AudienceRestriction")
    meant = [[text_of(each) for each in one.findall(f"{ASSERTION}Audience")] for one in restrictions]
    if not meant or not all(awaited.audience in one for one in meant):
        raise refused("the assertion is for somebody else")
    return until


def _attributes(assertion: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in assertion.iterfind(f"{ASSERTION}AttributeStatement/{ASSERTION}Attribute"):
        values = [text_of(value) for value in each.findall(f"{ASSERTION}AttributeValue")]
        found.setdefault(each.get("Name", ""), []).extend(values)
    if len(found) > MAX_ATTRIBUTES or any(len(values) > MAX_VALUES for values in found.values()):
        raise refused("the assertion says more than is read")
    return found


def _moment(text: str | None) -> float:
    """A time of SAML (saml-core-2.0, 1.3.3: UTC) in Unix seconds. Raises Denied (OMG-T001)."""
    try:
        found = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError as error:
        raise refused("a time of it cannot be read") from error
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
