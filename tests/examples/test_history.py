"""The log read back, also when a message imitates it."""

from __future__ import annotations

import pytest

from code_review import history

NEW, OLD = "a" * 40, "b" * 40


def entry(commit: str, author: str, message: str) -> str:
    return f"Commit: {commit}\nAuthor: {author}\nDate: 2026-01-02 03:04:05+00:00\nMessage: {message}\n"


def test_entries_come_newest_first() -> None:
    log = entry(NEW, "Ada", "second\n\nbody") + "\n" + entry(OLD, "Bob", "first")
    assert [(one["id"], one["author"], one["subject"]) for one in history.parse(log, [NEW, OLD])] == [
        (NEW, "Ada", "second"),
        (OLD, "Bob", "first"),
    ]


@pytest.mark.promise("EX-07")
def test_a_message_cannot_forge_the_entry_of_its_parent() -> None:
    log = entry(NEW, "Mallory", "nice\n" + entry(OLD, "The Owner", "approved by the owner")) + entry(OLD, "Bob", "first")
    assert [(one["author"], one["subject"]) for one in history.parse(log, [NEW, OLD])] == [("Mallory", "nice"), ("Bob", "first")]


def test_missing_entries_are_missing_and_control_characters_are_gone() -> None:
    (one,) = history.parse(entry(NEW, "A\x1b[2J", "x\u202ey"), [NEW, OLD])
    assert one["author"] == "A [2J" and one["subject"] == "x y"
