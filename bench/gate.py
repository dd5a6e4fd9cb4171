"""Figures G7, G8 and G9: what the policy gate costs, and whether it keeps its word. `python bench/gate.py` prints them.

G7  CPU of one policy decision, target and cost varying from call to call, no answer remembered: policies that read the cost are
    evaluated anew each time, the others once for each caller and target.
    1,000 tenants with 20 policies each, of which an action and a role reach some; 1,000 policies of one tenant, 20 in the slice and
    all of them evaluated. Each tenant's and each server's policies differ from every other's in a constant, so that nothing is shared.
    Beside them, without a goal: the same with equal policies (what tenants have that were given one pack), 20 policies in all, 20 that all
    read the cost, the first question of a caller whom the gate has not seen, 1,000 policies in one slice, the worst case (1,000 that all
    read the cost), the floor (no policy in the slice: the looking up), and the whole gate (`Warden.ask`) where answers are remembered.
G8  allows with an evaluation error, over generated questions to a set of policies of which some cannot be evaluated.
G9  share of answers that are not an allow and carry policy id, place, reason and a way to ask.

Only CPU is counted (`time.process_time`): the median of several runs, with their range.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

from omega.kernel.effects import Effect
from omega.kernel.scope import mint_scope
from omega.kernel.verdict import Ask, Decision, Gate
from omega.warden.admit import Warden
from omega.warden.limits import UNLIMITED
from omega.warden.policies import Bundle
from omega.warden.question import Question

DECISIONS = int(os.environ.get("OMEGA_BENCH_DECISIONS", "4000"))
"""Decisions of one run."""

RUNS = 7
TENANTS = 1_000
EACH = 20
COMMAND = "python bench/gate.py"

ACTIONS = (
    "action",
    'action in Action::"touch"',
    'action in [Action::"run", Action::"read"]',
    'action == Action::"write"',
    'action == Action::"irreversible"',
)

ANYTHING = "principal, action, resource"

CALLERS = ("principal", 'principal in Group::"g0"', 'principal in Group::"g1"', "principal is Agent")

CONDITIONS = (
    'principal in Group::"g{n}" && context.cost_micros < 50{k}00',
    'resource.effect != "k{k}" && !principal.delegated',
    'resource.hasTag("host") && !(resource.getTag("host") like "*.k{k}")',
    '["a", "b", "k{k}"].contains(resource.tool)',
)
"""Realistic conditions; `{n}` is one of 20 groups, `{k}` a constant."""


def _rule(number: int, scope: str, *, constant: int = 1_000) -> str:
    """One realistic policy: three permits, then a forbid. `constant` has four digits."""
    effect = "forbid" if number % 4 == 3 else "permit"
    condition = CONDITIONS[number % len(CONDITIONS)].replace("{n}", str(number % EACH)).replace("{k}", str(constant))
    return f'@id("p{number}") @reason("rule {number}") {effect} ({scope}) when {{ {condition} }};'


def _bundle(rules: Iterable[str]) -> Bundle:
    return Bundle.load({"bench.cedar": "\n".join(rules)})


def _question(number: int, *, tenant: str = "t0", server: str = "s0") -> Question:
    return Question(
        tenant=tenant,
        principal="person:ada",
        groups=frozenset({"g0", "owner"}),
        action="read",
        flow=f"{server}/look",
        effect="read",
        kind="tool",
        needs=frozenset({"tools:call"}),
        facts=(("host", "api.example"),),
        cost_micros=number,
    )


def _cpu_us(decide: Callable[[Question], object], questions: Sequence[Question]) -> list[float]:
    """CPU of one decision in us, per run."""
    for question in questions:
        decide(question)
    rates = []
    for _ in range(RUNS):
        begun = time.process_time()
        for question in questions:
            decide(question)
        rates.append((time.process_time() - begun) / len(questions) * 1e6)
    return rates


def _decisions() -> Iterable[dict[str, Any]]:
    """The cases of G7."""
    small, dear = _bundle(_rule(number, ANYTHING) for number in range(EACH)), _bundle(_reading(EACH))
    plain = [_question(number) for number in range(DECISIONS)]
    yield _record("G7 20 policies, all in the slice", _cpu_us(small.evaluate, plain), "us", None)
    yield _record("G7 20 policies, all in the slice, all read the cost", _cpu_us(dear.evaluate, plain), "us", None)
    yield _record("G7 20 policies, caller not seen before", _first(small), "us", None)
    for name, goals, own in (("", (60, 80), 1), (", all alike", (None, None), 0)):
        many = _tenants(own)
        tenants = [_question(number, tenant=f"t{number % TENANTS}") for number in range(DECISIONS)]
        part = len(many.reaching(tenants[0]))
        yield _record(f"G7 1,000 tenants x 20 policies, {part} in the slice{name}", _cpu_us(many.evaluate, tenants), "us", goals[0])
        one = _servers(own)
        servers = [_question(number, server=f"s{number % 50}") for number in range(DECISIONS)]
        yield _record(f"G7 1,000 policies, 20 in the slice{name}", _cpu_us(one.evaluate, servers), "us", goals[1])
    nobodys = _bundle([_rule(0, "principal is Agent, action, resource")])
    callers = [_question(number, tenant=f"t{number % TENANTS}") for number in range(DECISIONS)]
    yield _record("G7 no policy in the slice", _cpu_us(nobodys.evaluate, callers), "us", None)
    worst = _bundle(_rule(number, ANYTHING) for number in range(1_000))
    questions = [_question(number) for number in range(DECISIONS // 20)]
    yield _record("G7 1,000 policies, all in one slice", _cpu_us(worst.evaluate, questions), "us", None)
    yield _record(
        "G7 1,000 policies, all in one slice, all read the cost", _cpu_us(_bundle(_reading(1_000)).evaluate, questions), "us", None
    )


def _reading(count: int) -> Iterable[str]:
    """Policies about anything that all read the cost, each with a constant of its own."""
    return (_rule(number * len(CONDITIONS), ANYTHING, constant=1_000 + number) for number in range(count))


def _tenants(own: int) -> Bundle:
    """20 policies for each tenant, with a constant of its own (`own` 1) or the same (0)."""
    scopes = [f'{CALLERS[n // 5]}, {ACTIONS[n % 5]}, resource in Tenant::"t{{}}"' for n in range(EACH)]
    numbers = range(TENANTS * EACH)
    return _bundle(_rule(n, scopes[n % EACH].format(n // EACH), constant=1_000 + own * (n // EACH)) for n in numbers)


def _servers(own: int) -> Bundle:
    """20 policies for each of 50 servers, with a constant of its own (`own` 1) or the same (0)."""
    scope = 'principal, action, resource in Server::"s{}"'
    return _bundle(_rule(n, scope.format(n // EACH), constant=1_000 + own * (n // EACH)) for n in range(1_000))


def _first(bundle: Bundle) -> list[float]:
    """CPU of a decision for a caller whose entities were never built."""
    fresh = itertools.count()
    rates = []
    for _ in range(RUNS):
        questions = [_question(0, tenant=f"new{next(fresh)}") for _ in range(DECISIONS // 4)]
        begun = time.process_time()
        for question in questions:
            bundle.evaluate(question)
        rates.append((time.process_time() - begun) / len(questions) * 1e6)
    return rates


def _ask(number: int, effect: Effect, *, principal: str = "person:ada", groups: Sequence[str] = ("owner",), cost: int = 0) -> Ask:
    scope = mint_scope(tenant="t0", principal=principal, groups=groups, capabilities=("*",), passport="p", epoch=0, expires_at=1 << 40)
    ask = Ask(
        gate=Gate.TOUCH,
        scope=scope,
        execution="exe_bench",
        step=f"step#{number}",
        epoch=1,
        flow="git/git_commit" if number % 2 else "review",
        flow_digest="",
        effect=effect,
        input_commitment=b"",
        now=number / 1_000,
        needs=frozenset({"tools:call"}),
        kind="tool",
    )
    object.__setattr__(ask, "estimate", type(ask.estimate)(cost_micros=cost))
    return ask


def _gate() -> dict[str, Any]:
    warden = Warden(Bundle.default(), limits=UNLIMITED)
    asks = [_ask(number, Effect.READ) for number in range(DECISIONS)]
    rates = []
    for _ in range(RUNS):
        begun = time.process_time()
        for ask in asks:
            warden.ask(ask)
        rates.append((time.process_time() - begun) / len(asks) * 1e6)
    return _record("G7 whole gate, answers remembered", rates, "us", None)


def _word() -> Iterable[dict[str, Any]]:
    """G8 and G9, over every mixture of caller, effect and cost."""
    failing = "context.cost_micros + 9223372036854775807 > 0"
    waits = 'unless { context.approved.contains("owner") };'
    text = "\n".join((
        '@id("all") @reason("anybody") permit (principal, action, resource);',
        f'@id("dear") @reason("too dear") forbid (principal is Person, action, resource) when {{ {failing} }};',
        '@id("agents") @reason("no agents") forbid (principal is Agent, action == Action::"write", resource);',
        f'@id("last") @reason("look first") @approval("owner") forbid (principal, action == Action::"irreversible", resource) {waits}',
    ))  # fmt: skip
    wardens = [Warden(Bundle.load({"a.cedar": text}), limits=UNLIMITED), Warden(Bundle.default(), limits=UNLIMITED), Warden()]
    callers = ("person:ada", "agent:x", "service:t", "ghost")
    wrong = told = refused = asked = 0
    for warden, (number, principal), effect, cost, groups in itertools.product(
        wardens, enumerate(callers), Effect, (0, 1, 1 << 62, 1 << 64), ((), ("owner",))
    ):
        verdict = warden.ask(_ask(number, effect, principal=principal, groups=groups, cost=cost))
        asked += 1
        if verdict.decision is Decision.ALLOW:
            wrong += bool(verdict.errors) or (warden is wardens[0] and principal == "person:ada" and cost > 0)
        else:
            refused += 1
            told += bool(verdict.policies and verdict.where and verdict.reason and verdict.how)
    yield {
        "id": "G8",
        "value": wrong,
        "unit": f"allows with an error in {asked}",
        "goal": 0,
        "holds": wrong == 0,
        "peer": "",
        "command": COMMAND,
    }
    share = 100 * told / refused
    yield {
        "id": "G9",
        "value": share,
        "unit": f"% of {refused} explained",
        "goal": 100,
        "holds": share == 100,
        "peer": "",
        "command": COMMAND,
    }


def _record(name: str, rates: Sequence[float], unit: str, goal: float | None) -> dict[str, Any]:
    """One figure in CPU time. A figure without a goal stands beside one that has."""
    value = round(statistics.median(rates), 1)
    return {
        "id": name,
        "value": value,
        "unit": unit,
        "goal": goal,
        "holds": goal is None or value <= goal,
        "range": [round(min(rates), 1), round(max(rates), 1)],
        "peer": "",
        "command": COMMAND,
    }


def figures() -> list[dict[str, Any]]:
    """The records of G7, G8 and G9; takes about half a minute of CPU."""
    return [*_decisions(), _gate(), *_word()]


if __name__ == "__main__":
    sys.stdout.write(f"python {platform.python_version()}, cedarpy {version('cedarpy')}, {os.cpu_count()} cores\n")
    for figure in figures():
        sys.stdout.write(json.dumps(figure) + "\n")
