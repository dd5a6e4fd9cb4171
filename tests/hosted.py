"""An installation that hosts tenants, for tests: calls of services as anybody, down the real road."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from omega.host.acting import owner_passport
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.exchange import Exchange, draw_secret, key_text
from omega.host.tenants import Bearer, passport_for
from omega.kernel.errors import OmegaError, from_record
from omega.kernel.ports import Call
from omega.kernel.service import INSTALLATION

ALL = ("*",)


class Installation:
    """An open Omega, and how its services are called."""

    def __init__(self, omega: Omega) -> None:
        self.omega = omega
        self.written: list[Any] = []
        world = omega.world
        self.exchange = Exchange(omega.store, world.authority, world.entropy, world.clock.now_us, later=self.written.append)

    @classmethod
    @asynccontextmanager
    async def open(cls, home: Path) -> AsyncIterator[Installation]:
        async with Omega.open(home) as omega:
            yield cls(omega)

    @property
    def now_us(self) -> int:
        return self.omega.world.clock.now_us()

    def owner(self, tenant: str = INSTALLATION) -> str:
        """A passport of the person of the installation."""
        return owner_passport(self.omega.identity, tenant, self.now_us)

    def passport(
        self, tenant: str, principal: str = "person:eve", roles: Iterable[str] = ("owner",), capabilities: Iterable[str] = ALL
    ) -> str:
        """A passport of somebody of a tenant."""
        world = self.omega.world
        bearer = Bearer(tenant=tenant, principal=principal, roles=tuple(roles), capabilities=tuple(capabilities))
        return passport_for(world.authority, world.entropy, bearer, ttl_s=600, now_us=self.now_us)

    async def ask(self, name: str, value: Mapping[str, Any] | None = None, passport: str = "") -> Any:
        """What a method gives. Raises its error."""
        outcome = await self.omega.road.call(Call(passport=passport or self.owner(), flow=find_method(name)[0], input=dict(value or {})))
        if outcome.error is not None:
            raise from_record(outcome.error)
        return outcome.value

    async def refusal(self, name: str, value: Mapping[str, Any] | None = None, passport: str = "") -> str:
        """The code with which a method is refused; empty when it is not."""
        try:
            await self.ask(name, value, passport)
        except OmegaError as error:
            return error.code
        return ""

    async def tenant(self, name: str = "production", **more: Any) -> str:
        """A new tenant's id."""
        return str((await self.ask("tenancy.create", {"organisation": "acme", "project": "web", "environment": name, **more}))["tenant"])

    async def key(self, tenant: str, principal: str = "agent:ci", **more: Any) -> tuple[str, str]:
        """A new API key of a tenant: its id and its text."""
        secret, digest = draw_secret(self.omega.world.entropy)
        wanted = {"name": "ci", "secret_sha256": digest, "principal": principal, **more}
        made = await self.ask("tenancy.create_key", wanted, self.owner(tenant))
        return made["key"], key_text(made["key"], secret)


def gone(folder: Path, *words: str) -> list[str]:
    """Which of `words` are found in any file below `folder`, with the file."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            body = path.read_bytes()
            found += [f"{word} in {path.name}" for word in words if word.encode() in body]
    return found


def run(work: Any) -> Any:
    """An awaitable to its end."""
    return asyncio.run(work)


__all__ = ["ALL", "Installation", "gone", "run"]
