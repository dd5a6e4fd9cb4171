"""Content levels: how much of what executions were given and gave a tenant keeps once they have ended, and by which rules.

    full         everything, sealed: it can be shown, replayed, forked
    redacted     what the rules leave: fields that types mark as sensitive, paths that the tenant names, then what detectors find in text
    anonymous    nothing: counts, times, decisions and commitments stay

A level is an arrangement of the kind `level`, rules one of the kind `rules`, each named after its tenant, changed on record. An execution
notes the level that held when it began in a label on its line; the label goes when the level has been applied. So an engine that dies in
between leaves a list behind of what is still to be done, and the next one does it: without the flow at hand it cannot know which fields are
marked, and then it keeps nothing (docs/adr/0029).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from omega.chronicle.redact import DETECTORS, MARK, Level, Rules, picked, sensitive_paths
from omega.host.arrangements import Documents, all_arranged
from omega.host.holds import held
from omega.host.subjects import labelled, schema_of
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, IntegrityError, OmegaError
from omega.kernel.journal import Kind, Row, name_of
from omega.kernel.ports import Search
from omega.kernel.types import Type
from omega.runtime.levels import LEVEL_LABEL, Redaction, redact
from omega.runtime.world import World

LEVEL = "level"
RULES = "rules"
"""The kinds of the documents; the name of each is its tenant."""

FOLLOW_S = 0.5
"""How often levels and rules are read anew: others may have changed them."""

PATIENCE_US = 60_000_000
"""How long, where several engines share their records, what another one has ended is left to it, in microseconds."""

AT_ONCE = 200
"""Executions that are looked for at a time among those that an earlier engine left."""

MEANING: Mapping[str, str] = {
    Level.FULL: "values are kept whole, sealed",
    Level.REDACTED: "values are kept without what the rules take out",
    Level.ANONYMOUS: "values are not kept once their execution has ended",
}
"""The levels, and what each means."""

DETECTOR_NAMES = tuple(detector.name for detector in DETECTORS)
"""What detectors there are."""

ENDED = ("done", "failed", "cancelled")
SHORTEST_ECHO = 4
"""Shortest sensitive value, in letters, that is looked for in other texts too: a shorter one stands in many words by chance."""

_GIVEN = frozenset({Kind.STARTED, Kind.INTENT, Kind.NEEDS})
_RESULTS = frozenset({Kind.DONE, Kind.OVERRIDE, Kind.FINISHED})
_ERRORS = frozenset({Kind.FAILED, Kind.DENIED, Kind.FINISHED, Kind.PAUSED})
_ERROR = frozenset({"family", "code", "cause", "details"})


@dataclass(frozen=True, slots=True)
class Content:
    """What one tenant has arranged: paths beside those that types mark, and which detectors look through text."""

    paths: tuple[str, ...] = ()
    detectors: tuple[str, ...] = tuple(detector.name for detector in DETECTORS)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Content:
        """From a document. Raises InputError (OMG-I001)."""
        known = {detector.name for detector in DETECTORS}
        paths, names = body.get("paths", []), body.get("detectors", sorted(known))
        if not _texts(paths) or not _texts(names) or not set(names) <= known:
            raise InputError("OMG-I001", f"rules are lists of paths and of detectors (known: {', '.join(sorted(known))})")
        Rules(paths)
        return cls(tuple(paths), tuple(names))

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"paths": list(self.paths), "detectors": list(self.detectors)}

    def rules(self, more: Sequence[str] = ()) -> Rules:
        """Compiled, with `more` paths."""
        return Rules((*self.paths, *more), detectors=[each for each in DETECTORS if each.name in self.detectors])


def check_level(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A level's document as it is kept. Raises InputError (OMG-I001)."""
    level = body.get("level")
    if level not in list(Level):
        raise InputError("OMG-I001", f"{str(level)[:40]!r} is no content level", advice=f"one of {', '.join(Level)}")
    return {"level": str(level)}


def check_rules(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A document of rules as it is kept. Raises InputError (OMG-I001)."""
    return Content.read(body).record()


def levels(documents: Documents) -> dict[str, Level]:
    """What is arranged, by tenant; whoever is not named keeps everything."""
    return {tenant: Level(body["level"]) for tenant, body in all_arranged(documents, LEVEL).items()}


def contents(documents: Documents) -> dict[str, Content]:
    """The rules that are arranged, by tenant."""
    return {tenant: Content.read(body) for tenant, body in all_arranged(documents, RULES).items()}


class Levels:
    """Applies content levels in one engine. `keep` runs beside it; `finish` does what is left when it closes."""

    def __init__(self, world: World, documents: Documents, *, patience_us: int = 0) -> None:
        """`patience_us` is how long what another engine has ended is left to that engine, which knows the flow."""
        self._world, self._documents, self._patience_us = world, documents, patience_us
        self._levels: dict[str, Level] = {}
        self._contents: dict[str, Content] = {}
        self._ended: dict[str, tuple[str, AnyFlow | None]] = {}
        self._redactors: dict[tuple[str, str], _Redactor] = {}
        self._looked = False
        self._partial: set[str] = set()
        """Tenants of which something was kept in part since this began: what started under one level may end under another."""
        self.read()
        world.label, world.rested = self.label, self.rested

    def read(self) -> None:
        """Learn what is arranged now. Raises StorageError."""
        found, contents_ = levels(self._documents), contents(self._documents)
        if contents_ != self._contents:
            self._redactors.clear()
        self._levels, self._contents = found, contents_
        self._partial |= {tenant for tenant, level in found.items() if level is not Level.FULL}

    def label(self, tenant: str, flow: AnyFlow, data: bytes, labels: Mapping[str, str]) -> Mapping[str, str]:
        """See `World.label`: marks of subjects, and the level that holds now."""
        level = self._levels.get(tenant, Level.FULL)
        found = labelled(self._world.keyring, tenant, flow, data, labels)
        return found if level is Level.FULL else {**found, LEVEL_LABEL: str(level)}

    def rested(self, tenant: str, execution: str, flow: AnyFlow) -> None:
        """See `World.rested`: what is to be looked at, if anything is kept in part at all."""
        if tenant in self._partial:
            self._ended[execution] = (tenant, flow)

    async def keep(self) -> None:
        """Apply levels to what ends, for as long as this is not cancelled."""
        while True:
            with suppress(OmegaError):
                self.read()
                await self.finish()
            await asyncio.sleep(FOLLOW_S)

    async def finish(self) -> None:
        """Apply levels to everything that has ended so far. Raises StorageError."""
        if not self._looked and self._levels:
            self._look()
        for execution, (tenant, flow) in list(self._ended.items()):
            try:
                settled = await self._settle(tenant, execution, flow)
            except InputError:  # its rules cannot be applied to it: then nothing of it is kept
                await self._world.store.erase(tenant, [execution])
                settled = True
            if settled:
                self._ended.pop(execution, None)

    def _look(self) -> None:
        """Find what earlier engines left."""
        self._looked = True
        for tenant in self._levels:
            for level in (Level.REDACTED, Level.ANONYMOUS):
                search = Search(tenant=tenant, status=ENDED, labels={LEVEL_LABEL: str(level)}, limit=AT_ONCE)
                found = self._world.reader.search(search)
                self._looked = self._looked and len(found) < AT_ONCE
                for line in found:
                    self._ended.setdefault(line.execution, (tenant, None))

    async def _settle(self, tenant: str, execution: str, flow: AnyFlow | None) -> bool:
        """Apply the level that `execution` began with; whether there is nothing left to do. Raises StorageError."""
        line = self._world.reader.line(execution)
        if line is None or LEVEL_LABEL not in line.labels:
            return True
        if line.status not in ENDED:
            return line.status not in ("running", "queued")  # what stands still is told of again when it goes on
        if held(self._documents, tenant):
            return False
        above = self._world.reader.line(line.parent) if line.parent else None
        if above is not None and above.status not in ENDED:
            return False
        ended_us = max(line.updated_us, 0 if above is None else above.updated_us)
        if flow is None and self._world.clock.now_us() - ended_us < self._patience_us:
            return False
        if line.labels[LEVEL_LABEL] == Level.REDACTED and flow is not None:
            try:
                if await redact(self._world, execution, self._redactor(tenant, flow).redaction()):
                    return True
            except IntegrityError:
                pass  # what cannot be read cannot be redacted: it goes as a whole
        erased = await self._world.store.erase(tenant, (execution,))
        return execution not in erased.left

    def _redactor(self, tenant: str, flow: AnyFlow) -> _Redactor:
        key = (tenant, flow.pin)
        if key not in self._redactors:
            self._redactors[key] = _Redactor(flow, self._contents.get(tenant, Content()))
        return self._redactors[key]


class _Redactor:
    """What the rules of a tenant leave of the values of one flow (see `runtime.levels.Redaction`).

    Fields that a type marks are taken out by their path where that type is known to be, and by their name everywhere else: a step that is
    chosen while the flow runs hands on the same fields. And what was taken out once is taken out of every text after it.
    """

    def __init__(self, flow: AnyFlow, content: Content) -> None:
        parts = {part.name: part for part in _parts(flow)}
        inputs = {name: _sensitive(part.input) for name, part in parts.items()}
        outputs = {name: _sensitive(part.output) for name, part in parts.items()}
        names = {name for paths in (*inputs.values(), *outputs.values()) for path in paths if (name := _last(path))}
        everywhere = [f"$..{name}" for name in sorted(names)]
        self._rest = content.rules(everywhere)
        self._paths = {
            **{(True, name): paths for name, paths in inputs.items()},
            **{(False, name): paths for name, paths in outputs.items()},
        }
        self._inputs = {name: _whole_or(content, paths, everywhere) for name, paths in inputs.items()}
        self._outputs = {name: _whole_or(content, paths, everywhere) for name, paths in outputs.items()}
        self._root = flow.name

    def redaction(self) -> Redaction:
        """For one execution, whose rows come in their order."""
        seen: set[str] = set()

        def left(row: Row, value: Any) -> Any:
            name, given = name_of(row.position) or self._root, row.kind in _GIVEN
            for path in self._paths.get((given, name), ()) if given or row.kind in _RESULTS else ():
                seen.update(text for text in picked(value, path) if isinstance(text, str) and len(text) >= SHORTEST_ECHO)
            return _without(self._ruled(row, value), sorted(seen, key=len, reverse=True))

        return left

    def _ruled(self, row: Row, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() >= _ERROR and row.kind in _ERRORS:
            return value | {"cause": MARK, "details": {}}  # its words may hold any value
        name = name_of(row.position) or self._root
        side = self._inputs if row.kind in _GIVEN else self._outputs if row.kind in _RESULTS else {}
        rules = side.get(name, self._rest)
        return MARK if rules is None else rules.apply(value)


def _sensitive(type_: Type) -> list[str]:
    """What of a type is sensitive: all of it, when nobody can tell."""
    schema = schema_of(type_)
    return ["$"] if schema is None else sensitive_paths(schema)


def _without(value: Any, texts: Sequence[str]) -> Any:
    """`value` with each of `texts` taken out of every text in it."""
    if not texts:
        return value
    if isinstance(value, str):
        for text in texts:
            value = value.replace(text, MARK)
        return value
    if isinstance(value, dict):
        return {name: _without(inner, texts) for name, inner in value.items()}
    return [_without(inner, texts) for inner in value] if isinstance(value, list) else value


def _whole_or(content: Content, paths: Sequence[str], everywhere: Sequence[str]) -> Rules | None:
    """The rules for a type with sensitive `paths`; None when it is sensitive as a whole."""
    return None if "$" in paths else content.rules((*paths, *everywhere))


def _parts(flow: AnyFlow) -> list[AnyFlow]:
    return [flow, *(part for child in flow.children for part in _parts(child))]


def _last(path: str) -> str:
    """The name in which a path ends; empty where it ends otherwise."""
    name = path.rpartition(".")[2]
    return name if name.replace("-", "").replace("_", "").isalnum() and not name.isdigit() and "[" not in name else ""


def _texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(text, str) for text in found)
