"""Where passports come from, over the network: the token endpoint, the public keys, and the two documents that lead clients to them.

    POST /oauth/token                               client credentials (RFC 6749, 4.4), refresh (6), token exchange (RFC 8693)
    POST /oauth/introspect                          what a passport is worth (RFC 7662), for callers of the same tenant
    POST /oauth/revoke                              a passport of one's own counts no more (RFC 7009)
    GET  /.well-known/jwks.json                     the public keys of passports (RFC 7517)
    GET  /.well-known/oauth-authorization-server    where the token endpoint is (RFC 8414)
    GET  /.well-known/oauth-protected-resource      which authorization server counts here (RFC 9728)

What a form is worth the core decides (`Core.exchange`); here it is read and answered as the standards say. Errors of the token endpoint
have the form of RFC 6749, 5.2, with our code beside it.
"""

from __future__ import annotations

from typing import Any

from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, reply_error, reply_json
from omega.kernel.errors import Denied, InputError, OmegaError

TOKEN = "/oauth/token"  # noqa: S105 - a path
WELL_KNOWN = "/.well-known"
MAX_FORM = 64 << 10
"""Largest form in bytes: two passports and a few words."""

KEYS_CACHE_S = 300
"""How long (seconds) the public keys may be kept by whoever asked: a new key is shown longer than that before it signs."""

REVOKE, INTROSPECT = "/oauth/revoke", "/oauth/introspect"
GRANTS = ("client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange")
_FORM = "application/x-www-form-urlencoded"
_FRESH: Headers = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
_KEPT: Headers = [(b"cache-control", b"public, max-age=%d" % KEYS_CACHE_S)]


def entrances(core: Core, card: App | None = None) -> list[Mounted]:
    """The token endpoint and the documents about it; `card` answers for the agent card, which lies beside them (A2A 1.0, 8.2)."""

    async def oauth(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path in (REVOKE, INTROSPECT):
            await reply_json(send, await _about_a_token(core, arrival, receive), headers=_FRESH)
            return
        if arrival.path != TOKEN:
            raise InputError("OMG-G002", "there is nothing at this address")
        _only(arrival, "POST")
        try:
            answer = await core.exchange(await _form(receive, arrival), arrival.headers)
        except (Denied, InputError) as error:
            if error.code.startswith("OMG-G"):
                raise
            status, headers, document = _refusal(error, arrival)
            await reply_json(send, document, status=status, headers=[*_FRESH, *headers])
            return
        await reply_json(send, answer, headers=_FRESH)

    async def well_known(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        name = arrival.path.removeprefix(WELL_KNOWN).strip("/")
        if name == "jwks.json":
            _only(arrival, "GET")
            await reply_json(send, core.jwks(), headers=_KEPT)
        elif name == "oauth-authorization-server":
            _only(arrival, "GET")
            await reply_json(send, server(arrival.base), headers=_KEPT)
        elif name.partition("/")[0] == "oauth-protected-resource":  # RFC 9728, 3.1: the path of the resource may follow
            _only(arrival, "GET")
            await reply_json(send, resource(arrival.base, name.partition("/")[2]), headers=_KEPT)
        elif name == "agent-card.json" and card is not None:
            await card(scope, receive, send)
        else:
            await reply_error(send, InputError("OMG-G002", "there is nothing at this address"), arrival)

    return [Mounted("/oauth", oauth), Mounted(WELL_KNOWN, well_known)]


async def _about_a_token(core: Core, arrival: Arrival, receive: Receive) -> dict[str, Any]:
    """The answer about the `token` of a form. Raises Denied (OMG-T001) for a caller without a good passport."""
    _only(arrival, "POST")
    visitor = core.visitor(arrival.headers, method="POST", url=arrival.url, address=arrival.address, peer=arrival.peer)
    token = (await _form(receive, arrival)).get("token", "")
    if arrival.path == INTROSPECT:
        return core.introspect(token, visitor)
    await core.revoke(token, visitor)
    return {}


def server(base: str) -> dict[str, Any]:
    """What an authorization server says of itself (RFC 8414, 2)."""
    return {
        "issuer": base,
        "token_endpoint": f"{base}{TOKEN}",
        "revocation_endpoint": f"{base}{REVOKE}",
        "introspection_endpoint": f"{base}{INTROSPECT}",
        "jwks_uri": f"{base}{WELL_KNOWN}/jwks.json",
        "grant_types_supported": list(GRANTS),
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "dpop_signing_alg_values_supported": ["EdDSA", "Ed25519", "ES256"],
        "service_documentation": f"{base}/api/docs",
    }


def resource(base: str, path: str = "") -> dict[str, Any]:
    """What a protected resource says of itself (RFC 9728, 2)."""
    return {
        "resource": f"{base}/{path}" if path else base,
        "authorization_servers": [base],
        "bearer_methods_supported": ["header"],
        "jwks_uri": f"{base}{WELL_KNOWN}/jwks.json",
        "resource_documentation": f"{base}/api/docs",
    }


async def _form(receive: Receive, arrival: Arrival) -> dict[str, str]:
    """The fields of a form. Raises InputError: OMG-G009 for another body, OMG-G001 for a field that comes twice (RFC 6749, 3.2)."""
    kind = arrival.header("content-type").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise InputError("OMG-G009", f"the token endpoint reads {_FORM}", advice=f"send {_FORM}")
    pairs = query_pairs(await read_body(receive, arrival, most=MAX_FORM))
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InputError("OMG-G001", "a field of the form stands there twice")
    return form


def _only(arrival: Arrival, method: str) -> None:
    if arrival.method != method:
        raise InputError("OMG-G003", f"this address takes {method}", details={"allow": [method]})


def _refusal(error: OmegaError, arrival: Arrival) -> tuple[int, Headers, dict[str, Any]]:
    """The status, headers and body of a refusal (RFC 6749, 5.2; RFC 8693, 2.2.2)."""
    words = {"OMG-T001": "invalid_client", "OMG-T002": "invalid_scope", "OMG-I001": "invalid_request"}
    word = str(error.details.get("oauth", words.get(error.code, "invalid_request")))
    status = 401 if word == "invalid_client" else 400
    headers: Headers = [(b"www-authenticate", b'Basic realm="omega"')] if status == 401 else []
    said = {"error": word, "error_description": error.cause.replace('"', "'").replace("\\", "/"), "code": error.code}
    return status, headers, said | {"advice": error.advice, "instance": arrival.id}
