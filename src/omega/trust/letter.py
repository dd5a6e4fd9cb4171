"""Letters: a decision on its way to another engine, with who decided sealed into it.

Engines that share their records leave each other letters there, and whoever can write to the records could leave one as well. So a letter
is sealed under the keys of the installation, which the records do not hold, and the seal covers everything that counts:

    execution, verb      the letter opens for these alone (they are the context of its key and of its seal)
    body                 inside the seal: it can be neither read nor changed on the way
    claims               who decided, as `Scope.claims()`: the decision is made with this scope, whoever carries it out
    parent, by           instead of claims: an execution calls off its child, as part of a decision that `by` made about it
    id                   recorded with the decision: a copy of a letter that was carried out is refused
    until_s              the end of the letter: what waited longer is asked again

The seal says that one of the installation's own processes wrote it after it had asked the sender for a passport. What the sender may do is
decided where the letter is read: as it would be there, in person.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.errors import Denied, FlowError, IntegrityError
from omega.kernel.scope import Scope
from omega.trust.sealing import Keyring

LIFE_S = 3_600
"""Longest life of a letter, in seconds: as long as a passport of the person at the keyboard."""

MAX_BODY = 1 << 20
"""Largest body in bytes, as JSON: that of the longest answer to a form."""

_FORMAT = 1
_PARTS = frozenset({"format", "key", "sealed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a letter says. Either `claims` are set, or `parent` and `by`."""

    id: str
    body: Mapping[str, Any]
    until_s: int
    claims: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    by: str = ""


def end_of(scope: Scope, now_s: float) -> int:
    """When a letter of `scope` ends, in Unix seconds: with its passport, an hour from now at the latest. What acts on a grant that was
    admitted while its passport lasted, as a schedule does, gets the hour."""
    longest = int(now_s) + LIFE_S
    return min(scope.expires_at, longest) if scope.expires_at > now_s else longest


def seal(contents: Contents, *, execution: str, verb: str, keyring: Keyring) -> dict[str, Any]:
    """The letter as the body that travels. Raises FlowError: OMG-R002 for a body that is no plain data, OMG-R003 for one too large."""
    try:
        size = len(json.dumps(dict(contents.body)).encode())
        plain = json.dumps({name: _plain(getattr(contents, name)) for name in contents.__slots__}).encode()
    except (TypeError, ValueError) as error:
        raise FlowError("OMG-R002", f"the body of a letter is not plain data: {error}") from error
    if size > MAX_BODY:
        raise FlowError("OMG-R003", f"the letter has {size:,} bytes, {MAX_BODY:,} are allowed")
    context = _context(execution, verb)
    wrapped, sealer = keyring.create(context)
    sealed = sealer.seal(plain, context.encode())
    return {"format": _FORMAT, "key": base64.b64encode(wrapped).decode(), "sealed": base64.b64encode(sealed).decode()}


def opened(body: Mapping[str, Any], *, execution: str, verb: str, keyring: Keyring, now_s: float) -> Contents:
    """What a letter about `execution` that asks for `verb` says. Raises Denied (OMG-T009) for one that does not hold here and now."""
    if body.keys() != _PARTS or body["format"] != _FORMAT:
        raise refused("it does not say who wrote it")
    context = _context(execution, verb)
    try:
        wrapped, sealed = (base64.b64decode(body[part], validate=True) for part in ("key", "sealed"))
        fields = json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))
    except (IntegrityError, TypeError, ValueError, binascii.Error) as error:
        raise refused("it was not sealed here for this") from error
    contents = Contents(**fields)
    if now_s >= contents.until_s:
        raise refused("its time is over")
    return contents


def refused(cause: str) -> Denied:
    """The refusal of a letter."""
    return Denied("OMG-T009", f"a letter is refused: {cause}")


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _context(execution: str, verb: str) -> str:
    """What a letter's key and seal are bound to: never what an execution's own key is bound to."""
    return f"letter {verb} {execution}"
