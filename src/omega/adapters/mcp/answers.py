"""What the answer of a tool is worth: to a flow its content, to a client all of it, within bounds and without secrets."""

from __future__ import annotations

from typing import Any

import msgspec

from omega.adapters.mcp.confined import advice
from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.limits import REPORTED
from omega.adapters.mcp.schema import check_answer
from omega.adapters.mcp.seats import Conversation
from omega.adapters.mcp.session import Session
from omega.kernel.errors import UpstreamError

_encode = msgspec.json.Encoder().encode


def value_of(session: Conversation, pin: ToolDescription, result: dict[str, Any], *, whole: bool) -> Any:
    """What a result is worth: all of it to a client, its content to a flow. Raises UpstreamError (OMG-M006, M007)."""
    name = f"{pin.server}/{pin.name}"
    details: dict[str, Any] = {"server": pin.server, "tool": pin.name, "sent": True}
    blocks = result.get("content", [])
    complete = result.get("resultType", "complete") == "complete"
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks) or (complete and "content" not in result):
        raise UpstreamError("OMG-M006", f"{name} answered with something that is no result by the protocol", details=details)
    if not complete:
        if whole:
            return result
        raise UpstreamError("OMG-M006", f"{name} asks for more input in the middle of a call, which is not supported", details=details)
    texts = [str(block.get("text", "")) for block in blocks if block.get("type") == "text"]
    if result.get("isError"):
        if whole:
            return _reported(session, result, blocks)
        words = session.quote("\n".join(texts)) or "it gave no reason"
        hint = _hint(session, words)
        raise UpstreamError("OMG-M007", f"{name} reported: {words}", advice=hint, details={**details, "message": words})
    structured = "structuredContent" in result
    if pin.output_schema is not None:
        if not structured:
            raise UpstreamError("OMG-M006", f"{name} promised structured content and gave none", details=details)
        check_answer(pin.server, pin, result["structuredContent"])
    if whole:
        return result
    if structured and result["structuredContent"] is not None:
        return result["structuredContent"]
    return "\n".join(texts) if len(texts) == len(blocks) else blocks


def _hint(session: Conversation, words: str) -> str:
    """Which grant the server may lack; empty where its words do not read like that, or it is not confined."""
    return advice(session.name, words) if isinstance(session, Session) and session.confined else ""


def _reported(session: Conversation, result: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """The error of a tool for a client: its text without the secrets that the server was given, and of all content as much as `REPORTED`.

    Guards look at it like at any other result.
    """
    left, kept = REPORTED, []
    for block in blocks:
        text = block.get("text")
        if block.get("type") == "text" and isinstance(text, str):
            block = {**block, "text": session.quote(text, left)}
            size = len(block["text"])
        else:
            size = len(_encode(block))
        if size <= left:
            kept.append(block)
            left -= size
    hint = _hint(session, "\n".join(block["text"] for block in kept if isinstance(block.get("text"), str)))
    if hint:
        kept.append({"type": "text", "text": hint})
    told = {**result, "content": kept}
    if len(_encode(result.get("structuredContent"))) > left:
        told.pop("structuredContent", None)
    return told
