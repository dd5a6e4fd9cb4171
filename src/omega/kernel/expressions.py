"""Predicates as text: CEL (Common Expression Language, cel.dev) over `out`, the value at hand as plain JSON data.

CEL terminates, has no side effects and cannot reach anything but `out`, so an expression may come from a document that nobody trusts.
"""

from __future__ import annotations

from typing import Any

from omega.kernel.errors import DefinitionError, FlowError

MAX_EXPRESSION = 4_000
"""Longest expression in characters."""


class Expression:
    """A compiled CEL expression. Raises DefinitionError (OMG-F004) when it does not parse."""

    __slots__ = ("_program", "source")

    def __init__(self, source: str) -> None:
        import cel  # noqa: PLC0415 - half a second, and most flows hold no expression

        if len(source) > MAX_EXPRESSION:
            raise DefinitionError("OMG-F004", f"an expression of {len(source):,} characters is over the limit of {MAX_EXPRESSION:,}")
        self.source = source
        try:
            self._program = cel.compile(source)
        except (ValueError, RuntimeError, TypeError) as error:
            raise DefinitionError("OMG-F004", f"{source!r}: {_first_line(error)}") from error

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def value(self, out: Any) -> Any:
        """What the expression gives for `out`. Raises FlowError (OMG-R001) when it cannot be evaluated."""
        try:
            return self._program.execute({"out": out})
        except (ValueError, RuntimeError, TypeError, LookupError, ArithmeticError) as error:
            raise FlowError("OMG-R001", f"expression {self.source!r}: {_first_line(error)}") from error

    def holds(self, out: Any) -> bool:
        """Whether the expression is true for `out`. Raises FlowError (OMG-R001) when it gives anything but true or false."""
        value = self.value(out)
        if not isinstance(value, bool):
            raise FlowError("OMG-R001", f"expression {self.source!r} gave {type(value).__name__}, not true or false")
        return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
