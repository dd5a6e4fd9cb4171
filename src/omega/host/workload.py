"""Workload identity of an installation: its certificate authority, and TLS contexts for its processes.

    keys/ca-root.key    signs issuers; may be taken away once it has, or lie in an HSM from the start
    keys/ca.key         signs the certificates of workloads
    keys/ca.pem         the issuer's certificate
    keys/ca-roots.pem   the bundle: every root that counts, the installation's own first

They travel with the folder `keys`, so every machine of an installation names its own workloads: a process asks for a certificate of an hour
when it starts, and again at half of it. What changes the authority itself (establishing it, renewing the issuer, another root) is an act on
record: see `omega.host.certifying`.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from omega.adapters.certificates import Credentials, Issuer, Listening, Root
from omega.adapters.keystore import Keystore
from omega.adapters.keystore.files import make_file, read_private, replace_file
from omega.host.identity import ISSUER, open_keys
from omega.host.settings import Settings
from omega.kernel.errors import InputError
from omega.trust.spiffe import SpiffeId

DOMAIN = "OMEGA_TRUST_DOMAIN"
"""The environment variable that names the trust domain of an installation; `omega.local` unless it is set."""

MAX_BUNDLE = 256 << 10
"""Largest bundle read, in bytes: some two hundred roots."""

_ADVICE = "omega keys certificates --establish"
_MARK = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Standing:
    """An installation's authority: its trust domain, whether the root's key is here, when the issuer ends, the roots in the bundle."""

    domain: str
    root_here: bool
    issuer_ends_s: int
    roots: tuple[bytes, ...]


def trust_domain() -> str:
    """The trust domain of this installation. Raises Denied (OMG-T010) for a name that can be none."""
    return SpiffeId(os.environ.get(DOMAIN) or ISSUER).domain


def established(settings: Settings) -> bool:
    """Whether the installation has an authority."""
    return (settings.keys / "ca.pem").is_file()


def establish(settings: Settings, now_s: float, *, root_at: str = "") -> None:
    """Make root and issuer, unless they are there; `root_at` is the address of a root key that lies elsewhere. Raises StorageError."""
    keys, domain = open_keys(settings), trust_domain()
    if established(settings):
        return
    root = Root.made(domain, keys.add("ca-root", root_at), now_s=now_s)
    make_file(_roots(keys), root.pem)
    replace_file(keys.folder / "ca.pem", root.issuer(domain, keys.add("ca").public, now_s=now_s))


def renew_issuer(settings: Settings, now_s: float) -> None:
    """Give the issuer a new certificate, which takes the root's key. Raises InputError (OMG-X001) when that is not here."""
    keys = open_keys(settings)
    if not keys.has("ca-root"):
        raise InputError("OMG-X001", "the key of the root is not here", advice="bring keys/ca-root.key back for as long as this takes")
    root = Root.of(_bundle(keys)[0], keys.signer("ca-root"))
    replace_file(keys.folder / "ca.pem", root.issuer(trust_domain(), keys.signer("ca").public, now_s=now_s))


def trust(settings: Settings, pem: bytes) -> int:
    """Take the roots in `pem` into the bundle; gives how many roots count then. Raises InputError (OMG-X001)."""
    keys = open_keys(settings)
    known = _bundle(keys)
    wanted = _parted(pem)
    if not wanted:
        raise InputError("OMG-X001", "there is no certificate in that file", advice="give a file of certificates in PEM")
    for each in wanted:
        Root.check(each)
    whole = [*known, *(each for each in wanted if each not in known)]
    replace_file(_roots(keys), b"".join(whole))
    return len(whole)


def distrust(settings: Settings, pem: bytes) -> int:
    """Take the roots in `pem` out of the bundle; gives how many count then. Raises InputError (OMG-X001) for the installation's own."""
    keys = open_keys(settings)
    own, *others = _bundle(keys)
    gone = _parted(pem)
    if own in gone:
        raise InputError("OMG-X001", "the installation's own root is not taken out", advice="give the bundle of the other domain")
    whole = [own, *(each for each in others if each not in gone)]
    replace_file(_roots(keys), b"".join(whole))
    return len(whole)


def standing(settings: Settings) -> Standing:
    """The authority as it stands. Raises InputError (OMG-X001) when there is none."""
    keys = open_keys(settings)
    return Standing(trust_domain(), keys.has("ca-root"), _issuer(settings, keys).ends_s, tuple(_bundle(keys)))


def credentials(
    settings: Settings, workload: str, *, hosts: Sequence[str] = (), folder: Path | None = None, now: Callable[[], float] = time.time
) -> Credentials:
    """A certificate for this process, named `workload` (a path such as `worker/mail-3`), that follows renewals and the bundle.

    `hosts` are the names and addresses it is reached by besides this machine's own. Raises InputError (OMG-X001) when the installation
    has no authority, Denied (OMG-T010) for a name that can be none, StorageError (OMG-T003).
    """
    keys = open_keys(settings)
    name = SpiffeId(trust_domain(), f"/{workload}")
    place = folder or settings.home / "certificates" / re.sub(r"[^A-Za-z0-9._-]", "-", workload)
    names = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", *hosts)))
    return Credentials(
        place,
        renew=lambda: _issuer(settings, keys).issue(str(name), now_s=now(), hosts=names),
        bundle=lambda: b"".join(_bundle(keys)),
        now=now,
    )


def calling(settings: Settings, workload: str) -> Callable[[], ssl.SSLContext]:
    """Gives the context for connections to others, with a certificate that is renewed whenever it is asked for and due.

    Raises what `credentials` raises.
    """
    held = credentials(settings, workload)

    def current() -> ssl.SSLContext:
        held.look()
        return held.client()

    return current


def described(pem: bytes) -> tuple[str, int]:
    """The SHA-256 of a root in hex, and its end in Unix seconds. Raises InputError (OMG-X001)."""
    certificate = Root.check(pem)
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest(), int(certificate.not_valid_after_utc.timestamp())


def told(address: str, seen: Listening | None) -> dict[str, Any]:
    """A listener as data, for the boot report and the doctor; `seen` None is one without TLS."""
    if seen is None:
        return {"address": address, "tls": "", "cipher": "", "group": "", "post_quantum": False, "ends_s": None}
    facts = {"tls": seen.version, "cipher": seen.cipher, "group": seen.group, "post_quantum": seen.hybrid, "ends_s": seen.ends_s}
    return {"address": address, **facts}


def looked_at(settings: Settings) -> Listening:
    """What a listener of this installation does on this machine, tried in memory. Raises InputError (OMG-X001), StorageError."""
    held = credentials(settings, "doctor")
    return held.look_at(held.server())


def _issuer(settings: Settings, keys: Keystore) -> Issuer:
    if not established(settings):
        raise InputError("OMG-X001", "this installation has no certificate authority", advice=_ADVICE)
    return Issuer(read_private(keys.folder / "ca.pem", MAX_BUNDLE), keys.signer("ca"), trust_domain())


def _bundle(keys: Keystore) -> list[bytes]:
    found = _parted(read_private(_roots(keys), MAX_BUNDLE))
    if not found:
        raise InputError("OMG-X001", f"{_roots(keys)} holds no root", advice="restore the folder keys from the same backup as the database")
    return found


def _parted(pem: bytes) -> list[bytes]:
    """The certificates in `pem`, each alone."""
    return [_MARK + b"\n" + part.strip() + b"\n" for part in pem.split(_MARK)[1:]]


def _roots(keys: Keystore) -> Path:
    return keys.folder / "ca-roots.pem"
