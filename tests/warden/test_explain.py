"""Explanations: the gate's own answer, with what was considered and what would have to change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from omega.kernel.budget import Budget, Spent
from omega.warden.admit import Warden
from omega.warden.explain import explain
from omega.warden.policies import Bundle
from warden.asks import PERMIT_ALL, agent, caller, policy, touch

DEFAULT = Bundle.default()

ASKS = [
    touch(),
    touch(agent(), "git/git_commit", "write"),
    touch(caller("person:eve", groups=())),
    touch(flow="pay", effect="irreversible", role="oncall"),
    touch(caller(capabilities=())),
    touch(left=Budget(calls=0)),
    touch(resource={"n": 1.5}),
]


@pytest.mark.promise("GATE-06")
@pytest.mark.parametrize("ask", ASKS)
def test_an_explanation_is_the_gates_own_answer(ask) -> None:
    explanation = explain(DEFAULT, ask)
    assert explanation.verdict == Warden(DEFAULT).ask(ask).record()
    assert json.loads(json.dumps(explanation.record()))["verdict"]["decision"] == explanation.verdict["decision"]
    assert explanation.verdict["reason"] in str(explanation)
    assert bool(explanation.needed) == (explanation.verdict["decision"] != "allow")
    for text in explanation.needed:
        assert text in str(explanation)


def test_it_lists_what_was_considered_and_what_matched() -> None:
    found = {entry.policy.id: entry.matched for entry in explain(DEFAULT, touch(flow="pay", effect="irreversible")).considered}
    assert found == {"owner-acts": True, "agents-read-only": False, "agents-leave-git-alone": False, "irreversible-needs-owner": True}


def test_it_names_every_rule_that_stands_in_the_way() -> None:
    needed = explain(DEFAULT, touch(agent(), "git/git_commit", "write")).needed
    assert needed[-1] == f"agents-leave-git-alone ({DEFAULT.by_id['agents-leave-git-alone'].where}) forbids it as well"
    both = explain(DEFAULT, touch(flow="pay", effect="irreversible", role="oncall")).needed
    assert "role owner" in both[0]
    assert "role oncall" in both[1]


def test_a_policy_that_fails_is_shown_failing() -> None:
    failing = policy("dear", "forbid (principal, action, resource) when { context.cost_micros + 9223372036854775807 > 0 };")
    explanation = explain(Bundle.load({"a.cedar": PERMIT_ALL + failing}), replace(touch(), estimate=Spent(cost_micros=1)))
    assert [(entry.policy.id, entry.matched, bool(entry.error)) for entry in explanation.considered] == [
        ("all", True, False),
        ("dear", True, True),
    ]
    assert "failed" in str(explanation)


def test_without_a_bundle_it_says_so() -> None:
    assert "no policies are loaded" in str(explain(None, touch()))


def test_the_documentation_shows_a_true_explanation() -> None:
    page = Path(__file__).parents[2] / "docs" / "policies.md"
    assert str(explain(DEFAULT, touch(agent(), "git/git_commit", "write"))) in page.read_text(encoding="utf-8")


def test_the_documentation_tells_of_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    assert [policy.id for policy in DEFAULT.policies if f"| `{policy.id}` |" not in page] == []
