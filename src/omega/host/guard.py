"""Alert channels of an installation.

A channel is an arrangement, sealed under the keys of the installation because its address may hold a secret; it belongs to the tenant of
whoever made it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from omega.adapters.alerts import Address
from omega.host.arrangements import Documents
from omega.kernel.errors import InputError, IntegrityError
from omega.trust.sealing import Keyring

CHANNEL = "alert-channel"
"""The kind of the documents that are channels."""

_FORMAT = 1


def seal(name: str, address: Address, tenant: str, keyring: Keyring) -> dict[str, Any]:
    """A channel as the body of its document."""
    fields = {"kind": address.kind, "url": address.url, "sender": address.sender, "receivers": list(address.receivers), "tenant": tenant}
    wrapped, sealer = keyring.create(_context(name))
    sealed = sealer.seal(json.dumps(fields).encode(), _context(name).encode())
    return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}


def opened(name: str, body: Mapping[str, Any], keyring: Keyring) -> tuple[Address, str]:
    """A channel's address and tenant. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
    try:
        if body["format"] != _FORMAT:
            raise IntegrityError("OMG-T004", f"the channel {name[:64]} has a form that this release does not read")
        wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("OMG-T004", f"the channel {name[:64]} has no known form") from error
    fields = json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode()))
    return Address(fields["kind"], fields["url"], fields["sender"], tuple(fields["receivers"])), str(fields["tenant"])


def reading(keyring: Keyring) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The check of a channel's document before it is kept. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            opened(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="make channels with omega guard channel") from error
        return body

    return read


def finder(documents: Documents, keyring: Keyring) -> Callable[[str, str], Address]:
    """How the effector finds where a channel leads: by tenant and name, so that nobody tells another tenant's people."""

    def find(tenant: str, name: str) -> Address:
        body = documents.document(CHANNEL, name)
        if body is not None:
            address, owner = opened(name, json.loads(body), keyring)
            if owner == tenant:
                return address
        raise InputError("OMG-I003", f"there is no channel {name[:64]}", advice="omega guard channel --help")

    return find


def _context(name: str) -> str:
    """What a channel's key and seal are bound to."""
    return f"alert channel {name}"
