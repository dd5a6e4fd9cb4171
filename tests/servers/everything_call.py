"""What a handler of the tool server of everything is given: one call of one client, of either era.

A question to the client is one line in a handler: `await call.ask("name", ELICIT, {...})`. A client of the older era is asked in the
middle of the call. One of the newer era gets a result that asks (`input_required`), comes back with the answer, and the handler runs again
from its beginning; what was answered before stands in the state that went with the question, under a seal.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ELICIT, SAMPLE, ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
NEEDED = {ELICIT: "elicitation", SAMPLE: "sampling", ROOTS: "roots"}
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_SEAL = secrets.token_bytes(32)

Say = Callable[[str, dict[str, Any]], Awaitable[None]]
Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Fault(Exception):
    """An error of the protocol, with the status that it has over HTTP in the newer era."""

    def __init__(self, code: int, message: str, data: Any = None, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.data, self.status = code, message, data, status


class Unanswered(Exception):
    """The handler cannot go on: `questions` (key to method and parameters) go to the client first, with what was `answered` so far."""

    def __init__(self, questions: dict[str, Any], answered: dict[str, Any]) -> None:
        super().__init__("unanswered")
        self.questions, self.answered = questions, answered


@dataclass
class Call:
    """One call. `params` are those of the request, `client` what the client can do, `level` the least severe log message it wants."""

    params: Mapping[str, Any]
    modern: bool
    client: Mapping[str, Any]
    level: str
    say: Say
    put: Ask
    answered: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        state = self.params.get("requestState")
        if isinstance(state, str):
            self.answered.update(opened(state))
        given = self.params.get("inputResponses")
        self.answered.update({key: each for key, each in given.items() if isinstance(each, dict)} if isinstance(given, dict) else {})

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a tool or prompt."""
        return dict(self.params.get("arguments") or {})

    async def log(self, text: str) -> None:
        """A log message, where the client wants one of that severity."""
        if self.level in LEVELS and LEVELS.index(self.level) <= LEVELS.index("info"):
            await self.say("notifications/message", {"level": "info", "data": text})

    async def progress(self, done: int, total: int) -> None:
        """How far it is, where the client asked for that."""
        token = (self.params.get("_meta") or {}).get("progressToken")
        if token is not None:
            await self.say("notifications/progress", {"progressToken": token, "progress": done, "total": total})

    async def ask(self, key: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The client's answer to a question."""
        return (await self.ask_all({key: (method, params)}))[key]

    async def ask_all(self, questions: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """The client's answers to several questions at once."""
        lacking = {NEEDED[method]: {} for method, _ in questions.values() if NEEDED[method] not in self.client}
        if lacking:
            raise Fault(-32021, "the client cannot be asked that", {"requiredCapabilities": lacking}, 400)
        if not self.modern:
            answers = await asyncio.gather(*(self.put(method, params) for method, params in questions.values()))
            return dict(zip(questions, answers, strict=True))
        open_ones = {key: {"method": each[0], "params": each[1]} for key, each in questions.items() if key not in self.answered}
        if open_ones:
            raise Unanswered(open_ones, self.answered)
        return {key: self.answered[key] for key in questions}


def sealed(answered: Mapping[str, Any]) -> str:
    """Answers as a state that the client carries and cannot change; two states are never the same."""
    text = json.dumps({"answered": answered, "nonce": secrets.token_hex(8)})
    return json.dumps([text, hmac.new(_SEAL, text.encode(), hashlib.sha256).hexdigest()])


def opened(state: str) -> dict[str, Any]:
    """What was answered before. Raises Fault for a state that was not made here."""
    try:
        text, seal = json.loads(state)
        if hmac.compare_digest(seal, hmac.new(_SEAL, text.encode(), hashlib.sha256).hexdigest()):
            found: dict[str, Any] = json.loads(text)["answered"]
            return found
    except (ValueError, TypeError, AttributeError):
        pass
    raise Fault(-32602, "the state is not one that was given out here", status=400)


def form(message: str, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """The parameters of an elicitation by a form."""
    return {"message": message, "requestedSchema": {"type": "object", "properties": properties, "required": list(required)}}


def text(words: str, **more: Any) -> dict[str, Any]:
    """A result of one block of text."""
    return {"content": [{"type": "text", "text": words}], **more}
