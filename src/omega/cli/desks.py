"""Where the commands that are calls of services make them: at the desk of this installation, or at the remote one that is current."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from omega.cli.contexts import contexts_of
from omega.cli.output import Session
from omega.client import Client
from omega.host.methods import desk
from omega.kernel.errors import InputError
from omega.kernel.service import INSTALLATION


class Desk(Protocol):
    """Whoever carries calls of services out."""

    async def ask(self, name: str, value: Mapping[str, Any], tenant: str = INSTALLATION) -> Any:
        """What `service.method` gives for `value`. Raises its error."""
        ...

    async def tenant(self, text: str) -> str:
        """The id of the tenant that `text` names. Raises InputError (OMG-I003)."""
        ...


class Away:
    """The desk of a remote installation: calls are made in the tenant that somebody signed in to."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, name: str, value: Mapping[str, Any], tenant: str = INSTALLATION) -> Any:
        """What the method gives there. Raises InputError (OMG-X001) for another tenant than the one that one is in, and what it says."""
        if tenant != INSTALLATION and tenant != (await self._client.me())["tenant"]:
            raise InputError(
                "OMG-X001", "there a call is made in the tenant that you signed in to", advice="sign in to that tenant: omega login URL"
            )
        return await self._client.call(name, dict(value))

    async def tenant(self, text: str) -> str:
        """The tenant, by the list of those that the caller may see there."""
        if "/" not in text:
            return text or INSTALLATION
        organisation, _, rest = text.partition("/")
        for row in await self.ask("tenancy.tenants", {"organisation": organisation, "limit": 500}):
            if f"{row['project']}/{row['environment']}" == rest:
                return str(row["tenant"])
        raise InputError("OMG-I003", f"there is no tenant {text[:200]!r}", advice="omega tenant list")


@asynccontextmanager
async def desk_of(session: Session) -> AsyncIterator[Desk]:
    """The desk at which the command of `session` is made."""
    if session.there is None:
        async with desk(session.home) as here:
            yield here
        return
    name, context = session.there
    async with Client(context.address, contexts_of(session).credentials(name, context)) as client:
        yield Away(client)


async def ask_at(session: Session, name: str, value: Mapping[str, Any]) -> Any:
    """One call of `service.method` where the command is made. Raises its error."""
    async with desk_of(session) as at:
        return await at.ask(name, value)
