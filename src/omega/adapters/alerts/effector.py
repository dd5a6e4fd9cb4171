"""The effector of alerts: one message to one channel.

    webhook   POST of the alert as JSON
    slack     POST of {"text": ...}, which incoming webhooks of Slack, Mattermost and others take
    mail      SMTP (RFC 5321), with STARTTLS or TLS from the start; without either to this machine alone

A channel is an operator's choice and may lead into a private network. Its address may hold a secret, and is in no error.
"""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from omega.kernel.effects import Notify, Receipt, Request
from omega.kernel.errors import InputError, UpstreamError, lacking
from omega.kernel.verdict import Permit

TIMEOUT_S: Final = 20.0
MAX_ANSWER: Final = 64 << 10
MAX_TEXT: Final = 8 << 10
"""Longest text of an alert, in characters."""

KINDS: Final = ("webhook", "slack", "mail")
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
NOT_DELIVERED: Final = "OMG-P010"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a channel leads: `kind` is one of `KINDS`; `url` is https:// (http:// on this machine), or smtp://, smtps:// with user and
    password; mail goes from `sender` to `receivers`. Raises InputError (OMG-I001), which never repeats the address."""

    kind: str
    url: str = field(repr=False)
    sender: str = ""
    receivers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("OMG-I001", f"{self.kind[:40]!r} is no kind of channel (known: {', '.join(KINDS)})")
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        schemes = ("smtp", "smtps") if self.kind == "mail" else ("https", "http")
        if not host or parts.scheme not in schemes or (parts.scheme == "http" and host not in LOCAL):
            raise InputError("OMG-I001", f"a channel of the kind {self.kind} has an address that begins with {schemes[0]}://")
        if self.kind == "mail" and (not self.receivers or not all(map(_is_mail, (self.sender, *self.receivers)))):
            raise InputError("OMG-I001", "mail goes from somebody to somebody: name@host")


Find = Callable[[str, str], Address]
"""The address of a tenant's channel by name. Raises InputError (OMG-I003)."""


class AlertEffector:
    """Serves `Notify`."""

    port = Notify.port

    def __init__(self, find: Find) -> None:
        self._find = find

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives None once the channel has taken the message. Raises UpstreamError (OMG-P010), InputError (OMG-I001, OMG-I003)."""
        permit.spend(self.port)
        if not isinstance(request, Notify) or len(request.title) + len(request.text) > MAX_TEXT:
            raise InputError("OMG-I001", f"an alert has a title and a text, of at most {MAX_TEXT:,} characters together")
        address = self._find(permit.tenant, request.channel)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if address.kind == "mail":
                    sent = await asyncio.to_thread(_mail, address, request)
                else:
                    sent = await _post(address, _document(address.kind, permit.tenant, request))
        except TimeoutError:
            raise _failed(request.channel, f"did not answer within {TIMEOUT_S:.0f} s", sent=True) from None
        return None, Receipt(bytes_out=sent)


def _document(kind: str, tenant: str, alert: Notify) -> bytes:
    if kind == "slack":
        return json.dumps({"text": f"*[{alert.severity}] {alert.title}*\n{alert.text}"}).encode()
    facts = {"tenant": tenant, "severity": alert.severity, "title": alert.title, "text": alert.text, "key": alert.key}
    return json.dumps(facts, sort_keys=True).encode()


async def _post(address: Address, body: bytes) -> int:
    try:
        import aiohttp
    except ImportError as error:
        raise lacking("aiohttp") from error
    lines = {"content-type": "application/json", "user-agent": "omega-alerts/1"}
    try:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False) as http,
            http.post(address.url, data=body, headers=lines, allow_redirects=False) as response,
        ):
            await response.content.read(MAX_ANSWER)
            status = response.status
    except (aiohttp.ClientError, OSError) as error:
        raise _failed("", f"cannot be reached ({type(error).__name__})", sent=not isinstance(error, aiohttp.ClientConnectorError)) from None
    if not 200 <= status < 300:
        raise _failed("", f"answered with status {status}", sent=True)
    return len(body)


def _mail(address: Address, alert: Notify) -> int:
    """Send one mail. User and password leave only over TLS, or on this machine."""
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    message = EmailMessage()
    message["From"], message["To"] = address.sender, ", ".join(address.receivers)
    message["Subject"] = f"[{alert.severity}] {alert.title}".replace("\n", " ").replace("\r", " ")
    message.set_content(alert.text)
    made = _connected(parts.scheme, host, parts.port)
    try:
        with made as server:
            if parts.scheme == "smtp" and host not in LOCAL:
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise _failed("", f"cannot be mailed to ({type(error).__name__})", sent=True) from None
    return len(bytes(message))


def _connected(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    """A connection to a mail server. Raises UpstreamError (OMG-P010) when there is none."""
    try:
        if scheme == "smtps":
            return smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return smtplib.SMTP(host, port or 587, timeout=TIMEOUT_S)
    except (smtplib.SMTPException, OSError) as error:
        raise _failed("", f"cannot be reached ({type(error).__name__})", sent=False) from None


def _is_mail(text: str) -> bool:
    name, at, host = text.partition("@")
    return bool(name and at and host) and text.isprintable() and not any(sign in text for sign in ' ,;<>"') and len(text) <= 254


def _failed(channel: str, what: str, *, sent: bool) -> UpstreamError:
    return UpstreamError(NOT_DELIVERED, f"the channel{f' {channel}' if channel else ''} {what}", details={"sent": sent})
