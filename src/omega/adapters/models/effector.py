"""The effector for models: one question, one answer, no retry, nothing invented.

Errors carry the provider's status and its short error words, never its messages: those quote prompts and parts of keys.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.models.provider import Answer, Missing, Provider, configured, parse
from omega.kernel.effects import ModelCall, Receipt, Request
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.verdict import Permit

if TYPE_CHECKING:
    import httpx2

ANSWER_LIMIT: Final = 8 << 20
"""Bytes of one answer; the longest any model gives is far below."""

CONNECT_S: Final = 10.0

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class ModelEffector:
    """Serves `ModelCall` with the model that the environment names (see `provider`). Belongs to one event loop."""

    port = ModelCall.port

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables
        self._client: httpx2.AsyncClient | None = None

    def available(self) -> str | None:
        """`provider:model` of the configured model, None when there is none."""
        found = configured(self._variables)
        return found.label if isinstance(found, Provider) else None

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[str, Receipt]:
        """Ask once and give the text. The receipt counts tokens as the provider does; prices are not known here (`priced` is False).

        Raises InputError (OMG-X002) when no model is configured and UpstreamError (OMG-M008) when it failed, ran out of time or
        did not finish its answer: half an answer is none.
        """
        permit.spend(self.port)
        if not isinstance(request, ModelCall):
            raise InputError("OMG-I001", f"the model port asks models, not {type(request).__name__}")
        provider = configured(self._variables)
        if isinstance(provider, Missing):
            raise InputError("OMG-X002", provider.reason)
        url, headers, body = provider.request(request)
        content = json.dumps(body).encode()
        try:
            async with asyncio.timeout(request.timeout_s):
                status, data = await self._post(provider, url, headers, content)
        except TimeoutError as error:
            raise _failed(provider, f"did not answer within {request.timeout_s:g} s") from error
        answer = _read(provider, status, data)
        receipt = Receipt(tokens=answer.tokens, bytes_in=len(data), bytes_out=len(content), priced=False)
        return answer.text, receipt

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _post(self, provider: Provider, url: str, headers: Mapping[str, str], content: bytes) -> tuple[int, bytes]:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(CONNECT_S, read=None), follow_redirects=False)
        data = bytearray()
        plain = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with self._client.stream("POST", url, headers={**plain, **headers}, content=content) as response:
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > ANSWER_LIMIT:
                        raise _failed(provider, f"answered more than {ANSWER_LIMIT} bytes")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _failed(provider, f"cannot be reached ({type(error).__name__})") from error
        return response.status_code, bytes(data)


def _read(provider: Provider, status: int, data: bytes) -> Answer:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if status != 200:
        word = _word(body)
        if provider.key and provider.key in word:
            word = ""
        raise _failed(provider, f"refused with status {status}{f' ({word})' if word else ''}", status=status)
    answer = parse(provider.name, body)
    if answer is None:
        raise _failed(provider, "answered something that is no answer by its interface")
    if not answer.finished:
        raise _failed(provider, "did not finish its answer within max_tokens")
    if not answer.text.strip():
        raise _failed(provider, "gave an empty answer")
    return answer


def _word(body: Any) -> str:
    """The short error type that providers send beside their message; empty when there is none or it is not a plain word."""
    problem = body.get("error") if isinstance(body, dict) else None
    found = (
        next((problem[name] for name in ("code", "type") if isinstance(problem.get(name), str)), "") if isinstance(problem, dict) else ""
    )
    return found if _WORD.fullmatch(found) else ""


def _failed(provider: Provider, what: str, **details: Any) -> UpstreamError:
    return UpstreamError("OMG-M008", f"{provider.label} {what}", details={"model": provider.label, **details})
