"""Contexts on the way to another process or host, as headers, and back.

    traceparent, tracestate   W3C Trace Context (Recommendation of 2021, version 00): which trace, which step called
    baggage                   W3C Baggage (Candidate Recommendation): names and values that follow a trace
    authorization             the caller's passport, as a bearer token (RFC 6750)
    omega-budget              what the callee may spend at most: `cost_micros=100;currency=USD;tokens=20;calls=3`
    omega-deadline            when it must have ended, in Unix seconds

Nothing that arrives grants anything. Rights come from the passport alone, once trust has verified it; a budget and a deadline can only
narrow what the callee would have had anyway; trace and baggage decide nothing, and no policy reads them. So a header that does not parse is
left out, as the two recommendations ask, except a budget or a deadline: what was meant as a limit is not dropped in silence (OMG-I001).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from omega.kernel.budget import Budget
from omega.kernel.context import Context
from omega.kernel.errors import DefinitionError, InputError
from omega.kernel.ids import span_of
from omega.kernel.ports import Call

MAX_STATES = 32
"""Most members of a tracestate (W3C Trace Context, 3.3.1.1)."""

MAX_STATE = 256
"""Longest value in a tracestate, in characters (3.3.1.3.2)."""

MAX_BAGGAGE = 64
"""Most members of a baggage that every platform must carry (W3C Baggage, 3.3.2)."""

MAX_BAGGAGE_BYTES = 8_192
"""Largest baggage that every platform must carry, in bytes (3.3.2)."""

MAX_PASSPORT = 8_192
"""Longest passport, in characters; see `omega.trust.passport.MAX_TOKEN`."""

VENDOR = "omega"
"""Our key in a tracestate."""

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_KEY = re.compile(r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}")
_STATE_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AMOUNT = re.compile(r"\d{1,18}")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What came with a call, as its headers say and nobody has verified.

    `trace` (32 hex digits) and `parent` (16) are empty where no valid traceparent came; `state` keeps the order of the tracestate.
    """

    trace: str = ""
    parent: str = ""
    sampled: bool = False
    state: tuple[tuple[str, str], ...] = ()
    baggage: Mapping[str, str] = field(default_factory=dict)
    passport: str = ""
    budget: Budget = field(default_factory=Budget)
    deadline: float | None = None

    def onto(self, call: Call, *, now: float) -> Call:
        """`call` as it arrives with this: the passport that came, at most the budget and the time of both, the trace gone on with.

        `now` is in Unix seconds. Raises Denied (OMG-W005) for budgets in different currencies.
        """
        left_s = None if self.deadline is None else max(0.0, self.deadline - now)
        times = [limit for limit in (left_s, call.timeout_s) if limit is not None]
        return replace(
            call,
            passport=self.passport,
            budget=(call.budget or Budget()).narrow(self.budget),
            timeout_s=min(times, default=None),
            trace=self.trace,
        )


def inject(
    ctx: Context,
    *,
    step: str = "",
    passport: str = "",
    budget: Budget | None = None,
    baggage: Mapping[str, str] | None = None,
    carried: Carried | None = None,
) -> dict[str, str]:
    """The headers with which `ctx` calls another host: its trace, its budget (at most `budget`), its deadline, and `passport`, which the
    caller has had delegated to the callee; without one the callee has no rights at all.

    `step` is the position of the calling step, of which the parent id is made; `carried` is what this execution was itself called with:
    its tracestate goes on. Raises DefinitionError (OMG-F003) for baggage that does not fit.
    """
    span = span_of(ctx.trace, ctx.execution, step)
    came = carried or Carried()
    headers = {"traceparent": f"00-{ctx.trace}-{span}-{'01' if came.sampled or carried is None else '00'}"}
    state = [(VENDOR, span), *((key, value) for key, value in came.state if key != VENDOR)]
    headers["tracestate"] = ",".join(f"{key}={value}" for key, value in state[:MAX_STATES])
    packed = _pack({**came.baggage, **(baggage or {})})
    limits = (ctx.budget if budget is None else ctx.budget.narrow(budget)).record()
    amounts = [f"{name}={amount}" for name, amount in limits.items() if amount is not None]
    optional = {
        "baggage": packed,
        "authorization": f"Bearer {passport}" if passport else "",
        "omega-budget": ";".join(amounts) if len(amounts) > 1 else "",
        "omega-deadline": "" if ctx.deadline is None else repr(float(ctx.deadline)),
    }
    return headers | {name: text for name, text in optional.items() if text}


def extract(headers: Mapping[str, str]) -> Carried:
    """What `headers` carry. Raises InputError (OMG-I001) for a budget, a deadline or a passport that cannot be one."""
    given = {name.lower(): text for name, text in headers.items()}
    trace, parent, sampled = _parent(given.get("traceparent", ""))
    return Carried(
        trace=trace,
        parent=parent,
        sampled=sampled,
        state=_state(given.get("tracestate", "")) if trace else (),
        baggage=_unpack(given.get("baggage", "")),
        passport=_bearer(given.get("authorization", "")),
        budget=_budget(given.get("omega-budget", "")),
        deadline=_deadline(given.get("omega-deadline", "")),
    )


def _parent(text: str) -> tuple[str, str, bool]:
    """Trace, parent and sampled flag; empty for what is not valid. A later version is read as far as this one goes (2.2.2)."""
    match = _PARENT.fullmatch(text.strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]) or not match[2].strip("0") or not match[3].strip("0"):
        return "", "", False
    return match[2], match[3], bool(int(match[4], 16) & _SAMPLED)


def _state(text: str) -> tuple[tuple[str, str], ...]:
    """The members of a tracestate; none where one of them is not valid, or a key comes twice (3.3.1.5)."""
    members = [part.strip(" \t") for part in text.split(",")]
    pairs = [part.partition("=") for part in members if part]
    keys = [key for key, _, _ in pairs]
    if len(pairs) > MAX_STATES or len(set(keys)) != len(keys):
        return ()
    if not all(_STATE_KEY.fullmatch(key) and sign and _STATE_VALUE.fullmatch(value) for key, sign, value in pairs):
        return ()
    return tuple((key, value) for key, _, value in pairs)


def _pack(baggage: Mapping[str, str]) -> str:
    odd = next((name for name in baggage if not _TOKEN.fullmatch(name)), None)
    if odd is not None:
        raise DefinitionError("OMG-F003", f"{odd[:80]!r} cannot be a name in a baggage")
    packed = ",".join(f"{name}={quote(value, safe='')}" for name, value in baggage.items())
    if len(baggage) > MAX_BAGGAGE or len(packed) > MAX_BAGGAGE_BYTES:
        raise DefinitionError("OMG-F003", f"a baggage has at most {MAX_BAGGAGE} members and {MAX_BAGGAGE_BYTES:,} bytes")
    return packed


def _unpack(text: str) -> dict[str, str]:
    """The members that are valid, without their properties; none of a baggage that is too large."""
    if len(text) > MAX_BAGGAGE_BYTES or text.count(",") >= MAX_BAGGAGE:
        return {}
    pairs = (part.partition(";")[0].partition("=") for part in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, sign, value in pairs if sign and _TOKEN.fullmatch(key.strip())}


def _bearer(text: str) -> str:
    scheme, _, token = text.strip().partition(" ")
    if not text.strip():
        return ""
    if scheme.lower() != "bearer" or not token.strip() or len(token) > MAX_PASSPORT:
        raise InputError("OMG-I001", "the authorization that came is no passport", advice="send it as: Authorization: Bearer PASSPORT")
    return token.strip()


def _budget(text: str) -> Budget:
    if not text:
        return Budget()
    given = list(_pairs(text))
    pairs = dict(given)
    currency = pairs.pop("currency", Budget().currency)
    amounts = {name: int(amount) for name, amount in pairs.items() if _AMOUNT.fullmatch(amount)}
    sound = len(dict(given)) == len(given) and amounts.keys() == pairs.keys() and amounts.keys() <= {"cost_micros", "tokens", "calls"}
    if not sound or not amounts or not currency.isalpha():
        raise InputError("OMG-I001", f"{text[:120]!r} is no budget", advice="write it as cost_micros=100;currency=USD;tokens=20;calls=3")
    return Budget(**amounts, currency=currency[:8])


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in filter(None, text.split(";")):
        name, _, value = part.partition("=")
        yield name.strip(), value.strip()


def _deadline(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = float(text)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment) or moment < 0:
        raise InputError("OMG-I001", f"{text[:40]!r} is no deadline", advice="write it in Unix seconds")
    return moment
