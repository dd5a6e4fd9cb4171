"""A tool server of the older era over standard streams, on nothing but the protocol: it asks for a name in the middle of a call."""

from __future__ import annotations

import json
import sys
from typing import Any

FORM = {"message": "your name", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}
GREET = {"name": "greet", "description": "Greets whoever says their name.", "inputSchema": {"type": "object"}}


def say(message: dict[str, Any]) -> None:
    """One message to the client."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """The result of a request, or its error."""
    method = request["method"]
    if method == "initialize":
        info = {"serverInfo": {"name": "asking", "version": "1"}, "capabilities": {"tools": {}, "logging": {}}}
        return {"result": {"protocolVersion": "2025-11-25", **info}}
    if method == "tools/list":
        return {"result": {"tools": [GREET]}}
    if method == "logging/setLevel":
        return {"result": {}}
    if method != "tools/call":
        return {"error": {"code": -32601, "message": "no such method"}}
    say({"id": "question", "method": "elicitation/create", "params": FORM})
    for line in sys.stdin:
        said = json.loads(line)
        if said.get("id") == "question":
            name = (said.get("result") or {}).get("content", {}).get("name", "nobody")
            return {"result": {"content": [{"type": "text", "text": f"hello, {name}"}]}}
    return {"error": {"code": -32603, "message": "nobody is there"}}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        say({"id": request["id"], **answered(request)})
