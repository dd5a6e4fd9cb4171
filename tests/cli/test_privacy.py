"""`omega log`, `privacy`, `erase`, `hold`, and exports that go abroad."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from cli.program import HELLO, omega, started, wait_for
from omega.chronicle.verifier import verify_export


@pytest.mark.promise("LOG-29")
def test_whoever_looks_at_the_log_stands_in_it(home: Path) -> None:
    assert omega("run", HELLO, "--input", "name=Ada").status == 0
    seen = omega("log", "tail", "--json").document["leaves"]
    assert [leaf["kind"] for leaf in seen[:2]] == ["entry", "end"]
    assert omega("log", "search", "--kind", "entry", "--flow", "hello", "--json").document["leaves"][0]["flow"] == "hello"
    assert omega("verify", "--export", "out.omega").status == 0
    looked = omega("log", "access", "--json").document["leaves"]
    assert [leaf["flow"] for leaf in looked] == ["log_access", "read_log", "log_access", "log_access"]
    flagged = omega("log", "tail", "--flags", "--json").document["leaves"]
    assert flagged and all(leaf["flags"] for leaf in flagged)
    with Path("out.omega").open("rb") as file:
        assert verify_export(file).sound


@pytest.mark.slow
def test_a_tail_follows_what_comes(home: Path) -> None:
    omega("run", HELLO, "--input", "name=Ada")
    following = started(home, "log", "tail", "--follow", "--json")
    assert following.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(iter(following.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
    reading.start()
    wait_for(lambda: any('"log_access"' in line for line in lines))
    assert omega("run", HELLO, "--input", "name=Grace", "--id", "exe_grace").status == 0
    wait_for(lambda: [line for line in lines if json.loads(line).get("execution") == "exe_grace"][1:])
    following.kill()


@pytest.mark.promise("LOG-33")
def test_a_hold_blocks_until_two_people_release_it(home: Path) -> None:
    omega("run", HELLO, "--input", "name=Ada")
    assert omega("hold", "set", "--reason", "case 7").status == 0
    refused = omega("erase", "--before", "0s", "--yes")
    assert refused.status == 3 and "OMG-C004" in refused.err
    assert "another person" in omega("hold", "release").out
    assert omega("hold", "release").status == 3
    assert omega("hold", "release", "--as", "person:grace").status == 0
    assert omega("hold", "list", "--json").document["holds"] == []
    assert omega("erase", "--before", "0s", "--yes", "--json").document["erased"] >= 1


@pytest.mark.promise("LOG-30")
def test_erase_names_what_it_erases(home: Path) -> None:
    assert omega("run", HELLO, "--input", "name=Ada", "--id", "exe_ada").status == 0
    assert omega("erase", "--execution", "exe_ada").status == 2, "not without --yes"
    assert omega("erase", "--yes").status == 2
    assert omega("erase", "--subject", "x", "--execution", "exe_ada", "--yes").status == 2
    done = omega("erase", "--execution", "exe_ada", "--yes", "--json").document
    assert (done["erased"], done["left"]) == (1, 0)
    assert omega("erase", "--subject", "nobody", "--yes", "--json").document["erased"] == 0
    assert omega("verify").status == 0


@pytest.mark.slow
@pytest.mark.promise("LOG-83")
def test_what_is_held_about_somebody_is_shown_and_erased_with_what_agents_remember(home: Path) -> None:
    given = ("--input", "agent=desk", "--input", "text=has a carapace", "--input", "about=grete")
    assert omega("call", "memory.remember", *given).status == 0
    told = omega("privacy", "about", "grete", "--json").document
    assert len(told["executions"]) == 1 and told["features"]["memory"][0]["text"] == "has a carapace"
    assert "memory" in omega("privacy", "about", "grete").out
    looked = omega("log", "search", "--flow", "log_access", "--json").document["leaves"]
    assert looked, "that somebody looked is on record"
    erased = omega("erase", "--subject", "grete", "--yes")
    assert "erased 1 execution" in erased.out and "erased 1 of what memory keeps" in erased.out
    assert omega("privacy", "about", "grete", "--json").document == {"ok": True, "executions": [], "features": {}, "unsaid": []}


@pytest.mark.promise("LOG-35")
def test_an_export_abroad_needs_a_consent_on_record(home: Path) -> None:
    omega("run", HELLO, "--input", "name=Ada")
    assert omega("privacy", "region", "eu").status == 0
    refused = omega("verify", "--export", "out.omega", "--to", "us")
    assert refused.status == 3 and "OMG-C006" in refused.err and not Path("out.omega").exists()
    assert omega("verify", "--export", "out.omega", "--to", "eu").status == 0
    assert omega("privacy", "consent", "--to", "us", "--reason", "audit of 2026").status == 0
    assert omega("verify", "--export", "abroad.omega", "--to", "us").status == 0
    assert omega("privacy", "consent", "--to", "us", "--withdraw").status == 0
    assert omega("verify", "--export", "again.omega", "--to", "us").status == 3


def test_levels_and_rules_are_shown_as_they_were_set(home: Path) -> None:
    assert omega("privacy", "level", "redacted").status == 0
    assert omega("privacy", "rules", "--path", "$.a.b", "--path", "$..secret", "--detector", "email").status == 0
    assert omega("privacy", "rules", "--drop", "$.a.b", "--json").document["paths"] == ["$..secret"]
    assert omega("privacy", "level", "--json").document["levels"] == {"local": "redacted"}
    assert omega("privacy", "rules", "--path", "nonsense").status == 2
    assert omega("privacy", "level", "some").status == 2


@pytest.mark.promise("LOG-37")
def test_a_log_is_archived_bit_by_bit_and_reads_back(home: Path, tmp_path: Path) -> None:
    place = (tmp_path / "kept").as_uri()
    omega("run", HELLO, "--input", "name=Ada")
    assert omega("log", "archive", "--to", place, "--check").status == 2
    first = omega("log", "archive", "--to", place, "--for", "30d", "--json").document
    assert first["read_back"] == first["size"] == 2
    omega("run", HELLO, "--input", "name=Grace")
    second = omega("log", "archive", "--to", place, "--json").document
    assert second["read_back"] == second["size"] > first["size"]
    assert omega("log", "archive", "--to", place, "--check").status == 0
    bundle = next(path for path in (tmp_path / "kept" / "local" / "tile" / "entries").rglob("*") if path.is_file() and path.name.isdigit())
    bundle.chmod(0o600)
    refused = omega("log", "archive", "--to", place)
    assert refused.status == 1 and "OMG-C007" in refused.err


@pytest.mark.promise("LOG-36")
def test_how_long_a_log_is_kept_is_said_and_shown(home: Path) -> None:
    omega("run", HELLO, "--input", "name=Ada")
    assert "for ever" in omega("log", "keep").out
    assert omega("log", "keep", "--for", "7y", "--json").document["log"] == {"local": 7 * 365.25 * 86_400}
    assert omega("log", "keep", "--for", "1d").status == 2
    assert omega("log", "keep", "--forever", "--json").document["log"] == {}


@pytest.mark.slow
@pytest.mark.promise("LOG-20")
@pytest.mark.promise("LOG-21")
def test_a_witness_in_a_folder_cosigns_what_continues_and_exports_carry_it(home: Path) -> None:
    omega("run", HELLO, "--input", "name=Ada")
    key = omega("witness", "init", "w1", "--name", "witness.example/w1", "--json").document["key"]
    assert omega("witness", "init", "w1", "--name", "witness.example/w2").status == 2
    log = omega("witness", "request", "--out", "ask", "--json").document["key"]
    assert omega("witness", "cosign", "w1", "ask", "--out", "answer").status == 1, "it does not watch that log yet"
    assert omega("witness", "add", "w1", log).status == 0
    assert omega("witness", "cosign", "w1", "ask", "--out", "answer").status == 0
    assert omega("witness", "accept", "answer", "--key", key).status == 0
    seen = omega("witness", "show", "w1", "--json").document["seen"]["omega.local/local"]
    omega("run", HELLO, "--input", "name=Grace")
    assert omega("witness", "request", "--out", "again").status == 0
    assert omega("witness", "cosign", "w1", "again", "--out", "answer").status == 1, "it has seen more than that says"
    assert omega("witness", "request", "--seen", str(seen), "--out", "more").status == 0
    assert omega("witness", "cosign", "w1", "more", "--out", "answer").status == 0
    assert omega("witness", "accept", "answer", "--key", key).status == 0
    assert omega("verify", "--export", "out.omega").status == 0
    with Path("out.omega").open("rb") as file:
        report = verify_export(file, witnesses=[key])
    assert report.sound and report.witnessed["witness.example/w1"][0] > seen
    assert (Path("w1") / "keys").stat().st_mode & 0o077 == 0
