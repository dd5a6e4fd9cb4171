"""Circuit breakers at the gate: a tool or server that fails again and again is left alone for a while. Deterministic: time is handed in.

    closed      touches are let through; failures are remembered for `within_s`
    open        after `failures` of them: for `open_s` every touch is denied, with how long to wait
    half open   then one touch is let through; if it succeeds the circuit is closed, if it fails it is open again

What counts as a failure is that the other side hung, crashed or lied (`blamed`); an answer that says no is an answer. A touch that was let
through before the circuit opened neither opens nor closes it. Each engine finds out by itself: nothing is asked of others per call.

The states are those of `omega.kernel.adapt.Circuit`. How many touches are under way at once is bounded by quotas of concurrency
(`omega.warden.quotas`), the bulkheads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel.adapt import OPEN, PROBE, Circuit
from omega.kernel.errors import InputError, OmegaError, UpstreamError
from omega.kernel.verdict import Ask
from omega.warden.quotas import EACH, Use, by_tenant, part_of, use_of

MAX_BREAKERS = 1_024
"""Most breakers that are arranged for one tenant by name, or for all of them: those that may concern a touch are looked at one by one. It
is checked before one is arranged; what stands all the same is held."""

MAX_CIRCUITS = 16_384
"""Most circuits that are not simply closed; past it the one that failed first is forgotten."""

FAILURES, WITHIN_S, OPEN_S = 5, 60.0, 30.0
"""What a breaker says that does not say otherwise."""

MAX_FAILURES = 1_000
LONGEST_S = 86_400.0
"""Longest `within_s` and `open_s`, in seconds."""

ANSWERS = frozenset({"OMG-M004", "OMG-M005", "OMG-M007", "OMG-M009"})
"""Errors that say nothing about how the other side does: a description that changed, a name that is not known, an answer that says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """After `failures` failures within `within_s` seconds, `flow` (a flow, a tool `server/tool`, `server/*`, EACH for each by itself) is
    left alone for `open_s` seconds: per `tenant` by name, EACH for each by itself, empty for all together."""

    name: str
    flow: str
    failures: int = FAILURES
    within_s: float = WITHIN_S
    open_s: float = OPEN_S
    tenant: str = EACH

    def record(self) -> dict[str, Any]:
        """As kept in a document, without the name."""
        kept: dict[str, Any] = {"flow": self.flow, "failures": self.failures, "within_s": self.within_s, "open_s": self.open_s}
        return kept | {"tenant": self.tenant}

    @classmethod
    def read(cls, name: str, body: Mapping[str, Any]) -> Breaker:
        """From a document. Raises InputError (OMG-I001)."""
        flow, tenant, failures = body.get("flow"), body.get("tenant", EACH), body.get("failures", FAILURES)
        if type(flow) is not str or not 0 < len(flow) <= 256 or type(tenant) is not str or len(tenant) > 256:
            raise InputError("OMG-I001", "a breaker names a flow, a tool SERVER/TOOL or a server SERVER/*, and a tenant or none")
        if type(failures) is not int or not 1 <= failures <= MAX_FAILURES:
            raise InputError("OMG-I001", f"a breaker opens after 1 to {MAX_FAILURES:,} failures, not {failures!r}"[:200])
        spans = [body.get(field, default) for field, default in (("within_s", WITHIN_S), ("open_s", OPEN_S))]
        if any(type(span) not in (int, float) or not 0 < span <= LONGEST_S for span in spans):
            raise InputError("OMG-I001", "a breaker counts failures, and stays open, for more than 0 seconds and at most a day")
        return cls(name=name, flow=flow, failures=failures, within_s=float(spans[0]), open_s=float(spans[1]), tenant=tenant)

    def key(self, use: Use) -> _Key | None:
        """The circuit that `use` meets; None when this breaker is not about it."""
        server, slash, _ = use.flow.partition("/")
        tenant = part_of(self.tenant, (use.tenant,))
        flow = part_of(self.flow, (use.flow, f"{server}/*") if slash else (use.flow,))
        return None if tenant is None or flow is None else (self.name, tenant, flow)

    def __str__(self) -> str:
        return f"open for {self.open_s:g} s after {self.failures} failures within {self.within_s:g} s"


_Key = tuple[str, str, str]
_Held = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a touch is not let through: the breaker, what is left alone, and in how many seconds the next touch is let through."""

    breaker: Breaker
    target: str
    wait_s: float


def blamed(error: OmegaError) -> bool:
    """Whether `error` is the other side's failure to do what it is there for."""
    return isinstance(error, UpstreamError) and error.code not in ANSWERS


class Breakers:
    """The circuits of one gate."""

    def __init__(self) -> None:
        self._breakers: tuple[Breaker, ...] = ()
        self._common: tuple[Breaker, ...] = ()
        self._own: dict[str, tuple[Breaker, ...]] = {}
        self._adopted: frozenset[Breaker] = frozenset()
        self._circuits: dict[_Key, Circuit] = {}
        self._holds: dict[_Held, list[tuple[Breaker, _Key, int]]] = {}

    @property
    def busy(self) -> bool:
        """Whether there is any breaker at all."""
        return bool(self._breakers)

    def adopt(self, breakers: Iterable[Breaker]) -> None:
        """Have `breakers` hold from now on; circuits of those that did not change stay as they are."""
        found = tuple(breakers)
        same = {breaker.name for breaker in self._adopted.intersection(found)}
        self._breakers, self._adopted = found, frozenset(found)
        self._common, self._own = by_tenant(found)
        self._circuits = {key: circuit for key, circuit in self._circuits.items() if key[0] in same}

    def take(self, ask: Ask) -> Broken | None:
        """Let the touch of `ask` through, as the probe of a half-open circuit where it meets one; or say which circuit is open."""
        held = []
        for breaker, key in self._met(ask):
            circuit, told = self._circuit(key, ask.now).admit(_us(ask.now), _us(breaker.open_s))
            if told == OPEN:
                self._keep(key, circuit)  # where the clock has jumped back, it opens anew once
                return Broken(breaker, key[2], _wait_s(breaker, circuit, ask.now))
            held.append((breaker, key, told, circuit))
        for _, key, _, circuit in held:
            self._keep(key, circuit)
        if held:
            self._holds[ask.execution, ask.step, ask.epoch] = [(breaker, key, told) for breaker, key, told, _ in held]
        return None

    def settle(self, ask: Ask, failed: bool | None, *, now: float) -> None:
        """The touch of `ask` has ended at `now` (Unix seconds): `failed` as `blamed` has it, None where it proves nothing."""
        for breaker, key, told in self._holds.pop((ask.execution, ask.step, ask.epoch), ()):
            if breaker not in self._adopted or (told == PROBE and key not in self._circuits):
                continue  # it was changed meanwhile, and its circuit begins anew
            circuit = self._circuit(key, now)
            self._keep(key, circuit.ended(_us(now), told=told, failed=failed, most=breaker.failures, within_us=_us(breaker.within_s)))

    def standing(self, now: float) -> Iterator[tuple[Breaker, str, str, float]]:
        """Every circuit that is open at `now`: its breaker, tenant, target, and the seconds until it is tried again (0: it may be)."""
        breakers = {breaker.name: breaker for breaker in self._breakers}
        for (name, tenant, flow), circuit in sorted(self._circuits.items()):
            if circuit.opened_us:
                yield breakers[name], tenant, flow, _wait_s(breakers[name], circuit, now)

    def _met(self, ask: Ask) -> Iterator[tuple[Breaker, _Key]]:
        use = use_of(ask)
        for breaker in (*self._common, *self._own.get(use.tenant, ())):
            key = breaker.key(use)
            if key is not None:
                yield breaker, key

    def _circuit(self, key: _Key, now: float) -> Circuit:
        """The circuit as it stands. Where the clock has jumped back it has only just opened: nobody is locked out by the jump."""
        circuit = self._circuits.get(key, _CLOSED)
        if max(circuit.opened_us, circuit.probe_us) <= _us(now):
            return circuit
        return replace(circuit, opened_us=min(circuit.opened_us, _us(now)), probe_us=min(circuit.probe_us, _us(now)))

    def _keep(self, key: _Key, circuit: Circuit) -> None:
        if circuit == _CLOSED:
            self._circuits.pop(key, None)
            return
        if key not in self._circuits and len(self._circuits) >= MAX_CIRCUITS:
            del self._circuits[next(iter(self._circuits))]
        self._circuits[key] = circuit


_CLOSED = Circuit()


def _wait_s(breaker: Breaker, circuit: Circuit, now: float) -> float:
    """Until the next touch may be let through: since the circuit opened, or since a probe began that has not ended."""
    since_s = max(circuit.opened_us, circuit.probe_us) / 1_000_000
    return min(breaker.open_s, max(0.0, since_s + breaker.open_s - now))


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
