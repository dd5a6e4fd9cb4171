"""Subjects: which executions are about whom, found again without writing down who it is.

An execution is about a subject when a field of its input is marked so (`omega.kernel.marks.SUBJECT`), or when its call says so with the
label `subject` (`subject.NAME` for several). What stands on its line is a mark: HMAC-SHA256 of the subject under a key of the tenant that
is derived from the root (`Keyring.subject`). Whoever may open payloads can find what is about somebody; a copy of the database cannot tell,
nor guess. Erasing the execution takes the mark with it (docs/adr/0029).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from omega.chronicle.redact import picked, subject_paths
from omega.host.storage import Archives
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError
from omega.kernel.ports import Search
from omega.kernel.types import Type
from omega.trust.sealing import Keyring

GIVEN = "subject"
"""The label by which a call names a subject in clear; it is replaced by the mark before anything is written."""

PREFIX = "subject:"
"""How the label begins that a line carries; the mark follows."""

MAX_SUBJECTS = 64
"""Most subjects of one execution that are marked; one about more is found by none of the others and should be split."""

MARK_LETTERS = 32
PAGE = 100
"""Executions that are looked up at once."""

_PLAIN = (int, str, bool, float, type(None), Any, object, dict, list, tuple)


def label_of(keyring: Keyring, tenant: str, subject: str) -> str:
    """The label of everything that is about `subject`; its value is always \"1\"."""
    return PREFIX + keyring.subject(tenant, subject)


def labelled(keyring: Keyring, tenant: str, flow: AnyFlow, data: bytes, labels: Mapping[str, str]) -> Mapping[str, str]:
    """`labels` with those that name subjects replaced by marks, and marks of the subjects that the input (JSON) names."""
    paths = _paths(flow.input)
    given = [name for name in labels if name == GIVEN or name.startswith(f"{GIVEN}.")] if labels else []
    if not given and not paths:
        return labels
    subjects = [labels[name] for name in given]
    if paths:
        value = json.loads(data)
        subjects += [name for path in paths for found in picked(value, path) for name in _named(found)]
    if len(set(subjects)) > MAX_SUBJECTS:
        raise InputError(
            "OMG-I001", f"an execution is about at most {MAX_SUBJECTS} subjects", advice="split it: what is not marked is not found"
        )
    kept = {name: value for name, value in labels.items() if name not in given}
    return kept | {label_of(keyring, tenant, subject): "1" for subject in dict.fromkeys(subjects)}


def about(archives: Archives, tenant: str, mark: str) -> Iterator[str]:
    """The executions whose line carries the mark, the newest first. Raises InputError (OMG-I001) for what is no mark."""
    if len(mark) != MARK_LETTERS or not mark.isalnum():
        raise InputError("OMG-I001", "a subject is named by its mark")
    older = ""
    while True:
        page = archives.search(Search(tenant=tenant, labels={PREFIX + mark: "1"}, older_than=older, limit=PAGE))
        yield from (line.execution for line in page)
        if len(page) < PAGE:
            return
        older = page[-1].execution


def _named(found: Any) -> Iterator[str]:
    """The subjects that a marked field names: its text or number, or all of those in the list or object that it is."""
    if isinstance(found, (list, dict)):
        for part in found.values() if isinstance(found, dict) else found:
            yield from _named(part)
    elif isinstance(found, (str, int)):
        yield str(found)


@lru_cache(4096)
def _paths(type_: Type) -> tuple[str, ...]:
    """Where a value of that type names subjects. A plain type has no fields: it is not even asked, for that would load pydantic."""
    if type_.given_schema is None and type_.annotation in _PLAIN:
        return ()
    return tuple(subject_paths(schema_of(type_) or {}))


def schema_of(type_: Type) -> Mapping[str, Any] | None:
    """The JSON Schema of a type; None for one that has none, and so no marks that could be read."""
    if type_.given_schema is not None:
        return type_.given_schema
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

    try:
        return type_.schema()
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        return None
