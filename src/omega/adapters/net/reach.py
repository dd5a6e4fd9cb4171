"""Which addresses may be reached: what the whole internet can reach, and the networks that somebody allowed on purpose.

An address that somebody else chose must not lead to what only this machine can reach (a database, a metadata service): against that a look
at the name is not enough, because a name may resolve to anything and to something else a moment later. So every address that a name gives
is looked at, and the connection is made to one of those that were looked at.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, Final

from omega.kernel.errors import Denied, InputError

MAX_ADDRESSES: Final = 16
"""Most addresses of one name that are looked at; one beyond them is not used."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): the last four bytes are the address that is meant."""


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as `10.0.0.0/8`. Raises InputError (OMG-I001)."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InputError("OMG-I001", "a network is written as 10.0.0.0/8") from error


def may_reach(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a connection may be made to `address`."""
    meant = _meant(address)
    if any(meant.version == each.version and meant in each for each in allowed):
        return True
    return meant.is_global and not meant.is_multicast


async def resolved(host: str, port: int, allowed: Sequence[Network]) -> list[dict[str, Any]]:
    """The addresses of `host` that a connection may be made to, as aiohttp takes them. Raises Denied (OMG-P011) when any of them may not
    be reached, OSError when the name is not known."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = []
    for family, _, protocol, _, place in found[:MAX_ADDRESSES]:
        if not may_reach(ipaddress.ip_address(str(place[0]).partition("%")[0]), allowed):
            raise not_allowed()
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        hosts.append({"hostname": host, "host": place[0], "port": place[1], "family": family, "proto": protocol, "flags": flags})
    return hosts


def literal(host: str) -> Address | None:
    """The address that `host` is, where it is one; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def not_allowed(advice: str = "") -> Denied:
    """The refusal, which does not say what lies there."""
    return Denied("OMG-P011", "the address lies on this machine or in a private network", advice=advice)


def _meant(address: Address) -> Address:
    """The address that is reached by `address`: an IPv4 one may be wrapped in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(address.packed[12:])
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address
    return address
