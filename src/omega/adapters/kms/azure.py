"""A key in Azure Key Vault or Managed HSM, by its identifier, which names one version:

    azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION
    azurekv:https://HSM.managedhsm.azure.net/keys/NAME/VERSION

It is ECDSA on P-256 (kty EC or EC-HSM): the digest is sent, r and s come back (RFC 7518, 3.4), which is what the port gives. The token
comes from `azure-identity` (DefaultAzureCredential: environment, workload identity, managed identity, command line); none is kept here.
REST reference: learn.microsoft.com/rest/api/keyvault/keys, version 7.4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from omega.adapters.kms.guard import DEADLINE_S, GuardedSigner
from omega.adapters.kms.service import KeyService, Unanswered, is_this_machine, options, query, text
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

API: Final = "7.4"
CLOUDS: Final = tuple(
    f"{service}.{cloud}" for service in ("vault", "managedhsm") for cloud in ("azure.net", "azure.cn", "usgovcloudapi.net")
)
"""Where vaults and HSMs are (learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates): a token goes nowhere else."""

_PATH = re.compile(r"/keys/[A-Za-z0-9-]{1,127}/[0-9A-Za-z]{1,64}")
_ADVICE = "azurekv:https://VAULT.vault.azure.net/keys/NAME/VERSION"


class AzureKey:
    """One version of a key. Implements `guard.RemoteKey`."""

    def __init__(self, service: KeyService, path: str, credential: Any, scope: str) -> None:
        from azure.core.exceptions import AzureError

        self.failures: tuple[type[Exception], ...] = (Unanswered, AzureError)
        self._service, self._path, self._credential, self._scope = service, path, credential, scope

    def public(self) -> bytes:
        """The public key as a point. Raises ValueError for a key of another curve, or another version's."""
        found = self._ask("GET", f"{self._path}{query(**{'api-version': API})}").get("key")
        if not isinstance(found, Mapping) or found.get("kty") not in ("EC", "EC-HSM") or found.get("crv") != "P-256":
            raise ValueError("a key of another kind than EC on P-256")
        self._demand_version(found)
        if "sign" not in (found.get("key_ops") or ()):
            raise ValueError("the key does not sign")
        return b"\x04" + _unbase64(text(found, "x")) + _unbase64(text(found, "y"))

    def sign(self, message: bytes) -> bytes:
        """r and s. Raises ValueError when another version signed."""
        digest = base64.urlsafe_b64encode(sha256(message).digest()).rstrip(b"=").decode()
        found = self._ask("POST", f"{self._path}/sign{query(**{'api-version': API})}", {"alg": "ES256", "value": digest})
        self._demand_version(found)
        return _unbase64(text(found, "value"))

    def _demand_version(self, found: Mapping[str, Any]) -> None:
        if urlsplit(text(found, "kid")).path != self._path:
            raise ValueError("the vault answered for another version of the key")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        token = self._credential.get_token(self._scope).token
        return self._service.ask(method, path, body, {"Authorization": f"Bearer {token}"})


def open_azure(name: str, address: str, *, deadline_s: float = DEADLINE_S) -> Signer:
    """The signer of a key identifier. Raises as `omega.adapters.kms.open_signer` does."""
    identifier, _, rest = address.partition("?")
    options(rest, {}, "Azure Key Vault")
    try:
        parts = urlsplit(identifier)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    cloud = next((each for each in CLOUDS if host.endswith(f".{each}")), "")
    if _PATH.fullmatch(parts.path) is None or not (cloud or is_this_machine(host)):
        raise InputError("OMG-X001", "a key in Azure is named by its identifier, with the version", advice=_ADVICE)
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise InputError("OMG-X001", "a key in Azure takes azure-identity", advice="pip install 'omega-platform[azure]'") from None
    service = KeyService(f"{parts.scheme}://{parts.netloc}", deadline_s=deadline_s)
    key = AzureKey(service, parts.path, DefaultAzureCredential(), f"https://{cloud or CLOUDS[0]}/.default")
    return GuardedSigner(name, key, where="Azure Key Vault", deadline_s=deadline_s)


def _unbase64(value: str) -> bytes:
    raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    if len(raw) not in (32, 64):
        raise ValueError("a number of another curve")
    return raw
