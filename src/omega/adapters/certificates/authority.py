"""Signs certificates: a root for issuers, an issuer for workloads. Both sign with a `kernel.ports.Signer`, which shows no key."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from omega.adapters.certificates.signing import key_of, private_key_of
from omega.kernel.errors import InputError
from omega.kernel.ports import Signer

ROOT_S = 10 * 365 * 24 * 3600
ISSUER_S = 365 * 24 * 3600
WORKLOAD_S = 3600
MAX_WORKLOAD_S = 24 * 3600
"""Longest life of a workload's certificate, in seconds: there is no way to take one back."""

BACK_S = 60
"""How long before now a certificate begins, in seconds: clocks differ."""

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Issued:
    """A workload's certificate: `chain` in PEM, the workload's first, then its issuer; `key` in PEM (PKCS #8); its end in Unix seconds."""

    chain: bytes
    key: bytes
    ends_s: int

    def __repr__(self) -> str:
        return f"<certificate until {self.ends_s}>"


class Root:
    """The root of a trust domain. `Root.made` begins one; with its certificate and signer it can be opened again."""

    def __init__(self, certificate: x509.Certificate, signer: Signer) -> None:
        self.certificate = certificate
        self._signer = signer

    @classmethod
    def made(cls, domain: str, signer: Signer, *, now_s: float) -> Root:
        """A new root of `domain`, self-signed. Raises what the signer raises."""
        name = _named(f"omega root of {domain}")
        builder = _authority(name, name, key_of(signer.public), domain, now_s, ROOT_S, depth=1)
        return cls(builder.sign(private_key_of(signer), _hash(signer)), signer)

    @classmethod
    def of(cls, pem: bytes, signer: Signer) -> Root:
        """The root of a certificate. Raises InputError (OMG-X001) when it is no root, or not the signer's."""
        certificate = cls.check(pem)
        if certificate.public_key() != key_of(signer.public):
            raise InputError("OMG-X001", "the certificate of the root is not that of its key")
        return cls(certificate, signer)

    @staticmethod
    def check(pem: bytes) -> x509.Certificate:
        """The certificate in `pem`, which must be one that may sign others. Raises InputError (OMG-X001)."""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound) as error:
            raise InputError("OMG-X001", "that is no certificate of an authority") from error
        if not authority:
            raise InputError("OMG-X001", "that certificate may not sign others, so it is no root")
        return certificate

    @property
    def pem(self) -> bytes:
        """Its certificate, for bundles."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issuer(self, domain: str, public: bytes, *, now_s: float, ttl_s: int = ISSUER_S) -> bytes:
        """The certificate (PEM) of an issuer of `domain` whose key is `public`, raw as `omega.trust.keys` has it."""
        ends = min(now_s + ttl_s, self.certificate.not_valid_after_utc.timestamp())
        builder = _authority(
            _named(f"omega issuer of {domain}"), self.certificate.subject, key_of(public), domain, now_s, ends - now_s, depth=0
        )
        builder = builder.add_extension(_signed_by(self.certificate), critical=False)
        return builder.sign(private_key_of(self._signer), _hash(self._signer)).public_bytes(serialization.Encoding.PEM)


class Issuer:
    """Signs the certificates of workloads. Raises InputError (OMG-X001) for a certificate that is not the signer's."""

    def __init__(self, pem: bytes, signer: Signer, domain: str) -> None:
        self.certificate = x509.load_pem_x509_certificate(pem)
        self.domain = domain
        self._pem = pem
        self._signer = signer
        if self.certificate.public_key() != key_of(signer.public):
            raise InputError("OMG-X001", "the certificate of the issuer is not that of its key", advice="omega keys certificates --renew")

    @property
    def ends_s(self) -> int:
        """The end of the issuer's own certificate, in Unix seconds."""
        return int(self.certificate.not_valid_after_utc.timestamp())

    def issue(self, workload: str, *, now_s: float, ttl_s: int = WORKLOAD_S, hosts: Sequence[str] = _LOCAL) -> Issued:
        """A certificate and a new key for `workload`, a SPIFFE id of the issuer's domain, also known by the names and addresses in `hosts`.

        It never outlives its issuer. Raises InputError (OMG-X001) for a life that is too long or an issuer that has ended.
        """
        ends = min(int(now_s) + ttl_s, self.ends_s)
        if not 0 < ttl_s <= MAX_WORKLOAD_S or ends <= now_s:
            cause = f"a certificate lives for 1 to {MAX_WORKLOAD_S} seconds, and no longer than its issuer"
            raise InputError("OMG-X001", cause, advice="omega keys certificates --renew")
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(workload), *(_host(each) for each in hosts)]
        builder = (
            _begun(_named(workload.rpartition("/")[2][:64]), self.certificate.subject, key.public_key(), now_s, ends - now_s)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(_signed_by(self.certificate), critical=False)
        )
        signed = builder.sign(private_key_of(self._signer), _hash(self._signer))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Issued(signed.public_bytes(serialization.Encoding.PEM) + self._pem, private, ends)


def _authority(
    subject: x509.Name, issuer: x509.Name, key: Any, domain: str, now_s: float, ttl_s: float, *, depth: int
) -> x509.CertificateBuilder:
    """A certificate that may sign others, `depth` deep, whose workloads are of `domain`."""
    within = x509.NameConstraints(permitted_subtrees=[x509.UniformResourceIdentifier(domain)], excluded_subtrees=None)
    return (
        _begun(subject, issuer, key, now_s, ttl_s)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(within, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _begun(subject: x509.Name, issuer: x509.Name, key: Any, now_s: float, ttl_s: float) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(int(now_s), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=BACK_S))
        .not_valid_after(now + timedelta(seconds=int(ttl_s)))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _signed_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _hash(signer: Signer) -> hashes.SHA256 | None:
    return None if isinstance(key_of(signer.public), ed25519.Ed25519PublicKey) else hashes.SHA256()
