"""Connections: the identity providers that people of a tenant sign in with, and what an account there comes to here.

A connection is an arrangement, sealed under the keys of the installation because it carries authority: whoever can write to the records can
make none. A secret is never in it: it names the environment variable of this process that holds it, and only one that belongs to the
connection by its name (`OMEGA_SSO_...`), so that no connection sends another secret of this process to an address of its own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from omega.adapters.net.reach import networks
from omega.adapters.net.web import check_address
from omega.host.arrangements import Documents, arranged
from omega.kernel.errors import InputError, IntegrityError
from omega.trust.sealing import Keyring

CONNECTION: Final = "sso"
"""The kind of the arrangements."""

OIDC, SAML = "oidc", "saml"
KINDS: Final = (OIDC, SAML)
SECRET: Final = "OMEGA_SSO_"  # noqa: S105 - how the names of variables begin
ROLES: Final = ("", "member", "viewer")
"""What somebody may become who signs in for the first time. More than that is given by somebody who has it."""

CLAIMS: Final[Mapping[str, str]] = {"user_name": "preferred_username", "email": "email", "name": "name", "groups": "groups"}
"""What of a user is read from which claim or attribute, unless a connection says otherwise."""

MAX_MAPPED: Final = 200
MAX_DOMAINS: Final = 50
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One provider of one tenant.

    `issuer` is the provider exactly as it calls itself; `client_id` and `secret` (the name of a variable, empty for a public client) are
    OpenID's, `address` and `certificates` (PEM) SAML's. `claims` says what is read from which claim (what it does not name, from that of
    CLAIMS), `groups` which group of the provider is which group of the directory (by the name that policies see). With `create`, who is not
    known becomes a user with the role `role`; with `link`, a user of the same name whom nobody signs in as yet. With `domains`, only
    addresses of these that the provider has verified count. `allow` are private networks that the provider may lie in.
    """

    name: str
    tenant: str
    kind: str
    issuer: str
    client_id: str = ""
    secret: str = ""
    address: str = ""
    certificates: tuple[str, ...] = field(default=(), repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    claims: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    create: bool = False
    link: bool = False
    role: str = ""

    def __post_init__(self) -> None:
        """Raises InputError (OMG-I001), Denied (OMG-P011) for what cannot be a connection."""
        if _NAME.fullmatch(self.name) is None:
            raise InputError("OMG-I001", f"{self.name[:80]!r} cannot name a connection: 1 to 40 lower-case letters, digits and '-'")
        if self.kind not in KINDS or self.role not in ROLES:
            raise InputError("OMG-I001", f"a connection is {' or '.join(KINDS)}, and makes members or viewers")
        if len(self.groups) > MAX_MAPPED or len(self.domains) > MAX_DOMAINS or not set(self.claims) <= set(CLAIMS):
            raise InputError("OMG-I001", f"a connection reads {', '.join(CLAIMS)}, and maps at most {MAX_MAPPED} groups")
        allowed = networks(self.allow)
        if self.kind == OIDC:
            check_address(self.issuer, allowed)
            self._demand_client()
        else:
            check_address(self.address, allowed)
            if not self.issuer or not self.certificates:
                raise InputError("OMG-I001", "a SAML connection has the entity and the certificates of its provider")

    def _demand_client(self) -> None:
        own = f"{SECRET}{self.name.upper().replace('-', '_')}"
        if not self.client_id or "openid" not in self.scopes:
            raise InputError("OMG-I001", "an OpenID connection has a client id and the scope openid")
        if self.secret not in ("", own):
            raise InputError("OMG-I001", f"the secret of this connection lies in the variable {own}", advice=f"--secret {own}")

    def seal(self, keyring: Keyring) -> dict[str, Any]:
        """As the body of its document."""
        context = _context(self.name)
        wrapped, sealer = keyring.create(context)
        sealed = sealer.seal(json.dumps(asdict(self)).encode(), context.encode())
        return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}

    @classmethod
    def open(cls, name: str, body: Mapping[str, Any], keyring: Keyring) -> Connection:
        """From its document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
        try:
            if body["format"] != _FORMAT:
                raise IntegrityError("OMG-T004", f"the connection {name[:64]} has a form that this release does not read")
            wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("OMG-T004", f"the connection {name[:64]} has no known form") from error
        fields = json.loads(keyring.open(_context(name), wrapped).open(sealed, _context(name).encode()))
        fields |= {part: tuple(fields[part]) for part in ("certificates", "scopes", "domains", "allow")}
        return cls(**fields)

    def record(self) -> dict[str, Any]:
        """As data for people."""
        return {word: list(value) if isinstance(value, tuple) else value for word, value in asdict(self).items() if word != "certificates"}


def reading(keyring: Keyring) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    """The check of a connection's document before it is kept. Raises InputError (OMG-I001)."""

    def read(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            if Connection.open(name, body, keyring).name != name:
                raise InputError("OMG-I001", "the connection was sealed under another name")
        except IntegrityError as error:
            raise InputError("OMG-I001", error.cause, advice="make connections with omega sso add") from error
        return body

    return read


def connection_of(documents: Documents, keyring: Keyring, name: str) -> Connection:
    """The connection of that name. Raises InputError (OMG-I003) where there is none, IntegrityError (OMG-T004)."""
    body = arranged(documents, CONNECTION, name) if _NAME.fullmatch(name) else None
    if body is None:
        raise InputError("OMG-I003", "there is no such way of signing in here", advice="ask an admin of your organisation")
    return Connection.open(name, body, keyring)


def connections(documents: Documents, keyring: Keyring) -> list[Connection]:
    """All connections by name. Raises IntegrityError (OMG-T004)."""
    found = [Connection.open(name, json.loads(body), keyring) for name, body in documents.documents(CONNECTION)]
    return sorted(found, key=lambda each: each.name)


def _context(name: str) -> str:
    return f"sso {name}"
