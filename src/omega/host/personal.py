"""What features keep about people: found, told and destroyed by subject, in every feature that has tables.

Each such feature says in its manifest how (`omega.kernel.service.Personal`); a test refuses one of ours that does not, and an erasure names
those of others that do not. A subject comes here by its mark alone: the names under which something is kept are read from the tables and
marked one after the other, so that neither the request nor the receipt brings back who it was about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from omega.host.discover import manifests, schema_of
from omega.kernel.errors import InputError
from omega.kernel.ports import Schema, Tables, Turn
from omega.kernel.service import Manifest, Personal

NAMED_AT_ONCE: Final = 1_000
"""Names that are read from the tables of a feature at once."""

Mark = Callable[[str], str]
"""A name to its mark (`Keyring.subject` of one tenant)."""


class PersonalData:
    """The tables of all features, as far as they are about people."""

    def __init__(self, tables: Tables, installed: Callable[[], Mapping[str, Manifest]] = manifests) -> None:
        self._tables, self._installed = tables, installed

    def unsaid(self) -> list[str]:
        """The features that have tables and do not say how people are found in them."""
        return sorted(name for name, each in self._installed().items() if each.tables and each.personal is None)

    async def erase_subject(self, turn: Turn, mark: str, marked: Mark) -> dict[str, dict[str, int]]:
        """Destroy what is kept under a name with that mark: `erased` and `left`, by feature. Raises what `Tables.erase` raises."""
        done: dict[str, dict[str, int]] = {}
        async for name, personal, schema in self._features():
            names = [each async for each in self._names(schema, personal, turn.tenant) if marked(each) == mark]
            if names:
                done[name] = _count(await self._tables.erase(schema, personal.erase, {"subjects": names}, turn))
        return done

    async def erase_made(self, turn: Turn, executions: Sequence[str]) -> dict[str, dict[str, int]]:
        """Destroy what steps of these executions have kept: `erased` and `left`, by feature. Raises what `Tables.erase` raises."""
        done: dict[str, dict[str, int]] = {}
        if executions:
            async for name, personal, schema in self._features():
                done[name] = _count(await self._tables.erase(schema, personal.erase, {"subjects": []}, turn, executions))
        return done

    async def told(self, tenant: str, subject: str) -> dict[str, list[dict[str, Any]]]:
        """Everything that features keep about `subject`, by feature. Raises what `Tables.look` raises."""
        found: dict[str, list[dict[str, Any]]] = {}
        async for name, personal, schema in self._features():
            rows: list[dict[str, Any]] = []
            while page := await self._tables.look(
                schema, personal.told, {"subjects": [subject], "after": rows[-1]["id"] if rows else ""}, tenant
            ):
                rows += page
            if rows:
                found[name] = rows
        return found

    async def aclose(self) -> None:
        """Let go of the tables."""
        await self._tables.aclose()

    async def _features(self) -> AsyncIterator[tuple[str, Personal, Schema]]:
        """Those that say how people are found; none while there are no tables at all."""
        if await self._tables.stands():
            for name, each in sorted(self._installed().items()):
                if each.tables and each.personal is not None:
                    yield name, each.personal, schema_of(each)

    async def _names(self, schema: Schema, personal: Personal, tenant: str) -> AsyncIterator[str]:
        after = ""
        while page := await self._tables.look(schema, personal.named, {"after": after, "most": NAMED_AT_ONCE}, tenant):
            if not page[-1] > after:
                raise InputError("OMG-I001", f"{schema.name} gives the same names again and again")
            for name in page:
                yield name
            after = page[-1]


def merged(some: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """What several erasures came to together, without features of which nothing was found."""
    total: dict[str, dict[str, int]] = {}
    for done in some:
        for name, counts in done.items():
            known = total.setdefault(name, {"erased": 0, "left": 0})
            known["erased"] += counts["erased"]
            known["left"] = counts["left"]
    return {name: counts for name, counts in total.items() if any(counts.values())}


def _count(given: Any) -> dict[str, int]:
    return {"erased": int(given["erased"]), "left": int(given.get("left", 0))}
