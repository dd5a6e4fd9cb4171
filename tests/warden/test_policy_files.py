"""Policy files: what is refused at load, where it says so, and what checking them finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import InputError
from omega.warden.explain import check, examine
from omega.warden.policies import Bundle, default_sources, digest_of
from omega.warden.source import statements
from warden.asks import PERMIT_ALL, policy

ANY = "(principal, action, resource)"
CASE = '- ask: {principal: "person:a", flow: x}\n  expect: allow\n'


def problems_of(text: str, name: str = "mine.cedar") -> list[dict]:
    with pytest.raises(InputError) as caught:
        Bundle.load({name: text})
    assert caught.value.code == "OMG-W003"
    assert caught.value.advice
    found = caught.value.details["problems"]
    assert all(problem["file"] == name and problem["text"] and problem["advice"] for problem in found)
    return found


@pytest.mark.promise("GATE-13")
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("permit (", 1, "does not parse"),
        ("\n\n// a comment; with a semicolon\npermit (principal);", 4, "does not parse"),
        (f"permit {ANY};", 1, "no usable @id"),
        (f'@id("Not An Id") @reason("x") permit {ANY};', 1, "no usable @id"),
        (f'@id("a") permit {ANY};', 1, "no @reason"),
        (f'@id("a") @reason("  ") permit {ANY};', 1, "no @reason"),
        (policy("a", f"permit {ANY};", '@aproval("owner")'), 1, "unknown annotation @aproval"),
        (policy("a", f"permit {ANY};", '@approval("owner")'), 1, "permit with @approval"),
        (policy("a", f"forbid {ANY};", '@approval("Not A Role")'), 1, "without a role"),
        (policy("a", f"permit {ANY};", '@ask("go to {place}")'), 1, "{place}"),
        (policy("a", f"permit {ANY};", f'@ask("{"x" * 500}")'), 1, "longer"),
        (policy("a", "permit (principal == ?principal, action, resource);"), 1, "template"),
        (policy("a", f"permit {ANY};") + ";", 4, "does not parse"),
        (policy("a", f"permit {ANY};") + "\n\n" + policy("a", f"permit {ANY};"), 6, "repeats the id a of mine.cedar:1"),
        (policy("a", 'permit (principal == User::"x", action, resource);'), 1, "User"),
        (policy("a", 'permit (principal, action == Action::"zap", resource);'), 1, "zap"),
        (policy("ok", f"permit {ANY};") + policy("a", f"permit {ANY} when {{ context.nope }};"), 4, "nope"),
        (policy("a", f'permit {ANY} when {{ resource.effect == 1 && resource.name < "b" }};'), 1, ""),
        (policy("a", f'permit {ANY} when {{ resource.getTag("host") == "x" }};'), 1, "tag"),
        (policy("a", f"permit {ANY} when {{ resource.owner }};"), 1, "owner"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_advice(text, line, said) -> None:
    found = problems_of(text)
    assert any(problem["line"] == line and said in problem["text"] for problem in found), found


@pytest.mark.promise("GATE-13")
def test_every_problem_is_listed_at_once() -> None:
    found = problems_of(f"permit {ANY};\npermit;\n" + policy("a", f"permit {ANY} when {{ context.nope }};"))
    assert {problem["line"] for problem in found} == {1, 2, 3}


def test_a_huge_file_is_refused() -> None:
    assert "longer than" in problems_of(" " * (9 << 20))[0]["text"]


@pytest.mark.parametrize("text", ["", "\n", "// only a comment; really", "  // a\n\n"])
def test_a_file_without_policies_permits_nothing(text) -> None:
    assert Bundle.load({"a.cedar": text}).policies == ()


def test_places_survive_comments_texts_and_semicolons() -> None:
    text = (
        '// one; "two\n\n'
        '@id("a") // why; "not\n'
        '@reason("semi;colon // \\"quoted\\"")\n'
        'permit (principal, action, resource) when { resource.name != "a;b\\\\" };'
        ' @id("b") @reason("same line") forbid (principal, action, resource)\n'
        'when { resource.name == "//;" };\n'
        "// end;"
    )
    assert [(policy.id, policy.line) for policy in Bundle.load({"a.cedar": text}).policies] == [("a", 3), ("b", 5)]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='ab;/"\\\n @(', max_size=60))
def test_the_scanner_loses_nothing_and_always_ends(text) -> None:
    found = list(statements(text))
    lines = [line for line, _ in found]
    assert lines == sorted(lines)
    assert all(1 <= line <= text.count("\n") + 1 and piece.strip() for line, piece in found)
    assert sum(len(piece) for _, piece in found) <= len(text)


def test_the_digest_names_the_bundle() -> None:
    assert Bundle.load({"a.cedar": PERMIT_ALL}).digest == digest_of({"a.cedar": PERMIT_ALL})
    others = [{"b.cedar": PERMIT_ALL}, {"a.cedar": PERMIT_ALL + " "}, {"a.cedar": PERMIT_ALL, "b.cedar": ""}, {}]
    assert len({digest_of(sources) for sources in (*others, {"a.cedar": PERMIT_ALL})}) == 5


def test_own_files_stand_beside_the_default_ones() -> None:
    bundle = Bundle.load({**default_sources(), "a-first.cedar": policy("mine", f"permit {ANY};")})
    assert bundle.policies[0].id == "owner-acts"
    assert bundle.by_id["mine"].where == "a-first.cedar:1"


@pytest.mark.promise("GATE-14")
def test_check_runs_the_cases_beside_the_policies() -> None:
    found = examine({"a.cedar": PERMIT_ALL + policy("never", f"forbid {ANY} when {{ false }};"), "a.test.yaml": CASE})
    assert (found.policies, found.cases, found.sound, found.unexercised) == (2, 1, True, ("never",))
    assert [(problem.severity, problem.where, problem.text) for problem in found.problems] == [
        ("note", "a.cedar:4", "no test exercises never")
    ]


@pytest.mark.promise("GATE-14")
@pytest.mark.parametrize(
    ("cases", "line", "said"),
    [
        (CASE + CASE.replace("allow", "deny"), 3, "expected deny, got allow by all"),
        (CASE + "  by: other\n", 1, "expected allow by other, got allow by all"),
        (CASE.replace("allow", "maybe"), 1, "is not a case"),
        (CASE.replace("flow", "flaw"), 1, "is not a case"),
        (CASE.replace("person:a", "ghost"), 1, "cannot be asked"),
        (CASE.replace("flow: x", "flow: x, facts: {n: 1.5}"), 1, "cannot be asked"),
        (CASE.replace("flow: x", "flow: x, effect: pure"), 1, "cannot be asked"),
        ("- ask: {principal: 'person:a', flow: x, approver: oncall}\n  expect: needs\n  role: owner\n", 1, "needs oncall"),
        ("a: 1", 1, "not a list"),
        ("- [", 1, "not YAML"),
        ("- !!python/object/apply:os.system ['true']", 1, "not YAML"),
    ],
)
def test_a_failing_or_broken_case_is_an_error_with_its_line(cases, line, said) -> None:
    found = [problem for problem in check({"a.cedar": PERMIT_ALL, "a.test.yaml": cases}) if problem.severity == "error"]
    assert [(problem.file, problem.line) for problem in found] == [("a.test.yaml", line)]
    assert said in found[0].text
    assert found[0].advice


def test_an_empty_test_file_is_no_error() -> None:
    assert check({"a.cedar": PERMIT_ALL, "a.test.yaml": "# nothing yet\n"}) == []


def test_check_reports_files_that_do_not_load() -> None:
    found = examine({"a.cedar": "permit (", "a.test.yaml": CASE})
    assert not found.sound
    assert (found.problems[0].where, found.cases) == ("a.cedar:1", 1)


def test_a_forbid_that_an_absent_fact_switches_off_is_warned_about() -> None:
    guarded = policy("guarded", f'forbid {ANY} when {{ resource.hasTag("host") && resource.getTag("host") == "evil" }};')
    careful = policy("careful", f'forbid {ANY} unless {{ resource.hasTag("host") && resource.getTag("host") == "good" }};')
    found = check({"a.cedar": guarded + careful})
    assert [(problem.severity, problem.line) for problem in found] == [("warning", 1)]


def test_an_approval_that_lifts_nothing_is_warned_about() -> None:
    idle = policy("idle", f"forbid {ANY};", '@approval("owner")')
    works = policy("works", f'forbid {ANY} unless {{ context.approved.contains("owner") }};', '@approval("owner")')
    assert [(problem.severity, problem.line) for problem in check({"a.cedar": idle + works})] == [("warning", 1)]
