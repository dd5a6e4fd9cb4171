"""Fetches the documents of did:web. Implements `omega.trust.did.Documents`.

One GET, no redirects, a deadline, a limit. The host's address is looked up once, must be a public one, and is the one that is connected to:
an identifier that a stranger wrote must not make us speak to our own network (server-side request forgery), not even when its name
points elsewhere a moment later.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from urllib.parse import urlsplit

from omega.kernel.errors import UpstreamError

TIMEOUT_S = 5.0
MAX_BODY = 64 << 10
OK = 200


class WebDocuments:
    """Fetches over HTTPS with the certificates that the system trusts, or those in `context`. `private` lets it reach private addresses."""

    def __init__(self, *, context: ssl.SSLContext | None = None, private: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        self._context = context or ssl.create_default_context()
        self._private = private
        self._timeout_s = timeout_s

    def fetch(self, address: str) -> bytes:
        """The body at `address`. Raises UpstreamError (OMG-P007) when it is not to be had, not public, not plain JSON, or too large."""
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme != "https" or not host:
            raise _failed(host, "it is not an address of https")
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=self._timeout_s, context=self._context)
        try:
            plain = socket.create_connection((self._public(host, parts.port or 443), parts.port or 443), timeout=self._timeout_s)
            try:
                connection.sock = self._context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
            connection.request(
                "GET", parts.path, headers={"Accept": "application/did+json, application/json", "Accept-Encoding": "identity"}
            )
            answer = connection.getresponse()
            body = answer.read(MAX_BODY + 1)
        except (OSError, http.client.HTTPException) as error:
            raise _failed(host, str(error)[:200] or type(error).__name__) from error
        finally:
            connection.close()
        if answer.status != OK:
            raise _failed(host, f"it answers {answer.status}")
        if len(body) > MAX_BODY:
            raise _failed(host, f"its document is larger than {MAX_BODY} bytes")
        return body

    def _public(self, host: str, port: int) -> str:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not addresses or not (self._private or all(ipaddress.ip_address(each.partition("%")[0]).is_global for each in addresses)):
            raise _failed(host, "its address is not a public one")
        return addresses[0]


def _failed(host: str, why: str) -> UpstreamError:
    return UpstreamError("OMG-P007", f"the identifier of {host[:120]} cannot be looked up: {why}")
