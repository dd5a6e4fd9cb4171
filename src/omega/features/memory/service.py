"""The verbs of Memory."""

from __future__ import annotations

from typing import Any

from omega.contracts.remembering import MEMORY, Entry, Forgotten, Query, Recall, Remember, now, recall, remember
from omega.features.memory.model import Count, Kept, Recalled, Standing, Whose
from omega.kernel.context import Context
from omega.kernel.errors import Denied
from omega.kernel.scope import Scope
from omega.kernel.service import OPERATOR, method, plays

KEEPERS = (OPERATOR, "owner", "admin")
"""Who may forget what others had remembered: whoever answers for the data of the tenant, and does so in person."""

REACHED = ("cli", "client", "http", "mcp")
"""Agents themselves remember and recall: over MCP these are tools."""

AGENT = "agent:"


class Memory:
    """What the agents of a tenant remember."""

    @method(
        effect="idempotent",
        needs=MEMORY,
        entrances=REACHED,
        example={"agent": "triage", "text": "printers are looked after by the second floor"},
    )
    async def remember(self, ctx: Context, entry: Entry) -> Kept:
        """Remember something for an agent, until it expires. An agent keeps what it shares with everybody as its own, not as another's."""
        caller = agent_of(ctx.scope)
        if entry.shared and caller not in ("", entry.agent):
            raise Denied(
                "OMG-W001",
                f"agent:{caller} does not say what {entry.agent} tells everybody",
                advice="share it as your own, or keep it unshared",
            )
        return Kept(**await ctx.call(remember, entry))

    @method(effect="read", needs=MEMORY, entrances=REACHED, example={"agent": "triage", "words": "who looks after the printers?"})
    async def recall(self, ctx: Context, query: Query) -> list[Recalled]:
        """Recall a conversation of one's own, or notes: one's own and those that are shared."""
        return [Recalled(**each) for each in await ctx.call(recall, query)]

    @method(effect="idempotent", needs=MEMORY, entrances=REACHED, example={"agent": "triage"})
    async def forget(self, ctx: Context, what: Forgotten) -> Count:
        """Forget what fits: one's own; for an owner or admin of the tenant in person, anybody's."""
        keeps = plays(ctx.scope, KEEPERS) and not ctx.scope.delegated  # forgetting is safe to repeat, so an agent may call it for somebody
        owner = "" if keeps else ctx.scope.principal
        return Count(**await ctx.touch(Remember(name="forget", values=what.model_dump() | {"owner": owner})))

    @method(effect="read", needs=MEMORY, example={})
    async def standing(self, ctx: Context, whose: Whose) -> list[Standing]:
        """How much the agents of the tenant remember."""
        found: list[dict[str, Any]] = await ctx.touch(Recall(name="count", values={"now_us": await now(ctx)}))
        return [Standing(**each) for each in found if whose.agent in ("", each["agent"])]


def agent_of(scope: Scope) -> str:
    """The name of the agent that calls, for itself or for somebody; empty where a person or a program does."""
    caller = scope.actors[0] if scope.delegated else scope.principal
    return caller.removeprefix(AGENT) if caller.startswith(AGENT) else ""
