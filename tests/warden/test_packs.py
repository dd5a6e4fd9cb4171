"""The packs that ship: short, tested, and tested well; and what says how well policies are tested."""

from __future__ import annotations

import pytest

from omega.kernel.errors import InputError
from omega.warden.coverage import cases_of, covered, mutated
from omega.warden.explain import examine
from omega.warden.packs import pack, packs
from omega.warden.policies import Bundle, default_sources, default_tests
from warden.asks import PERMIT_ALL, policy

PACKS = pytest.mark.parametrize("name", [each.name for each in packs()])


def sources(name: str) -> dict[str, str]:
    found = pack(name)
    return {**default_sources(), found.file: found.policies, "pack.test.yaml": found.tests}


@pytest.mark.promise("WARD-09")
@PACKS
def test_every_case_of_a_pack_holds_and_notices_every_mistake(name) -> None:
    given = sources(name)
    found = examine(given)
    assert [problem.text for problem in found.problems if problem.severity != "note"] == []
    bundle, cases = Bundle.load({file: text for file, text in given.items() if file.endswith(".cedar")}), cases_of(given)
    own = frozenset(policy.id for policy in bundle.policies if policy.file == pack(name).file)
    assert own and mutated(bundle, cases, only=own).survived == ()
    assert [each.place for each in covered(bundle, cases).one_sided if each.policy.id in own] == []
    assert f"Pack {name} {pack(name).version}" in pack(name).policies.splitlines()[0]


@pytest.mark.promise("WARD-09")
def test_packs_stand_beside_each_other() -> None:
    bundle = Bundle.load({**default_sources(), **{each.file: each.policies for each in packs()}})
    assert len(bundle.policies) > len(Bundle.default().policies) + 3
    assert all(len(each.policies.splitlines()) < 40 for each in packs())
    with pytest.raises(InputError, match="there is no pack"):
        pack("lax")


@pytest.mark.promise("WARD-10")
def test_the_default_cases_notice_every_mistake_in_the_default_policies() -> None:
    given = {**default_sources(), **default_tests()}
    result = mutated(Bundle.default(), cases_of(given))
    assert result.mutants > 40
    assert [f"{each.policy.id}: {each.mistake}" for each in result.survived] == []
    assert result.score == 1.0
    assert covered(Bundle.default(), cases_of(given)).one_sided == ()


@pytest.mark.promise("WARD-10")
def test_weak_cases_are_told_by_what_they_do_not_notice() -> None:
    cautious = policy(
        "cautious",
        'forbid (principal, action == Action::"write", resource) when { principal is Agent && resource.server == "git" }'
        ' unless { principal in Group::"writers" };',
    )
    bundle = Bundle.load({"a.cedar": PERMIT_ALL + cautious})
    one = '- {name: a, ask: {principal: "agent:x", flow: git/git_push, effect: write}, expect: deny, by: cautious}\n'
    cases = cases_of({"a.test.yaml": one})
    reached = covered(bundle, cases)
    assert (reached.matched["cautious"], reached.decided["cautious"], reached.decided["all"]) == (1, 1, 0)
    assert {each.place for each in reached.one_sided} == {"cautious when 1", "cautious unless 2"}
    survived = {each.mistake for each in mutated(bundle, cases).survived}
    assert {"any action", "when 1 left out", "when 1 without the left of an and", "unless 2 left out"} <= survived
    assert "unless 2 turned round" not in survived
    more = one + '- {name: b, ask: {principal: "person:x", flow: git/git_push, effect: write}, expect: allow, by: all}\n'
    more += '- {name: c, ask: {principal: "agent:x", flow: crm/put, effect: write}, expect: allow, by: all}\n'
    more += '- {name: d, ask: {principal: "agent:x", groups: [writers], flow: git/git_push, effect: write}, expect: allow, by: all}\n'
    more += '- {name: e, ask: {principal: "agent:x", flow: git/git_push, effect: read}, expect: allow, by: all}\n'
    better = mutated(bundle, cases_of({"a.test.yaml": more}))
    assert [each.mistake for each in better.survived if each.policy.id == "cautious"] == []
    assert mutated(bundle, []).score == 0.0
