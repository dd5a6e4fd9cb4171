"""Limits on a conversation with a tool server: it is a program we did not write, and may be hostile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one session.

    `message_bytes`: one JSON-RPC message from the server. `noise_bytes`: standard output that is no JSON-RPC message, in all;
    some servers print a banner, none needs more. `tools`: how many tools a server may list, `pages`: in how many pages.
    `exit_s`: patience with a server whose standard input was closed. `recheck_s`: age at which a list of tools is fetched again
    although the server announced no change. `backoff_s`, `backoff_max_s`: the first and the longest pause before a server that
    failed is started again; it doubles in between. `sessions`: live sessions at once, the longest unused is closed first;
    those in which somebody watches a resource come on top and stay.
    """

    message_bytes: int = 16 << 20
    noise_bytes: int = 1 << 20
    tools: int = 2_000
    pages: int = 100
    exit_s: float = 2.0
    recheck_s: float = 60.0
    backoff_s: float = 0.1
    backoff_max_s: float = 5.0
    sessions: int = 32


LAST_WORDS_BYTES = 8 << 10
"""How much of a server's standard error is kept, the last of it."""

LAST_WORDS = 2_000
"""Characters of a server's own words that an error carries."""

REPORTED = 16_000
"""Characters of a tool's own error that a client is given: enough for the words of a compiler, and not for a flood."""

MIN_SECRET = 6
"""Values shorter than this are not replaced in a server's words: they would tear ordinary text apart."""


def quote(text: str, secrets: tuple[str, ...], *, limit: int = LAST_WORDS) -> str:
    """The end of what a server said, without the secrets it was given, fit for an error."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_SECRET:
            text = text.replace(secret, "***")
    return text[-limit:].strip() if limit > 0 else ""
