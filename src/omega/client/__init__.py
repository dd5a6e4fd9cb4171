"""The Python client of a remote Omega: typed calls with retries, streams, sign-in, and errors that are the same classes as at home.

    from omega.client import Client

    async with Client("https://omega.example", credentials=ApiKey(key)) as omega:
        summary = await omega.insights.summary(hours=24)
        async for event in omega.events.follow(types=["flow:*"]):
            print(event["type"], event["subject"])

`Client` speaks HTTP; `Session` speaks RPC over one WebSocket, for many calls, streams with back-pressure and cancellation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omega.client.client import Client as Client
    from omega.client.contexts import Context as Context
    from omega.client.contexts import Contexts as Contexts
    from omega.client.credentials import ApiKey as ApiKey
    from omega.client.credentials import Passport as Passport
    from omega.client.retrying import Retry as Retry
    from omega.client.session import Session as Session

_HOMES = {
    "ApiKey": "omega.client.credentials",
    "Client": "omega.client.client",
    "Context": "omega.client.contexts",
    "Contexts": "omega.client.contexts",
    "Passport": "omega.client.credentials",
    "Retry": "omega.client.retrying",
    "Session": "omega.client.session",
}

__all__ = ["ApiKey", "Client", "Context", "Contexts", "Passport", "Retry", "Session"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'omega.client' has no attribute {name!r}")
    return getattr(import_module(home), name)
