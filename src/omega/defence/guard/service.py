"""The verbs of the guard.

`sweep` is meant for a schedule. It keeps no state: what is new is what stands now and did not at the start of the sweep before, which is in
the record like everything else. Each message to a channel is a touch of its own, gated and journaled. So is each act, where the tenant has
arranged that the guard acts (`acting`); what it did is told like any alert.
"""

from __future__ import annotations

from collections.abc import Sequence

from omega.defence.guard.acting import Act, Do, Facts, Survey, due
from omega.defence.guard.health import advised, by_flow, events_of, workers
from omega.defence.guard.model import Alert, Health, Level, Levels, Seen, Swept, Telling, Todo, Wanted, Weighing, WorkerHealth
from omega.defence.guard.slo import CALM, DAY_S, TICKET, Objective, judge
from omega.kernel.context import Context
from omega.kernel.effects import ListExecutions, Notify
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.ports import Line
from omega.kernel.service import method

MAX_READ = 10_000
"""Most executions that one look reads."""

MAX_ADVICE = 100
"""Most pieces of advice given at once: beyond that the first ones say enough."""

SWEEP = "guard.sweep"
ALL = "all"


class Guard:
    """Looks at the record of the caller's tenant, and tells people."""

    @method(effect="read", needs="records:read", example={})
    async def status(self, ctx: Context) -> Health:
        """What works now: processes, what stands still, and what to do about it."""
        return health(await _lines(ctx), await ctx.now())

    @method(effect="read", needs="records:read", example={"target": 0.999})
    async def slo(self, ctx: Context, wanted: Wanted) -> Levels:
        """How each flow, and the whole tenant, stands against a service level: budget left, burn rate, alert."""
        return levels(await _lines(ctx), _objective(wanted), await ctx.now())

    @method(effect="read", needs="records:read", example={"target": 0.999})
    async def alerts(self, ctx: Context, wanted: Wanted) -> list[Alert]:
        """The alerts that stand now."""
        return standing(await _lines(ctx), _objective(wanted), await ctx.now())

    @method()
    async def sweep(self, ctx: Context, wanted: Wanted) -> Swept:
        """Look once, do what is arranged, and tell every channel what is new since the sweep before and what was done."""
        found: Seen = await ctx.call(look, wanted)
        did, undone = await _act(ctx, wanted)
        new = [*map(_doing, did), *found.new]
        told, untold = [], []
        for alert in new:
            for channel in wanted.channels:
                try:
                    await ctx.call(tell, Telling(channel=channel, alert=alert))
                except (Denied, InputError, UpstreamError):  # on record with the step; the others are told all the same
                    untold.append(f"{channel}: {alert.key}")
                else:
                    told.append(f"{channel}: {alert.key}")
        return Swept(standing=found.standing, new=new, told=told, untold=untold, did=[act.key for act in did], undone=undone)


@flow(name="guard.look", effect="read", needs="records:read")
async def look(ctx: Context, wanted: Wanted) -> Seen:
    """The alerts that stand, and those of them that did not at the start of the sweep before."""
    lines, now = await _lines(ctx), await ctx.now()
    stands = standing(lines, _objective(wanted), now)
    before = last_sweep(lines)
    known = {alert.key for alert in standing(as_of(lines, before), _objective(wanted), before)} if before else set()
    return Seen(standing=stands, new=[alert for alert in stands if alert.key not in known])


@flow(name="guard.tell", effect="write", needs="alerts:use")
async def tell(ctx: Context, telling: Telling) -> str:
    """Tell one channel of one alert; gives the channel."""
    alert = telling.alert
    await ctx.touch(Notify(channel=telling.channel, severity=alert.severity, title=alert.title, text=alert.text, key=alert.key))
    return telling.channel


@flow(name="guard.survey", effect="read", needs=("records:read", "guard:use"))
async def survey(ctx: Context) -> Facts:
    """What the guard may do by itself, and what it goes by."""
    found: Facts = await ctx.touch(Survey())
    return found


@flow(name="guard.weigh", effect="read", needs="records:read")
async def weigh(ctx: Context, weighing: Weighing) -> list[Act]:
    """What is due to be done now."""
    return due(await _lines(ctx), weighing.facts, _objective(weighing.wanted), await ctx.now())


@flow(name="guard.redrive", effect="idempotent", needs="guard:use")
async def redrive(ctx: Context, act: Act) -> bool:
    """Have something that was given up tried again; whether it was still due."""
    return await _done(ctx, act)


@flow(name="guard.isolate", effect="write", needs=("guard:use", "quarantine:use"))
async def isolate(ctx: Context, act: Act) -> bool:
    """Put an agent into quarantine; whether it was still due. As when a person does it, that is a write: no agent locks out another."""
    return await _done(ctx, act)


@flow(name="guard.pause", effect="idempotent", needs=("guard:use", "arrangements:use"))
async def pause(ctx: Context, act: Act) -> bool:
    """Pause a schedule or a queue; whether it was still due."""
    return await _done(ctx, act)


FLOWS = {"redrive": redrive, "isolate": isolate, "schedule": pause, "queue": pause}
"""Which flow carries out which kind of act: rules about the gate name them."""


async def _act(ctx: Context, wanted: Wanted) -> tuple[list[Act], list[str]]:
    """Do what is arranged and due; gives what was done, and what was not, with the code that says why."""
    try:
        facts: Facts = await ctx.call(survey)
    except Denied as error:  # whoever may only look has looked
        return [], [f"survey: {error.code}"]
    if not facts.orders.any:
        return [], []
    acts: list[Act] = await ctx.call(weigh, Weighing(wanted=wanted, facts=facts))
    did, undone = [], []
    for act in acts:
        try:
            if await ctx.call(FLOWS[act.kind], act):
                did.append(act)
        except OmegaError as error:  # on record with the step; one act that fails holds up no other
            undone.append(f"{act.key}: {error.code}")
    return did, undone


async def _done(ctx: Context, act: Act) -> bool:
    return bool(await ctx.touch(Do(kind=act.kind, about=act.about, why=act.why, since_us=act.since_us)))


def _doing(act: Act) -> Alert:
    """What the guard did, as an alert: with how to take it back."""
    said, do = {
        "redrive": ("tries again", f"omega show {act.about}"),
        "isolate": ("locked out", f"omega quarantine release {act.about}"),
        "schedule": ("paused the schedule", f"omega schedule resume {act.about}"),
        "queue": ("paused the queue", f"omega queue resume {act.about}"),
    }[act.kind]
    return Alert(key=f"did {act.key}", severity=act.severity, title=f"the guard {said} {act.about}", text=act.why, do=do)


# -- the same, on lines that were read otherwise


def health(lines: Sequence[Line], now_s: float) -> Health:
    """What works at `now_s`, and what should be looked at. Pure, as all below."""
    return Health(
        open=sum(not Status(line.status).ended for line in lines),
        dead=sum(line.status == Status.DEAD for line in lines),
        workers=[
            WorkerHealth(name=each.name, holds=each.holds, alive=each.alive, silent_s=round(max(0.0, now_s - each.seen_s), 3))
            for each in workers(lines, now_s)
        ],
        advice=[Todo(about=each.about, what=each.what, do=each.do) for each in advised(lines, now_s)[:MAX_ADVICE]],
    )


def levels(lines: Sequence[Line], objective: Objective, now_s: float) -> Levels:
    """The level of the whole tenant, then of each flow."""
    flows = by_flow(lines)
    groups = {ALL: [line for group in flows.values() for line in group], **flows}
    found = [_level(name, group, objective, now_s) for name, group in groups.items()]
    return Levels(target=objective.target, levels=found, truncated=len(lines) >= MAX_READ)


def standing(lines: Sequence[Line], objective: Objective, now_s: float) -> list[Alert]:
    """The alerts that stand at `now_s`: levels that burn too fast, pages first, then what needs a hand."""
    burning = [each for each in levels(lines, objective, now_s).levels if each.severity != CALM]
    found = [
        Alert(
            key=f"slo {each.name} {each.severity}",
            severity=each.severity,
            title=f"{each.name} burns its error budget {each.burn_hour:.1f} times too fast",
            text=f"{each.bad} of {each.executions} ended badly; {each.left:.0%} of the budget is left",
            do="omega guard slo",
        )
        for each in sorted(burning, key=lambda each: each.severity)
    ]
    return found + [
        Alert(key=f"{each.about} {each.what}", severity=TICKET, title=f"{each.about}: {each.what}", text=each.what, do=each.do)
        for each in advised(lines, now_s)[:MAX_ADVICE]
    ]


def last_sweep(lines: Sequence[Line]) -> float:
    """When the last sweep that came to its end began, in Unix seconds; 0 for none."""
    return max((line.started_us / 1_000_000 for line in lines if line.flow == SWEEP and line.status == Status.DONE), default=0.0)


def as_of(lines: Sequence[Line], moment_s: float) -> list[Line]:
    """The lines that had taken their present form by then: what has changed since is left out."""
    return [line for line in lines if line.updated_us <= moment_s * 1_000_000]


async def _lines(ctx: Context) -> list[Line]:
    found: list[Line] = await ctx.touch(ListExecutions(limit=MAX_READ))
    return found


def _objective(wanted: Wanted) -> Objective:
    return Objective(wanted.target, wanted.days * DAY_S, wanted.within_s)


def _level(name: str, lines: Sequence[Line], objective: Objective, now_s: float) -> Level:
    found = judge(events_of(lines), objective, now_s)
    return Level(
        name=name,
        executions=found.events,
        bad=found.bad,
        availability=round(found.availability, 6),
        left=round(found.left, 4),
        burn_hour=round(found.burn_hour, 3),
        severity=found.severity,
    )
