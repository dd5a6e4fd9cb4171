"""The agent that the protocol's own test kit examines: what its scenarios (`scenarios/*.feature`) ask of the agent under test.

The kit tells the agent what to do by how the id of a message begins.
"""

from __future__ import annotations

from typing import Any

from omega.kernel.context import Context
from omega.kernel.errors import Denied
from omega.kernel.flow import flow

STREAMING_S = 2.0
"""What the kit calls its streaming timeout, in seconds."""

FILE = {"raw": "dGNr", "mediaType": "text/plain", "filename": "output.txt"}
LINK = {"url": "https://example.com/output.txt", "mediaType": "text/plain", "filename": "output.txt"}
ARTIFACTS: dict[str, list[dict[str, Any]]] = {
    "tck-artifact-text": [{"text": "Generated text content"}],
    "tck-artifact-file-url": [LINK],
    "tck-artifact-file": [FILE],
    "tck-artifact-data": [{"data": {"key": "value", "count": 42}}],
}
STREAMED: dict[str, list[dict[str, Any]]] = {
    "tck-stream-001": [{"text": "Stream hello from TCK"}],
    "tck-stream-003": [{"text": "Stream task lifecycle"}],
    "tck-stream-ordering-001": [{"text": "Ordered output"}],
    "tck-stream-artifact-text": [{"text": "Streamed text content"}],
    "tck-stream-artifact-file": [FILE],
    "tck-stream-artifact-chunked": [{"text": "chunk-1 "}, {"text": "chunk-2"}],
}


@flow(name="tck", effect="read")
async def kit(ctx: Context, message: dict[str, Any]) -> dict[str, Any]:
    """Handles the messages of the test kit."""
    while str(message["messageId"]).startswith("tck-input-required"):
        message = await ctx.signal("message")
    id = str(message["messageId"])
    if id.startswith("tck-reject-task"):
        raise Denied("OMG-W001", "rejected")
    if id.startswith("tck-message-response"):
        return {"answer": {"parts": [{"text": "Direct message response"}]}}
    if id.startswith(("tck-delayed-complete", "test-resubscribe-message-id")):
        await ctx.sleep(STREAMING_S if id.startswith("tck-delayed") else 2 * STREAMING_S)
        return {"message": {"parts": [{"text": "Done after delay"}]}}
    for prefix, parts in STREAMED.items():
        if id.startswith(prefix):
            for part in parts:
                await ctx.emit({"parts": [part]})
            return {"artifacts": [{"artifactId": "result", "parts": parts}]}
    for prefix, parts in ARTIFACTS.items():
        if id.startswith(prefix):
            return {"artifacts": [{"artifactId": "result", "parts": parts}]}
    return {"message": {"parts": [{"text": "Hello from TCK"}]}}
