"""The published agents of an open house (`omega.gateway.a2a.Desk`): flows under names, tasks as they are recorded, signed cards."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega.gateway.a2a import Account, Agent, Question, Said
from omega.gateway.front.core import Served, Visitor
from omega.host.a2a_telling import Pushing
from omega.host.arrangements import all_arranged
from omega.host.identity import ring_of
from omega.host.publishing import PUBLISHED, profile_of, takes_of
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.journal import Kind, Note, Row, Status, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.people import question_of
from omega.kernel.ports import NEVER, Line
from omega.kernel.scope import Scope
from omega.kernel.service import Offer
from omega.runtime.book import Book
from omega.runtime.recovery import load
from omega.trust.keys import ED25519, PublicKey
from omega.wire.a2a.canonical import canonical
from omega.wire.a2a.signing import TYPE, signed_card

if TYPE_CHECKING:
    from omega.host.embedded import Omega

FOLLOW_S: Final = 0.5
"""How often it is looked for agents that another process published, in seconds."""

MAX_SIGNED: Final = 256
"""Signed cards kept at once: a card is for everybody, and a key that lies in a safe elsewhere signs each once."""

JOSE: Final = {ED25519: "EdDSA"}
"""Algorithms under the name by which other people's libraries verify them (RFC 8037); others bear their own."""

_SAID: Final = frozenset({Kind.SIGNAL, Kind.ANSWERED})
_DECISIONS: Final = frozenset({Kind.SIGNAL, Kind.ANSWERED, Kind.APPROVED})


class Shown(Protocol):
    """What is asked of the house."""

    omega: Omega
    a2a_grpc: int

    def offers(self) -> Sequence[Offer]: ...

    def flows(self, scope: Scope) -> Sequence[Served]: ...

    def line(self, execution: str, scope: Scope) -> Line: ...


class AgentDesk:
    """The desk of a house."""

    def __init__(self, house: Shown) -> None:
        self._house = house
        self._omega = house.omega
        self._published: dict[str, dict[str, Any]] = {}
        self._looked_at = float("-inf")
        self._signed: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._signer: tuple[str, Callable[[bytes], bytes], str] = ("", lambda _: b"", "")
        self._pushing = Pushing(house.omega, self.networks)

    # -- who there is

    def agent(self, name: str, scope: Scope | None) -> Agent:
        """The agent of that name for this caller. Raises InputError (OMG-I002)."""
        body = self._known().get(name)
        made = None if body is None or not self._is_open(body, scope) else self._made(name, body)
        if made is None:
            raise InputError("OMG-I002", f"there is no agent {name[:80]} for you", advice="omega a2a list shows which are published")
        return made

    def agents(self, scope: Scope | None) -> Sequence[Agent]:
        """Those that this caller may use, by name."""
        made = [self._made(name, body) for name, body in self._known().items() if self._is_open(body, scope)]
        return [each for each in made if each is not None]

    def front(self) -> str:
        """The agent whose card lies at the root: the one that says so, or the only one that is listed."""
        listed = {name: body for name, body in self._known().items() if body.get("listed", True)}
        chosen = next((name for name, body in listed.items() if body.get("front")), "")
        return chosen or (next(iter(listed)) if len(listed) == 1 else "")

    def networks(self, name: str) -> Sequence[str]:
        """The private networks in which callers of an agent may have themselves told of their tasks."""
        return list(self._known().get(name, {}).get("networks", []))

    def _known(self) -> dict[str, dict[str, Any]]:
        now = time.monotonic()
        if now - self._looked_at > FOLLOW_S:
            self._looked_at = now
            self._published = all_arranged(self._omega.store, PUBLISHED)
        return self._published

    def _is_open(self, body: Mapping[str, Any], scope: Scope | None) -> bool:
        if scope is None:
            return bool(body.get("listed", True))
        at_home = scope.tenant == self._omega.settings.tenant
        groups = body.get("groups", [])
        return (at_home or scope.tenant in body.get("tenants", [])) and (not groups or any(group in scope.groups for group in groups))

    def _made(self, name: str, body: Mapping[str, Any]) -> Agent | None:
        """The agent; None while its flow is not put up here."""
        found = self._flow(str(body["flow"]))
        if found is None:
            return None
        flow, target = found
        return Agent(
            name=name,
            flow=flow,
            takes=takes_of(body, flow),
            profile=profile_of(name, body, flow),
            target=target,
            listed=bool(body.get("listed", True)),
        )

    def _flow(self, name: str) -> tuple[AnyFlow, str] | None:
        for served in self._house.flows(self._omega.scope()):
            if served.name == name:
                return served.flow, served.target
        for offer in self._house.offers():
            if f"{offer.service}.{offer.name}" == name:
                return offer.flow, ""
        return None

    # -- cards

    def grpc_port(self) -> int:
        """The port at which the gRPC binding answers; 0 where it does not."""
        return self._house.a2a_grpc

    def sign(self, card: Mapping[str, Any], base: str) -> dict[str, Any]:
        """`card`, signed with the key that signs passports: its public part is at the address that the signature names."""
        kid, sign, algorithm = self._key()
        header = {"alg": algorithm, "kid": kid, "typ": TYPE, "jku": f"{base}/.well-known/jwks.json"}
        place = canonical([header, card])
        if place not in self._signed:
            self._signed[place] = signed_card(card, header, sign)
            if len(self._signed) > MAX_SIGNED:
                self._signed.popitem(last=False)
        return self._signed[place]

    def _key(self) -> tuple[str, Callable[[bytes], bytes], str]:
        world = self._omega.world
        kid = str(world.authority.jwks(now=world.clock.now_us() / 1_000_000)["keys"][0]["kid"])
        if self._signer[0] != kid:
            signer = ring_of(self._omega.identity.keys, "passport").current
            public = PublicKey(signer.public)
            self._signer = (public.kid, signer.sign, JOSE.get(public.algorithm, public.algorithm))
        return self._signer

    # -- tasks

    def account(self, execution: str, scope: Scope) -> Account:
        """What is recorded of a task. Raises InputError (OMG-I003)."""
        line = self._house.line(execution, scope)
        try:
            past, book, record = load(self._omega.world, execution)
            facts = _ended(past, book, line)
            return Account(line=line, input=record.input, said=_said(past, book), asks=_asks(past, line), busy=_busy(past, line), **facts)
        except IntegrityError:  # erased or redacted: that it was there can still be told
            return Account(line=line, kept=False)

    # -- telling

    def check_address(self, agent: str, url: str, scope: Scope) -> None:
        """Raise Denied (OMG-P011) or InputError (OMG-I001) for an address at which callers of `agent` may not have themselves told, and for
        a caller who has left as many as there may be."""
        self._pushing.check(agent, url, scope)

    async def tell(self, execution: str, config: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
        """Keep a configuration, on record. Raises Denied, InputError (OMG-I001, OMG-I003)."""
        return await self._pushing.keep(self._house.line(execution, visitor.scope), config, visitor)

    def told(self, execution: str, scope: Scope) -> Sequence[Mapping[str, Any]]:
        """The configurations of this caller, by id, without their secrets. Raises InputError (OMG-I003)."""
        return self._pushing.kept(self._house.line(execution, scope), scope)

    async def untell(self, execution: str, config: str, visitor: Visitor) -> None:
        """Forget a configuration. Raises Denied, InputError (OMG-I003)."""
        await self._pushing.drop(self._house.line(execution, visitor.scope), config, visitor)


def _ended(past: Past, book: Book, line: Line) -> dict[str, Any]:
    if past.finished is None:
        return {}
    payload = json.loads(book.open(past.finished))
    return {"value": payload} if line.status == Status.DONE else {"error": payload}


def _said(past: Past, book: Book) -> list[Said]:
    """What was asked and answered after the first message, in the order of the record."""
    found: list[Said] = []
    asked: set[str] = set()
    for row in past.rows:
        note = decode_meta(row) if row.kind in _SAID or row.kind == Kind.NEEDS else None
        if isinstance(note, Note):
            value = json.loads(book.open(row)) if row.payload is not None else None
            found.append(Said(by="user", at_us=note.at_us, key=f"{row.seq}", value=value))
        elif isinstance(note, Step) and note.note and row.position not in asked:
            asked.add(row.position)
            found.append(Said(by="agent", at_us=note.at_us, key=f"{row.seq}", value=note.note))
    return found


def _asks(past: Past, line: Line) -> Question | None:
    if line.status != Status.WAITING:
        return None
    for recorded in past.at.values():
        question = question_of(recorded)
        if question is not None and not (question.kind == "form" and recorded.answer is not None):
            return Question(
                kind=question.kind,
                step=recorded.position,
                message=question.message,
                role=question.role,
                signal=question.signal,
                schema=question.schema,
            )
    return None


def _busy(past: Past, line: Line) -> bool:
    """Whether a task that stands still waits for no person: somebody has decided and it has not gone on yet, or it waits for a moment, or
    for a child that has not ended."""
    if line.status != Status.WAITING:
        return False
    if any(_decided_us(row) >= line.updated_us for row in past.rows):
        return True
    if any(question_of(recorded) is not None for recorded in past.at.values()):
        return False
    return line.due_us != NEVER or any(_is_open_child(recorded) for recorded in past.at.values())


def _decided_us(row: Row) -> int:
    """When a person decided by this row, in Unix microseconds; before everything where it is no decision."""
    note = decode_meta(row) if row.kind in _DECISIONS else None
    return note.at_us if isinstance(note, Note) else -1


def _is_open_child(recorded: Recorded) -> bool:
    return recorded.first.kind == Kind.CHILD and recorded.settled is None
