"""Which models are known here, under which names, and in which order they are asked.

    provider   where to ask: an interface (`openai`, `anthropic`), a URL, a reference to its key, whether prompts are redacted for it
    model      a name for one model of one provider: what it costs, how good it is, who may ask it
    route      a name for several models: asked in the `given` order, or by `cost`, `latency` or `quality`, until one answers
    cache      whether a tenant's repeated (or similar) questions are answered from memory

A record is data that an operator keeps; a key in it is a reference (`env:NAME`), resolved when a question leaves and kept nowhere. What the
environment configures (see `provider`) is known as well, under its model's name, and answers where nothing else is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from omega.adapters.models.provider import Missing, Provider, checked, configured
from omega.kernel.errors import InputError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
"""What can name a provider, a model or a route."""

INTERFACES: Final = ("openai", "anthropic")
ORDERS: Final = ("given", "cost", "latency", "quality")
KINDS: Final = ("chat", "embeddings")
DEFAULT: Final = "default"
"""The name of the model or route for questions that name none."""

MAX_ROUTE: Final = 16
"""Most models of one route."""

MAX_TIMEOUT_S: Final = 3_600.0
MAX_TTL_S: Final = 30 * 86_400.0

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A provider: where to ask. `key` is a reference, `prices` the provider's name in the price list where it differs, `limit_field` the
    field that limits an answer."""

    name: str
    url: str
    interface: str = "openai"
    key: str = ""
    limit_field: str = "max_tokens"
    timeout_s: float = 120.0
    redact: bool = False
    prices: str = ""

    @classmethod
    def of(cls, name: str, record: Record) -> Source:
        """From a record. Raises InputError (OMG-I001)."""
        read = _Reading("provider", name, record, cls)
        found = cls(
            name=named(name),
            url=read.text("url").rstrip("/"),
            interface=read.one_of("interface", INTERFACES),
            key=read.text("key"),
            limit_field=read.one_of("limit_field", ("max_tokens", "max_completion_tokens")),
            timeout_s=read.number("timeout_s", 0.0, MAX_TIMEOUT_S),
            redact=read.flag("redact"),
            prices=read.text("prices"),
        )
        if found.key and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]{0,127}", found.key):
            raise read.wrong("key", "is a reference, env:NAME, and never the key itself")
        problem = checked(Provider(name, "", found.url, "x" if found.key else ""))
        if isinstance(problem, Missing):
            raise InputError("OMG-I001", f"provider {name[:80]}: {problem.reason}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens, read and written, `as_of` a date: an operator's own agreement, or that of a local model (0)."""

    input: Decimal
    output: Decimal
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model under a name of this installation; `model` is what its provider calls it. `quality` is the operator's judgement, 0 to 1;
    `tenants` are those that may ask it (empty: all)."""

    name: str
    provider: str
    model: str
    kind: str = "chat"
    quality: float = 0.5
    price: Price | None = None
    tenants: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, record: Record) -> Model:
        """From a record. Raises InputError (OMG-I001)."""
        read = _Reading("model", name, record, cls)
        return cls(
            name=named(name),
            provider=read.text("provider", needed=True),
            model=read.text("model", needed=True),
            kind=read.one_of("kind", KINDS),
            quality=read.number("quality", 0.0, 1.0),
            price=_price(read),
            tenants=read.texts("tenants"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Several models under one name, and the order in which they are asked."""

    name: str
    models: tuple[str, ...]
    order: str = "given"

    @classmethod
    def of(cls, name: str, record: Record) -> Route:
        """From a record. Raises InputError (OMG-I001)."""
        read = _Reading("route", name, record, cls)
        models = read.texts("models")
        if not 0 < len(models) <= MAX_ROUTE or len(set(models)) != len(models):
            raise read.wrong("models", f"is 1 to {MAX_ROUTE} different names")
        return cls(name=named(name), models=models, order=read.one_of("order", ORDERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """How a tenant's questions are answered from memory: for how long, and from which similarity on (0: only the very same question), by
    which embedding model. Each principal has what was answered to it; `shared` gives everybody in the tenant everybody's answers."""

    ttl_s: float
    similarity: float = 0.0
    embedding: str = ""
    shared: bool = False

    @classmethod
    def of(cls, name: str, record: Record) -> Caching:
        """From a record. Raises InputError (OMG-I001)."""
        read = _Reading("cache", name, record, cls)
        found = cls(
            ttl_s=read.number("ttl_s", 0.0, MAX_TTL_S),
            similarity=read.number("similarity", 0.0, 1.0),
            embedding=read.text("embedding"),
            shared=read.flag("shared"),
        )
        if bool(found.similarity) != bool(found.embedding):
            raise read.wrong("similarity", "and an embedding model are given together")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model that may answer, ready to be asked; `source` is None for the one of the environment."""

    name: str
    provider: Provider
    kind: str = "chat"
    quality: float = 0.5
    price: Price | None = None
    timeout_s: float = MAX_TIMEOUT_S
    redact: bool = False
    prices: str = ""


@dataclass(slots=True)
class Registry:
    """What is known, by name. Belongs to one process; `take` is given anew what changed."""

    variables: Mapping[str, str]
    sources: dict[str, Source] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    caches: dict[str, Caching] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether an operator has named nothing."""
        return not self.models and not self.routes

    def caching(self, tenant: str) -> Caching | None:
        """How the questions of a tenant are answered from memory; None: not at all."""
        return self.caches.get(tenant)

    def names(self, tenant: str) -> list[str]:
        """What the tenant may name, sorted."""
        own = [model.name for model in self.models.values() if _may(model, tenant)]
        ways = [route.name for route in self.routes.values() if any(name in own for name in route.models)]
        env = configured(self.variables)
        return sorted({*own, *ways, *([env.model] if isinstance(env, Provider) else [])})

    def candidates(self, name: str, tenant: str, kind: str, *, lenient: bool = False) -> tuple[list[Candidate], str]:
        """The models that `name` stands for, in the order written, and the order to ask in.

        `lenient` lets the environment's model answer for any name while nothing is named here. Raises InputError: OMG-X002 when nothing is
        configured, OMG-M009 for a name that is not known, or not to this tenant.
        """
        env = configured(self.variables)
        wanted = name or DEFAULT
        found, order = self._named(wanted, tenant)
        if (
            not found
            and isinstance(env, Provider)
            and kind == "chat"
            and (wanted in (DEFAULT, env.model, env.label) or self._bare(lenient))
        ):
            return [Candidate(name=env.model, provider=env)], "given"
        if not found and self.empty and isinstance(env, Missing):
            raise InputError("OMG-X002", env.reason)
        fitting = [each for each in found if each.kind == kind]
        if not fitting:
            known = ", ".join(self.names(tenant)[:20]) or "none"
            what = f"is not for {kind}" if found else "is not known"
            raise InputError("OMG-M009", f"the model {wanted[:80]!r} {what} (known: {known})", details={"model": wanted[:80]})
        return fitting, order

    def _bare(self, lenient: bool) -> bool:
        return lenient and self.empty

    def _named(self, name: str, tenant: str) -> tuple[list[Candidate], str]:
        route = self.routes.get(name)
        names = route.models if route is not None else (name,)
        models = [self.models[each] for each in names if each in self.models]
        ready = [self._ready(model) for model in models if _may(model, tenant)]
        return [each for each in ready if each is not None], route.order if route is not None else "given"

    def _ready(self, model: Model) -> Candidate | None:
        source = self.sources.get(model.provider)
        if source is None:
            return None
        key = self.variables.get(source.key.removeprefix("env:"), "") if source.key else ""
        if source.key and not key:
            return None
        return Candidate(
            name=model.name,
            provider=Provider(source.name, model.model, source.url, key, source.limit_field, source.interface),
            kind=model.kind,
            quality=model.quality,
            price=model.price,
            timeout_s=source.timeout_s,
            redact=source.redact,
            prices=source.prices or source.name,
        )


def named(name: str) -> str:
    """`name`, if it can be one. Raises InputError (OMG-I001)."""
    if NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", f"{name[:80]!r} cannot name a model", advice="use letters, digits and . _ : / -, at most 128")
    return name


def _may(model: Model, tenant: str) -> bool:
    return not model.tenants or tenant in model.tenants


class _Reading:
    """Reads the fields of one record; says which is wrong."""

    def __init__(self, what: str, name: str, record: Record, kind: Any) -> None:
        self._what, self._name, self._record = what, name, record
        fields: Mapping[str, Any] = kind.__dataclass_fields__
        self._defaults: Callable[[str], Any] = lambda field: fields[field].default
        odd = sorted(set(record) - set(fields) - {"name"})
        if odd:
            raise self.wrong(
                str(odd[0])[:80], f"is no field of a {what}; these are: {', '.join(each for each in fields if each != 'name')}"
            )

    def wrong(self, field: str, why: str) -> InputError:
        """The error of a field."""
        return InputError("OMG-I001", f"{self._what} {self._name[:80]}: {field} {why}", details={"field": field})

    def text(self, field: str, *, needed: bool = False) -> str:
        value = self._record.get(field, "")
        if not isinstance(value, str) or len(value) > 2_000 or (needed and not value):
            raise self.wrong(field, "is a text")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        value = self._record.get(field, ())
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) and each for each in value):
            raise self.wrong(field, "is a list of texts")
        return tuple(value)

    def flag(self, field: str) -> bool:
        value = self._record.get(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, "is true or false")
        return value

    def one_of(self, field: str, words: tuple[str, ...]) -> str:
        value = self._record.get(field, self._defaults(field))
        if value not in words:
            raise self.wrong(field, f"is one of {', '.join(words)}")
        return str(value)

    def number(self, field: str, least: float, most: float) -> float:
        value = self._record.get(field, self._defaults(field))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not least <= value <= most:
            raise self.wrong(field, f"is a number from {least:g} to {most:g}")
        return float(value)

    def mapping(self, field: str) -> Record | None:
        value = self._record.get(field)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(field, "is a record")
        return value


def _price(read: _Reading) -> Price | None:
    record = read.mapping("price")
    if record is None:
        return None
    try:
        price = Price(input=Decimal(str(record["input"])), output=Decimal(str(record["output"])), as_of=str(record["as_of"]))
    except (KeyError, InvalidOperation) as error:
        raise read.wrong("price", "has input and output in US dollars per million tokens, and as_of, a date") from error
    if not all(each.is_finite() and 0 <= each <= 1_000_000 for each in (price.input, price.output)):
        raise read.wrong("price", "has amounts from 0 to 1,000,000")
    return price
