"""Which addresses a webhook may be sent to, as far as the text says; what it leads to is looked at in `omega.adapters.net.reach`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from omega.adapters.net.reach import MAX_ADDRESSES, Address, Network, check_host, may_reach, networks, not_allowed, resolved
from omega.kernel.errors import InputError

__all__ = ["MAX_ADDRESSES", "MAX_URL", "Address", "Network", "checked_url", "may_reach", "networks", "not_allowed", "resolved"]

MAX_URL: Final = 2_048


def checked_url(url: str, allowed: Sequence[Network] = ()) -> str:
    """`url`, if a webhook may be sent there as far as its text says. Raises InputError (OMG-I001), Denied (OMG-P011)."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if len(url) > MAX_URL or not url.isprintable() or parts.scheme not in ("http", "https") or not host or parts.username or parts.fragment:
        raise InputError("OMG-I001", "that is no address of a webhook", advice="write it as https://HOST/PATH, without a name or password")
    check_host(host, allowed, secure=parts.scheme == "https")
    if parts.scheme == "http" and not allowed:
        raise InputError(
            "OMG-I001", "events are sent over https, or within a network that was allowed", advice="write it as https://HOST/PATH"
        )
    return url
