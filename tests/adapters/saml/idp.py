"""A SAML provider for tests: it makes responses, signed by signxml with a key of its own, as good or as crooked as it is asked to."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree
from signxml import DigestAlgorithm, SignatureMethod, XMLSigner, methods

P = "urn:oasis:names:tc:SAML:2.0:protocol"
A = "urn:oasis:names:tc:SAML:2.0:assertion"
DS = "http://www.w3.org/2000/09/xmldsig#"
NAMES = {"p": P, "a": A, "ds": DS}
ENTITY = "https://idp.example/saml"


@cache
def keypair(name: str) -> tuple[Any, str]:
    """A private key and its certificate as PEM, the same for a name each time."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
    certificate = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2)).sign(key, hashes.SHA256())
    return key, certificate.public_bytes(serialization.Encoding.PEM).decode()


def metadata(address: str = "https://idp.example/sso", entity: str = ENTITY, key: str = "idp") -> str:
    """The provider's metadata."""
    bare = "".join(keypair(key)[1].splitlines()[1:-1])
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{entity}"><md:IDPSSODescriptor '
        f'protocolSupportEnumeration="{P}"><md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data>'
        f"<ds:X509Certificate>{bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{address}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


@dataclass(kw_only=True)
class Response:
    """What a response says."""

    request: str
    recipient: str
    audience: str
    now: float
    entity: str = ENTITY
    name: str = "ada"
    id: str = "_a1"
    lasts_s: float = 300
    age_s: float = 1
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    format: str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    method: str = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    attributes: dict[str, list[str]] = field(default_factory=lambda: {"email": ["ada@example.com"], "groups": ["eng"]})
    more: str = ""

    def document(self) -> Any:
        """The response as an element, not signed."""

        def at(seconds: float) -> str:
            return datetime.fromtimestamp(self.now + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

        said = "".join(
            f'<a:Attribute Name="{name}">{"".join(f"<a:AttributeValue>{value}</a:AttributeValue>" for value in values)}</a:Attribute>'
            for name, values in self.attributes.items()
        )
        text = (
            f'<p:Response xmlns:p="{P}" xmlns:a="{A}" ID="_r1" Version="2.0" IssueInstant="{at(0)}" InResponseTo="{self.request}" '
            f'Destination="{self.recipient}"><a:Issuer>{self.entity}</a:Issuer><p:Status><p:StatusCode Value="{self.status}"/></p:Status>'
            f'<a:Assertion ID="{self.id}" Version="2.0" IssueInstant="{at(0)}"><a:Issuer>{self.entity}</a:Issuer>'
            f'<a:Subject><a:NameID Format="{self.format}">{self.name}</a:NameID><a:SubjectConfirmation Method="{self.method}">'
            f'<a:SubjectConfirmationData InResponseTo="{self.request}" Recipient="{self.recipient}" NotOnOrAfter="{at(self.lasts_s)}"/>'
            f'</a:SubjectConfirmation></a:Subject><a:Conditions NotBefore="{at(-self.age_s)}" NotOnOrAfter="{at(self.lasts_s)}">'
            f"<a:AudienceRestriction><a:Audience>{self.audience}</a:Audience></a:AudienceRestriction></a:Conditions>"
            f'<a:AuthnStatement AuthnInstant="{at(0)}"/><a:AttributeStatement>{said}</a:AttributeStatement>{self.more}</a:Assertion>'
            "</p:Response>"
        )
        return etree.fromstring(text)


def sign(root: Any, *, key: str = "idp", whole: bool = False) -> Any:
    """The response with its assertion signed, or all of it."""
    private, certificate = keypair(key)
    signer = XMLSigner(
        method=methods.enveloped,
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
    )
    if whole:
        return signer.sign(root, key=private, cert=certificate, reference_uri="_r1", id_attribute="ID")
    assertion = root.find("a:Assertion", NAMES)
    signed = signer.sign(assertion, key=private, cert=certificate, reference_uri=assertion.get("ID"), id_attribute="ID")
    root.replace(assertion, signed)
    return etree.fromstring(etree.tostring(root))


def encoded(root: Any) -> str:
    """As the form brings it."""
    return base64.b64encode(root if isinstance(root, bytes) else etree.tostring(root)).decode()
