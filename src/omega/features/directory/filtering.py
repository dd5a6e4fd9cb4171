"""The directory's tables, and filters as conditions on them: what is compared is a column, and every value a bound parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from omega.kernel.errors import InputError

TABLES = sa.MetaData()

USERS = sa.Table(
    "directory_users",
    TABLES,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("root", sa.String, nullable=False),
    sa.Column("user_name", sa.String, nullable=False),
    sa.Column("user_key", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("external_id", sa.String, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("display_key", sa.String, nullable=False),
    sa.Column("given_name", sa.String, nullable=False),
    sa.Column("family_name", sa.String, nullable=False),
    sa.Column("emails", sa.Text, nullable=False),
    sa.Column("emails_key", sa.Text, nullable=False),
    sa.Column("active", sa.Integer, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("changed_us", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)
GROUPS = sa.Table(
    "directory_groups",
    TABLES,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("display_key", sa.String, nullable=False),
    sa.Column("external_id", sa.String, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("capabilities", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("changed_us", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
)
MEMBERSHIPS = sa.Table(
    "directory_memberships",
    TABLES,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("group_id", sa.String, nullable=False),
    sa.Column("user_id", sa.String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Column:
    """What an attribute of a filter is compared with. `folded` compares without case; `listed` is a column of values between line ends."""

    column: Any
    folded: bool = False
    listed: bool = False
    truth: bool = False
    inside: Callable[[str], Any] | None = None


def _member(user: str) -> Any:
    return GROUPS.c.id.in_(sa.select(MEMBERSHIPS.c.group_id).where(MEMBERSHIPS.c.user_id == user))


USER_COLUMNS: Mapping[str, Column] = {
    "user": Column(USERS.c.id),
    "user_name": Column(USERS.c.user_key, folded=True),
    "external_id": Column(USERS.c.external_id),
    "display_name": Column(USERS.c.display_key, folded=True),
    "emails": Column(USERS.c.emails_key, folded=True, listed=True),
    "active": Column(USERS.c.active, truth=True),
}
GROUP_COLUMNS: Mapping[str, Column] = {
    "group": Column(GROUPS.c.id),
    "display_name": Column(GROUPS.c.display_key, folded=True),
    "external_id": Column(GROUPS.c.external_id),
    "members": Column(GROUPS.c.id, inside=_member),
}


def condition(found: Mapping[str, Any], columns: Mapping[str, Column]) -> Any:
    """A filter (`model.Filter` as data) as a condition. Raises InputError (OMG-I001) for an attribute or a comparison that is not known."""
    if found["all"]:
        return sa.and_(*(condition(each, columns) for each in found["all"]))
    if found["any"]:
        return sa.or_(*(condition(each, columns) for each in found["any"]))
    if found["none"]:
        return sa.not_(condition(found["none"][0], columns))
    column = columns.get(found["attribute"])
    if column is None:
        raise InputError("OMG-I001", f"nothing is filtered by {found['attribute'][:40]!r} (known: {', '.join(sorted(columns))})")
    return _compared(column, found["op"], found["value"])


def _compared(column: Column, op: str, value: str) -> Any:
    if column.inside is not None or column.truth:
        return _exactly(column, op, value)
    text = value.casefold() if column.folded else value
    if op == "pr":
        return column.column != ""
    if column.listed:
        text = {"eq": f"\n{text}\n", "ne": f"\n{text}\n", "sw": f"\n{text}", "ew": f"{text}\n"}.get(op, text)
        held = column.column.contains(text, autoescape=True)
        return sa.not_(held) if op == "ne" else held
    if op in ("eq", "ne"):
        return column.column == text if op == "eq" else column.column != text
    if op == "sw":
        return column.column.startswith(text, autoescape=True)
    return column.column.endswith(text, autoescape=True) if op == "ew" else column.column.contains(text, autoescape=True)


def _exactly(column: Column, op: str, value: str) -> Any:
    """Comparisons of what is there or is not: equal, or not equal. Raises InputError (OMG-I001) for any other."""
    if op not in ("eq", "ne"):
        raise InputError("OMG-I001", f"this attribute is compared by eq and ne, not by {op}")
    if column.inside is not None:
        found = column.inside(value)
        return found if op == "eq" else sa.not_(found)
    if value not in ("true", "false"):
        raise InputError("OMG-I001", "this attribute is true or false")
    return column.column == int((value == "true") == (op == "eq"))
