"""RPC over one WebSocket: JSON-RPC 2.0 messages as text frames, under the subprotocol `omega.rpc.v1`.

    client                                        server
    request   service.method   {input, ...}       response  {execution, value, cost_micros}  or an error
    request   service.method   {input, credit}    notification rpc.part {id, index, part} ..., then the response without a value
    notification rpc.credit    {id, more}         (lets `more` further parts of that call through)
    notification rpc.cancel    {id}               the call's response is its end: OMG-R005 when it was cancelled
    request   rpc.authorize    {passport}         {principal}: later calls are made with it; the same principal, or it is refused
    request   rpc.ping         {}                 {now_us}

A call is an object with `input`, and optionally `key` (a repeat with the same key gives the recorded outcome), `timeout_s` and `credit`
(a number of parts; with it the method's parts are shown as they are made). The server sends a part for a credit: a client that reads slowly
slows down the one call that it reads slowly, and nothing else.

The `data` of an error is the error as Omega records it (`code`, `cause`, `advice`, ...); its JSON-RPC code is one of JSON-RPC's own where
the message was at fault, and `REFUSED` for everything that Omega says. Names that begin with `rpc.` are the protocol's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.kernel.errors import InputError

SUBPROTOCOL: Final = "omega.rpc.v1"

REFUSED: Final = -32000
"""The JSON-RPC code of an error of Omega: `data` says which."""

PART: Final = "rpc.part"
CREDIT: Final = "rpc.credit"
CANCEL: Final = "rpc.cancel"
AUTHORIZE: Final = "rpc.authorize"
PING: Final = "rpc.ping"

MAX_FRAME: Final = 1 << 20
"""Largest frame of a client in bytes: calls are small, and large values go as blobs."""

MAX_ANSWER: Final = 32 << 20
"""Largest frame of a server in bytes; the largest value of a step is half of it."""

MAX_CREDIT: Final = 1_024
"""Most parts that may be on their way at once."""

MAX_KEY: Final = 255
"""Longest idempotency key in characters."""

MAX_TIMEOUT_S: Final = 86_400.0
"""Longest time limit of a call, in seconds."""

CLOSE_REVOKED: Final = 4401
"""Close code: the passport does not stand any more (as HTTP's 401)."""

CLOSE_PROTOCOL: Final = 1002
CLOSE_GOING: Final = 1001
CLOSE_TOO_LARGE: Final = 1009

_FIELDS: Final = frozenset({"input", "key", "timeout_s", "credit"})


@dataclass(frozen=True, slots=True)
class CallParams:
    """The params of a call. `credit` is 0 for a call whose parts are not asked for, `timeout_s` None without a limit."""

    input: Any = None
    key: str = ""
    timeout_s: float | None = None
    credit: int = 0

    @classmethod
    def read(cls, params: Mapping[str, Any]) -> CallParams:
        """From a message. Raises InputError (OMG-I001)."""
        unknown = sorted(set(params) - _FIELDS)
        if unknown:
            raise InputError("OMG-I001", f"a call has no {unknown[0][:80]!r}", advice=f"it takes {', '.join(sorted(_FIELDS))}")
        key, timeout_s, credit = params.get("key", ""), params.get("timeout_s"), params.get("credit", 0)
        if not isinstance(key, str) or len(key) > MAX_KEY or not key.isprintable():
            raise InputError("OMG-I001", f"a key has at most {MAX_KEY} printable characters")
        if timeout_s is not None and (not _number(timeout_s) or not 0 < timeout_s <= MAX_TIMEOUT_S):
            raise InputError("OMG-I001", f"a time limit is 0 to {MAX_TIMEOUT_S:.0f} seconds")
        if type(credit) is not int or not 0 <= credit <= MAX_CREDIT:
            raise InputError("OMG-I001", f"a credit is 0 to {MAX_CREDIT} parts")
        return cls(params.get("input"), key, None if timeout_s is None else float(timeout_s), credit)

    def record(self) -> dict[str, Any]:
        """As a message says it: what is at its default is left out."""
        said: dict[str, Any] = {"input": self.input}
        if self.key:
            said["key"] = self.key
        if self.timeout_s is not None:
            said["timeout_s"] = self.timeout_s
        if self.credit:
            said["credit"] = self.credit
        return said


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
