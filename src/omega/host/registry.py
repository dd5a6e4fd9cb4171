"""Registries of MCP servers: what others list is read page by page and kept, what is published here is shown to each tenant.

A registry that is followed is an arrangement, so who follows it and what of it is shown is on record. Reading one is a flow: each page is
one touch, and where it broke off the next one goes on. What has been read is pinned by its digest: a registry that later says something
else of the same version changes nothing until somebody accepts it, and meanwhile the entry is shown to nobody. Nothing runs by being
listed.

    {"url": "https://registry.example", "headers": {"Authorization": "Bearer env:TOKEN"}, "allow": [],
     "show": ["io.github.acme/*"], "tenants": []}

`show` are names that this installation shows on, none unless told; `tenants` see them beside the installation's own.
"""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

from omega.adapters.mcp import Transport, Upstream
from omega.adapters.mcp.upstream import resolve
from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web, WebFault, check_address
from omega.host.arrangements import Documents, Shelf, all_arranged, arranged
from omega.host.settings import TENANT
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError, UpstreamError
from omega.kernel.verdict import Permit
from omega.wire.registry import MAX_PAGE, Listed, Page, moment, read_page

REGISTRY: Final = "registry"
"""The kind of the arrangements."""

ENTRY: Final = "registry-entry"
"""The kind of the documents that say what a registry lists, named `REGISTRY/NAME@VERSION`."""

SYNC: Final = "registry-sync"
"""The kind of the documents that say how far a registry was read, named after it."""

PAGES_AT_ONCE: Final = 20
"""Most pages that one execution reads: whoever wants all of them asks again, so that none takes long."""

MAX_ENTRIES: Final = 50_000
"""Most entries that are kept of one registry."""

PAGE_S: Final = 30.0
"""Patience with one page, in seconds."""

_API: Final = ("/v0", "/v0.1")
_FIELDS: Final = {"url": str, "headers": dict, "allow": list, "show": list, "tenants": list}


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a registry as it is kept. Raises InputError (OMG-I001), Denied (OMG-P011) naming what does not fit."""
    for key, value in body.items():
        if key not in _FIELDS or not isinstance(value, _FIELDS[key]):
            known = ", ".join(sorted(_FIELDS))
            raise InputError("OMG-I001", f"a registry cannot have {key[:40]!r} as {type(value).__name__} (known: {known})")
    if any(not isinstance(each, str) or not each for key in ("allow", "show", "tenants") for each in body.get(key, [])):
        raise InputError("OMG-I001", "allow, show and tenants are lists of texts")
    check_address(str(body.get("url", "")), networks(body.get("allow", ())))
    _upstream(name, body)
    return dict(body)


def _upstream(name: str, body: Mapping[str, Any]) -> Upstream:
    """A registry as a server with headers: what holds for the credentials of one holds for those of the other."""
    return Upstream(name=name, transport=Transport.HTTP, url=str(body["url"]), headers=dict(body.get("headers", {})))


@dataclass(frozen=True, slots=True)
class Listing:
    """An entry as it is kept. `changed` is the digest of what the registry says of the same version now, where that is something else."""

    registry: str
    entry: Listed
    changed: str = ""

    @property
    def name(self) -> str:
        """The name of its document."""
        return f"{self.registry}/{self.entry.key}"

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {**self.entry.to_json(), "changed": self.changed}

    @classmethod
    def from_json(cls, registry: str, data: Mapping[str, Any]) -> Listing:
        """From what is kept. Raises InputError (OMG-I001)."""
        return cls(registry, Listed.from_json(data), str(data.get("changed", "")))


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a registry was read: the cursor to go on from (empty: from the beginning), since when changes are asked for, when the reading
    under way began, and how often anything changed."""

    cursor: str = ""
    since: str = ""
    begun: str = ""
    entries: int = 0
    changes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"cursor": self.cursor, "since": self.since, "begun": self.begun, "entries": self.entries, "changes": self.changes}


def standing(documents: Documents, name: str) -> Standing:
    """How far the registry of that name was read."""
    kept = documents.document(SYNC, name)
    return Standing() if kept is None else Standing(**json.loads(kept))


def unpacked(place: str, body: bytes) -> Listing:
    """An entry from its document. Raises InputError (OMG-I001)."""
    return Listing.from_json(place.partition("/")[0], json.loads(body))


def listings(documents: Documents) -> Iterator[Listing]:
    """Everything that is kept, in the order of registries and names."""
    for place, body in documents.documents(ENTRY):
        yield unpacked(place, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage(Request):
    """Read the next page of the registry `name`, and keep what it lists. `number` tells the pages of one reading apart."""

    port: ClassVar[str] = "registry"
    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptListing(Request):
    """Have what a registry says now of `entry` (`NAME@VERSION`) count, in place of what it said before: the next reading takes it in."""

    port: ClassVar[str] = "registry"
    name: str
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRegistry(Request):
    """Forget everything that was read of the registry `name`."""

    port: ClassVar[str] = "registry"
    name: str


Credentials = Callable[[str, str, str], str | None]
"""The secret of that name which (tenant, principal) has left here; None when there is none."""


class RegistryEffector:
    """Serves `ReadPage`, `AcceptListing` and `DropRegistry` on the documents of a store."""

    port = ReadPage.port

    def __init__(self, shelf: Shelf, now_us: Callable[[], int], credentials: Credentials) -> None:
        self._shelf, self._now_us, self._credentials = shelf, now_us, credentials

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what came of it as plain data.

        Raises UpstreamError (OMG-M001, M002, M003) for a registry that gives no page, InputError (OMG-I001, I003), Denied (OMG-W001, P011).
        """
        permit.spend(self.port)
        if permit.tenant != TENANT:
            raise Denied("OMG-W001", "registries are followed by the installation", advice="have an operator do it")
        if isinstance(request, ReadPage):
            body = arranged(self._shelf, REGISTRY, request.name)
            if body is None:
                raise InputError("OMG-I003", f"no registry {request.name[:80]} is followed", advice="omega mcp registry list")
            return await self._read(permit, request.name, body)
        if isinstance(request, AcceptListing):
            return self._accept(request), Receipt()
        if isinstance(request, DropRegistry):
            return self._drop(request.name), Receipt()
        raise InputError("OMG-I001", f"registries are read, there is no {type(request).__name__}")

    async def _read(self, permit: Permit, name: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], Receipt]:
        now, state = self._now_us(), standing(self._shelf, name)
        begun = state.begun or moment(now)
        raw, page = await self._page(permit, name, body, state)
        if page.cursor and page.cursor == state.cursor:
            raise UpstreamError("OMG-M002", f"the registry {name} gives the same page again", details={"server": name})
        told: dict[str, Any] = {"kept": 0, "changed": [], "refused": list(page.refused)[:20], "more": bool(page.cursor)}
        entries = state.entries
        for entry in page.entries:
            outcome = self._keep(Listing(name, entry), entries < MAX_ENTRIES, now)
            entries += outcome == "new"
            told["kept"] += outcome in ("new", "same", "told")
            if outcome == "changed":
                told["changed"].append(entry.key)
        told["changed"] = told["changed"][:MAX_PAGE]
        done = Standing("", begun, "", entries, state.changes + 1)
        after = done if not page.cursor else replace(state, cursor=page.cursor, begun=begun, entries=entries, changes=state.changes + 1)
        self._shelf.put_document(SYNC, name, json.dumps(after.to_json()).encode(), now)
        return told, Receipt(bytes_in=len(raw))

    async def _page(self, permit: Permit, name: str, body: Mapping[str, Any], state: Standing) -> tuple[bytes, Page]:
        query = {"limit": str(MAX_PAGE), "include_deleted": "true"}
        query |= {"updated_since": state.since} if state.since else {}
        query |= {"cursor": state.cursor} if state.cursor else {}
        upstream = _upstream(name, body)
        headers = resolve(upstream, upstream.headers, os.environ.get, lambda key: self._credentials(permit.tenant, permit.principal, key))
        url = f"{_root(str(body['url']))}/servers?{urlencode(query)}"
        web = Web(networks(body.get("allow", ())))
        try:
            answer = await web.ask("GET", url, headers={"Accept": "application/json", **headers}, timeout_s=PAGE_S)
        except TimeoutError as error:
            words = f"the registry {name} did not answer within {PAGE_S:.0f} s"
            raise UpstreamError("OMG-M003", words, details={"server": name}) from error
        except WebFault as fault:
            raise UpstreamError("OMG-M002", f"the registry {name} {fault}", details={"server": name}) from fault
        finally:
            await web.close()
        if answer.status != 200:
            if answer.status == 400 and state.cursor:  # a cursor that it no longer knows: the next reading begins anew
                self._shelf.put_document(SYNC, name, json.dumps(replace(state, cursor="", begun="").to_json()).encode(), self._now_us())
            raise UpstreamError("OMG-M002", f"the registry {name} answered with status {answer.status}", details={"server": name})
        try:
            return answer.body, read_page(answer.body)
        except InputError as error:
            raise UpstreamError("OMG-M006", f"the registry {name} gave no page: {error.cause}", details={"server": name}) from error

    def _keep(self, listing: Listing, room: bool, now_us: int) -> str:
        """Keep an entry: `new`, `same`, `told` (its status or times are other ones), `changed` (what it says is), `full`."""
        before = self._shelf.document(ENTRY, listing.name)
        if before is None:
            if not room:
                return "full"
            self._put(listing, now_us)
            return "new"
        kept = Listing.from_json(listing.registry, json.loads(before))
        outcome = "same"
        now = replace(listing.entry, server=kept.entry.server)
        after = Listing(listing.registry, now)
        if kept.entry.digest != listing.entry.digest:
            outcome, after = "changed", Listing(listing.registry, now, listing.entry.digest)
        if after != kept:
            self._put(after, now_us)
            outcome = outcome if outcome == "changed" else "told"
        return outcome

    def _put(self, listing: Listing, now_us: int) -> None:
        self._shelf.put_document(ENTRY, listing.name, json.dumps(listing.to_json()).encode(), now_us)

    def _accept(self, request: AcceptListing) -> dict[str, Any]:
        """Forget the entry and how far the registry was read: the next reading takes the entry as it is then."""
        if not self._shelf.drop_document(ENTRY, f"{request.name}/{request.entry}"):
            raise InputError("OMG-I003", f"{request.name[:80]} lists no {request.entry[:200]}", advice="omega mcp search")
        state = standing(self._shelf, request.name)
        after = Standing(entries=max(0, state.entries - 1), changes=state.changes + 1)
        self._shelf.put_document(SYNC, request.name, json.dumps(after.to_json()).encode(), self._now_us())
        return {"registry": request.name, "entry": request.entry}

    def _drop(self, name: str) -> dict[str, Any]:
        found = [place for place, _ in self._shelf.documents(ENTRY) if place.startswith(f"{name}/")]
        for place in found:
            self._shelf.drop_document(ENTRY, place)
        self._shelf.drop_document(SYNC, name)
        return {"registry": name, "dropped": len(found)}


@flow(name="read-registry-page", effect="idempotent", needs="registry:use")
async def read_registry_page(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Read one page of a registry: its `name`, and the `number` of the page in this reading."""
    page: dict[str, Any] = await ctx.touch(ReadPage(name=str(wanted["name"]), number=int(wanted["number"])))
    return page


@flow(name="read-registry", effect="idempotent", needs="registry:use")
async def read_registry(ctx: Context, name: str) -> dict[str, Any]:
    """Read some pages of a registry from where it was left: how many entries were `kept`, which have `changed`, which were `refused`, and
    whether there are `more` pages."""
    told: dict[str, Any] = {"registry": name, "pages": 0, "kept": 0, "changed": [], "refused": [], "more": False}
    for number in range(PAGES_AT_ONCE):
        page = await ctx.call(read_registry_page, {"name": name, "number": number})
        told = {
            "registry": name,
            "pages": number + 1,
            "kept": told["kept"] + page["kept"],
            "changed": [*told["changed"], *page["changed"]][:MAX_PAGE],
            "refused": [*told["refused"], *page["refused"]][:MAX_PAGE],
            "more": page["more"],
        }
        if not page["more"]:
            break
    return told


@flow(name="accept-listing", effect="idempotent", needs="registry:use")
async def accept_listing(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Have what a registry says now of an entry count: `name` of the registry, `entry` as `NAME@VERSION`."""
    accepted: dict[str, Any] = await ctx.touch(AcceptListing(name=str(wanted["name"]), entry=str(wanted["entry"])))
    return accepted


@flow(name="drop-registry", effect="idempotent", needs="registry:use")
async def drop_registry(ctx: Context, name: str) -> dict[str, Any]:
    """Forget everything that was read of a registry."""
    dropped: dict[str, Any] = await ctx.touch(DropRegistry(name=name))
    return dropped


def shown_on(documents: Documents, tenant: str, known: Sequence[Listing]) -> list[Listed]:
    """What of other registries is shown to a tenant: names that an operator chose, as long as they say what they said."""
    found: list[Listed] = []
    registries = all_arranged(documents, REGISTRY)
    for listing in known:
        body = registries.get(listing.registry)
        if body is None or listing.changed or (tenant != TENANT and tenant not in body.get("tenants", [])):
            continue
        if is_shown(body, listing.entry.name):
            found.append(listing.entry)
    return found


def is_shown(body: Mapping[str, Any], name: str) -> bool:
    """Whether an operator chose the name of a server to be shown on; `body` is the document of its registry."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in body.get("show", []))


def _root(url: str) -> str:
    """The address that the paths of the API follow, whether or not it was given with the API's version."""
    plain = url.rstrip("/")
    return plain if urlsplit(plain).path.endswith(_API) else f"{plain}/v0.1"
