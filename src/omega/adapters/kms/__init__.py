"""Signers whose keys lie elsewhere: in an HSM behind PKCS#11, or in a key service. A key is named by its address:

    pkcs11:token=omega;object=passport?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin     RFC 7512
    awskms:alias/omega-passport?region=eu-central-1
    gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
    azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION
    vault:transit/omega-log?server=https://vault.example:8200&version=1

Keys are ECDSA on P-256 (ES256), which every HSM and cloud store has; where a service has Ed25519, that too. No address holds a secret: a
PIN or a token stands in a file or the environment, and each cloud's own library finds its credentials. Where keys have versions, an
address names one: a key that changes behind its address would end the log (ADR 53). Every signer is guarded (`guard`): it has a
deadline, and what it signed is verified before anybody sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

SCHEMES = ("awskms", "azurekv", "gcpkms", "pkcs11", "vault")
MAX_ADDRESS = 2_000
"""Longest address in characters."""


def open_signer(name: str, address: str) -> Signer:
    """The signer `name` whose key lies at `address`.

    Raises InputError (OMG-X001) for an address that cannot be meant or whose library is not installed, UpstreamError (OMG-T005) when the
    key cannot be reached, IntegrityError (OMG-T006) when it is of another kind or signs wrongly, StorageError (OMG-T003) for a file
    with a secret that others could read.
    """
    scheme, _, rest = address.partition(":")
    if len(address) > MAX_ADDRESS or not rest or scheme not in SCHEMES:
        raise InputError("OMG-X001", f"{address[:80]!r} is no address of a key", advice=f"known kinds: {', '.join(SCHEMES)}")
    if scheme == "pkcs11":
        from omega.adapters.kms.pkcs11 import open_token as opened
    elif scheme == "awskms":
        from omega.adapters.kms.aws import open_kms as opened
    elif scheme == "gcpkms":
        from omega.adapters.kms.google import open_google as opened
    elif scheme == "azurekv":
        from omega.adapters.kms.azure import open_azure as opened
    else:
        from omega.adapters.kms.vault import open_vault as opened
    return opened(name, rest)
