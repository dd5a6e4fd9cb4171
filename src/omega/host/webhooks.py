"""Webhooks out: events of the record to addresses that somebody registered, each delivery a durable flow of its own.

A webhook is an arrangement, sealed because it holds a secret and the authority of whoever made it. A dispatcher reads the feed after the
last event that it dealt with and starts for each one that is wanted an execution named after webhook and position,

    billing@42

down the same road as any call, as whoever made the webhook, through `service:scheduler`. So any number of dispatchers make one delivery,
and how far one has come is only a note. The delivery posts, waits longer each time, and gives up after three days: it has failed then, is
listed and can be redriven like everything else, and that is the dead-letter queue.

Deliveries run side by side, so they may arrive out of order; `sequence` in each says which came first. What deliveries themselves bring
about is not told to any webhook: it would never end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omega.adapters.webhooks import Deliver, Receiver
from omega.adapters.webhooks.effector import GONE
from omega.adapters.webhooks.reach import checked_url, networks
from omega.adapters.webhooks.signing import key_of
from omega.contracts.events import Event, Interest
from omega.host.arrangements import Documents, Shelf
from omega.host.events import Feed
from omega.kernel.budget import Budget
from omega.kernel.context import Context
from omega.kernel.errors import InputError, IntegrityError, OmegaError, StorageError, UpstreamError
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.ports import Search
from omega.kernel.scope import SCHEDULER
from omega.runtime import admission
from omega.runtime.engine import Engine
from omega.trust.sealing import Keyring

WEBHOOK = "webhook"
"""The kind of the documents that are webhooks."""

PROGRESS = "webhook-progress"
"""The kind of the documents that note how far each has come."""

LABEL = "webhook"
"""The label that names the webhook on each of its deliveries."""

DELIVER = "webhook.deliver"
NEEDS = "webhooks:use"

WAITS_S = (5.0, 60.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 72_000.0)
"""Waits between attempts, in seconds: about three days in all, longer each time, as Standard Webhooks advises."""

JITTER = 0.2
"""How much of a wait chance adds, so that what failed together does not come back together."""

MAX_OPEN = 100
"""Most deliveries of one webhook under way: further events wait in the record, where they are safe."""

PAGE = 50
LOOK_S = 0.5
"""How often a dispatcher looks for events, in seconds."""

UNFINISHED = (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.IN_DOUBT)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DELIVERY = re.compile(r"[a-z0-9_-]{1,32}@\d{1,16}")
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where events go: those after `since` of these `types` about these `keys`, to `url`, signed with `secret`.

    `allow` are private networks that it may reach (none: the internet alone), `claims` the scope of whoever made it (`Scope.claims()`).
    Raises InputError (OMG-I001), Denied (OMG-P011).
    """

    name: str
    url: str
    secret: str = field(repr=False)
    claims: Mapping[str, Any]
    types: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    since: int = -1
    paused: bool = False

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise InputError("OMG-I001", f"{self.name[:80]!r} cannot name a webhook: 1 to 32 lower-case letters, digits, '-' and '_'")
        key_of(self.secret)
        checked_url(self.url, networks(self.allow))
        _ = self.interest

    @property
    def interest(self) -> Interest:
        """Which events it is told of."""
        return Interest(types=self.types, keys=self.keys)

    @property
    def tenant(self) -> str:
        """Whose events they are."""
        return str(self.claims.get("tenant", ""))

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        fields = {name: getattr(self, name) for name in self.__slots__} | {"claims": dict(self.claims)}
        wrapped, sealer = keyring.create(_context(self.name))
        sealed = sealer.seal(json.dumps(fields).encode(), _context(self.name).encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, body: Mapping[str, Any], keyring: Keyring) -> Webhook:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", f"the webhook {name[:64]} has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", f"the webhook {name[:64]} has no known form") from error
        fields = json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode()))
        fields |= {part: tuple(fields[part]) for part in ("types", "keys", "allow")}
        return cls(**fields)


def _context(name: str) -> str:
    """What a webhook's key and seal are bound to."""
    return f"webhook {name}"


def reading(keyring: Keyring) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The check of a webhook's document before it is kept: sealed here, under its own name. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            Webhook.open(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="make webhooks with omega webhook add") from error
        return body

    return read


def webhooks(documents: Documents, keyring: Keyring) -> tuple[list[Webhook], dict[str, OmegaError]]:
    """All webhooks by name, and what is wrong with those that cannot be read."""
    found, problems = [], {}
    for name, body in documents.documents(WEBHOOK):
        try:
            found.append(_opened(name, body, keyring))
        except OmegaError as error:
            problems[name] = error
    return found, problems


def finder(documents: Documents, keyring: Keyring) -> Callable[[str, str], Receiver]:
    """How the effector finds where a webhook goes: by tenant and name, so that nobody sends as another tenant."""

    def find(tenant: str, name: str) -> Receiver:
        body = documents.document(WEBHOOK, name)
        hook = None if body is None else _opened(name, body, keyring)
        if hook is None or hook.tenant != tenant:
            raise InputError("OMG-I003", f"there is no webhook {name[:64]}")
        return Receiver(hook.url, hook.secret, networks(hook.allow))

    return find


def _opened(name: str, document: bytes, keyring: Keyring) -> Webhook:
    """The webhook in a document. Raises IntegrityError (OMG-T004), InputError (OMG-I001)."""
    try:
        body = json.loads(document)
    except ValueError as error:
        raise IntegrityError("OMG-T004", f"the webhook {name[:64]} is damaged") from error
    return Webhook.open(name, body, keyring)


# -- delivering


@flow(name="webhook.post", effect="idempotent", needs=NEEDS)
async def post(ctx: Context, wanted: dict[str, Any]) -> int:
    """One attempt: `hook`, `event`; gives the status of the answer."""
    event = dict(wanted["event"])
    status: int = await ctx.touch(Deliver(hook=str(wanted["hook"]), id=str(event["id"]), document=event))
    return status


@flow(name=DELIVER, effect="idempotent", needs=NEEDS)
async def deliver(ctx: Context, wanted: dict[str, Any]) -> int:
    """Deliver one event: `hook`, `event`; gives the status of the answer. Fails after the last attempt, or when the receiver is gone."""
    for wait_s in WAITS_S:
        try:
            return int(await ctx.call(post, wanted))
        except UpstreamError as error:
            if error.details.get("status") == GONE:
                raise
        await ctx.sleep(wait_s * (1 + JITTER * await ctx.random()))
    return int(await ctx.call(post, wanted))


class Dispatcher:
    """Starts deliveries. `problems` are the webhooks that could not be read or served at the last look, with the error."""

    def __init__(self, engine: Engine, shelf: Shelf, feed: Feed) -> None:
        self._engine, self._shelf, self._feed = engine, shelf, feed
        self._world = engine.world
        self._recovered = False
        self.problems: dict[str, OmegaError] = {}

    async def run(self) -> None:
        """Look for ever. A store that fails is looked at again; nothing is lost, for the events are in it."""
        while True:
            with suppress(StorageError):
                await self.tick()
            await asyncio.sleep(LOOK_S)

    async def tick(self) -> int:
        """Start what is to be delivered; gives how many deliveries were started. Raises StorageError."""
        hooks, self.problems = webhooks(self._shelf, self._world.keyring)
        started = 0
        for hook in hooks:
            try:
                if not self._recovered:
                    await self._recover(hook)
                if not hook.paused:
                    started += await self._serve(hook)
            except StorageError:
                raise
            except OmegaError as error:  # of a revoked maker, say: the others are served
                self.problems[hook.name] = error
        self._recovered = True
        return started

    async def _recover(self, hook: Webhook) -> None:
        """Go on with deliveries that an earlier process left."""
        for execution in self._open(hook):
            with suppress(OmegaError):  # it runs, here or elsewhere, or is not to be gone on with
                await self._engine.resume(execution, deliver)

    async def _serve(self, hook: Webhook) -> int:
        after = max(hook.since, self._progress(hook.name))
        page = self._feed.read(hook.tenant, after, hook.interest, PAGE)
        started, position = 0, page.position
        room = MAX_OPEN - sum(1 for _ in self._open(hook)) if page.events else 0
        for event in page.events:
            if is_delivery(event):
                continue
            if room <= 0:
                position = event.position - 1
                break
            await self._start(hook, event)
            room -= 1
            started += 1
        if position != after:
            self._shelf.put_document(PROGRESS, hook.name, str(position).encode(), self._world.clock.now_us())
        return started

    async def _start(self, hook: Webhook, event: Event) -> None:
        """One delivery, on record when this returns, unless another dispatcher was first."""
        value = {"hook": hook.name, "event": event.cloud()}
        scope = self._world.authority.restore(hook.claims).acting(SCHEDULER)
        order = admission.Order(
            execution=f"{hook.name}@{event.position}",
            flow=deliver,
            data=deliver.input.encode(value)[0],
            scope=scope,
            budget=Budget(),
            target=f"{__name__}:deliver",
            line=admission.Line(labels={LABEL: hook.name}),
        )
        try:
            await self._engine.launch(order, value)
        except (InputError, StorageError) as error:
            if error.code != "OMG-R010":
                raise

    def _open(self, hook: Webhook) -> Iterator[str]:
        """Deliveries of the webhook that have not ended, and forks of them. Anybody may give a run of theirs the label, nobody the name."""
        found = self._world.reader.search(Search(tenant=hook.tenant, status=UNFINISHED, labels={LABEL: hook.name}, limit=MAX_OPEN))
        own = f"{hook.name}@"
        return (line.execution for line in found if (line.origin or line.execution).startswith(own) and line.flow == DELIVER)

    def _progress(self, name: str) -> int:
        """The last position that was dealt with, as noted; before the beginning when nothing readable is."""
        body = self._shelf.document(PROGRESS, name) or b""
        return int(body) if body.isdigit() else -1


def is_delivery(event: Event) -> bool:
    """Whether an event is about a delivery."""
    return event.data.get("flow") in (DELIVER, post.name) or _DELIVERY.fullmatch(str(event.data.get("execution", ""))) is not None
