"""A provider over the network: what it says of itself, its keys, and what it gives for a code.

What it says of itself is kept for an hour, its keys too; a token that names a key that is not known has them looked at anew, at most every
half a minute, so a rotation is seen at once and nobody can have us ask without end. Every address goes through `omega.adapters.net`: https
to what the internet can reach, and http into networks that were allowed on purpose.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from omega.adapters.net.reach import Network
from omega.adapters.net.web import Web, WebFault, check_address
from omega.adapters.oidc.tokens import ALGORITHMS, Expected, claims_of, kid_of, refused
from omega.kernel.errors import Denied, UpstreamError

KEPT_S: Final = 3_600.0
"""How long (seconds) what a provider says is kept at hand."""

AGAIN_S: Final = 30.0
"""How often at most (seconds) keys are looked at anew because one is not known."""

PATIENCE_S: Final = 10.0
MAX_DOCUMENT: Final = 512 << 10
"""Largest answer in bytes."""

DISCOVERY: Final = "/.well-known/openid-configuration"
_JSON: Final = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relying:
    """As whom codes are exchanged: the client, its secret (empty for a public client), and where the provider sent the browser back to."""

    client_id: str
    secret: str = field(default="", repr=False)
    back: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a provider says of itself, as far as it counts here. `userinfo` and `methods` may be empty; `names_itself` tells that it says
    who it is when it sends a browser back (RFC 9207)."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    methods: tuple[str, ...] = ()
    names_itself: bool = False


class Provider:
    """One provider. Belongs to one event loop."""

    def __init__(self, issuer: str, allowed: Sequence[Network] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises InputError (OMG-I001), Denied (OMG-P011) for an address that may not be reached."""
        self._issuer, self._allowed, self._clock = check_address(issuer, allowed), tuple(allowed), clock
        self._web = Web(allowed, limit=MAX_DOCUMENT)
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None

    async def metadata(self) -> Metadata:
        """What it says of itself. Raises Denied (OMG-T001) for one that says it is another, Denied (OMG-P011), UpstreamError (OMG-P007)."""
        now = self._clock()
        if self._metadata is None or now - self._metadata[0] >= KEPT_S:
            said = await self._json("GET", self._issuer.rstrip("/") + DISCOVERY)
            self._metadata = (now, self._read(said))
        return self._metadata[1]

    async def identify(self, relying: Relying, code: str, verifier: str, nonce: str, now: float) -> dict[str, Any]:
        """The claims of the ID token for a code, with those that the provider tells besides. Raises what `metadata` raises."""
        metadata = await self.metadata()
        answer = await self._redeem(metadata, relying, code, verifier)
        token, access = answer.get("id_token"), answer.get("access_token", "")
        if not isinstance(token, str) or not isinstance(access, str):
            raise refused("no ID token came for the code")
        expected = Expected(issuer=self._issuer, client_id=relying.client_id, nonce=nonce, now=now, access_token=access)
        claims = claims_of(token, await self._keys_for(metadata, kid_of(token)), expected)
        if metadata.userinfo and access:
            told = await self._json("GET", metadata.userinfo, headers={"Authorization": f"Bearer {access}"})
            if told.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0, 5.3.2: else another's claims could be slipped in
                raise refused("what the provider tells of the user is about somebody else")
            claims = told | claims
        return claims

    async def close(self) -> None:
        """Close every connection."""
        await self._web.close()

    def _read(self, said: Mapping[str, Any]) -> Metadata:
        if said.get("issuer") != self._issuer:
            raise Denied("OMG-T001", "the provider says that it is another one", advice="write the issuer exactly as the provider does")
        words = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        found = [said.get(word) for word in words]
        userinfo = said.get("userinfo_endpoint") or ""
        if not all(isinstance(each, str) for each in [*found, userinfo]):
            raise UpstreamError("OMG-P007", f"the provider does not say all of {', '.join(words)}")
        for each in [*found, *([userinfo] if userinfo else [])]:
            check_address(str(each), self._allowed)
        offered = said.get("id_token_signing_alg_values_supported")
        if isinstance(offered, list) and not set(ALGORITHMS).intersection(map(str, offered)):
            raise UpstreamError("OMG-P007", "the provider signs in no way that counts here")
        methods = said.get("token_endpoint_auth_methods_supported")
        return Metadata(
            issuer=self._issuer,
            authorization=str(found[0]),
            token=str(found[1]),
            keys=str(found[2]),
            userinfo=userinfo,
            methods=tuple(map(str, methods)) if isinstance(methods, list) else (),
            names_itself=said.get("authorization_response_iss_parameter_supported") is True,
        )

    async def _redeem(self, metadata: Metadata, relying: Relying, code: str, verifier: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": relying.back, "code_verifier": verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if relying.secret and (not metadata.methods or "client_secret_basic" in metadata.methods):
            pair = f"{quote_plus(relying.client_id)}:{quote_plus(relying.secret)}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": relying.client_id} | ({"client_secret": relying.secret} if relying.secret else {})
        return await self._json("POST", metadata.token, headers=headers, body=urlencode(form).encode())

    async def _keys_for(self, metadata: Metadata, kid: str) -> dict[str, Any]:
        """The provider's keys, looked at anew where the one that is named is not among them."""
        now = self._clock()
        known = self._keys
        named = known is not None and any(isinstance(each, dict) and each.get("kid") == kid for each in known[1].get("keys", ()))
        if known is None or now - known[0] >= KEPT_S or (kid and not named and now - known[0] >= AGAIN_S):
            known = self._keys = (now, await self._json("GET", metadata.keys))
        return known[1]

    async def _json(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> dict[str, Any]:
        """The object that an address answers with. Raises UpstreamError (OMG-P007), Denied (OMG-T001, OMG-P011)."""
        try:
            answer = await self._web.ask(method, url, headers={**_JSON, **(headers or {})}, body=body, timeout_s=PATIENCE_S)
        except TimeoutError as error:
            raise UpstreamError("OMG-P007", f"the provider did not answer within {PATIENCE_S:g} s") from error
        except WebFault as error:
            raise UpstreamError("OMG-P007", f"the provider {error}") from error
        if method == "POST" and 400 <= answer.status < 500:
            raise refused("the code is not accepted by the provider")
        if answer.status != 200:
            raise UpstreamError("OMG-P007", f"the provider answered with the status {answer.status}")
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("OMG-P007", "the provider answered with what is no JSON") from error
        if not isinstance(found, dict):
            raise UpstreamError("OMG-P007", "the provider answered with what is no object")
        return found
