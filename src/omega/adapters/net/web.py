"""An HTTP client for addresses that somebody else chose: a connection is made only to what was looked at (`omega.adapters.net.reach`).

Redirections are not followed, because headers may hold credentials and another address is another server. Nothing is kept of cookies,
proxies of the environment are not used, and an answer is read to a limit. Connections stay open for later requests to the same host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from omega.adapters.net.reach import Network, check_host, not_allowed, resolved
from omega.kernel.errors import Denied, InputError, OmegaError, lacking

MAX_ANSWER: Final = 8 << 20
"""Largest answer in bytes, unless told otherwise."""

CONNECT_S: Final = 10.0
"""Patience with a connection, in seconds."""

AGENT: Final = "omega/1"


class WebFault(Exception):
    """No answer, or none that can be used; the words never quote the address. `sent` tells whether the server may have heard us."""

    def __init__(self, words: str, *, sent: bool) -> None:
        super().__init__(words)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A whole answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """The value of Content-Type; empty where there is none."""
        return self.headers.get("content-type", "")


class Web:
    """Sends requests to hosts that the whole internet can reach, and into the networks in `allowed`; over http into these alone, for
    whoever is on the way reads its headers. Belongs to one event loop."""

    def __init__(self, allowed: Sequence[Network] = (), *, limit: int = MAX_ANSWER) -> None:
        self._allowed, self._limit = tuple(allowed), limit
        self._sessions: dict[bool, Any] = {}

    async def ask(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float) -> WebAnswer:
        """One request to its whole answer, whatever its status.

        Raises WebFault, TimeoutError after `timeout_s` seconds, Denied (OMG-P011) for an address that may not be reached,
        InputError (OMG-I001) for a text that is no address.
        """
        check_address(url, self._allowed)
        session = self._opened(secure=url.lower().startswith("https:"))
        import aiohttp
        from yarl import URL

        begun = False
        try:
            async with (
                asyncio.timeout(max(0.0, timeout_s)),
                session.request(
                    method, URL(url, encoded=True), data=body or None, headers={"User-Agent": AGENT, **headers}, allow_redirects=False
                ) as response,
            ):
                begun = True
                read = await self._read(response)
                return WebAnswer(response.status, {name.lower(): value for name, value in response.headers.items()}, read)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            refused = _refusal(error)
            if refused is not None:
                raise refused from error
            unsent = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.InvalidURL, ValueError)) and not begun
            raise WebFault(f"cannot be reached ({type(error).__name__})", sent=not unsent) from error

    async def close(self) -> None:
        """Close every connection."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _read(self, response: Any) -> bytes:
        parts, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > self._limit:
                response.close()
                raise WebFault(f"answered with more than {self._limit:,} bytes", sent=True)
            parts.append(piece)
        return b"".join(parts)

    def _opened(self, *, secure: bool) -> Any:
        if secure not in self._sessions:
            self._sessions[secure] = _session(self._allowed, secure=secure)
        return self._sessions[secure]


def check_address(url: str, allowed: Sequence[Network] = ()) -> str:
    """`url`, if a request may go there as far as its text says: over https, and over http only into a network that was allowed.

    Raises InputError (OMG-I001), Denied (OMG-P011).
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not url.isprintable() or parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.fragment:
        raise InputError("OMG-I001", "that is no address", advice="write it as https://HOST/PATH, without a name or password")
    secure = parts.scheme == "https"
    try:
        check_host(host, allowed, secure=secure)
    except Denied as error:
        raise _not_allowed(secure=secure) from error
    if not secure and not allowed:
        raise InputError("OMG-I001", "requests are sent over https, or within a network that was allowed", advice="--allow 127.0.0.0/8")
    return url


def _not_allowed(*, secure: bool) -> OmegaError:
    public = "name a public host" if secure else "use https"
    return not_allowed(f"{public}, or allow the network on purpose: --allow 10.0.0.0/8", secure=secure)


def _session(allowed: Sequence[Network], *, secure: bool) -> Any:
    try:
        import aiohttp
        from aiohttp.abc import AbstractResolver
    except ImportError as error:
        raise lacking("aiohttp") from error

    class Looking(AbstractResolver):
        """Resolves a name and looks at every address it gives."""

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            try:
                return list(await resolved(host, port, allowed, secure=secure))
            except OmegaError as error:  # aiohttp lets through OSError alone
                raise _Refused(_not_allowed(secure=secure)) from error

        async def close(self) -> None:
            """Nothing is held."""

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Looking(), use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        trust_env=False,
    )


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
