"""The exceptions of pydantic-ai as recorded failures, and back: an agent that is resumed meets the same exception as the first time.

Only kinds listed here are made again, from plain fields. Any other exception of a tool or model is, on the first run as in every later
one, the FlowError (OMG-R001) that was recorded of it.
"""

from __future__ import annotations

from typing import Any

from pydantic_ai import exceptions
from pydantic_core import to_jsonable_python

from omega.kernel.errors import FlowError, OmegaError, UpstreamError

MAX_WORDS = 500
"""Most characters of an exception's own words that are recorded in its cause."""

_PLAIN: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        exceptions.ConcurrencyLimitExceeded,
        exceptions.UsageLimitExceeded,
        exceptions.UserError,
    )
}
"""Made again from their message alone."""

_ANSWERS: dict[str, type[exceptions.UnexpectedModelBehavior]] = {
    kind.__name__: kind for kind in (exceptions.ContentFilterError, exceptions.UnexpectedModelBehavior)
}
"""Made again from message and body."""


def described(error: Exception) -> OmegaError:
    """`error` as a failure with a code, and in its details what `rebuilt` needs."""
    words = str(error)[:MAX_WORDS]
    cause = f"{type(error).__name__}: {words}" if words else type(error).__name__
    raised = _fields(error)
    details = {"raised": raised} if raised else {}
    if isinstance(error, exceptions.ModelAPIError):
        return UpstreamError("OMG-M008", cause, details=details)
    return FlowError("OMG-R001", cause, details=details)


def rebuilt(error: OmegaError) -> Exception:
    """The exception that `error` was recorded for; `error` itself where it was recorded for none that is known."""
    raised = error.details.get("raised")
    if not isinstance(raised, dict):
        return error
    kind, message, body = str(raised.get("kind")), str(raised.get("message", "")), raised.get("body")
    if kind == "ModelHTTPError":
        return exceptions.ModelHTTPError(int(raised["status"]), str(raised["model"]), body)
    if kind == "ModelAPIError":
        return exceptions.ModelAPIError(str(raised["model"]), message)
    if kind in _ANSWERS:
        return _ANSWERS[kind](message, body)
    return _PLAIN[kind](message) if kind in _PLAIN else error


def _fields(error: Exception) -> dict[str, Any]:
    message = str(getattr(error, "message", error))
    if isinstance(error, exceptions.ModelHTTPError):
        body = to_jsonable_python(error.body, serialize_unknown=True)
        return {"kind": "ModelHTTPError", "status": error.status_code, "model": error.model_name, "body": body}
    if isinstance(error, exceptions.ModelAPIError):
        return {"kind": "ModelAPIError", "model": error.model_name, "message": message}
    if type(error).__name__ in _ANSWERS and isinstance(error, exceptions.UnexpectedModelBehavior):
        return {"kind": type(error).__name__, "message": message, "body": error.body}
    if type(error).__name__ in _PLAIN and isinstance(error, exceptions.AgentRunError | exceptions.UserError):
        return {"kind": type(error).__name__, "message": message}
    return {}
