"""What a provider's metadata says of it: its entity, where browsers are sent, and the certificates that it signs with."""

from __future__ import annotations

import base64
import binascii
import textwrap
from dataclasses import dataclass
from typing import Final

from omega.adapters.saml.reading import METADATA, SIGNATURE, read, text_of
from omega.kernel.errors import InputError

MAX_CERTIFICATES: Final = 8
_REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A provider: its entity, its address for browsers, its certificates as PEM."""

    entity: str
    address: str
    certificates: tuple[str, ...]


def issuer_of(document: bytes) -> Issuer:
    """The provider that a metadata file describes. Whoever hands it in vouches for it. Raises InputError (OMG-I001), Denied (OMG-T001)."""
    root = read(document)
    if root.tag != f"{METADATA}EntityDescriptor":
        raise InputError("OMG-I001", "the metadata describes not one provider", advice="save the metadata of the provider's application")
    role = root.find(f"{METADATA}IDPSSODescriptor")
    services = [] if role is None else role.findall(f"{METADATA}SingleSignOnService")
    address = next((str(each.get("Location", "")) for each in services if each.get("Binding") == _REDIRECT), "")
    entity = str(root.get("entityID", ""))
    keys = [] if role is None else [each for each in role.findall(f"{METADATA}KeyDescriptor") if each.get("use", "signing") == "signing"]
    found = [text_of(one) for each in keys for one in each.iter(f"{SIGNATURE}X509Certificate")]
    if not entity or not address.startswith(("https://", "http://")) or not 0 < len(found) <= MAX_CERTIFICATES:
        raise InputError("OMG-I001", "the metadata lacks an entity, an address for redirections, or the certificates of signatures")
    return Issuer(entity=entity, address=address, certificates=tuple(map(_pem, found)))


def _pem(text: str) -> str:
    """A certificate as PEM. Raises InputError (OMG-I001)."""
    from cryptography import x509

    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        x509.load_der_x509_certificate(der)
    except (binascii.Error, ValueError) as error:
        raise InputError("OMG-I001", "a certificate of the metadata cannot be read") from error
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
