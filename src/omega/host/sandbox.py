"""Sandbox tenants: a place to try everything for a day or two, up in seconds, gone without a trace.

A sandbox is a tenant on the plan `sandbox` that expires. What makes it one:

    limits        one request a second, a few agents, small programs (`omega.features.tenancy.plans`)
    passports     are signed with a key that this process drew when it started and keeps nowhere. It counts for sandboxes alone, so what
                  leaks out of one opens no other door; after a restart the API key is simply exchanged anew
    samples       a few flows have run already, so that there is something to look at; its key may run them again, and agents are registered
    expiry        whatever opens the installation next purges what is over: records, payloads, keys, log, rows and documents
    upgrade       another plan and no expiry: one change of the tenant's line. Its records stay where they are

What is left of a purged sandbox is its random id on the list of what is refused, and the leaves in the installation's own log that say
when it was made and purged.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from omega.host.clock import SystemEntropy
from omega.host.exchange import draw_secret, key_text
from omega.host.identity import AGENT_CAPABILITIES
from omega.host.methods import Home, ask_method, desk
from omega.host.targets import Target, load_target
from omega.host.tenants import SANDBOX
from omega.kernel.errors import OmegaError
from omega.kernel.flow import flow

ORGANISATION = "sandbox"
DEFAULT_HOURS, SHORTEST_HOURS, LONGEST_HOURS = 24.0, 24.0, 48.0
AGENT = "agent:trial"
"""Who the sandbox's API key speaks for."""

RIGHTS = (*AGENT_CAPABILITIES, "records:read")
"""What that key may do."""


@flow(name="hello")
def hello(name: str) -> str:
    """The smallest sample: one pure step."""
    return f"hello, {name}"


@flow(name="count-words")
def count_words(text: str) -> dict[str, int]:
    """How often each word occurs."""
    words = text.lower().split()
    return {word: words.count(word) for word in sorted(set(words))}


@flow(name="busiest")
def busiest(counts: dict[str, int]) -> str:
    """The word that occurs most often; of several the first in the alphabet."""
    return min(counts, key=lambda word: (-counts[word], word), default="")


greeting = hello
words = count_words | busiest

SAMPLES: Mapping[str, Any] = {"greeting": "sandbox", "words": "the quick fox jumps over the lazy dog"}
"""Flows that a new sandbox has run, by the names under which this module holds them, with their inputs."""

AGENTS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "librarian",
        "version": "1.0.0",
        "description": "Answers questions in one paragraph.",
        "instructions": "Answer the question in one paragraph. Say what you do not know.",
        "capabilities": ["questions", "explaining"],
    },
    {
        "name": "editor",
        "version": "1.0.0",
        "description": "Makes a text shorter and plainer.",
        "instructions": "Rewrite the text in half as many words. Keep every fact.",
        "capabilities": ["editing", "summaries"],
    },
)
"""Agents that a new sandbox has; they work once a model is arranged for it."""


@cache
def samples() -> tuple[Target, ...]:
    """The sample flows as they are loaded wherever they run."""
    return tuple(load_target(f"{__name__}:{sample}") for sample in SAMPLES)


async def up(home: Home, name: str = "trial", *, hours: float = DEFAULT_HOURS) -> dict[str, Any]:
    """Make a sandbox that lasts `hours`; gives `tenant`, `api_key` (shown this once), `expires_us`, `limits`, `samples` (executions by
    name) and `agents`. Nothing is left where that fails. Raises InputError (OMG-I001), StorageError."""
    entropy = SystemEntropy()
    wanted = {"organisation": ORGANISATION, "project": name, "environment": f"e{entropy.take(6).hex()}", "plan": SANDBOX, "hours": hours}
    secret, digest = draw_secret(entropy)
    key: dict[str, Any] = {"name": name, "secret_sha256": digest, "principal": AGENT, "roles": ["member"], "days": 2}
    async with desk(home) as at:
        made = await at.ask("tenancy.create", wanted)
        tenant = made["tenant"]
        try:
            issued = await at.ask("tenancy.create_key", key | {"capabilities": [*RIGHTS]}, tenant)
            for card in AGENTS:
                await at.ask("agents.register", card, tenant)
            ran = {
                name: (await at.run(each, value, tenant)).execution for each, (name, value) in zip(samples(), SAMPLES.items(), strict=True)
            }
        except OmegaError:
            await at.ask("tenancy.discard", {"tenant": tenant})
            raise
    said = {word: made[word] for word in ("tenant", "expires_us", "limits")}
    agents = [str(card["name"]) for card in AGENTS]
    return said | {"api_key": key_text(issued["key"], secret), "samples": ran, "agents": agents}


async def listed(home: Home) -> list[dict[str, Any]]:
    """The sandboxes that are up, by name."""
    found = await ask_method(home, "tenancy.tenants", {"organisation": ORGANISATION, "limit": 500})
    return [row for row in found if row["plan"] == SANDBOX]


async def down(home: Home, tenant: str) -> dict[str, Any]:
    """Purge a sandbox now. Raises InputError (OMG-I003, OMG-I005)."""
    return dict(await ask_method(home, "tenancy.discard", {"tenant": tenant}))
