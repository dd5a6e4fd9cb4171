"""A core of one's own, bridged to a primary for reading: what the primary offers is listed here, and asked there.

    {"url": "https://omega.example", "headers": {"Authorization": "Bearer env:PRIMARY_KEY"}, "allow": [], "show": ["*"], "every_s": 300}

The catalogue is what the primary shows the holder of that key: flows that were put up, tools, methods of services. Only what reads is taken
in; the names of the rest are kept, so that a call of one is denied here, before anything is sent. The primary's gate denies it as well.

Both ends go down the road, and each record names the other. The request carries `omega-core EXECUTION STEP` as its user agent, which the
leaf of the primary's entry holds; the answer carries the primary's execution, which the result that this core journals and commits to holds
as its receipt. The key of the request is that of the step, so asked again it is the same execution there.

A primary that is away leaves the catalogue as it was read last, and every entry says of when (`as_of`). What is in force of it is what the
arrangement wants now: a narrower `show` holds at once, and a catalogue that was read at another address is none.

An entry is called what it is called there, with `__` for each slash: a flow has one slash at most, and it stands behind the primary's name.
What still makes no name of a flow, or does not keep to the bounds below, is left out: one odd entry hides itself and nothing else.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar, Final
from urllib.parse import quote

from omega.adapters.mcp import Transport, Upstream
from omega.adapters.mcp.upstream import resolve, secret_values
from omega.adapters.net.reach import networks
from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import Web, WebAnswer, WebFault, check_address
from omega.host.arrangements import Documents, Shelf, all_arranged, arranged
from omega.host.settings import TENANT
from omega.host.suspicion import gives_orders
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import flow, is_flow_name
from omega.kernel.effects import Effect, Receipt, Request
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.types import Type
from omega.kernel.verdict import Permit

PRIMARY: Final = "primary"
"""The kind of the arrangements."""

CATALOGUE: Final = "primary-catalogue"
"""The kind of the documents that say what a primary offers, named after it."""

MARK: Final = "primary-mark"
"""The kind of the notes that change when a catalogue does, named after it: small, so that they can be looked at often."""

NEEDS: Final = "primary:use"
MAX_ENTRIES: Final = 2_000
MAX_ENTRY: Final = 16 << 10
"""Largest entry that is taken in, in bytes, its schema included."""

MAX_CATALOGUE: Final = 1 << 20
"""Largest catalogue that is taken in, in bytes: what comes after is left out."""

MAX_DEPTH: Final = 32
"""How deep a schema may be nested."""

MAX_ANSWER: Final = 8 << 20
"""Largest answer in bytes."""

LIST_S: Final = 15.0
"""Patience with one list of a catalogue, in seconds."""

ASK_S: Final = 55.0
"""Patience with an answer: an entry's step has a minute."""

AGAIN_S: Final = 0.25
"""Pause before an execution that still runs there is asked after again."""

EVERY_S: Final = 300
"""How often (seconds) a catalogue is read, unless told."""

_LISTS: Final = ("flows", "tools", "services")
_FIELDS: Final = {"url": str, "headers": dict, "allow": list, "show": list, "every_s": int}
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENTRY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_EXECUTION: Final = re.compile(r"[A-Za-z0-9_@.:-]{1,128}")
_READS: Final = frozenset({Effect.PURE.value, Effect.READ.value})


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A primary as it is kept. Raises InputError (OMG-I001), Denied (OMG-P011)."""
    for part, value in body.items():
        if part not in _FIELDS or type(value) is not _FIELDS[part]:
            raise InputError("OMG-I001", f"a primary cannot have {part[:40]!r} as {type(value).__name__} (known: {', '.join(_FIELDS)})")
    if _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", "the name of a primary has lower-case letters, digits, '-' and '_'")
    if any(not isinstance(each, str) or not each for part in ("allow", "show") for each in body.get(part, [])):
        raise InputError("OMG-I001", "allow and show are lists of texts")
    if not 1 <= body.get("every_s", EVERY_S) <= 86_400:
        raise InputError("OMG-I001", "a catalogue is read every 1 to 86400 seconds")
    check_address(str(body.get("url", "")), networks(body.get("allow", ())))
    _upstream(name, body)
    return dict(body)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a primary offers for reading: its name there, what it is (`flow`, `tool`, `method`), and what it takes."""

    name: str
    kind: str
    effect: str
    summary: str
    input: Mapping[str, Any]

    @property
    def called(self) -> str:
        """What it is called here, behind the name of its primary."""
        return self.name.replace("/", "__")

    @property
    def path(self) -> str:
        """Where it is asked there."""
        if self.kind == "method":
            return "/api/v1/" + "/".join(quote(part, safe="") for part in self.name.split(".", 1))
        parts = "/".join(quote(part, safe="") for part in self.name.split("/"))
        return f"/api/v1/flows/{parts}/run" if self.kind == "flow" else f"/api/v1/tools/{parts}/call"

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"name": self.name, "kind": self.kind, "effect": self.effect, "summary": self.summary, "input": dict(self.input)}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the primary at `url` offered at `as_of_us` (Unix microseconds; 0: never read), the names of what writes, and why it could not be
    read since `since_us`."""

    entries: tuple[Entry, ...] = ()
    writes: tuple[str, ...] = ()
    as_of_us: int = 0
    tried_us: int = 0
    why: str = ""
    since_us: int = 0
    url: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        told = {"writes": list(self.writes), "as_of_us": self.as_of_us, "tried_us": self.tried_us, "why": self.why}
        return told | {"since_us": self.since_us, "url": self.url, "entries": [each.to_json() for each in self.entries]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Catalogue:
        """From what is kept."""
        given = dict(data)
        return cls(**given | {"entries": tuple(Entry(**each) for each in given["entries"]), "writes": tuple(given["writes"])})

    def entry(self, name: str) -> Entry | None:
        """The entry of that name, here or there."""
        return next((each for each in self.entries if name in (each.name, each.called)), None)

    def in_force(self, name: str, body: Mapping[str, Any]) -> Catalogue:
        """What the arrangement `body` of the primary `name` wants of it: nothing of what was read at another address."""
        if self.url != body["url"]:
            return Catalogue(url=str(body["url"]))
        shown = tuple(each for each in self.entries if _wanted(each.name, body) and _size(name, each))
        return replace(self, entries=shown, writes=tuple(each for each in self.writes if _wanted(each, body)))


def catalogue(documents: Documents, name: str) -> Catalogue:
    """What was read of a primary, whatever is arranged now."""
    found = documents.document(CATALOGUE, name)
    return Catalogue() if found is None else Catalogue.from_json(json.loads(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCatalogue(Request):
    """Read what the primary offers, in place of what it offered before."""

    port: ClassVar[str] = "primary"
    primary: str

    @property
    def to(self) -> str:
        return f"primary/{self.primary}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPrimary(Request):
    """Ask the primary for an `entry` of its catalogue, with `value` as its input."""

    port: ClassVar[str] = "primary"
    says: ClassVar[tuple[str, ...]] = ("value",)
    primary: str
    entry: str
    value: Any = None

    @property
    def to(self) -> str:
        return f"primary/{self.primary}"


Credentials = Callable[[str, str, str], str | None]
"""The secret of that name which (tenant, principal) has left here; None when there is none."""


class PrimaryEffector:
    """Serves `ReadCatalogue` and `AskPrimary`."""

    port = AskPrimary.port

    def __init__(self, shelf: Shelf, now_us: Callable[[], int], credentials: Credentials) -> None:
        self._shelf, self._now_us, self._credentials = shelf, now_us, credentials

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives how many entries were read, or `value` and `receipt` of what was asked.

        Raises UpstreamError (OMG-M002, M003, M006) for a primary that gives no answer, Denied (OMG-W001) for one that refuses and for what
        writes, InputError (OMG-I003) for what is not known.
        """
        permit.spend(self.port)
        if permit.tenant != TENANT:
            raise Denied("OMG-W001", "a primary is asked by the installation", advice="have an operator do it")
        if not isinstance(request, (ReadCatalogue, AskPrimary)):
            raise InputError("OMG-I001", f"a primary is read and asked, there is no {type(request).__name__}")
        body = arranged(self._shelf, PRIMARY, request.primary)
        if body is None:
            raise InputError("OMG-I003", f"there is no primary {request.primary[:80]}", advice="omega primary list")
        web = Web(networks(body.get("allow", ())), limit=MAX_ANSWER)
        talk = _Talk(web, request.primary, body, lambda key: self._credentials(permit.tenant, permit.principal, key))
        try:
            if isinstance(request, ReadCatalogue):
                return await self._read(talk, body), Receipt()
            return await self._ask(talk, request, body, execution, step)
        finally:
            await web.close()

    async def _read(self, talk: _Talk, body: Mapping[str, Any]) -> dict[str, Any]:
        before, now = catalogue(self._shelf, talk.name).in_force(talk.name, body), self._now_us()
        try:
            lists = {each: await talk.object("GET", f"/api/v1/{each}", timeout_s=LIST_S) for each in _LISTS}
        except OmegaError as error:
            kept = replace(before, tried_us=now, why=error.cause, since_us=before.since_us or now)
            self._put(talk.name, kept)
            raise
        entries, writes = _taken(lists, talk.name, body)
        self._put(talk.name, Catalogue(entries, writes, now, now, url=str(body["url"])))
        return {"primary": talk.name, "entries": len(entries), "writes": len(writes)}

    async def _ask(
        self, talk: _Talk, wanted: AskPrimary, body: Mapping[str, Any], execution: str, step: str
    ) -> tuple[dict[str, Any], Receipt]:
        known = catalogue(self._shelf, wanted.primary).in_force(wanted.primary, body)
        entry = known.entry(wanted.entry)
        if entry is None and any(wanted.entry in (each, each.replace("/", "__")) for each in known.writes):
            raise Denied("OMG-W001", f"{wanted.entry} writes, and the bridge to {wanted.primary} is for reading")
        if entry is None:
            raise InputError("OMG-I003", f"{wanted.primary} lists no {wanted.entry[:80]}", advice="omega primary list")
        key = sha256(f"{execution}\n{step}".encode()).hexdigest()[:32]
        headers = {"Idempotency-Key": key, "User-Agent": f"omega-core {execution} {step}"[:200]}
        answer = await talk.answer("POST", entry.path, headers, json.dumps(wanted.value).encode())
        there = answer.headers.get("omega-execution", "")
        if _EXECUTION.fullmatch(there) is None:
            raise UpstreamError("OMG-M006", f"the primary {wanted.primary} does not say which execution answered")
        receipt = {"primary": wanted.primary, "url": talk.base, "execution": there, "entry": entry.name, "at_us": self._now_us()}
        return {"value": talk.value(answer), "receipt": receipt}, Receipt(bytes_in=len(answer.body))

    def _put(self, name: str, found: Catalogue) -> None:
        body = json.dumps(found.to_json()).encode()
        self._shelf.put_document(CATALOGUE, name, body, self._now_us())
        self._shelf.put_document(MARK, name, sha256(body).hexdigest().encode(), self._now_us())  # after it: whoever sees this sees that


class _Talk:
    """Requests to one primary, with its credentials, which nothing that comes back repeats."""

    def __init__(self, web: Web, name: str, body: Mapping[str, Any], own: Callable[[str], str | None]) -> None:
        upstream = _upstream(name, body)
        self.name, self.base, self._web = name, str(body["url"]).rstrip("/"), web
        self._headers = resolve(upstream, upstream.headers, os.environ.get, own)
        self._scrubber = Scrubber(secret_values(upstream, os.environ.get, own))

    async def object(self, method: str, path: str, *, timeout_s: float) -> Mapping[str, Any]:
        """A JSON object that answers with 200. Raises UpstreamError (OMG-M002, M003, M006), Denied (OMG-W001)."""
        found = self.value(await self._once(method, path, {}, b"", timeout_s))
        if not isinstance(found, Mapping):
            raise UpstreamError("OMG-M006", f"the primary {self.name} answers with what is no object")
        return found

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> WebAnswer:
        """The answer of an execution there, asked for again under the same key while it runs. Raises as `object` does."""
        end = time.monotonic() + ASK_S
        while True:
            found = await self._once(method, path, {**headers, "Content-Type": "application/json"}, body, end - time.monotonic())
            if found.status != 202:
                return found
            if time.monotonic() + AGAIN_S >= end:
                raise UpstreamError("OMG-M003", f"the primary {self.name} has not ended it within {ASK_S:.0f} s")
            await asyncio.sleep(AGAIN_S)

    def value(self, answer: WebAnswer) -> Any:
        """The JSON value of an answer. Raises UpstreamError (OMG-M002, M003, M006)."""
        try:
            return json.loads(answer.body) if answer.body else None
        except (ValueError, RecursionError) as error:
            raise UpstreamError("OMG-M006", f"the primary {self.name} answers with what is no JSON") from error

    async def _once(self, method: str, path: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> WebAnswer:
        sent = {"Accept": "application/json", **headers, **self._headers}
        try:
            found = await self._web.ask(method, self.base + path, headers=sent, body=body, timeout_s=max(0.1, timeout_s))
        except TimeoutError as error:
            raise UpstreamError("OMG-M003", f"the primary {self.name} does not answer") from error
        except WebFault as fault:
            raise UpstreamError("OMG-M002", f"the primary {self.name} {fault}") from fault
        found = self._scrubber.answer(found)
        if found.status in (401, 403):
            # in words of our own: a denial is passed on as it is, and what the primary says is not looked at by guards there
            raise Denied("OMG-W001", f"the primary {self.name} refuses with {found.status}", advice="ask whoever runs it for another key")
        if found.status not in (200, 202, 204):
            raise UpstreamError("OMG-M002", f"the primary {self.name} answers {found.status}: {_said(found)}")
        return found


def _said(answer: WebAnswer) -> str:
    """Code and words of problem details, as far as these are some."""
    try:
        found = json.loads(answer.body)
        text = f"{found.get('code', '')} {found.get('detail') or found.get('title') or ''}"
    except (ValueError, AttributeError, RecursionError):
        return "no reason that could be read"
    return "".join(filter(str.isprintable, text))[:200].strip() or "no reason"


def _taken(lists: Mapping[str, Mapping[str, Any]], primary: str, body: Mapping[str, Any]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that read, and the names of those that write; what has no known form, or gives orders to a model, is left out."""
    found: dict[str, Entry] = {}
    writes: dict[str, None] = {}
    left = MAX_CATALOGUE
    for name, kind, given in _offered(lists):
        if not isinstance(name, str) or _ENTRY.fullmatch(name) is None or ".." in name or not _wanted(name, body):
            continue
        schema, effect = given.get("input"), given.get("effect")
        if not isinstance(schema, Mapping) or len(found) + len(writes) >= MAX_ENTRIES or name in writes:
            continue
        if effect not in _READS:
            writes[name] = None
            continue
        entry = Entry(name, kind, str(effect), str(given.get("summary", ""))[:500], schema)
        size = _size(primary, entry)
        if entry.called not in found and 0 < size <= left and not gives_orders([entry.name, entry.summary, entry.input]):
            found[entry.called] = entry
            left -= size
    return tuple(found.values()), tuple(writes)


def _wanted(name: str, body: Mapping[str, Any]) -> bool:
    """Whether the arrangement of a primary shows what has that name there."""
    return any(fnmatch.fnmatch(name, each) for each in body.get("show") or ["*"])


def _size(primary: str, entry: Entry) -> int:
    """How many bytes an entry takes; 0 for one that makes no flow: its name, its size, its depth, or text that is no Unicode."""
    if not is_flow_name(f"{primary}/{entry.called}") or not _shallow(entry.input, MAX_DEPTH):
        return 0
    try:
        size = len(json.dumps(entry.to_json(), ensure_ascii=False, allow_nan=False).encode())
    except ValueError:
        return 0
    return size if size <= MAX_ENTRY else 0


def _shallow(value: Any, levels: int) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(each, levels - 1) for each in parts)


def _offered(lists: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, str, Mapping[str, Any]]]:
    found: list[tuple[Any, str, Mapping[str, Any]]] = []
    for word, kind in (("flows", "flow"), ("tools", "tool")):
        found += [(each.get("name"), kind, each) for each in _objects(lists[word].get(word))]
    for service in _objects(lists["services"].get("services")):
        found += [(f"{service.get('name')}.{each.get('name')}", "method", each) for each in _objects(service.get("methods"))]
    return found


def _objects(given: Any) -> list[Mapping[str, Any]]:
    return [each for each in given if isinstance(each, Mapping)] if isinstance(given, list) else []


def _upstream(name: str, body: Mapping[str, Any]) -> Upstream:
    """A primary as a server with headers: what holds for the credentials of one holds for those of the other."""
    return Upstream(name=name, transport=Transport.HTTP, url=str(body["url"]), headers=dict(body.get("headers", {})))


@flow(name="read-primary", effect="idempotent", needs=NEEDS)
async def read_primary(ctx: Context, name: str) -> dict[str, Any]:
    """Read the catalogue of a primary: how many `entries` it has, and of how many others (`writes`) the names are kept."""
    found: dict[str, Any] = await ctx.touch(ReadCatalogue(primary=name))
    return found


@flow(name="ask-primary", effect="read", needs=NEEDS)
async def ask_primary(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Ask a `primary` for an `entry` with a `value`: the `value` that it gives, and the `receipt` that names the execution there."""
    asked = AskPrimary(primary=str(wanted["primary"]), entry=str(wanted["entry"]), value=wanted.get("value"))
    found: dict[str, Any] = await ctx.touch(asked)
    return found


def entry_flow(primary: str, entry: Entry, as_of: str) -> AnyFlow:
    """An entry as a flow of this core, called `PRIMARY/NAME`."""
    name, called = entry.name, f"{primary}/{entry.called}"

    async def ask(ctx: Context, value: Any) -> Any:
        answer = await ctx.call(ask_primary, {"primary": primary, "entry": name, "value": value})  # the receipt stays with that step
        return answer["value"]

    made = flow(name=called, effect="read", needs=NEEDS)(ask)
    return replace(
        made,
        description=f"{entry.summary or name} (of {primary}, as of {as_of})",
        input=Type(Any, dict(entry.input), name=f"{called} input"),
        _digest=[],
    )


def primaries(documents: Documents) -> dict[str, tuple[dict[str, Any], Catalogue]]:
    """The primaries that are arranged, by name, with what is in force of what was read of each."""
    found = all_arranged(documents, PRIMARY)
    return {name: (body, catalogue(documents, name).in_force(name, body)) for name, body in found.items()}
