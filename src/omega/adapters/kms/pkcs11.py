"""A key in an HSM behind PKCS#11, by its URI (RFC 7512):

    pkcs11:token=omega;object=passport?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin

`token` and `object` (the label of the key; or `id`, percent-encoded) are needed, and the module that speaks to the device. The PIN stands
in the file that `pin-source` names, which belongs to the user alone; a PIN in the address is refused, for addresses are shown.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, unquote_to_bytes

from omega.adapters.kms.guard import DEADLINE_S, GuardedSigner, raw_point
from omega.adapters.kms.private import read_secret
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

_ADVICE = "pkcs11:token=TOKEN;object=LABEL?module-path=/path/to/module.so&pin-source=file:/path/to/pin"


class TokenKey:
    """One P-256 key pair on a token. Implements `guard.RemoteKey`; its guard makes one call at a time, as a session demands."""

    def __init__(self, module: str, token: str, wanted: dict[str, Any], pin: str) -> None:
        from pkcs11.exceptions import PKCS11Error

        self.failures: tuple[type[Exception], ...] = (PKCS11Error, RuntimeError, OSError)
        self._module, self._token, self._wanted, self._pin = module, token, wanted, pin
        self._session: Any = None

    def public(self) -> bytes:
        """The public key as a point. Raises ValueError for a key of another curve."""
        from pkcs11 import KeyType, ObjectClass
        from pkcs11.util.ec import encode_ec_public_key

        key = self._opened().get_key(object_class=ObjectClass.PUBLIC_KEY, key_type=KeyType.EC, **self._wanted)
        return raw_point(encode_ec_public_key(key))

    def sign(self, message: bytes) -> bytes:
        """The ES256 signature: the device gives r and s as they are."""
        from pkcs11 import KeyType, Mechanism, ObjectClass

        try:
            key = self._opened().get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC, **self._wanted)
            return bytes(key.sign(sha256(message).digest(), mechanism=Mechanism.ECDSA))
        except self.failures:
            self._session = None  # the next call begins with a new session: a device that was restarted knows the old one no more
            raise

    def _opened(self) -> Any:
        if self._session is None:
            import pkcs11
            from pkcs11.exceptions import UserAlreadyLoggedIn

            token = pkcs11.lib(self._module).get_token(token_label=self._token)
            try:
                self._session = token.open(user_pin=self._pin)
            except UserAlreadyLoggedIn:
                self._session = token.open()  # a process logs in once per token: another key of it was opened before
        return self._session


def open_token(name: str, address: str, *, deadline_s: float = DEADLINE_S) -> Signer:
    """The signer of a PKCS#11 URI without its scheme. Raises as `omega.adapters.kms.open_signer` does, and StorageError (OMG-T003)
    when others could read the file with the PIN."""
    try:
        import pkcs11  # noqa: F401 - only whether it is there
    except ImportError:
        raise InputError("OMG-X001", "a key behind PKCS#11 takes python-pkcs11", advice="pip install 'omega-platform[keys]'") from None
    path, _, rest = address.partition("?")
    parts = dict(part.partition("=")[::2] for part in path.split(";") if part)
    query = {key: values[0] for key, values in parse_qs(rest, keep_blank_values=True).items()}
    if "pin-value" in query:
        raise InputError("OMG-X001", "a PIN does not belong into an address", advice="put it into a file and name that with pin-source")
    missing = [word for word in ("token",) if not parts.get(word)] + [word for word in ("module-path", "pin-source") if not query.get(word)]
    if missing or not ({"object", "id"} & parts.keys()) or parts.keys() - {"token", "object", "id", "type"}:
        raise InputError(
            "OMG-X001", f"the address of a token lacks {', '.join(missing) or 'an object, or has parts unknown'}", advice=_ADVICE
        )
    wanted: dict[str, Any] = {"label": unquote(parts["object"])} if "object" in parts else {"id": unquote_to_bytes(parts["id"])}
    key = TokenKey(query["module-path"], unquote(parts["token"]), wanted, read_secret(query["pin-source"], "PIN"))
    return GuardedSigner(name, key, where=f"the token {unquote(parts['token'])[:80]}", deadline_s=deadline_s)
