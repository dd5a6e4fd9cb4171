"""What an installation keeps about models: documents of the store, checked when they are kept, learned by every engine on the same records.

    kind         name            whose           what
    provider     its name        the operator's  where to ask                             (`omega.adapters.models.registry`)
    model        its name        the operator's  one model of a provider
    route        its name        the operator's  several models under one name
    cache        any             a tenant's      answering from memory; the last one kept counts
    allowance    any             a tenant's      what a caller may spend in a window      (`omega.adapters.models.allowances`)
    cases        its name        a tenant's      questions with what should come out, to evaluate models on

What was spent is a document per tenant, account and engine, so that no engine writes over another's count: a sum is what they all say. Of
an allowance each engine may use its part (`omega.adapters.models.allowances.part_of`); who is there says `omega.host.governing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from omega.adapters.models import Account, Allowance, Caching, Model, ModelEffector, Registry, Route, Source, Surroundings, named
from omega.adapters.models.allowances import Counted, part_of
from omega.chronicle.redact import DETECTORS, Rules
from omega.host.governing import ENGINE, GONE_US
from omega.host.storage import EngineStore
from omega.kernel.budget import NOTHING, Spent
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.models import KeepModels, ReadModels
from omega.kernel.verdict import Permit
from omega.trust.sealing import Keyring

FOLLOW_US: Final = 500_000
"""How old (microseconds) what is known may be before the documents are read again."""

MAX_CASES: Final = 500
"""Most cases of one set."""

MAX_BODY: Final = 1 << 20
"""Largest record in bytes."""

SPENT: Final = "model-spent"
_OWN: Final = ("cache", "allowance", "cases")
"""Kinds of which each tenant has its own."""


class Shelf(Protocol):
    """Documents, to read and to write."""

    owner: str

    def documents(self, kind: str) -> list[tuple[str, bytes]]: ...

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def document(self, kind: str, name: str) -> bytes | None: ...

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool: ...

    def drop_document(self, kind: str, name: str) -> bool: ...


def check(kind: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record as it is kept. Raises InputError (OMG-I001) for what its kind does not admit."""
    named(name)
    match kind:
        case "provider":
            Source.of(name, body)
        case "model":
            Model.of(name, body)
        case "route":
            Route.of(name, body)
        case "cache":
            Caching.of(name, body)
        case "allowance":
            Allowance.of(body)
        case "cases":
            _check_cases(body)
        case _:
            raise InputError("OMG-I001", f"nothing is kept about models as {kind[:80]!r}: provider, model, route, {', '.join(_OWN)}")
    if len(json.dumps(dict(body))) > MAX_BODY:
        raise InputError("OMG-I001", f"the {kind} {name} is larger than {MAX_BODY:,} bytes")
    return dict(body)


class ModelShelf:
    """What is kept, as of the last look; and the ledger of what was spent."""

    def __init__(self, shelf: Shelf, variables: Mapping[str, str], now_us: Callable[[], int]) -> None:
        self._shelf, self._now_us = shelf, now_us
        self.registry = Registry(variables)
        self._allowances: dict[str, tuple[Allowance, ...]] = {}
        self._spent: dict[str, dict[str, Spent]] = {}  # by account, then by engine
        self._own: dict[str, Spent] = {}
        self._there: frozenset[str] = frozenset()
        self._read_us = 0

    def refresh(self) -> None:
        """Read again what is older than `FOLLOW_US`."""
        if self._now_us() - self._read_us >= FOLLOW_US:
            self.read()

    def read(self) -> None:
        """Read what is kept now."""
        self._read_us = self._now_us()
        registry = self.registry
        registry.sources = {name: Source.of(name, body) for name, body in self.kept("provider").items()}
        registry.models = {name: Model.of(name, body) for name, body in self.kept("model").items()}
        registry.routes = {name: Route.of(name, body) for name, body in self.kept("route").items()}
        registry.caches = {_tenant(name): Caching.of(name, body) for name, body in self.kept("cache").items()}
        allowances: dict[str, tuple[Allowance, ...]] = {}
        for name, body in self.kept("allowance").items():
            allowances[_tenant(name)] = (*allowances.get(_tenant(name), ()), Allowance.of(body))
        self._allowances = allowances
        spent: dict[str, dict[str, Spent]] = {}
        for name, count in self._shelf.documents(SPENT):
            account, _, engine = name.rpartition("|")
            spent.setdefault(account, {})[engine] = Spent(**json.loads(count))
        self._spent = spent
        signs = self._shelf.documents(ENGINE)
        self._there = frozenset(engine for engine, at_us in signs if self._read_us - int(at_us) < GONE_US)

    def kept(self, kind: str) -> dict[str, dict[str, Any]]:
        """Every record of a kind by name; that of a tenant's own kind begins with the tenant and a bar."""
        return {name: dict(json.loads(body)) for name, body in self._shelf.documents(_kind(kind))}

    def keep(self, tenant: str, kind: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep a record. Raises InputError (OMG-I001)."""
        kept = check(kind, name, body)
        self._shelf.put_document(_kind(kind), _name(tenant, kind, name), json.dumps(dict(kept)).encode(), self._now_us())
        self.read()
        return kept

    def keep_new(self, tenant: str, kind: str, name: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Keep a record unless another is kept under its name. Raises Denied (OMG-W001) where one is, InputError (OMG-I001)."""
        kept = {} if body is None else check(kind, name, body)
        text, place = json.dumps(dict(kept)).encode(), (_kind(kind), _name(tenant, kind, name))
        if body is None or not (self._shelf.swap_document(*place, None, text, self._now_us()) or self._shelf.document(*place) == text):
            cause = f"the {kind} {name[:80]} are kept already: an owner or admin of the tenant changes them"
            raise Denied("OMG-W001", cause, advice="keep yours under another name, or have one of them do it")
        self.read()
        return kept

    def drop(self, tenant: str, kind: str, name: str) -> None:
        """Forget a record. Raises InputError (OMG-M009) when there is none of that name."""
        if not self._shelf.drop_document(_kind(kind), _name(tenant, kind, name)):
            raise InputError("OMG-M009", f"there is no {kind[:80]} {name[:80]}")
        self.read()

    def allowances(self, tenant: str) -> tuple[Allowance, ...]:
        """The allowances of a tenant."""
        return self._allowances.get(tenant, ())

    # -- the ledger

    def spent(self, account: Account) -> Spent:
        """See `omega.adapters.models.Ledger`."""
        return sum(self._others(account).values(), self._mine(account))

    def left(self, account: Account, of: Counted, amount: int) -> int:
        """See `omega.adapters.models.Ledger`. An engine that is alone may use everything that is left."""
        there, gone = [], 0
        for engine, spent in self._others(account).items():
            if engine in self._there:
                there.append(int(getattr(spent, of)))
            else:
                gone += int(getattr(spent, of))
        idle = len(self._there - {self._shelf.owner}) - len(there)
        return part_of(amount, int(getattr(self._mine(account), of)), [*there, *([0] * idle)], gone)

    def add(self, account: Account, amount: Spent) -> None:
        """See `omega.adapters.models.Ledger`."""
        name = _account(account)
        if name not in self._own:
            self._forget_before(account)
        self._own[name] = total = self._mine(account) + amount
        body = {"cost_micros": total.cost_micros, "tokens": total.tokens, "calls": total.calls}
        self._shelf.put_document(SPENT, f"{name}|{self._shelf.owner}", json.dumps(body).encode(), self._now_us())

    def _mine(self, account: Account) -> Spent:
        name = _account(account)
        return self._own.get(name) or self._spent.get(name, {}).get(self._shelf.owner, NOTHING)

    def _others(self, account: Account) -> dict[str, Spent]:
        found = self._spent.get(_account(account), {})
        return {engine: spent for engine, spent in found.items() if engine != self._shelf.owner}

    def _forget_before(self, account: Account) -> None:
        """A new window has begun: the counts of the ones before it limit nothing any more."""
        alike, kind = f"{account.tenant}|{account.who}", account.window.partition(" ")[0]
        for name in [*self._spent]:
            whose, _, window = name.rpartition("|")
            if whose == alike and window.partition(" ")[0] == kind and window < account.window:
                for engine in self._spent.pop(name):
                    self._shelf.drop_document(SPENT, f"{name}|{engine}")
                self._own.pop(name, None)


class ModelShelfEffector:
    """Serves `KeepModels` and `ReadModels`."""

    port = KeepModels.port

    def __init__(self, shelf: ModelShelf, changed: Callable[[str], None]) -> None:
        self._shelf, self._changed = shelf, changed

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what is kept (None after it was forgotten). Raises InputError (OMG-I001, OMG-M009), Denied (OMG-W001)."""
        permit.spend(self.port)
        if isinstance(request, ReadModels):
            begin = f"{permit.tenant}|" if request.kind in _OWN else ""
            return {
                name.removeprefix(begin): body for name, body in self._shelf.kept(request.kind).items() if name.startswith(begin)
            }, Receipt()
        if not isinstance(request, KeepModels):
            raise InputError("OMG-I001", f"records about models are kept and read, there is no {type(request).__name__}")
        self._changed(permit.tenant)
        if request.only_new:
            return dict(self._shelf.keep_new(permit.tenant, request.kind, request.name, request.body)), Receipt()
        if request.body is None:
            self._shelf.drop(permit.tenant, request.kind, request.name)
            return None, Receipt()
        return dict(self._shelf.keep(permit.tenant, request.kind, request.name, request.body)), Receipt()


def model_effectors(
    store: EngineStore, keyring: Keyring, variables: Mapping[str, str], now_us: Callable[[], int]
) -> tuple[ModelEffector, ModelShelfEffector]:
    """The effector that asks models, and the one that keeps what is known of them."""
    shelf = ModelShelf(store, variables, now_us)

    def principal(execution: str) -> str:
        line = store.line(execution)
        return "" if line is None else line.principal

    around = Surroundings(
        allowances=shelf.allowances,
        ledger=shelf,
        principal=principal,
        redact=Rules(detectors=DETECTORS).apply,
        now_us=now_us,
        refresh=shelf.refresh,
        salt=keyring.subject("", "models").encode(),
    )
    asking = ModelEffector(variables, registry=shelf.registry, surroundings=around)
    return asking, ModelShelfEffector(shelf, asking.forget)


def _kind(kind: str) -> str:
    return f"model-{kind}"


def _name(tenant: str, kind: str, name: str) -> str:
    return f"{tenant}|{name}" if kind in _OWN else name


def _tenant(name: str) -> str:
    return name.partition("|")[0]


def _account(account: Account) -> str:
    return f"{account.tenant}|{account.who}|{account.window}"


def _check_cases(body: Mapping[str, Any]) -> None:
    cases = body.get("cases")
    if set(body) != {"cases"} or not isinstance(cases, list) or not 0 < len(cases) <= MAX_CASES:
        raise InputError("OMG-I001", f"cases are a list of 1 to {MAX_CASES}")
    for case in cases:
        fits = isinstance(case, Mapping) and set(case) <= {"prompt", "instructions", "expected"}
        if not fits or not all(isinstance(each, str) for each in case.values()) or not {"prompt", "expected"} <= set(case):
            raise InputError("OMG-I001", "a case has a prompt, what is expected, and instructions if it wants: all texts")
        if not case["expected"].strip():  # any answer contains nothing
            raise InputError("OMG-I001", "a case expects something, and not an empty text")
