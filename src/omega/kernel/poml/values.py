"""Reading values: what may stand at a place of a document, and what it means there. Every method reports what is wrong, with its place.

Kinds of nodes and the document itself are made of these (`omega.kernel.poml.kinds`, `omega.kernel.poml.reader`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omega.kernel.compose import seconds
from omega.kernel.effects import Effect
from omega.kernel.errors import DefinitionError
from omega.kernel.poml.connect import Chain, Name, NotAnExpression, parse_chain
from omega.kernel.poml.document import READ_MINOR, Typed
from omega.kernel.poml.layout import plain_of
from omega.kernel.poml.problems import Mark, Problems, quoted
from omega.kernel.poml.tree import Branch, Scalar, Value

SEMANTIC = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}([-+][0-9A-Za-z.-]{1,40})?")
TYPE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Read = Callable[["Values", Value], Any]
"""How one value is read."""


class Bad(Exception):
    """A value that was reported."""


class Values:
    """Reads the values of one tree. Every method that takes a value returns what it means or raises Bad after reporting."""

    def __init__(self, problems: Problems, root: Branch) -> None:
        self.problems = problems
        self.root = root
        self.minor = 0  # of the format version: above READ_MINOR there may be keys of which nothing is known here
        self.places: dict[int, tuple[Mark, bool]] = {}  # of expressions: where they begin, and whether offsets count from there

    # -- shapes

    def bad(self, value: Value | Mark, message: str, expected: str, code: str = "OMG-L003") -> Bad:
        """Report; the caller raises what is returned."""
        self.problems.add(code, value if isinstance(value, Mark) else value.at, message, expected=expected)
        return Bad()

    def branch(self, value: Value, expected: str, *, keyed: bool) -> Branch:
        if not isinstance(value, Branch) or value.keyed is not keyed:
            raise self.bad(value, f"{_what(value)} stands here", expected)
        return value

    def mapping(self, value: Value, known: Mapping[str, Read], what: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
        """A mapping with known keys, in order; what is wrong inside is reported and left out."""
        branch = self.branch(value, f"a mapping with {', '.join(required or known)}", keyed=True)
        result: dict[str, Any] = {}
        for item in branch.items:
            if item.key not in known and isinstance(item.value, Scalar) and item.value.value is None and not _WORD.fullmatch(item.key):
                cut = f"{quoted(item.key)} is what a comma cut off the text before it"
                self.problems.add("OMG-L003", item.at, cut, expected="quotes around a text that holds a comma")
                continue
            if item.key not in known:
                self.unknown(item.at, what, item.key, known)
                continue
            self.into(result, item.key, known[item.key], item.value)
        for key in required:
            if key not in {item.key for item in branch.items}:
                self.problems.add("OMG-L003", branch.at, f"the key `{key}` is missing", expected=f"a mapping with {', '.join(required)}")
        return result

    def unknown(self, at: Mark, what: str, given: str, known: Iterable[str]) -> None:
        """Report a word that is none of the known ones: a slip, or what a newer minor version of the format has added."""
        if self.minor > READ_MINOR:
            message = f"{what} {quoted(given)} is not known to this release, which reads 2.{READ_MINOR}; the document is 2.{self.minor}"
            self.problems.add("OMG-L010", at, message, expected="a newer release, or a document without it")
        else:
            self.problems.unknown("OMG-L003", at, what, given, known)

    def into(self, result: dict[str, Any], key: str, reader: Read, value: Value) -> None:
        try:
            result[key] = reader(self, value)
        except Bad:
            return

    def named(self, value: Value, reader: Read, pattern: re.Pattern[str], what: str) -> dict[str, Any]:
        """A mapping from names to values of one shape."""
        result: dict[str, Any] = {}
        for item in self.branch(value, f"a mapping from names to {what}s", keyed=True).items:
            if not pattern.fullmatch(item.key):
                self.problems.add(
                    "OMG-L003", item.at, f"{quoted(item.key)} cannot be the name of a {what}", expected="letters, digits, _, -, ."
                )
                continue
            self.into(result, item.key, reader, item.value)
        return result

    def scalar(self, value: Value, kind: type, expected: str) -> Any:
        found = value.value if isinstance(value, Scalar) else None
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            return float(found)
        if not isinstance(value, Scalar) or type(found) is not kind:
            raise self.bad(value, f"{_what(value)} stands here", expected)
        return found

    def matching(self, value: Value, pattern: re.Pattern[str], expected: str) -> str:
        text: str = self.scalar(value, str, expected)
        if not pattern.fullmatch(text):
            raise self.bad(value, f"{quoted(text)} stands here", expected)
        return text

    # -- values

    def chain(self, value: Value) -> Chain:
        text: str = self.scalar(value, str, "a node, or an expression such as a -> [b, c]")
        exact = isinstance(value, Scalar) and value.single_line
        try:
            chain = parse_chain(text)
        except NotAnExpression as error:
            at = value.at.right(error.offset) if exact else value.at
            raise self.bad(at, error.message, error.expected, "OMG-L009") from error
        self.places[id(chain)] = (value.at, exact)
        return chain

    def place(self, chain: Chain, name: Name) -> Mark:
        """Where a name of an expression stands; of one over several lines, where the expression begins."""
        at, exact = self.places.get(id(chain), (self.root.at, False))
        return at.right(name.offset) if exact else at

    def chains(self, value: Value) -> tuple[Chain, ...]:
        if isinstance(value, Scalar):
            return (self.chain(value),)
        branch = self.branch(value, "a list of nodes", keyed=False)
        if not branch.items:
            raise self.bad(value, "the list is empty", "at least one node")
        return tuple(self.chain(item.value) for item in branch.items)

    def duration(self, value: Value) -> float:
        expected = "a duration such as 500ms, 30s, 2m, 1h, 7d"
        if not isinstance(value, Scalar) or type(value.value) not in (str, int, float):
            raise self.bad(value, f"{_what(value)} stands here", expected)
        try:
            limit = seconds(value.value)
        except DefinitionError as error:
            raise self.bad(value, f"{quoted(str(value.value))} is no duration", expected) from error
        return limit if isinstance(value.value, str) else value.value  # a bare number stays what it is: digests tell 1 from 1.0

    def pause(self, value: Value) -> float:
        """A duration that may be zero."""
        zero = isinstance(value, Scalar) and type(value.value) in (int, float) and value.value == 0
        return value.value if zero and isinstance(value, Scalar) else self.duration(value)

    def count(self, value: Value, most: int) -> int:
        number: int = self.scalar(value, int, f"a whole number from 1 to {most:,}")
        if not 1 <= number <= most:
            raise self.bad(value, f"{number} is out of range", f"a whole number from 1 to {most:,}")
        return number

    def text(self, value: Value) -> str:
        text: str = self.scalar(value, str, "a text")
        return text

    def schema(self, value: Value) -> Mapping[str, Any]:
        branch = self.branch(value, "a JSON Schema", keyed=True)
        self._local(branch)
        data: Mapping[str, Any] = plain_of(branch)
        return data

    def _local(self, branch: Branch) -> None:
        """Nothing outside the document is fetched to know what a type means."""
        for item in branch.items:
            if isinstance(item.value, Branch):
                self._local(item.value)
            elif item.key in ("$ref", "$dynamicRef") and not str(item.value.value).startswith("#"):
                self.problems.add("OMG-L003", item.value.at, "a reference that leaves the document", expected="#/$defs/...")

    def typed(self, value: Value) -> Typed:
        if isinstance(value, Scalar):
            return Typed(self.scalar(value, str, "the name of a type, or a JSON Schema"), {}, value.at)
        return Typed("", self.schema(value), value.at)

    def version(self, value: Value) -> str:
        return self.matching(value, SEMANTIC, "three numbers, such as 1.2.3")

    def secret(self, value: Value) -> str:
        """The environment variable; what stands there instead is never repeated."""
        keys = [item.key for item in value.items] if isinstance(value, Branch) and value.keyed else []
        if keys != ["env"]:
            raise self.bad(value, "a secret is given by reference only", "{env: NAME}", "OMG-L007")
        variable = value.items[0].value if isinstance(value, Branch) else value
        if not isinstance(variable, Scalar) or not isinstance(variable.value, str) or not VARIABLE.fullmatch(variable.value):
            raise self.bad(variable, "no name of an environment variable", "{env: NAME}", "OMG-L007")
        return variable.value

    def reference(self, value: Value) -> tuple[str, Mark]:
        if not isinstance(value, Scalar) or not isinstance(value.value, str) or not VARIABLE.fullmatch(value.value):
            raise self.bad(value, "a secret is given by the name of an entry of `secrets`", "such a name", "OMG-L007")
        return value.value, value.at

    def strict(self, value: Value, known: Mapping[str, Read], what: str, required: tuple[str, ...]) -> dict[str, Any]:
        """A mapping that counts only when all of it was right."""
        before = len(self.problems.found)
        found = self.mapping(value, known, what, required)
        if len(self.problems.found) > before:
            raise Bad
        return found

    def factor(self, value: Value) -> float:
        self.scalar(value, float, "a number of at least 1")
        number: float = value.value if isinstance(value, Scalar) else 0
        if number < 1:
            raise self.bad(value, f"{number:g} is too small", "a number of at least 1")
        return number

    def share(self, value: Value) -> float:
        """A number that is not negative; whether it is too large is known where it is used."""
        number = value.value if isinstance(value, Scalar) else None
        if not isinstance(number, (int, float)) or isinstance(number, bool) or number < 0:
            raise self.bad(value, f"{_what(value)} stands here", "a number of at least 0")
        return number

    def whole(self, value: Value) -> int:
        number: int = self.scalar(value, int, "a whole number")
        return number

    def effect(self, value: Value) -> str:
        text = self.text(value)
        if text not in set(Effect):
            self.problems.unknown("OMG-L003", value.at, "effect", text, set(Effect))
            raise Bad
        return text

    def flag(self, value: Value) -> bool:
        answer: bool = self.scalar(value, bool, "true or false")
        return answer

    def words(self, value: Value) -> tuple[str, ...]:
        branch = self.branch(value, "a list of words", keyed=False)
        if not branch.items:
            raise self.bad(value, "the command is empty", "a program and its arguments")
        return tuple(self.text(item.value) for item in branch.items)

    def secrets_of(self, value: Value) -> dict[str, tuple[str, Mark]]:
        return self.named(value, Values.reference, re.compile(r"[A-Za-z0-9_-]{1,128}"), "variable")


def _what(value: Value) -> str:
    if isinstance(value, Branch):
        return "a mapping" if value.keyed else "a list"
    if value.value is None:
        return "nothing"
    if isinstance(value.value, str):
        return "a text"
    return quoted(value.literal or str(value.value)).strip("'")
