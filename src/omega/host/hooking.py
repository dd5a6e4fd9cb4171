"""Making and changing webhooks: what a person types becomes a sealed document that carries their authority, kept on record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from omega.adapters.webhooks import new_secret
from omega.adapters.webhooks.signing import SECRET_BYTES
from omega.contracts.events import Event, Interest
from omega.host.asking import forget, keep
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.embedded import Omega
from omega.host.events import BEGINNING, Feed
from omega.host.identity import Identity
from omega.host.reading import Archive
from omega.host.settings import Settings
from omega.host.storage import may_make_keys
from omega.host.webhooks import DELIVER, LABEL, UNFINISHED, WEBHOOK, Dispatcher, Webhook, webhooks
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.journal import Status
from omega.kernel.ports import Search

MAX_LOOKED_AT = 1_000
"""Most deliveries of one webhook that are counted for a list."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A webhook as it stands: how many of its deliveries are under way, and how many failed for good."""

    hook: Webhook
    open: int
    failed: int

    def record(self) -> dict[str, Any]:
        """As data, without the secret."""
        hook = self.hook
        told = {"webhook": hook.name, "url": hook.url, "types": list(hook.types), "keys": list(hook.keys), "allow": list(hook.allow)}
        return told | {"paused": hook.paused, "by": str(hook.claims.get("principal", "")), "open": self.open, "failed": self.failed}


async def add(
    home: str | os.PathLike[str] | None, name: str, url: str, *, types: Sequence[str], keys: Sequence[str], allow: Sequence[str], past: bool
) -> Webhook:
    """Keep a webhook with a new secret, on record, with the rights of whoever makes it; with `past` it is told what happened before, too.

    Raises InputError (OMG-I001), Denied (OMG-P011), StorageError.
    """
    settings = Settings.load(home)
    may_make_keys(settings)
    entropy = SystemEntropy()
    identity, now_us = Identity.load(settings, entropy), SystemClock().now_us()
    scope = identity.authority.verify(identity.passport("", now_us=now_us), now=now_us / 1_000_000)
    made = Webhook(
        name=name,
        url=url,
        secret=new_secret(entropy.take(SECRET_BYTES)),
        claims=scope.claims(),
        types=tuple(types),
        keys=tuple(keys),
        allow=tuple(allow),
        since=BEGINNING if past else _newest(home, settings.tenant),
    )
    await keep(home, WEBHOOK, name, made.seal(identity.keyring))
    return made


async def pause(home: str | os.PathLike[str] | None, name: str, *, paused: bool) -> None:
    """Have a webhook told nothing, or again. Raises InputError (OMG-I003) when there is none of that name."""
    with Archive.open(home) as archive:
        found, problems = webhooks(archive.reader, archive.identity.keyring)
        if name in problems:
            raise problems[name]
        hook = next((each for each in found if each.name == name), None)
        if hook is None:
            raise InputError("OMG-I003", f"there is no webhook {name[:64]} (known: {', '.join(each.name for each in found) or 'none'})")
        body = replace(hook, paused=paused).seal(archive.identity.keyring)
    await keep(home, WEBHOOK, name, body)


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Forget a webhook; deliveries under way fail. Raises InputError (OMG-I003)."""
    await forget(home, WEBHOOK, name)


def standing(archive: Archive) -> tuple[list[Standing], dict[str, OmegaError]]:
    """Every webhook, and what is wrong with those that cannot be read."""
    found, problems = webhooks(archive.reader, archive.identity.keyring)
    return [Standing(hook, _count(archive, hook, UNFINISHED), _count(archive, hook, (Status.FAILED,))) for hook in found], problems


def feed_of(archive: Archive) -> Feed:
    """The feed of an archive."""
    return Feed(archive.reader, archive.identity.keyring, archive.world.blobs)


async def follow(archive: Archive, tenant: str, after: int, interest: Interest) -> AsyncIterator[Event]:
    """Every event after a position as it comes, for ever."""
    async for event in feed_of(archive).follow(tenant, after, interest):
        yield event


@asynccontextmanager
async def delivering(omega: Omega) -> AsyncIterator[Dispatcher]:
    """Deliver to webhooks for as long as this is open."""
    dispatcher = Dispatcher(omega.engine, omega.store, Feed(omega.store, omega.identity.keyring, omega.world.blobs))
    running = asyncio.create_task(omega.chores.keep("webhooks", dispatcher.run))
    try:
        yield dispatcher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _newest(home: str | os.PathLike[str] | None, tenant: str) -> int:
    try:
        archive = Archive.open(home)
    except OmegaError:  # nothing is recorded yet
        return BEGINNING
    with archive:
        return feed_of(archive).newest(tenant)


def _count(archive: Archive, hook: Webhook, status: Sequence[str]) -> int:
    search = Search(tenant=hook.tenant, flow=DELIVER, status=status, labels={LABEL: hook.name}, limit=MAX_LOOKED_AT)
    return len(archive.reader.search(search))
