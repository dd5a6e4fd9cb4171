"""What lies with the host in the name of one principal of a tenant, beside a user of the directory: API keys that act as them, secrets
that they left for tool servers, second factors. A name that has any of it is somebody's, and whoever takes the name takes all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from omega.host.arrangements import Shelf, all_arranged
from omega.host.credentials import CREDENTIAL, USE, whose
from omega.host.mfa import FACTOR, name_of
from omega.host.passkeys import Passkeys, Person
from omega.host.tenants import API_KEY
from omega.trust.sealing import Keyring

MAX_KNOWN: Final = 20_000
"""Most secrets of which it is kept at hand whose they are; past it all are forgotten and opened anew."""


class Holdings:
    """Finds and drops what is somebody's, on the `shelf`."""

    def __init__(self, shelf: Shelf, keyring: Keyring, now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring = shelf, keyring
        self._passkeys = Passkeys(shelf, keyring, now_us, _nothing)
        self._known: dict[str, Person] = {}

    def any(self, person: Person) -> bool:
        """Whether there is something of theirs. Raises IntegrityError (OMG-T004) for a document that was not sealed here."""
        enrolled = self._shelf.document(FACTOR, name_of(*person)) is not None
        return enrolled or bool(self._passkeys.keys(person) or self.keys(person) or self._secrets(person))

    def keys(self, person: Person) -> list[str]:
        """The ids of the API keys that act as them."""
        bodies = ((name, json.loads(body)) for name, body in self._shelf.documents(API_KEY))
        return [name for name, body in bodies if (body["tenant"], body["principal"]) == person]

    def drop(self, person: Person) -> None:
        """Forget all of it. Keys are refused first, by whoever calls. Raises IntegrityError (OMG-T004)."""
        for name in self.keys(person):
            self._shelf.drop_document(API_KEY, name)
        for name in self._secrets(person):
            self._shelf.drop_document(CREDENTIAL, name)
            self._shelf.drop_document(USE, name)
        self._shelf.drop_document(FACTOR, name_of(*person))
        for held in self._passkeys.keys(person):
            self._passkeys.remove(person, held.id)

    def _secrets(self, person: Person) -> list[str]:
        """The names of their secrets. A name is a digest of whose it is, so what was found once holds for as long as the name stands."""
        found = []
        for name, body in all_arranged(self._shelf, CREDENTIAL).items():
            if name not in self._known:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[name] = whose(name, body, self._keyring)
            if self._known[name] == person:
                found.append(name)
        return found


def _nothing(count: int) -> bytes:
    raise AssertionError(f"no passkey is asked for here, and {count} random bytes were")
