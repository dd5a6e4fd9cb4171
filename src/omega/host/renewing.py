"""Tokens that `omega mcp sign-in` obtained, renewed by themselves while calls go on.

    about to end       renewed before the next call of their owner
    refused (401)      renewed once, and the request, which the server has not carried out, is sent again
    not renewed        OMG-M011: sign in again. The same token is not tried again for `PAUSE_S`

A token belongs to (tenant, principal, name) and to the address that it was obtained for; it goes to no other address, and nobody else's
call sees it. There is one lock for each: calls side by side renew once. What another process, or a new sign-in, has kept meanwhile is taken
before anything is asked. A refresh token is used once: the one that came in its place is kept, sealed, before any call goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

from omega.adapters.mcp.obtaining import About, Held, Obtaining
from omega.adapters.mcp.renewing import AUTHORIZATION, shown
from omega.adapters.mcp.upstream import Upstream
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web
from omega.host.arrangements import Shelf
from omega.host.credentials import CREDENTIAL, credentials, document_name, sealed
from omega.kernel.errors import InputError, UpstreamError
from omega.trust.sealing import Keyring

HELD: Final = "__held"
"""What the name of the secret ends with that is needed to renew another."""

AHEAD_S: Final = 60.0
"""How long before its end a token is renewed, in seconds."""

PAUSE_S: Final = 15.0
"""How long a token that could not be renewed is left alone, in seconds: whoever gives tokens is not asked for each call."""

MAX_KEPT: Final = 10_000
"""Most owners of tokens that are kept in mind; the one that was longest idle gives way."""

_REFERENCE: Final = "Bearer user:"


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies beside a token: what else is known, the address that it is for, and the private networks that may be reached for it."""

    held: Held
    url: str = ""
    allowed: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> Kept:
        """From what `text` wrote; nothing known for None."""
        found: dict[str, Any] = json.loads(text) if text else {}
        url, allowed = str(found.pop("url", "")), tuple(found.pop("allowed", ()))
        return cls(Held(**{**found, "scopes": tuple(found["scopes"])}) if found else Held(), url, allowed)

    def text(self) -> str:
        """As it is kept; the token itself lies elsewhere."""
        rest = asdict(self.held) | {"access": "", "url": self.url, "allowed": list(self.allowed)}
        return json.dumps(rest, separators=(",", ":"))


class KeptTokens:
    """The token NAME of one caller for one server. Belongs to one event loop."""

    def __init__(self, shop: Renewer, whose: tuple[str, str, str], url: str) -> None:
        self._shop, self._whose, self._url = shop, whose, url
        self._lock = asyncio.Lock()
        self._access, self._until_s = "", 0.0
        self._failed: tuple[str, float, UpstreamError] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with each request; noted for the task that sends it."""
        if not self._access:
            self._take()
        shown.set(self._access)
        return {"Authorization": f"Bearer {self._access}"} if self._access else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token."""
        return (self._access,) if self._access else ()

    async def fresh(self) -> None:
        """Renew the token where it is about to end. Raises UpstreamError (OMG-M011)."""
        if not self._access:
            self._take()
        if self._until_s and self._shop.now_s() > self._until_s - AHEAD_S:
            await self._renewed(self._access)

    async def answer(self, status: int, challenge: str, rounds: int) -> bool:
        """Whether a request that was refused may be sent again, with another token. Raises UpstreamError (OMG-M011)."""
        if status != 401 or rounds:
            return False
        await self._renewed(shown.get())
        return True

    def _take(self) -> Kept:
        """Take what is kept now as it is."""
        access, kept = self._shop.kept(self._whose)
        self._access, self._until_s = access, kept.held.until_s
        return kept

    async def _renewed(self, old: str) -> None:
        """Have another token than `old`, whoever got it. Raises UpstreamError (OMG-M011)."""
        async with self._lock:
            if self._access != old:
                return
            kept = self._take()
            if self._access != old:
                return
            if self._failed is not None and self._failed[0] == old and time.monotonic() < self._failed[1]:
                raise UpstreamError(self._failed[2].code, self._failed[2].cause, advice=self._failed[2].advice)
            try:
                await self._ask(kept)
            except UpstreamError as error:
                self._failed = (old, time.monotonic() + PAUSE_S, error)
                raise

    async def _ask(self, kept: Kept) -> None:
        name, advice = self._whose[2], f"sign in again: omega mcp sign-in {self._whose[2]} --url {self._url}"
        web = Web(networks(kept.allowed))
        try:
            obtaining = Obtaining(name, self._url, web, About(redirect=""), _nobody, kept.held)
            await obtaining.answer(401, "", 0)
        except UpstreamError as error:
            raise UpstreamError(error.code, f"the token {name} has ended and is not renewed: sign in again", advice=advice) from error
        finally:
            await web.close()
        self._shop.keep(self._whose, obtaining.held.access, Kept(obtaining.held, kept.url, kept.allowed))
        self._access, self._until_s = obtaining.held.access, obtaining.held.until_s


class Renewer:
    """The tokens of everybody, as they are kept (`omega.adapters.mcp.renewing.Renewals`)."""

    def __init__(self, shelf: Shelf, keyring: Keyring, now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring, self._now_us = shelf, keyring, now_us
        self._look = credentials(shelf, keyring)
        self._known: OrderedDict[tuple[str, str, str, str], KeptTokens] = OrderedDict()

    def tokens(self, upstream: Upstream, tenant: str, principal: str) -> KeptTokens | None:
        """The tokens of that caller for `upstream`, where its record names a token that was obtained for this very address."""
        reference = next((value for key, value in upstream.headers.items() if key.lower() == AUTHORIZATION), "")
        name = reference.removeprefix(_REFERENCE)
        if name == reference:
            return None
        access, kept = self.kept((tenant, principal, name))
        if not access or kept.url != upstream.url or not kept.held.refresh:
            return None
        key = (tenant, principal, name, kept.url)
        found = self._known.pop(key, None) or KeptTokens(self, key[:3], kept.url)
        self._known[key] = found
        while len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)
        return found

    def kept(self, whose: tuple[str, str, str]) -> tuple[str, Kept]:
        """The token of that name, and what lies beside it. Raises IntegrityError (OMG-T004)."""
        tenant, principal, name = whose
        return self._look(tenant, principal, name) or "", Kept.read(self._look(tenant, principal, name + HELD))

    def keep(self, whose: tuple[str, str, str], access: str, kept: Kept) -> None:
        """Keep a token in place of the one before, the refresh token first: it is the one that cannot be had again."""
        tenant, principal, name = whose
        now_us = self._now_us()
        for called, text in ((name + HELD, kept.text()), (name, access)):
            body = json.dumps(sealed(self._keyring, tenant, principal, called, text, at_us=now_us)).encode()
            self._shelf.put_document(CREDENTIAL, document_name(tenant, principal, called), body, now_us)

    def now_s(self) -> float:
        """The time of the records, in Unix seconds."""
        return self._now_us() / 1_000_000


async def _nobody(where: str) -> NoReturn:
    raise InputError("OMG-I001", "nobody is there to be asked")
