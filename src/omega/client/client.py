"""The client: one method per operation of the installed services, executions to look at and decide, and pages to walk through."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from omega.client.credentials import Credentials, Nobody, Passport
from omega.client.failures import of_problem, unreachable
from omega.client.retrying import Retry
from omega.client.services import Services
from omega.client.session import Session, opened
from omega.client.transport import Transport
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    import ssl

API: Final = "/api/v1"
TIMEOUT_S: Final = 60.0
PAGE: Final = 100
"""Executions per page of a list."""

PENDING: Final = 202
UNDER_WAY: Final = ("running", "queued")
MARGIN_S: Final = 2.0
"""Seconds that an answer is given to arrive."""

LONGEST_WAIT_S: Final = 120
"""Longest that one request waits for the end of an execution, in seconds: then it is asked again."""


class Client(Services):
    """An installation at `address` as whoever `credentials` (or a passport as text) stand for. Use it as a context manager, or close it.

    Every method raises OmegaError: what the installation says, of the same class and code as at home, or UpstreamError (OMG-X010) when it
    cannot be reached. `timeout_s` bounds a call with all its repeats. `tls` says whom to trust over https, and which certificate to show.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | str = "",
        *,
        retry: Retry | None = None,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        given = (Passport(credentials) if credentials else Nobody()) if isinstance(credentials, str) else credentials
        self._timeout_s = timeout_s
        self._transport = Transport(address, given, retry=retry or Retry(), timeout_s=timeout_s, tls=tls)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._transport.aclose()

    # -- services

    async def call(self, method: str, value: Any = None, *, key: str = "", timeout_s: float | None = None) -> Any:
        """The value of `service.method` for an input as plain data.

        `key` is the idempotency key, a new one unless given: with one of your own, a repeat after a crash of yours does nothing twice.
        """
        until = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        headers = {"idempotency-key": key or new_key(), "prefer": f"wait={_whole(until)}"}
        answer = await self._transport.request("POST", _path(method), body=value, headers=headers, timeout_s=timeout_s)
        if answer.status != PENDING:
            return answer.value
        return await self._awaited(answer.value, until)

    async def stream(self, method: str, value: Any = None) -> AsyncIterator[Any]:
        """The parts of a streaming method, as they are made. Raises the error in which it ends, after the parts that came before."""
        async with self._transport.stream(_path(method), value, {"idempotency-key": new_key()}) as events:
            async for event in events:
                if event.kind == "part":
                    yield _data(event.data)["value"]
                elif event.kind == "outcome":
                    _value(_data(event.data))
                    return
        raise unreachable("broke off in the middle of a stream")

    async def _awaited(self, told: Any, until: float) -> Any:
        """The value of a call that takes longer than its answer could wait. Raises Suspended for one that waits for somebody."""
        if "waits_for" in told:
            raise of_problem(PENDING, told["waits_for"])
        while (left_s := until - time.monotonic()) > 0:
            query = {"wait": str(_whole(until))}
            outcome = (await self._transport.request("GET", told["outcome"], query=query, timeout_s=left_s)).value
            if outcome["status"] not in UNDER_WAY:
                return _value(outcome)
        raise unreachable(f"has not ended {told['execution']} in time", execution=told["execution"])

    def session(self) -> Session:
        """A session over one WebSocket: `async with client.session() as rpc`. For many calls, streams with back-pressure, cancellation."""
        return opened(self._transport)

    # -- executions

    async def executions(self, *, limit: int = 0, **narrowed: str) -> AsyncIterator[dict[str, Any]]:
        """The executions of the caller's tenant, newest first, page by page; narrowed by `status`, `flow`, `principal` and what else the
        description of the API names. `limit` ends it after so many; 0 for all."""
        query = dict(narrowed)
        told = 0
        while True:
            page = (await self._transport.request("GET", f"{API}/executions", query={**query, "limit": str(PAGE)})).value
            for line in page["executions"]:
                yield line
                told += 1
                if told == limit:
                    return
            if not page.get("next"):
                return
            query["cursor"] = page["next"]

    async def execution(self, execution: str, *, values: bool = False) -> dict[str, Any]:
        """An execution with every step; with `values` inputs and results too."""
        query = {"values": "true"} if values else None
        found: dict[str, Any] = (await self._transport.request("GET", f"{API}/executions/{quote(execution, safe='')}", query=query)).value
        return found

    async def outcome(self, execution: str, *, wait_s: int = 0) -> dict[str, Any]:
        """How an execution ended or stands, as `status` with `value` or `error`; with `wait_s` as soon as that is known."""
        path = f"{API}/executions/{quote(execution, safe='')}/outcome"
        limit_s = max(self._timeout_s, wait_s + 10.0)
        found: dict[str, Any] = (await self._transport.request("GET", path, query={"wait": str(wait_s)}, timeout_s=limit_s)).value
        return found

    async def me(self) -> dict[str, Any]:
        """Who the installation takes the caller for: tenant, principal, groups, capabilities."""
        found: dict[str, Any] = (await self._transport.request("GET", f"{API}/me")).value
        return found

    async def services(self) -> list[dict[str, Any]]:
        """The services that are installed there, each with its methods."""
        found: list[dict[str, Any]] = (await self._transport.request("GET", f"{API}/services")).value["services"]
        return found

    async def run(self, flow: str, value: Any = None, *, key: str = "", timeout_s: float | None = None) -> Any:
        """The value of a flow that the operator put up, by its name."""
        until = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        headers = {"idempotency-key": key or new_key(), "prefer": f"wait={_whole(until)}"}
        path = f"{API}/flows/{quote(flow)}/run"
        answer = await self._transport.request("POST", path, body=value, headers=headers, timeout_s=timeout_s)
        return answer.value if answer.status != PENDING else await self._awaited(answer.value, until)

    async def begin(self, method: str, value: Any = None, *, key: str = "") -> str:
        """Begin `service.method` and wait for nothing; gives its execution, whose `outcome` can be waited for."""
        return await self._begun(_path(method), value, key)

    async def begin_flow(self, flow: str, value: Any = None, *, key: str = "") -> str:
        """The same for a flow that the operator put up, by its name."""
        return await self._begun(f"{API}/flows/{quote(flow)}/run", value, key)

    async def _begun(self, path: str, value: Any, key: str) -> str:
        headers = {"idempotency-key": key or new_key(), "prefer": "respond-async"}
        return str((await self._transport.request("POST", path, body=value, headers=headers)).value["execution"])

    async def flows(self) -> list[dict[str, Any]]:
        """The flows that the operator put up, each with its version, effect and input."""
        found: list[dict[str, Any]] = (await self._transport.request("GET", f"{API}/flows")).value["flows"]
        return found

    async def tools(self) -> list[dict[str, Any]]:
        """The tools of tool servers that are accepted there, each by its name SERVER/TOOL with its effect and input."""
        found: list[dict[str, Any]] = (await self._transport.request("GET", f"{API}/tools")).value["tools"]
        return found

    async def servers(self) -> list[dict[str, Any]]:
        """The tool servers that are known there and how each is, for those who may read the records; nothing for others."""
        found: list[dict[str, Any]] = (await self._transport.request("GET", f"{API}/servers")).value["servers"]
        return found

    async def decide(self, execution: str, verb: str, body: Mapping[str, Any] | None = None) -> None:
        """Cancel, approve, answer, resolve or signal an execution."""
        path = f"{API}/executions/{quote(execution, safe='')}/{quote(verb, safe='')}"
        await self._transport.request("POST", path, body=dict(body or {}), headers={"idempotency-key": new_key()})


def new_key() -> str:
    """A new idempotency key: 128 bits of chance."""
    return os.urandom(16).hex()


def _whole(until: float) -> int:
    """Whole seconds that a server may wait so that its answer is here before `until` (monotonic)."""
    return max(0, min(LONGEST_WAIT_S, int(until - time.monotonic() - MARGIN_S)))


def _value(outcome: Any) -> Any:
    """The value of an outcome. Raises the error in which it ended."""
    if "error" in outcome:
        raise of_problem(500, outcome["error"])
    return outcome.get("value")


def _path(method: str) -> str:
    service, dot, name = method.partition(".")
    if not dot or not service.replace("_", "").replace("-", "").isalnum() or not name.replace("_", "").isalnum():
        raise InputError("OMG-X001", f"{method[:80]!r} names no method", advice="write it as service.method")
    return f"{API}/{service}/{name}"


def _data(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise unreachable("sent an event that is no JSON") from error
