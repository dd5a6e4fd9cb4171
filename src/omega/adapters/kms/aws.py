"""A key in AWS KMS: `awskms:KEY?region=REGION`, where KEY is a key id, an alias (`alias/NAME`) or an ARN. `endpoint` names another server.

A message is sent as it is up to the 4096 bytes that the service takes, a longer one as its digest. Credentials come from where AWS clients
look for them; none is read or kept here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from omega.adapters.kms.guard import DEADLINE_S, GuardedSigner, raw_point, raw_signature
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

CONNECT_S = 2.0
ALGORITHM = "ECDSA_SHA_256"
MAX_RAW = 4096
"""Longest message in bytes that the service hashes itself."""


class KmsKey:
    """One asymmetric signing key of the kind ECC_NIST_P256. Implements `guard.RemoteKey`."""

    def __init__(self, client: Any, key: str, failures: tuple[type[Exception], ...]) -> None:
        self._client, self._key, self.failures = client, key, failures

    def public(self) -> bytes:
        """The public key as a point. Raises ValueError for a key of another kind."""
        found = self._client.get_public_key(KeyId=self._key)
        if found["KeyUsage"] != "SIGN_VERIFY":
            raise ValueError("the key does not sign")
        return raw_point(found["PublicKey"])

    def sign(self, message: bytes) -> bytes:
        """The ES256 signature."""
        raw = 0 < len(message) <= MAX_RAW  # an empty message is none to the service
        sent, kind = (message, "RAW") if raw else (sha256(message).digest(), "DIGEST")
        found = self._client.sign(KeyId=self._key, Message=sent, MessageType=kind, SigningAlgorithm=ALGORITHM)
        return raw_signature(found["Signature"])


def open_kms(name: str, address: str, *, deadline_s: float = DEADLINE_S) -> Signer:
    """The signer of `KEY?region=..&endpoint=..`. Raises as `omega.adapters.kms.open_signer` does."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise InputError("OMG-X001", "a key in AWS KMS takes boto3", advice="pip install 'omega-platform[keys]'") from None
    key, _, rest = address.partition("?")
    query = parse_qs(rest, keep_blank_values=True)
    unknown = query.keys() - {"region", "endpoint"}
    if unknown or not key:
        raise InputError("OMG-X001", f"an address in AWS KMS has no {sorted(unknown)}", advice="awskms:alias/NAME?region=REGION")
    config = Config(connect_timeout=CONNECT_S, read_timeout=deadline_s, retries={"total_max_attempts": 2})
    options = {"region_name": query["region"][0]} if "region" in query else {}
    if "endpoint" in query:
        options["endpoint_url"] = query["endpoint"][0]
    try:
        client = boto3.client("kms", config=config, **options)
    except (BotoCoreError, ValueError) as error:
        raise InputError("OMG-X001", f"AWS KMS cannot be asked: {error}", advice="awskms:alias/NAME?region=REGION") from error
    return GuardedSigner(name, KmsKey(client, unquote(key), (BotoCoreError, ClientError)), where="AWS KMS", deadline_s=deadline_s)
