"""Answers, in the shape that each era wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from omega.wire.mcp.eras import SERVER_KEY

LIST_TTL_MS: Final = 30_000
"""How long a client may keep a list, in milliseconds: about as long as an operator waits for a change to show."""

READ_TTL_MS: Final = 0
"""What is read may have changed by the next moment: nobody keeps it, unless its server says how long."""

EMPTY_KEY: Final = "omega/empty"
EXECUTION_KEY: Final = "omega/execution"

STEP_KEY: Final = "omega/step"
"""An Omega that calls a tool says in which step: the execution beside it is its own, and no question about one of ours."""

LEAF_KEY: Final = "omega/leaf"


def modern(result: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """`result` as 2026-07-28 wants it: it says what type it is of and who answers."""
    meta = result.get("_meta")
    return {"resultType": "complete", **result, "_meta": {**(meta if isinstance(meta, dict) else {}), SERVER_KEY: dict(server)}}


def listing(key: str, items: Sequence[Mapping[str, Any]], *, ttl_ms: int = LIST_TTL_MS, why_empty: str = "") -> dict[str, Any]:
    """A list that only this caller may keep: what is in it depends on who asks. An empty one says why."""
    made: dict[str, Any] = {key: list(items), "ttlMs": ttl_ms, "cacheScope": "private"}
    if not items and why_empty:
        made["_meta"] = empty_reason(why_empty)
    return made


def empty_reason(why: str) -> dict[str, Any]:
    """What an empty list says of itself."""
    return {EMPTY_KEY: {"reason": why}}


def call_result(value: Any, *, structured: bool) -> dict[str, Any]:
    """The result of a tool that gave `value`: as text, and as it is where the tool promises a structure."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    made: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    return made | {"structuredContent": value} if structured and isinstance(value, dict) else made


def failure(text: str, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The result of a tool that failed, in words that the model reads and can act on."""
    made: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    return made | {"_meta": dict(meta)} if meta else made
