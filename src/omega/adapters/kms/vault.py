"""A key in the transit engine of HashiCorp Vault or OpenBao, by mount, name and version:

    vault:transit/omega-log?server=https://vault.example:8200&version=1

The key is of the type ecdsa-p256 (the digest is sent) or ed25519 (the message is). Who asks: the token in VAULT_TOKEN or in `token-file`
(which an agent of Vault keeps fresh: it is read for each signature), or a role: `auth=approle` with `role-id` and `secret-id-file`, or
`auth=kubernetes` with `role` and the service account's token. A role's token is fetched again before it ends, and when it is refused. No
address holds a secret. API: developer.hashicorp.com/vault/api-docs/secret/transit, openbao.org/api-docs/secret/transit.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.kms.guard import DEADLINE_S, GuardedSigner, raw_public, raw_signature
from omega.adapters.kms.private import read_secret
from omega.adapters.kms.service import KeyService, Unanswered, options, text
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
FRESH: Final = 0.8
"""Part of a token's life after which another is fetched."""

ECDSA, EDDSA = "ecdsa-p256", "ed25519"
_PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64})*/[A-Za-z0-9_.-]{1,128}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_OPTIONS = {
    "server": "https://HOST:8200 (else VAULT_ADDR)",
    "version": "the version of the key",
    "namespace": "a namespace (else VAULT_NAMESPACE)",
    "ca": "a file of authorities (else VAULT_CACERT)",
    "token-file": "a file with a token (else VAULT_TOKEN)",
    "auth": "approle or kubernetes",
    "auth-mount": "where that is mounted",
    "role-id": "of an AppRole",
    "secret-id-file": "a file with its secret",
    "role": "of Kubernetes",
    "jwt-file": "a file with the service account's token",
}


class Login:
    """Gives a token, fetched anew when it is about to end. `body` gives what is sent to log in, `path` is where."""

    def __init__(self, service: KeyService, path: str, body: Callable[[], Mapping[str, str]], headers: Mapping[str, str]) -> None:
        self._service, self._path, self._body, self._headers = service, path, body, headers
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token. Raises Unanswered, ValueError, StorageError (OMG-T003)."""
        if not self._token or time.monotonic() >= self._until:
            found = self._service.ask("POST", self._path, self._body(), self._headers)
            self._token = text(found, "auth", "client_token")
            lasts = found["auth"].get("lease_duration")
            self._until = time.monotonic() + FRESH * lasts if isinstance(lasts, int) and lasts > 0 else float("inf")
        return self._token

    def forget(self) -> bool:
        """Whether another token is fetched with the next call: it was refused."""
        self._token = ""
        return True


class Held:
    """Gives a token that somebody else keeps fresh: a variable of the environment, or a file."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __call__(self) -> str:
        """The token. Raises StorageError (OMG-T003) for a file that others could read, Unanswered where there is none."""
        found = read_secret(self._file, "token") if self._file else os.environ.get("VAULT_TOKEN", "")
        if not found.isprintable() or not found:
            raise Unanswered("there is no token to ask it with: set VAULT_TOKEN")
        return found

    def forget(self) -> bool:
        """Nothing is to be done about a token that is refused."""
        return False


class TransitKey:
    """One version of a key. Implements `guard.RemoteKey`."""

    failures: tuple[type[Exception], ...] = (Unanswered,)

    def __init__(self, service: KeyService, path: str, version: int, token: Login | Held, headers: Mapping[str, str]) -> None:
        self._service, self._version, self._token, self._headers = service, version, token, headers
        self._mount, _, self._name = path.rpartition("/")
        self._eddsa = False

    def public(self) -> bytes:
        """The public key. Raises ValueError for a key of another type, and where there is no such version."""
        data = self._ask("GET", f"/v1/{self._mount}/keys/{self._name}").get("data")
        kind = data.get("type") if isinstance(data, Mapping) else None
        if kind not in (ECDSA, EDDSA) or not isinstance(data, Mapping):
            raise ValueError(f"a key of the type {str(kind)[:40]}")
        public = text(data, "keys", str(self._version), "public_key")
        self._eddsa = kind == EDDSA
        return base64.b64decode(public, validate=True) if self._eddsa else raw_public(public.encode(), pem=True)

    def sign(self, message: bytes) -> bytes:
        """The signature, r and s or EdDSA's. Raises ValueError when another version signed."""
        sent = message if self._eddsa else sha256(message).digest()
        wanted: dict[str, Any] = {"input": base64.b64encode(sent).decode(), "key_version": self._version}
        if not self._eddsa:
            wanted |= {"prehashed": True, "hash_algorithm": "sha2-256", "marshaling_algorithm": "asn1"}
        found = self._ask("POST", f"/v1/{self._mount}/sign/{self._name}", wanted)
        said, wanted_head = text(found, "data", "signature"), f"vault:v{self._version}:"
        if not said.startswith(wanted_head):
            raise ValueError("another version of the key signed")
        raw = base64.b64decode(said.removeprefix(wanted_head), validate=True)
        return raw if self._eddsa else raw_signature(raw)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return self._service.ask(method, path, body, {**self._headers, "X-Vault-Token": self._token()})
        except Unanswered as error:
            if error.status != 403 or not self._token.forget():
                raise
        return self._service.ask(method, path, body, {**self._headers, "X-Vault-Token": self._token()})


def open_vault(name: str, address: str, *, deadline_s: float = DEADLINE_S) -> Signer:
    """The signer of `MOUNT/NAME?server=..&version=..`. Raises as `omega.adapters.kms.open_signer` does."""
    path, _, rest = address.partition("?")
    given = options(rest, _OPTIONS, "Vault")
    server = given.get("server") or os.environ.get("VAULT_ADDR", "")
    if _PATH.fullmatch(path) is None or not server or _NUMBER.fullmatch(given.get("version", "")) is None:
        advice = "vault:transit/NAME?server=https://HOST:8200&version=1"
        raise InputError("OMG-X001", "a key in Vault is named by mount, name, server and version", advice=advice)
    service = KeyService(server, deadline_s=deadline_s, authorities=given.get("ca") or os.environ.get("VAULT_CACERT", ""))
    namespace = given.get("namespace") or os.environ.get("VAULT_NAMESPACE", "")
    headers = {"X-Vault-Request": "true"} | ({"X-Vault-Namespace": namespace} if namespace else {})
    key = TransitKey(service, path, int(given["version"]), _token(service, given, headers), headers)
    return GuardedSigner(name, key, where="Vault", deadline_s=deadline_s)


def _token(service: KeyService, given: Mapping[str, str], headers: Mapping[str, str]) -> Login | Held:
    """How a token is had. Raises InputError (OMG-X001) for a way that lacks something."""
    way = given.get("auth", "")
    if not way:
        return Held(given.get("token-file", ""))
    path = f"/v1/auth/{given.get('auth-mount', way)}/login"
    if re.fullmatch(r"/v1/auth/[A-Za-z0-9_/-]{1,128}/login", path) is None:
        raise InputError("OMG-X001", "auth-mount is a path of letters, digits, '-' and '_'")
    if way == "approle" and {"role-id", "secret-id-file"} <= given.keys():
        role, file = given["role-id"], given["secret-id-file"]
        return Login(service, path, lambda: {"role_id": role, "secret_id": read_secret(file, "secret id")}, headers)
    if way == "kubernetes" and "role" in given:
        account = given.get("jwt-file", ACCOUNT)
        return Login(service, path, lambda: {"role": given["role"], "jwt": read_secret(account, "token", mode=0)}, headers)
    advice = "auth=approle&role-id=ID&secret-id-file=PATH, or auth=kubernetes&role=NAME"
    raise InputError("OMG-X001", f"there is not all that it takes to log in by {way[:40]!r}", advice=advice)
