"""The private copy: what it holds, what it refuses, and that nothing of the repository runs or changes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from code_review import workspace
from examples.repositories import Repository, new_repository

TRAPS = (
    "core.alternateRefsCommand",
    "core.editor",
    "core.fsmonitor",
    "core.pager",
    "core.sshCommand",
    "diff.evil.command",
    "diff.evil.textconv",
    "diff.external",
    "filter.evil.clean",
    "filter.evil.process",
    "filter.evil.smudge",
    "uploadpack.packObjectsHook",
)
"""Settings by which a repository names programs."""


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below `folder`: mode, modification time, content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns if path.is_file() else 0, content)
    return found


def kinds(facts: dict[str, Any]) -> dict[str, str]:
    """Shown name to kind of every file in a workspace."""
    return {file["path"]: file["kind"] for file in workspace.manifest(Path(facts["scratch"]))}


def refusal(path: Path, **order: str) -> workspace.Refused:
    with pytest.raises(workspace.Refused) as caught:
        workspace.ensure(**{"repo": str(path), "since": "", "key": "key"} | order)
    return caught.value


@pytest.mark.promise("EX-01")
def test_the_repository_is_only_read(repository: Repository, scratch: Path) -> None:
    head = repository.commit("one", {"a.py": "x = 1\n", "b/c.txt": "c\n"})
    repository.write({"a.py": "x = 'not committed'\n", "new.py": "y = 1\n"})
    before = snapshot(repository.path)
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    assert snapshot(repository.path) == before
    assert facts["commit"] == head
    checkout = Path(facts["scratch"]) / "repo"
    assert (checkout / "a.py").read_text() == "x = 1\n" and not (checkout / "new.py").exists()
    assert oct(Path(facts["scratch"]).stat().st_mode & 0o777) == "0o700"
    assert workspace.remove("key") and not Path(facts["scratch"]).exists()
    assert not workspace.remove("key")


@pytest.mark.promise("EX-01")
def test_the_commit_stays_pinned_when_the_repository_moves_on(repository: Repository, scratch: Path) -> None:
    first = repository.commit("one", {"a": "1"})
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    repository.commit("two", {"a": "2"})
    assert workspace.ensure(repo=str(repository.path), since="", key="key") == facts
    workspace.remove("key")
    again = workspace.ensure(repo=str(repository.path), since="", key="key", commit=first)
    assert (Path(again["scratch"]) / "repo" / "a").read_text() == "1" and again == facts


@pytest.mark.promise("EX-06")
def test_what_cannot_be_reviewed_is_refused_with_advice(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    empty = new_repository(tmp_path / "empty")
    full = new_repository(tmp_path / "full")
    full.commit("one", {"a": "1"})
    found = {
        refusal(tmp_path / "missing").kind,
        refusal(tmp_path / "plain").kind,
        refusal(empty.path).kind,
        refusal(full.path, since="no-such").kind,
        refusal(full.path, since="--output=/tmp/x").kind,
    }
    assert found == {"no-such-path", "not-a-repository", "no-commit", "no-such-revision"}
    assert not list(scratch.glob("*/*")), "a refusal leaves nothing behind"
    assert refusal(empty.path).advice and refusal(full.path, since="x").advice


@pytest.mark.promise("EX-06")
def test_bare_shallow_and_one_commit_repositories(tmp_path: Path, repository: Repository, scratch: Path) -> None:
    for number in range(30):
        repository.commit(f"c{number}", {"a.txt": f"{number}\n"})
    bare, shallow, single = tmp_path / "bare", tmp_path / "shallow", tmp_path / "single"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    repository.git("clone", "--quiet", "--depth=3", f"file://{repository.path}", str(shallow))
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(single))
    facts = {path: workspace.ensure(repo=str(path), since="", key=path.name) for path in (bare, shallow, single, repository.path)}
    assert facts[bare]["bare"] and facts[bare]["since"] == "HEAD~20" and facts[bare]["commits"] == 20
    assert facts[shallow]["shallow"] and facts[shallow]["since"] == "HEAD~2" and "shallow" in facts[shallow]["note"]
    assert facts[single]["base"] == "" and "one commit" in facts[single]["note"]
    assert facts[repository.path]["base"] == facts[bare]["base"]


@pytest.mark.promise("EX-06")
def test_a_short_history_is_compared_with_nothing_at_all(repository: Repository, scratch: Path) -> None:
    repository.commit("one", {"a.txt": "1\n2\n"})
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    assert facts["since"] == "the beginning" and facts["commits"] == 1
    assert "+1\n+2\n" in workspace.diff(Path(facts["scratch"]) / "repo", facts["base"])


def test_since_names_branches_tags_and_ids_and_means_where_history_parted(repository: Repository, scratch: Path) -> None:
    base = repository.commit("one", {"a": "1"})
    repository.git("tag", "v1")
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit("elsewhere", {"b": "1"})
    repository.git("checkout", "--quiet", "main")
    repository.commit("two", {"a": "2"})
    for number, since in enumerate(("v1", "other", base[:10], "HEAD~1")):
        facts = workspace.ensure(repo=str(repository.path), since=since, key=f"k{number}")
        assert facts["base"] == base and facts["commits"] == 1
        assert bool(facts["note"]) == (since == "other")


@pytest.mark.promise("EX-07")
def test_nothing_that_the_repository_configures_is_run(repository: Repository, scratch: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\necho run >> {witness}\ncat\n")
    trap.chmod(0o755)
    base = repository.commit("one", {"a.py": "x = 1\n", ".gitattributes": "* filter=evil diff=evil merge=evil ident\n*.py -diff\n"})
    repository.commit("two", {"a.py": "x = 2\n"})
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        (repository.path / ".git" / "hooks").mkdir(exist_ok=True)
        hook = repository.path / ".git" / "hooks" / name
        hook.write_text(trap.read_text())
        hook.chmod(0o755)
    for key in TRAPS:
        repository.git("config", key, str(trap))
    repository.git("config", "filter.evil.required", "true")
    witness.unlink(missing_ok=True)
    facts = workspace.ensure(repo=str(repository.path), since=base, key="key")
    checkout = Path(facts["scratch"]) / "repo"
    text = workspace.diff(checkout, facts["base"])
    subprocess.run(["git", "-C", str(checkout), "diff", facts["base"]], check=True, capture_output=True)  # as the tool server runs it
    subprocess.run(["git", "-C", str(checkout), "status"], check=True, capture_output=True)
    assert not witness.exists()
    assert "-x = 1\n+x = 2\n" in text, "attributes must not hide a change"


@pytest.mark.promise("EX-07")
def test_hostile_names_and_links_are_tamed(repository: Repository, scratch: Path) -> None:
    names = [
        b"new\nline.py",
        b'quo"te.py',
        b"-rf.py",
        b"\xff\xfe.py",
        "bi\u202edi.py".encode(),
        b"esc\x1b[31m.py",
        b"sp ace.py",
        b"back\\slash.py",
    ]
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"import os\n").encode()
    target = repository.git("hash-object", "-w", "--stdin", stdin=b"/etc/passwd").encode()
    lines = [b"100644 " + blob + b"\t" + name for name in names] + [b"120000 " + target + b"\tlink.py"]
    repository.git("update-index", "-z", "--index-info", stdin=b"\0".join(lines) + b"\0")
    repository.git("commit", "--quiet", "--message", "hostile")
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    files = {file["path"]: file for file in workspace.manifest(Path(facts["scratch"]))}
    assert {workspace.paths.raw(path) for path in files} == {*names, b"link.py"}
    for path, file in files.items():
        content = (Path(facts["scratch"]) / file["file"]).read_bytes()
        assert not (Path(facts["scratch"]) / file["file"]).is_symlink()
        assert content == (b"/etc/passwd" if path == "link.py" else b"import os\n")
        assert file["file"].isprintable() and file["file"].isascii() and '"' not in file["file"] and "\\" not in file["file"]
    assert files["link.py"]["kind"] == "link"
    assert facts["skipped"] == [{"path": "link.py", "reason": "symbolic link, not followed"}]


@pytest.mark.promise("EX-09")
def test_binary_and_huge_files_are_named_with_the_reason(repository: Repository, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MAX_CHECKOUT_BYTES", 3 << 20)
    files = {"a.bin": b"\0\1", "big.py": "x = 1\n" * 200_000, "huge.txt": b"y" * (4 << 20), "ok.py": "x = 1\n", "ok.txt": "t"}
    repository.commit("one", files)
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    assert kinds(facts) == {"a.bin": "binary", "big.py": "huge", "huge.txt": "huge", "ok.py": "python", "ok.txt": "text"}
    assert {skip["path"]: skip["reason"] for skip in facts["skipped"]} == {
        "a.bin": "binary",
        "big.py": "larger than 1024 KiB",
        "huge.txt": "larger than 1024 KiB",
    }
    checkout = Path(facts["scratch"]) / "repo"
    assert not (checkout / "huge.txt").exists()
    shown = subprocess.run(["git", "-C", str(checkout), "diff", "--stat", "HEAD"], check=True, capture_output=True)
    assert shown.stdout == b"", "a file that was left out must not look deleted"


def test_submodules_stay_out(repository: Repository, scratch: Path) -> None:
    repository.commit("one", {"a": "1"})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    repository.git("commit", "--quiet", "--message", "two")
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    assert facts["submodules"] == 1 and kinds(facts)["sub"] == "submodule"


def test_bytes_are_checked_out_as_stored(repository: Repository, scratch: Path) -> None:
    repository.git("config", "core.autocrlf", "false")
    content = b"a = 1\r\nb = 2\n# $Id$\n"
    repository.commit("one", {"mixed.py": content})
    repository.write({".gitattributes": "*.py text eol=crlf ident working-tree-encoding=UTF-16\n"})
    repository.git("add", ".gitattributes")
    repository.git("commit", "--quiet", "--message", "two")
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    assert (Path(facts["scratch"]) / "repo" / "mixed.py").read_bytes() == content


def test_a_planted_folder_is_refused(scratch: Path, repository: Repository) -> None:
    repository.commit("one", {"a": "1"})
    planted = scratch / f"omega-code-review-{os.getuid()}"
    planted.symlink_to(scratch)
    assert refusal(repository.path).kind == "no-scratch"
    planted.unlink()
    planted.mkdir(mode=0o755)
    assert refusal(repository.path).kind == "no-scratch"


def test_keys_cannot_leave_the_folder(repository: Repository, scratch: Path) -> None:
    repository.commit("one", {"a": "1"})
    assert refusal(repository.path, key="../x").kind == "bad-key"


@pytest.mark.promise("EX-06")
def test_a_full_disk_is_a_coded_refusal(repository: Repository, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit("one", {"a": "1"})
    write = Path.write_text

    def full(path: Path, *arguments: Any, **named: Any) -> int:
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", full)
    found = refusal(repository.path)
    assert not list(scratch.glob("*/*"))
    assert found.kind == "no-scratch" and "No space left" in found.cause and "TMPDIR" in found.advice


def test_a_workspace_half_made_is_made_again(repository: Repository, scratch: Path) -> None:
    repository.commit("one", {"a": "1"})
    facts = workspace.ensure(repo=str(repository.path), since="", key="key")
    (Path(facts["scratch"]) / "ready.json").unlink()
    (Path(facts["scratch"]) / "repo" / "a").write_text("half")
    assert workspace.ensure(repo=str(repository.path), since="", key="key") == facts
    assert (Path(facts["scratch"]) / "repo" / "a").read_text() == "1"


def test_workspaces_of_runs_that_were_given_up_are_swept(repository: Repository, scratch: Path) -> None:
    repository.commit("one", {"a": "1"})
    old = Path(workspace.ensure(repo=str(repository.path), since="", key="old")["scratch"])
    os.utime(old, (0, 0))
    workspace.ensure(repo=str(repository.path), since="", key="new")
    assert not old.exists()


def test_the_program_gives_its_refusal_as_data(tmp_path: Path, program) -> None:  # type: ignore[no-untyped-def]
    answer = program("prepare.py", "ensure", repo=tmp_path / "missing")
    assert (answer["exit"], answer["kind"]) == (3, "no-such-path") and json.dumps(answer)
