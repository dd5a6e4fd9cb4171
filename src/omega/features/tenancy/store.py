"""What tenancy keeps, and the transactions on it. A change of a tenant gives its id alone: what a change gives is noted with its step, in
the tenant of the installation, and must not outlive the tenant it is about.

    tenancy_organisations, tenancy_environments     in the installation's own tenant: who is hosted here
    tenancy_keys, tenancy_members, tenancy_settings  in each tenant: what is its own
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from omega.kernel.errors import InputError
from omega.kernel.ports import Schema, TableSession

Values = Mapping[str, Any]

TABLES = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any], key: str) -> sa.Table:
    found = [column for column in columns if column.name != key]
    return sa.Table(
        name,
        TABLES,
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column(key, sa.String, primary_key=True),
        *found,
    )


ORGANISATIONS = _table(
    "tenancy_organisations",
    sa.Column("residency", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    key="name",
)
ENVIRONMENTS = _table(
    "tenancy_environments",
    sa.Column("organisation", sa.String, nullable=False),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("environment", sa.String, nullable=False),
    sa.Column("plan", sa.String, nullable=False),
    sa.Column("region", sa.String, nullable=False),
    sa.Column("hosting", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
    key="id",
)
KEYS = _table(
    "tenancy_keys",
    sa.Column("name", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("capabilities", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
    sa.Column("revoked_us", sa.BigInteger, nullable=False),
    key="id",
)
MEMBERS = _table(
    "tenancy_members", sa.Column("role", sa.String, nullable=False), sa.Column("name", sa.String, nullable=False), key="principal"
)
SETTINGS = _table("tenancy_settings", sa.Column("kind", sa.String, nullable=False), sa.Column("value", sa.Text, nullable=False), key="name")

SETTING, FLAG = "setting", "flag"
MAX_KEYS = 1_000
"""Most API keys of one tenant that count at the same time."""

MAX_SETTINGS = 1_000

TOLD_AT_ONCE = 100
"""Rows that are told of a person at once."""


def create_tenant(session: TableSession, tenant: str, values: Values) -> Any:
    """Make an environment, and its organisation when it is the first. Raises InputError (OMG-I001)."""
    name, region = values["organisation"], values["region"]
    known = session.row(sa.select(ORGANISATIONS).where(ORGANISATIONS.c.name == name))
    residency = sorted(set(values["residency"])) if known is None else json.loads(known["residency"])
    if known is not None and values["residency"] and sorted(set(values["residency"])) != residency:
        raise InputError("OMG-I001", f"the data of {name} may lie in {', '.join(residency) or 'any region'}, which its first tenant said")
    if residency and region not in residency:
        raise InputError("OMG-I001", f"the data of {name} may not lie in {region} (it may in {', '.join(residency)})")
    where = [ENVIRONMENTS.c[word] == values[word] for word in ("organisation", "project", "environment")]
    if session.row(sa.select(ENVIRONMENTS.c.id).where(*where)) is not None:
        raise InputError("OMG-I001", f"{name}/{values['project']}/{values['environment']} exists already")
    if known is None:
        session.execute(sa.insert(ORGANISATIONS).values(name=name, residency=json.dumps(residency), created_us=values["created_us"]))
    row = {column.name: values[column.name] for column in ENVIRONMENTS.c if column.name not in ("tenant", "state", "reason")}
    session.execute(sa.insert(ENVIRONMENTS).values(state="active", reason="", **row))
    return {"id": values["id"]}


def change_tenant(session: TableSession, tenant: str, values: Values) -> Any:
    """Set columns of one environment that is in one of the states `when`. Raises InputError (OMG-I003, OMG-I005)."""
    found = _environment(session, values["id"])
    if found["state"] not in values["when"]:
        raise InputError("OMG-I005", f"{values['id']} is {found['state']}, not {' or '.join(values['when'])}")
    session.execute(sa.update(ENVIRONMENTS).where(ENVIRONMENTS.c.id == values["id"]).values(**values["set"]))
    return {"id": values["id"]}


def drop_tenant(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget an environment that was purged, and its organisation with its last one."""
    found = _environment(session, values["id"])
    session.execute(sa.delete(ENVIRONMENTS).where(ENVIRONMENTS.c.id == values["id"]))
    name = found["organisation"]
    if session.row(sa.select(ENVIRONMENTS.c.id).where(ENVIRONMENTS.c.organisation == name)) is None:
        session.execute(sa.delete(ORGANISATIONS).where(ORGANISATIONS.c.name == name))
    return None


def show_tenant(session: TableSession, tenant: str, values: Values) -> Any:
    """One environment. Raises InputError (OMG-I003)."""
    return _environment(session, values["id"])


def list_tenants(session: TableSession, tenant: str, values: Values) -> Any:
    """The environments, by name."""
    names = (ENVIRONMENTS.c.organisation, ENVIRONMENTS.c.project, ENVIRONMENTS.c.environment)
    query = sa.select(ENVIRONMENTS).order_by(*names).limit(values["limit"])
    if values["organisation"]:
        query = query.where(ENVIRONMENTS.c.organisation == values["organisation"])
    return session.rows(query)


def _environment(session: TableSession, name: str) -> dict[str, Any]:
    found = session.row(sa.select(ENVIRONMENTS).where(ENVIRONMENTS.c.id == name))
    if found is None:
        raise InputError("OMG-I003", f"there is no tenant {name[:80]}", advice="omega tenant list")
    return found


def create_key(session: TableSession, tenant: str, values: Values) -> Any:
    """Make an API key, unless the tenant has too many, or agents beyond its plan. Raises InputError (OMG-I001)."""
    alive = (KEYS.c.revoked_us == 0, KEYS.c.expires_us > values["created_us"])
    found = session.rows(sa.select(KEYS.c.principal).where(*alive).limit(MAX_KEYS))
    if len(found) >= MAX_KEYS:
        raise InputError("OMG-I001", f"a tenant has at most {MAX_KEYS:,} API keys", advice="revoke those that nobody uses: omega key list")
    agents = {row["principal"] for row in found if row["principal"].startswith("agent:")} | {values["principal"]}
    if values["principal"].startswith("agent:") and values["agents"] and len(agents) > values["agents"]:
        raise InputError(
            "OMG-I001", f"the plan of this tenant allows {values['agents']} agents", advice="upgrade the plan, or revoke the keys of one"
        )
    row = {column.name: values[column.name] for column in KEYS.c if column.name not in ("tenant", "revoked_us", "roles", "capabilities")}
    lists = {word: json.dumps(sorted(set(values[word]))) for word in ("roles", "capabilities")}
    session.execute(sa.insert(KEYS).values(revoked_us=0, **row, **lists))
    return _key(session, values["id"])


def revoke_key(session: TableSession, tenant: str, values: Values) -> Any:
    """Note that a key counts no more; the first time stays. Raises InputError (OMG-I003)."""
    _key(session, values["id"])
    session.execute(sa.update(KEYS).where(KEYS.c.id == values["id"], KEYS.c.revoked_us == 0).values(revoked_us=values["at_us"]))
    return _key(session, values["id"])


def list_keys(session: TableSession, tenant: str, values: Values) -> Any:
    """The keys, the newest first."""
    return [_read_key(row) for row in session.rows(sa.select(KEYS).order_by(KEYS.c.id.desc()).limit(values["limit"]))]


def _key(session: TableSession, name: str) -> dict[str, Any]:
    found = session.row(sa.select(KEYS).where(KEYS.c.id == name))
    if found is None:
        raise InputError("OMG-I003", f"this tenant has no API key {name[:80]}", advice="omega key list")
    return _read_key(found)


def _read_key(row: dict[str, Any]) -> dict[str, Any]:
    return row | {word: json.loads(row[word]) for word in ("roles", "capabilities")}


def put_member(session: TableSession, tenant: str, values: Values) -> Any:
    """Make somebody a member, or change what they are."""
    row = {word: values[word] for word in ("role", "name")}
    if session.execute(sa.update(MEMBERS).where(MEMBERS.c.principal == values["principal"]).values(**row)) == 0:
        session.execute(sa.insert(MEMBERS).values(principal=values["principal"], **row))
    return dict(values)


def drop_member(session: TableSession, tenant: str, values: Values) -> Any:
    """Remove a member. Raises InputError (OMG-I003)."""
    if session.execute(sa.delete(MEMBERS).where(MEMBERS.c.principal == values["principal"])) == 0:
        raise InputError("OMG-I003", f"{values['principal'][:120]} is no member of this tenant")
    return None


def list_members(session: TableSession, tenant: str, values: Values) -> Any:
    """The members by principal."""
    return session.rows(sa.select(MEMBERS.c.principal, MEMBERS.c.role, MEMBERS.c.name).order_by(MEMBERS.c.principal).limit(MAX_SETTINGS))


def put_setting(session: TableSession, tenant: str, values: Values) -> Any:
    """Set a setting or a flag. Raises InputError (OMG-I001) when there are too many."""
    name, row = f"{values['kind']}/{values['name']}", {"kind": values["kind"], "value": json.dumps(values["value"])}
    if session.execute(sa.update(SETTINGS).where(SETTINGS.c.name == name).values(**row)) == 0:
        count = session.row(sa.select(sa.func.count().label("n")).select_from(SETTINGS))
        if count is not None and count["n"] >= MAX_SETTINGS:
            raise InputError("OMG-I001", f"an environment has at most {MAX_SETTINGS:,} settings and flags")
        session.execute(sa.insert(SETTINGS).values(name=name, **row))
    return {"name": values["name"], "value": values["value"]}


def drop_setting(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget a setting or a flag. Raises InputError (OMG-I003)."""
    if session.execute(sa.delete(SETTINGS).where(SETTINGS.c.name == f"{values['kind']}/{values['name']}")) == 0:
        raise InputError("OMG-I003", f"there is no {values['kind']} {values['name'][:80]}")
    return None


def list_settings(session: TableSession, tenant: str, values: Values) -> Any:
    """Settings or flags by name."""
    found = session.rows(sa.select(SETTINGS).where(SETTINGS.c.kind == values["kind"]).order_by(SETTINGS.c.name))
    return {row["name"].partition("/")[2]: json.loads(row["value"]) for row in found}


def named(session: TableSession, tenant: str, values: Values) -> Any:
    """The principals that are members, have a key or made one; in order, after `after`, at most `most`."""
    found: set[str] = set()
    for column in (MEMBERS.c.principal, KEYS.c.principal, KEYS.c.created_by):
        query = sa.select(column.label("name")).where(column > values["after"]).distinct().order_by(column).limit(values["most"])
        found.update(row["name"] for row in session.rows(query))
    return sorted(found)[: values["most"]]


def told(session: TableSession, tenant: str, values: Values) -> Any:
    """The memberships of these principals, and the keys that are theirs or that they made, after the id `after`."""
    of = values["subjects"]
    members = session.rows(sa.select(MEMBERS).where(MEMBERS.c.principal.in_(of)))
    keys = session.rows(sa.select(KEYS).where(_keys_of(of)).order_by(KEYS.c.id).limit(MAX_KEYS))
    rows = [{"id": f"member/{row['principal']}", **row} for row in members] + [_read_key(row) | {"id": f"key/{row['id']}"} for row in keys]
    later = sorted((row for row in rows if row["id"] > values["after"]), key=lambda row: str(row["id"]))
    return [{name: value for name, value in row.items() if name != "tenant"} for row in later[:TOLD_AT_ONCE]]


def erase(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget memberships, keys that were revoked, and who made a key. A key that may still be used is `left`: it is revoked first."""
    of = values["subjects"]
    erased = session.execute(sa.delete(MEMBERS).where(MEMBERS.c.principal.in_(of)))
    erased += session.execute(sa.delete(KEYS).where(KEYS.c.principal.in_(of), KEYS.c.revoked_us > 0))
    erased += session.execute(sa.update(KEYS).where(KEYS.c.created_by.in_(of)).values(created_by=""))
    left = session.row(sa.select(sa.func.count().label("n")).select_from(KEYS).where(KEYS.c.principal.in_(of)))
    return {"erased": erased, "left": 0 if left is None else left["n"]}


def _keys_of(principals: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.or_(KEYS.c.principal.in_(principals), KEYS.c.created_by.in_(principals))


SCHEMA = Schema(
    name="tenancy",
    version=1,
    tables=TABLES,
    changes={
        "create_tenant": create_tenant,
        "change_tenant": change_tenant,
        "drop_tenant": drop_tenant,
        "create_key": create_key,
        "revoke_key": revoke_key,
        "put_member": put_member,
        "drop_member": drop_member,
        "put_setting": put_setting,
        "drop_setting": drop_setting,
        "erase": erase,
    },
    looks={
        "show_tenant": show_tenant,
        "list_tenants": list_tenants,
        "list_keys": list_keys,
        "list_members": list_members,
        "list_settings": list_settings,
        "named": named,
        "told": told,
    },
)
