"""The analysers as the flow runs them: isolated programs over a private copy, checked against the tools run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from code_review.analysis import MAX_FINDINGS, Answer
from examples.conftest import EXAMPLE, Program
from examples.repositories import Repository

SOURCE = {
    "src/app/core.py": "import os\nimport subprocess\n\n\n"
    "def run(command):\n    assert command\n    return subprocess.call(command, shell=True)\n",
    "src/app/deep.py": "def deep(x):\n"
    + "".join(f"    if x == {n}:\n        return {n}\n" for n in range(14))
    + "    return undefined_name\n",
    "src/app/__init__.py": "",
    "src/app/alone.py": "def nobody():\n    return 1\n",
    "tests/test_core.py": "from app.core import run\n\n\ndef test_run():\n    assert run('true') == 0\n",
    "broken.py": "def broken(:\n",
    "README.md": "# app\n",
}


def by_hand(checkout: Path, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-m", *arguments, "."], cwd=checkout, capture_output=True, check=False)
    return json.loads(done.stdout)


def checkout(scratch: Path) -> Path:
    return next(scratch.glob("omega-code-review-*")) / "key" / "repo"


@pytest.mark.promise("EX-02")
def test_ruff_says_what_it_says_by_hand(repository: Repository, program: Program, scratch: Path) -> None:
    repository.commit("one", SOURCE)
    answer = program("lint.py", repo=repository.path)
    hand = by_hand(checkout(scratch), *answer["command"].removesuffix(" .").split())
    expected = sorted((one["code"] or "invalid-syntax", one["location"]["row"]) for one in hand)
    found = sorted((one["rule"].replace("syntax-error", "invalid-syntax"), one["line"]) for one in answer["findings"])
    assert found == expected and ("F821", 30) in found and ("F401", 1) in found
    assert answer["files"] == 6 and answer["status"] == "ok"
    assert {skip["path"] for skip in answer["skipped"]} == {"broken.py"}


@pytest.mark.promise("EX-02")
def test_bandit_says_what_it_says_by_hand(repository: Repository, program: Program, scratch: Path) -> None:
    repository.commit("one", SOURCE | {".github/tool.py": "import pickle\n"})
    answer = program("security.py", repo=repository.path)
    hand = by_hand(checkout(scratch), *answer["command"].removesuffix(" .").split())
    expected = sorted((one["test_id"], one["filename"].removeprefix("./"), one["line_number"]) for one in hand["results"])
    assert sorted((one["rule"], one["path"], one["line"]) for one in answer["findings"]) == expected
    severities = {(one["path"], one["rule"]): one["severity"] for one in answer["findings"]}
    assert severities["src/app/core.py", "B602"] == "high"
    assert severities["src/app/core.py", "B101"] == "low" and severities["tests/test_core.py", "B101"] == "info"
    assert severities[".github/tool.py", "B403"] == "low"
    assert answer["skipped"] == [{"path": "broken.py", "reason": "cannot be read or does not parse"}]


@pytest.mark.promise("EX-02")
def test_complexity_is_radons_judged_by_our_thresholds(repository: Repository, program: Program) -> None:
    nested = "class A:\n    def m(self, x):\n" + "".join(f"        if x == {n}: pass\n" for n in range(20))
    repository.commit("one", SOURCE | {"nested.py": nested})
    answer = program("complexity.py", repo=repository.path)
    assert [(one["path"], one["line"], one["severity"]) for one in answer["findings"]] == [
        ("nested.py", 2, "medium"),
        ("src/app/deep.py", 1, "low"),
    ]
    assert "complexity 15 (threshold 12)" in answer["findings"][1]["message"]
    assert answer["facts"]["functions"] == 5


def test_tests_are_found_without_running_anything(repository: Repository, program: Program, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    evil = f"open({str(witness)!r}, 'w').write('run')\nfrom app import deep\n\n\ndef test_evil(): pass\n"
    repository.commit(
        "one", SOURCE | {"tests/test_evil.py": evil, "conftest.py": evil, "sitecustomize.py": evil, "ruff.py": evil, "ast.py": evil}
    )
    answer = program("find_tests.py", repo=repository.path)
    assert answer["facts"]["tests"] == 2 and answer["facts"]["test_files"] == 2
    tested = answer["facts"]["tested"]
    assert (tested["src/app/core.py"], tested["src/app/deep.py"], tested["src/app/alone.py"]) == (1, 1, 0)
    for name in ("lint.py", "security.py", "complexity.py", "secret_scan.py"):
        assert program(name, repo=repository.path)["status"] == "ok"
    assert not witness.exists()


@pytest.mark.promise("EX-07")
def test_no_configuration_of_the_repository_is_obeyed(repository: Repository, program: Program) -> None:
    silence = {
        "pyproject.toml": "[tool.ruff]\nexclude = ['*']\n[tool.ruff.lint]\nselect = []\n"
        "[tool.bandit]\nskips = ['B602']\nexclude_dirs = ['src']\n",
        ".bandit": "[bandit]\nskips = B602\nexclude = src\n",
        "setup.cfg": "[radon]\nexclude = *\ncc_min = F\n",
        "radon.cfg": "[radon]\nexclude = *\n",
        ".gitignore": "*.py\n",
        "src/app/ruff.toml": "exclude = ['*']\n",
    }
    repository.commit("one", SOURCE | silence)
    rules = {one["rule"] for name in ("lint.py", "security.py", "complexity.py") for one in program(name, repo=repository.path)["findings"]}
    assert {"F821", "B602", "high-complexity"} <= rules


@pytest.mark.promise("EX-07")
def test_files_with_hostile_names_are_analysed_too(repository: Repository, program: Program) -> None:
    names = [b"new\nline.py", b'quo"te.py', b"-rf.py", b"--exit-zero.py", b"\xff.py", b"@args.py", "bi\u202edi.py".encode()]
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"import pickle\nprint(nothing)\n").encode()
    repository.git("update-index", "-z", "--index-info", stdin=b"".join(b"100644 " + blob + b"\t" + name + b"\0" for name in names))
    repository.git("commit", "--quiet", "--message", "hostile")
    shown = {"new\\x0aline.py", 'quo"te.py', "-rf.py", "--exit-zero.py", "\\xff.py", "@args.py", "bi\\xe2\\x80\\xaedi.py"}
    for name, rule in (("lint.py", "F821"), ("security.py", "B403")):
        answer = program(name, repo=repository.path)
        assert {one["path"] for one in answer["findings"] if one["rule"] == rule} == shown, name
    assert program("complexity.py", repo=repository.path)["files"] == len(names)


@pytest.mark.promise("EX-03")
def test_what_does_not_apply_says_so(repository: Repository, program: Program) -> None:
    repository.commit("one", {"index.js": "eval(x)\n"})
    for name in ("lint.py", "security.py", "complexity.py", "find_tests.py"):
        answer = program(name, repo=repository.path)
        assert (answer["status"], answer["reason"]) == ("not applicable", "no Python files")
    assert program("secret_scan.py", repo=repository.path)["status"] == "ok"


def test_many_files_are_handed_over_in_batches(repository: Repository, program: Program) -> None:
    deep = "/".join(["a" * 60] * 3)
    repository.commit("one", {f"{deep}/module_{number:04}.py": "import os\n" for number in range(1_200)})
    answer = program("lint.py", repo=repository.path)
    assert answer["files"] == 1_200 and Counter(one["rule"] for one in answer["findings"]) == {"F401": 1_200}


@pytest.mark.promise("EX-08")
def test_no_analyser_repeats_a_password(repository: Repository, program: Program) -> None:
    chosen = "tr0ub4dor" + "&3x"
    repository.commit("one", {"a.py": f"password = '{chosen}'\n\n\ndef f(token='{chosen}'):\n    return f(token='{chosen}')\n"})
    answer = program("security.py", repo=repository.path)
    assert {one["rule"] for one in answer["findings"]} == {"B105", "B106", "B107"}
    assert chosen not in json.dumps(answer)


@pytest.mark.promise("EX-03")
def test_a_tool_that_is_missing_or_breaks_is_a_failed_analyser(repository: Repository, program: Program, tmp_path: Path) -> None:
    repository.commit("one", SOURCE)
    broken = (EXAMPLE / "programs" / "lint.py").read_text("utf-8").replace("parents[2]", f"parents[0] / {str(EXAMPLE.parent)!r}")
    for replacement, reason in (("--no-such-option", "status 2"), ("", "")):
        text = (
            broken.replace('"--exit-zero"', f'"{replacement}"')
            if replacement
            else broken.replace('version("ruff")', 'version("no-such-tool")')
        )
        (tmp_path / "broken.py").write_text(text, "utf-8")
        answer = program(str(tmp_path / "broken.py"), repo=repository.path)
        assert answer["status"] == "failed" and (reason or "not installed") in answer["reason"]
        assert answer["findings"] == [] and str(tmp_path) not in answer["reason"]


def test_an_answer_has_limits_and_keeps_the_worst() -> None:
    answer = Answer("a")
    for number in range(MAX_FINDINGS + 5):
        answer.add("r", "high" if number >= MAX_FINDINGS else "low", "p.py", number + 1, "m" * 1_000)
    record = answer.record()
    assert record["findings_total"] == MAX_FINDINGS + 5 and len(record["findings"]) == MAX_FINDINGS
    assert sum(1 for one in record["findings"] if one["severity"] == "high") == 5
    assert "2005 findings" in record["notes"][0] and len(record["findings"][0]["message"]) == 400
