"""What the directory keeps in each tenant, and the transactions on it. A change gives ids alone: what it gives is noted with its step.

    directory_users, directory_groups      by id
    directory_memberships                  which user is in which group

A user has a `root`: the ids of all passports that are given for them hold it. It is drawn anew whenever they are let back in, so what was
given before they were suspended counts no more. Their `version` rises with everything that concerns them, with what their groups give too:
the gate takes no earlier standing for a later one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from omega.features.directory.filtering import GROUP_COLUMNS, GROUPS, MEMBERSHIPS, USER_COLUMNS, USERS, condition
from omega.kernel.errors import InputError
from omega.kernel.ports import TableSession

Values = Mapping[str, Any]

MAX_USERS = 10_000
"""Most users of one tenant."""

MAX_GROUPS = 1_000
"""Most groups of one tenant."""

MAX_OF_USER = 50
"""Most groups of one user: each passport of theirs names them all."""

OF_MEMBERSHIPS = 150
"""Users whose memberships are read at once: one question gives so many rows and no more."""

MAX_MEMBERS = 5_000
"""Most members of one group."""

TOLD_AT_ONCE = 100
"""Users that are told of a person at once."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


# -- users


def create_user(session: TableSession, tenant: str, values: Values) -> Any:
    """Make a user. Raises InputError (OMG-I001) for a name that is taken, or one too many."""
    _demand_room(session, USERS, MAX_USERS, "users")
    row = _user_row(values)
    _demand_free(session, USERS, "user_key", row["user_key"], "", f"somebody is called {values['user_name'][:200]} already")
    taken = session.row(sa.select(USERS.c.id).where(USERS.c.principal == values["principal"]))
    if taken is not None:
        raise _conflict("user_name", f"{values['principal'][:200]} is somebody already")
    if values.get("subject"):
        _demand_free(session, USERS, "subject", values["subject"], "", "somebody signs in with this account already")
    fixed = {word: values[word] for word in ("id", "principal", "root", "created_us", "changed_us")}
    session.execute(sa.insert(USERS).values(version=1, subject=values.get("subject", ""), **fixed, **row))
    return {"id": values["id"]}


def change_user(session: TableSession, tenant: str, values: Values) -> Any:
    """Set what is said about a user; gives the root that ends by it, if one does. Raises InputError (OMG-I001, OMG-I003, OMG-I005)."""
    found = _row(session, USERS, values["id"], "user", values["version"])
    _demand_weighed(session, found, values)
    row = _user_row(values)
    _demand_free(session, USERS, "user_key", row["user_key"], found["id"], f"somebody is called {values['user_name'][:200]} already")
    back = row["active"] and not found["active"]
    gone = found["active"] and not row["active"]
    root = values["root"] if back else found["root"]
    changed = {"root": root, "changed_us": values["changed_us"], "version": found["version"] + 1}
    session.execute(sa.update(USERS).where(USERS.c.id == found["id"]).values(**row, **changed))
    return {"id": found["id"], "ended": [found["root"]] if gone else []}


def drop_user(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget a user, and that they were in groups; gives their root. Raises InputError (OMG-I003, OMG-I005)."""
    found = _row(session, USERS, values["id"], "user", values["version"])
    _demand_weighed(session, found, values)
    _touch_groups(session, found["id"], values["changed_us"])
    session.execute(sa.delete(MEMBERSHIPS).where(MEMBERSHIPS.c.user_id == found["id"]))
    session.execute(sa.delete(USERS).where(USERS.c.id == found["id"]))
    return {"id": found["id"], "root": found["root"], "principal": found["principal"]}


def show_user(session: TableSession, tenant: str, values: Values) -> Any:
    """One user with the groups they are in. Raises InputError (OMG-I003)."""
    return _read_users(session, [_row(session, USERS, values["id"], "user", 0)])[0]


def list_users(session: TableSession, tenant: str, values: Values) -> Any:
    """Users by name, and how many there are in all."""
    total, rows = _page(session, USERS, USERS.c.user_key, USER_COLUMNS, values)
    return {"total": total, "rows": _read_users(session, rows)}


def standing_users(session: TableSession, tenant: str, values: Values) -> Any:
    """Users as the gate is to know them: with all roles, groups and capabilities that they have by themselves and by their groups."""
    return _standings(session, values["ids"])


def roles_of(session: TableSession, user: str) -> frozenset[str]:
    """The roles that a user has by themselves and by their groups."""
    return frozenset(role for each in _standings(session, [user]) for role in each["roles"])


def raise_versions(session: TableSession, users: Iterable[str]) -> None:
    """Something that concerns these users has changed: what is published of them from now on is later than all before."""
    for chunk in _chunks(sorted(users)):
        session.execute(sa.update(USERS).where(USERS.c.id.in_(chunk)).values(version=USERS.c.version + 1))


def _demand_weighed(session: TableSession, found: Values, values: Values) -> None:
    """Raise InputError (OMG-I005) for a user who has got a role since it was weighed whether the caller may change them."""
    if "weighed" in values and not roles_of(session, found["id"]) <= set(values["weighed"]):
        raise InputError("OMG-I005", "this user has got another role since they were looked at", advice="ask again")


def _standings(session: TableSession, users: Iterable[str]) -> list[dict[str, Any]]:
    found = [row for chunk in _chunks(list(users)) for row in session.rows(sa.select(USERS).where(USERS.c.id.in_(chunk)))]
    joined = MEMBERSHIPS.join(GROUPS, sa.and_(MEMBERSHIPS.c.group_id == GROUPS.c.id, MEMBERSHIPS.c.tenant == GROUPS.c.tenant))
    query = sa.select(MEMBERSHIPS.c.user_id, GROUPS.c.name, GROUPS.c.roles, GROUPS.c.capabilities).select_from(joined)
    groups: dict[str, list[dict[str, Any]]] = {}
    for chunk in _chunks([row["id"] for row in found], OF_MEMBERSHIPS):
        for row in session.rows(query.where(MEMBERSHIPS.c.user_id.in_(chunk))):
            groups.setdefault(row["user_id"], []).append(row)
    return [_standing(row, groups.get(row["id"], [])) for row in found]


def _standing(row: Values, groups: Iterable[Values]) -> dict[str, Any]:
    roles, capabilities, names = set(json.loads(row["roles"])), set(), set()
    for group in groups:
        roles |= set(json.loads(group["roles"]))
        capabilities |= set(json.loads(group["capabilities"]))
        names.add(group["name"])
    return {
        "user": row["id"],
        "principal": row["principal"],
        "root": row["root"],
        "version": row["version"],
        "active": bool(row["active"]),
        "roles": sorted(roles),
        "groups": sorted(names),
        "capabilities": sorted(capabilities),
    }


def _user_row(values: Values) -> dict[str, Any]:
    plain = {word: values[word] for word in ("user_name", "display_name", "given_name", "family_name", "external_id")}
    emails = [str(each["value"]).casefold() for each in values["emails"]]
    return plain | {
        "user_key": values["user_name"].casefold(),
        "display_key": values["display_name"].casefold(),
        "emails": json.dumps(values["emails"]),
        "emails_key": "".join(f"\n{each}\n" for each in emails),
        "active": int(values["active"]),
        "roles": json.dumps(sorted(set(values["roles"]))),
    }


def _read_users(session: TableSession, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    joined = MEMBERSHIPS.join(GROUPS, sa.and_(MEMBERSHIPS.c.group_id == GROUPS.c.id, MEMBERSHIPS.c.tenant == GROUPS.c.tenant))
    query = sa.select(MEMBERSHIPS.c.user_id, GROUPS.c.id, GROUPS.c.name, GROUPS.c.display_name).select_from(joined).order_by(GROUPS.c.name)
    for chunk in _chunks([row["id"] for row in rows], OF_MEMBERSHIPS):
        for row in session.rows(query.where(MEMBERSHIPS.c.user_id.in_(chunk))):
            shown = {"group": row["id"], "name": row["name"], "display_name": row["display_name"]}
            groups.setdefault(row["user_id"], []).append(shown)
    read: Mapping[str, Callable[[Any], Any]] = {"emails": json.loads, "roles": json.loads, "active": bool}
    return [
        {word: read[word](value) if word in read else value for word, value in row.items()} | {"groups": groups.get(row["id"], [])}
        for row in rows
    ]


# -- groups


def create_group(session: TableSession, tenant: str, values: Values) -> Any:
    """Make a group with its first members. Raises InputError (OMG-I001, OMG-I003)."""
    _demand_room(session, GROUPS, MAX_GROUPS, "groups")
    row = _group_row(values)
    _demand_free(session, GROUPS, "display_key", row["display_key"], "", f"a group is called {values['display_name'][:200]} already")
    name = _group_name(session, values["display_name"], values["id"])
    fixed = {word: values[word] for word in ("id", "created_us", "changed_us")}
    session.execute(sa.insert(GROUPS).values(name=name, version=1, **fixed, **row))
    join(session, values["id"], values["members"])
    raise_versions(session, values["members"])
    return {"id": values["id"], "users": list(values["members"])}


def change_group(session: TableSession, tenant: str, values: Values) -> Any:
    """Change a group and who is in it; gives the users whom it concerns. Raises InputError (OMG-I001, OMG-I003, OMG-I005)."""
    found = _row(session, GROUPS, values["id"], "group", values["version"])
    _demand_given(found, values)
    row: dict[str, Any] = {}
    concerned = {*values["add"], *values["remove"]}
    if values["about"] is not None:
        row = _group_row(values["about"])
        name = values["about"]["display_name"]
        _demand_free(session, GROUPS, "display_key", row["display_key"], found["id"], f"a group is called {name[:200]} already")
        if any(row[word] != found[word] for word in ("roles", "capabilities")):
            concerned |= set(_members(session, found["id"]))
    for chunk in _chunks(list(values["remove"])):
        session.execute(sa.delete(MEMBERSHIPS).where(MEMBERSHIPS.c.group_id == found["id"], MEMBERSHIPS.c.user_id.in_(chunk)))
    known = set(_members(session, found["id"]))
    join(session, found["id"], [each for each in dict.fromkeys(values["add"]) if each not in known], len(known))
    changed = {"changed_us": values["changed_us"], "version": found["version"] + 1}
    session.execute(sa.update(GROUPS).where(GROUPS.c.id == found["id"]).values(**row, **changed))
    raise_versions(session, concerned)
    return {"id": found["id"], "users": sorted(concerned)}


def drop_group(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget a group; gives who was in it. Raises InputError (OMG-I003, OMG-I005)."""
    found = _row(session, GROUPS, values["id"], "group", values["version"])
    _demand_given(found, values)
    members = _members(session, found["id"])
    session.execute(sa.delete(MEMBERSHIPS).where(MEMBERSHIPS.c.group_id == found["id"]))
    session.execute(sa.delete(GROUPS).where(GROUPS.c.id == found["id"]))
    raise_versions(session, members)
    return {"id": found["id"], "users": members}


def show_group(session: TableSession, tenant: str, values: Values) -> Any:
    """One group with its members. Raises InputError (OMG-I003)."""
    return _read_groups(session, [_row(session, GROUPS, values["id"], "group", 0)])[0]


def list_groups(session: TableSession, tenant: str, values: Values) -> Any:
    """Groups by name, and how many there are in all."""
    total, rows = _page(session, GROUPS, GROUPS.c.display_key, GROUP_COLUMNS, values)
    return {"total": total, "rows": _read_groups(session, rows)}


def _demand_given(found: Values, values: Values) -> None:
    """Raise InputError (OMG-I005) for a group that gives more than it did when it was weighed whether the caller may change it."""
    weighed = values.get("weighed", {})
    if any(not set(json.loads(found[what])) <= set(held) for what, held in weighed.items()):
        raise InputError("OMG-I005", "this group gives more than when it was looked at", advice="ask again")


def _group_row(values: Values) -> dict[str, Any]:
    return {
        "display_name": values["display_name"],
        "display_key": values["display_name"].casefold(),
        "external_id": values["external_id"],
        "roles": json.dumps(sorted(set(values["roles"]))),
        "capabilities": json.dumps(sorted(set(values["capabilities"]))),
    }


def _group_name(session: TableSession, display_name: str, own: str) -> str:
    """The name that policies see: of plain letters, and no other group's. One that was used by a group that is gone may come again."""
    plain = _NOT_IN_NAMES.sub("-", display_name.casefold()).strip("-")[:60] or own
    taken = session.row(sa.select(GROUPS.c.id).where(GROUPS.c.name == plain))
    return plain if taken is None else f"{plain}-{own[-8:]}"


def join(session: TableSession, group: str, users: list[str], before: int = 0) -> None:
    """Put users into a group that has `before` members and none of them. Raises InputError (OMG-I001, OMG-I003)."""
    users = list(dict.fromkeys(users))
    if before + len(users) > MAX_MEMBERS:
        raise InputError("OMG-I001", f"a group has at most {MAX_MEMBERS:,} members")
    for chunk in _chunks(users):
        found = {row["id"] for row in session.rows(sa.select(USERS.c.id).where(USERS.c.id.in_(chunk)))}
        missing = next((each for each in chunk if each not in found), None)
        if missing is not None:
            raise InputError("OMG-I003", f"this tenant has no user {missing[:80]}")
        counted = sa.select(MEMBERSHIPS.c.user_id, sa.func.count().label("n")).where(MEMBERSHIPS.c.user_id.in_(chunk))
        full = next((row for row in session.rows(counted.group_by(MEMBERSHIPS.c.user_id)) if row["n"] >= MAX_OF_USER), None)
        if full is not None:
            raise InputError("OMG-I001", f"{full['user_id']} is in {MAX_OF_USER} groups already, which is the most")
        for each in chunk:
            session.execute(sa.insert(MEMBERSHIPS).values(id=f"{group}/{each}", group_id=group, user_id=each))


def _members(session: TableSession, group: str) -> list[str]:
    return [row["user_id"] for row in session.rows(sa.select(MEMBERSHIPS.c.user_id).where(MEMBERSHIPS.c.group_id == group))]


def _touch_groups(session: TableSession, user: str, at_us: int) -> None:
    """What a group is has changed when one of its members is gone."""
    mine = sa.select(MEMBERSHIPS.c.group_id).where(MEMBERSHIPS.c.user_id == user)
    ids = [row["group_id"] for row in session.rows(mine)]
    if ids:
        session.execute(sa.update(GROUPS).where(GROUPS.c.id.in_(ids)).values(version=GROUPS.c.version + 1, changed_us=at_us))


def _read_groups(session: TableSession, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    members: dict[str, list[dict[str, Any]]] = {}
    joined = MEMBERSHIPS.join(USERS, sa.and_(MEMBERSHIPS.c.user_id == USERS.c.id, MEMBERSHIPS.c.tenant == USERS.c.tenant))
    query = sa.select(MEMBERSHIPS.c.group_id, USERS.c.id, USERS.c.user_name, USERS.c.display_name).select_from(joined)
    for row in rows:
        found = session.rows(query.where(MEMBERSHIPS.c.group_id == row["id"]).order_by(USERS.c.user_key))
        members[row["id"]] = [{"user": each["id"], "user_name": each["user_name"], "display_name": each["display_name"]} for each in found]
    return [
        row | {"roles": json.loads(row["roles"]), "capabilities": json.loads(row["capabilities"]), "members": members[row["id"]]}
        for row in rows
    ]


# -- what is kept of a person


def named(session: TableSession, tenant: str, values: Values) -> Any:
    """The principals of users; in order, after `after`, at most `most`."""
    query = sa.select(USERS.c.principal).where(USERS.c.principal > values["after"]).order_by(USERS.c.principal)
    return [row["principal"] for row in session.rows(query.limit(values["most"]))]


def told(session: TableSession, tenant: str, values: Values) -> Any:
    """The users who are these principals, with their groups, after the id `after`."""
    query = sa.select(USERS).where(USERS.c.principal.in_(values["subjects"]), USERS.c.id > values["after"]).order_by(USERS.c.id)
    hidden = ("tenant", "root", "user_key", "display_key", "emails_key")
    found = _read_users(session, session.rows(query.limit(TOLD_AT_ONCE)))
    return [{word: value for word, value in row.items() if word not in hidden} for row in found]


def erase(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget users who are let in no more. One who still is, is `left`: they are suspended or deleted first."""
    mine = USERS.c.principal.in_(values["subjects"])
    gone = [row["id"] for row in session.rows(sa.select(USERS.c.id).where(mine, USERS.c.active == 0))]
    erased = session.execute(sa.delete(MEMBERSHIPS).where(MEMBERSHIPS.c.user_id.in_(gone))) if gone else 0
    erased += session.execute(sa.delete(USERS).where(mine, USERS.c.active == 0))
    left = session.row(sa.select(sa.func.count().label("n")).select_from(USERS).where(mine))
    return {"erased": erased, "left": 0 if left is None else left["n"]}


# -- both


def _page(
    session: TableSession, table: sa.Table, order: Any, columns: Mapping[str, Any], values: Values
) -> tuple[int, list[dict[str, Any]]]:
    query, counted = sa.select(table), sa.select(sa.func.count().label("n")).select_from(table)
    if values["filter"] is not None:
        chosen = condition(values["filter"], columns)
        query, counted = query.where(chosen), counted.where(chosen)
    total = session.row(counted)
    rows = session.rows(query.order_by(order).offset(values["start"] - 1).limit(values["count"])) if values["count"] else []
    return int(total["n"]) if total is not None else 0, rows


def _row(session: TableSession, table: sa.Table, name: str, what: str, version: int) -> dict[str, Any]:
    found = session.row(sa.select(table).where(table.c.id == name))
    if found is None:
        raise InputError("OMG-I003", f"this tenant has no {what} {name[:80]}", advice=f"omega call directory.{what}s")
    if version and found["version"] != version:
        details = {"version": found["version"]}
        raise InputError("OMG-I005", f"this {what} has been changed since it was looked at", details=details)
    return found


def _demand_free(session: TableSession, table: sa.Table, column: str, value: str, own: str, cause: str) -> None:
    found = session.row(sa.select(table.c.id).where(table.c[column] == value, table.c.id != own))
    if found is not None:
        raise _conflict(column, cause)


def _conflict(attribute: str, cause: str) -> InputError:
    return InputError("OMG-I001", cause, details={"conflict": attribute})


def _demand_room(session: TableSession, table: sa.Table, most: int, what: str) -> None:
    counted = session.row(sa.select(sa.func.count().label("n")).select_from(table))
    if counted is not None and counted["n"] >= most:
        raise InputError("OMG-I001", f"a tenant has at most {most:,} {what}")


def _chunks(ids: list[str], size: int = 500) -> Iterable[list[str]]:
    """Databases take so many values in one statement and no more."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
