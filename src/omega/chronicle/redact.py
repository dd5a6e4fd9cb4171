"""What of a value may be kept and shown: content levels, redaction by path, by schema, and by detectors. Pure.

Three levels, chosen per tenant:

    anonymous   kind, size and salted commitment of a value: it can be proved later and says nothing now
    redacted    the value with what the rules name taken out, first by path, then whatever a detector finds in the text that is left
    full        the value as it is; whoever keeps it seals it

Paths come first because they are exact: a schema says which fields are sensitive, and a field is taken out whatever it holds. Detectors
are the second net, for free text. They find what has a form of its own (a checksum, a prefix, a grammar), so that digits which
merely look alike stay; names and addresses have no form, and no detector here claims to find them.

Paths are a part of JSONPath (RFC 9535): `$.user.email`, `$.items[*].card`, `$.items[0]`, `$['odd name']`, `$.any.*`, and `$..secret` at
any depth. They are compiled once into one tree; a value is walked once for all of them and copied only along what changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omega.kernel.errors import InputError

MARK = "[redacted]"
"""What stands where a value was taken out."""

MAX_PATHS = 1024
"""Most paths of one set of rules, and most that a schema may give."""

MAX_STEPS = 64
"""Most steps of a path, and deepest nesting of a schema that is read."""

MAX_DEPTH = 200
"""Deepest nesting of a value that is walked; whatever lies below is taken out, because nothing else is safe."""

MAX_TEXT = 1 << 20
"""Longest text that detectors read; a longer one is taken out as a whole."""

SENSITIVE = "x-sensitive"
"""The keyword that marks a field of a JSON Schema; `writeOnly` and the format `password` count as well."""

SUBJECT = "x-subject"
"""The keyword that marks a field of a JSON Schema which names whom the data is about."""

_STEP = re.compile(r"\.\.(?P<deep>[\w-]+)|\.(?P<name>[\w-]+)|\.(?P<any>\*)|\[(?P<all>\*)\]|\[(?P<index>\d{1,9})\]|\['(?P<quoted>[^']+)'\]")


class Level(StrEnum):
    """How much of a value is kept."""

    ANONYMOUS = "anonymous"
    REDACTED = "redacted"
    FULL = "full"


@dataclass(slots=True)
class _Node:
    """Where the paths go on from here: by name or index, by `*`, at any depth; `out` ends a path."""

    out: bool = False
    every: _Node | None = None
    named: dict[str | int, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds one kind of text: what `pattern` matches and `holds` confirms."""

    name: str
    pattern: re.Pattern[str]
    hint: str
    holds: Callable[[str], bool] = field(default=lambda found: True)

    def cleaned(self, text: str) -> str:
        """`text` with each find replaced by the name of its kind. `hint` is a letter without which there is no find."""
        if self.hint and self.hint not in text:
            return text
        return self.pattern.sub(lambda match: f"[{self.name}]" if self.holds(match[0]) else match[0], text)


class Rules:
    """Compiled rules: `paths` that are taken out, names taken out at any depth, and `detectors` for the text that remains."""

    def __init__(self, paths: Iterable[str] = (), *, detectors: Sequence[Detector] = (), mark: object = MARK) -> None:
        """Raises InputError (OMG-I001) for a path that makes no sense, or too many of them."""
        self.paths = tuple(dict.fromkeys(paths))
        if len(self.paths) > MAX_PATHS:
            raise InputError("OMG-I001", f"{len(self.paths)} paths are to be redacted; the limit is {MAX_PATHS}")
        self._root, self._deep = _Node(), set[str]()
        self._detectors = tuple(detectors)
        self._mark = mark
        for path in self.paths:
            self._add(path)

    def apply(self, value: Any) -> Any:
        """`value` (plain data) without what the rules take out; what does not change is shared with `value`, which stays as it is."""
        if self._deep or self._detectors:
            return self._swept(value, self._root, 0)
        return self._walked(value, self._root)

    def _add(self, path: str) -> None:
        steps = _steps(path)
        if isinstance(steps, str):
            self._deep.add(steps)
            return
        node = self._root
        for step in steps:
            if step is None:
                node.every = node.every or _Node()
                node = node.every
            else:
                node = node.named.setdefault(step, _Node())
        node.out = True

    def _walked(self, value: Any, node: _Node) -> Any:
        """Follow the paths alone: what no path names is not looked at."""
        if node.out:
            return self._mark
        copy: Any = None
        if isinstance(value, dict):
            names: Iterable[Any] = value if node.every is not None else node.named
        elif isinstance(value, list):
            names = range(len(value)) if node.every is not None else node.named
        else:
            return value
        for name in names:
            inner = _inner(value, name)
            if inner is _NOTHING:
                continue
            after = inner
            for under in (node.named.get(name), node.every):
                if under is not None:
                    after = self._walked(after, under)
            if after is not inner:
                copy = value.copy() if copy is None else copy
                copy[name] = after
        return value if copy is None else copy

    def _swept(self, value: Any, node: _Node | None, depth: int) -> Any:
        """Look at everything: for names at any depth, and for text."""
        if (node is not None and node.out) or depth > MAX_DEPTH:
            return self._mark
        if isinstance(value, str):
            return self._cleaned(value)
        if isinstance(value, dict):
            items: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list):
            items = enumerate(value)
        else:
            return value
        copy: Any = None
        for name, inner in items:
            after = self._mark if isinstance(name, str) and name in self._deep else self._under(inner, node, name, depth)
            if after is not inner:
                copy = value.copy() if copy is None else copy
                copy[name] = after
        return value if copy is None else copy

    def _under(self, inner: Any, node: _Node | None, name: str | int, depth: int) -> Any:
        """One member of a value: along its own path, and along `*` where that goes on too."""
        under = [] if node is None else [each for each in (node.named.get(name), node.every) if each is not None]
        after = self._swept(inner, under[0] if under else None, depth + 1)
        for other in under[1:]:
            after = self._walked(after, other)
        return after

    def _cleaned(self, text: str) -> Any:
        if len(text) > MAX_TEXT and self._detectors:
            return self._mark
        for detector in self._detectors:
            text = detector.cleaned(text)
        return text


def content(value: Any, level: Level, rules: Rules, *, encode: Callable[[Any], bytes], commit: Callable[[bytes, bytes], bytes]) -> Any:
    """What is kept of `value` at `level`. `encode` gives its canonical bytes, `commit` is `Sealer.commit`; both serve `anonymous` only."""
    if level is Level.FULL:
        return value
    if level is Level.REDACTED:
        return rules.apply(value)
    raw = encode(value)
    return {"kind": _kind(value), "bytes": len(raw), "commitment": commit(raw, b"content").hex()}


def sensitive_paths(schema: Mapping[str, Any]) -> list[str]:
    """The paths that a JSON Schema marks as sensitive, through references, lists, maps and alternatives, sorted.

    A field that contains itself is followed down to `MAX_STEPS`, never for ever: what lies deeper is taken out with its parent.
    Raises InputError (OMG-I001) when there are more than `MAX_PATHS`.
    """
    return _marked(schema, _is_sensitive)


def subject_paths(schema: Mapping[str, Any]) -> list[str]:
    """The paths that a JSON Schema marks as naming whom the data is about, sorted. Raises InputError (OMG-I001) for too many."""
    return _marked(schema, _is_subject)


def picked(value: Any, path: str) -> Iterator[Any]:
    """What lies in `value` at `path` (`$` is the value itself). Raises InputError (OMG-I001) for a path at any depth, or none at all."""
    steps = [] if path == "$" else _steps(path)
    if isinstance(steps, str):
        raise InputError("OMG-I001", f"{path[:80]!r} means any depth: name the way to what is picked")
    found = [value]
    for step in steps:
        found = [inner for each in found for inner in _members(each, step)]
    yield from found


def _members(value: Any, step: str | int | None) -> list[Any]:
    if step is None:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    inner = _inner(value, step)
    return [] if inner is _NOTHING else [inner]


def _is_sensitive(schema: Mapping[str, Any]) -> bool:
    return schema.get(SENSITIVE) is True or schema.get("writeOnly") is True or schema.get("format") == "password"


def _is_subject(schema: Mapping[str, Any]) -> bool:
    return schema.get(SUBJECT) is True


def _marked(schema: Mapping[str, Any], is_marked: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    found: set[str] = set()
    _mark_schema(schema, schema, "$", (), found, is_marked)
    if len(found) > MAX_PATHS:
        raise InputError("OMG-I001", f"the schema marks more than {MAX_PATHS} paths")
    return sorted(found)


def _mark_schema(
    schema: Any, root: Mapping[str, Any], path: str, seen: tuple[str, ...], found: set[str], is_marked: Callable[[Mapping[str, Any]], bool]
) -> None:
    if not isinstance(schema, Mapping) or len(found) > MAX_PATHS:
        return
    if is_marked(schema) or len(seen) > MAX_STEPS:
        found.add(path)
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in seen:
            found.add(path)  # it contains itself: there is no path for every depth, so it goes as a whole
            return
        _mark_schema(_resolved(root, reference), root, path, (*seen, reference), found, is_marked)
    for name, inner in _mapping(schema.get("properties")).items():
        _mark_schema(inner, root, f"{path}.{name}" if re.fullmatch(r"[\w-]+", name) else f"{path}['{name}']", seen, found, is_marked)
    for keyword, step in (("items", "[*]"), ("additionalProperties", ".*")):
        _mark_schema(schema.get(keyword), root, path + step, seen, found, is_marked)
    for keyword in ("anyOf", "allOf", "oneOf", "prefixItems"):
        each = schema.get(keyword)
        for at, inner in enumerate(each if isinstance(each, list) else ()):
            _mark_schema(inner, root, f"{path}[{at}]" if keyword == "prefixItems" else path, seen, found, is_marked)


def _resolved(root: Mapping[str, Any], reference: str) -> Any:
    """What `#/$defs/Name` points to; nothing for any other form."""
    found: Any = root
    for name in reference.removeprefix("#/").split("/") if reference.startswith("#/") else ("",):
        found = _mapping(found).get(name.replace("~1", "/").replace("~0", "~"))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_NOTHING = object()


def _inner(value: Any, name: str | int) -> Any:
    """The member `name` of a dict or list, if it is there."""
    if isinstance(value, dict):
        return value.get(name, _NOTHING)
    return value[name] if isinstance(name, int) and name < len(value) else _NOTHING


def _steps(path: str) -> list[str | int | None] | str:
    """The steps of `path` (None for `*`), or the name that it means at any depth. Raises InputError (OMG-I001)."""
    steps: list[str | int | None] = []
    at = 1
    while path.startswith("$") and at < len(path) and len(steps) < MAX_STEPS:
        match = _STEP.match(path, at)
        if match is None:
            break
        at = match.end()
        if match["deep"] is not None:
            if not steps and at == len(path):
                return match["deep"]
            steps.clear()
            break
        steps.append(match["name"] or match["quoted"] or (int(match["index"]) if match["index"] else None))
    if not steps or at != len(path):
        raise InputError("OMG-I001", f"{path[:80]!r} is no path to redact", advice="write $.name, $.list[*].name, $['name'] or $..name")
    return steps


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return kinds.get(type(value), "value")


def _digits(text: str) -> list[int]:
    return [int(letter) for letter in text if letter.isdigit()]


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: of a length that the issuer of its first digits uses, the last one Luhn's check digit."""
    digits = _digits(text)
    doubled = [digit if at % 2 == 0 else digit * 2 - 9 * (digit > 4) for at, digit in enumerate(reversed(digits))]
    return len(digits) in _CARD_LENGTHS.get(digits[0], ()) and len(set(digits)) > 1 and sum(doubled) % 10 == 0


_CARD_LENGTHS: Mapping[int, tuple[int, ...]] = {2: (16,), 3: (14, 15, 16), 4: (13, 16, 19), 5: (16,), 6: (16, 17, 18, 19)}


def _is_iban(text: str) -> bool:
    """ISO 13616: moved behind and read as a number, the whole leaves 1 when divided by 97."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _is_ssn(text: str) -> bool:
    """A number that the Social Security Administration can have given: no area 000, 666 or 9xx, no group 00, no serial 0000."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "private key",
        re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s:,-]{0,20000}?-----END [A-Z ]{0,20}-----"),
        "-----",
    ),
    Detector("token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"), "eyJ"),
    Detector("password", re.compile(r"(?<=://)[^\s:/@]{1,100}:[^\s/@]{1,200}(?=@)"), "://"),
    Detector("email", re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"), "@"),
    Detector("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), "", _is_iban),
    Detector("card", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?!\w|[.-]\w)"), "", _is_card),
    Detector("ssn", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), "-", _is_ssn),
    Detector("phone", re.compile(r"(?<![\w+])\+[1-9]\d{0,2}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}(?!\w)"), "+"),
)
"""What is found by its form: keys, tokens, passwords in addresses, e-mail, IBAN (with checksum), cards (with checksum), US social
security numbers, international telephone numbers (E.164)."""
