"""Having this installation's logs cosigned by witnesses over HTTP (C2SP tlog-witness, from the log's side).

A witness is an arrangement, so who registered it is on record. Asking one is a touch: it is gated, and what came of it has its leaf.

    {"url": "https://witness.example", "key": "witness.example/w1+...", "allow": [], "tenants": []}     no tenants: every log

Per witness and log a note (`witness-seen`) keeps how far it was shown the log and the compact range there, so that the next proof costs
what was added since (`omega.trust.growth`). A witness that says another size has forgotten, or was shown the log by somebody else: then the
proof is made from the whole log. One that has seen more than there is means that this log was rolled back; where the note says so
already, nothing is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from omega.adapters.net.reach import networks
from omega.adapters.net.web import Web, WebAnswer, WebFault, check_address
from omega.chronicle.pruned import hash_of
from omega.chronicle.witness import Request as Submission
from omega.chronicle.witness import merged
from omega.host.arrangements import Documents, Shelf, all_arranged, arranged
from omega.host.settings import TENANT
from omega.host.witnessing import WITNESSED
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError, IntegrityError, OmegaError, UpstreamError
from omega.kernel.verdict import Permit
from omega.trust.checkpoint import COSIGNATURE, MAX_NOTE, VerifierKey
from omega.trust.growth import grown, went_on
from omega.trust.merkle import Range

WITNESS: Final = "witness"
"""The kind of the arrangements."""

QUORUM: Final = "witness-quorum"
"""The kind of the one arrangement that says how many must cosign, and in which time; named like its kind."""

SEEN: Final = "witness-seen"
"""The kind of the notes, named `WITNESS/TENANT`."""

ANSWER_S: Final = 10.0
"""Patience with a witness, in seconds."""

TURNS: Final = 3
"""Most requests for one checkpoint: a witness that says another size is asked from there."""

KEPT: Final = 100
"""Cosigned checkpoints kept of one log: each covers all before it, so older ones say no more than at which time."""

AWAY: Final = {"away": True}
"""The details of an error that says that nothing answered, rather than that a log was refused."""

MAX_WITNESSES: Final = 32
PIECE: Final = 2_000
"""Leaves read at once."""

_FIELDS: Final = {"url": str, "key": str, "allow": list, "tenants": list}
_SWAPS: Final = 10


def check_witness(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A witness as it is kept. Raises InputError (OMG-I001), Denied (OMG-P011)."""
    for part, value in body.items():
        if part not in _FIELDS or not isinstance(value, _FIELDS[part]):
            raise InputError("OMG-I001", f"a witness cannot have {part[:40]!r} as {type(value).__name__} (known: {', '.join(_FIELDS)})")
    if any(not isinstance(each, str) or not each for part in ("allow", "tenants") for each in body.get(part, [])):
        raise InputError("OMG-I001", "allow and tenants are lists of texts")
    if "/" in name:
        raise InputError("OMG-I001", "the name of a witness has no slash")
    check_address(str(body.get("url", "")), networks(body.get("allow", ())))
    _key(body)
    return dict(body)


def check_quorum(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is demanded of the witnesses together, as it is kept. Raises InputError (OMG-I001)."""
    try:
        found = Quorum(**body)
    except TypeError:
        raise InputError("OMG-I001", "a quorum has quorum, within_s and every_s") from None
    whole = all(type(each) is int for each in (found.quorum, found.within_s, found.every_s))
    if name != QUORUM or not whole or not 0 <= found.quorum <= MAX_WITNESSES or found.within_s < 1 or found.every_s < 1:
        raise InputError("OMG-I001", f"a quorum is 0 to {MAX_WITNESSES} witnesses, within and every some whole seconds")
    return found.to_json()


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many witnesses must cosign (0: every one that is registered) within how many seconds, and how often each is asked at most."""

    quorum: int = 0
    within_s: int = 600
    every_s: int = 10

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"quorum": self.quorum, "within_s": self.within_s, "every_s": self.every_s}

    @classmethod
    def of(cls, documents: Documents) -> Quorum:
        """The one that is in force."""
        return cls(**(arranged(documents, QUORUM, QUORUM) or {}))


@dataclass(frozen=True, slots=True)
class Shown:
    """How far a witness was shown a log, and when it cosigned that (Unix microseconds); `why` it did not cosign what came later, and since
    when."""

    size: int = 0
    at_us: int = 0
    range: str = field(default="", repr=False)
    why: str = ""
    since_us: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"size": self.size, "at_us": self.at_us, "range": self.range, "why": self.why, "since_us": self.since_us}


def shown(documents: Documents, witness: str, tenant: str) -> Shown:
    """How far that witness was shown the log of that tenant."""
    found = documents.document(SEEN, f"{witness}/{tenant}")
    return Shown() if found is None else Shown(**json.loads(found))


def witnesses(documents: Documents, tenant: str = "") -> dict[str, dict[str, Any]]:
    """The witnesses that are registered, for the log of `tenant` where that is given."""
    found = all_arranged(documents, WITNESS)
    return {name: body for name, body in found.items() if not tenant or watches(body, tenant)}


def watches(body: Mapping[str, Any], tenant: str) -> bool:
    """Whether a witness is one of that log."""
    return not body.get("tenants") or tenant in body["tenants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint(Request):
    """Show the witness `witness` that the log of `log` went on, and keep its line."""

    port: ClassVar[str] = "witness"
    witness: str
    log: str


class Records(Protocol):
    """The logs."""

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]: ...

    def checkpoints(self, tenant: str, after: int = -1) -> list[tuple[int, bytes]]: ...


class WitnessEffector:
    """Serves `AddCheckpoint` on the logs and documents of a store."""

    port = AddCheckpoint.port

    def __init__(self, records: Records, shelf: Shelf, now_us: Callable[[], int], *, beside: bool) -> None:
        """`beside` has records read in a thread: where that takes a round trip."""
        self._records, self._shelf, self._now_us, self._beside = records, shelf, now_us, beside

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the size that is cosigned now.

        Raises UpstreamError (OMG-C008) when the witness does not cosign, IntegrityError (OMG-C002) when it has seen more than there is,
        InputError (OMG-I003) for one that is not registered and, without a note of it, for a log that has no checkpoint, Denied
        (OMG-W001, P011).
        """
        permit.spend(self.port)
        if permit.tenant != TENANT:
            raise Denied("OMG-W001", "witnesses are asked by the installation", advice="have an operator do it")
        if not isinstance(request, AddCheckpoint):
            raise InputError("OMG-I001", f"witnesses are shown checkpoints, there is no {type(request).__name__}")
        body = arranged(self._shelf, WITNESS, request.witness)
        if body is None:
            raise InputError("OMG-I003", f"no witness {request.witness[:80]} is registered", advice="omega witness status")
        before = shown(self._shelf, request.witness, request.log)
        web = Web(networks(body.get("allow", ())), limit=MAX_NOTE)
        try:
            after = await self._cosigned(web, request, body, before)
        except InputError:  # no such log: a note would outlive a tenant that was purged meanwhile
            raise
        except OmegaError as error:
            self._note(request, Shown(before.size, before.at_us, before.range, error.cause, before.since_us or self._now_us()))
            raise
        finally:
            await web.close()
        self._note(request, after)
        return {"witness": request.witness, "log": request.log, "size": after.size}, Receipt()

    async def _cosigned(self, web: Web, wanted: AddCheckpoint, body: Mapping[str, Any], before: Shown) -> Shown:
        old = Range.restore(bytes.fromhex(before.range))
        size, note = old.size, b""
        for _ in range(TURNS):
            points = await self._read(self._records.checkpoints, wanted.log, max(size, old.size) - 1)
            if points:
                size, note = points[-1]
            if not note or size == 0:
                raise self._lacking(wanted)
            fresh = await self._hashes(wanted.log, old.size, size)
            answer = await _sent(web, wanted.witness, body, Submission(old.size, tuple(went_on(old, fresh)), note).write())
            if answer.status == 200:
                line = _line(answer.body, note, _key(body), wanted.witness)
                self._keep(wanted.log, size, note, line, _key(body))
                return Shown(size, self._now_us(), grown(old, fresh).state().hex())
            said = _said(answer, wanted.witness)
            if said > size and not await self._read(self._records.checkpoints, wanted.log, said - 1):
                cause = f"the witness {wanted.witness} has seen {said} leaves of the log of {wanted.log}, which has {size}"
                raise IntegrityError("OMG-C002", cause)
            old = grown(Range(), await self._hashes(wanted.log, 0, said))
        raise UpstreamError("OMG-C008", f"the witness {wanted.witness} says another size each time")

    def _lacking(self, wanted: AddCheckpoint) -> OmegaError:
        """Why there is no checkpoint at or past what the witness was shown. The note is read once more: it goes when a tenant is purged."""
        known = shown(self._shelf, wanted.witness, wanted.log)
        if not known.size:
            return InputError("OMG-I003", f"there is no checkpoint of the log of {wanted.log[:80]}")
        cause = f"the witness {wanted.witness} was shown {known.size} leaves of the log of {wanted.log}, which has fewer now"
        return IntegrityError("OMG-C002", cause)

    async def _hashes(self, tenant: str, start: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        for at in range(start, end, PIECE):
            found += map(hash_of, await self._read(self._records.leaves, tenant, at, min(at + PIECE, end)))
        if len(found) != max(0, end - start):
            raise IntegrityError("OMG-C001", f"the log of {tenant} lacks leaves that its checkpoint covers")
        return found

    async def _read(self, read: Callable[..., Any], *given: Any) -> Any:
        if self._beside:
            return await asyncio.to_thread(read, *given)
        await asyncio.sleep(0)  # others go on between two pieces
        return read(*given)

    def _note(self, wanted: AddCheckpoint, told: Shown) -> None:
        self._shelf.put_document(SEEN, f"{wanted.witness}/{wanted.log}", json.dumps(told.to_json()).encode(), self._now_us())

    def _keep(self, tenant: str, size: int, note: bytes, line: bytes, key: VerifierKey) -> None:
        """Keep a cosignature beside those of other witnesses under the same checkpoint, and only the newest checkpoints of a log."""
        for _ in range(_SWAPS):
            held = self._shelf.document(WITNESSED, f"{tenant}.{size}")
            body = json.dumps(with_line(None if held is None else json.loads(held), note, line, key)).encode()
            if held is not None and held == body:
                break
            if self._shelf.swap_document(WITNESSED, f"{tenant}.{size}", held, body, self._now_us()):
                break
        sizes = []
        for name, _body in self._shelf.documents(WITNESSED, f"{tenant}."):
            owner, _, number = name.rpartition(".")
            if owner == tenant and number.isdigit():
                sizes.append(int(number))
        for each in sorted(sizes)[:-KEPT]:
            self._shelf.drop_document(WITNESSED, f"{tenant}.{each}")


def with_line(held: Mapping[str, Any] | None, note: bytes, line: bytes, key: VerifierKey) -> dict[str, Any]:
    """The document of a cosigned checkpoint with one more `line` below it, in place of an earlier one by the same key."""
    lines, keys = [line], [key.text()]
    for text in list(held["keys"]) if held is not None else []:
        other = VerifierKey.parse(text)
        if other.key_id != key.key_id:
            lines += [each for each in _lines_of(str(held["note"]).encode(), note) if _is_by(each, note, other)] if held else []
            keys.append(text)
    return {"note": (note + b"".join(lines)).decode(), "keys": keys}


def _lines_of(whole: bytes, note: bytes) -> list[bytes]:
    """The lines that stand below the log's own in a cosigned checkpoint."""
    return [each + b"\n" for each in whole[len(note) :].split(b"\n") if each] if whole.startswith(note) else []


def _is_by(line: bytes, note: bytes, key: VerifierKey) -> bool:
    try:
        merged(note, [line], [key])
    except IntegrityError:
        return False
    return True


def _line(raw: bytes, note: bytes, key: VerifierKey, witness: str) -> bytes:
    """The line of `key` in an answer; others are left out, as the exchange demands. Raises UpstreamError (OMG-C008)."""
    for line in raw.split(b"\n")[:64]:
        if _is_by(line + b"\n", note, key):
            return line + b"\n"
    raise UpstreamError("OMG-C008", f"the witness {witness} answers without a cosignature of its key")


def _said(answer: WebAnswer, witness: str) -> int:
    """The size that a witness says it has seen. Raises UpstreamError (OMG-C008) for every other refusal."""
    text = answer.body.strip()
    if answer.status != 409 or not text.isdigit() or len(text) > 18:
        raise UpstreamError("OMG-C008", f"the witness {witness} answers {answer.status}", details={"status": answer.status})
    return int(text)


async def _sent(web: Web, witness: str, body: Mapping[str, Any], raw: bytes) -> WebAnswer:
    url = f"{str(body['url']).rstrip('/')}/add-checkpoint"
    try:
        return await web.ask("POST", url, headers={"Content-Type": "text/plain; charset=utf-8"}, body=raw, timeout_s=ANSWER_S)
    except TimeoutError as error:
        raise UpstreamError("OMG-C008", f"the witness {witness} did not answer within {ANSWER_S:.0f} s", details=AWAY) from error
    except WebFault as fault:
        raise UpstreamError("OMG-C008", f"the witness {witness} {fault}", details=AWAY) from fault


def _key(body: Mapping[str, Any]) -> VerifierKey:
    try:
        key = VerifierKey.parse(str(body.get("key", "")))
    except IntegrityError as error:
        raise InputError("OMG-I001", error.cause) from error
    if key.algorithm != COSIGNATURE:
        raise InputError("OMG-I001", "that is the key of a log, not of a witness", advice="give what omega witness init printed")
    return key


ASKING: Final = "ask-witness"
LATE: Final = "tell-unwitnessed"
OWN: Final = frozenset({ASKING, LATE})
"""The flows of witnessing itself: what they leave in a log is not shown to witnesses for its own sake, or it would never end."""


@flow(name=ASKING, effect="idempotent", needs="witness:use")
async def ask_witness(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Show a `witness` that each of `logs` went on: the size that is `cosigned` of each, what others `failed` with, and whether it is
    `away`: one that gave no answer is not shown the rest."""
    cosigned: dict[str, int] = {}
    failed: dict[str, str] = {}
    away = False
    for log in wanted["logs"]:
        try:
            done = await ctx.touch(AddCheckpoint(witness=str(wanted["witness"]), log=str(log)))
        except (InputError, IntegrityError, UpstreamError) as error:
            failed[str(log)] = f"{error.code} {error.cause}"
            away = bool(error.details.get("away"))
            if away:
                break
        else:
            cosigned[str(log)] = int(done["size"])
    return {"cosigned": cosigned, "failed": failed, "away": away}


@flow(name=LATE)
async def tell_unwitnessed(ctx: Context, wanted: dict[str, Any]) -> None:
    """Fail, so that whoever watches this installation's failures is told: `log`, `leaves`, `quorum`, `seconds`."""
    cause = f"{wanted['leaves']} leaves of the log of {wanted['log']} stand for {wanted['seconds']} s without {wanted['quorum']} witnesses"
    raise UpstreamError("OMG-C009", cause, details=dict(wanted))
