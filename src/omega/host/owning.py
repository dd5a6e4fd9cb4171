"""Whose an arrangement is. A hosted tenant arranges for itself alone: neither the name of a document, nor anything that it says, nor what
it takes the place of may concern anybody else. The installation's own tenant arranges for everybody.

    named after the tenant       archive, hold, content level and rules, retention of payloads and of leaves, region, witnessed checkpoint,
                                 own policies, watch over usage, orders of the guard; consent to a transfer (`TENANT.REGION`)
    says the tenant              limit, breaker, guard: for that tenant by name, under a name that begins with it, so that what the plan
                                 of the tenant says is never replaced. A guard of its own only blocks: it would outweigh the installation's
    a person's own               second factor
    sealed with its tenant       schedule, webhook, alert channel, credential, connection to an identity provider
    the installation's           everything else: queues, facts, who is one person, workloads, virtual servers, and whatever is new
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from omega.host import (
    a2a_push,
    admitting,
    archiving,
    credentials,
    former,
    grants,
    guard,
    guard_acts,
    holds,
    levels,
    limits,
    mfa,
    passkeys,
    policy,
    pruning,
    regions,
    retention,
    schedules,
    sso,
    users,
    watching,
    webhooks,
    witnessing,
)
from omega.host.arrangements import Documents, Owner, all_arranged
from omega.host.sso_proving import SEEN
from omega.kernel.errors import OmegaError
from omega.kernel.ports import Line
from omega.trust.sealing import Keyring
from omega.warden.guard.rules import Doing

PER_TENANT = frozenset(
    {
        archiving.ARCHIVE,
        guard_acts.ORDERS,
        holds.HOLD,
        levels.LEVEL,
        levels.RULES,
        policy.POLICY,
        pruning.LOG,
        regions.REGION,
        retention.RETENTION,
        watching.WATCH,
        witnessing.WITNESSED,
    }
)
"""Arrangements that are named after the tenant they hold for."""

Opened = Callable[[str, Mapping[str, Any]], str]


class Kept(Documents, Protocol):
    """Documents, and the lines of executions."""

    def line(self, execution: str) -> Line | None: ...


def owners(keyring: Keyring) -> Mapping[str, Owner]:
    """Whose an arrangement is, by kind; a kind that is not here is the installation's."""
    found: dict[str, Owner] = dict.fromkeys(PER_TENANT, _named)
    found |= {regions.CONSENT: _consenting, limits.LIMIT: _said, limits.BREAKER: _said, limits.GUARD: _guarded, mfa.FACTOR: _personal}
    return found | {kind: _opening(opened) for kind, opened in _sealed(keyring).items()}


def sealed_of(records: Kept, keyring: Keyring, tenant: str) -> list[tuple[str, str]]:
    """Kind and name of every document that is sealed and `tenant`'s, with the notes of how far each has come: nothing outside the seal says
    whose they are, so a purge finds them here. What is told of a task is whose the task is."""
    inside = _sealed(keyring) | {
        admitting.WORKLOAD: lambda name, body: admitting.Entry.open(name, body, keyring).tenant,
        grants.GRANT: lambda name, body: grants.grant_in(keyring, name, body).bearer.tenant,
    }
    found = []
    for kind, opened in inside.items():
        owner = _opening(opened)
        found += [(kind, name) for name, body in all_arranged(records, kind).items() if owner(name, body, "") == tenant]
    for kind in (a2a_push.PUSH, a2a_push.TOLD):
        lines = {name: records.line(a2a_push.task_of(name)) for name, _ in records.documents(kind)}
        found += [(kind, name) for name, line in lines.items() if line is not None and line.tenant == tenant]
    notes = {webhooks.WEBHOOK: webhooks.PROGRESS, schedules.SCHEDULE: schedules.PROGRESS}
    found += users.of_tenant(records, tenant) + former.of_tenant(records, tenant)
    found += [(SEEN, name) for name, _ in records.documents(SEEN, f"{tenant} ")]
    found += passkeys.of_tenant(records, keyring, tenant)
    found += [(mfa.FACTOR, name) for name, _ in records.documents(mfa.FACTOR, f"{tenant} ")]
    return found + [(notes[kind], name) for kind, name in found if kind in notes]


def _sealed(keyring: Keyring) -> dict[str, Opened]:
    return {
        schedules.SCHEDULE: lambda name, body: str(schedules.Schedule.open(name, body, keyring).claims.get("tenant", "")),
        webhooks.WEBHOOK: lambda name, body: webhooks.Webhook.open(name, body, keyring).tenant,
        guard.CHANNEL: lambda name, body: guard.opened(name, body, keyring)[1],
        credentials.CREDENTIAL: lambda name, body: credentials.whose(name, body, keyring)[0],
        sso.CONNECTION: lambda name, body: sso.Connection.open(name, body, keyring).tenant,
    }


def _named(name: str, body: Mapping[str, Any], principal: str) -> str:
    return name


def _consenting(name: str, body: Mapping[str, Any], principal: str) -> str:
    return name.rpartition(".")[0]


def _said(name: str, body: Mapping[str, Any], principal: str) -> str:
    tenant = body.get("tenant")
    return tenant if isinstance(tenant, str) and tenant and (name == tenant or name.startswith(f"{tenant} ")) else ""


def _guarded(name: str, body: Mapping[str, Any], principal: str) -> str:
    return _said(name, body, principal) if body.get("doing") == Doing.BLOCK.value else ""


def _personal(name: str, body: Mapping[str, Any], principal: str) -> str:
    tenant, _, person = name.partition(" ")
    return tenant if person == principal else ""


def _opening(opened: Opened) -> Owner:
    def owner(name: str, body: Mapping[str, Any], principal: str) -> str:
        try:
            return opened(name, body)
        except OmegaError:  # it was not sealed here under that name: nobody's
            return ""

    return owner
