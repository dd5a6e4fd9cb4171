"""Approvals: a person looked at this very step and said yes, in a role.

An approval is recorded as `person:ada#owner`: who, and in which role. It is made by `approve`, an explicit act of a person who

* acts themself: whoever holds a delegated passport (an agent working for Ada) cannot approve in her name;
* carries the role as a group of their passport, or the group `owner`, which stands in for every role;
* is another person than the one whose call it is. An owner is exempt: in an installation of one person nobody else could answer, and
  the act is recorded like any other. What an agent asked for is never approved by that agent.

An approval without a role counts for none. Where several are demanded (`finance:2`), it is persons that count, not names: two principals
that are one person (`same_person`) are one, and an owner counts towards every role. `step-up` is no role that somebody else holds: the
person whose call it is proves once more, with a second factor, that it is them; no owner stands in for that. `webauthn` is the same with a
passkey, which a false page cannot ask for; it answers `step-up` too, and a code does not answer it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from omega.kernel.errors import Denied
from omega.kernel.scope import SCHEDULER, Scope

OWNER = "owner"
"""The group whose people may approve in any role, and may approve what they asked for themselves."""

STEP_UP = "step-up"
"""The role in which callers answer for themselves, with a second factor."""

PASSKEY = "webauthn"
"""The same, with a passkey and nothing less."""

PROVEN = frozenset({STEP_UP, PASSKEY})
"""The roles that nobody holds: a second factor answers them."""

MOST_PERSONS = 9
"""Most persons that one demand can name: more is a committee, not an approval."""

LASTS_S = 7 * 86_400.0
"""Seconds that an approval is good for: whoever looked a week ago looked at another situation."""

Aliases = Mapping[str, str]
"""Principals (`person:ada`) that are the same person as another one, by verified subject."""

NO_ALIASES: Aliases = {}

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PERSON = "person:"


def is_role(text: str) -> bool:
    """Whether `text` can name a role: a lower-case letter, then up to 63 lower-case letters, digits, dashes, underscores."""
    return _ROLE.fullmatch(text) is not None


def demand_of(text: str) -> tuple[str, int]:
    """(role, persons) of a demand: `finance` takes one person, `finance:2` two. An empty role and 0 for what is no demand."""
    role, colon, number = text.partition(":")
    if not is_role(role) or (colon and (not number.isdecimal() or not number.isascii() or not 2 <= int(number) <= MOST_PERSONS)):
        return "", 0
    return (role, int(number) if colon else 1) if role not in PROVEN or not colon else ("", 0)


def same_person(principal: str, aliases: Aliases = NO_ALIASES) -> str:
    """The person behind `principal`: spellings that differ in case or in compatible letters only are one, and so are known aliases."""
    plain = unicodedata.normalize("NFKC", aliases.get(principal, principal)).casefold().strip()
    return aliases.get(plain, plain)


def approve(approver: Scope, *, role: str, requester: Scope, aliases: Aliases = NO_ALIASES) -> str:
    """The approval of a step that `requester` asked for, to be recorded and handed to the warden in `Ask.approvals`.

    In the roles of `PROVEN` it is the requester's own; whoever calls this verifies their second factor.

    Raises Denied (OMG-W007) when `approver` may not give it.
    """
    if not is_role(role):
        raise Denied("OMG-W007", "the step does not wait for the approval of a role")
    if approver.tenant != requester.tenant:
        raise Denied("OMG-W007", "the approver belongs to another tenant")
    if not approver.principal.startswith(_PERSON) or approver.actors:
        raise Denied("OMG-W007", "only a person acting themself may approve", advice="approve with your own passport")
    mine = same_person(approver.principal, aliases) == same_person(requester.principal, aliases)
    if role in PROVEN:
        if not mine:
            raise Denied("OMG-W007", "a second factor is that of the person whose call it is", advice=f"have {requester.principal} confirm")
        return f"{approver.principal}#{role}"
    if role not in approver.groups and OWNER not in approver.groups:
        raise Denied("OMG-W007", f"{approver.principal} does not have the role {role}")
    if mine and not requester.delegated and OWNER not in approver.groups:
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


def roles_of(approvals: Iterable[str], aliases: Aliases = NO_ALIASES) -> frozenset[str]:
    """What the approvals add up to: each role in which a person approved, and `role:n` where n different persons did, owners among them.

    What `approve` did not write counts for nothing.
    """
    persons: dict[str, set[str]] = {}
    for approval in approvals:
        person, _, role = approval.rpartition("#")
        if person.startswith(_PERSON) and len(person) > len(_PERSON) and is_role(role):
            persons.setdefault(role, set()).add(same_person(person, aliases))
    found = set(persons)
    for role, who in persons.items():
        counted = who if role in PROVEN else who | persons.get(OWNER, set())
        found.update(f"{role}:{number}" for number in range(2, min(len(counted), MOST_PERSONS) + 1))
    return frozenset(found | {STEP_UP} if PASSKEY in found else found)


def standing_in(approved: frozenset[str], demands: Iterable[str]) -> frozenset[str]:
    """`approved`, with those of `demands` that owners answer in place of a role in which nobody else did."""
    if OWNER not in approved:
        return approved
    extra = set()
    for demand in demands:
        role, number = demand_of(demand)
        if role and role not in PROVEN and (number == 1 or f"{OWNER}:{number}" in approved):
            extra.add(demand)
    return approved | extra


def satisfied(role: str, approved: frozenset[str]) -> bool:
    """Whether approvals in the roles `approved` answer a demand for `role`: an owner's answers every demand but a second factor."""
    return role in approved or (OWNER in approved and role not in PROVEN)
