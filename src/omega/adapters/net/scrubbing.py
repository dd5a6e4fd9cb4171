"""Credentials out of answers: whoever was sent one may send it back in an error, a page or a value, and from there it would be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from omega.adapters.net.web import WebAnswer

MIN_SECRET: Final = 6
"""Values shorter than this are left alone: they would tear ordinary text apart."""

IN_PLACE: Final = b"***"

_RUN: Final = re.compile(r"[A-Za-z0-9]+")


class Scrubber:
    """Puts `***` in place of `secrets` in what came from outside: as they are, escaped as in JSON, or percent-encoded as in an address.

    It is no wall against a server that means harm, which may write what it was sent in any other way.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= MIN_SECRET}, key=len, reverse=True)
        self._sought = [(_rarest(secret), _pattern(secret)) for secret in known]

    def clean(self, body: bytes) -> bytes:
        """`body` without the secrets."""
        for run, pattern in self._sought:
            if run in body:
                body = pattern.sub(IN_PLACE, body)
        return body

    def answer(self, answer: WebAnswer) -> WebAnswer:
        """An answer without the secrets, in its headers as in its body."""
        if not self._sought:
            return answer
        headers = {
            name: self.clean(value.encode(errors="surrogateescape")).decode(errors="replace") for name, value in answer.headers.items()
        }
        return replace(answer, headers=headers, body=self.clean(answer.body))


def _rarest(secret: str) -> bytes:
    """The longest run of letters and digits, which nobody escapes: a body without it is not searched any further."""
    return max(_RUN.findall(secret), key=len, default="").encode()


def _pattern(secret: str) -> re.Pattern[bytes]:
    return re.compile(b"".join(map(_forms, secret)))


def _forms(letter: str) -> bytes:
    """How one character may be written: as it is, `\\"`, `\\u0022` (RFC 8259, 7; two of them beyond U+FFFF) or `%22` (RFC 3986, 2.1). The
    longest comes first, for nothing of it may be left behind."""
    raw = letter.encode(errors="surrogateescape")
    if letter.isascii() and letter.isalnum():
        return raw
    units = letter.encode("utf-16-be", errors="surrogatepass")
    escaped = b"".join(rb"\\u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2))
    percent = b"".join(b"%%%02x" % byte for byte in raw)
    plain = re.escape(raw)
    return b"(?:(?i:%s|%s)|%s%s)" % (escaped, percent, rb"\\?" if letter in '"\\/' else b"", plain)
