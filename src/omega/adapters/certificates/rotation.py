"""Certificates in use: TLS contexts that follow renewed certificates and changed bundles, without a listener or a call being dropped.

A connection keeps what it began with. Each new one gets the certificate and the bundle of that moment: a server's context hands every
handshake over to the current one (in the callback after the client's first message), a client's takes the new certificate in place of the
old one. Only a root that leaves the bundle makes a new context for clients: what still holds the old one asks again.

A certificate is renewed at half its life, so that a renewal may fail for as long again before anything stands still.

Sessions are not resumed: a client whose root was taken out of the bundle is refused at its next connection, whatever ticket it kept.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from omega.adapters.certificates.authority import Issued
from omega.adapters.certificates.looking import Listening, handshake, heard, offer_hybrid_alone
from omega.kernel.errors import InputError, OmegaError

LOOK_S = 30.0
"""How often it is looked whether to renew, in seconds."""


class Credentials:
    """One workload's certificate and bundle, and TLS contexts that follow them.

    `renew` gives a fresh certificate, `bundle` the roots that count (PEM), `now` Unix seconds. The files `chain.pem`, `key.pem` and
    `bundle.pem` in `folder` are for programs that read them there (PostgreSQL, NATS): of this user alone, and replaced whole.
    """

    def __init__(self, folder: Path, *, renew: Callable[[], Issued], bundle: Callable[[], bytes], now: Callable[[], float]) -> None:
        self.folder = folder
        self._renew = renew
        self._bundle = bundle
        self._now = now
        self.renewals = 0
        self._roots = b""
        self._take(renew(), bundle())

    @property
    def ends_s(self) -> int:
        """The end of the certificate in use, in Unix seconds."""
        return self._issued.ends_s

    def look(self) -> bool:
        """Renew at half the certificate's life, and follow the bundle; whether anything changed. Raises what `renew` and `bundle` raise."""
        roots = self._bundle()
        due = self._now() >= self._half_s
        if not due and roots == self._roots:
            return False
        self._take(self._renew() if due else self._issued, roots)
        return True

    async def follow(self, told: Callable[[OmegaError], None] = lambda error: None) -> None:
        """Look for ever. What goes wrong is `told`, and tried again: the certificate in use lasts as long again."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except OmegaError as error:
                told(error)

    def server(self, *, demand: bool = True) -> ssl.SSLContext:
        """A context for a listener, for as long as it listens. It demands a certificate of every client unless `demand` is off, and then
        asks for one all the same."""
        outer = self._made(ssl.PROTOCOL_TLS_SERVER)
        outer.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL

        def current(handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            handshake.context = self._serving

        outer.sni_callback = current
        return outer

    def client(self) -> ssl.SSLContext:
        """The context for connections to others. The server must hold a certificate of the bundle for the name that is connected to."""
        return self._calling

    def look_at(self, server: ssl.SSLContext) -> Listening:
        """What a listener with that context does, seen in a handshake in memory. Raises InputError (OMG-X001) when there is none."""
        only = self._made(ssl.PROTOCOL_TLS_CLIENT)
        hybrid = handshake(server, only) if offer_hybrid_alone(only) else None
        seen = hybrid or handshake(server, self._calling)
        if seen is None:
            raise InputError("OMG-X001", "the listener completes no handshake", advice="omega keys certificates --renew")
        return heard(seen, hybrid=hybrid is not None, ends_s=self.ends_s)

    def _take(self, issued: Issued, roots: bytes) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        for name, content in (("chain.pem", issued.chain), ("key.pem", issued.key), ("bundle.pem", roots)):
            _replace(self.folder / name, content)
        gone = set(_certificates(self._roots)) - set(_certificates(roots))
        self._issued, self._roots = issued, roots
        now = self._now()
        self._half_s = now + (issued.ends_s - now) / 2
        self._serving = self._made(ssl.PROTOCOL_TLS_SERVER)
        self._serving.verify_mode = ssl.CERT_REQUIRED
        if gone or not self.renewals:
            self._calling = self._made(ssl.PROTOCOL_TLS_CLIENT)
        else:
            self._furnish(self._calling)
        self.renewals += 1

    def _made(self, kind: int) -> ssl.SSLContext:
        context = ssl.SSLContext(kind)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_TICKET
        if kind == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self._furnish(context)
        return context

    def _furnish(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=self._roots.decode())
        context.load_cert_chain(self.folder / "chain.pem", self.folder / "key.pem")


def _certificates(bundle: bytes) -> list[bytes]:
    return [part.strip() for part in bundle.split(b"-----END CERTIFICATE-----") if part.strip()]


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
