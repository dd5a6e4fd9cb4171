"""JSON in its one canonical form (RFC 8785, JSON Canonicalization Scheme): what two parties sign and verify byte for byte.

members    sorted by the UTF-16 code units of their names
text       UTF-8, with the shortest escapes and nothing else escaped
numbers    as ECMAScript writes a double (ECMA-262, Number::toString), so 1.0 and 1 are the same
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from omega.kernel.errors import InputError

SAFE: Final = 1 << 53
"""Whole numbers up to here are held exactly by a double; of those beyond only some are, and the others have no canonical form."""

DOUBLE_BITS: Final = 1_023
"""Whole numbers of more bits may be beyond every double."""

POINT_TO: Final = 21
"""Numbers below 10 to this are written without an exponent (ECMA-262)."""

POINT_FROM: Final = -6
"""Numbers from 10 to this power on are written without an exponent (ECMA-262)."""


def canonical(value: Any) -> bytes:
    """`value` in canonical form. Raises InputError (OMG-I001) for what JSON or a double cannot hold."""
    try:
        return _text(value).encode("utf-8")
    except (UnicodeEncodeError, RecursionError) as error:
        raise InputError("OMG-I001", "the value has no canonical form: half a character, or too many levels") from error


def _text(value: Any) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in sorted(value, key=_units)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(each) for each in value) + "]"
    raise InputError("OMG-I001", f"{type(value).__name__} is no JSON")


def _units(name: Any) -> bytes:
    """A member's name as its UTF-16 code units, big end first: they compare as RFC 8785, 3.2.3 asks."""
    if not isinstance(name, str):
        raise InputError("OMG-I001", "the name of a member is text")
    return name.encode("utf-16-be")


def _whole(value: int) -> str:
    if abs(value) <= SAFE:
        return str(value)
    text = _double(float(value)) if value.bit_length() <= DOUBLE_BITS else ""
    if text != str(value) and (not text or int(float(value)) != value):
        raise InputError("OMG-I001", "a whole number that no double holds has no canonical form")
    return text


def _double(value: float) -> str:
    if not math.isfinite(value):
        raise InputError("OMG-I001", "JSON has no infinities, and nothing that is no number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(power or 0) if whole != "0" else int(power or 0) - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """`digits` with the decimal point after the first `point` of them, as ECMAScript writes it."""
    count = len(digits)
    if count <= point <= POINT_TO:
        return digits + "0" * (point - count)
    if 0 < point <= POINT_TO:
        return f"{digits[:point]}.{digits[point:]}"
    if POINT_FROM < point <= 0:
        return "0." + "0" * -point + digits
    shown = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{shown}e{'+' if point > 0 else '-'}{abs(point - 1)}"
