"""The nouns of the directory.

user      a person of a tenant who signs in: a name that is unique there, addresses, roles of their own, active or not
group     users under a name; it gives them roles and capabilities, and policies see it as `group:NAME`
filter    which users or groups are meant: a tree of comparisons, as data
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from omega.kernel.errors import InputError

UserId = Annotated[str, StringConstraints(pattern=r"^usr_[0-9a-f]{32}$")]
GroupId = Annotated[str, StringConstraints(pattern=r"^grp_[0-9a-f]{32}$")]
Role = Literal["owner", "admin", "operator", "member", "viewer"]
Capability = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9_.-]{0,63}:(\*|[A-Za-z0-9][A-Za-z0-9_./-]{0,63}))$")]
Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text for people."""

UserName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]

MAX_PAGE = 500
MAX_EMAILS = 10
MAX_ROLES = 5
MAX_CAPABILITIES = 64
MAX_CHANGED = 1_000
"""Most members that one change adds, and most that it removes."""

MAX_TERMS = 24
"""Most comparisons in one filter."""

MAX_DEPTH = 6
"""Most levels of one filter."""

OWN = "person:usr_"
"""How the principal of a user begins who is their id to the gate: no other user ever is."""

GROUP = "group:"
"""What the name of a group begins with where policies see it: no group is ever taken for a role."""


class Given(BaseModel):
    """What callers hand in: nothing that is not asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Email(Given):
    """An address of a user."""

    value: Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$")]
    type: Line = "work"
    primary: bool = False


class About(Given):
    """What is said about a user. `external_id` is what whoever provisions calls them."""

    user_name: UserName
    display_name: Line = ""
    given_name: Line = ""
    family_name: Line = ""
    external_id: Line = ""
    emails: list[Email] = Field(default=[], max_length=MAX_EMAILS)
    active: bool = True
    roles: list[Role] = Field(default=[], max_length=MAX_ROLES)


class ThisUser(Given):
    """One user by id."""

    user: UserId


class UserChange(ThisUser):
    """A user as they are to be from now on. `version` is the one that was looked at; 0 takes whichever there is."""

    about: About
    version: int = Field(default=0, ge=0)


class UserDeletion(ThisUser):
    """A user to delete. `version` is the one that was looked at; 0 takes whichever there is."""

    version: int = Field(default=0, ge=0)


class Membership(BaseModel):
    """A group that somebody is in."""

    group: str
    name: str
    display_name: str


class User(BaseModel):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str = ""
    given_name: str = ""
    family_name: str = ""
    external_id: str = ""
    emails: list[Email] = []
    active: bool
    roles: list[str] = []
    groups: list[Membership] = []
    created_us: int
    changed_us: int
    version: int


class AboutGroup(Given):
    """What is said about a group. Its members get its roles and capabilities."""

    display_name: Name
    external_id: Line = ""
    roles: list[Role] = Field(default=[], max_length=MAX_ROLES)
    capabilities: list[Capability] = Field(default=[], max_length=MAX_CAPABILITIES)


class ThisGroup(Given):
    """One group by id."""

    group: GroupId


class GroupChange(ThisGroup):
    """A group as it is to be from now on: what is said about it (None leaves it), and who comes and goes."""

    about: AboutGroup | None = None
    add: list[UserId] = Field(default=[], max_length=MAX_CHANGED)
    remove: list[UserId] = Field(default=[], max_length=MAX_CHANGED)
    version: int = Field(default=0, ge=0)


class NewGroup(AboutGroup):
    """A group to make, with its first members."""

    members: list[UserId] = Field(default=[], max_length=MAX_CHANGED)


class GroupDeletion(ThisGroup):
    """A group to delete. Its members stay users."""

    version: int = Field(default=0, ge=0)


class GroupMember(BaseModel):
    """A user in a group."""

    user: str
    user_name: str
    display_name: str


class Group(BaseModel):
    """A group. `name` is made from its first display name and stays: policies see it as `group:NAME`. Times are Unix microseconds."""

    group: str
    name: str
    display_name: str
    external_id: str = ""
    roles: list[str] = []
    capabilities: list[str] = []
    members: list[GroupMember] = []
    created_us: int
    changed_us: int
    version: int


class Filter(Given):
    """Which are meant: all of some filters, any of them, none that one means, or one comparison of an attribute with a value.

    Attributes of users: `user_name`, `external_id`, `display_name`, `emails`, `active`, `user`; of groups: `display_name`, `external_id`,
    `group`, `members`. Comparisons of texts take no notice of case, except those of ids.
    """

    all: list[Filter] = Field(default=[], max_length=MAX_TERMS)
    any: list[Filter] = Field(default=[], max_length=MAX_TERMS)
    none: list[Filter] = Field(default=[], max_length=1)
    attribute: Annotated[str, StringConstraints(max_length=40)] = ""
    op: Literal["eq", "ne", "sw", "co", "ew", "pr"] = "eq"
    value: Annotated[str, StringConstraints(max_length=254)] = ""


class Page(Given):
    """Which to list: those that the filter means, from the one at `start` (the first is 1), at most `count`."""

    filter: Filter | None = None
    start: int = Field(default=1, ge=1, le=1_000_000)
    count: int = Field(default=100, ge=0, le=MAX_PAGE)


class UserList(BaseModel):
    """Some users, by name, and how many there are in all."""

    total: int
    users: list[User]


class GroupList(BaseModel):
    """Some groups, by name, and how many there are in all."""

    total: int
    groups: list[Group]


class Deleted(BaseModel):
    """What is left of what was deleted: its id."""

    id: str


def demand_small(found: Filter | None) -> None:
    """Raise InputError (OMG-I001) for a filter with more comparisons or levels than are carried out."""
    terms, level = 0, [found] if found is not None else []
    for _ in range(MAX_DEPTH):
        terms += len(level)
        level = [part for each in level for part in (*each.all, *each.any, *each.none)]
        if not level:
            break
    if level or terms > MAX_TERMS * 2:
        raise InputError("OMG-I001", f"a filter has at most {MAX_TERMS} comparisons, {MAX_DEPTH} levels deep")
