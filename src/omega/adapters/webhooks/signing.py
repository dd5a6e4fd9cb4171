"""The signature of a webhook, as Standard Webhooks has it (standardwebhooks.com, specification 1.0, "Signature scheme"; symmetric).

webhook-id          what tells this message from every other; the same for each attempt
webhook-timestamp   seconds since 1970, of this attempt
webhook-signature   v1,<base64 of HMAC-SHA256 over "id.timestamp.body">; several, parted by spaces, while a secret is changed
the secret          whsec_<base64 of 24 to 64 random bytes>
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Final

from omega.kernel.errors import InputError

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
SHORTEST, LONGEST = 24, 64
"""Bytes that a secret may have."""

TOLERANCE_S: Final = 300
"""How far the timestamp may lie from the receiver's clock, in seconds: later repeats of a message are not believed."""


def new_secret(entropy: bytes) -> str:
    """A secret from `SECRET_BYTES` random bytes."""
    return PREFIX + base64.b64encode(entropy[:SECRET_BYTES]).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises InputError (OMG-I001), which never quotes it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise InputError("OMG-I001", "the secret of a webhook is whsec_ and base64") from error
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise InputError("OMG-I001", f"the secret of a webhook is whsec_ and base64 of {SHORTEST} to {LONGEST} bytes")
    return key


def sign(secret: str, id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message. Raises InputError (OMG-I001) for a secret that is none."""
    said = hmac.digest(key_of(secret), b"%b.%d.%b" % (id.encode(), at_s, body), "sha256")
    return {"webhook-id": id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{base64.b64encode(said).decode()}"}


def verified(secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a message is what its sender signed, just now: for receivers that are written with Omega. Headers have lower-case names."""
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 12 or abs(now_s - int(stamp)) > tolerance_s:
        return False
    expected = sign(secret, headers.get("webhook-id", ""), int(stamp), body)["webhook-signature"]
    given = headers.get("webhook-signature", "").split(" ")[:10]
    return any(hmac.compare_digest(expected.encode(), each.encode()) for each in given)
