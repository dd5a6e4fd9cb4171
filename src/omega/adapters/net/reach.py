"""Which addresses may be reached: what the whole internet can reach, and the networks that somebody allowed on purpose.

An address that somebody else chose must not lead to what only this machine can reach (a database, a metadata service): against that a look
at the name is not enough, because a name may resolve to anything and to something else a moment later. So every address that a name gives
is looked at, and the connection is made to one of those that were looked at.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Any, Final

from omega.kernel.errors import Denied, InputError

MAX_ADDRESSES: Final = 16
"""Most addresses of one name that are looked at; one beyond them is not used."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WRAPPED: Final = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96"))
"""IPv4 in IPv6, where the last four bytes are the address that is meant: behind a translator (RFC 6052), for one (RFC 2765, 2.1), and
"compatible" (RFC 4291, 2.5.5.1)."""

_LOCAL: Final = tuple(ipaddress.ip_network(text) for text in ("64:ff9b:1::/48", "fec0::/10", "168.63.129.16/32"))
"""What looks like the internet and is not: translation within one network (RFC 8215), site-local addresses (RFC 3879), and the address at
which Azure serves each virtual machine."""

_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)
"""The last label of what may be read as an IPv4 address (WHATWG URL, "ends in a number")."""


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as `10.0.0.0/8`. Raises InputError (OMG-I001)."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InputError("OMG-I001", "a network is written as 10.0.0.0/8") from error


def may_reach(address: Address, allowed: Sequence[Network], *, secure: bool = True) -> bool:
    """Whether a connection may be made to `address`; one that is not `secure` (http) stays within the networks in `allowed`."""
    meant = _meant(address)
    if any(meant in each for each in allowed):
        return True
    return secure and meant.is_global and not meant.is_multicast and not any(meant in each for each in _LOCAL)


def check_host(host: str, allowed: Sequence[Network], *, secure: bool = True) -> None:
    """Raise for a host that may not be reached as far as its text says: Denied (OMG-P011) for an address, InputError (OMG-I001) for a text
    with two readings. What is no address as it is written here and one to whoever connects would never be resolved, so never looked at."""
    if not host.isascii() or "%" in host:
        raise InputError("OMG-I001", "the host of an address is written in ASCII", advice="write an international name as punycode")
    address = literal(host)
    if address is not None:
        if not may_reach(address, allowed, secure=secure):
            raise not_allowed(secure=secure)
    elif ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise InputError("OMG-I001", "a host that ends in a number is an address", advice="write it with four numbers, as 192.0.2.1")


async def resolved(host: str, port: int, allowed: Sequence[Network], *, secure: bool = True) -> list[dict[str, Any]]:
    """The addresses of `host` that a connection may be made to, as aiohttp takes them. Raises Denied (OMG-P011) when any of them may not
    be reached (`may_reach`), OSError when the name is not known."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = []
    for family, _, protocol, _, place in found[:MAX_ADDRESSES]:
        if not may_reach(ipaddress.ip_address(str(place[0]).partition("%")[0]), allowed, secure=secure):
            raise not_allowed(secure=secure)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        hosts.append({"hostname": host, "host": place[0], "port": place[1], "family": family, "proto": protocol, "flags": flags})
    return hosts


def literal(host: str) -> Address | None:
    """The address that `host` is, where it is one; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def not_allowed(advice: str = "", *, secure: bool = True) -> Denied:
    """The refusal, which does not say what lies there."""
    where = "on this machine or in a private network" if secure else "outside the networks that http was allowed in"
    return Denied("OMG-P011", f"the address lies {where}", advice=advice)


def _meant(address: Address) -> Address:
    """The address that is reached by `address`: an IPv4 one may be wrapped in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in each for each in _WRAPPED) and int(address) > 1:  # :: and ::1 mean themselves
            return ipaddress.IPv4Address(address.packed[12:])
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address
    return address
