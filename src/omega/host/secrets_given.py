"""Which secrets a session of a tool server was given: a leaf in the log says it by name, and a document when that was last.

A session begins within a step of an execution, with the values that its record's references stand for at that moment. The leaf is one of
that execution: its step, who called, which server, and the names (`user:github`, `env:TOKEN`); never a value. It is written as soon as the
call that began the session is over, whatever came of it. Sessions go on for many calls, so there is one leaf for each session, not for each
call. Secrets that are used outside of sessions (to read a registry, or a primary) are not counted here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from omega.adapters.mcp import McpEffector
from omega.adapters.mcp.effector import Pins, Upstreams
from omega.adapters.mcp.seats import Credentials
from omega.adapters.mcp.stdio import Launch
from omega.adapters.mcp.upstream import Secrets
from omega.chronicle.record import Leaf, encode
from omega.host.credentials import USE, document_name
from omega.host.storage import EngineStore
from omega.kernel.effects import Receipt, Request
from omega.kernel.ports import Batch
from omega.kernel.verdict import Permit

ENV: Final = "env:"
OWN: Final = "user:"
"""How the two kinds of references begin."""

_GIVEN: ContextVar[dict[str, None] | None] = ContextVar("omega-secrets-given", default=None)
"""The names that the call of the current task has had looked up."""


class GivingEffector(McpEffector):
    """Calls tools, and tells which secrets their servers were given."""

    def __init__(
        self,
        store: EngineStore,
        now_us: Callable[[], int],
        upstreams: Upstreams,
        pins: Pins,
        launch: Launch,
        *,
        credentials: Credentials,
        secrets: Secrets = os.environ.get,
        **options: Any,
    ) -> None:
        """`options` are those of `McpEffector`."""
        own, env = _own(credentials), _env(secrets)
        super().__init__(upstreams, pins, launch, secrets=env, credentials=own, **options)
        self._store, self._now_us = store, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """What `McpEffector.perform` does and raises; StorageError where what was given cannot be told."""
        given: dict[str, None] = {}
        token = _GIVEN.set(given)
        try:
            return await super().perform(permit, request, execution=execution, step=step)
        finally:
            _GIVEN.reset(token)
            if given:
                await self._tell(permit, str(getattr(request, "server", "")), tuple(given))

    async def _tell(self, permit: Permit, server: str, names: tuple[str, ...]) -> None:
        now_us = self._now_us()
        leaf = Leaf(
            kind="admin",
            tenant=permit.tenant,
            execution=permit.execution,
            principal=permit.principal,
            step=permit.step,
            at_us=now_us,
            reason=f"{server} was given {', '.join(names)}",
        )
        await self._store.commit(Batch(tenant=permit.tenant, execution=permit.execution, epoch=permit.epoch, leaves=[encode(leaf)]))
        for name in names:
            used = {"tenant": permit.tenant, "principal": permit.principal, "name": name, "server": server, "at_us": now_us}
            self._store.put_document(USE, place_of(permit.tenant, permit.principal, name), json.dumps(used).encode(), now_us)


def place_of(tenant: str, principal: str, reference: str) -> str:
    """The name of the document about the use of a secret: a caller's own has that of the secret, and goes with it."""
    own = reference.startswith(OWN)
    return document_name(tenant, principal, reference.removeprefix(OWN)) if own else document_name(tenant, "", reference)


def _env(secrets: Secrets) -> Secrets:
    def look(name: str) -> str | None:
        return _noted(ENV + name, secrets(name))

    return look


def _own(credentials: Credentials) -> Credentials:
    def look(tenant: str, principal: str, name: str) -> str | None:
        return _noted(OWN + name, credentials(tenant, principal, name))

    return look


def _noted(name: str, value: str | None) -> str | None:
    given = _GIVEN.get()
    if given is not None and value is not None:
        given[name] = None
    return value
