"""What the directory asks of the world: its own tables, and the host, which holds what the gate reads about users.

A change of the tables is followed, in the same method, by handing the users that it concerns to the host as they stand then. A step that is
repeated hands over the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.effects import Consult, Request, Transact

UNKNOWN, SUSPENDED, TAKEN = "unknown", "suspended", "taken"
"""Why somebody who arrives with an account is not let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Transact):
    """A change of the directory's tables."""

    port: ClassVar[str] = "directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Consult):
    """A question to the directory's tables."""

    port: ClassVar[str] = "directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishUsers(Request):
    """Have the gate know users of the caller's own tenant as they stand: each has `user`, `principal`, `root` (what the ids of their
    passports hold), `active`, `roles`, `groups`, `capabilities`, `version` (an earlier one changes nothing where a later one was handed
    over). Roots in `ended` are refused from now on, with all passports, sessions and keys below them; a user who is not active is refused
    too. `over` lets a new user be somebody who has keys, secrets or second factors here already: an owner may say so."""

    port: ClassVar[str] = "users"
    users: Sequence[Mapping[str, Any]]
    ended: Sequence[str] = ()
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IsFree(Request):
    """Whether nothing in the caller's own tenant is `principal`'s as yet: no API key, secret or second factor. Gives a bool."""

    port: ClassVar[str] = "users"
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNew(Request):
    """Whether no user of the caller's own tenant is or was `principal`, and a new one may be. Gives a bool."""

    port: ClassVar[str] = "users"
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawUser(Request):
    """Have the gate forget a user of the caller's own tenant, and refuse what was given under `root`. What was `principal`'s ends with
    them: API keys, secrets for tool servers, second factors. No later user is `principal`, so what is kept elsewhere has no heir."""

    port: ClassVar[str] = "users"
    user: str
    principal: str
    root: str
