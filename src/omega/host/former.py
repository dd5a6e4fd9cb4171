"""Principals of users who are gone: no later user is ever one of them, so whatever is kept in their name anywhere has no heir.

    former-user     by tenant and a mark of the principal, with nothing in it

What agents remember, roles in policies, quarantines, approvals and budgets go by principal, some of them in tables of features that the
host knows nothing of. So it is not looked for and destroyed; the name is used up instead. What stays of a name is a keyed hash that this
installation alone can make (`Keyring.subject`): somebody who was forgotten is not named by it. It goes with the tenant.

A tenant has so many marks and no more. Past them its new users are their ids to the gate, which never come twice and need no mark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omega.features.directory.model import OWN
from omega.host.arrangements import Documents, Shelf
from omega.trust.sealing import Keyring

FORMER: Final = "former-user"
"""The kind of the documents."""

MAX_FORMER: Final = 20_000
"""Names that may be used up in one tenant before its new users are their ids. Users there are then still leave a mark each."""


class Former:
    """Keeps and looks up the marks of a tenant, on the `shelf`."""

    def __init__(self, shelf: Shelf, keyring: Keyring, now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring, self._now_us = shelf, keyring, now_us

    def keep(self, tenant: str, principal: str) -> None:
        """Nobody is to be `principal` any more. A second time changes nothing."""
        if not principal.startswith(OWN):
            self._shelf.put_document(FORMER, self._name(tenant, principal), b"", self._now_us())

    def knows(self, tenant: str, principal: str) -> bool:
        """Whether a former user was `principal`."""
        return self._shelf.document(FORMER, self._name(tenant, principal)) is not None

    def full(self, tenant: str) -> bool:
        """Whether so many names are used up that a new user is not to use up one more."""
        return len(of_tenant(self._shelf, tenant)) >= MAX_FORMER

    def _name(self, tenant: str, principal: str) -> str:
        return f"{tenant} {self._keyring.subject(tenant, f'former user {principal}')}"


def of_tenant(documents: Documents, tenant: str) -> list[tuple[str, str]]:
    """Kind and name of every mark of a tenant."""
    return [(FORMER, name) for name, _ in documents.documents(FORMER, f"{tenant} ")]
