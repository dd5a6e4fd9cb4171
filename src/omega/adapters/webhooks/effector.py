"""The effector: signs one message and posts it once. Secrets are opened here and are seen by nobody else.

A redirection is not followed: it would lead where nobody has looked. What the receiver answers is read to a limit and thrown away.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from omega.adapters.webhooks.reach import Network, checked_url, resolved
from omega.adapters.webhooks.signing import sign
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, OmegaError, UpstreamError, lacking
from omega.kernel.verdict import Permit

TIMEOUT_S: Final = 20.0
"""How long (seconds) a receiver may take; Standard Webhooks advises 15 to 30."""

MAX_ANSWER: Final = 64 << 10
MAX_BODY: Final = 256 << 10
GONE: Final = 410
"""The status with which a receiver says that it wants no more."""

NOT_DELIVERED: Final = "OMG-P010"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Request):
    """Post `document` as JSON to the webhook `hook` of the permit's tenant; `id` is the same for each attempt. Gives the status."""

    port: ClassVar[str] = "webhooks"
    hook: str
    id: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a webhook goes, with which secret, and into which private networks it may. Without a secret it is not signed: its receiver
    knows it by `headers` that it asked for. `media` is the type of the body."""

    url: str
    secret: str = field(repr=False)
    allowed: Sequence[Network] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    media: str = "application/cloudevents+json"


Find = Callable[[str, str], Receiver]
"""The receiver of a tenant's webhook by name. Raises InputError (OMG-I003)."""


class WebhookEffector:
    """Serves `Deliver`. Belongs to one event loop."""

    port = Deliver.port

    def __init__(self, find: Find, now_us: Callable[[], int]) -> None:
        self._find, self._now_us = find, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[int, Receipt]:
        """The status, which is 2xx.

        Raises UpstreamError (OMG-P010) when the receiver does not take it, Denied (OMG-P011) for an address that may not be reached,
        InputError (OMG-I001, OMG-I003).
        """
        permit.spend(self.port)
        if not isinstance(request, Deliver):
            raise InputError("OMG-I001", f"webhooks are delivered, there is no {type(request).__name__}")
        return await send(self._find(permit.tenant, request.hook), request, self._now_us() // 1_000_000)


async def send(receiver: Receiver, request: Deliver, now_s: int) -> tuple[int, Receipt]:
    """Post the document of `request` to `receiver`, once; the status, which is 2xx. Raises what `WebhookEffector.perform` raises."""
    checked_url(receiver.url, receiver.allowed)
    body = json.dumps(dict(request.document), separators=(",", ":"), sort_keys=True).encode()
    if len(body) > MAX_BODY:
        raise InputError("OMG-I001", f"a webhook carries at most {MAX_BODY:,} bytes")
    signed = sign(receiver.secret, request.id, now_s, body) if receiver.secret else {}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status = await _post(receiver, body, {**receiver.headers, **signed})
    except TimeoutError:
        raise _failed(request.hook, f"did not answer within {TIMEOUT_S:.0f} s", sent=True) from None
    if not 200 <= status < 300:
        raise _failed(request.hook, f"answered with status {status}", sent=True, status=status)
    return status, Receipt(bytes_out=len(body))


async def _post(receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        import aiohttp
        from aiohttp.abc import AbstractResolver
    except ImportError as error:
        raise lacking("aiohttp") from error

    secure = receiver.url.lower().startswith("https:")

    class Looking(AbstractResolver):
        """Resolves a name and looks at every address it gives."""

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            try:
                return list(await resolved(host, port, receiver.allowed, secure=secure))
            except OmegaError as error:  # aiohttp lets through OSError alone
                raise _Refused(error) from error

        async def close(self) -> None:
            """Nothing is held."""

    connector = aiohttp.TCPConnector(resolver=Looking(), use_dns_cache=False, force_close=True)
    lines = {**headers, "content-type": receiver.media, "user-agent": "omega-webhooks/1"}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False) as http,
            http.post(receiver.url, data=body, headers=lines, allow_redirects=False) as response,
        ):
            await response.content.read(MAX_ANSWER)
            return response.status
    except (aiohttp.ClientError, OSError) as error:
        refused = _refusal(error)
        if refused is not None:
            raise refused from error
        raise _failed(
            "", f"cannot be reached ({type(error).__name__})", sent=not isinstance(error, aiohttp.ClientConnectorError)
        ) from error


class _Refused(OSError):
    """A refusal on its way through aiohttp."""

    def __init__(self, error: OmegaError) -> None:
        super().__init__("refused")
        self.error = error


def _refusal(error: BaseException | None) -> OmegaError | None:
    """The refusal that lies under an error of aiohttp, if one does."""
    for _ in range(8):
        if error is None or isinstance(error, _Refused):
            return None if error is None else error.error
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return None


def _failed(hook: str, what: str, *, sent: bool, **details: Any) -> UpstreamError:
    """A receiver that did not take a message; its address, which may hold a secret, is not said."""
    return UpstreamError(NOT_DELIVERED, f"the receiver{f' of {hook}' if hook else ''} {what}", details={"sent": sent, **details})
