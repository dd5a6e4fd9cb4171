"""Flows that the documents of these tests refer to, and how they are found."""

from __future__ import annotations

from typing import Any

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


FLOWS: dict[str, Flow[Any, Any]] = {
    f"leaves:{each.body.function.__name__}": each for each in (add, double, odd, word, shout, send, counted, total)
}


def resolve(reference: str) -> Flow[Any, Any]:
    """Raises KeyError, a LookupError, for what is not here."""
    return FLOWS[reference]


def refer(flow: Flow[Any, Any]) -> str:
    """The other way round, whatever a flow was renamed to."""
    return f"leaves:{flow.body.function.__name__}"
