"""Approvals: a person looked at this very step and said yes, in a role.

An approval is recorded as `person:ada#owner`: who, and in which role. It is made by `approve`, an explicit act of a person who

* acts themself: whoever holds a delegated passport (an agent working for Ada) cannot approve in her name;
* carries the role as a group of their passport, or the group `owner`, which stands in for every role;
* is another person than the one whose call it is. An owner is exempt: in an installation of one person nobody else could answer, and
  the act is recorded like any other. What an agent asked for is never approved by that agent.

An approval without a role counts for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from omega.kernel.errors import Denied
from omega.kernel.scope import SCHEDULER, Scope

OWNER = "owner"
"""The group whose people may approve in any role, and may approve what they asked for themselves."""

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PERSON = "person:"


def is_role(text: str) -> bool:
    """Whether `text` can name a role: a lower-case letter, then up to 63 lower-case letters, digits, dashes, underscores."""
    return _ROLE.fullmatch(text) is not None


def approve(approver: Scope, *, role: str, requester: Scope) -> str:
    """The approval of a step that `requester` asked for, to be recorded and handed to the warden in `Ask.approvals`.

    Raises Denied (OMG-W007) when `approver` may not give it.
    """
    if not is_role(role):
        raise Denied("OMG-W007", "the step does not wait for the approval of a role")
    if approver.tenant != requester.tenant:
        raise Denied("OMG-W007", "the approver belongs to another tenant")
    if not approver.principal.startswith(_PERSON) or approver.actors:
        raise Denied("OMG-W007", "only a person acting themself may approve", advice="approve with your own passport")
    if role not in approver.groups and OWNER not in approver.groups:
        raise Denied("OMG-W007", f"{approver.principal} does not have the role {role}")
    if approver.principal == requester.principal and not requester.delegated and OWNER not in approver.groups:
        raise Denied("OMG-W007", f"{approver.principal} cannot approve their own call")
    return f"{approver.principal}#{role}"


def entitled(scope: Scope, requester: Scope) -> str:
    """Why `scope` may not decide about an execution of `requester`; empty when it may: an owner, or whoever started it, in person."""
    if scope.actors[:1] == (SCHEDULER,) and (scope.principal, scope.actors) == (requester.principal, requester.actors):
        return ""  # a schedule, about what it started for the same person
    if not scope.principal.startswith(_PERSON) or scope.actors:
        return "only a person acting themself decides about an execution"
    if scope.principal != requester.principal and OWNER not in scope.groups:
        return f"{scope.principal} neither started it nor is an owner"
    return ""


def answer(person: Scope, *, role: str, requester: Scope) -> str:
    """Who answers a question that a step of `requester` asks, to be recorded: a person of `role`, or where none is named whoever started
    the run; an owner always. Unlike an approval it may be the requester's own.

    Raises Denied (OMG-W007) when `person` may not answer.
    """
    if person.tenant != requester.tenant:
        raise Denied("OMG-W007", "the question belongs to another tenant")
    if not person.principal.startswith(_PERSON) or person.actors:
        raise Denied("OMG-W007", "only a person acting themself may answer", advice="answer with your own passport")
    if role and role not in person.groups and OWNER not in person.groups:
        raise Denied("OMG-W007", f"{person.principal} does not have the role {role}")
    refusal = "" if role else entitled(person, requester)
    if refusal:
        raise Denied("OMG-W007", refusal)
    return f"{person.principal}#{role}" if role else person.principal


def roles_of(approvals: Iterable[str]) -> frozenset[str]:
    """The roles in which persons approved. What `approve` did not write counts for nothing."""
    found = set()
    for approval in approvals:
        person, _, role = approval.rpartition("#")
        if person.startswith(_PERSON) and len(person) > len(_PERSON) and is_role(role):
            found.add(role)
    return frozenset(found)


def satisfied(role: str, approved: frozenset[str]) -> bool:
    """Whether approvals in the roles `approved` answer a demand for `role`: an owner's answers every demand."""
    return role in approved or OWNER in approved
