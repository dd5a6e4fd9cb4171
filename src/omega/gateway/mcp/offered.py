"""Calls of the installation's own methods as tools, under the terms that hold for them at every entrance.

A method may say how often one caller may call it, and that a call carries a key, so that a repeat does nothing twice. A client sends the
key as `_meta["omega/idempotency-key"]`, or as the header Idempotency-Key; the id of the execution follows from it as it does over HTTP, so
that the same key gives the recorded outcome at either entrance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from omega.gateway.front.core import Visitor
from omega.gateway.mcp.asked import Asked
from omega.gateway.mcp.hall import Shown
from omega.kernel.errors import InputError
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.ports import Call, Outcome

KEY: Final = "omega/idempotency-key"
"""Where `_meta` has the key of a call."""

MAX_KEY: Final = 255
"""Longest key in characters."""


async def call_method(asked: Asked, shown: Shown, arguments: Mapping[str, Any]) -> Outcome:
    """How a call of an offered method ended.

    Raises InputError: OMG-G001 where a key is missing or none, OMG-G010 for a key that stands for another call; Denied (OMG-G007) for
    a caller who asks too often.
    """
    operation, key = shown.flow.name, _key(asked)
    if shown.keyed and not key:
        raise InputError("OMG-G001", f"{operation} takes an idempotency key", advice=f"send _meta {KEY}, new for each call")
    if shown.rate is not None:
        asked.turns.take(operation, shown.rate, asked.visitor.scope, asked.core.now_us())
    execution = execution_of(asked.visitor, operation, key)
    if not execution:
        execution = new_id(EXECUTION, now_ms=asked.core.now_us() // 1_000, entropy=os.urandom(10))
        asked.guest.begun(execution)
        return await asked.run(asked.call(shown.flow, _input(shown, arguments), execution=execution))
    asked.guest.begun(execution)
    call = asked.call(shown.flow, _input(shown, arguments), execution=execution)
    return await _recorded(asked, call, await asked.run(call))


def execution_of(visitor: Visitor, operation: str, key: str) -> str:
    """The id of the execution that a key stands for, the same as at the other entrances; empty without a key."""
    if not key:
        return ""
    scope = visitor.scope
    names = [scope.tenant, scope.principal, list(scope.actors), operation, key]
    return f"key-{sha256(json.dumps(names).encode()).hexdigest()[:40]}"


async def _recorded(asked: Asked, call: Call, outcome: Outcome) -> Outcome:
    """The recorded outcome, where the same call was made before under its key; else `outcome`."""
    if outcome.error is None or outcome.error.get("code") != "OMG-R010":
        return outcome
    scope, taken = asked.visitor.scope, call.flow.input
    if asked.core.input_of(call.execution, scope) != taken.plain(taken.read(call.input)):
        raise InputError("OMG-G010", "this key stands for a call with other arguments")
    return await asked.core.outcome(call.execution, scope)


def _key(asked: Asked) -> str:
    meta = asked.params.get("_meta")
    given = meta.get(KEY) if isinstance(meta, dict) else None
    key = asked.headers.get("idempotency-key", "") if given is None else given
    if not isinstance(key, str) or len(key) > MAX_KEY or not key.isprintable():
        raise InputError("OMG-G001", f"an idempotency key is text of at most {MAX_KEY} printable characters")
    return key


def _input(shown: Shown, arguments: Mapping[str, Any]) -> Any:
    if shown.wrapped:
        return arguments.get(shown.wrapped)
    return (dict(arguments) or None) if shown.flow.input.annotation is type(None) else dict(arguments)
