"""A tenant's own log over the network: what serves the port `audit`, apart from the loop, on records that are opened for reading alone.

The tenant comes from the permit. An export is made whole and handed out in parts; what was made is kept at hand for the next part, and
made again, byte for byte, where it is not (another process, a restart): its name says of which size and moment it is, and its digest.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from omega.chronicle.pruned import hash_of, is_pruned
from omega.chronicle.search import Query, search
from omega.contracts.auditing import (
    MAX_FOUND,
    MAX_PART,
    MAX_WAIT_S,
    ExportLog,
    FlaggedLeaves,
    FollowLog,
    NewestCheckpoint,
    ProveLog,
    SearchLog,
)
from omega.host.logview import Shown, flagged, since
from omega.host.proof import newest_checkpoint, write_snapshot
from omega.host.reading import Archive
from omega.host.regions import demand_consent
from omega.host.settings import Settings
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, IntegrityError, StorageError
from omega.kernel.verdict import Permit
from omega.trust.checkpoint import parse
from omega.trust.merkle import Tree

MAX_KEPT = 4
"""Exports kept at hand, as files without a name; the one that was asked for longest ago gives way."""

HASHED_AT_ONCE = 4_096
"""Leaves read from the store at once for a proof."""

LOOK_S = 0.25
"""How often is looked for the next leaf while somebody waits for it, in seconds: whoever writes it may be another process."""

BLOCK = 1 << 20
"""Bytes digested at once."""

_NAME = re.compile(r"(\d{1,16})\.(\d{1,16})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class _Made:
    """An export that was made: what it is called, its file, bytes and leaves."""

    name: str
    file: BinaryIO
    total: int
    leaves: int


class AuditEffector:
    """Serves the requests of `omega.contracts.auditing`."""

    port = ExportLog.port

    def __init__(self, settings: Settings, now_us: Callable[[], int]) -> None:
        self._settings = settings
        self._now_us = now_us
        self._made: OrderedDict[tuple[str, str], _Made] = OrderedDict()
        self._turn = asyncio.Lock()

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what was asked for, as plain data.

        Raises InputError (OMG-I001, OMG-I003) for what the log cannot give, Denied (OMG-C006) for a copy that may not leave its region,
        StorageError, IntegrityError (OMG-S005, OMG-C001).
        """
        permit.spend(self.port)
        if isinstance(request, ExportLog):
            async with self._turn:  # two that begin at once would make the same file twice
                return await asyncio.to_thread(self._export, permit.tenant, request), Receipt()
        if isinstance(request, FollowLog):
            return await self._follow(permit.tenant, request, execution), Receipt()
        return await asyncio.to_thread(self._read, permit.tenant, request), Receipt()

    async def aclose(self) -> None:
        """Let go of the exports at hand."""
        async with self._turn:
            while self._made:
                self._made.popitem()[1].file.close()

    async def _follow(self, tenant: str, asked: FollowLog, execution: str) -> dict[str, Any]:
        if asked.after < -1 or not 0 < asked.limit <= MAX_FOUND or not 0 <= asked.wait_s <= MAX_WAIT_S:
            raise InputError("OMG-I001", f"a page of the log holds 1 to {MAX_FOUND} leaves, and is waited for {MAX_WAIT_S:g} s at most")
        query, loop = Query.read(asked.wanted), asyncio.get_running_loop()
        until, position = loop.time() + asked.wait_s, asked.after + 1
        while True:
            found, position = await asyncio.to_thread(self._since, tenant, position, asked, query, execution)
            if found or loop.time() >= until:
                return {"leaves": [shown.record() for shown in found], "position": position - 1}
            await asyncio.sleep(LOOK_S)

    def _since(self, tenant: str, seen: int, asked: FollowLog, query: Query, execution: str) -> tuple[list[Shown], int]:
        """What is asked for from the index `seen` on, and the index to go on with. Looks on until it finds something or the log ends."""
        with Archive.of(self._settings) as archive:
            while True:
                page, after = since(archive.reader, tenant, seen, flagged=asked.flagged)
                found = [shown for shown in page if shown.leaf.execution != execution and query.matches(shown.leaf)]
                if len(found) > asked.limit:
                    return found[: asked.limit], found[asked.limit - 1].index + 1
                if found or after == seen:
                    return found, after
                seen = after

    def _read(self, tenant: str, request: Request) -> dict[str, Any]:
        with Archive.of(self._settings) as archive:
            if isinstance(request, SearchLog):
                page = search(archive.reader, tenant, Query.read(request.wanted))
                return _page([Shown.of(index, leaf) for index, leaf in page.found], page.before)
            if isinstance(request, FlaggedLeaves):
                limit = min(MAX_FOUND, max(1, request.limit))
                return _page(*flagged(archive.reader, tenant, before=max(0, request.before), limit=limit, alarming=request.alarming))
            if isinstance(request, NewestCheckpoint):
                return _checkpoint(archive, tenant, lasting=request.lasting)
            if isinstance(request, ProveLog):
                return _proof(archive, tenant, request)
        raise InputError("OMG-I001", f"the log does not serve {type(request).__name__}")

    def _export(self, tenant: str, wanted: ExportLog) -> dict[str, Any]:
        with Archive.of(self._settings) as archive:
            why = demand_consent(archive.reader, tenant, wanted.to)
            made = self._made.get((tenant, wanted.export)) or self._make(archive, tenant, wanted.export)
        self._made.move_to_end((tenant, made.name))
        if not 0 <= wanted.position <= made.total:
            raise InputError("OMG-I001", f"the export ends at byte {made.total}, before {wanted.position}")
        made.file.seek(wanted.position)
        data = made.file.read(min(MAX_PART, max(1, wanted.most)))
        return {
            "export": made.name,
            "leaves": made.leaves,
            "position": wanted.position,
            "next": wanted.position + len(data),
            "total": made.total,
            "sha256": made.name.rpartition(".")[2],
            "data": _base64(data),
            "consent": why,
        }

    def _make(self, archive: Archive, tenant: str, name: str) -> _Made:
        """The export called `name`, or a new one. Raises InputError (OMG-I001) for a name that this log gives no export of (any more)."""
        points = archive.reader.checkpoints(tenant)
        newest = points[-1][0] if points else 0
        size, at_us = (newest, self._now_us()) if not name else _named(name)
        if size > newest:
            raise _unknown()
        try:
            file: BinaryIO = tempfile.TemporaryFile(dir=self._settings.home)  # noqa: SIM115 - kept for the next part
        except OSError as error:
            raise StorageError("OMG-S002", f"no room for an export: {(error.strerror or 'unknown').lower()}") from error
        try:
            leaves = write_snapshot(archive, tenant, file, size=size, at_us=at_us)
            total = file.tell()
            file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(BLOCK):
                digest.update(block)
            made = _Made(f"{size}.{at_us}.{digest.hexdigest()}", file, total, leaves)
            if name not in ("", made.name):
                raise _unknown()
        except OSError as error:
            file.close()
            raise StorageError("OMG-S002", f"an export cannot be kept: {(error.strerror or 'unknown').lower()}") from error
        except BaseException:
            file.close()
            raise
        self._made[tenant, made.name] = made
        while len(self._made) > MAX_KEPT:
            self._made.popitem(last=False)[1].file.close()
        return made


def _named(name: str) -> tuple[int, int]:
    """The size and the moment that the name of an export states. Raises InputError (OMG-I001)."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise _unknown()
    return int(found[1]), int(found[2])


def _unknown() -> InputError:
    advice = "begin anew, with an empty name: what was pruned or compacted meanwhile is not written again"
    return InputError("OMG-I001", "there is no such export of this log", advice=advice)


def _page(found: list[Shown], before: int) -> dict[str, Any]:
    return {"leaves": [shown.record() for shown in found], "before": before}


def _checkpoint(archive: Archive, tenant: str, *, lasting: bool) -> dict[str, Any]:
    points = archive.reader.checkpoints(tenant)
    note = newest_checkpoint(archive, tenant) if lasting or not points else points[-1][1]
    second = archive.lasting_key(tenant) if lasting else None
    keys = dict.fromkeys((*archive.log_keys(tenant), *(() if second is None else (second,))))
    return {"tenant": tenant, "size": parse(note).checkpoint.size, "note": note.decode(), "keys": [key.text() for key in keys]}


def _proof(archive: Archive, tenant: str, asked: ProveLog) -> dict[str, Any]:
    points = archive.reader.checkpoints(tenant)
    newest = points[-1][0] if points else 0
    size = asked.size or newest
    if size > newest or asked.old > size or asked.index >= size:
        raise InputError("OMG-I001", f"the log has {newest} leaves: nothing is proved of what is beyond")
    tree = Tree()
    for start in range(0, size, HASHED_AT_ONCE):
        tree.extend_hashed(map(hash_of, archive.reader.leaves(tenant, start, min(size, start + HASHED_AT_ONCE))))
    if tree.size != size:
        raise IntegrityError("OMG-S005", f"the log of {tenant} is not all there")
    leaf = archive.reader.leaves(tenant, asked.index, asked.index + 1)[0] if asked.index >= 0 else b""
    return {
        "size": size,
        "root": _base64(tree.root()),
        "checkpoint": next((note.decode() for at, note in reversed(points) if at == size), ""),
        "index": asked.index,
        "leaf": "" if not leaf or is_pruned(leaf) else _base64(leaf),
        "leaf_hash": _base64(hash_of(leaf)) if leaf else "",
        "inclusion": [_base64(each) for each in tree.inclusion(asked.index)] if leaf else [],
        "old": asked.old,
        "old_root": _base64(tree.root(asked.old)) if asked.old else "",
        "consistency": [_base64(each) for each in tree.consistency(asked.old)] if asked.old else [],
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
