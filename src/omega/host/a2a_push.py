"""Telling callers of their tasks: a POST to an address that a caller left with a task, each a durable flow of its own.

A configuration is kept by a governed flow, sealed (it may hold a token and credentials), with the authority of whoever left it. A teller
looks how the tasks stand that somebody wants to hear of; for each state that is worth telling it starts an execution named after the
configuration and the moment,

    told-3f9c2d...@1790000000000000

down the same road as any call, as whoever left the configuration, through `service:scheduler`. So any number of tellers make one delivery.
What is sent is the state and nothing that the task was given or gave: whoever wants that asks for the task.

Addresses on this machine and in private networks are refused unless the operator allowed the network for the agent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Final

from omega.adapters.webhooks import Deliver, Receiver, send
from omega.adapters.webhooks.reach import networks
from omega.host.arrangements import Documents, Shelf, arranged
from omega.host.publishing import PUBLISHED
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.flow import flow
from omega.kernel.ports import Line
from omega.kernel.verdict import Permit
from omega.trust.sealing import Keyring

PUSH: Final = "a2a-push"
"""The kind of the documents that are configurations."""

TOLD: Final = "a2a-push-told"
"""The kind of the documents that note which state was told last."""

NEEDS: Final = "a2a-push:use"
"""What whoever wants to be told holds."""

MAX_CONFIGS: Final = 10
"""Most configurations that one principal leaves with one task."""

MAX_OF_PRINCIPAL: Final = 500
"""Most configurations of one principal, those of tasks that have ended included for as long as they are kept."""

MAX_OF_TENANT: Final = 2_000
"""Most configurations of one tenant."""

_FORMAT: Final = 1


# -- keeping a configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPush(Request):
    """Keep the configuration `name` of `task`, in place of an earlier one."""

    port: ClassVar[str] = "a2a-push"
    name: str
    task: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPush(Request):
    """Forget the configuration `name` of `task`."""

    port: ClassVar[str] = "a2a-push"
    name: str
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell(Request):
    """Post `document` to the address of the configuration `name`; `id` is the same for each attempt. Gives the status of the answer."""

    port: ClassVar[str] = "a2a-push"
    name: str
    id: str
    document: Mapping[str, Any]


class PushEffector:
    """Serves `KeepPush`, `DropPush` and `Tell` on the documents of a store. Secrets are opened here and are seen by nobody else."""

    port = KeepPush.port

    def __init__(self, shelf: Shelf, keyring: Keyring, line: Callable[[str], Line | None], now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring, self._line, self._now_us = shelf, keyring, line, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[int | None, Receipt]:
        """Gives the status of what was told, else nothing.

        Raises what sending a webhook raises; InputError: OMG-I003 for a task that the tenant of the permit has not, OMG-I001 for one
        configuration too many; Denied (OMG-W001) for a configuration of somebody else.
        """
        permit.spend(self.port)
        if isinstance(request, KeepPush | DropPush | Tell) and not request.name.startswith(_place(permit.tenant, permit.principal)):
            raise Denied("OMG-W001", "whoever left a configuration is the only one to change it", advice="leave one of your own")
        if isinstance(request, Tell):
            deliver = Deliver(hook="", id=request.id, document=request.document)
            return await send(self._receiver(permit.tenant, request.name), deliver, self._now_us() // 1_000_000)
        if not isinstance(request, KeepPush | DropPush):
            raise InputError("OMG-I001", f"configurations are kept and dropped, there is no {type(request).__name__}")
        line = self._line(request.task)
        if line is None or line.tenant != permit.tenant:
            raise InputError("OMG-I003", f"{request.task[:80]} is not recorded here")
        if isinstance(request, DropPush):
            self._shelf.drop_document(PUSH, request.name)
            self._shelf.drop_document(TOLD, request.name)
            return None, Receipt()
        if not request.name.startswith(prefix_of(permit.tenant, permit.principal, request.task)):
            raise InputError("OMG-I001", "the name of a configuration is made of the task that it is for")
        if self._shelf.document(PUSH, request.name) is None:
            demand_room(self._shelf, permit.tenant, permit.principal, request.task)
        self._shelf.put_document(PUSH, request.name, json.dumps(dict(request.body)).encode(), self._now_us())
        return None, Receipt()

    def _receiver(self, tenant: str, name: str) -> Receiver:
        """Where a configuration leads. Raises InputError (OMG-I003), IntegrityError (OMG-T004)."""
        document = self._shelf.document(PUSH, name)
        config = None if document is None else Config.open(name, document, self._keyring)
        if config is None or config.claims.get("tenant") != tenant:
            raise InputError("OMG-I003", "there is no such configuration any more")
        published = arranged(self._shelf, PUBLISHED, config.agent) or {}
        return Receiver(config.url, "", networks(published.get("networks", [])), headers=config.headers(), media="application/a2a+json")


@flow(name="a2a.tell", effect="idempotent", needs=NEEDS)
async def tell(ctx: Context, wanted: dict[str, Any]) -> None:
    """Keep a configuration: `name`, `task`, `body` (sealed)."""
    await ctx.touch(KeepPush(name=str(wanted["name"]), task=str(wanted["task"]), body=wanted["body"]))


@flow(name="a2a.untell", effect="idempotent", needs=NEEDS)
async def untell(ctx: Context, wanted: dict[str, Any]) -> None:
    """Forget a configuration: `name`, `task`."""
    await ctx.touch(DropPush(name=str(wanted["name"]), task=str(wanted["task"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Who is told of a task: the address with its token and credentials, the agent, and the scope of whoever left it (`claims`)."""

    id: str
    task: str
    agent: str
    url: str
    claims: Mapping[str, Any]
    token: str = field(default="", repr=False)
    scheme: str = ""
    credentials: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The name of its document."""
        return document_name(self.claims, self.task, self.id)

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        wrapped, sealer = keyring.create(_context(self.name))
        fields = {name: getattr(self, name) for name in self.__slots__} | {"claims": dict(self.claims)}
        sealed = sealer.seal(json.dumps(fields).encode(), _context(self.name).encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, document: bytes, keyring: Keyring) -> Config:
        """From its document. Raises IntegrityError (OMG-T004), for one that was sealed for another place too."""
        try:
            body = json.loads(document)
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", "a configuration has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", "a configuration has no known form") from error
        made = cls(**json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode())))
        if made.name != name:
            raise IntegrityError("OMG-T004", "a configuration lies under a name that is not its own")
        return made

    def shown(self) -> dict[str, Any]:
        """Without its secrets."""
        return {"id": self.id, "url": self.url} | ({"authentication": {"scheme": self.scheme}} if self.scheme else {})

    def headers(self) -> dict[str, str]:
        """What a delivery carries so that the receiver knows whose it is (A2A 1.0, 4.3.3 and 13.2)."""
        proof = {"authorization": f"{self.scheme} {self.credentials}"} if self.scheme and self.credentials else {}
        return proof | ({"x-a2a-notification-token": self.token} if self.token else {})


def document_name(claims: Mapping[str, Any], task: str, id: str) -> str:
    """The name of the document of a configuration,

        TENANT.PRINCIPAL.TASK.ID

    whose first two parts are hashes, and whose last is one of the id and of who acts for the principal: what one leaves takes the place of
    what the very same left, and of nothing else; and what a tenant, a principal, or a principal with one task has left is found without
    opening anything.
    """
    last = sha256(json.dumps([list(claims["actors"]), id]).encode()).hexdigest()[:24]
    return prefix_of(str(claims["tenant"]), str(claims["principal"]), task) + last


def prefix_of(tenant: str, principal: str, task: str) -> str:
    """How the names begin of what a principal has left with a task."""
    return f"{_place(tenant, principal)}{task}."


def task_of(name: str) -> str:
    """The task that a document of that name is for."""
    return name.rpartition(".")[0].split(".", 2)[-1]


def demand_room(shelf: Documents, tenant: str, principal: str, task: str = "") -> None:
    """Raise InputError (OMG-I001) where one configuration more is one too many: of the task, of the principal, or of the tenant."""
    limits = [
        (_place(tenant), MAX_OF_TENANT, "of this tenant"),
        (_place(tenant, principal), MAX_OF_PRINCIPAL, "of one caller"),
        (prefix_of(tenant, principal, task), MAX_CONFIGS, "of one task"),
    ]
    names = [name for name, _ in shelf.documents(PUSH, _place(tenant))]
    for prefix, most, whose in limits:
        if sum(name.startswith(prefix) for name in names) >= most:
            advice = "forget some that are not needed; those of a task that has ended are kept for some days"
            raise InputError("OMG-I001", f"at most {most:,} configurations {whose} are kept", advice=advice)


def _place(tenant: str, *principal: str) -> str:
    """How the names begin of what a tenant, or a principal of it, has left."""
    parts = [[tenant], *[[tenant, each] for each in principal]]
    return "".join(f"{sha256(json.dumps(part).encode()).hexdigest()[:24]}." for part in parts)


def _context(name: str) -> str:
    return f"a2a-push {name}"
