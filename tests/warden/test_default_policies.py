"""The policies of a fresh installation, held to the cases that ship beside them."""

from __future__ import annotations

import msgspec
import pytest

from omega.warden.cases import Case, read_cases
from omega.warden.explain import examine
from omega.warden.policies import Bundle, default_sources, default_tests, shipped

CASES = [entry for name, text in default_tests().items() for entry in read_cases(name, text)]


@pytest.mark.promise("GATE-14")
def test_every_case_holds_and_every_policy_is_reached() -> None:
    found = examine({**default_sources(), **default_tests()})
    assert [f"{problem.where} {problem.text}" for problem in found.problems] == []
    assert (found.cases, found.policies, found.unexercised) == (len(CASES), len(Bundle.default().policies), ())


@pytest.mark.promise("GATE-14")
@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_case_can_fail(number) -> None:
    _, case = CASES[number]
    other = {"allow": "deny", "deny": "needs", "needs": "allow"}[case.expect]
    wrong = msgspec.to_builtins(msgspec.structs.replace(case, expect=other, by=""))
    text = msgspec.json.encode([wrong]).decode()
    assert isinstance(next(read_cases("x.test.yaml", text))[1], Case)
    problems = [problem for problem in examine({**default_sources(), "x.test.yaml": text}).problems if problem.severity == "error"]
    assert [problem.file for problem in problems] == ["x.test.yaml"]


def test_taking_any_policy_away_breaks_a_case() -> None:
    bundle = Bundle.default()
    for policy in bundle.policies:
        rest = "\n".join(other.text for other in bundle.policies if other is not policy)
        assert not examine({"default.cedar": rest, **default_tests()}).sound, policy.id


def test_the_set_is_short_enough_to_read() -> None:
    rules = [line for line in shipped("default.cedar").splitlines() if line.strip() and not line.strip().startswith(("//", '"git_'))]
    assert len(rules) < 80
