"""The nouns of tenancy.

organisation / project / environment      acme / web / production: one environment is one tenant, with an id of its own
member                                    a person, agent or service of a tenant, and the role it has there
key                                       an API key: whose it is, what it may do, until when
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
"""Names of organisations, projects, environments, settings: lower-case letters, digits and dashes."""

Principal = Annotated[str, StringConstraints(pattern=r"^(person|agent|service):[A-Za-z0-9][A-Za-z0-9._@-]{0,119}$")]
TenantId = Annotated[str, StringConstraints(pattern=r"^ten_[0-9a-f]{32}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^key_[0-9a-f]{32}$")]
Capability = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9_.-]{0,63}:(\*|[A-Za-z0-9][A-Za-z0-9_./-]{0,63}))$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Role = Literal["owner", "admin", "operator", "member", "viewer"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

MAX_PAGE = 500
MAX_KEY_DAYS = 366


class Given(BaseModel):
    """What callers hand in: nothing that is not asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewTenant(Given):
    """One environment to make. Organisation and project come into being with their first environment."""

    organisation: Word
    project: Word
    environment: Word
    plan: str = "team"
    region: Region = "local"
    residency: list[Region] = Field(
        default=[], max_length=32, description="regions the organisation's data may lie in; set by its first tenant"
    )
    hosting: Literal["hosted", "own"] = "hosted"
    hours: float = Field(default=0.0, ge=0, le=48, description="after how many hours everything of it is purged; 0 is never")


class TenantPage(Given):
    """Which tenants to list: those of an organisation, or all."""

    organisation: str = ""
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class ThisTenant(Given):
    """One tenant by its id."""

    tenant: TenantId


class Suspension(ThisTenant):
    """One tenant to suspend, and why."""

    reason: str = Field(min_length=1, max_length=500)


class Deletion(ThisTenant):
    """One suspended tenant to delete. `export` is the SHA-256 of the export that was made of it before."""

    export: Digest


class Upgrade(ThisTenant):
    """Another plan for a tenant; what it has recorded stays, and nothing of it expires any more."""

    plan: str = "team"


class Tenant(BaseModel):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str = ""
    created_us: int
    expires_us: int = 0
    limits: dict[str, Any] = {}


class Purged(BaseModel):
    """What is left of a tenant that was deleted: how much its log held, and the checkpoint that commits to all of it."""

    tenant: str
    leaves: int
    checkpoint: str
    export: str = ""


class NewKey(Given):
    """An API key to make. Its maker draws the secret and hands in the SHA-256 of it, so the secret itself is in no record.

    `principal` is who calls with it; `roles` and `capabilities` what they may do, never more than the maker may.
    """

    name: str = Field(min_length=1, max_length=80)
    secret_sha256: Digest
    principal: Principal
    roles: list[Role] = Field(default=[], max_length=8)
    capabilities: list[Capability] = Field(default=["flows:run", "records:read"], max_length=64)
    days: float = Field(default=90.0, gt=0, le=MAX_KEY_DAYS)


class ThisKey(Given):
    """One API key by its id."""

    key: KeyId


class KeyPage(Given):
    """Which API keys to list."""

    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class Key(BaseModel):
    """An API key as lists show it; never its secret. Times are Unix microseconds, 0 where there is none."""

    key: str
    name: str
    principal: str
    roles: list[str]
    capabilities: list[str]
    created_us: int
    created_by: str
    expires_us: int
    revoked_us: int = 0
    used_us: int = 0


class Member(Given):
    """Somebody of a tenant, and the role they have there."""

    principal: Principal
    role: Role
    name: str = Field(default="", max_length=120)


class ThisMember(Given):
    """One member by principal."""

    principal: Principal


class Setting(Given):
    """A setting of an environment: plain data."""

    name: Word
    value: Any = None


class Flag(Given):
    """A feature flag: on for `percent` of the principals, always the same ones."""

    name: Word
    percent: float = Field(ge=0, le=100)


class ThisName(Given):
    """One setting or flag by name."""

    name: Word


class Everything(Given):
    """Nothing to say: all there is."""


class Asked(Given):
    """For whom flags are asked; the caller, unless named."""

    principal: str = Field(default="", max_length=128)
