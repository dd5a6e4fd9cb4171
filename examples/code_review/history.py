"""The commits of the window, read from what the log tool prints.

A commit message is foreign text and may imitate the log's own lines. The ids of the commits are known beforehand, newest first, and no
message can hold the id of its own commit or of one that was made later and is listed after it; so the real head of each entry is the last
one that names its id before the entry after it. What is read is shown as data: it is never followed, and nothing is ranked by it.
"""

from __future__ import annotations

from code_review import paths

MAX_COMMITS = 30
"""Commits listed in a report."""

MAX_SUBJECT = 120
MAX_AUTHOR = 60


def parse(log: str, ids: list[str]) -> list[dict[str, str]]:
    """The entries of `ids` (newest first) found in `log`: `id`, `author`, `date`, `subject`, each on one line and cut to a limit."""
    entries: list[dict[str, str]] = []
    end = len(log)
    for commit in reversed(ids):
        start = log.rfind(f"Commit: {commit}\nAuthor: ", 0, end)
        if start < 0:
            continue
        entries.append(_entry(commit, log[start:end]))
        end = start
    return entries[::-1]


def _entry(commit: str, block: str) -> dict[str, str]:
    head, _, message = block.partition("\nMessage: ")
    fields = dict(line.partition(": ")[::2] for line in head.split("\n"))
    subject = message.strip().split("\n", 1)[0]
    return {
        "id": commit,
        "author": paths.one_line(fields.get("Author", ""), MAX_AUTHOR),
        "date": paths.one_line(fields.get("Date", ""), MAX_AUTHOR),
        "subject": paths.one_line(subject, MAX_SUBJECT),
    }
