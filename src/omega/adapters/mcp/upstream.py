"""What is known of a tool server: how to reach it, as data that can be stored and shown. Secrets are named, never held."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.sandbox import PLAIN, Sandbox

START_TIMEOUT_S: Final = 30.0
"""Default patience with a server that starts: interpreted ones on a cold disk take seconds."""

MAX_TIMEOUT_S: Final = 3_600.0

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(r"(?P<scheme>[A-Za-z][\w-]* )?(?P<kind>env|plain|user):(?P<rest>.*)", re.DOTALL)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Secrets = Callable[[str], str | None]
"""Looks up a named secret (an environment variable); None when there is none."""


class Transport(StrEnum):
    """How a server is spoken to: over the standard streams of a process we start, over streamable HTTP, over its predecessor (HTTP
    with SSE, 2024-11-05), or as plain requests to an interface that an OpenAPI document describes."""

    STDIO = "stdio"
    HTTP = "http"
    SSE = "sse"
    OPENAPI = "openapi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One MCP server. `argv`, `env`, `cwd` and `sandbox` (what it may do here) belong to stdio, `url` and `headers` to HTTP; `api` is what
    was read of an interface (`omega.host.openapi`), whose `url` is where it is served.

    The values of `env` and `headers` are references: `env:NAME` stands for the environment variable NAME at the moment of the
    launch, `user:NAME` for the secret NAME of whoever calls, `plain:TEXT` for TEXT itself; a scheme may precede them (`Bearer env:TOKEN`).
    A server with a `user:` reference is spoken to in a session of its own for each caller. `timeout_s` is the patience with its
    start and with its list of tools; a call has a timeout of its own.
    Raises InputError (OMG-I001) when the parts do not fit together.
    """

    name: str
    transport: Transport
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = START_TIMEOUT_S
    api: Mapping[str, Any] = field(default_factory=dict)
    sandbox: Sandbox = PLAIN

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise InputError("OMG-I001", f"tool server {self.name!r}: {problem}")

    @property
    def per_user(self) -> bool:
        """Whether its credentials are the caller's own, so that no two callers share a session."""
        references = (*self.env.values(), *self.headers.values())
        return any(parts["kind"] == "user" for parts in map(_REFERENCE.fullmatch, references) if parts is not None)

    def to_json(self) -> dict[str, Any]:
        """The record as plain data; holds references, no secret."""
        more: dict[str, Any] = {"api": dict(self.api)} if self.api else {}
        if self.sandbox != PLAIN:
            more["sandbox"] = self.sandbox.to_json()
        return more | {
            "name": self.name,
            "transport": self.transport.value,
            "argv": list(self.argv),
            "env": dict(self.env),
            "cwd": self.cwd,
            "url": self.url,
            "headers": dict(self.headers),
            "timeout_s": self.timeout_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Upstream:
        """The record from plain data. Raises InputError (OMG-I001) when something is missing, unknown or of the wrong type."""
        unknown = set(data) - {known.name for known in fields(cls)}
        if unknown:
            raise InputError("OMG-I001", f"tool server record: unknown field {sorted(unknown)[0]}")
        try:
            return cls(
                name=_text(data["name"]),
                transport=Transport(data["transport"]),
                argv=tuple(_text(part) for part in data.get("argv", ())),
                env=_texts(data.get("env", {})),
                cwd=None if data.get("cwd") is None else _text(data["cwd"]),
                url=_text(data.get("url", "")),
                headers=_texts(data.get("headers", {})),
                timeout_s=float(data.get("timeout_s", START_TIMEOUT_S)),
                api=dict(data.get("api", {})),
                sandbox=Sandbox.from_json(data["sandbox"]) if "sandbox" in data else PLAIN,
            )
        except KeyError as error:
            raise InputError("OMG-I001", f"tool server record: field {error.args[0]} is missing") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError("OMG-I001", f"tool server record: {error}") from error


def nothing(name: str) -> str | None:
    """The secrets of a caller who has none."""
    return None


def resolve(upstream: Upstream, references: Mapping[str, str], secrets: Secrets, own: Secrets = nothing) -> dict[str, str]:
    """The values that `references` (of `env` or `headers`) stand for; `own` are the caller's secrets.

    Raises UpstreamError (OMG-M001) naming what is not there.
    """
    resolved: dict[str, str] = {}
    for key, reference in references.items():
        parts = _REFERENCE.fullmatch(reference)
        if parts is None:
            raise InputError("OMG-I001", f"tool server {upstream.name}: {key} is not a reference")
        value: str | None = parts["rest"]
        if parts["kind"] != "plain":
            value = (secrets if parts["kind"] == "env" else own)(parts["rest"])
        if value is None:
            raise _missing(upstream, parts["kind"], parts["rest"])
        resolved[key] = f"{parts['scheme'] or ''}{value}"
    return resolved


def _missing(upstream: Upstream, kind: str, name: str) -> UpstreamError:
    if kind == "env":
        return UpstreamError(
            "OMG-M001",
            f"{upstream.name} needs the environment variable {name}, which is not set",
            advice=f"set {name}, then try again",
            details={"server": upstream.name, "variable": name},
        )
    return UpstreamError(
        "OMG-M001",
        f"{upstream.name} is called with the caller's own {name}, and the caller has left none here",
        advice=f"leave it, as that caller: omega mcp credential {name}",
        details={"server": upstream.name, "credential": name},
    )


def secret_values(upstream: Upstream, secrets: Secrets, own: Secrets = nothing) -> tuple[str, ...]:
    """The secrets that the record names, as far as they are set: what must never show in an error."""
    values = []
    for reference in (*upstream.env.values(), *upstream.headers.values()):
        parts = _REFERENCE.fullmatch(reference)
        if parts is not None and parts["kind"] != "plain" and (value := (secrets if parts["kind"] == "env" else own)(parts["rest"])):
            values.append(value)
    return tuple(values)


def _problem(upstream: Upstream) -> str:
    if _NAME.fullmatch(upstream.name) is None:
        return "a name has lower-case letters, digits, '-', '_' and '.', starts with a letter, and has at most 64 characters"
    if not 0 < upstream.timeout_s <= MAX_TIMEOUT_S:
        return f"the timeout must lie between 0 and {MAX_TIMEOUT_S:g} s"
    for kind, references in (("environment variable", upstream.env), ("header", upstream.headers)):
        for key, reference in references.items():
            parts = _REFERENCE.fullmatch(reference)
            if parts is None or (parts["kind"] != "plain" and _VARIABLE.fullmatch(parts["rest"]) is None):
                return f"{kind} {key} must be given as env:NAME, user:NAME or plain:TEXT"
    if upstream.api and upstream.transport is not Transport.OPENAPI:
        return "operations belong to an interface that is described by OpenAPI"
    return _stdio_problem(upstream) if upstream.transport is Transport.STDIO else _http_problem(upstream)


def _stdio_problem(upstream: Upstream) -> str:
    if not upstream.argv or not upstream.argv[0]:
        return "a stdio server needs a command"
    if upstream.url or upstream.headers:
        return "a stdio server has no url and no headers"
    return ""


def _http_problem(upstream: Upstream) -> str:
    if upstream.argv or upstream.env or upstream.cwd is not None or upstream.sandbox != PLAIN:
        return "an HTTP server has no command, environment, folder or sandbox"
    try:
        url = urlsplit(upstream.url)
        host, _ = url.hostname, url.port
    except ValueError:
        return "the url does not parse"
    if url.scheme not in ("http", "https") or not host:
        return "the url must begin with https:// or http:// and name a host"
    if url.username is not None or url.password is not None:
        return "the url must not hold a user name or password; put a reference into a header"
    if url.scheme == "http" and upstream.headers and host not in _LOOPBACK:
        return "headers are sent over https, or to this machine, only"
    return ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(key): _text(item) for key, item in value.items()}
