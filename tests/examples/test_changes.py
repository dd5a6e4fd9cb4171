"""Changed lines read from a diff that is not to be trusted."""

from __future__ import annotations

import pytest

from code_review import changes
from code_review.changes import NotADiff, parse, touched
from examples.repositories import Repository


def test_lines_are_those_of_the_new_side(repository: Repository) -> None:
    base = repository.commit("one", {"a.py": "1\n2\n3\n4\n5\n", "gone.py": "x\n", "same.py": "y\n"})
    (repository.path / "gone.py").unlink()
    repository.commit("two", {"a.py": "1\nTWO\n3\n4\n5\n6\n7\n", "new file.py": "n\n", "blob.bin": b"\0\1"})
    found = {file["path"]: file for file in parse(repository.git("diff", "--unified=0", "--no-renames", base, "HEAD"))}
    assert found["a.py"] == {"path": "a.py", "status": "modified", "added": 3, "deleted": 1, "lines": [[2, 2], [6, 7]]}
    assert found["gone.py"]["status"] == "deleted" and found["gone.py"]["lines"] == []
    assert found["new file.py"]["status"] == "added" and found["new file.py"]["lines"] == [[1, 1]]
    assert found["blob.bin"]["status"] == "added" and found["blob.bin"]["added"] == 0
    assert set(found) == {"a.py", "gone.py", "new file.py", "blob.bin"}


@pytest.mark.promise("EX-07")
def test_a_changed_line_that_looks_like_a_header_is_a_changed_line(repository: Repository) -> None:
    base = repository.commit("one", {"a.txt": "-- a/evil.py\n"})
    repository.commit("two", {"a.txt": "++ b/evil.py\n@@ -1 +1,900 @@\ndiff --git a/evil.py b/evil.py\nnew file mode 100644\n"})
    found = parse(repository.git("diff", "--unified=0", base, "HEAD"))
    assert [file["path"] for file in found] == ["a.txt"]
    assert found[0]["lines"] == [[1, 4]]


@pytest.mark.promise("EX-07")
@pytest.mark.parametrize(
    "name", [b"a\nb.py", b'quo"te.py', b"\xff\xfe.py", b"-dash.py", "ü b/ b/x.py".encode(), b"tab\t.py", b"back\\slash.py"]
)
def test_hostile_names_are_read_exactly(repository: Repository, name: bytes) -> None:
    base = repository.commit("one", {"x": "x"})
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"1\n2\n")
    repository.git("update-index", "-z", "--index-info", stdin=b"100644 " + blob.encode() + b"\t" + name + b"\0")
    repository.git("commit", "--quiet", "--message", "two")
    (file,) = parse(repository.git("diff", "--unified=0", base, "HEAD"))
    assert changes.paths.raw(file["path"]) == name
    assert file["lines"] == [[1, 2]]


def test_lines_end_at_line_feeds_alone(repository: Repository) -> None:
    base = repository.commit("one", {"a.txt": "x\n"})
    repository.commit("two", {"a.txt": "x\nform\x0cfeed\rreturn\u2028separator\nlast\n"})
    (file,) = parse(repository.git("diff", "--unified=0", base, "HEAD"))
    assert file["lines"] == [[2, 3]]


@pytest.mark.parametrize("text", ["diff --git a/x b/x\n@@ -0,0 +1,3 @@\n+a", "diff --git a/x b/x\n@@ -1 +1 @@\n-a\ngarbage"])
def test_a_diff_that_breaks_off_is_refused(text: str) -> None:
    with pytest.raises(NotADiff):
        parse(text)


def test_the_words_of_the_tool_before_the_diff_are_passed_over() -> None:
    assert parse("Diff with abc:\n") == []
    assert parse("Diff with abc:\ndiff --git a/x b/x\n@@ -1 +1 @@\n-a\n+b")[0]["lines"] == [[1, 1]]


def test_touching() -> None:
    assert touched([(3, 5)], 5, 9) and touched([(3, 5)], 1, 3)
    assert not touched([(3, 5)], 6, 9) and not touched([], 1, 9)
