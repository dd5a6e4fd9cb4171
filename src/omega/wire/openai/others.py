"""Embeddings, the list of models, and errors in the shape that programs for this interface read."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from omega.wire.openai.fields import known, objects, wrong
from omega.wire.problem import status_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
"""The words that programs for this interface know; everything else is `server_error`."""

NO_MODEL = ("OMG-M009", 404)
"""Unlike other codes of its letter, this one says that what was asked for is not there."""


def texts_of(body: Any) -> dict[str, Any]:
    """The texts (`omega.features.models.model.Texts`, as data) of a request for embeddings. Raises InputError (OMG-I001)."""
    request = objects(body, "body")
    known(request, ("model", "input", "dimensions", "encoding_format"), {})
    given = request.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise wrong("input", "is a text or a list of texts; tokens are not supported")
    if request.get("encoding_format") not in (None, "float", "base64"):
        raise wrong("encoding_format", "is float or base64")
    if not isinstance(request.get("model"), str) or not request["model"]:
        raise wrong("model", "names an embedding model")
    return {"model": request["model"], "texts": texts, **({"dimensions": request["dimensions"]} if request.get("dimensions") else {})}


def embeddings(found: Mapping[str, Any], *, as_base64: bool) -> dict[str, Any]:
    """The answer with vectors: as numbers, or each as base64 of little-endian 32-bit floats."""
    rows = [
        {"object": "embedding", "index": at, "embedding": _packed(vector) if as_base64 else vector}
        for at, vector in enumerate(found["vectors"])
    ]
    tokens = found["usage"]["input"] + found["usage"]["output"]
    return {"object": "list", "data": rows, "model": found["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def models(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The list of models and routes."""
    return {"object": "list", "data": [model(each) for each in found]}


def model(found: Mapping[str, Any]) -> dict[str, Any]:
    """One of them; `created` is not known here, and the interface wants a number."""
    owner = found.get("provider", "omega")
    return {"id": found["name"], "object": "model", "created": 0, "owned_by": owner, "omega": dict(found)}


def error_of(record: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of an error as `OmegaError.record()` gives it: our code stands in `code`, what to do in the message."""
    code = str(record.get("code", ""))
    status = NO_MODEL[1] if code == NO_MODEL[0] else status_of(code)
    if status == 202:  # it waits for somebody: this interface knows no such answer
        status = 409
    details = record.get("details")
    param = details.get("param") if isinstance(details, Mapping) else None
    advice = f" ({record['advice']})" if record.get("advice") else ""
    message = f"{record.get('cause', '')}{advice}"
    return status, {"error": {"message": message, "type": _TYPES.get(status, "server_error"), "param": param, "code": code}}


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
