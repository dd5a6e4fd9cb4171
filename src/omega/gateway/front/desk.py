"""What the pages and endpoints of OAuth ask of the host: who asks for what, what a person is shown, and what becomes of their answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omega.gateway.front.core import Visitor
from omega.wire.oauth import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a client asks for, when it is certain who it is and where it may be answered. With a `fault` (a word of RFC 6749, 4.1.2.1) it
    is answered with that and `words`."""

    client: Client
    redirect: str
    state: str
    issuer: str
    challenge: str = ""
    scopes: tuple[str, ...] = ()
    resource: str = ""
    fault: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the page shows: what is asked, of whom, with which rights that they hold (each with its meaning), whether they have allowed it
    before, and the ticket that stands for all of it. `assured`: the client is known to be who it says it is, so it need not ask again."""

    asking: Asking
    person: str
    tenant: str
    rights: Sequence[tuple[str, str]]
    before: bool
    assured: bool
    ticket: str


class Desk(Protocol):
    """What these entrances ask of the host (`omega.host.authorizing`)."""

    @property
    def registers(self) -> bool:
        """Whether clients may register themselves."""
        ...

    @property
    def scopes(self) -> Sequence[str]:
        """What a client gets that asks for nothing in particular, as far as the person holds it."""
        ...

    async def asked(self, given: Mapping[str, str], issuer: str, visitor: Visitor) -> Asking:
        """What a client asks the visitor for. Raises InputError (OMG-G012), Denied while nobody may be sent anywhere."""
        ...

    def consent(self, asking: Asking, visitor: Visitor) -> Consent:
        """What the person is shown. Raises InputError (OMG-G012) when they hold nothing of what is asked."""
        ...

    async def agree(self, ticket: str, visitor: Visitor) -> str:
        """Where the client is answered, with a code; on record. Raises Denied (OMG-T001) for a ticket that is not theirs or too old."""
        ...

    async def refuse(self, ticket: str, visitor: Visitor) -> str:
        """Where the client is answered that it was refused; on record. Raises Denied (OMG-T001)."""
        ...

    def register(self, document: Mapping[str, Any], address: str) -> dict[str, Any]:
        """What a new client is told. Raises InputError (OMG-G012), Denied (OMG-G007)."""
        ...

    async def redeem(self, form: Mapping[str, str], headers: Mapping[str, str], issuer: str) -> dict[str, Any]:
        """The answer of the token endpoint to a code or a refresh token. Raises Denied (OMG-T001, OMG-T002), InputError (OMG-I001)."""
        ...

    async def give_up(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """End the grant of a client that gives its token back (RFC 7009). Raises Denied (OMG-T001) for no client."""
        ...

    def connections(self, visitor: Visitor) -> list[dict[str, Any]]:
        """What the visitor has allowed, the newest first."""
        ...

    async def withdraw(self, grant: str, visitor: Visitor) -> None:
        """End what the visitor has allowed; on record. Raises InputError (OMG-I003) when it is none of theirs."""
        ...
