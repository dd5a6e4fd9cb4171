"""The operations of the protocol and their two bindings (A2A 1.0, sections 3, 9 and 11).

operation              JSON-RPC method                      HTTP+JSON, below the address of the agent
send                   SendMessage                          POST   /message:send
stream                 SendStreamingMessage                 POST   /message:stream
get                    GetTask                              GET    /tasks/{id}
list                   ListTasks                            GET    /tasks
cancel                 CancelTask                           POST   /tasks/{id}:cancel
subscribe              SubscribeToTask                      GET or POST /tasks/{id}:subscribe
push-create            CreateTaskPushNotificationConfig     POST   /tasks/{id}/pushNotificationConfigs
push-get               GetTaskPushNotificationConfig        GET    /tasks/{id}/pushNotificationConfigs/{config}
push-list              ListTaskPushNotificationConfigs      GET    /tasks/{id}/pushNotificationConfigs
push-delete            DeleteTaskPushNotificationConfig     DELETE /tasks/{id}/pushNotificationConfigs/{config}
card                   GetExtendedAgentCard                 GET    /extendedAgentCard
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from omega.wire.a2a.faults import NO_METHOD, NO_SUCH_VERB, PARAMS, VERSION, A2aFault
from omega.wire.a2a.messages import STATES, moment_of, name_of

PROTOCOL: Final = "1.0"
"""The version that is spoken here."""

UNSTATED: Final = "0.3"
"""What a request speaks that states no version (3.6.2)."""

VERSION_HEADER: Final = "a2a-version"
EXTENSIONS_HEADER: Final = "a2a-extensions"

PAGE: Final = 50
LARGEST_PAGE: Final = 100

MAX_TOKEN: Final = 512
"""Longest page token, in characters."""

MAX_SECRET: Final = 4_096
"""Longest credentials of a push notification, in characters."""

CARD: Final = ".well-known/agent-card.json"
"""Where the card lies, below the address of an agent (8.2)."""


class Operation(StrEnum):
    """What can be asked of an agent."""

    SEND = "send"
    STREAM = "stream"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    SUBSCRIBE = "subscribe"
    PUSH_CREATE = "push-create"
    PUSH_GET = "push-get"
    PUSH_LIST = "push-list"
    PUSH_DELETE = "push-delete"
    CARD = "card"

    @property
    def streams(self) -> bool:
        """Whether it answers with a stream of events."""
        return self in (Operation.STREAM, Operation.SUBSCRIBE)


METHODS: Final = {
    "SendMessage": Operation.SEND,
    "SendStreamingMessage": Operation.STREAM,
    "GetTask": Operation.GET,
    "ListTasks": Operation.LIST,
    "CancelTask": Operation.CANCEL,
    "SubscribeToTask": Operation.SUBSCRIBE,
    "CreateTaskPushNotificationConfig": Operation.PUSH_CREATE,
    "GetTaskPushNotificationConfig": Operation.PUSH_GET,
    "ListTaskPushNotificationConfigs": Operation.PUSH_LIST,
    "DeleteTaskPushNotificationConfig": Operation.PUSH_DELETE,
    "GetExtendedAgentCard": Operation.CARD,
}
"""The operations by their JSON-RPC method."""

_CONFIGS: Final = "pushNotificationConfigs"
_NUMBERS: Final = ("historyLength", "pageSize")


def method_of(name: str) -> Operation:
    """The operation of a JSON-RPC method. Raises A2aFault (NO_METHOD)."""
    found = METHODS.get(name)
    if found is None:
        raise A2aFault(NO_METHOD, f"there is no method {name[:80]!r} (there are: {', '.join(METHODS)})")
    return found


@dataclass(frozen=True, slots=True)
class Route:
    """What a request of the HTTP+JSON binding asks: the operation, and the parameters that stand in its path."""

    operation: Operation
    named: Mapping[str, str]


def route_of(method: str, path: str) -> Route:
    """The route of `path`, below the address of an agent and without the first slash. Raises A2aFault (NO_METHOD, NO_SUCH_VERB)."""
    parts = path.split("/")
    ways = _ways(parts)
    if not ways:
        raise A2aFault(NO_METHOD, f"there is nothing at {path[:80]!r}")
    if method not in ways:
        raise A2aFault(NO_SUCH_VERB, f"{path[:80]!r} takes {', '.join(sorted(ways))}", metadata={"allow": ", ".join(sorted(ways))})
    return ways[method]


def _ways(parts: list[str]) -> dict[str, Route]:
    match parts:
        case ["message:send"]:
            return {"POST": Route(Operation.SEND, {})}
        case ["message:stream"]:
            return {"POST": Route(Operation.STREAM, {})}
        case ["extendedAgentCard"]:
            return {"GET": Route(Operation.CARD, {})}
        case ["tasks"]:
            return {"GET": Route(Operation.LIST, {})}
        case ["tasks", name]:
            return _task(name)
        case ["tasks", task, configs] if configs == _CONFIGS:
            named = {"taskId": task}
            return {"POST": Route(Operation.PUSH_CREATE, named), "GET": Route(Operation.PUSH_LIST, named)}
        case ["tasks", task, configs, config] if configs == _CONFIGS:
            named = {"taskId": task, "id": config}
            return {"GET": Route(Operation.PUSH_GET, named), "DELETE": Route(Operation.PUSH_DELETE, named)}
    return {}


def _task(name: str) -> dict[str, Route]:
    task, colon, verb = name.rpartition(":")
    if not colon:
        return {"GET": Route(Operation.GET, {"id": name})}
    if verb == "cancel":
        return {"POST": Route(Operation.CANCEL, {"id": task})}
    if verb == "subscribe":
        return {verb: Route(Operation.SUBSCRIBE, {"id": task}) for verb in ("GET", "POST")}
    return {}


_FREE: Final = frozenset({"data", "metadata", "params"})
"""Members whose value is the caller's own: names in them are left as they are."""


def known_names(given: Any) -> Any:
    """`given` with each name in camel case: readers of ProtoJSON take the names of the definition (`page_size`) as well."""
    if isinstance(given, dict):
        return {_camel(name): value if name in _FREE else known_names(value) for name, value in given.items()}
    return [known_names(each) for each in given] if isinstance(given, list) else given


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each[:1].upper() + each[1:] for each in rest) if first else name


def read_query(given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a query as JSON has them (11.5: camelCase names). Raises A2aFault (PARAMS)."""
    found: dict[str, Any] = dict(given)
    for name in _NUMBERS:
        if name in found:
            if re.fullmatch(r"-?[0-9]{1,9}", found[name]) is None:
                raise A2aFault(PARAMS, f"{name} is a whole number")
            found[name] = int(found[name])
    if "includeArtifacts" in found:
        if found["includeArtifacts"] not in ("true", "false"):
            raise A2aFault(PARAMS, "includeArtifacts is true or false")
        found["includeArtifacts"] = found["includeArtifacts"] == "true"
    return found


def check_version(stated: str) -> None:
    """Raise A2aFault (VERSION) for a version that is not spoken here; patch numbers do not count (3.6)."""
    version = stated.strip() or UNSTATED
    if re.fullmatch(r"1\.0(\.\d{1,4})?", version) is None:
        said = f"version {version[:40]} is not spoken here: send A2A-Version: {PROTOCOL}"
        raise A2aFault(VERSION, said, metadata={"supported": PROTOCOL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How a message is to be answered: the media types that are taken, how much history, whether at once, and whom to tell later."""

    accepts: tuple[str, ...] = ()
    history: int | None = None
    at_once: bool = False
    push: Mapping[str, Any] | None = None


def sending_of(params: Mapping[str, Any]) -> Sending:
    """The configuration of a message that is sent. Raises A2aFault (PARAMS)."""
    given = params.get("configuration") or {}
    if not isinstance(given, dict):
        raise A2aFault(PARAMS, "configuration is an object")
    modes = given.get("acceptedOutputModes") or []
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise A2aFault(PARAMS, "configuration.acceptedOutputModes is a list of media types")
    push = given.get("taskPushNotificationConfig")
    return Sending(
        accepts=tuple(modes),
        history=_number(given, "historyLength", 0, 1 << 31),
        at_once=_flag(given, "returnImmediately"),
        push=None if push is None else push_of(push),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which tasks a list shows. Times are Unix microseconds."""

    context: str = ""
    state: str = ""
    page: int = PAGE
    token: str = ""
    history: int | None = None
    after_us: int = 0
    artifacts: bool = False


def listing_of(params: Mapping[str, Any]) -> Listing:
    """The parameters of a list. Raises A2aFault (PARAMS)."""
    state = params.get("status") or ""
    if state and state not in STATES:
        raise A2aFault(PARAMS, f"status is one of {', '.join(STATES)}")
    context = params.get("contextId") or ""
    token = params.get("pageToken") or ""
    if not isinstance(token, str) or len(token) > MAX_TOKEN:
        raise A2aFault(PARAMS, "pageToken is what the page before gave")
    after = params.get("statusTimestampAfter") or ""
    if not isinstance(after, str):
        raise A2aFault(PARAMS, "statusTimestampAfter is a time in ISO 8601")
    size = _number(params, "pageSize", 1, LARGEST_PAGE)
    return Listing(
        context=name_of(context, "contextId") if context else "",
        state=state,
        page=PAGE if size is None else size,
        token=token,
        history=history_of(params),
        after_us=moment_of(after, "statusTimestampAfter") if after else 0,
        artifacts=_flag(params, "includeArtifacts"),
    )


def history_of(params: Mapping[str, Any]) -> int | None:
    """How many messages of history are wanted at most; None for all. Raises A2aFault (PARAMS)."""
    return _number(params, "historyLength", 0, 1 << 31)


def push_of(given: Any) -> dict[str, Any]:
    """Where somebody wants to be told of a task. Raises A2aFault (PARAMS)."""
    if not isinstance(given, dict):
        raise A2aFault(PARAMS, "a push notification configuration is an object")
    url = given.get("url")
    if not isinstance(url, str) or not url:
        raise A2aFault(PARAMS, "a push notification configuration has a url")
    read: dict[str, Any] = {"url": url}
    for field in ("id", "token"):
        if given.get(field) not in (None, ""):
            read[field] = name_of(given[field], field)
    proof = given.get("authentication")
    if proof is not None:
        if not isinstance(proof, dict):
            raise A2aFault(PARAMS, "authentication is an object")
        read["authentication"] = {"scheme": name_of(proof.get("scheme"), "authentication.scheme")}
        secret = proof.get("credentials")
        if secret not in (None, ""):
            if not isinstance(secret, str) or len(secret) > MAX_SECRET or not secret.isprintable():
                raise A2aFault(PARAMS, f"authentication.credentials is text of at most {MAX_SECRET} printable characters")
            read["authentication"]["credentials"] = secret
    return read


def task_of(params: Mapping[str, Any], field: str = "id") -> str:
    """The id of a task. Raises A2aFault (PARAMS)."""
    return name_of(params.get(field), field)


def _number(given: Mapping[str, Any], field: str, least: int, most: int) -> int | None:
    value = given.get(field)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise A2aFault(PARAMS, f"{field} is a whole number from {least} to {most}")
    return value


def _flag(given: Mapping[str, Any], field: str) -> bool:
    value = given.get(field)
    if value is not None and not isinstance(value, bool):
        raise A2aFault(PARAMS, f"{field} is true or false")
    return bool(value)
