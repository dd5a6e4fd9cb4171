"""The request that sends a browser to its provider (saml-bindings-2.0, 3.4), and what is published about this side (saml-metadata-2.0)."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from xml.sax.saxutils import quoteattr

_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_SAML: Final = "urn:oasis:names:tc:SAML:2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """This side, as a provider knows it: its entity, and the address that responses are posted to."""

    entity: str
    recipient: str


def address_of(place: str, side: Side, request: str, relay: str, now: float) -> str:
    """Where the browser is sent: the provider's address with a request of that id, and `relay`, which comes back with the response."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "xmlns:samlp": f"{_SAML}:protocol",
        "xmlns:saml": f"{_SAML}:assertion",
        "ID": request,
        "Version": "2.0",
        "IssueInstant": moment,
        "Destination": place,
        "AssertionConsumerServiceURL": side.recipient,
        "ProtocolBinding": _POST,
    }
    opening = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    issuer = side.entity.replace("&", "&amp;").replace("<", "&lt;")
    document = f"<samlp:AuthnRequest {opening}><saml:Issuer>{issuer}</saml:Issuer></samlp:AuthnRequest>"
    deflated = zlib.compress(document.encode(), 9, -15)  # raw, as 3.4.4.1 says
    query = urlencode({"SAMLRequest": base64.b64encode(deflated).decode(), "RelayState": relay})
    return f"{place}{'&' if '?' in place else '?'}{query}"


def metadata(side: Side) -> bytes:
    """What a provider is told about this side. Assertions are to be signed; requests are not."""
    entity, recipient = quoteattr(side.entity), quoteattr(side.recipient)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<md:EntityDescriptor xmlns:md="{_SAML}:metadata" entityID={entity}>'
        f'<md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="{_SAML}:protocol">'
        f"<md:NameIDFormat>{_SAML}:nameid-format:persistent</md:NameIDFormat>"
        f'<md:AssertionConsumerService Binding="{_POST}" Location={recipient} index="0" isDefault="true"/>'
        "</md:SPSSODescriptor></md:EntityDescriptor>\n"
    ).encode()
