"""What tenancy asks of the world: its own tables, and the host, which holds what the gate reads.

The tables are what lists show. What the gate needs on every call (is this key good, is this tenant suspended, which limits hold) is handed
to the host as small documents, in the same step as the change of the tables: a step that is repeated hands over the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.effects import Consult, Request, Transact


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Transact):
    """A change of tenancy's tables."""

    port: ClassVar[str] = "tenancy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Consult):
    """A question to tenancy's tables."""

    port: ClassVar[str] = "tenancy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Request):
    """How the caller's own tenant stands: gives `state`, `plan`, `limits`, `region`, `expires_us`. The installation's own has no limits."""

    port: ClassVar[str] = "tenants"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTenant(Request):
    """Have the gate know `tenant` as `body` says. For the installation's own tenant alone. A suspended one is refused from now on, a
    resumed one is not."""

    port: ClassVar[str] = "tenants"
    tenant: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeTenant(Request):
    """Destroy everything of `tenant`: records, payloads, keys, log, rows, documents. For the installation's own tenant alone.

    Gives what is left to prove it by: the size of the tenant's log and its last checkpoint. A legal hold blocks it (OMG-C004).
    """

    port: ClassVar[str] = "tenants"
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishKey(Request):
    """Have the gate accept an API key of the caller's own tenant, as `body` says."""

    port: ClassVar[str] = "tenants"
    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawKey(Request):
    """Have the gate refuse an API key of the caller's own tenant, and every passport that was given for it, within a second."""

    port: ClassVar[str] = "tenants"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysUsed(Request):
    """When the API keys of the caller's own tenant were last used: Unix microseconds by key, to the minute."""

    port: ClassVar[str] = "tenants"
