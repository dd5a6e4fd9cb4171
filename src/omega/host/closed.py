"""Small documents that nobody but this installation can make or read: sealed under its keys, each good in its own place alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from omega.kernel.errors import IntegrityError
from omega.trust.sealing import Keyring


def closed(keyring: Keyring, context: str, value: Any) -> dict[str, str]:
    """`value` (plain data) as the body of a document; `context` names its place."""
    wrapped, sealer = keyring.create(context)
    sealed = sealer.seal(json.dumps(value, separators=(",", ":")).encode(), context.encode())
    return {"key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}


def opened(keyring: Keyring, context: str, body: Mapping[str, Any]) -> Any:
    """What `closed` was given. Raises IntegrityError (OMG-T004) for what was not sealed here for that place."""
    try:
        wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        return json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("OMG-T004", "this was not sealed here") from error


def ticket(keyring: Keyring, context: str, value: Any) -> str:
    """`value` as a text that travels through a page and comes back."""
    return base64.urlsafe_b64encode(json.dumps(closed(keyring, context, value)).encode()).decode()


def redeemed(keyring: Keyring, context: str, text: str) -> Any:
    """What `ticket` was given. Raises IntegrityError (OMG-T004)."""
    try:
        body = json.loads(base64.urlsafe_b64decode(text.encode()))
    except ValueError as error:
        raise IntegrityError("OMG-T004", "this was not sealed here") from error
    return opened(keyring, context, body if isinstance(body, dict) else {})
