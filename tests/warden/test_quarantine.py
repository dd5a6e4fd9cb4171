"""One agent is locked out, whoever it acts for; nobody else notices. And what makes usage unusual."""

from __future__ import annotations

import pytest

from omega.kernel.errors import InputError
from omega.kernel.verdict import Decision, Gate
from omega.warden.admit import Act, Warden
from omega.warden.anomaly import ROGUE, SUSPICIOUS, Profile, worst
from omega.warden.policies import Bundle
from omega.warden.quarantine import Quarantine
from warden.asks import NOW, PERMIT_ALL, agent, caller, touch

HOUR = 3_600


def held(principal="agent:x", tenant="local") -> Quarantine:
    return Quarantine(tenant=tenant, principal=principal, reason="it ran wild", by="person:ada", since_us=1)


@pytest.mark.promise("WARD-07")
def test_everything_by_the_agent_is_denied_and_nothing_by_anybody_else() -> None:
    warden = Warden(Bundle.load({"all.cedar": PERMIT_ALL}))
    assert warden.ask(touch(agent("x"))).decision is Decision.ALLOW
    warden.isolate([held()])
    for gated in Gate:
        for scope in (agent("x"), caller(actors=("agent:x",)), caller(actors=("agent:y", "agent:x"))):
            verdict = warden.ask(touch(scope, gate=gated))
            assert (verdict.decision, verdict.policies, verdict.code) == (Decision.DENY, ("quarantine",), "OMG-W009")
            assert "it ran wild" in verdict.reason and "omega quarantine release agent:x" in verdict.how
            assert verdict.details["since_us"] == 1
        for scope in (agent("y"), caller(), agent("x", tenant="acme"), caller("person:x")):
            assert warden.ask(touch(scope, gate=gated)).decision is Decision.ALLOW
    act = Act(verb="cancel", scope=agent("x"), requester=agent("x"), execution="exe_1", flow="f", now=NOW)
    assert warden.decide(act).code == "OMG-W009"
    warden.isolate([])
    assert warden.ask(touch(agent("x"))).decision is Decision.ALLOW


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tenant": "local", "principal": "person:ada", "reason": "r", "by": "b", "since_us": 1},
        {"tenant": "local", "principal": "agent:x", "reason": " ", "by": "b", "since_us": 1},
        {"tenant": "local", "principal": "agent:x", "reason": "r" * 301, "by": "b", "since_us": 1},
        {"tenant": "local", "principal": "agent:x", "reason": "r", "by": "b", "since_us": "1"},
    ],
)
def test_what_is_no_quarantine_is_refused(body) -> None:
    with pytest.raises(InputError):
        Quarantine.read(body)


def weeks(profile: Profile, *, calls: int = 20, micros: int = 1_000, days: int = 14) -> float:
    """Office hours for two weeks; gives the start of the next working hour."""
    for day in range(days):
        for hour in range(9, 17):
            for call in range(calls):
                profile.note((day * 24 + hour) * HOUR + call, cost_micros=micros, tool=f"git/t{call % 5}")
    return float((days * 24 + 9) * HOUR)


@pytest.mark.promise("WARD-08")
def test_an_ordinary_day_is_nothing_and_each_oddity_is_explained() -> None:
    profile = Profile()
    now = weeks(profile)
    for call in range(20):
        profile.note(now + call, cost_micros=1_000, tool="git/t1")
    assert profile.score().points == 0
    profile.note(now + 30, tool="shell/run")
    profile.note(now + 31, tool="shell/upload")
    score = profile.score()
    assert [feature.name for feature in score.features] == ["new tools"]
    assert not score.suspicious and "new tools: 2" in score.reason


@pytest.mark.promise("WARD-08")
def test_what_runs_wild_is_rogue_and_two_oddities_are_suspicious() -> None:
    profile = Profile()
    now = weeks(profile)
    for _ in range(3_000):
        profile.note(now, cost_micros=100_000, tool="git/t1")
    score = profile.score()
    assert score.rogue and score.points >= ROGUE
    assert score.features[0].name in ("spend", "rate")
    night = Profile()
    now = weeks(night)
    for number in range(40):
        night.note(now + 14 * HOUR, tool=f"new/t{number}")
        night.note(now + 14 * HOUR, refused=True)
    assert night.score().points >= SUSPICIOUS
    assert {"new tools", "odd hour", "refusals"} <= {feature.name for feature in night.score().features}


@pytest.mark.promise("WARD-08")
def test_a_newcomer_is_not_suspicious_for_being_new_but_for_running_wild() -> None:
    fresh = Profile()
    for number in range(50):
        fresh.note(1_000_000.0 + number, tool=f"t/{number}", cost_micros=5_000)
    assert fresh.score().points == 0
    for _ in range(5_000):
        fresh.note(1_000_100.0, cost_micros=20_000)
    assert fresh.score().rogue
    assert Profile().score().reason == "nothing unusual"


def test_growth_that_takes_its_time_is_ordinary() -> None:
    profile, calls = Profile(), 10.0
    for hour in range(24 * 30):
        calls *= 1.005
        for _ in range(int(calls)):
            profile.note(hour * HOUR, cost_micros=500, tool="git/t1")
        assert not profile.score().suspicious, hour


def test_the_worst_is_named() -> None:
    quiet, wild = Profile(), Profile()
    quiet.note(0.0)
    for _ in range(5_000):
        wild.note(0.0)
    found = worst([("agent:quiet", quiet), ("agent:wild", wild)])
    assert found is not None and found[0] == "agent:wild"
    assert worst([("agent:quiet", quiet)]) is None
