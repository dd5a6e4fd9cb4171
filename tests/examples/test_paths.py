"""Names as text: printable, one to one, reversible."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_review import paths

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)


@settings(max_examples=200, deadline=None)
@given(NAMES)
def test_a_shown_name_gives_back_its_bytes(name: bytes) -> None:
    assert paths.raw(paths.shown(name)) == name


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_a_shown_name_only_prints(text: str) -> None:
    shown = paths.shown(text.encode("utf-8", "surrogatepass"))
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"src/plain.py", "src/plain.py"),
        ("größe/日本.py".encode(), "größe/日本.py"),
        (b"a\nb.py", "a\\x0ab.py"),
        (b"a\\b.py", "a\\\\b.py"),
        (b"\xff.py", "\\xff.py"),
        ("txt.\u202egpj".encode(), "txt.\\xe2\\x80\\xaegpj"),
    ],
)
def test_names_as_readers_see_them(name: bytes, shown: str) -> None:
    assert paths.shown(name) == shown


def test_only_ordinary_names_are_handed_to_programs() -> None:
    assert paths.plain("src/größe.py")
    assert not any(paths.plain(paths.shown(name)) for name in (b'a"b.py', b"a\nb.py", b"a'b.py", b"\xff.py", b"a\\b.py"))


def test_uris_escape_every_odd_byte() -> None:
    assert paths.uri(paths.shown(b"a b/%\xff\n#?.py")) == "a%20b/%25%FF%0A%23%3F.py"


def test_names_in_diff_headers_are_unquoted_as_git_quotes_them() -> None:
    assert paths.unquoted(rb'"a/\303\244\t\"\\x"') == b'a/\xc3\xa4\t"\\x'
    assert paths.unquoted(b"a/plain") == b"a/plain"


def test_foreign_text_becomes_one_harmless_line() -> None:
    assert paths.one_line("a\x1b[31m\nb\u202ec", 20) == "a [31m b c"
    assert paths.one_line("x" * 50, 10) == "x" * 9 + "…"


def test_tests_are_known_by_name_and_folder() -> None:
    assert paths.is_test("tests/test_a.py") and paths.is_test("a_test.py") and paths.is_test("tests/conftest.py")
    assert not paths.is_test("src/testing.py") and not paths.is_test("tests/data.py")
