"""Flows that the documents of these tests refer to, and how they are found."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from omega.kernel.flow import Flow, flow


@flow
def add(n: int) -> int:
    """One more."""
    return n + 1


@flow(version="2.1.0")
def double(n: int) -> int:
    """Twice as much."""
    return 2 * n


@flow
def odd(n: int) -> bool:
    """Whether it is odd."""
    return n % 2 == 1


@flow
def word(n: int) -> str:
    """It as a word."""
    return "odd" if n % 2 else "even"


@flow
def shout(text: str) -> str:
    """Louder."""
    return text.upper()


@flow(effect="write", needs="mail:send")
def send(n: int) -> int:
    """Acts on the world."""
    return n


@flow
def counted(n: int) -> list[int]:
    """The numbers below it, at most three."""
    return list(range(min(abs(n), 3)))


@flow
def total(numbers: Any) -> int:
    """Their sum."""
    return sum(numbers)


@flow
def plus(pair: tuple[int, int]) -> int:
    """Two as one."""
    return pair[0] + pair[1]


@flow
def all_more(numbers: list[int]) -> list[int]:
    """One more, each."""
    return [n + 1 for n in numbers]


@flow
def back(done: tuple[int, int]) -> int:
    """What takes a step back: its input."""
    return done[0]


@flow
def small(n: int) -> float:
    """1 for a small number, else 0."""
    return 1.0 if abs(n) < 10 else 0.0


@flow
def opened(tried: Any) -> int:
    """The value of an attempt, or nothing."""
    return getattr(tried, "value", 0)


class Step(BaseModel):
    """What `shifted` leaves open."""

    by: int = 1


@flow
def shifted(given: tuple[Step, int]) -> int:
    """Further by what was learned."""
    return given[1] + given[0].by


FLOWS: dict[str, Flow[Any, Any]] = {
    f"leaves:{each.body.function.__name__}": each
    for each in (add, double, odd, word, shout, send, counted, total, plus, all_more, back, small, opened, shifted)
}


EVERY = """# A document with every kind of node and every option.
poml: 2.0.0
name: every
types:
  Form: {type: object, properties: {n: {type: integer}}}
nodes:
  add: {flow: leaves:add, retry: {attempts: 2, backoff: 1s}, timeout: {after: 9s, otherwise: double}, delay: 1s}
  double: {flow: leaves:double, cache: {ttl: 1h}, fallback: [more, twice], rate: 10/s}
  more: {flow: leaves:add, name: add, rate: {limit: 1/5s, per: key, key: out, patience: 0}}
  twice: {flow: leaves:double, name: double, breaker: {failures: 3, within: 1m, open_for: 5s, otherwise: calm}}
  calm: {flow: leaves:add, name: calm}
  steps: {saga: first -> last}
  first: {flow: leaves:add, undo: back, name: book}
  back: {flow: leaves:back}
  last: {flow: leaves:double, name: pay}
  rounds: {loop: add, while: out < 9, most: 4}
  until: {loop: double, while: {by: odd}}
  odd: {flow: leaves:odd}
  list: {sub: counted -> chunks -> each -> far -> sum}
  each: {foreach: near, at_once: 1}
  counted: {flow: leaves:counted}
  chunks: {batch: shifts, size: 2, at_once: 3}
  shifts: {flow: leaves:all_more}
  far: {scatter: near, queue: slow, at_once: 2}
  near: {flow: leaves:add, name: near}
  sum: {reduce: plus, start: 1}
  plus: {flow: leaves:plus}
  pair: {sub: fork -> plus}
  fork: {parallel: [calm, near]}
  both: {gather: [add, more], reducer: plus, start: 0}
  best: {optimize: [add, double], goal: {cost: 1, quality: 2}, explore: 0.2, score: small}
  small: {flow: leaves:small}
  shifted: {tuned: open, parameters: {by: 2}}
  open: {flow: leaves:shifted}
  pick: {when: out > 3, then: rounds, otherwise: until}
  kind: {switch: {by: word}, cases: {odd: add, even: double}, default: more}
  word: {flow: leaves:word}
  first-of: {race: [add, double]}
  tried: {sub: tries -> opened}
  tries: {flow: leaves:add, name: tries, attempt: true}
  opened: {flow: leaves:opened}
  yes: {human: {approval: owner, message: really?, within: 1h}, input: int}
  go: {human: {signal: go, within: 5m}, output: int}
  fill: {human: {form: Form, role: clerk}}
  ask: {agent: {instructions: Count., model: small, tools: [word], turns: 3, max_tokens: 99}, output: int}
connect: steps -> pick -> kind -> list -> pair -> both -> best -> shifted -> first-of -> tried -> yes -> go -> fill -> ask
"""


def resolve(reference: str) -> Flow[Any, Any]:
    """Raises KeyError, a LookupError, for what is not here."""
    return FLOWS[reference]


def refer(flow: Flow[Any, Any]) -> str:
    """The other way round, whatever a flow was renamed to."""
    return f"leaves:{flow.body.function.__name__}"
