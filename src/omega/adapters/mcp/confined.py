"""What to tell of a server that was refused something by its sandbox: which grant it may lack, and how an operator gives it."""

from __future__ import annotations

import re
from typing import Final

_REFUSED: Final = re.compile(
    r"permission denied|eacces|eperm|operation not permitted|permissionerror|access denied|read-only file system"
    r"|unable to open database file",
    re.IGNORECASE,
)
_CUT_OFF: Final = re.compile(
    r"name resolution|enotfound|eai_again|network is unreachable|enetunreach|connection refused|econnrefused|connecterror|getaddrinfo"
    r"|max retries exceeded|fetch failed|failed to fetch|error sending request|dns error|socket",
    re.IGNORECASE,
)


def advice(name: str, words: str) -> str:
    """What to do, where `words` of the confined server `name` read like a refusal by its sandbox; empty where they do not."""
    if _CUT_OFF.search(words):
        return f"{name} is confined; if it needs the network: omega mcp sandbox {name} --network all (or TCP ports: --network 443)"
    if _REFUSED.search(words):
        return f"{name} is confined; if it needs that file: omega mcp sandbox {name} --read PATH or --write PATH, or --network all"
    return ""
