"""File names as text that is safe to print and can be turned back into the exact bytes.

A Git path is bytes, a report is text. Names may hold newlines, quotes, invalid UTF-8, terminal escapes or characters that reorder
what a reader sees. `shown` maps bytes to printable text, one to one: a backslash becomes two, whatever does not print becomes
`\\xNN`, byte by byte. `raw` is its inverse. Ordinary names, in any script, stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote_from_bytes

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that do not print or that change how their neighbours print: controls, formats, separators, unassigned."""

_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")
_C_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_C_NAMED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r", b'"': b'"', b"\\": b"\\"}


def shown(path: bytes) -> str:
    """`path` as printable text; equal texts mean equal paths."""
    return "".join(_shown_character(character) for character in path.decode("utf-8", "surrogateescape"))


def raw(text: str) -> bytes:
    """The bytes that `shown` turned into `text`."""
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", text.encode())


def uri(text: str) -> str:
    """The path behind `text` as a relative URI reference (RFC 3986): every byte outside the unreserved set and `/` is escaped."""
    return quote_from_bytes(raw(text), safe="/")


def plain(text: str) -> bool:
    """Whether a shown name is the name itself and can be handed to any program: no escapes, no quotes."""
    return not set(text) & set("\\\"'`")


def unquoted(name: bytes) -> bytes:
    """A name as Git prints it in a diff header: itself, or C-quoted between double quotes."""
    if not (len(name) > 1 and name[:1] == name[-1:] == b'"'):
        return name
    return _C_ESCAPE.sub(lambda match: _C_NAMED.get(match[1]) or bytes([int(match[1], 8) & 0xFF]), name[1:-1])


def is_test(path: str) -> bool:
    """Whether a Python file is a test by name or folder, as pytest and unittest look for them."""
    parts = path.split("/")
    in_folder = any(part in ("test", "tests", "testing") for part in parts[:-1])
    return parts[-1].startswith("test_") or parts[-1].endswith("_test.py") or (in_folder and parts[-1] in ("conftest.py", "tests.py"))


def one_line(text: str, limit: int) -> str:
    """Foreign text made harmless for one line of a report: what does not print becomes a space, and it is cut at `limit` characters."""
    clean = " ".join("".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _shown_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) in _HIDDEN:
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return character
