"""What is done about a find: nothing, note it, take it out, or stop there; per tenant, and per tool where one is named.

The rule for a tool outweighs that for its server, that for its server the general one; a tenant's rule outweighs everybody's. With no
rule at all, injection in results is noted and nothing else is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from omega.kernel.errors import InputError
from omega.warden.guard import injection, personal

MAX_DEPTH = 100
"""Deepest nesting of a value that is looked at; what lies below counts as a find, for it cannot be read."""

FEW_LEVELS = 8
FEW_TEXTS = 64
"""Values no deeper and with no more texts than this are looked at as one text first."""

TOO_DEEP = "nested too deeply to be read"


class Doing(StrEnum):
    """What is done about a find."""

    OFF = "off"
    FLAG = "flag"
    REDACT = "redact"
    BLOCK = "block"


class What(StrEnum):
    """What is looked for."""

    INJECTION = "injection"
    PERSONAL = "personal"


class Where(StrEnum):
    """Where it is looked for."""

    ARGUMENTS = "arguments"
    RESULTS = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`doing` about `what` in `where`, for `tenant` (empty: every one) and `tool` (`server/tool`, `server/*`, empty: every one)."""

    what: What
    where: Where
    doing: Doing
    tenant: str = ""
    tool: str = ""

    def record(self) -> dict[str, str]:
        """As kept."""
        return {"what": self.what.value, "where": self.where.value, "doing": self.doing.value, "tenant": self.tenant, "tool": self.tool}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Guard:
        """From a document. Raises InputError (OMG-I001)."""
        try:
            what, where, doing = What(body.get("what", "")), Where(body.get("where", "")), Doing(body.get("doing", ""))
        except ValueError as error:
            raise InputError("OMG-I001", f"a guard says what (injection, personal), where and what is done: {error}"[:300]) from error
        tenant, tool = body.get("tenant", ""), body.get("tool", "")
        if type(tenant) is not str or type(tool) is not str or max(len(tenant), len(tool)) > 256:
            raise InputError("OMG-I001", "a guard names a tenant and a tool, or none")
        return cls(what=what, where=where, doing=doing, tenant=tenant, tool=tool)


DEFAULT_GUARDS = (Guard(what=What.INJECTION, where=Where.RESULTS, doing=Doing.FLAG),)
"""What holds where no rule says otherwise."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What came of looking at a value: the value to go on with, what was found (in words), whether it is to be stopped."""

    value: Any
    found: tuple[str, ...] = ()
    blocked: bool = False


class Guards:
    """The guards of one engine."""

    def __init__(self, rules: Iterable[Guard] = ()) -> None:
        self._rules = {(each.what, each.where, each.tenant, each.tool): each.doing for each in (*DEFAULT_GUARDS, *rules)}

    def doing(self, what: What, where: Where, tenant: str, tool: str) -> Doing:
        """What is done about `what` found in the `where` of `tool` for `tenant`."""
        server = f"{tool.partition('/')[0]}/*"
        for whose in (tenant, ""):
            for named in (tool, server, ""):
                found = self._rules.get((what, where, whose, named))
                if found is not None:
                    return found
        return Doing.OFF

    def interfere(self, where: Where, *, tenant: str, tool: str) -> bool:
        """Whether anything found in the `where` of `tool` would be taken out or stopped."""
        return any(self.doing(what, where, tenant, tool) in (Doing.REDACT, Doing.BLOCK) for what in _WHAT)

    def inspect(self, value: Any, where: Where, *, tenant: str, tool: str) -> Inspection:
        """Look at `value` (plain data) as the rules say."""
        found: list[str] = []
        blocked = False
        for what in _WHAT:
            doing = self.doing(what, where, tenant, tool)
            if doing is Doing.OFF:
                continue
            signs: dict[str, None] = {}
            if what is not What.INJECTION or not _is_harmless(value):
                _note_signs(signs, value, what, 0)
            if not signs:
                continue
            found.append(f"{what.value} ({', '.join(signs)}) in {where.value}: {_TOLD[doing]}")
            blocked = blocked or doing is Doing.BLOCK
            if doing is Doing.REDACT:
                value = _cleaned(value, what, 0)
        return Inspection(value, tuple(found), blocked)


_WHAT = tuple(What)
_TOLD = {Doing.FLAG: "flagged", Doing.REDACT: "taken out", Doing.BLOCK: "blocked"}


def _is_harmless(value: Any) -> bool:
    """Whether one look at all texts of `value` together shows no injection; most of what tools say is a few short ones."""
    texts: list[str] = []
    return _gathered(value, texts, 0) and injection.harmless(texts)


def _gathered(value: Any, texts: list[str], depth: int) -> bool:
    """Add the texts of `value` to `texts`; False for what is too deep or too much to be looked at together."""
    if depth > FEW_LEVELS or len(texts) > FEW_TEXTS:
        return False
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if not (_gathered(name, texts, depth + 1) and _gathered(inner, texts, depth + 1)):
                return False
    elif isinstance(value, (list, tuple)):
        for inner in value:
            if not _gathered(inner, texts, depth + 1):
                return False
    return True


def _note_signs(signs: dict[str, None], value: Any, what: What, depth: int) -> None:
    """Add the signs in `value` to `signs`, in the order in which they are met."""
    if depth > MAX_DEPTH:
        signs[TOO_DEEP] = None
    elif isinstance(value, str):
        if what is What.PERSONAL:
            signs.update(dict.fromkeys(personal.kinds(value)))
        elif (found := injection.search(value)).suspicious:
            signs.update(dict.fromkeys(found.signs))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _note_signs(signs, name, what, depth + 1)
            _note_signs(signs, inner, what, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _note_signs(signs, inner, what, depth + 1)


def _cleaned(value: Any, what: What, depth: int) -> Any:
    """`value` without what was found; names of fields stay, for programs look them up."""
    if depth > MAX_DEPTH:
        return injection.REMOVED
    if isinstance(value, str):
        if what is What.PERSONAL:
            return personal.without(value)
        return injection.without(value) if injection.search(value).suspicious else value
    if isinstance(value, Mapping):
        return {name: _cleaned(inner, what, depth + 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, what, depth + 1) for inner in value]
    return value
