"""Attacks on policies and approvals, one test each: what an attacker tries, and what they may see."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace

import pytest

from omega.kernel.budget import NOTHING
from omega.kernel.errors import Denied, InputError
from omega.kernel.verdict import Decision, Gate
from omega.warden.admit import Warden
from omega.warden.approvals import approve
from omega.warden.limits import Limits, Rate
from omega.warden.mint import permit
from omega.warden.policies import Bundle, default_sources
from omega.warden.question import PUSHED
from omega.warden.quotas import Measure, Quota
from omega.warden.source import MAX_SOURCE
from warden.asks import PERMIT_ALL, agent, caller, policy, touch

DEFAULT = Bundle.default()


def refused(sources: dict[str, str]) -> str:
    with pytest.raises(InputError) as caught:
        Bundle.load(sources)
    assert caught.value.code == "OMG-W003"
    return caught.value.cause


@pytest.mark.promise("WARD-12")
def test_a_policy_made_to_err_for_one_caller_denies_and_says_no_more_than_its_id() -> None:
    errs = policy("errs", 'forbid (principal, action, resource) when { Flow::"secret-flow".effect == "x" };')
    verdict = Warden(Bundle.load({"a.cedar": PERMIT_ALL + errs})).ask(touch())
    assert (verdict.decision, verdict.code) == (Decision.DENY, "OMG-W002")
    assert "secret-flow" not in verdict.reason + verdict.how


@pytest.mark.promise("WARD-12")
@pytest.mark.parametrize(
    "text",
    ["permit(", "permit (principal, action, resource)", "\x00", "permit" * 1000, "@id(", '"', "//", PERMIT_ALL + "permit (principal"],
)
def test_what_cannot_be_parsed_is_refused_whole(text) -> None:
    if text == "//":
        assert Bundle.load({"a.cedar": text}).policies == ()
    else:
        refused({"a.cedar": PERMIT_ALL.replace('"all"', '"other"') if text == "" else text})


@pytest.mark.promise("WARD-12")
def test_a_second_policy_of_the_same_name_hides_no_first() -> None:
    assert "repeats the id" in refused({"a.cedar": PERMIT_ALL, "z.cedar": PERMIT_ALL})
    assert "repeats the id" in refused(
        {**default_sources(), "z.cedar": policy("agents-read-only", "forbid (principal, action, resource) when { false };")}
    )


@pytest.mark.promise("WARD-12")
def test_a_huge_set_is_refused_and_a_large_one_is_quick() -> None:
    assert "longer than" in refused({"a.cedar": "/" * (MAX_SOURCE + 1)})
    deep = policy("deep", f"permit (principal, action, resource) when {{ {'(' * 5_000}true{')' * 5_000} }};")
    assert "deep" in refused({"a.cedar": deep})
    chain = policy("chain", f"permit (principal, action, resource) when {{ {' && '.join(['true'] * 400)} }};")
    assert "deep" in refused({"a.cedar": PERMIT_ALL + chain})
    assert "longer than" in refused({"a.cedar": policy("long", f'permit (principal, action, resource) when {{ "{"x" * 70_000}" != "" }};')})
    begun = time.process_time()
    bundle = Bundle.load(
        {"a.cedar": "".join(policy(f"p{n}", f'forbid (principal == Agent::"a{n}", action, resource);') for n in range(2_000))}
    )
    assert len(bundle.policies) == 2_000
    assert time.process_time() - begun < 20


@pytest.mark.promise("WARD-12")
def test_a_missing_fact_switches_no_forbid_off() -> None:
    cautious = policy(
        "cautious", 'forbid (principal, action, resource) unless { resource.hasTag("host") && resource.getTag("host") == "good" };'
    )
    warden = Warden(Bundle.load({"a.cedar": PERMIT_ALL + cautious}))
    assert warden.ask(touch()).policies == ("cautious",)
    assert warden.ask(touch(resource={"host": None})).code == "OMG-W002"
    assert warden.ask(touch(resource={"host": "good"})).decision is Decision.ALLOW


@pytest.mark.promise("WARD-12")
def test_a_target_cannot_claim_a_fact_of_the_hosts() -> None:
    window = policy(
        "window",
        'forbid (principal, action, resource) unless { resource.hasTag("fact:window") && resource.getTag("fact:window") == "open" };',
    )
    warden = Warden(Bundle.load({"a.cedar": PERMIT_ALL + window}))
    assert warden.ask(touch(resource={f"{PUSHED}window": "open"})).code == "OMG-W002"
    assert warden.ask(touch(resource={"window": "open"})).policies == ("window",)
    assert warden.ask(touch()).decision is Decision.DENY
    warden.learn({"acme": {"window": "open"}})
    assert warden.ask(touch()).decision is Decision.DENY, "another tenant's window"
    warden.learn({"": {"window": "closed"}, "local": {"window": "open"}})
    assert warden.ask(touch()).decision is Decision.ALLOW, "remembered answers are forgotten when a fact changes"
    warden.learn({})
    assert warden.ask(touch()).decision is Decision.DENY


@pytest.mark.promise("WARD-12")
def test_an_approval_is_worth_nothing_elsewhere() -> None:
    """Approvals are data of one step; a verdict is good for the very question. Neither can be carried to another."""
    warden = Warden(DEFAULT)
    ask = touch(effect="irreversible", flow="pay", approvals=("person:bob#owner",), needs=("process:run",))
    verdict = warden.ask(ask)
    assert verdict.decision is Decision.ALLOW
    for other in (
        replace(ask, step="other"),
        replace(ask, execution="exe_2"),
        replace(ask, input_commitment=b"\0" * 32),
        replace(ask, epoch=9),
    ):
        with pytest.raises(Denied) as caught:
            permit(other, verdict, "process", lambda: 0.0)
        assert caught.value.code == "OMG-W006"


@pytest.mark.promise("WARD-12")
def test_an_approval_in_another_tenant_by_an_agent_or_without_the_role_is_refused() -> None:
    for approver in (caller(tenant="acme"), agent(groups=("owner",)), caller(actors=("agent:x",)), caller("person:eve", groups=())):
        with pytest.raises(Denied) as caught:
            approve(approver, role="owner", requester=caller("person:bob", groups=()))
        assert caught.value.code == "OMG-W007"


@pytest.mark.promise("WARD-12")
def test_many_at_once_get_no_more_than_one_would() -> None:
    """Each asks, waits for others to ask, and ends only then: what is under way counts."""
    warden = Warden(DEFAULT, limits=Limits(flow=Rate(0.0, 50)))
    warden.limit([Quota(name="q", of=Measure.REQUESTS, amount=20, window_s=60)])
    allowed: list[str] = []

    async def hammer(worker: int) -> None:
        for number in range(40):
            ask = touch(step=f"s{worker}.{number}")
            if warden.ask(ask).decision is Decision.ALLOW:
                allowed.append(ask.step)
                await asyncio.sleep(0)
                warden.settle(ask, NOTHING)

    async def all_at_once() -> None:
        await asyncio.gather(*(hammer(worker) for worker in range(8)))

    asyncio.run(all_at_once())
    assert len(allowed) == 20


@pytest.mark.promise("WARD-12")
def test_a_tool_called_in_a_persons_name_does_no_more_than_the_agent_may() -> None:
    """The confused deputy: an agent borrows the rights of the person whom it works for."""
    warden = Warden(DEFAULT)
    borrowed = caller(actors=("agent:x",))
    for effect in ("write", "irreversible"):
        assert warden.ask(touch(borrowed, "crm/delete", effect)).policies == ("agents-read-only",)
    assert warden.ask(touch(borrowed, "git/git_commit", "read")).policies == ("agents-leave-git-alone",)
    narrowed = replace(borrowed, capabilities=frozenset({"tools:call"}))
    assert warden.ask(touch(narrowed, "crm/read", needs=("tools:call", "process:run"))).code == "OMG-W008"
    assert warden.ask(touch(narrowed, gate=Gate.ENTRY)).code == "OMG-W008"


@pytest.mark.promise("WARD-12")
def test_no_name_of_the_gates_own_rules_can_be_taken_by_a_policy_to_look_like_one() -> None:
    """A denial says where its rule stands: a policy of that name has a file, the gate's rule has none."""
    fake = policy("quarantine", "forbid (principal, action, resource);")
    verdict = Warden(Bundle.load({"a.cedar": PERMIT_ALL + fake})).ask(touch())
    assert (verdict.policies, verdict.where, verdict.code) == (("quarantine",), "a.cedar:4", "OMG-W001")


PIECES = [
    "permit (principal, action, resource);", "forbid (principal, action, resource)", "when {", "unless {", "}", ";", "(", ")",
    "principal is Agent", 'principal in Group::"owner"', 'action in Action::"decide"', 'action == Action::"read"',
    'resource in Server::"git"', "context.approved", '.contains("owner")', "context.cost_micros + 9223372036854775807 > 0",
    'resource.getTag("x")', 'resource.hasTag("x")', '@id("a")', '@reason("b")', '@approval("owner:2")', '@id("c")', "//", "\n", '"',
    "&&", "||", "!", "true", "like", "*", "\x00", "\u202e", 'Flow::"x".effect', "principal.delegated", "[", "]", "if", "then", "else",
    "has", "==", 'decimal("1.0")', 'ip("::1")', "9223372036854775808", "resource", "template ?principal", "(" * 3_000, "[" * 90, "!" * 900,
]  # fmt: skip


def mangled(rng: random.Random) -> str:
    text = rng.choice([*default_sources().values(), PERMIT_ALL, ""])
    for _ in range(rng.choice((1, 1, 2, 4, 9))):
        at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        end = min(end, at + rng.choice((0, 1, 5, 80)))
        text = text[:at] + rng.choice(PIECES) + text[end:]
    return text


def fed(rng: random.Random, asks: list) -> bool:
    """Feed one set; whether it loaded. No crash, no allow with an error, no allow that names no policy."""
    text = mangled(rng)
    try:
        bundle = Bundle.load({"fuzz.cedar": text})
    except InputError as error:
        assert error.code == "OMG-W003" and error.details["problems"], text
        json.dumps(error.record())
        return False
    warden = Warden(bundle)
    for ask in asks:
        verdict = warden.ask(ask)
        assert verdict.policies and verdict.reason, text
        if verdict.decision is Decision.ALLOW:
            assert not verdict.errors and all(bundle.by_id[name].permits for name in verdict.policies), text
    return True


ASKS = [
    touch(),
    touch(agent(), effect="write"),
    touch(effect="irreversible", flow="pay"),
    touch(caller(actors=("agent:x",)), gate=Gate.ENTRY),
]


def fuzz(seconds: float, seed: int) -> tuple[int, int]:
    """(sets fed, sets that loaded) in so many seconds."""
    rng, until, count, loaded = random.Random(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        loaded += fed(rng, ASKS)
        count += 1
    return count, loaded


@pytest.mark.promise("WARD-12")
def test_policies_that_were_tampered_with_are_refused_or_decide_as_they_say() -> None:
    rng = random.Random(7)
    loaded = sum(fed(rng, ASKS) for _ in range(150))
    assert 0 < loaded < 150
