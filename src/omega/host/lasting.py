"""The second signature of what is kept long: ML-DSA-65 over the newest checkpoint of an export, an archive and a checkpoint kept elsewhere.

A checkpoint at every commit has one signature, of Ed25519: a second one is 3.3 kB, and a log that nobody takes away needs none. What
leaves the installation is looked at for years, so its checkpoint carries both, wherever `cryptography` knows ML-DSA. Nothing is made at
the start of a process: the key is derived from the root (`omega.trust.sealing.derive`) when something is signed, so every process and
machine with the same key store has the same one, and whoever restores the store has it again. An installation that was told to sign every
checkpoint (`omega keys add-lasting`) goes on with the key that was made for it.

Turning it off is an arrangement (the kind `lasting`), so it is on record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from omega.host.arrangements import Documents, arranged
from omega.kernel.errors import InputError
from omega.trust.sealing import derive

if TYPE_CHECKING:
    from omega.adapters.keystore import Keystore
    from omega.kernel.ports import Signer

LASTING = "lasting"
"""The kind of the document."""

EXPORTS = "exports"
"""Its name: there is one, for everything that is taken away."""

EACH = "log-pq"
"""The name of the key that signs every checkpoint, where somebody asked for that."""

PURPOSE = b"omega lasting 1"
"""What the derived key is for, and nothing else."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether what is kept long has a second signature: `state` is `on`, `off` (arranged), `each` (every checkpoint has it) or `unable`
    (`cryptography` here knows no ML-DSA); `text` says so in words."""

    state: str
    text: str


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document as it is kept. Raises InputError (OMG-I001)."""
    if name != EXPORTS or set(body) != {"on"} or type(body["on"]) is not bool:
        raise InputError("OMG-I001", f"the second signature of {EXPORTS} is on or off")
    return dict(body)


@cache
def able() -> bool:
    """Whether `cryptography` and the library below it know ML-DSA-65."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

        MLDSA65PrivateKey.from_seed_bytes(bytes(32))
    except (ImportError, UnsupportedAlgorithm):
        return False
    return True


def standing(keys: Keystore, documents: Documents) -> Standing:
    """How it stands with an installation. Signs nothing and makes no key."""
    if not able():
        return Standing("unable", "exports and archives have one signature: this release of cryptography knows no ML-DSA-65")
    if keys.has(EACH):
        return Standing("each", "every checkpoint is signed with ML-DSA-65 too, those of exports and archives among them")
    found = arranged(documents, LASTING, EXPORTS)
    if found is not None and not found["on"]:
        return Standing("off", "exports and archives have one signature: the second one was turned off")
    return Standing("on", "exports, archives and kept checkpoints are signed with ML-DSA-65 too, checkpoints of commits are not")


def lasting_signer(keys: Keystore, documents: Documents) -> Signer | None:
    """What signs the checkpoint of an export a second time; None where that is off or cannot be done. Raises StorageError (OMG-T003)."""
    found = standing(keys, documents)
    if found.state == "each":
        return keys.signer(EACH)
    return derived(keys) if found.state == "on" else None


def derived(keys: Keystore) -> Signer:
    """The key that every installation has for this without keeping it. Raises StorageError (OMG-T003)."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    from omega.adapters.keystore import FileSigner

    return FileSigner(LASTING, MLDSA65PrivateKey.from_seed_bytes(derive(keys.secret("seal"), PURPOSE)))
