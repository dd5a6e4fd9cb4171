"""Workload identity in SPIFFE form: names, X.509-SVIDs and JWT-SVIDs. Pure: certificates and tokens in, a name or a refusal out.

    spiffe://omega.local/worker/mail-3       scheme, trust domain, path: SPIFFE-ID 2
    X.509-SVID                               a certificate that names one workload: X509-SVID 2 to 5
    JWT-SVID                                 a token that does, for one audience: JWT-SVID 3

The rules are those of the SPIFFE standards (github.com/spiffe/spiffe, folder standards). They are strict on purpose: what two readers
could read in two ways is refused. That a chain of signatures leads to a trusted root is the business of TLS, with the bundle that
`omega.adapters.certificates` keeps; what is checked here is whether the certificate at its end is one that names a workload of this domain.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.trust.jws import Malformed, signed, taken_apart
from omega.trust.keys import PublicKey

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SCHEME = "spiffe"

MAX_ID = 2048
"""Longest SPIFFE id in bytes (SPIFFE-ID, 2.3)."""

MAX_DOMAIN = 255
"""Longest trust domain in bytes (SPIFFE-ID, 2.3)."""

MAX_CERTIFICATE = 16 << 10
"""Largest certificate that is looked at, in bytes: one with an ML-DSA-65 key and signature takes about six thousand."""

MAX_SVID_S = 24 * 3600
"""Longest life of a JWT-SVID, in seconds: there is no way to take one back."""

LEEWAY_S = 5
"""How far `iat` and `nbf` may lie ahead, in seconds, for clocks that differ."""

MAX_TOKEN = 8192
MAX_AUDIENCES = 16

TYPE = "JWT"

_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The name of a workload, or with an empty path of a whole trust domain. Raises Denied (OMG-T010) for what can be none."""

    domain: str
    path: str = ""

    def __post_init__(self) -> None:
        segments = self.path.split("/")[1:] if self.path else []
        named = all(_SEGMENT.fullmatch(each) and each not in (".", "..") for each in segments)
        if not _DOMAIN.fullmatch(self.domain) or not named or (self.path and not self.path.startswith("/")) or len(str(self)) > MAX_ID:
            raise refused("it names no workload as SPIFFE writes them")

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """From its one spelling: no port, user, query or fragment, no percent-encoding, no empty segment. Raises Denied (OMG-T010)."""
        scheme, mark, rest = text.partition("://")
        if not mark or scheme != SCHEME or len(text) > MAX_ID:
            raise refused("it names no workload as SPIFFE writes them")
        domain, slash, path = rest.partition("/")
        return cls(domain, f"/{path}" if slash else "")

    def __str__(self) -> str:
        return f"{SCHEME}://{self.domain}{self.path}"


def workload_of(der: bytes, *, domain: str, now_s: float) -> SpiffeId:
    """The workload that an X.509-SVID names, for a certificate whose chain was verified. Raises Denied (OMG-T010).

    One URI name and no other (X509-SVID, 2); a leaf, which may sign data and no certificates (4.3); of `domain`; in its time.
    """
    from cryptography.x509 import load_der_x509_certificate

    if len(der) > MAX_CERTIFICATE:
        raise refused("it is too large")
    try:
        certificate = load_der_x509_certificate(der)
        found = _only_name(certificate)
        _check_leaf(certificate)
    except ValueError as error:
        raise refused("it is no certificate") from error
    moment = datetime.fromtimestamp(now_s, UTC)
    if not certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc:
        raise refused("it has ended, or has not begun")
    if found.domain != domain or not found.path:
        raise refused(f"it is of another trust domain than {domain}, or of no workload in it")
    return found


def jwt_svid(workload: SpiffeId, audience: Collection[str], *, signer: Signer, ttl_s: int, now_s: float) -> str:
    """A JWT-SVID of `workload` for `audience`. Raises Denied (OMG-T010) for a life that is too long or nobody to read it."""
    if not workload.path or not 0 < ttl_s <= MAX_SVID_S or not 0 < len(audience) <= MAX_AUDIENCES:
        raise refused(f"a token names one workload, for 1 to {MAX_AUDIENCES} readers, for 1 to {MAX_SVID_S} seconds")
    start = int(now_s)
    claims = {"sub": str(workload), "aud": sorted(audience), "iat": start, "exp": start + ttl_s}
    return signed({"kid": PublicKey(signer.public).kid, "typ": TYPE}, claims, signer)


def workload_of_token(token: str, *, audience: str, keys: Mapping[str, PublicKey], domain: str, now_s: float) -> SpiffeId:
    """The workload that a JWT-SVID names, for `audience`; `keys` are those of the domain, by `kid`. Raises Denied (OMG-T010)."""
    try:
        found = taken_apart(token, limit=MAX_TOKEN, typ=TYPE)
        key = keys.get(str(found.header.get("kid", "")))
        if key is None:
            raise Malformed("an unknown key")
        found.require(key)
    except Malformed as error:
        raise refused("the token is not accepted here") from error
    claims = found.claims
    stated = claims.get("aud")
    audiences = stated if isinstance(stated, list) else [stated]
    ends, begins = _moment(claims.get("exp")), _moment(claims.get("nbf", claims.get("iat", 0)))
    in_time = begins <= now_s + LEEWAY_S and now_s < ends <= now_s + MAX_SVID_S + LEEWAY_S
    subject = claims.get("sub")
    if audience not in audiences or not in_time or not isinstance(subject, str):
        raise refused("the token is for another reader, or not for now")
    workload = SpiffeId.parse(subject)
    if workload.domain != domain or not workload.path:
        raise refused(f"the token is of another trust domain than {domain}")
    return workload


def refused(cause: str) -> Denied:
    """The refusal of a certificate or token that should name a workload."""
    return Denied("OMG-T010", f"a workload is not known by what it shows: {cause}")


def _only_name(certificate: Certificate) -> SpiffeId:
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName, UniformResourceIdentifier

    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        raise refused("it names nobody") from None
    found = names.get_values_for_type(UniformResourceIdentifier)
    if len(found) != 1:
        raise refused(f"it has {len(found)} names of workloads, and one is what it takes")
    return SpiffeId.parse(found[0])


def _check_leaf(certificate: Certificate) -> None:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound, KeyUsage

    extensions = certificate.extensions
    try:
        usage = extensions.get_extension_for_class(KeyUsage).value
    except ExtensionNotFound:
        raise refused("it does not say what its key is for") from None
    try:
        authority = extensions.get_extension_for_class(BasicConstraints).value.ca
    except ExtensionNotFound:
        authority = False
    if authority or usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise refused("its key may sign certificates, or may not sign at all")


def _moment(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise refused("the token does not say from when until when it counts")
    return value
