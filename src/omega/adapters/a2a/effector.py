"""The effector: asks an agent elsewhere once, under the card that was accepted.

Before an agent is asked, its card is looked at, at most once in `FRESH_S`: one that says something else than what was accepted is refused
until an operator has accepted it, for a changed description is a changed agent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Final

from omega.adapters.a2a.peers import Peer, digest_of, resolved, secrets_of
from omega.adapters.a2a.talking import Conversation, fetch_card
from omega.adapters.net.reach import networks
from omega.adapters.net.scrubbing import Scrubber
from omega.adapters.net.web import Web
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.verdict import Permit
from omega.wire.a2a.cards import GRPC
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.messages import USER, data_of, parts_of, text_of

NEEDS: Final = "a2a:use"
"""What whoever asks an agent elsewhere holds."""

FRESH_S: Final = 60.0
"""How long (seconds) a card that was looked at counts as the one that is there."""

MAX_PARTS: Final = 1_000
"""Most parts of an answer that are taken, over all artifacts."""

Find = Callable[[str, str], Peer | None]
"""The agent that a tenant knows under a name; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPeer(Request):
    """Ask the agent elsewhere called `agent`; gives what it told, as `omega.adapters.a2a.Told` has it."""

    port: ClassVar[str] = "a2a"
    says: ClassVar[tuple[str, ...]] = ("text", "data")
    agent: str
    text: str = ""
    data: Any = None
    context: str = ""
    task: str = ""

    @property
    def to(self) -> str:
        return f"agent/{self.agent}"


class PeerEffector:
    """Serves `AskPeer`. `find` looks a peer up."""

    port = AskPeer.port

    def __init__(self, find: Find, environment: Mapping[str, str] = os.environ) -> None:
        self._find, self._environment = find, environment
        self._looked: dict[str, tuple[str, float]] = {}

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[dict[str, Any], Receipt]:
        """What the agent told.

        Raises InputError: OMG-M005 for an agent that nobody has accepted, OMG-I001 for nothing to ask; UpstreamError: OMG-M004 for a
        changed card, and what `Conversation.send` raises; Denied (OMG-P011).
        """
        permit.spend(self.port)
        if not isinstance(request, AskPeer):
            raise InputError("OMG-I001", f"agents are asked, there is no {type(request).__name__}")
        peer = self._find(permit.tenant, request.agent)
        if peer is None:
            raise InputError("OMG-M005", f"{request.agent[:80]!r} is no agent that anybody has accepted", advice="omega a2a list")
        key = sha256(f"{execution}\n{step}".encode()).hexdigest()
        message = _message(request, key)
        web = Web(networks(peer.allow))
        try:
            await self._demand_same(web, peer)
            talk = self._conversation(web, peer, permit.traceparent())
            try:
                return _told(await talk.send(message, key=key, timeout_s=peer.timeout_s), peer.told.name), Receipt()
            finally:
                await talk.close()
        finally:
            await web.close()

    def _conversation(self, web: Web, peer: Peer, trace: str) -> Conversation:
        """A conversation over the interface that the card puts first."""
        told, headers = peer.told, resolved(peer.headers, self._environment) | ({"traceparent": trace} if trace else {})
        scrubber = Scrubber(secrets_of(peer.headers, self._environment))
        if told.binding == GRPC:
            from omega.adapters.a2a.calling import GrpcConversation

            return GrpcConversation(networks(peer.allow), told, headers, scrubber)
        return Conversation(web, told, headers, scrubber)

    async def _demand_same(self, web: Web, peer: Peer) -> None:
        """Raises UpstreamError (OMG-M004) where the card is another one by now."""
        digest, now = peer.digest, time.monotonic()
        seen, at = self._looked.get(peer.name, ("", float("-inf")))
        if seen == digest and now - at < FRESH_S:
            return
        found = digest_of(await fetch_card(web, peer.at))
        if found != digest:
            raise UpstreamError(
                "OMG-M004",
                f"the card of {peer.name} says something else than what was accepted",
                advice=f"compare and accept it on purpose: omega a2a card {peer.name} --accept",
            )
        self._looked[peer.name] = (digest, now)


def _message(request: AskPeer, key: str) -> dict[str, Any]:
    parts = ([{"text": request.text}] if request.text else []) + ([{"data": request.data}] if request.data is not None else [])
    if not parts:
        raise InputError("OMG-I001", "an agent is asked with text, data or both")
    message: dict[str, Any] = {"messageId": key[:32], "role": USER, "parts": parts}
    return message | ({"contextId": request.context} if request.context else {}) | ({"taskId": request.task} if request.task else {})


def _told(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What an agent told, read strictly. Raises UpstreamError (OMG-M006)."""
    try:
        message = found.get("message")
        if message is not None:
            return _summed("answered", parts_of(message.get("parts"), "message.parts"), message.get("contextId"), "")
        task = found["task"]
        status = task["status"]
        artifacts = task.get("artifacts") or []
        parts = [part for each in artifacts for part in parts_of(each.get("parts"), "artifact.parts")]
        words = status.get("message")
        said = parts_of(words.get("parts"), "status.message.parts") if words else []
        state = str(status["state"]).removeprefix("TASK_STATE_").replace("_", " ").lower()
        return _summed(state, [*parts, *said], task.get("contextId"), str(task["id"]))
    except (A2aFault, AttributeError, KeyError, TypeError) as error:
        why = error.message if isinstance(error, A2aFault) else type(error).__name__
        raise UpstreamError("OMG-M006", f"the answer of {name} is none of the protocol: {why}", details={"sent": True}) from error


def _summed(state: str, parts: list[dict[str, Any]], context: Any, task: str) -> dict[str, Any]:
    kept = parts[:MAX_PARTS]
    told = {"state": state[:64], "text": text_of(kept), "data": data_of(kept), "parts": kept, "task": task[:128]}
    return told | {"context": str(context or "")[:128]}
