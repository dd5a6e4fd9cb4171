"""Reading the fields of a request: what is known is taken, what means nothing here is left, anything else is refused by name.

A field that is silently ignored is an answer to another question; so only those are ignored that cannot change the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omega.kernel.errors import InputError

MEANINGLESS = frozenset({"metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user"})
"""Fields about the caller's own bookkeeping at a provider: they are taken, and go no further."""


def wrong(param: str, why: str) -> InputError:
    """The error of a field; `param` is told in the error's place for it."""
    return InputError("OMG-I001", f"{param} {why}", advice="see docs/models.md for what is understood", details={"param": param})


def objects(body: Any, what: str) -> Mapping[str, Any]:
    """`body` as an object. Raises InputError (OMG-I001)."""
    if not isinstance(body, Mapping):
        raise wrong(what, "is a JSON object")
    return body


def known(body: Mapping[str, Any], taken: Iterable[str], neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuses a field that is neither `taken` nor meaningless; one in `neutral` may stand there with a value that changes nothing.

    Raises InputError (OMG-I001).
    """
    allowed = {*taken, *MEANINGLESS}
    for name, value in body.items():
        if name in allowed or value is None:
            continue
        if name in neutral:
            if value in neutral[name]:
                continue
            raise wrong(name[:80], f"can only be {' or '.join(map(repr, neutral[name]))} here")
        raise wrong(name[:80], "is not supported here")


def texts(content: Any, param: str, kinds: tuple[str, ...]) -> str | list[dict[str, str]] | None:
    """The content of a message: a text, or parts that are texts. Raises InputError (OMG-I001) for images, sound and files."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(param, "is a text or a list of parts")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in kinds or not isinstance(part.get("text"), str):
            raise wrong(param, f"holds a part that is no text: {str(kind)[:40]}")
        parts.append({"type": "text", "text": part["text"]})
    return parts


def given(source: Mapping[str, Any], names: Mapping[str, str], change: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
    """The fields of `source` that are given, under our names for them."""
    return {ours: change(source[theirs]) for theirs, ours in names.items() if source.get(theirs) is not None}
