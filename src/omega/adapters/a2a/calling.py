"""Talking to an agent elsewhere over gRPC (A2A 1.0, 10): the same conversation, in calls of the protocol's service.

The connection is made to an address that was looked at, as for every agent elsewhere, under the name that the card has; no proxy of the
environment stands between. Over https the server shows a certificate for that name, which the authorities of this machine vouch for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from omega.adapters.a2a.talking import Conversation, failed, read_answer
from omega.adapters.net.reach import Network, resolved
from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import CONNECT_S, MAX_ANSWER
from omega.kernel.errors import InputError, OmegaError, UpstreamError
from omega.wire.a2a.cards import Foreign
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.operations import PROTOCOL, VERSION_HEADER
from omega.wire.a2a.protobuf import CALLS, SERVICE, decode, encode

MAX_METADATA: Final = 64 << 10
"""Most metadata of an answer, in bytes."""

_PORTS: Final = {"https": 443, "http": 80}


class GrpcConversation(Conversation):
    """One agent, asked over the gRPC interface that its accepted card names. `headers` go as metadata; `allowed` are private networks in
    which it may be."""

    def __init__(self, allowed: Sequence[Network], told: Foreign, headers: Mapping[str, str], scrubber: Scrubber) -> None:
        self._allowed, self._told, self._headers, self._scrubber = tuple(allowed), told, headers, scrubber
        self._channel: Any = None

    async def close(self) -> None:
        """End the connection. Safe to call again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _ask(
        self, method: str, verb: str, path: str, params: Mapping[str, Any], more: Mapping[str, str], timeout_s: float
    ) -> dict[str, Any]:
        taken, given = CALLS[method]
        raw = encode(taken, {**params, "tenant": self._told.tenant})
        channel = self._channel = self._channel or await self._opened()
        from grpc import aio

        metadata = [(name.lower(), value) for name, value in {VERSION_HEADER: PROTOCOL, **more, **self._headers}.items()]
        try:
            answer = await channel.unary_unary(f"/{SERVICE}/{method}")(raw, timeout=timeout_s, metadata=metadata)
        except aio.AioRpcError as error:
            raise self._refused(error) from None  # the error holds the metadata of the call
        try:
            found = decode(given, answer)
        except A2aFault as fault:
            raise failed(f"{self._told.name} answered with nothing that can be read: {fault.message}", sent=True) from fault
        return dict(read_answer(self._scrubber.clean(json.dumps(found).encode()), f"the answer of {self._told.name}"))

    def _refused(self, error: Any) -> OmegaError | TimeoutError:
        status = error.code().name
        words = self._scrubber.clean((error.details() or "").encode()).decode("utf-8", "replace")[:500]
        if status == "DEADLINE_EXCEEDED":
            return TimeoutError(words)
        if status in ("UNAVAILABLE", "UNKNOWN"):
            return failed(f"{self._told.name} cannot be reached any more: {words}", sent=True)
        return UpstreamError("OMG-M007", f"{self._told.name} refuses: {words}", details={"sent": True, "status": status, "code": 0})

    async def _opened(self) -> Any:
        """A connection that is ready. Raises UpstreamError (OMG-M002), Denied (OMG-P011), InputError (OMG-X001)."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else it writes to standard error by itself
        try:
            import grpc
            from grpc import aio
        except ImportError as error:
            advice = "install the extra `a2a-grpc` of this package: it brings grpcio"
            raise InputError("OMG-X001", f"{self._told.name} speaks gRPC, which takes grpcio", advice=advice) from error
        parts = urlsplit(self._told.url)
        secure, host, port = parts.scheme == "https", parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            target = _target(await resolved(host, port, self._allowed, secure=secure))
        except OSError as error:
            raise failed(f"{self._told.name} cannot be reached: its name is not known") from error
        options = [*_OPTIONS, ("grpc.default_authority", parts.netloc)]
        if secure:
            roots = await asyncio.to_thread(_roots)
            credentials = grpc.ssl_channel_credentials(roots)
            channel = aio.secure_channel(target, credentials, options=[*options, ("grpc.ssl_target_name_override", host)])
        else:
            channel = aio.insecure_channel(target, options=options)
        try:
            async with asyncio.timeout(CONNECT_S):
                await channel.channel_ready()
        except TimeoutError:
            await channel.close()
            raise failed(f"{self._told.name} cannot be reached over gRPC") from None
        except asyncio.CancelledError:
            await channel.close()
            raise
        return channel


def _target(found: Sequence[Mapping[str, Any]]) -> str:
    """The addresses as gRPC takes them: those of the family of the first (grpc/doc/naming.md)."""
    first = ipaddress.ip_address(found[0]["host"].partition("%")[0])
    same = [each for each in found if ipaddress.ip_address(each["host"].partition("%")[0]).version == first.version]
    places = [f"[{each['host']}]:{each['port']}" if first.version == 6 else f"{each['host']}:{each['port']}" for each in same]
    return f"ipv{first.version}:{','.join(places)}"


def _roots() -> bytes | None:
    """The authorities that this machine trusts, as Python has them (SSL_CERT_FILE); None for those that come with grpcio."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None


_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_ANSWER),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
