"""Secrets that people leave here for tool servers: each is used for calls of the one who left it, and of nobody else.

A tool server says so in its record: a header `Authorization=Bearer user:github` is filled, at the moment a session begins, with the secret
`github` of whoever calls. A secret is an arrangement: left and taken back by a governed flow, kept sealed under the keys of the
installation, bound to its tenant, its owner and its name. It never comes out again but into the session that needs it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from omega.host.arrangements import Documents, Reading, arranged
from omega.kernel.errors import InputError, IntegrityError
from omega.trust.sealing import Keyring

CREDENTIAL: Final = "credential"
"""The kind of the arrangements."""

USE: Final = "credential-use"
"""The kind of the documents that say when a secret was last given, to which server and for whom (`omega.host.secrets_given`)."""

MAX_SECRET: Final = 8_192
"""Longest secret in characters: tokens and keys are shorter."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FORMAT: Final = 1


def document_name(tenant: str, principal: str, name: str) -> str:
    """The name of the arrangement: it tells nothing about whose secret it is."""
    return hashlib.sha256(json.dumps([tenant, principal, name]).encode()).hexdigest()[:40]


def sealed(keyring: Keyring, tenant: str, principal: str, name: str, secret: str, *, at_us: int = 0) -> dict[str, Any]:
    """A secret as its arrangement is kept; `at_us` is when it was left (Unix microseconds, 0: nobody says).

    Raises InputError (OMG-I001) for a name or a secret that cannot be one.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError("OMG-I001", "the name of a credential has letters, digits and '_', and begins with no digit")
    if not 0 < len(secret) <= MAX_SECRET or not secret.isprintable():
        raise InputError("OMG-I001", f"a credential is 1 to {MAX_SECRET:,} printable characters")
    context = _context(document_name(tenant, principal, name))
    wrapped, sealer = keyring.create(context)
    plain = json.dumps([tenant, principal, name, secret, *([at_us] if at_us else [])]).encode()
    body = {"format": _FORMAT, "key": wrapped, "sealed": sealer.seal(plain, context.encode())}
    return {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in body.items()}


def reading(keyring: Keyring) -> Reading:
    """The check of an arrangement before it is kept: sealed here, under its own name. Raises InputError (OMG-I001)."""

    def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            _opened(name, body, keyring)
        except IntegrityError as error:
            raise InputError("OMG-I001", f"the credential was not sealed here: {error.cause}") from error
        return body

    return check


def whose(name: str, body: Mapping[str, Any], keyring: Keyring) -> tuple[str, str]:
    """The tenant and the principal who left the secret in a document. Raises IntegrityError (OMG-T004)."""
    tenant, principal, *_ = _opened(name, body, keyring)
    return tenant, principal


def told(name: str, body: Mapping[str, Any], keyring: Keyring) -> tuple[str, str, str, int]:
    """Tenant, owner and name of the secret in a document, and when it was left (0: before that was kept); never the secret itself.

    Raises IntegrityError (OMG-T004).
    """
    tenant, principal, called, _, *at_us = _opened(name, body, keyring)
    return tenant, principal, called, int(at_us[0]) if at_us else 0


def same(name: str, body: Mapping[str, Any], keyring: Keyring, secret: str) -> bool:
    """Whether `secret` is the one in a document. Raises IntegrityError (OMG-T004)."""
    return hmac.compare_digest(str(_opened(name, body, keyring)[3]).encode(), secret.encode())


def credentials(documents: Documents, keyring: Keyring) -> Callable[[str, str, str], str | None]:
    """Looks up the secret of that name which (tenant, principal) has left; None when there is none, or it cannot be opened."""

    def look(tenant: str, principal: str, name: str) -> str | None:
        place = document_name(tenant, principal, name)
        body = arranged(documents, CREDENTIAL, place)
        if body is None:
            return None
        whose = _opened(place, body, keyring)
        return str(whose[3]) if whose[:3] == [tenant, principal, name] else None

    return look


def _opened(name: str, body: Mapping[str, Any], keyring: Keyring) -> list[Any]:
    """[tenant, principal, name, secret], and when it was left, where that was kept. Raises IntegrityError (OMG-T004)."""
    context = _context(name)
    try:
        if body["format"] != _FORMAT:
            raise IntegrityError("OMG-T004", "it has a form that is not known here")
        wrapped, text = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise IntegrityError("OMG-T004", "it is no sealed credential") from error
    whose: list[Any] = json.loads(keyring.open(context, wrapped).open(text, context.encode()))
    if document_name(*whose[:3]) != name:
        raise IntegrityError("OMG-T004", "it was sealed under another name")
    return whose


def _context(name: str) -> str:
    return f"credential/{name}"
