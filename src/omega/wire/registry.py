"""The API of MCP registries (modelcontextprotocol/registry, OpenAPI of 2025-12-01): what a page of servers says, and how one is said.

    GET /v0.1/servers?cursor=&limit=&search=&updated_since=&version=&include_deleted=
    GET /v0.1/servers/{serverName}/versions
    GET /v0.1/servers/{serverName}/versions/{version}        `latest` is the newest

A listing is a claim of whoever published it. It is read into a bounded value, told apart by a digest, and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from omega.kernel.errors import InputError
from omega.wire.strict import read_json

OFFICIAL: Final = "io.modelcontextprotocol.registry/official"
"""The key under `_meta` where a registry says what it knows of an entry."""

SCHEMA: Final = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
PAGE: Final = 30
MAX_PAGE: Final = 100
"""Most entries of one page, as the official registry has it."""

MAX_ENTRY: Final = 64 << 10
"""Largest entry in bytes of JSON."""

MAX_CURSOR: Final = 1_024
MAX_VERSION: Final = 255
LATEST: Final = "latest"
STATUSES: Final = ("active", "deprecated", "deleted")

_NAME: Final = re.compile(r"[a-zA-Z0-9.-]{1,150}/[a-zA-Z0-9._-]{1,150}")
_RANGE: Final = re.compile(r"[\^~<>=*|\s]|^v?\d+\.x|latest$")


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of one server as a registry lists it. `server` is its server.json; the times are as they were sent (RFC 3339)."""

    server: Mapping[str, Any]
    status: str = "active"
    published_at: str = ""
    updated_at: str = ""
    latest: bool = True

    @property
    def name(self) -> str:
        """The name in reverse-DNS form, `io.github.user/weather`."""
        return str(self.server["name"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.server["version"])

    @property
    def key(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal SHA-256 of what is said of the server; status and times are the registry's and are not in it."""
        text = json.dumps(self.server, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def to_json(self) -> dict[str, Any]:
        """The entry as the API has it."""
        told = {"status": self.status, "publishedAt": self.published_at, "updatedAt": self.updated_at, "isLatest": self.latest}
        return {"server": dict(self.server), "_meta": {OFFICIAL: {key: value for key, value in told.items() if value != ""}}}

    @classmethod
    def from_json(cls, data: Any) -> Listed:
        """The entry in an answer. Raises InputError (OMG-I001) naming what does not fit."""
        server = data.get("server") if isinstance(data, Mapping) else None
        if not isinstance(server, Mapping):
            raise _unfit("an entry has no server")
        if len(json.dumps(server, ensure_ascii=False)) > MAX_ENTRY:
            raise _unfit(f"an entry has more than {MAX_ENTRY >> 10} KB")
        name, version = server.get("name"), server.get("version")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None or len(name) > 200:
            raise _unfit("a server has no name of the form NAMESPACE/NAME")
        if not isinstance(version, str) or not 0 < len(version) <= MAX_VERSION or not version.isprintable() or _RANGE.search(version):
            raise _unfit(f"{name} has no single version")
        meta = data.get("_meta")
        own = meta.get(OFFICIAL) if isinstance(meta, Mapping) else None
        own = own if isinstance(own, Mapping) else {}
        status = str(own.get("status", "active"))
        if status not in STATUSES:
            raise _unfit(f"{name} has a status that is not known")
        kept = {key: value for key, value in server.items() if key != "_meta"}
        latest = own.get("isLatest") is not False
        return cls(kept, status, _moment(own.get("publishedAt")), _moment(own.get("updatedAt")), latest)


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in order; `cursor` asks for the next page, empty after the last. `refused` are entries that could not be read, and why."""

    entries: tuple[Listed, ...]
    cursor: str
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a list asks for: part of a name, a version, changed since when (Unix microseconds), deleted ones too, and which page."""

    search: str = ""
    version: str = ""
    since_us: int = 0
    deleted: bool = False
    cursor: str = ""
    limit: int = PAGE

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Wanted:
        """From the parameters of a query. Raises InputError (OMG-G001) for a value that makes no sense."""
        limit, deleted = query.get("limit", str(PAGE)), query.get("include_deleted", "false").lower()
        if not (limit.isascii() and limit.isdigit()) or not 1 <= int(limit[:9]) <= MAX_PAGE:
            raise InputError("OMG-G001", f"limit is a whole number from 1 to {MAX_PAGE}")
        if deleted not in ("true", "false"):
            raise InputError("OMG-G001", "include_deleted is true or false")
        if any(len(query.get(name, "")) > MAX_CURSOR for name in ("search", "version", "cursor")):
            raise InputError("OMG-G001", f"a parameter has more than {MAX_CURSOR:,} characters")
        since = query.get("updated_since", "")
        return cls(
            search=query.get("search", ""),
            version=query.get("version", ""),
            since_us=micros(since) if since else 0,
            deleted=deleted == "true" or bool(since),
            cursor=query.get("cursor", ""),
            limit=int(limit),
        )


def read_page(body: bytes) -> Page:
    """The page in an answer. An entry that cannot be read is left out. Raises InputError (OMG-G001, OMG-I001) for what is no page."""
    data = read_json(body, what="the answer of the registry")
    listed = data.get("servers") if isinstance(data, Mapping) else None
    if not isinstance(listed, list) or len(listed) > 10 * MAX_PAGE:
        raise _unfit("the answer is no page of servers")
    metadata = data.get("metadata")
    cursor = metadata.get("nextCursor") if isinstance(metadata, Mapping) else None
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > MAX_CURSOR):
        raise _unfit("the cursor is no text of a sensible length")
    entries, refused = [], []
    for each in listed:
        try:
            entries.append(Listed.from_json(each))
        except InputError as error:
            refused.append(error.cause[:300])
    return Page(tuple(entries), cursor or "", tuple(refused))


def page_of(entries: Iterable[Listed], wanted: Wanted) -> Page:
    """The page of `entries` that is asked for, in the order of names and versions; a cursor is the key of the last entry before."""
    fitting = sorted((each for each in entries if fits(each, wanted)), key=lambda each: each.key)
    rest = [each for each in fitting if each.key > wanted.cursor]
    chosen = rest[: wanted.limit]
    return Page(tuple(chosen), chosen[-1].key if len(rest) > len(chosen) else "")


def fits(entry: Listed, wanted: Wanted) -> bool:
    """Whether a list that is asked for holds `entry`."""
    if entry.status == "deleted" and not wanted.deleted:
        return False
    if wanted.search and wanted.search.lower() not in entry.name.lower():
        return False
    if wanted.version and not (entry.latest if wanted.version == LATEST else entry.version == wanted.version):
        return False
    return not wanted.since_us or not entry.updated_at or micros(entry.updated_at) >= wanted.since_us


def answer(page: Page) -> dict[str, Any]:
    """A page as the API has it."""
    metadata = {"count": len(page.entries)} | ({"nextCursor": page.cursor} if page.cursor else {})
    return {"servers": [each.to_json() for each in page.entries], "metadata": metadata}


def versions_of(entries: Iterable[Listed], name: str, *, deleted: bool = False) -> list[Listed]:
    """All versions of a server, the newest published first."""
    found = [each for each in entries if each.name == name and (deleted or each.status != "deleted")]
    return sorted(found, key=lambda each: (each.latest, each.published_at, each.version), reverse=True)


def with_one_latest(entries: Sequence[Listed]) -> list[Listed]:
    """The same entries, of which one for each name says that it is the latest: where several do, the one published last."""
    newest: dict[str, Listed] = {}
    for each in entries:
        other = newest.get(each.name)
        if other is None or (each.latest, each.published_at, each.version) > (other.latest, other.published_at, other.version):
            newest[each.name] = each
    return [replace(each, latest=newest[each.name] is each) for each in entries]


def micros(text: str) -> int:
    """Unix microseconds of a moment by RFC 3339. Raises InputError (OMG-G001)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError("OMG-G001", "a moment is written as 2026-11-21T10:00:00Z") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def moment(at_us: int) -> str:
    """A moment by RFC 3339, to the second."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(given: Any) -> str:
    """A moment as it was sent; nothing, if it is none."""
    if not isinstance(given, str) or len(given) > 40:
        return ""
    try:
        micros(given)
    except InputError:
        return ""
    return given


def _unfit(cause: str) -> InputError:
    return InputError("OMG-I001", f"the registry's answer cannot be used: {cause}")
