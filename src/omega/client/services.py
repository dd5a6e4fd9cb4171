"""The methods of the built-in services, with their types. Written by `python -m omega.host.stubs`, from the services."""

# fmt: off
# ruff: noqa: E501, F401, PLR0913, RUF100
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NotRequired, Protocol, TypedDict

_List = list  # a service may have a method called `list`, which hides the type within its class


class Calls(Protocol):
    """What a service is called through."""

    async def call(self, method: str, value: Any = None, *, key: str = "", timeout_s: float | None = None) -> Any: ...

    def stream(self, method: str, value: Any = None) -> AsyncIterator[Any]: ...


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class AgentsCanary(TypedDict):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: _List[str]
    owner: str
    versions: _List[AgentsStanding]


class AgentsStanding(TypedDict):
    """One version of an agent: how it has done lately (see `omega.kernel.roster`)."""

    version: str
    health: str
    reputation: float
    outcomes: int


class AgentsCoordinate(TypedDict):
    """What several agents made of a task: the answer, and what each of them said on the way."""

    answer: Any
    said: _List[AgentsDone]


class AgentsDone(TypedDict):
    """What an agent made of its task."""

    agent: str
    version: str
    answer: Any


class AgentsDebate(TypedDict):
    """What several agents made of a task: the answer, and what each of them said on the way."""

    answer: Any
    said: _List[AgentsDone]


class AgentsEntry(TypedDict):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: _List[str]
    owner: str
    versions: _List[AgentsStanding]


class AgentsPromote(TypedDict):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: _List[str]
    owner: str
    versions: _List[AgentsStanding]


class AgentsRegister(TypedDict):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: _List[str]
    owner: str
    versions: _List[AgentsStanding]


class AgentsGuardrails(TypedDict):
    """Guards that what an agent is given, and what it answers, has to pass; `again` is how often its model is asked again about an answer that does not."""

    input: NotRequired[_List[Literal['injection', 'personal']]]
    output: NotRequired[_List[Literal['injection', 'personal']]]
    again: int


class AgentsLimits(TypedDict):
    """What one piece of work of an agent may spend at most; None is what its caller has left."""

    tokens: int | None
    cost_micros: int | None
    calls: int | None


class AgentsMemory(TypedDict):
    """What an agent is told of what it remembers: the latest `turns` of a conversation (a task or an answer each), and the `notes` that a task speaks of; a turn is kept for so many `days`."""

    turns: int
    notes: int
    days: float


class AgentsVolunteer(TypedDict):
    """An agent that takes the task to be its own."""

    agent: str
    relevance: float
    reputation: float


class AgentsRollBack(TypedDict):
    """One agent of the roster: which version works, which is tried on which share of the work, and how each has done."""

    name: str
    stable: str
    canary: str
    share: float
    description: str
    capabilities: _List[str]
    owner: str
    versions: _List[AgentsStanding]


class AgentsRun(TypedDict):
    """What an agent made of its task."""

    agent: str
    version: str
    answer: Any


class AgentsSupervise(TypedDict):
    """What several agents made of a task: the answer, and what each of them said on the way."""

    answer: Any
    said: _List[AgentsDone]


class AgentsSwarm(TypedDict):
    """What several agents made of a task: the answer, and what each of them said on the way."""

    answer: Any
    said: _List[AgentsDone]


class DirectoryChangeGroup(TypedDict):
    """A group. `name` is made from its first display name and stays: policies see it as `group:NAME`. Times are Unix microseconds."""

    group: str
    name: str
    display_name: str
    external_id: str
    roles: _List[str]
    capabilities: _List[str]
    members: _List[DirectoryGroupMember]
    created_us: int
    changed_us: int
    version: int


class DirectoryGroupMember(TypedDict):
    """A user in a group."""

    user: str
    user_name: str
    display_name: str


class DirectoryAboutGroup(TypedDict):
    """What is said about a group. Its members get its roles and capabilities."""

    display_name: str
    external_id: str
    roles: _List[Literal['owner', 'admin', 'operator', 'member', 'viewer']]
    capabilities: _List[str]


class DirectoryChangeUser(TypedDict):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[str]
    groups: _List[DirectoryMembership]
    created_us: int
    changed_us: int
    version: int


class DirectoryEmail(TypedDict):
    """An address of a user."""

    value: str
    type: str
    primary: bool


class DirectoryMembership(TypedDict):
    """A group that somebody is in."""

    group: str
    name: str
    display_name: str


class DirectoryAbout(TypedDict):
    """What is said about a user. `external_id` is what whoever provisions calls them."""

    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[Literal['owner', 'admin', 'operator', 'member', 'viewer']]


class DirectoryCreateGroup(TypedDict):
    """A group. `name` is made from its first display name and stays: policies see it as `group:NAME`. Times are Unix microseconds."""

    group: str
    name: str
    display_name: str
    external_id: str
    roles: _List[str]
    capabilities: _List[str]
    members: _List[DirectoryGroupMember]
    created_us: int
    changed_us: int
    version: int


class DirectoryCreateUser(TypedDict):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[str]
    groups: _List[DirectoryMembership]
    created_us: int
    changed_us: int
    version: int


class DirectoryDeleteGroup(TypedDict):
    """What is left of what was deleted: its id."""

    id: str


class DirectoryDeleteUser(TypedDict):
    """What is left of what was deleted: its id."""

    id: str


class DirectoryGroup(TypedDict):
    """A group. `name` is made from its first display name and stays: policies see it as `group:NAME`. Times are Unix microseconds."""

    group: str
    name: str
    display_name: str
    external_id: str
    roles: _List[str]
    capabilities: _List[str]
    members: _List[DirectoryGroupMember]
    created_us: int
    changed_us: int
    version: int


class DirectoryGroups(TypedDict):
    """Some groups, by name, and how many there are in all."""

    total: int
    groups: _List[DirectoryGroup]


class DirectoryFilter(TypedDict):
    """Which are meant: all of some filters, any of them, none that one means, or one comparison of an attribute with a value."""

    all: _List[DirectoryFilter]
    any: _List[DirectoryFilter]
    none: _List[DirectoryFilter]
    attribute: str
    op: Literal['eq', 'ne', 'sw', 'co', 'ew', 'pr']
    value: str


class DirectoryResumeUser(TypedDict):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[str]
    groups: _List[DirectoryMembership]
    created_us: int
    changed_us: int
    version: int


class DirectorySuspendUser(TypedDict):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[str]
    groups: _List[DirectoryMembership]
    created_us: int
    changed_us: int
    version: int


class DirectoryUser(TypedDict):
    """A user. `principal` is who calls and never changes; `roles` are their own, without those of groups. Times are Unix microseconds."""

    user: str
    principal: str
    user_name: str
    display_name: str
    given_name: str
    family_name: str
    external_id: str
    emails: _List[DirectoryEmail]
    active: bool
    roles: _List[str]
    groups: _List[DirectoryMembership]
    created_us: int
    changed_us: int
    version: int


class DirectoryUsers(TypedDict):
    """Some users, by name, and how many there are in all."""

    total: int
    users: _List[DirectoryUser]


class EventsPublish(TypedDict):
    """What was published."""

    type: str
    key: str


class EventsRead(TypedDict):
    """Events in order, as CloudEvents documents, and the position to go on after."""

    events: _List[dict[str, Any]]
    position: int
    more: bool


class GuardAlert(TypedDict):
    """Something to tell people: `key` names what it is about, so that the same trouble is told once."""

    key: str
    severity: str
    title: str
    text: str
    do: str


class GuardSlo(TypedDict):
    """Every flow's level, the whole tenant first. `truncated` tells that there was more than was read."""

    target: float
    levels: _List[GuardLevel]
    truncated: bool


class GuardLevel(TypedDict):
    """How one flow, or with the name `all` the whole tenant, stands. `left` is the share of its error budget that is left."""

    name: str
    executions: int
    bad: int
    availability: float
    left: float
    burn_hour: float
    severity: str


class GuardStatus(TypedDict):
    """What works, and what should be looked at."""

    open: int
    dead: int
    workers: _List[GuardWorkerHealth]
    advice: _List[GuardTodo]


class GuardWorkerHealth(TypedDict):
    """A process that holds executions."""

    name: str
    holds: int
    alive: bool
    silent_s: float


class GuardTodo(TypedDict):
    """Something that somebody should do."""

    about: str
    what: str
    do: str


class GuardSweep(TypedDict):
    """What a sweep found: all alerts that stand, those that are new since the last sweep, and who was told of them. `did` is what the guard did by itself, `undone` what was due and was refused or failed."""

    standing: _List[GuardAlert]
    new: _List[GuardAlert]
    told: _List[str]
    untold: _List[str]
    did: _List[str]
    undone: _List[str]


class InsightsSummary(TypedDict):
    """What became of all executions of a period, the busiest flow first. `truncated` tells that there were more than were read."""

    executions: int
    done: int
    failed: int
    cancelled: int
    open: int
    flows: _List[InsightsFlowSummary]
    truncated: bool


class InsightsFlowSummary(TypedDict):
    """What became of one flow's executions. Durations are seconds from start to the last change."""

    flow: str
    executions: int
    done: int
    failed: int
    open: int
    median_s: float
    longest_s: float


class LogCheckpoint(TypedDict):
    """The newest signed checkpoint: what the log is, as a note to be kept elsewhere."""

    tenant: str
    size: int
    note: str
    keys: _List[str]


class LogExport(TypedDict):
    """One part of an export. The parts one after the other are the file that `verify.py` checks."""

    export: str
    leaves: int
    position: int
    next: int
    total: int
    sha256: str
    data: str
    consent: str


class LogFlags(TypedDict):
    """Leaves, newest first, each with its index and its flags; and the index to go on `before`, 0 at the beginning of the log."""

    leaves: _List[dict[str, Any]]
    before: int


class LogProof(TypedDict):
    """Proofs of RFC 9162 (section 2.1) over the log of `size` leaves; hashes and the leaf are base64."""

    size: int
    root: str
    checkpoint: str
    index: int
    leaf: str
    leaf_hash: str
    inclusion: _List[str]
    old: int
    old_root: str
    consistency: _List[str]


class LogSearch(TypedDict):
    """Leaves, newest first, each with its index and its flags; and the index to go on `before`, 0 at the beginning of the log."""

    leaves: _List[dict[str, Any]]
    before: int


class MemoryForget(TypedDict):
    """How much was forgotten."""

    forgotten: int


class MemoryRecalled(TypedDict):
    """One thing that is remembered."""

    id: str
    said: str
    text: str
    about: str
    shared: bool
    at_us: int
    expires_us: int


class MemoryRemember(TypedDict):
    """What was remembered, and until when (Unix microseconds)."""

    id: str
    expires_us: int


class MemoryStanding(TypedDict):
    """How much an agent remembers."""

    agent: str
    entries: int


class ModelsChat(TypedDict):
    """What a model said, and everything that is needed to know later who said it, to what, and at what price."""

    text: str | None
    tool_calls: _List[ModelsToolWish]
    finish: str
    usage: ModelsUsage
    model: str
    provider: str
    version: str
    fingerprint: str
    seed: int | None
    digest: str
    cost_micros: int | None
    priced: bool
    prices: str
    cache: str
    redacted: bool
    tried: _List[ModelsTried]


class ModelsToolWish(TypedDict):
    """A tool that the model wants called, with its arguments as JSON text."""

    id: str
    name: str
    arguments: str


class ModelsUsage(TypedDict):
    """Tokens read and written; of those, from the provider's cache, and of reasoning. `said`: the provider counted, nobody guessed."""

    input: int
    output: int
    cached: int
    reasoning: int
    said: bool


class ModelsTried(TypedDict):
    """A model that was asked before, and how it failed."""

    model: str
    code: str
    cause: str


class ModelsChatInput(TypedDict):
    """A conversation whose next message is wanted. `model` is a model or a route (`models.list`); empty is the one for everything."""

    model: str
    messages: _List[ModelsMessage]
    max_tokens: int
    temperature: float | None
    top_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    stop: str | _List[str] | None
    seed: int | None
    tools: _List[ModelsToolOffer] | None
    tool_choice: Literal['none', 'auto', 'required'] | dict[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: dict[str, Any] | None
    reasoning_effort: str | None
    timeout_s: float
    stream: bool


class ModelsMessage(TypedDict):
    """One message of a conversation."""

    role: Literal['system', 'developer', 'user', 'assistant', 'tool']
    content: str | _List[ModelsTextPart] | None
    name: str | None
    tool_calls: _List[ModelsToolUse] | None
    tool_call_id: str | None


class ModelsTextPart(TypedDict):
    """A part of a message. Texts are the only ones."""

    type: Literal['text']
    text: str


class ModelsToolUse(TypedDict):
    """A tool that the assistant wanted called."""

    id: str
    type: Literal['function']
    function: ModelsFunctionCall


class ModelsFunctionCall(TypedDict):
    """What a tool is called with; `arguments` is JSON text."""

    name: str
    arguments: str


class ModelsToolOffer(TypedDict):
    """A tool that the model may ask for. It is never called here: whoever asked decides that."""

    type: Literal['function']
    function: ModelsFunction


class ModelsFunction(TypedDict):
    """A tool that the model is told of; `parameters` is a JSON Schema."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class ModelsEmbed(TypedDict):
    """The vectors, in the order of the texts."""

    vectors: _List[_List[float]]
    model: str
    provider: str
    version: str
    usage: ModelsUsage
    cost_micros: int | None
    priced: bool
    prices: str


class ModelsEmbedInput(TypedDict):
    """Texts to turn into vectors; `dimensions` 0 is as many as the model has."""

    model: str
    texts: _List[str]
    dimensions: int
    timeout_s: float


class ModelsEvaluate(TypedDict):
    """How a model did. `cases_digest` and `metric` (with its version) say what it was measured by: results compare only where both agree."""

    model: str
    versions: _List[str]
    metric: str
    cases: str
    cases_digest: str
    count: int
    passed: int
    score: float
    tokens: int
    cost_micros: int | None
    results: _List[ModelsCase]


class ModelsCase(TypedDict):
    """One case of a trial: which, whether the answer counts, and what went wrong where none came."""

    number: int
    passed: bool
    error: str


class TenancyCreate(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class TenancyCreateKey(TypedDict):
    """An API key as lists show it; never its secret. Times are Unix microseconds, 0 where there is none."""

    key: str
    name: str
    principal: str
    roles: _List[str]
    capabilities: _List[str]
    created_us: int
    created_by: str
    expires_us: int
    revoked_us: int
    used_us: int


class TenancyDelete(TypedDict):
    """What is left of a tenant that was deleted: how much its log held, and the checkpoint that commits to all of it."""

    tenant: str
    leaves: int
    checkpoint: str
    export: str


class TenancyDiscard(TypedDict):
    """What is left of a tenant that was deleted: how much its log held, and the checkpoint that commits to all of it."""

    tenant: str
    leaves: int
    checkpoint: str
    export: str


class TenancyExpire(TypedDict):
    """What is left of a tenant that was deleted: how much its log held, and the checkpoint that commits to all of it."""

    tenant: str
    leaves: int
    checkpoint: str
    export: str


class TenancyKey(TypedDict):
    """An API key as lists show it; never its secret. Times are Unix microseconds, 0 where there is none."""

    key: str
    name: str
    principal: str
    roles: _List[str]
    capabilities: _List[str]
    created_us: int
    created_by: str
    expires_us: int
    revoked_us: int
    used_us: int


class TenancyMember(TypedDict):
    """Somebody of a tenant, and the role they have there."""

    principal: str
    role: Literal['owner', 'admin', 'operator', 'member', 'viewer']
    name: str


class TenancyPutFlag(TypedDict):
    """A feature flag: on for `percent` of the principals, always the same ones."""

    name: str
    percent: float


class TenancyPutMember(TypedDict):
    """Somebody of a tenant, and the role they have there."""

    principal: str
    role: Literal['owner', 'admin', 'operator', 'member', 'viewer']
    name: str


class TenancyPutSetting(TypedDict):
    """A setting of an environment: plain data."""

    name: str
    value: Any


class TenancyResume(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class TenancyRevokeKey(TypedDict):
    """An API key as lists show it; never its secret. Times are Unix microseconds, 0 where there is none."""

    key: str
    name: str
    principal: str
    roles: _List[str]
    capabilities: _List[str]
    created_us: int
    created_by: str
    expires_us: int
    revoked_us: int
    used_us: int


class TenancyShow(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class TenancySuspend(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class TenancyTenant(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class TenancyUpgrade(TypedDict):
    """One environment. Times are Unix microseconds; `expires_us` 0 is never."""

    tenant: str
    organisation: str
    project: str
    environment: str
    plan: str
    region: str
    hosting: str
    state: str
    reason: str
    created_us: int
    expires_us: int
    limits: dict[str, Any]


class AgentsService:
    """The service agents: a roster of agents: releases, reputation, self-selection, teams."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def canary(self, *, name: str, version: str, share: float, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsCanary:
        """Try a version on a share of the work."""
        found: AgentsCanary = await self._calls.call("agents.canary", _given(name=name, version=version, share=share), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def coordinate(self, *, task: str, agents: _List[str], model: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsCoordinate:
        """Split a task among agents, and put what they say together."""
        found: AgentsCoordinate = await self._calls.call("agents.coordinate", _given(task=task, agents=agents, model=model), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def debate(self, *, task: str, agents: _List[str], model: str | None = None, rounds: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsDebate:
        """Have agents argue about a question, and a judge decide."""
        found: AgentsDebate = await self._calls.call("agents.debate", _given(task=task, agents=agents, model=model, rounds=rounds), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def list(self, *, capability: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[AgentsEntry]:
        """Who there is, what they say they are good at, and how they have done."""
        found: _List[AgentsEntry] = await self._calls.call("agents.list", _given(capability=capability), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def promote(self, *, name: str, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsPromote:
        """Let the version that is tried do all the work. Once it does, doing this again changes nothing."""
        found: AgentsPromote = await self._calls.call("agents.promote", _given(name=name), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def register(self, *, name: str, version: str, instructions: str, description: str | None = None, capabilities: _List[str] | None = None, owner: str | None = None, model: str | None = None, tools: _List[str] | None = None, offered: _List[str] | None = None, guardrails: AgentsGuardrails | None = None, output: dict[str, Any] | None = None, turns: int | None = None, max_tokens: int | None = None, max_input: int | None = None, limits: AgentsLimits | None = None, memory: AgentsMemory | None = None, own_host: bool | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsRegister:
        """Register a version of an agent. The first one works at once; later ones when they are tried or
        promoted.
        """
        found: AgentsRegister = await self._calls.call("agents.register", _given(name=name, version=version, instructions=instructions, description=description, capabilities=capabilities, owner=owner, model=model, tools=tools, offered=offered, guardrails=guardrails, output=output, turns=turns, max_tokens=max_tokens, max_input=max_input, limits=limits, memory=memory, own_host=own_host), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def relevant(self, *, task: str, least: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[AgentsVolunteer]:
        """Who takes a task to be theirs."""
        found: _List[AgentsVolunteer] = await self._calls.call("agents.relevant", _given(task=task, least=least), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def roll_back(self, *, name: str, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsRollBack:
        """Try no other version any more: the one that works does all the work."""
        found: AgentsRollBack = await self._calls.call("agents.roll_back", _given(name=name), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def run(self, *, agent: str, task: str, conversation: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsRun:
        """Have one agent do a task."""
        found: AgentsRun = await self._calls.call("agents.run", _given(agent=agent, task=task, conversation=conversation), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def supervise(self, *, task: str, agents: _List[str], model: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsSupervise:
        """Have a leader do a task with agents as its tools."""
        found: AgentsSupervise = await self._calls.call("agents.supervise", _given(task=task, agents=agents, model=model), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def swarm(self, *, task: str, least: float | None = None, most: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> AgentsSwarm:
        """Have whoever takes a task to be theirs answer it; what most say counts."""
        found: AgentsSwarm = await self._calls.call("agents.swarm", _given(task=task, least=least, most=most), key=idempotency_key, timeout_s=timeout_s)
        return found


class DirectoryService:
    """The service directory: users, groups and membership, as the gate sees them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def change_group(self, *, group: str, about: DirectoryAboutGroup | None = None, add: _List[str] | None = None, remove: _List[str] | None = None, version: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryChangeGroup:
        """Change what is said about a group, and who is in it. Who is taken out loses what it gave at their next
        call.
        """
        found: DirectoryChangeGroup = await self._calls.call("directory.change_group", _given(group=group, about=about, add=add, remove=remove, version=version), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def change_user(self, *, user: str, about: DirectoryAbout, version: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryChangeUser:
        """Set what is said about a user. One who is made inactive is refused within a second: passports,
        sessions and keys of theirs.
        """
        found: DirectoryChangeUser = await self._calls.call("directory.change_user", _given(user=user, about=about, version=version), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def create_group(self, *, display_name: str, external_id: str | None = None, roles: _List[Literal['owner', 'admin', 'operator', 'member', 'viewer']] | None = None, capabilities: _List[str] | None = None, members: _List[str] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryCreateGroup:
        """Make a group. Its members get its roles and capabilities; policies see it as `group:NAME`."""
        found: DirectoryCreateGroup = await self._calls.call("directory.create_group", _given(display_name=display_name, external_id=external_id, roles=roles, capabilities=capabilities, members=members), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def create_user(self, *, user_name: str, display_name: str | None = None, given_name: str | None = None, family_name: str | None = None, external_id: str | None = None, emails: _List[DirectoryEmail] | None = None, active: bool | None = None, roles: _List[Literal['owner', 'admin', 'operator', 'member', 'viewer']] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryCreateUser:
        """Make a user. Who they are to the gate follows from their name, or from their id where another user is
        or was that already; it.
        """
        found: DirectoryCreateUser = await self._calls.call("directory.create_user", _given(user_name=user_name, display_name=display_name, given_name=given_name, family_name=family_name, external_id=external_id, emails=emails, active=active, roles=roles), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def delete_group(self, *, group: str, version: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryDeleteGroup:
        """Remove a group. Who was in it loses what it gave at their next call."""
        found: DirectoryDeleteGroup = await self._calls.call("directory.delete_group", _given(group=group, version=version), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def delete_user(self, *, user: str, version: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryDeleteUser:
        """Remove a user. What was given to them is refused within a second; API keys that act as them, their
        secrets for tool servers and.
        """
        found: DirectoryDeleteUser = await self._calls.call("directory.delete_user", _given(user=user, version=version), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def group(self, *, group: str, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryGroup:
        """One group, with its members."""
        found: DirectoryGroup = await self._calls.call("directory.group", _given(group=group), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def groups(self, *, filter: DirectoryFilter | None = None, start: int | None = None, count: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryGroups:
        """The groups of this tenant by name, with their members, as far as a filter means them."""
        found: DirectoryGroups = await self._calls.call("directory.groups", _given(filter=filter, start=start, count=count), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def resume_user(self, *, user: str, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryResumeUser:
        """Let a suspended user in again. What they held before counts no more: they sign in anew."""
        found: DirectoryResumeUser = await self._calls.call("directory.resume_user", _given(user=user), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def suspend_user(self, *, user: str, idempotency_key: str = "", timeout_s: float | None = None) -> DirectorySuspendUser:
        """Refuse a user within a second, at the door and at the next touch of what runs. They stay where they
        are in every group.
        """
        found: DirectorySuspendUser = await self._calls.call("directory.suspend_user", _given(user=user), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def user(self, *, user: str, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryUser:
        """One user, with the groups they are in."""
        found: DirectoryUser = await self._calls.call("directory.user", _given(user=user), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def users(self, *, filter: DirectoryFilter | None = None, start: int | None = None, count: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> DirectoryUsers:
        """The users of this tenant by name, as far as a filter means them."""
        found: DirectoryUsers = await self._calls.call("directory.users", _given(filter=filter, start=start, count=count), key=idempotency_key, timeout_s=timeout_s)
        return found


class EventsService:
    """The service events: what happened, in order, from any position on."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def follow(self, *, after: int | None = None, types: _List[str] | None = None, keys: _List[str] | None = None, most: int | None = None, for_s: float | None = None) -> AsyncIterator[dict[str, Any]]:
        """Events after a position as they come, one by one; ends after so many of them or so many seconds."""
        return self._calls.stream("events.follow", _given(after=after, types=types, keys=keys, most=most, for_s=for_s))

    async def publish(self, *, type: str, key: str, data: dict[str, Any] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> EventsPublish:
        """Publish an event of a type of your own: it is on record, and whoever follows sees it in order."""
        found: EventsPublish = await self._calls.call("events.publish", _given(type=type, key=key, data=data), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def read(self, *, after: int | None = None, types: _List[str] | None = None, keys: _List[str] | None = None, limit: int | None = None, wait_s: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> EventsRead:
        """A page of events after a position, oldest first; with wait_s it waits for the first one."""
        found: EventsRead = await self._calls.call("events.read", _given(after=after, types=types, keys=keys, limit=limit, wait_s=wait_s), key=idempotency_key, timeout_s=timeout_s)
        return found


class GuardService:
    """The service guard: health, service levels and error budgets, and alerts about them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def alerts(self, *, target: float | None = None, days: float | None = None, within_s: float | None = None, channels: _List[str] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[GuardAlert]:
        """The alerts that stand now."""
        found: _List[GuardAlert] = await self._calls.call("guard.alerts", _given(target=target, days=days, within_s=within_s, channels=channels), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def slo(self, *, target: float | None = None, days: float | None = None, within_s: float | None = None, channels: _List[str] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> GuardSlo:
        """How each flow, and the whole tenant, stands against a service level: budget left, burn rate, alert."""
        found: GuardSlo = await self._calls.call("guard.slo", _given(target=target, days=days, within_s=within_s, channels=channels), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def status(self, *, idempotency_key: str = "", timeout_s: float | None = None) -> GuardStatus:
        """What works now: processes, what stands still, and what to do about it."""
        found: GuardStatus = await self._calls.call("guard.status", None, key=idempotency_key, timeout_s=timeout_s)
        return found

    async def sweep(self, *, target: float | None = None, days: float | None = None, within_s: float | None = None, channels: _List[str] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> GuardSweep:
        """Look once, do what is arranged, and tell every channel what is new since the sweep before and what was
        done.
        """
        found: GuardSweep = await self._calls.call("guard.sweep", _given(target=target, days=days, within_s=within_s, channels=channels), key=idempotency_key, timeout_s=timeout_s)
        return found


class InsightsService:
    """The service insights: what ran, how it ended, how long it took and what it cost."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def summary(self, *, hours: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> InsightsSummary:
        """What ran in the last hours: how many executions, how they ended, how long each flow takes."""
        found: InsightsSummary = await self._calls.call("insights.summary", _given(hours=hours), key=idempotency_key, timeout_s=timeout_s)
        return found


class LogService:
    """The service log: your own log: search, flags, checkpoints, proofs, signed exports."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def checkpoint(self, *, lasting: bool | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> LogCheckpoint:
        """The newest signed checkpoint of your log, to be kept elsewhere, and the public keys to check it with."""
        found: LogCheckpoint = await self._calls.call("log.checkpoint", _given(lasting=lasting), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def export(self, *, export: str | None = None, position: int | None = None, most: int | None = None, to: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> LogExport:
        """A part of the signed export of your log; go on at `next` until it is `total`, also after an
        interruption.
        """
        found: LogExport = await self._calls.call("log.export", _given(export=export, position=position, most=most, to=to), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def flags(self, *, alarming: bool | None = None, before: int | None = None, limit: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> LogFlags:
        """The leaves of your log that are flagged, with what raised each flag, the newest first."""
        found: LogFlags = await self._calls.call("log.flags", _given(alarming=alarming, before=before, limit=limit), key=idempotency_key, timeout_s=timeout_s)
        return found

    def follow(self, *, kind: str | None = None, principal: str | None = None, flow: str | None = None, execution: str | None = None, decision: str | None = None, text: str | None = None, after: int | None = None, flagged: bool | None = None, most: int | None = None, for_s: float | None = None) -> AsyncIterator[dict[str, Any]]:
        """The leaves of your log after an index as they are written, one by one; ends after so many of them or
        so many seconds.
        """
        return self._calls.stream("log.follow", _given(kind=kind, principal=principal, flow=flow, execution=execution, decision=decision, text=text, after=after, flagged=flagged, most=most, for_s=for_s))

    async def proof(self, *, index: int | None = None, size: int | None = None, old: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> LogProof:
        """That a leaf is in your log, and that your log continues what it was at an earlier size."""
        found: LogProof = await self._calls.call("log.proof", _given(index=index, size=size, old=old), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def search(self, *, kind: str | None = None, principal: str | None = None, flow: str | None = None, execution: str | None = None, decision: str | None = None, text: str | None = None, since_us: int | None = None, until_us: int | None = None, before: int | None = None, limit: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> LogSearch:
        """The leaves of your log that match, the newest first."""
        found: LogSearch = await self._calls.call("log.search", _given(kind=kind, principal=principal, flow=flow, execution=execution, decision=decision, text=text, since_us=since_us, until_us=until_us, before=before, limit=limit), key=idempotency_key, timeout_s=timeout_s)
        return found


class MemoryService:
    """The service memory: what agents remember: conversations and notes, until they expire."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def forget(self, *, id: str | None = None, agent: str | None = None, conversation: str | None = None, about: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> MemoryForget:
        """Forget what fits: one's own; for an owner or admin of the tenant in person, anybody's."""
        found: MemoryForget = await self._calls.call("memory.forget", _given(id=id, agent=agent, conversation=conversation, about=about), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def recall(self, *, agent: str, conversation: str | None = None, words: str | None = None, most: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[MemoryRecalled]:
        """Recall a conversation of one's own, or notes: one's own and those that are shared."""
        found: _List[MemoryRecalled] = await self._calls.call("memory.recall", _given(agent=agent, conversation=conversation, words=words, most=most), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def remember(self, *, agent: str, conversation: str | None = None, shared: bool | None = None, said: Literal['task', 'answer', 'note'] | None = None, text: str, about: str | None = None, days: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> MemoryRemember:
        """Remember something for an agent, until it expires. An agent keeps what it shares with everybody as its
        own, not as another's.
        """
        found: MemoryRemember = await self._calls.call("memory.remember", _given(agent=agent, conversation=conversation, shared=shared, said=said, text=text, about=about, days=days), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def standing(self, *, agent: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[MemoryStanding]:
        """How much the agents of the tenant remember."""
        found: _List[MemoryStanding] = await self._calls.call("memory.standing", _given(agent=agent), key=idempotency_key, timeout_s=timeout_s)
        return found


class ModelsService:
    """The service models: asking models: routes, fallbacks, allowances, evaluations."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def chat(self, value: ModelsChatInput, *, idempotency_key: str = "", timeout_s: float | None = None) -> ModelsChat:
        """The next message of a conversation."""
        found: ModelsChat = await self._calls.call("models.chat", value, key=idempotency_key, timeout_s=timeout_s)
        return found

    async def embed(self, value: ModelsEmbedInput, *, idempotency_key: str = "", timeout_s: float | None = None) -> ModelsEmbed:
        """Texts as vectors."""
        found: ModelsEmbed = await self._calls.call("models.embed", value, key=idempotency_key, timeout_s=timeout_s)
        return found

    async def evaluate(self, *, cases: str, model: str | None = None, metric: Literal['equal', 'contains', 'json'] | None = None, max_tokens: int | None = None, seed: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> ModelsEvaluate:
        """Ask a model each stored case and count the answers that are right. Each case is a step: a crash goes
        on where it was.
        """
        found: ModelsEvaluate = await self._calls.call("models.evaluate", _given(cases=cases, model=model, metric=metric, max_tokens=max_tokens, seed=seed), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def keep(self, *, kind: Literal['provider', 'model', 'route', 'cache', 'allowance', 'cases'], name: str, body: dict[str, Any] | None, idempotency_key: str = "", timeout_s: float | None = None) -> dict[str, Any] | None:
        """Keep a provider, a model, a route (an operator does), or the tenant's own cache, allowance or cases;
        null forgets it.
        """
        found: dict[str, Any] | None = await self._calls.call("models.keep", _given(kind=kind, name=name, body=body), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def kept(self, *, kind: Literal['provider', 'model', 'route', 'cache', 'allowance', 'cases'], idempotency_key: str = "", timeout_s: float | None = None) -> dict[str, Any]:
        """The records of a kind, by name. Keys are references; the keys themselves are nowhere."""
        found: dict[str, Any] = await self._calls.call("models.kept", _given(kind=kind), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def list(self, *, kind: Literal['', 'chat', 'embeddings', 'route'] | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[dict[str, Any]]:
        """The models and routes that the caller may name, with what they cost and how they do."""
        found: _List[dict[str, Any]] = await self._calls.call("models.list", _given(kind=kind), key=idempotency_key, timeout_s=timeout_s)
        return found


class TenancyService:
    """The service tenancy: tenants, members, API keys, plans, settings and feature flags."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, *, organisation: str, project: str, environment: str, plan: str | None = None, region: str | None = None, residency: _List[str] | None = None, hosting: Literal['hosted', 'own'] | None = None, hours: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyCreate:
        """Make an environment with a tenant id of its own."""
        found: TenancyCreate = await self._calls.call("tenancy.create", _given(organisation=organisation, project=project, environment=environment, plan=plan, region=region, residency=residency, hosting=hosting, hours=hours), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def create_key(self, *, name: str, secret_sha256: str, principal: str, roles: _List[Literal['owner', 'admin', 'operator', 'member', 'viewer']] | None = None, capabilities: _List[str] | None = None, days: float | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyCreateKey:
        """Make an API key. Whoever makes it draws the secret: `omk_` + the id without `key_` + `_` + the secret
        is the key.
        """
        found: TenancyCreateKey = await self._calls.call("tenancy.create_key", _given(name=name, secret_sha256=secret_sha256, principal=principal, roles=roles, capabilities=capabilities, days=days), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def delete(self, *, tenant: str, export: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyDelete:
        """Destroy everything of a suspended tenant, after an export: records, payloads, keys, log and rows.
        There is no way back.
        """
        found: TenancyDelete = await self._calls.call("tenancy.delete", _given(tenant=tenant, export=export), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def discard(self, *, tenant: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyDiscard:
        """Destroy everything of a sandbox before its time. Any other tenant is suspended and exported first
        (`delete`).
        """
        found: TenancyDiscard = await self._calls.call("tenancy.discard", _given(tenant=tenant), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def drop_flag(self, *, name: str, idempotency_key: str = "", timeout_s: float | None = None) -> None:
        """Forget a feature flag."""
        await self._calls.call("tenancy.drop_flag", _given(name=name), key=idempotency_key, timeout_s=timeout_s)

    async def drop_member(self, *, principal: str, idempotency_key: str = "", timeout_s: float | None = None) -> None:
        """Remove somebody from this tenant."""
        await self._calls.call("tenancy.drop_member", _given(principal=principal), key=idempotency_key, timeout_s=timeout_s)

    async def drop_setting(self, *, name: str, idempotency_key: str = "", timeout_s: float | None = None) -> None:
        """Forget a setting of this environment."""
        await self._calls.call("tenancy.drop_setting", _given(name=name), key=idempotency_key, timeout_s=timeout_s)

    async def expire(self, *, tenant: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyExpire:
        """Destroy everything of a tenant whose time is over. Raises InputError (OMG-I005) before that."""
        found: TenancyExpire = await self._calls.call("tenancy.expire", _given(tenant=tenant), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def flags(self, *, principal: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> dict[str, bool]:
        """Which features are on for the caller, or for somebody else."""
        found: dict[str, bool] = await self._calls.call("tenancy.flags", _given(principal=principal), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def keys(self, *, limit: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[TenancyKey]:
        """The API keys of this tenant, the newest first, with when each was last used."""
        found: _List[TenancyKey] = await self._calls.call("tenancy.keys", _given(limit=limit), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def members(self, value: dict[str, Any], *, idempotency_key: str = "", timeout_s: float | None = None) -> _List[TenancyMember]:
        """The members of this tenant."""
        found: _List[TenancyMember] = await self._calls.call("tenancy.members", value, key=idempotency_key, timeout_s=timeout_s)
        return found

    async def put_flag(self, *, name: str, percent: float, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyPutFlag:
        """Turn a feature on for a share of the principals of this environment."""
        found: TenancyPutFlag = await self._calls.call("tenancy.put_flag", _given(name=name, percent=percent), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def put_member(self, *, principal: str, role: Literal['owner', 'admin', 'operator', 'member', 'viewer'], name: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyPutMember:
        """Make somebody a member of this tenant, or give them another role."""
        found: TenancyPutMember = await self._calls.call("tenancy.put_member", _given(principal=principal, role=role, name=name), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def put_setting(self, *, name: str, value: Any | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyPutSetting:
        """Set a setting of this environment."""
        found: TenancyPutSetting = await self._calls.call("tenancy.put_setting", _given(name=name, value=value), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def resume(self, *, tenant: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyResume:
        """Let a suspended tenant work again."""
        found: TenancyResume = await self._calls.call("tenancy.resume", _given(tenant=tenant), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def revoke_key(self, *, key: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyRevokeKey:
        """Refuse an API key, and every passport that was given for it, within a second and for good."""
        found: TenancyRevokeKey = await self._calls.call("tenancy.revoke_key", _given(key=key), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def settings(self, value: dict[str, Any], *, idempotency_key: str = "", timeout_s: float | None = None) -> dict[str, Any]:
        """The settings of this environment by name."""
        found: dict[str, Any] = await self._calls.call("tenancy.settings", value, key=idempotency_key, timeout_s=timeout_s)
        return found

    async def show(self, *, tenant: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyShow:
        """One tenant, with the limits of its plan."""
        found: TenancyShow = await self._calls.call("tenancy.show", _given(tenant=tenant), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def suspend(self, *, tenant: str, reason: str, idempotency_key: str = "", timeout_s: float | None = None) -> TenancySuspend:
        """Refuse everybody of a tenant within a second, at the door and at the next touch of what runs. Nothing
        of it is lost.
        """
        found: TenancySuspend = await self._calls.call("tenancy.suspend", _given(tenant=tenant, reason=reason), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def tenants(self, *, organisation: str | None = None, limit: int | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> _List[TenancyTenant]:
        """The tenants that are hosted here, by name."""
        found: _List[TenancyTenant] = await self._calls.call("tenancy.tenants", _given(organisation=organisation, limit=limit), key=idempotency_key, timeout_s=timeout_s)
        return found

    async def upgrade(self, *, tenant: str, plan: str | None = None, idempotency_key: str = "", timeout_s: float | None = None) -> TenancyUpgrade:
        """Put a tenant on another plan. What it has recorded stays; a sandbox expires no more."""
        found: TenancyUpgrade = await self._calls.call("tenancy.upgrade", _given(tenant=tenant, plan=plan), key=idempotency_key, timeout_s=timeout_s)
        return found


class Services:
    """The built-in services of an installation, by name."""

    @property
    def agents(self: Calls) -> AgentsService:
        """A roster of agents: releases, reputation, self-selection, teams."""
        return AgentsService(self)

    @property
    def directory(self: Calls) -> DirectoryService:
        """Users, groups and membership, as the gate sees them."""
        return DirectoryService(self)

    @property
    def events(self: Calls) -> EventsService:
        """What happened, in order, from any position on."""
        return EventsService(self)

    @property
    def guard(self: Calls) -> GuardService:
        """Health, service levels and error budgets, and alerts about them."""
        return GuardService(self)

    @property
    def insights(self: Calls) -> InsightsService:
        """What ran, how it ended, how long it took and what it cost."""
        return InsightsService(self)

    @property
    def log(self: Calls) -> LogService:
        """Your own log: search, flags, checkpoints, proofs, signed exports."""
        return LogService(self)

    @property
    def memory(self: Calls) -> MemoryService:
        """What agents remember: conversations and notes, until they expire."""
        return MemoryService(self)

    @property
    def models(self: Calls) -> ModelsService:
        """Asking models: routes, fallbacks, allowances, evaluations."""
        return ModelsService(self)

    @property
    def tenancy(self: Calls) -> TenancyService:
        """Tenants, members, API keys, plans, settings and feature flags."""
        return TenancyService(self)
