"""From what a request says to what the directory is asked: the two kinds of resources, and what PUT and PATCH come to for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.wire.scim import filters
from omega.wire.scim.patching import GROUP, USER, Shape, patched
from omega.wire.scim.resources import about_group, about_user, group_form, members_of, user_form

_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A kind of resource: its noun in the directory, its attributes in filters and in PATCH, its form, how its ids begin."""

    noun: str
    attributes: Mapping[str, str]
    shape: Shape
    form: Callable[[Mapping[str, Any], str], dict[str, Any]]
    prefix: str

    def is_id(self, text: str) -> bool:
        """Whether `text` is of the form of this kind's ids."""
        return text.startswith(self.prefix) and len(text) == len(self.prefix) + 32 and _HEX.issuperset(text[len(self.prefix) :])


USERS: Final = Kept(noun="user", attributes=filters.USERS, shape=USER, form=user_form, prefix="usr_")
GROUPS: Final = Kept(noun="group", attributes=filters.GROUPS, shape=GROUP, form=group_form, prefix="grp_")
KINDS: Final = (USERS, GROUPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A resource that stands, and what a request wants of it: the `whole` of it put there (PUT), or operations carried out (PATCH)."""

    kind: Kept
    standing: Mapping[str, Any]
    body: Any
    whole: bool


def kind_of(step: str) -> Kept | None:
    """The kind of resource at a step of the path; None for what is none."""
    return {"Users": USERS, "Groups": GROUPS}.get(step)


def about_of(kind: Kept, body: Any) -> dict[str, Any]:
    """What the directory is asked to make. Raises InputError (OMG-G001)."""
    return about_user(body) if kind is USERS else about_group(body) | {"members": members_of(body)}


def change_of(wanted: Wanted, base: str) -> dict[str, Any]:
    """What the directory is asked to change. What SCIM does not speak of (roles, capabilities) stays. Raises InputError (OMG-G001)."""
    kind, standing = wanted.kind, wanted.standing
    form = wanted.body if wanted.whole else patched(kind.form(standing, base), wanted.body, kind.shape)
    change: dict[str, Any] = {kind.noun: standing[kind.noun], "version": standing["version"]}
    if kind is USERS:
        return change | {"about": about_user(form, standing["active"]) | {"roles": standing["roles"]}}
    about = about_group(form)
    if any(about[word] != standing[word] for word in about):
        change["about"] = about | {"roles": standing["roles"], "capabilities": standing["capabilities"]}
    before, after = {each["user"] for each in standing["members"]}, members_of(form)
    added = [each for each in after if each not in before]
    return change | {"add": added, "remove": sorted(before - set(after))}
