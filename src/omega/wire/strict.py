"""JSON from strangers, read strictly: what two readers might understand differently, or nobody can keep, is refused.

Refused (RFC 8259 leaves them to the reader): a name that stands twice in an object, NaN and infinities, numbers too large for a float or
longer than anybody needs, half characters (lone surrogates), and more levels than any of our types has.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from omega.kernel.errors import InputError

MAX_DEPTH = 64
"""Most levels of arrays and objects inside each other."""

MAX_DIGITS = 400
"""Longest number, in characters: a float has 17 digits that count, and an exponent."""


def read_json(body: bytes, *, what: str = "the body") -> Any:
    """The value of a JSON text in UTF-8. Raises InputError (OMG-G001) with what is wrong and where."""
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise _refused(f"{what} is not UTF-8: byte {error.start:,}") from None
    except RecursionError:
        raise _refused(f"{what} nests deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise _refused(f"{what} is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}") from None
    except _Odd as error:
        raise _refused(f"{what} {error}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth_over(value):
        raise _refused(f"{what} nests deeper than {MAX_DEPTH} levels")
    if b"\\u" in body and _has_half_characters(text):
        _check_whole(value, what)
    return value


class _Odd(ValueError):
    """Something that JSON's grammar allows and we do not."""


def _refused(cause: str) -> InputError:
    return InputError("OMG-G001", cause)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Odd(f"names {twice[:80]!r} twice in one object")
    return found


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_DIGITS else math.inf
    if not math.isfinite(value):
        raise _Odd("holds a number that is too large")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Odd("holds a number that is too large")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _Odd(f"holds {text}, which is no JSON")


def _depth_over(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each) if isinstance(part, (dict, list))]
        if not level:
            return False
    return True


def _has_half_characters(text: str) -> bool:
    lowered = text.lower()
    return any(f"\\ud{letter}" in lowered for letter in "89abcdef")


def _check_whole(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _refused(f"{what} holds half a character (a lone surrogate)") from None


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_float, parse_int=_int, parse_constant=_constant)
