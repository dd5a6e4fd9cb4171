"""The verbs of Agents."""

from __future__ import annotations

from typing import Any

from omega.features.agents import teams
from omega.features.agents.model import Call, Card, Debate, Done, Entry, Job, Joint, Named, Standing, Swarm, Team, Trial, Volunteer, Which
from omega.kernel.context import Context
from omega.kernel.errors import InputError
from omega.kernel.roster import KeepAgent, ReadAgents, ReleaseAgent, health, reputation
from omega.kernel.service import method

WORKING = ("agents:use", "model:ask", "tools:call")
"""What a caller holds whose agents ask models and call tools."""


class Agents:
    """The roster of a tenant's agents, and work for them."""

    @method(effect="idempotent", needs="agents:use", example={"name": "triage", "version": "1.0.0", "instructions": "Sort tickets."})
    async def register(self, ctx: Context, card: Card) -> Entry:
        """Register a version of an agent. The first one works at once; later ones when they are tried or promoted."""
        teams.fits(card)
        body = teams.kept(card)
        return _entry(card.name, await ctx.touch(KeepAgent(name=card.name, card=body)))

    @method(effect="idempotent", needs="agents:use", example={"name": "triage", "version": "1.1.0", "share": 0.1})
    async def canary(self, ctx: Context, trial: Trial) -> Entry:
        """Try a version on a share of the work."""
        stable = (await _one(ctx, trial.name))["release"]["stable"]
        request = ReleaseAgent(name=trial.name, stable=stable, canary=trial.version, share=trial.share)
        return _entry(trial.name, await ctx.touch(request))

    @method(effect="idempotent", needs="agents:use", example={"name": "triage"})
    async def promote(self, ctx: Context, named: Named) -> Entry:
        """Let the version that is tried do all the work. Once it does, doing this again changes nothing."""
        release = (await _one(ctx, named.name))["release"]
        return _entry(named.name, await ctx.touch(ReleaseAgent(name=named.name, stable=release["canary"] or release["stable"])))

    @method(effect="idempotent", needs="agents:use", example={"name": "triage"})
    async def roll_back(self, ctx: Context, named: Named) -> Entry:
        """Try no other version any more: the one that works does all the work."""
        release = (await _one(ctx, named.name))["release"]
        return _entry(named.name, await ctx.touch(ReleaseAgent(name=named.name, stable=release["stable"])))

    @method(needs="agents:use", example={"task": "sort this ticket"})
    async def relevant(self, ctx: Context, call: Call) -> list[Volunteer]:
        """Who takes a task to be theirs."""
        found: list[Volunteer] = await ctx.call(teams.volunteers, call)
        return found

    @method(effect="idempotent", needs=WORKING, example={"agent": "triage", "task": "sort this ticket"})
    async def run(self, ctx: Context, job: Job) -> Done:
        """Have one agent do a task."""
        done: Done = await ctx.call(teams.work, job)
        return done

    @method(effect="idempotent", needs=WORKING, example={"task": "plan a release", "agents": ["triage"]})
    async def coordinate(self, ctx: Context, team: Team) -> Joint:
        """Split a task among agents, and put what they say together."""
        joint: Joint = await ctx.call(teams.coordinate, team)
        return joint

    @method(effect="idempotent", needs=WORKING, example={"task": "plan a release", "agents": ["triage"]})
    async def supervise(self, ctx: Context, team: Team) -> Joint:
        """Have a leader do a task with agents as its tools."""
        joint: Joint = await ctx.call(teams.supervise, team)
        return joint

    @method(effect="idempotent", needs=WORKING, example={"task": "is it urgent?", "agents": ["triage"]})
    async def debate(self, ctx: Context, question: Debate) -> Joint:
        """Have agents argue about a question, and a judge decide."""
        joint: Joint = await ctx.call(teams.debate, question)
        return joint

    @method(effect="idempotent", needs=WORKING, example={"task": "sort this ticket"})
    async def swarm(self, ctx: Context, task: Swarm) -> Joint:
        """Have whoever takes a task to be theirs answer it; what most say counts."""
        joint: Joint = await ctx.call(teams.swarm, task)
        return joint

    @method(effect="read", needs="agents:use", example={})
    async def list(self, ctx: Context, which: Which) -> list[Entry]:
        """Who there is, what they say they are good at, and how they have done."""
        found: dict[str, Any] = await ctx.touch(ReadAgents())
        entries = [_entry(name, entry) for name, entry in sorted(found.items())]
        return [each for each in entries if not which.capability or any(which.capability in claim for claim in each.capabilities)]


async def _one(ctx: Context, name: str) -> dict[str, Any]:
    found = await ctx.touch(ReadAgents(name=name))
    if name not in found:
        raise InputError("OMG-I001", f"there is no agent {name[:80]} in this tenant", advice="omega call agents.list shows who there is")
    entry: dict[str, Any] = found[name]
    return entry


def _entry(name: str, entry: dict[str, Any]) -> Entry:
    release, cards, outcomes = entry["release"], entry["cards"], entry["outcomes"]
    card = cards[release["stable"]]
    return Entry(
        name=name,
        **release,
        description=card["description"],
        capabilities=card["capabilities"],
        owner=card["owner"],
        versions=[
            Standing(
                version=version,
                health=health(outcomes.get(version, ())),
                reputation=reputation(outcomes.get(version, ())),
                outcomes=len(outcomes.get(version, ())),
            )
            for version in sorted(cards)
        ],
    )
