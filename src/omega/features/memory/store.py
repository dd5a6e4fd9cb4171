"""What is remembered, and the transactions on it. What a change gives is noted with its step, so it gives ids and counts, never texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from omega.kernel.errors import InputError
from omega.kernel.ports import Schema, TableSession
from omega.kernel.roster import relevance

Values = Mapping[str, Any]

TABLES = sa.MetaData()

ENTRIES = sa.Table(
    "memory_entries",
    TABLES,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("agent", sa.String, nullable=False),
    sa.Column("conversation", sa.String, nullable=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("said", sa.String, nullable=False),
    sa.Column("about", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
)

MAX_ENTRIES = 50_000
"""Most entries of one tenant."""

MAX_TURNS = 1_000
"""Most entries of one conversation; the oldest are forgotten first."""

LOOKED_AT = 1_000
"""How many of the latest notes are looked at for those that some words speak of."""

TOLD_AT_ONCE = 4
"""Entries that are told at once: each may hold 20,000 characters of twelve bytes, and an answer of the tables is at most 1 MiB."""

NAMED_AT_ONCE = 500
"""Ids that one statement names."""

_SHOWN = (ENTRIES.c.id, ENTRIES.c.said, ENTRIES.c.text, ENTRIES.c.about, ENTRIES.c.owner, ENTRIES.c.at_us, ENTRIES.c.expires_us)


def keep(session: TableSession, tenant: str, values: Values) -> Any:
    """Keep an entry, and drop what has expired unless a legal hold stands. Raises InputError (OMG-I001) when there are too many."""
    if not values["held"]:
        session.execute(sa.delete(ENTRIES).where(ENTRIES.c.expires_us <= values["at_us"]))
    counted = session.row(sa.select(sa.func.count().label("n")).select_from(ENTRIES))
    if counted is not None and counted["n"] >= MAX_ENTRIES:
        raise InputError("OMG-I001", f"a tenant remembers at most {MAX_ENTRIES:,} things", advice="forget some: memory.forget")
    row = {column.name: values[column.name] for column in ENTRIES.c if column.name != "tenant"}
    session.execute(sa.insert(ENTRIES).values(**row))
    if values["conversation"] and not values["held"]:
        _shorten(session, values)
    return {"id": values["id"], "expires_us": values["expires_us"]}


def find(session: TableSession, tenant: str, values: Values) -> Any:
    """The latest of a conversation, oldest first; or notes, the most relevant first. Only what `owner` may see, and has not expired."""
    chosen = [ENTRIES.c.agent == values["agent"], ENTRIES.c.expires_us > values["now_us"]]
    chosen.append(ENTRIES.c.conversation == values["conversation"])
    chosen.append(ENTRIES.c.owner == values["owner"] if values["conversation"] else ENTRIES.c.owner.in_(["", values["owner"]]))
    query = sa.select(*_SHOWN).where(*chosen).order_by(ENTRIES.c.at_us.desc(), ENTRIES.c.id.desc())
    if values["conversation"]:
        return [_shown(row) for row in reversed(session.rows(query.limit(values["most"])))]
    found = [_shown(row) for row in session.rows(query.limit(LOOKED_AT))]
    if values["words"]:
        scored = [(relevance({"description": each["text"]}, values["words"]), each) for each in found]
        found = [each for score, each in sorted(scored, key=lambda pair: -pair[0]) if score > 0]
    return found[: values["most"]]


def forget(session: TableSession, tenant: str, values: Values) -> Any:
    """Forget what fits everything that is said; `owner` is whose alone, empty for anybody's. Gives how much it was."""
    said = [(name, values[name]) for name in ("id", "agent", "conversation", "about", "owner") if values[name]]
    return {"forgotten": session.execute(sa.delete(ENTRIES).where(*(ENTRIES.c[name] == value for name, value in said)))}


def count(session: TableSession, tenant: str, values: Values) -> Any:
    """How much each agent remembers that has not expired: `agent`, `entries`."""
    query = (
        sa.select(ENTRIES.c.agent, sa.func.count().label("entries"))
        .where(ENTRIES.c.expires_us > values["now_us"])
        .group_by(ENTRIES.c.agent)
        .order_by(ENTRIES.c.agent)
    )
    return session.rows(query)


def named(session: TableSession, tenant: str, values: Values) -> Any:
    """Under which names something is remembered: whom it is about, and whose it is; in order, after `after`, at most `most`."""
    found: set[str] = set()
    for column in (ENTRIES.c.about, ENTRIES.c.owner):
        query = sa.select(column.label("name")).where(column > values["after"]).distinct().order_by(column).limit(values["most"])
        found.update(row["name"] for row in session.rows(query))
    return sorted(found)[: values["most"]]


def told(session: TableSession, tenant: str, values: Values) -> Any:
    """Everything that is remembered of these, also what has expired and was not dropped yet; the oldest first, after the id `after`."""
    query = sa.select(ENTRIES).where(_of(values), ENTRIES.c.id > values["after"]).order_by(ENTRIES.c.id).limit(TOLD_AT_ONCE)
    return [{name: value for name, value in row.items() if name != "tenant"} for row in session.rows(query)]


def erase(session: TableSession, tenant: str, values: Values) -> Any:
    """Destroy what is remembered of these, and the entries that were `made`. Gives how many were `erased`."""
    made = [each["id"] for each in values["made"] if isinstance(each, dict) and isinstance(each.get("id"), str)]
    erased = session.execute(sa.delete(ENTRIES).where(_of(values))) if values["subjects"] else 0
    for start in range(0, len(made), NAMED_AT_ONCE):
        erased += session.execute(sa.delete(ENTRIES).where(ENTRIES.c.id.in_(made[start : start + NAMED_AT_ONCE])))
    return {"erased": erased}


def _of(values: Values) -> sa.ColumnElement[bool]:
    return sa.or_(ENTRIES.c.about.in_(values["subjects"]), ENTRIES.c.owner.in_(values["subjects"]))


def _shorten(session: TableSession, values: Values) -> None:
    """Forget the oldest of a conversation that has grown too long."""
    same = [ENTRIES.c[name] == values[name] for name in ("agent", "conversation", "owner")]
    newest = sa.select(ENTRIES.c.id).where(*same).order_by(ENTRIES.c.at_us.desc(), ENTRIES.c.id.desc()).limit(MAX_TURNS + 1)
    found = session.rows(newest)
    if len(found) > MAX_TURNS:
        session.execute(sa.delete(ENTRIES).where(ENTRIES.c.id == found[-1]["id"]))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "owner"} | {"shared": not row["owner"]}


SCHEMA = Schema(
    name="memory",
    version=1,
    tables=TABLES,
    changes={"keep": keep, "forget": forget, "erase": erase},
    looks={"find": find, "count": count, "named": named, "told": told},
)
