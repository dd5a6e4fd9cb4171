"""One change per step: the change and the note of it are one transaction, so a step that is repeated after a crash repeats nothing.

    not noted                                   the change is made, and noted with its result
    noted, same change                          the noted result, and nothing is done
    noted under an earlier epoch, same name     the noted result: values that the step drew before the crash (ids, times) were lost with it,
                                                and what was done with them stands
    noted, anything else                        refused (OMG-R015): one step makes one change
    noted, and its digest erased                the noted result
    another step noted under a later epoch      refused (OMG-S006): another engine has gone on with the execution

A digest is a plain hash of what a change was given: whoever knows the rest can guess a name or a text from it. So an erasure takes the
digests of its feature away, in the same transaction, and the results in which a subject stands as a text of its own: `person:al` is not
`person:alice`, whose steps go on.

A note is kept for `KEPT_US` at least: far longer than any engine takes to come back to a step that it had begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from omega.adapters.tables.shape import APPLIED
from omega.adapters.tables.statements import Session
from omega.kernel.errors import FlowError, InputError, StorageError
from omega.kernel.ports import Schema, Turn

KEPT_US = 366 * 86_400 * 1_000_000
MAX_SWEPT = 10_000
ERASED = ""
"""What stands in the place of a digest that was erased."""

NOTHING = "null"
"""What stands in the place of a result that was erased."""

NAMED_AT_ONCE = 500
"""Executions that one statement names."""

MAX_RESULT = 1 << 20
"""Longest result of a change, in bytes of JSON: it is noted with the change."""


def changed(connection: sa.Connection, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
    """Carry out a change, or give back what it gave, on a connection in a transaction of the turn's tenant. See the theory above."""
    change = f"{schema.name}.{name}"
    digest = sha256(_plain(schema, name, dict(values)).encode()).hexdigest()
    noted = _noted(connection, turn, change, digest)
    if noted is not None:
        return json.loads(noted)
    transaction = schema.changes.get(name)
    if transaction is None:
        raise _unknown(schema, name, "change", schema.changes)
    session = Session(connection, turn.tenant, schema.tables, writing=True)
    body = _plain(schema, name, transaction(session, turn.tenant, values))
    connection.execute(
        sa.insert(APPLIED).values(
            tenant=turn.tenant,
            execution=turn.execution,
            step=turn.step,
            epoch=turn.epoch,
            change=change,
            digest=digest,
            result=body,
            at_us=turn.at_us,
        )
    )
    return json.loads(body)


def erased(
    connection: sa.Connection, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn, executions: Sequence[str] = ()
) -> Any:
    """Carry out a change that destroys, and destroy what its feature's notes tell. Not noted: twice is the same as once."""
    transaction = schema.changes.get(name)
    if transaction is None:
        raise _unknown(schema, name, "change", schema.changes)
    own = (APPLIED.c.tenant == turn.tenant, APPLIED.c.change.startswith(f"{schema.name}.", autoescape=True))
    made = [json.loads(result) for result in _results(connection, own, executions)]
    session = Session(connection, turn.tenant, schema.tables, writing=True)
    body = _plain(schema, name, transaction(session, turn.tenant, {**values, "made": made}))
    connection.execute(sa.update(APPLIED).where(*own, APPLIED.c.digest != ERASED).values(digest=ERASED))
    for subject in values.get("subjects", ()):
        holds = APPLIED.c.result.contains(json.dumps(subject), autoescape=True)
        connection.execute(sa.update(APPLIED).where(*own, holds).values(result=NOTHING))
    return json.loads(body)


def _results(connection: sa.Connection, own: Sequence[Any], executions: Sequence[str]) -> list[str]:
    """What changes gave that steps of these executions made."""
    found: list[str] = []
    for start in range(0, len(executions), NAMED_AT_ONCE):
        some = APPLIED.c.execution.in_(executions[start : start + NAMED_AT_ONCE])
        found += connection.execute(sa.select(APPLIED.c.result).where(*own, some)).scalars()
    return found


class Sweeping:
    """Forgets old notes of a tenant with the first change that it makes in a process: it reads all of them, so not each time."""

    def __init__(self) -> None:
        self._swept: set[str] = set()

    def changed(self, connection: sa.Connection, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
        """What `changed` does."""
        if turn.tenant in self._swept:
            return changed(connection, schema, name, values, turn)
        connection.execute(sa.delete(APPLIED).where(APPLIED.c.tenant == turn.tenant, APPLIED.c.at_us < turn.at_us - KEPT_US))
        result = changed(connection, schema, name, values, turn)
        if len(self._swept) >= MAX_SWEPT:
            self._swept.clear()
        self._swept.add(turn.tenant)  # only now: a change that fails takes the sweep back with it
        return result


def looked(connection: sa.Connection, schema: Schema, name: str, values: Mapping[str, Any], tenant: str) -> Any:
    """The answer to a question, on a connection in a transaction of `tenant`."""
    transaction = schema.looks.get(name)
    if transaction is None:
        raise _unknown(schema, name, "question", schema.looks)
    return json.loads(_plain(schema, name, transaction(Session(connection, tenant, schema.tables, writing=False), tenant, values)))


def _noted(connection: sa.Connection, turn: Turn, change: str, digest: str) -> str | None:
    own = (APPLIED.c.tenant == turn.tenant, APPLIED.c.execution == turn.execution)
    rows = connection.execute(sa.select(APPLIED).where(*own)).all()
    if any(row.epoch > turn.epoch for row in rows):
        raise StorageError("OMG-S006", f"another engine has gone on with {turn.execution} since")
    for row in rows:
        if row.step == turn.step:
            if row.digest not in (digest, ERASED) and (row.change != change or row.epoch == turn.epoch):
                raise FlowError("OMG-R015", f"{turn.step} has made another change before", advice="make a step of its own for each change")
            return str(row.result)
    return None


def _plain(schema: Schema, name: str, value: Any) -> str:
    """`value` as JSON. Raises FlowError (OMG-R002, OMG-R003) for what is no plain data, or too much of it."""
    try:
        body = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FlowError("OMG-R002", f"{schema.name}.{name} takes and gives plain data: {error}") from error
    if len(body) > MAX_RESULT:
        raise FlowError("OMG-R003", f"{schema.name}.{name} gives more than {MAX_RESULT >> 20} MiB")
    return body


def _unknown(schema: Schema, name: str, what: str, known: Mapping[str, Any]) -> InputError:
    return InputError("OMG-I001", f"{schema.name} has no {what} {name[:80]!r} (known: {', '.join(sorted(known)) or 'none'})")
