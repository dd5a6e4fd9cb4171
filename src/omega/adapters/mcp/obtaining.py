"""Obtaining tokens for a tool server that asks for them: the client's side of OAuth 2.1, as MCP says it (2026-07-28, "Authorization").

    A refusal (401) names the metadata of the server (RFC 9728), which name who gives tokens, whose own (RFC 8414, OpenID) say where.
    A client is known there by the address of its own metadata, by what was agreed before, or registers itself (RFC 7591), in this order.
    A person is sent to the authorization endpoint with PKCE and the resource, and comes back with a code, which is redeemed.

What is looked at before anything is sent anywhere: the resource of the metadata is this very server; the issuer of the metadata is the one
that was looked for; an answer names that issuer (RFC 9207) where it was said to, and the state that went with it; S256 is offered. A client
that is known to one issuer is not known to another, and a token goes to the server that it was obtained for alone. Addresses that a server
chose are reached under the rules of `omega.adapters.net.reach`.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from omega.adapters.net.web import Web, WebAnswer, WebFault
from omega.kernel.errors import InputError, OmegaError, UpstreamError
from omega.wire.oauth import challenge_of
from omega.wire.strict import read_json

PATIENCE_S: Final = 15.0
"""Patience with each answer, in seconds."""

MAX_ROUNDS: Final = 3
"""How often one request may lead to a new token: a server that never has enough is told from one that wants more."""

LONGEST_S: Final = 366 * 86_400
"""Longest time (seconds) for which a token is believed to be good."""

OFFLINE: Final = "offline_access"
_PARAMETER: Final = re.compile(r'([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_PRM: Final = "/.well-known/oauth-protected-resource"
_AS: Final = "/.well-known/oauth-authorization-server"
_OIDC: Final = "/.well-known/openid-configuration"

Consent = Callable[[str], Awaitable[str]]
"""Sends a person to that address, and gives the one that they came back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What we say of ourselves. `document` is the address of our metadata document, `id` and `secret` what was agreed with the issuer
    `issuer` before. Without a secret `issuer` may be empty: with whichever the server names first. A secret names the one that it is for,
    because the server, which may be anybody's, says who is asked."""

    redirect: str
    name: str = "omega"
    document: str = ""
    id: str = ""
    secret: str = field(default="", repr=False)
    issuer: str = ""

    def __post_init__(self) -> None:
        """Raises InputError (OMG-I001) for a secret of which nobody knows whose it is."""
        if self.secret and not self.issuer:
            cause = "a client secret goes to the issuer that it was agreed with, and none is named"
            raise InputError("OMG-I001", cause, advice="name the issuer of the tokens")


@dataclass(slots=True)
class Held:
    """What is known so far, as data that may be kept: clients by issuer, and the token of this server."""

    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    issuer: str = ""
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    until_s: float = 0.0
    """When the token ends, in Unix seconds; 0 where nobody says."""


class Tokens(Protocol):
    """Whoever has the token of a server, as a conversation with it sees them."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with each request."""
        ...

    async def answer(self, status: int, challenge: str, rounds: int) -> bool:
        """Whether a request that was refused may be sent again, with another token. Raises UpstreamError (OMG-M011)."""
        ...


class Obtaining:
    """Tokens for the server `name` at `url`. `held` is what was kept of earlier times; `consent` sends a person to a page."""

    def __init__(self, name: str, url: str, web: Web, about: About, consent: Consent, held: Held | None = None) -> None:
        self._name, self._url, self._web, self._about, self._consent = name, url, web, about, consent
        self.held = held or Held()

    @property
    def headers(self) -> dict[str, str]:
        """What goes with each request to the server."""
        return {"Authorization": f"Bearer {self.held.access}"} if self.held.access else {}

    async def answer(self, status: int, challenge: str, rounds: int) -> bool:
        """Obtain a token for a refusal with its `WWW-Authenticate`; whether the request may be sent again. `rounds` counts the tokens that
        were obtained for this request already. Raises UpstreamError (OMG-M011) where none can be had."""
        said = challenge_parameters(challenge)
        if rounds >= MAX_ROUNDS or (status == 403 and said.get("error") != "insufficient_scope"):
            return False
        try:
            await self._obtain(said, wider=status == 403, renew=status == 401 and rounds == 0)
        except (WebFault, TimeoutError, OmegaError) as error:
            words = error.cause if isinstance(error, OmegaError) else str(error)
            raise UpstreamError("OMG-M011", f"{self._name} wants a token, and none was obtained: {words}") from error
        return True

    async def _obtain(self, said: Mapping[str, str], *, wider: bool, renew: bool) -> None:
        resource = await self._resource(said.get("resource_metadata", ""))
        issuers = resource.get("authorization_servers")
        issuer = issuers[0] if isinstance(issuers, list) and issuers and isinstance(issuers[0], str) else _origin(self._url)
        server = await self._server(issuer)
        scopes = self._wanted(said, resource, server, wider=wider)
        client = await self._client(issuer, server)
        if renew and not wider and self.held.refresh and self.held.issuer == issuer and await self._refreshed(server, client):
            return
        await self._ask(issuer, server, client, scopes, str(resource.get("resource") or ""))

    # -- looking

    async def _resource(self, address: str) -> dict[str, Any]:
        """What the server says of itself; nothing where it says nothing. Raises InputError (OMG-I001) where it speaks of another."""
        parts = urlsplit(self._url)
        path = parts.path.rstrip("/")
        places = [address] if address else [f"{_origin(self._url)}{_PRM}{path}", f"{_origin(self._url)}{_PRM}"]
        for place in dict.fromkeys(places):
            found = await self._document(place)
            if found is None:
                continue
            if not _covers(str(found.get("resource", "")), self._url):
                raise InputError("OMG-I001", "its metadata speaks of another resource")
            return found
        return {}

    async def _server(self, issuer: str) -> dict[str, Any]:
        """What `issuer` says of itself. Raises InputError (OMG-I001) for none, or one that calls itself otherwise."""
        parts = urlsplit(issuer)
        origin, path = _origin(issuer), parts.path.rstrip("/")
        places = [f"{origin}{_AS}{path}", f"{origin}{_OIDC}{path}", f"{origin}{path}{_OIDC}"]
        for place in dict.fromkeys(places):
            found = await self._document(place)
            if found is None:
                continue
            if found.get("issuer") != issuer:
                raise InputError("OMG-I001", "the metadata of who gives tokens is somebody else's")
            methods = found.get("code_challenge_methods_supported")
            if not isinstance(methods, list) or "S256" not in methods:
                raise InputError("OMG-I001", "who gives tokens does not offer PKCE with S256")
            return found
        raise InputError("OMG-I001", "who gives tokens says nothing of itself")

    def _wanted(self, said: Mapping[str, str], resource: Mapping[str, Any], server: Mapping[str, Any], *, wider: bool) -> tuple[str, ...]:
        """The scopes to ask for: what the refusal names (with those that are held, where more is wanted), else what the server lists."""
        offered = resource.get("scopes_supported")
        named = said.get("scope", "").split() or ([str(each) for each in offered] if isinstance(offered, list) else [])
        scopes = [*self.held.scopes, *named] if wider else named
        known = server.get("scopes_supported")
        if isinstance(known, list) and OFFLINE in known:
            scopes = [*scopes, OFFLINE]
        return tuple(dict.fromkeys(scopes))

    async def _client(self, issuer: str, server: Mapping[str, Any]) -> dict[str, Any]:
        """As whom we ask `issuer`. Raises InputError (OMG-I001) where it knows us in no way."""
        about, known = self._about, self.held.clients.get(issuer)
        if known is not None:
            return known
        if about.secret and about.issuer != issuer:
            cause = f"the server names {issuer[:200]} as who gives tokens, and the client was agreed with {about.issuer[:200]}"
            raise InputError("OMG-I001", cause)
        if about.id and about.issuer in ("", issuer) and not self.held.clients:
            client = {"client_id": about.id, "client_secret": about.secret}
        elif about.document and server.get("client_id_metadata_document_supported") is True:
            client = {"client_id": about.document}
        elif isinstance(server.get("registration_endpoint"), str):
            client = await self._registered(server)
        else:
            raise InputError("OMG-I001", "who gives tokens knows no client of ours")
        self.held.clients[issuer] = client
        return client

    async def _registered(self, server: Mapping[str, Any]) -> dict[str, Any]:
        grants = server.get("grant_types_supported")
        refreshes = not isinstance(grants, list) or "refresh_token" in grants
        document = {
            "client_name": self._about.name,
            "redirect_uris": [self._about.redirect],
            "grant_types": ["authorization_code", *(["refresh_token"] if refreshes else [])],
            "response_types": ["code"],
            "token_endpoint_auth_method": _method(server, secret=True),
            "application_type": "native",
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = await self._sent("POST", server["registration_endpoint"], headers, json.dumps(document).encode())
        found = _object(answer) if answer.status in (200, 201) else {}
        if not isinstance(found.get("client_id"), str):
            raise InputError("OMG-I001", "the registration of a client was refused")
        kept = ("client_id", "client_secret", "token_endpoint_auth_method")
        return {name: found[name] for name in kept if isinstance(found.get(name), str)}

    # -- asking

    async def _ask(self, issuer: str, server: Mapping[str, Any], client: Mapping[str, Any], scopes: Sequence[str], resource: str) -> None:
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        given = {
            "response_type": "code",
            "client_id": str(client["client_id"]),
            "redirect_uri": self._about.redirect,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            "resource": resource or _bare(self._url),
            **({"scope": " ".join(scopes)} if scopes else {}),
            **({"prompt": "consent"} if OFFLINE in scopes else {}),
        }
        endpoint = str(server.get("authorization_endpoint", ""))
        if urlsplit(endpoint).scheme not in ("https", "http"):
            raise InputError("OMG-I001", "who gives tokens has no page for people")
        back = await self._consent(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(given)}")
        code = _code_in(back, state, issuer, server)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._about.redirect, "code_verifier": verifier}
        if not await self._token(server, client, form | {"resource": given["resource"]}, tuple(scopes)):
            raise InputError("OMG-I001", "the code was not accepted")
        self.held.issuer = issuer

    async def _refreshed(self, server: Mapping[str, Any], client: Mapping[str, Any]) -> bool:
        form = {"grant_type": "refresh_token", "refresh_token": self.held.refresh, "resource": _bare(self._url)}
        return await self._token(server, client, form, self.held.scopes)

    async def _token(self, server: Mapping[str, Any], client: Mapping[str, Any], form: dict[str, str], scopes: tuple[str, ...]) -> bool:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = str(client.get("client_secret", ""))
        method = str(client.get("token_endpoint_auth_method") or _method(server, secret=bool(secret)))
        if method == "client_secret_basic" and secret:
            pair = f"{quote(str(client['client_id']), safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form = form | {"client_id": str(client["client_id"])} | ({"client_secret": secret} if secret and method != "none" else {})
        answer = await self._sent("POST", str(server.get("token_endpoint", "")), headers, urlencode(form).encode())
        found = _object(answer) if answer.status == 200 else {}
        if not isinstance(found.get("access_token"), str) or str(found.get("token_type", "")).lower() != "bearer":
            self.held.access = self.held.refresh = ""
            return False
        self.held.access = found["access_token"]
        self.held.refresh = str(found.get("refresh_token") or self.held.refresh)
        left_s = found.get("expires_in")
        known = type(left_s) in (int, float) and 0 < float(left_s or 0) < LONGEST_S
        self.held.until_s = time.time() + float(left_s or 0) if known else 0.0
        given = found.get("scope")
        self.held.scopes = tuple(given.split()) if isinstance(given, str) else scopes
        return True

    async def _document(self, address: str) -> dict[str, Any] | None:
        """The JSON object at `address`; None where there is none."""
        answer = await self._sent("GET", address, {"Accept": "application/json"}, b"")
        return _object(answer) if answer.status == 200 else None

    async def _sent(self, method: str, address: str, headers: Mapping[str, str], body: bytes) -> WebAnswer:
        return await self._web.ask(method, address, headers=headers, body=body, timeout_s=PATIENCE_S)


def challenge_parameters(text: str) -> dict[str, str]:
    """The parameters of a `WWW-Authenticate: Bearer ...` (RFC 6750, 3); nothing for another scheme."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "bearer":
        return {}
    return {name: quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}


def _code_in(back: str, state: str, issuer: str, server: Mapping[str, Any]) -> str:
    """The code of an answer to us, from that very issuer. Raises InputError (OMG-I001)."""
    pairs = parse_qsl(urlsplit(back).query, keep_blank_values=True)
    said = dict(pairs)
    if len(said) != len(pairs) or not hmac.compare_digest(said.get("state", "").encode(), state.encode()):
        raise InputError("OMG-I001", "the answer is to another question")
    if "iss" in said and said["iss"] != issuer:
        raise InputError("OMG-I001", "the answer comes from another issuer")
    if server.get("authorization_response_iss_parameter_supported") is True and "iss" not in said:
        raise InputError("OMG-I001", "the answer does not say who it comes from")
    if not said.get("code"):
        raise InputError("OMG-I001", f"it was refused ({said.get('error', '')[:40]})")
    return said["code"]


def _method(server: Mapping[str, Any], *, secret: bool) -> str:
    """How we prove who we are at the token endpoint: by a header where there is a choice (RFC 8414, 2: the default)."""
    offered = server.get("token_endpoint_auth_methods_supported")
    known = offered if isinstance(offered, list) else ["client_secret_basic"]
    ways = ("client_secret_basic", "client_secret_post", "none") if secret else ("none",)
    return next((each for each in ways if each in known), "none")


def _object(answer: WebAnswer) -> dict[str, Any]:
    try:
        found = read_json(answer.body)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _bare(url: str) -> str:
    """The server as a resource: its address without a fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path, parts.query, ""))


def _covers(resource: str, url: str) -> bool:
    """Whether `url` is the resource or lies below it."""
    ours, theirs = urlsplit(url), urlsplit(resource)
    if (theirs.scheme.lower(), theirs.netloc.lower()) != (ours.scheme.lower(), ours.netloc.lower()):
        return False
    own, other = ours.path.rstrip("/") + "/", theirs.path.rstrip("/") + "/"
    return own.startswith(other)
