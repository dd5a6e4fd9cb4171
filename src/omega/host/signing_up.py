"""Signing in to a tool server elsewhere: a person allows this installation to use it for them, and the token is kept as their secret.

sign_in    ask the server who gives its tokens, send the person there, take the answer at this machine, keep the token sealed under
           NAME, where a header `Authorization=Bearer user:NAME` finds it (`omega.host.credentials`). What else is needed to renew it
           (the client that we are there, the refresh token) is kept beside it under `NAME__held`
again      the same with what is kept: a token is renewed without asking anybody, as long as whoever gives tokens lets us
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from omega.adapters.mcp.obtaining import About, Obtaining
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web, WebFault
from omega.host.asking import keep
from omega.host.clock import SystemClock
from omega.host.credentials import CREDENTIAL, credentials, document_name, sealed
from omega.host.reading import Archive
from omega.host.renewing import HELD, Kept
from omega.kernel.errors import InputError, UpstreamError

PATIENCE_S: Final = 300.0
"""How long (seconds) a person may take on the page elsewhere."""

ASK_S: Final = 15.0
MAX_HEAD: Final = 16 << 10
_DONE: Final = b"<!doctype html><html lang=en><meta charset=utf-8><title>signed in</title><p>you may close this page</p>"
_PROBE: Final = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()

Tell = Callable[[str], None]
"""Shows a person the address to go to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What is wanted: a token for the server at `url`, kept under `name` for `principal` (empty: the owner). `document` is the address of
    our own metadata document, `client` and `secret` what was agreed with whoever gives tokens, `issuer`, which a secret demands (OMG-I001):
    the server names whom it likes. `allowed` are private networks to reach."""

    name: str
    url: str
    principal: str = ""
    client: str = ""
    issuer: str = ""
    document: str = ""
    allowed: Sequence[str] = ()


async def sign_in(home: str | os.PathLike[str] | None, wanted: SignIn, tell: Tell, *, secret: str = "") -> tuple[str, ...]:
    """Sign in and keep the token, on record; gives the scopes that came with it. Raises UpstreamError (OMG-M011), InputError (OMG-I001,
    OMG-X001), Denied (OMG-P011) for an address that may not be reached."""
    with Archive.open(home) as archive:
        tenant, keyring = archive.settings.tenant, archive.world.keyring
        whose = wanted.principal or f"person:{archive.settings.person}"
        kept = credentials(archive.reader, keyring)(tenant, whose, wanted.name + HELD)
    web = Web(networks(wanted.allowed))
    try:
        async with _answers() as (redirect, come_back):

            async def consent(where: str) -> str:
                tell(where)
                return await come_back()

            about = About(redirect=redirect, document=wanted.document, id=wanted.client, secret=secret, issuer=wanted.issuer)
            obtaining = Obtaining(wanted.name, wanted.url, web, about, consent, Kept.read(kept).held)
            await _challenged(web, wanted, obtaining)
    finally:
        await web.close()
    held = obtaining.held
    rest = Kept(held, wanted.url, tuple(wanted.allowed)).text()
    for name, text in ((wanted.name, held.access), (wanted.name + HELD, rest)):
        body = sealed(keyring, tenant, whose, name, text, at_us=SystemClock().now_us())
        await keep(home, CREDENTIAL, document_name(tenant, whose, name), body)
    return held.scopes


async def _challenged(web: Web, wanted: SignIn, obtaining: Obtaining) -> None:
    """Have the server refuse us, which says where its tokens come from, and obtain one."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    try:
        refused = await web.ask("POST", wanted.url, headers=headers, body=_PROBE, timeout_s=ASK_S)
    except (WebFault, TimeoutError) as error:
        raise UpstreamError("OMG-M011", f"{wanted.name} does not answer", details={"server": wanted.name}) from error
    if refused.status != 401:
        raise InputError("OMG-X001", f"{wanted.name} asks for no token: it answered {refused.status} without one")
    await obtaining.answer(refused.status, refused.headers.get("www-authenticate", ""), 0)


@asynccontextmanager
async def _answers() -> AsyncIterator[tuple[str, Callable[[], Awaitable[str]]]]:
    """An address of this machine at which one answer is taken (RFC 8252, 7.3), and what waits for it."""
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ASK_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            target = head.split(" ", 2)[1] if head.startswith("GET ") else ""
            found = target.startswith("/callback?")
            if found and not came.done():
                came.set_result(redirect + target.removeprefix("/callback"))
            status = b"200 OK" if found else b"404 Not Found"
            body = _DONE if found else b""
            writer.write(b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)))
            writer.write(body)
            await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, IndexError):
            return  # whoever it was has not spoken HTTP: the one who is waited for may still come
        finally:
            writer.close()

    async def come_back() -> str:
        async with asyncio.timeout(PATIENCE_S):
            return await came

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=MAX_HEAD)
    redirect = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
    try:
        yield redirect, come_back
    finally:
        server.close()
