"""A key service over HTTPS: one request at a time on a connection that stays open, JSON both ways.

The port of a signer is synchronous and its guard makes each call in a thread of its own, so this is the standard library's client and no
event loop. Whoever runs Omega chose the address, so it may lie in a private network; http is spoken to this machine alone (an agent of
Vault listens there). Redirections are not followed, since a token goes with each request; proxies of the environment are not used.

    again      429 and what passes by itself (500, 502, 503, 504), a connection that broke: up to three times in all, with pauses. Signing
               again does no harm: the first signature was never used
    refused    everything else, in the service's own words up to a bound, without what was sent
    unusable   an answer that is no JSON object, or is too long: ValueError, which the guard tells as OMG-T006
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import ssl
import time
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from omega.kernel.errors import InputError

TRIES: Final = 3
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 1.0
"""Longest pause between two tries, whatever the service asks for: the caller has seconds."""

MAX_ANSWER: Final = 64 << 10
"""Longest answer in bytes: a signature or a public key takes some hundred, the versions of a key some thousand."""

AGAIN: Final = frozenset({429, 500, 502, 503, 504})
MAX_WORDS: Final = 120
_PIECE: Final = 16 << 10


class Unanswered(Exception):
    """The service cannot be reached, or refuses. `status` is that of HTTP, 0 where there was none."""

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


class KeyService:
    """One service at `base` (`https://HOST[:PORT]`). Not for two threads at once: a guard lets one in at a time."""

    def __init__(self, base: str, *, deadline_s: float, authorities: str = "", near: Collection[str] = ()) -> None:
        """`authorities` is a PEM file of those that may have signed the service's certificate, instead of the machine's own; to the hosts
        in `near` http is spoken as to this machine.

        Raises InputError (OMG-X001) for what is no such address or no such file.
        """
        self._connection: http.client.HTTPConnection | None = None
        self._secure, self._host, self._port = _place(base, near)
        self._deadline_s = deadline_s
        self._tls: ssl.SSLContext | None = None
        if self._secure:
            try:
                self._tls = ssl.create_default_context(cafile=authorities or None)
            except (OSError, ssl.SSLError) as error:
                raise InputError("OMG-X001", f"{authorities[:200]} holds no certificates of authorities") from error
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers. Raises Unanswered, ValueError for an answer that is none."""
        sent = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if body is not None else {}
        status, _, raw = self.fetch(method, path, sent, {"Accept": "application/json", **kind, **(headers or {})})
        if not 200 <= status < 300:
            raise Unanswered(f"it answers {status}{_words(raw)}", status)
        return _object(raw)

    def fetch(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (lower-case names) and body, whatever the status, after at most three tries. Raises Unanswered, ValueError."""
        end = time.monotonic() + self._deadline_s
        for number in range(TRIES):
            last = number + 1 == TRIES
            try:
                status, answered, raw = self._exchange(method, path, body, headers or {}, end)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if last or isinstance(error, (ssl.SSLCertVerificationError, TimeoutError)):
                    raise Unanswered(f"it cannot be reached ({type(error).__name__})") from error
                pause = 0.0 if number == 0 else FIRST_PAUSE_S  # mostly a connection that had stood open for too long
            else:
                if status not in AGAIN or last:
                    return status, answered, raw
                pause = _pause(number, answered)
            if time.monotonic() + pause >= end:
                raise Unanswered(f"it did not answer within {self._deadline_s:g} s")
            time.sleep(pause)
        raise Unanswered("it was not asked")

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], end: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = self._opened(end)
        connection.request(method, path, body, {"User-Agent": "omega/1", **headers})
        response = connection.getresponse()
        parts, size = [], 0
        while piece := response.read1(_PIECE):
            parts.append(piece)
            size += len(piece)
            if size > MAX_ANSWER or time.monotonic() > end:
                self._drop()
                raise ValueError("an answer without end")
        if (response.length or 0) > 0:
            raise http.client.IncompleteRead(b"", response.length)
        response.read()  # nothing is left, and the connection learns of it
        if response.will_close:
            self._drop()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, b"".join(parts)

    def _opened(self, end: float) -> http.client.HTTPConnection:
        patience = max(0.05, end - time.monotonic())
        if self._connection is None:
            if self._tls is not None:
                self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=patience, context=self._tls)
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=patience)
        if self._connection.sock is not None:
            self._connection.sock.settimeout(patience)
        return self._connection

    def __del__(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def text(found: Mapping[str, Any], *path: str) -> str:
    """The text at `path` in an answer. Raises ValueError when there is none."""
    at: Any = found
    for key in path:
        at = at.get(key) if isinstance(at, Mapping) else None
    if not isinstance(at, str) or not at:
        raise ValueError(f"the answer has no {'.'.join(path)}")
    return at


def is_this_machine(host: str) -> bool:
    """Whether `host` names this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def options(rest: str, known: Mapping[str, str], scheme: str) -> dict[str, str]:
    """The options of an address (`a=b&c=d`), each of those `known` (name to what it means). Raises InputError (OMG-X001)."""
    found = parse_qsl(rest, keep_blank_values=True)
    given = dict(found)
    unknown = given.keys() - known.keys()
    if unknown or len(given) != len(found) or "" in given.values():
        said = ", ".join(sorted(unknown))[:80] or "an option twice, or without a value"
        advice = f"known: {'; '.join(f'{name}: {meaning}' for name, meaning in known.items())}"
        raise InputError("OMG-X001", f"an address of {scheme} has no {said}", advice=advice)
    return given


def query(**values: str) -> str:
    """Options for the end of a path."""
    return "?" + urlencode(values)


def _place(base: str, near: Collection[str]) -> tuple[bool, str, int]:
    try:
        parts = urlsplit(base)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = parts.username is None and not parts.query and not parts.fragment and parts.path in ("", "/") and base.isprintable()
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise InputError("OMG-X001", f"{base[:80]!r} is no address of a key service", advice="write it as https://HOST:PORT")
    if parts.scheme == "http" and not (is_this_machine(host) or host in near):
        raise InputError("OMG-X001", "a token does not travel over http", advice="use https, or an agent on this machine")
    return parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80)


def _pause(number: int, headers: Mapping[str, str]) -> float:
    asked = headers.get("retry-after", "")
    wanted = float(asked) if asked.isascii() and asked.isdigit() else FIRST_PAUSE_S * 2**number * (0.5 + random.random())  # noqa: S311
    return min(wanted, MAX_PAUSE_S)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError("the answer is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    return found


def _words(raw: bytes) -> str:
    """What the service says of a refusal: `error` (Google and Azure: an object with `message`), or `errors` (Vault)."""
    try:
        found = _object(raw)
    except ValueError:
        return ""
    error, errors = found.get("error"), found.get("errors")
    said = error.get("message") if isinstance(error, dict) else (errors[0] if isinstance(errors, list) and errors else error)
    return f": {''.join(filter(str.isprintable, said))[:MAX_WORDS]}" if isinstance(said, str) else ""
