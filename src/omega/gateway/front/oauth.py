"""Where passports come from, over the network: the token endpoint, the public keys, and the two documents that lead clients to them.

    POST /oauth/token                               codes and refresh tokens of clients (RFC 6749, 4.1 and 6), client credentials (4.4),
                                                    refresh of a passport, token exchange (RFC 8693)
    POST /oauth/introspect                          what a passport is worth (RFC 7662), for callers of the same tenant
    POST /oauth/revoke                              a passport of one's own counts no more (RFC 7009)
    /oauth/authorize, /oauth/register, /oauth/grants: see `omega.gateway.front.authorizing`
    GET  /.well-known/jwks.json                     the public keys of passports (RFC 7517)
    GET  /.well-known/oauth-authorization-server    where the token endpoint is (RFC 8414)
    GET  /.well-known/oauth-protected-resource      which authorization server counts here (RFC 9728)

What a form is worth the core decides (`Core.exchange`); here it is read and answered as the standards say. Errors of the token endpoint
have the form of RFC 6749, 5.2, with our code beside it.
"""

from __future__ import annotations

from typing import Any

from omega.gateway.front import authorizing
from omega.gateway.front.authorizing import AUTHORIZE, REGISTER
from omega.gateway.front.core import App, AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.desk import Desk
from omega.gateway.front.request import Arrival, Headers, arrival_of, query_pairs, read_body, reply_error, reply_json
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.wire.oauth import server_metadata

TOKEN = "/oauth/token"  # noqa: S105 - a path
WELL_KNOWN = "/.well-known"
MAX_FORM = 64 << 10
"""Largest form in bytes: two passports and a few words."""

KEYS_CACHE_S = 300
"""How long (seconds) the public keys may be kept by whoever asked: a new key is shown longer than that before it signs."""

REVOKE, INTROSPECT = "/oauth/revoke", "/oauth/introspect"
GRANTS = ("authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange")
OURS = "omr_"
"""How refresh tokens of clients begin; any other is a passport."""

_FORM = "application/x-www-form-urlencoded"
_FRESH: Headers = [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
_KEPT: Headers = [(b"cache-control", b"public, max-age=%d" % KEYS_CACHE_S)]


def entrances(core: Core, desk: Desk, card: App | None = None) -> list[Mounted]:
    """The token endpoint and the documents about it; `card` answers for the agent card, which lies beside them (A2A 1.0, 8.2)."""
    authorize = authorizing.authorize(core, desk)

    async def oauth(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        if arrival.path == AUTHORIZE:
            await authorize(scope, receive, send)
        elif arrival.path == REGISTER:
            _only(arrival, "POST")
            await authorizing.register(desk, arrival, receive, send)
        elif arrival.path.startswith(authorizing.GRANTS):
            await authorizing.grants(core, desk, arrival, send)
        elif arrival.path == INTROSPECT or (arrival.path == REVOKE and "authorization" in arrival.headers):
            await reply_json(send, await _about_a_token(core, arrival, receive), headers=_FRESH)
        elif arrival.path in (TOKEN, REVOKE):
            await _given(core, desk, arrival, receive, send)
        else:
            raise InputError("OMG-G002", "there is nothing at this address")

    async def well_known(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        name = arrival.path.removeprefix(WELL_KNOWN).strip("/")
        if name == "jwks.json":
            _only(arrival, "GET")
            await reply_json(send, core.jwks(), headers=_KEPT)
        elif name == "oauth-authorization-server":
            _only(arrival, "GET")
            await reply_json(send, server(arrival.base, desk), headers=_KEPT)
        elif name.partition("/")[0] == "oauth-protected-resource":  # RFC 9728, 3.1: the path of the resource may follow
            _only(arrival, "GET")
            await reply_json(send, resource(arrival.base, desk, name.partition("/")[2]), headers=_KEPT)
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


async def _given(core: Core, desk: Desk, arrival: Arrival, receive: Receive, send: Send) -> None:
    """The token endpoint, and revocation by a client that has nothing but its token."""
    _only(arrival, "POST")
    try:
        form = await _form(receive, arrival)
        grant = form.get("grant_type", "")
        if arrival.path == REVOKE:
            await desk.give_up(form, arrival.headers)
            answer: dict[str, Any] = {}
        elif grant == "authorization_code" or (grant == "refresh_token" and form.get("refresh_token", "").startswith(OURS)):
            answer = await desk.redeem(form, arrival.headers, arrival.base)
        else:
            answer = await core.exchange(form, arrival.headers, address=arrival.address)
    except (Denied, InputError) as error:
        if error.code.startswith("OMG-G"):
            raise
        status, headers, document = _refusal(error, arrival)
        await reply_json(send, document, status=status, headers=[*_FRESH, *headers])
        return
    await reply_json(send, answer, headers=_FRESH)


def server(base: str, desk: Desk) -> dict[str, Any]:
    """What an authorization server says of itself (RFC 8414, 2)."""
    paths = {
        "authorization_endpoint": AUTHORIZE,
        "token_endpoint": TOKEN,
        "registration_endpoint": REGISTER,
        "revocation_endpoint": REVOKE,
        "introspection_endpoint": INTROSPECT,
        "jwks_uri": f"{WELL_KNOWN}/jwks.json",
    }
    return server_metadata(base, paths=paths, scopes=desk.scopes, registers=desk.registers, grants=GRANTS)


def resource(base: str, desk: Desk, path: str = "") -> dict[str, Any]:
    """What a protected resource says of itself (RFC 9728, 2)."""
    return {
        "resource": f"{base}/{path}" if path else base,
        "authorization_servers": [base],
        "scopes_supported": list(desk.scopes),
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
