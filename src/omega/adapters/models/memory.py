"""Answers remembered for a while: the very same question of the same tenant, or one that means nearly the same. Whose questions are taken
together within a tenant, the question says that is remembered (`omega.adapters.models.effector`).

Nothing is looked up across tenants: each has a table of its own, and its questions are named by digests salted for it. What is kept lies in
the memory of one process and is gone with it; it is bounded in number and bytes, the least recently used go first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import mul
from typing import Any, Final

MAX_ANSWERS: Final = 2_000
"""Most answers remembered per tenant."""

MAX_BYTES: Final = 16 << 20
"""Most bytes of answers and vectors remembered per tenant."""

MAX_TOTAL: Final = 256 << 20
"""Most bytes of all tenants together: past it, the tenant whose answer was kept longest ago loses all of its own."""

MAX_TENANTS: Final = 1_000
"""Most tenants whose answers are remembered."""

MAX_COMPARED: Final = 256
"""Most answers whose vectors one question is compared with, newest first: some 15 ms at 1,536 dimensions, in which nothing else runs."""


@dataclass(slots=True)
class _Kept:
    reply: Mapping[str, Any]
    until_s: float
    size: int
    alike: bytes
    vector: array[float]


class AnswerMemory:
    """The answers of all tenants, apart. `salt` is random bytes of this process."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._tables: OrderedDict[str, _Table] = OrderedDict()

    def digest(self, tenant: str, question: Any) -> bytes:
        """What names `question` (JSON-ready) among those of `tenant`: HMAC-SHA256 under a key of the tenant."""
        key = hmac.digest(self._salt, tenant.encode(), "sha256")
        return hmac.digest(key, json.dumps(question, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass"), "sha256")

    def same(self, tenant: str, digest: bytes, now_s: float) -> Mapping[str, Any] | None:
        """The answer to that very question."""
        table = self._tables.get(tenant)
        return None if table is None else table.same(digest, now_s)

    def alike(self, tenant: str, alike: bytes, vector: Sequence[float], least: float, now_s: float) -> Mapping[str, Any] | None:
        """The answer to the question nearest in meaning, of those that are the same but for their last message (`alike`), if the cosine of
        their vectors is at least `least`."""
        table = self._tables.get(tenant)
        return None if table is None else table.alike(alike, _unit(vector), least, now_s)

    def keep(
        self, tenant: str, digest: bytes, reply: Mapping[str, Any], until_s: float, *, alike: bytes = b"", vector: Sequence[float] = ()
    ) -> None:
        """Remember `reply` until that moment."""
        if tenant not in self._tables and len(self._tables) >= MAX_TENANTS:
            self._tables.popitem(last=False)
        table = self._tables.setdefault(tenant, _Table())
        self._tables.move_to_end(tenant)
        unit = _unit(vector)
        table.keep(digest, _Kept(reply, until_s, len(json.dumps(reply)) + len(unit) * unit.itemsize, alike, unit))
        while sum(each.size for each in self._tables.values()) > MAX_TOTAL:
            self._tables.popitem(last=False)

    def forget(self, tenant: str) -> None:
        """Forget all of a tenant's answers."""
        self._tables.pop(tenant, None)


class _Table:
    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self.size = 0

    def same(self, digest: bytes, now_s: float) -> Mapping[str, Any] | None:
        found = self._kept.get(digest)
        if found is None:
            return None
        if found.until_s <= now_s:
            self._drop(digest)
            return None
        self._kept.move_to_end(digest)
        return found.reply

    def alike(self, alike: bytes, vector: array[float], least: float, now_s: float) -> Mapping[str, Any] | None:
        best, nearest = None, least
        fitting = (each for each in reversed(self._kept.values()) if each.alike == alike and each.until_s > now_s)
        for each in islice(fitting, MAX_COMPARED):
            cosine = sum(map(mul, each.vector, vector)) if len(each.vector) == len(vector) else -1.0
            if cosine >= nearest:
                best, nearest = each.reply, cosine
        return best

    def keep(self, digest: bytes, kept: _Kept) -> None:
        if digest in self._kept:
            self._drop(digest)
        self._kept[digest] = kept
        self.size += kept.size
        while self._kept and (len(self._kept) > MAX_ANSWERS or self.size > MAX_BYTES):
            self._drop(next(iter(self._kept)))

    def _drop(self, digest: bytes) -> None:
        self.size -= self._kept.pop(digest).size


def _unit(vector: Sequence[float]) -> array[float]:
    length = math.sqrt(sum(each * each for each in vector))
    return array("d", (each / length for each in vector) if length else ())


def digest_of(question: Any, salt: bytes) -> str:
    """What a question is recorded by: HMAC-SHA256 in hex under `salt`, so that nobody guesses a prompt from it."""
    text = json.dumps(question, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return hmac.new(salt, text, hashlib.sha256).hexdigest()
