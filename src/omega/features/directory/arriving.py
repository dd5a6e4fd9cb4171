"""Somebody arrives with an account of their provider: found, made or linked, and put into the groups that the provider has them in. All of
it is one transaction, so a sign-in is whole or did not happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from omega.features.directory.filtering import GROUPS, MEMBERSHIPS, USERS
from omega.features.directory.requests import SUSPENDED, TAKEN, UNKNOWN
from omega.features.directory.store import create_user, join, raise_versions, roles_of
from omega.kernel.ports import TableSession

Values = Mapping[str, Any]

NEVER: Final = frozenset({"owner", "operator"})
"""Roles that nothing which a provider says gives: groups that have them are joined by hand, or by whoever has the role."""

TOO_HIGH: Final = NEVER | {"admin"}
"""Roles of users to whom no account is linked by their name: whoever could choose a name would be them."""


def knows(session: TableSession, tenant: str, values: Values) -> Any:
    """Whether somebody signs in with the account `subject`."""
    return session.row(sa.select(USERS.c.id).where(USERS.c.subject == values["subject"])) is not None


def arrive(session: TableSession, tenant: str, values: Values) -> Any:
    """Who has the account `subject`. Gives their `id`; or none, and `why`: nobody is known by it and none is made, or they are suspended.

    `user` is who they are when they are made, `create` whether they are, if their principal is `free`; with `link`, somebody of that
    name is meant who has no account as yet, and no role by which others are managed.
    `mapped` are all groups that the provider speaks of (by the names that policies see), `groups` those that they are in.
    """
    found = session.row(sa.select(USERS).where(USERS.c.subject == values["subject"]))
    if found is None and values["link"]:
        key = values["user"]["user_name"].casefold()
        found = session.row(sa.select(USERS).where(USERS.c.user_key == key, USERS.c.subject == ""))
        if found is not None and TOO_HIGH & roles_of(session, found["id"]):
            return {"id": "", "why": UNKNOWN}
    if found is None and not values["create"]:
        return {"id": "", "why": UNKNOWN}
    if found is not None and not found["active"]:
        return {"id": "", "why": SUSPENDED}
    if found is None and not values["free"]:
        return {"id": "", "why": TAKEN}
    if found is None:
        user = str(create_user(session, tenant, {**values["user"], "subject": values["subject"]})["id"])
    else:
        user = str(found["id"])
        session.execute(sa.update(USERS).where(USERS.c.id == user).values(subject=values["subject"]))
    _place(session, user, values)
    return {"id": user, "why": ""}


def _place(session: TableSession, user: str, values: Values) -> None:
    """Have a user in those of the mapped groups that they are in at the provider, and in no other of them."""
    if not values["mapped"]:
        return
    held = {row["group_id"] for row in session.rows(sa.select(MEMBERSHIPS.c.group_id).where(MEMBERSHIPS.c.user_id == user))}
    query = sa.select(GROUPS.c.id, GROUPS.c.name, GROUPS.c.roles, GROUPS.c.version).where(GROUPS.c.name.in_(list(values["mapped"])))
    moved = False
    for row in session.rows(query):
        wanted = row["name"] in values["groups"]
        if wanted == (row["id"] in held) or NEVER & set(json.loads(row["roles"])):
            continue
        moved = True
        if wanted:
            join(session, row["id"], [user])
        else:
            session.execute(sa.delete(MEMBERSHIPS).where(MEMBERSHIPS.c.group_id == row["id"], MEMBERSHIPS.c.user_id == user))
        changed = {"changed_us": values["user"]["changed_us"], "version": row["version"] + 1}
        session.execute(sa.update(GROUPS).where(GROUPS.c.id == row["id"]).values(**changed))
    if moved:
        raise_versions(session, [user])
