"""Personal data and secrets that have a form of their own (a checksum, a prefix, a grammar), by the detectors of the chronicle."""

from __future__ import annotations

from collections.abc import Iterator

from omega.chronicle.redact import DETECTORS, MAX_TEXT, Rules

_RULES = Rules(detectors=DETECTORS)


def kinds(text: str) -> tuple[str, ...]:
    """The kinds of personal data in `text`, by name; a text too long to be read counts as one."""
    return tuple(dict.fromkeys(_kinds(text)))


def without(text: str) -> str:
    """`text` with each find replaced by the name of its kind."""
    return str(_RULES.apply(text))


def _kinds(text: str) -> Iterator[str]:
    if len(text) > MAX_TEXT:
        yield "text too long to be read"
        return
    for detector in DETECTORS:
        if detector.hint and detector.hint not in text:
            continue
        if any(detector.holds(match[0]) for match in detector.pattern.finditer(text)):
            yield detector.name
