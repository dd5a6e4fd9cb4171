"""Limits that an operator has set: quotas, breakers, guards, facts that policies may name, principals that are one person.

Each is an arrangement. They are read when an engine opens and whenever one changes (`omega.host.governing`), and pushed to the gate, which
never looks anything up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from omega.host.arrangements import Documents, Reading, all_arranged
from omega.kernel.errors import Denied, InputError
from omega.warden.approvals import same_person
from omega.warden.breakers import MAX_BREAKERS, Breaker
from omega.warden.guard.rules import DEFAULT_GUARDS, Doing, Guard, What, Where
from omega.warden.quotas import EACH, MAX_QUOTAS, WINDOWS, Measure, Quota, Unpriced

LIMIT, BREAKER, GUARD, FACT, PERSON = "limit", "breaker", "guard", "fact", "person"
"""The kinds of the documents."""

WHAT = tuple(each.value for each in What)
WHERE = tuple(each.value for each in Where)
DOING = tuple(each.value for each in Doing)
MOST: Mapping[str, int] = {LIMIT: MAX_QUOTAS, BREAKER: MAX_BREAKERS}
"""How many of a kind are arranged for one tenant by name, or for all of them: a touch looks at each."""

UNPRICED = tuple(each.value for each in Unpriced)
DEFAULTS = DEFAULT_GUARDS
EVERY = EACH
"""What guards and limits may say, for whoever asks an operator."""

MAX_FACT = 256
"""Longest text of a fact, in characters."""

_FACT = re.compile(r"(?:[\w.-]{1,40} )?[a-z][a-z0-9-]{0,31}")
_MONEY = re.compile(r"(?P<amount>\d{1,12}(?:\.\d{1,6})?) ?(?:USD|usd|\$)")


def check_limit(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A quota's document as it is kept (see `arrangements.Reading`)."""
    return Quota.read(name, body).record()


def check_breaker(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A breaker's document as it is kept."""
    return Breaker.read(name, body).record()


def counted(documents: Documents, kind: str, check: Reading) -> Reading:
    """`check`, and that no more than MOST of `kind` are for the same tenant: told before a document is kept, for those that are kept all
    hold. The reading raises Denied (OMG-W012)."""

    def reading(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = check(name, body)
        others = {known: each for known, each in all_arranged(documents, kind).items() if known != name}
        if sum(_whose(each) == _whose(kept) for each in others.values()) >= MOST[kind]:
            raise Denied("OMG-W012", f"there are {MOST[kind]:,} of kind {kind} for the same tenant already")
        return kept

    return reading


def crowded(documents: Documents, kind: str) -> dict[str, int]:
    """For which tenants (empty: all) more than MOST of `kind` stand, and how many: they hold, and whatever they may concern is slower."""
    found = Counter(_whose(body) for body in all_arranged(documents, kind).values())
    return {tenant: number for tenant, number in sorted(found.items()) if number > MOST[kind]}


def _whose(body: Mapping[str, Any]) -> str:
    tenant = str(body.get("tenant", EACH))
    return "" if tenant == EACH else tenant


def check_guard(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A guard's document as it is kept."""
    return Guard.read(body).record()


def check_fact(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A fact's document as it is kept: its value. It is named `FACT`, or `TENANT FACT` where it holds for one tenant."""
    value = body.get("value")
    if not _FACT.fullmatch(name) or type(value) is not str or len(value) > MAX_FACT:
        raise InputError("OMG-I001", f"a fact has a lower-case name and a text of at most {MAX_FACT} letters, not {name[:64]!r}")
    return {"value": value}


def check_person(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """That the principal `name` is the same person as another: the document as it is kept."""
    other = body.get("is")
    if (
        not name.startswith("person:")
        or type(other) is not str
        or not other.startswith("person:")
        or same_person(name) == same_person(other)
    ):
        raise InputError("OMG-I001", "say which person:NAME is which other person:NAME")
    return {"is": other}


def quota_of(name: str, body: Mapping[str, Any]) -> Quota:
    """The quota of a document. Raises InputError (OMG-I001)."""
    return Quota.read(name, body)


def guard_of(body: Mapping[str, Any]) -> Guard:
    """The guard of a document. Raises InputError (OMG-I001)."""
    return Guard.read(body)


def limits(documents: Documents) -> list[Quota]:
    """The quotas, by name."""
    return [Quota.read(name, body) for name, body in all_arranged(documents, LIMIT).items()]


def breaker_of(name: str, body: Mapping[str, Any]) -> Breaker:
    """The breaker of a document. Raises InputError (OMG-I001)."""
    return Breaker.read(name, body)


def breakers(documents: Documents) -> list[Breaker]:
    """The breakers, by name."""
    return [Breaker.read(name, body) for name, body in all_arranged(documents, BREAKER).items()]


def guards(documents: Documents) -> list[Guard]:
    """The guards."""
    return [Guard.read(body) for body in all_arranged(documents, GUARD).values()]


def facts(documents: Documents) -> dict[str, dict[str, str]]:
    """The facts, by tenant (the empty one: everybody) and name."""
    found: dict[str, dict[str, str]] = {}
    for name, body in all_arranged(documents, FACT).items():
        tenant, _, fact = name.rpartition(" ")
        found.setdefault(tenant, {})[fact] = str(body["value"])
    return found


def aliases(documents: Documents) -> dict[str, str]:
    """Which principals are the same person as which other one: all that are connected have one name, in whichever order it was said."""
    heads: dict[str, str] = {}

    def head(name: str) -> str:
        while heads.get(name, name) != name:
            name = heads[name]
        return name

    for name, body in all_arranged(documents, PERSON).items():
        heads[head(same_person(name))] = head(same_person(str(body["is"])))
    return {name: head(name) for name in heads}


def read_amount(text: str) -> dict[str, Any]:
    """A limit as people write it: `5 USD/day`, `100000 tokens/hour`, `60 requests/minute`, `3 at once`. Raises InputError (OMG-X001)."""
    amount, slash, window = text.strip().rpartition("/")
    number, _, unit = text.strip().partition(" ")
    if not slash and unit == "at once" and number.isdecimal():
        return {"of": Measure.CONCURRENCY.value, "amount": int(number), "window_s": 0}
    money, (count, _, unit) = _MONEY.fullmatch(amount.strip()), amount.strip().partition(" ")
    if window.strip() in WINDOWS and money is not None:
        whole, _, part = money["amount"].partition(".")
        return {"of": Measure.COST.value, "amount": int(whole + part.ljust(6, "0")), "window_s": WINDOWS[window.strip()]}
    if window.strip() in WINDOWS and count.isdecimal() and unit in (Measure.TOKENS, Measure.REQUESTS):
        return {"of": unit, "amount": int(count), "window_s": WINDOWS[window.strip()]}
    raise InputError(
        "OMG-X001", f"{text[:80]!r} is no limit", advice='write "5 USD/day", "100000 tokens/hour", "60 requests/minute" or "3 at once"'
    )


def read_whose(text: str) -> dict[str, str]:
    """Whose limit it is, as people write it: `agent:NAME`, `tenant:NAME`, `flow:NAME`, `tool:SERVER/TOOL`; `KIND:*` for each by itself.

    Raises InputError (OMG-X001).
    """
    kind, colon, name = text.partition(":")
    if colon and name and kind in ("agent", "person", "service"):
        return {"tenant": EACH, "principal": EACH if name == EACH else text, "flow": ""}
    if colon and name and kind == "tenant":
        return {"tenant": name, "principal": "", "flow": ""}
    if colon and name and kind in ("flow", "tool"):
        return {"tenant": EACH, "principal": "", "flow": name}
    raise InputError(
        "OMG-X001", f"{text[:80]!r} is nobody's limit", advice="name agent:NAME, person:NAME, tenant:NAME, flow:NAME or tool:SERVER/TOOL"
    )


def read_target(text: str) -> str:
    """What a breaker is about, as people write it: `tool:SERVER/TOOL`, `tool:SERVER/*`, `flow:NAME`. Raises InputError (OMG-X001)."""
    kind, colon, name = text.partition(":")
    if not colon or not name or kind not in ("flow", "tool"):
        raise InputError("OMG-X001", f"{text[:80]!r} is nothing that can fail", advice="name tool:SERVER/TOOL, tool:SERVER/* or flow:NAME")
    return name
