"""Signers whose keys lie elsewhere: in an HSM behind PKCS#11, or in AWS KMS. A key is named by its address:

    pkcs11:token=omega;object=passport?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin     RFC 7512
    awskms:alias/omega-passport?region=eu-central-1

Keys are ECDSA on P-256 (ES256), which every HSM and cloud store has. No address holds a secret: a PIN stands in a file, AWS finds its own
credentials. Every signer is guarded (`guard`): it has a deadline, and what it signed is verified before anybody sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

SCHEMES = ("awskms", "pkcs11")
MAX_ADDRESS = 2_000
"""Longest address in characters."""


def open_signer(name: str, address: str) -> Signer:
    """The signer `name` whose key lies at `address`.

    Raises InputError (OMG-X001) for an address that cannot be meant or whose library is not installed, UpstreamError (OMG-T005) when the
    key cannot be reached, IntegrityError (OMG-T006) when it is of another kind than ES256 or signs wrongly.
    """
    scheme, _, rest = address.partition(":")
    if len(address) > MAX_ADDRESS or not rest or scheme not in SCHEMES:
        raise InputError("OMG-X001", f"{address[:80]!r} is no address of a key", advice=f"known kinds: {', '.join(SCHEMES)}")
    if scheme == "pkcs11":
        from omega.adapters.kms.pkcs11 import open_token

        return open_token(name, rest)
    from omega.adapters.kms.aws import open_kms

    return open_kms(name, rest)
