"""What a listener does in TLS, seen in a handshake: version, cipher, key agreement, and when its certificate ends.

Nobody has to believe a setting: the handshake is made once in memory, or over the loopback where somebody else's library listens.
Nothing is trusted by it and nothing is sent, so the certificate is looked at and not verified.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from omega.kernel.errors import InputError

HYBRID = "X25519MLKEM768"
"""The key agreement that holds against a quantum computer too, by its TLS name (draft-ietf-tls-ecdhe-mlkem)."""

LOOK_TIME_S = 5.0
"""How long (seconds) a listener at a port may take to shake hands."""

_MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Listening:
    """What a listener was seen to do: TLS version, cipher, whether its key agreement is hybrid post-quantum, when its certificate ends.

    `group` is the group that was agreed upon where Python can tell (3.15 and later, or a hybrid one that was the only one offered).
    """

    version: str
    cipher: str
    hybrid: bool
    group: str
    ends_s: int


def look(server: ssl.SSLContext) -> Listening:
    """What a listener with that context does for a client that shows no certificate. Raises InputError (OMG-X001) where it does nothing."""
    hybrid = _client(hybrid=True)
    seen = handshake(server, hybrid) if hybrid is not None else None
    plain = _client(hybrid=False)
    found = seen or (handshake(server, plain) if plain is not None else None)
    if found is None:
        raise InputError("OMG-X001", "the listener completes no handshake", advice="look at the certificate and its key")
    return heard(found, hybrid=seen is not None)


def look_there(host: str, port: int, protocol: str) -> Listening:
    """The same of whoever listens at a port of this machine, speaking `protocol` (ALPN). Raises InputError (OMG-X001)."""
    for hybrid in (True, False):
        client = _client(hybrid=hybrid)
        if client is None:
            continue
        client.set_alpn_protocols([protocol])
        try:
            with socket.create_connection((host, port), timeout=LOOK_TIME_S) as raw, client.wrap_socket(raw) as seen:
                return heard(seen, hybrid=hybrid)
        except OSError:  # ssl.SSLError too
            continue
    raise InputError("OMG-X001", f"the listener at port {port} completes no handshake", advice="look at the certificate and its key")


def heard(seen: ssl.SSLObject | ssl.SSLSocket, *, hybrid: bool, ends_s: int | None = None) -> Listening:
    """What the client's side of a handshake says, in which the hybrid group was the only one offered or none of it was."""
    cipher = seen.cipher()
    group = HYBRID if hybrid else str(getattr(seen, "group", lambda: "")() or "")
    if ends_s is None:
        ends_s = int(x509.load_der_x509_certificate(seen.getpeercert(binary_form=True) or b"").not_valid_after_utc.timestamp())
    return Listening(seen.version() or "", cipher[0] if cipher else "", hybrid, group, ends_s)


def offer_hybrid_alone(client: ssl.SSLContext) -> bool:
    """Let a client offer the hybrid group and no other; False where this OpenSSL (before 3.5) does not know it."""
    try:
        client.set_ecdh_curve(HYBRID)
    except ValueError:
        return False
    return True


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject | None:
    """The client's side of a handshake in memory; None when it fails."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    waiting: list[Any] = [here, there]
    for _ in range(_MAX_ROUNDS):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
            waiting.remove(side)
        if not waiting:
            return here
    return None


def _client(*, hybrid: bool) -> ssl.SSLContext | None:
    """A client that looks and trusts nothing; None for one that this OpenSSL cannot be."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return None if hybrid and not offer_hybrid_alone(made) else made
