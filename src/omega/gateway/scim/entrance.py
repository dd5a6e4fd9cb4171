"""`/scim/v2`: users and groups of the tenant whose API key is shown (RFC 7644).

    GET    /Users, /Groups                   list: filter, startIndex, count, attributes, excludedAttributes
    POST   /Users, /Groups                   make one
    POST   /Users/.search, /Groups/.search, /.search      the same as a list, or as both, with the question in the body
    GET, PUT, PATCH, DELETE  /Users/ID, /Groups/ID
    GET    /ServiceProviderConfig, /ResourceTypes, /Schemas

Every request is a call of the service `directory` down the one road, so the log says which key asked for what. Refusals have the form of
RFC 7644, 3.12. `If-Match` takes the version that a change was made for; another one has the answer 412.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send, Visitor
from omega.gateway.front.request import Arrival, Headers, arrival_of, dump, read_json_body, reply
from omega.gateway.scim.changes import KINDS, Kept, Wanted, about_of, change_of, kind_of
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, OmegaError, StorageError, from_record
from omega.kernel.ports import Call
from omega.wire.problem import headers_of, status_of
from omega.wire.scim import schemas
from omega.wire.scim.filters import invalid, read
from omega.wire.scim.resources import PREFIX, error_form, listed, shown, tag_of

KIND: Final = b"application/scim+json"
MAX_BODY: Final = 1 << 20
"""Largest body in bytes: a group with some thousand members."""

MOST: Final = 500
"""Most resources in one answer."""

USUAL: Final = 100
SEARCH: Final = ".search"
TRIES: Final = 4
"""How often a change is made for the version that stands then, where the request names none."""

_FRESH: Final = (b"cache-control", b"no-store")
_LISTING: Final = ("filter", "startindex", "count", "attributes", "excludedattributes", "sortby", "sortorder")
_METHODS: Final = {True: ("GET", "PUT", "PATCH", "DELETE"), False: ("GET", "POST")}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request of somebody who is known."""

    core: Core
    arrival: Arrival
    visitor: Visitor
    receive: Receive
    send: Send

    async def ask(self, name: str, value: Mapping[str, Any]) -> Any:
        """What a method of the directory gives, called as the visitor down the road. Raises its error, InputError (OMG-I002)."""
        call = Call(
            passport=self.visitor.passport,
            flow=_flow(self.core, name),
            input=dict(value),
            origin=self.visitor.origin(self.arrival.headers),
        )
        outcome = await self.core.road.call(call)
        if outcome.error is not None:
            raise from_record(outcome.error)
        return outcome.value

    async def answer(self, value: Any, *, status: int = 200, headers: Headers | None = None) -> None:
        await reply(self.send, status, dump(value), kind=KIND, headers=[_FRESH, *(headers or ())])


def entrance(core: Core) -> Mounted:
    """The entrance on a core."""

    async def app(scope: AsgiScope, receive: Receive, send: Send) -> None:
        arrival = arrival_of(scope)
        try:
            visitor = core.visitor(arrival.headers, method=arrival.method, url=arrival.url, address=arrival.address, peer=arrival.peer)
            await _answer(_Asked(core, arrival, visitor, receive, send))
        except OmegaError as error:
            status, kind = _refusal(error)
            lines = headers_of(error.record(), status, base=arrival.base)
            document = error_form(status, error.cause if status < 500 else f"see the request {arrival.id}", kind)
            await reply(send, status, dump(document), kind=KIND, headers=[*lines, _FRESH])

    return Mounted("/scim", app)


def _refusal(error: OmegaError) -> tuple[int, str]:
    """The status of an error here, and SCIM's word for it."""
    details = error.details if isinstance(error.details, Mapping) else {}
    if "conflict" in details:
        return 409, "uniqueness"
    if error.code == "OMG-I005" and "version" in details:
        return 412, ""
    kind = str(details.get("scim", ""))
    status = status_of(error.code)
    return status, kind or ("invalidValue" if status == 400 else "")


async def _answer(asked: _Asked) -> None:
    arrival = asked.arrival
    steps = arrival.path.removeprefix(PREFIX).strip("/").split("/")
    if not arrival.path.startswith(f"{PREFIX}/") or len(steps) > 2:
        raise InputError("OMG-G002", f"there is nothing at {arrival.path[:80]!r}")
    kind = kind_of(steps[0])
    if steps[-1] == SEARCH and (kind is not None or len(steps) == 1):
        if arrival.method != "POST":
            raise InputError("OMG-G003", "a search is sent with POST", details={"allow": ["POST"]})
        await _list(asked, KINDS if kind is None else (kind,), _searched(await read_json_body(asked.receive, arrival, most=MAX_BODY)))
        return
    if kind is None:
        await _described(asked, steps)
        return
    allowed = _METHODS[len(steps) == 2]
    if arrival.method not in allowed:
        raise InputError("OMG-G003", f"this address takes {', '.join(allowed)}", details={"allow": list(allowed)})
    if len(steps) == 1:
        await (_list(asked, (kind,), _query(arrival)) if arrival.method == "GET" else _create(asked, kind))
    elif not kind.is_id(steps[1]):
        raise InputError("OMG-I003", f"this tenant has no {kind.noun} {steps[1][:80]}")
    elif arrival.method == "GET":
        await _show(asked, kind, steps[1])
    elif arrival.method == "DELETE":
        await asked.ask(f"delete_{kind.noun}", {kind.noun: steps[1], "version": _version(arrival) or 0})
        await reply(asked.send, 204, headers=[_FRESH])
    else:
        await _change(asked, kind, steps[1])


async def _list(asked: _Asked, kinds: Sequence[Kept], query: Mapping[str, str]) -> None:
    """Those of some kinds that a question means, one kind after the other, as one list."""
    start, count = max(1, _number(query, "startindex", 1)), min(MOST, max(0, _number(query, "count", USUAL)))
    total, forms = 0, list[dict[str, Any]]()
    for kind in kinds:
        wanted: dict[str, Any] = {"start": max(1, start - total), "count": count - len(forms)}
        if query.get("filter"):
            wanted["filter"] = read(query["filter"], kind.attributes)
        found = await asked.ask(f"{kind.noun}s", wanted)
        total += found["total"]
        forms += [_shown(kind.form(each, asked.arrival.base), query) for each in found[f"{kind.noun}s"]]
    await asked.answer(listed(forms, total, start))


def _searched(body: Any) -> dict[str, str]:
    """A search request (RFC 7644, 3.4.3) as the query that says the same."""
    if not isinstance(body, Mapping):
        raise invalid("a search is an object", "invalidSyntax")
    given = {str(name).lower(): value for name, value in body.items()}
    found = {
        name: ",".join(map(str, given[name])) if isinstance(given[name], list) else str(given[name]) for name in _LISTING if name in given
    }
    return {name: text for name, text in found.items() if text != "None"}


async def _show(asked: _Asked, kind: Kept, name: str) -> None:
    found = await asked.ask(kind.noun, {kind.noun: name})
    tag = tag_of(found["version"])
    if tag in [each.strip() for each in asked.arrival.header("if-none-match").split(",")]:
        await reply(asked.send, 304, headers=[(b"etag", tag.encode()), _FRESH])
        return
    await _one(asked, kind, found)


async def _create(asked: _Asked, kind: Kept) -> None:
    body = await read_json_body(asked.receive, asked.arrival, most=MAX_BODY)
    found = await asked.ask(f"create_{kind.noun}", about_of(kind, body))
    await _one(asked, kind, found, status=201)


async def _change(asked: _Asked, kind: Kept, name: str) -> None:
    """PUT and PATCH: what stands is read, changed, and put in its place if it still stands then."""
    body = await read_json_body(asked.receive, asked.arrival, most=MAX_BODY)
    asked_for = _version(asked.arrival)
    for left in reversed(range(TRIES)):
        standing = await asked.ask(kind.noun, {kind.noun: name})
        if asked_for not in (None, standing["version"]):
            cause = f"this {kind.noun} has been changed since it was looked at"
            raise InputError("OMG-I005", cause, details={"version": standing["version"]})
        wanted = Wanted(kind=kind, standing=standing, body=body, whole=asked.arrival.method == "PUT")
        try:
            found = await asked.ask(f"change_{kind.noun}", change_of(wanted, asked.arrival.base))
        except (InputError, StorageError) as error:
            if error.code != "OMG-I005" or asked_for is not None or not left:
                raise
            continue
        await _one(asked, kind, found)
        return


async def _one(asked: _Asked, kind: Kept, found: Mapping[str, Any], *, status: int = 200) -> None:
    form = kind.form(found, asked.arrival.base)
    headers: Headers = [(b"etag", tag_of(found["version"]).encode()), (b"location", form["meta"]["location"].encode("latin-1", "replace"))]
    await asked.answer(_shown(form, _query(asked.arrival)), status=status, headers=headers)


async def _described(asked: _Asked, steps: Sequence[str]) -> None:
    """The configuration, and the types and attributes of what there is (RFC 7644, 4)."""
    base = asked.arrival.base
    if asked.arrival.method != "GET":
        raise InputError("OMG-G003", "this address takes GET", details={"allow": ["GET"]})
    if steps == ["ServiceProviderConfig"]:
        await asked.answer(schemas.configuration(base, MOST))
        return
    found = {"ResourceTypes": schemas.types, "Schemas": schemas.schemas}.get(steps[0])
    if found is None:
        raise InputError("OMG-G002", f"there is nothing at {asked.arrival.path[:80]!r}")
    if "filter" in _query(asked.arrival):
        raise InputError("OMG-G006", "what is supported is not filtered")
    forms = found(base)
    if len(steps) == 1:
        await asked.answer(listed(forms, len(forms), 1))
        return
    one = next((each for each in forms if each["id"] == steps[1]), None)
    if one is None:
        raise InputError("OMG-G002", f"there is nothing at {asked.arrival.path[:80]!r}")
    await asked.answer(one)


def _flow(core: Core, name: str) -> AnyFlow:
    for offer in core.offers():
        if (offer.service, offer.name) == ("directory", name):
            return offer.flow
    raise InputError("OMG-I002", "the directory is not installed here")


def _query(arrival: Arrival) -> dict[str, str]:
    return {name.lower(): value for name, value in arrival.parameters().items() if name.lower() in _LISTING}


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, "")
    if not text:
        return usual
    try:
        return max(-1, min(1_000_000, int(text)))
    except ValueError:
        raise invalid(f"{name} is a number", "invalidValue") from None


def _shown(form: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    wanted, hidden = ([each for each in query.get(name, "").split(",") if each.strip()] for name in ("attributes", "excludedattributes"))
    return shown(form, wanted, hidden)


def _version(arrival: Arrival) -> int | None:
    """The version that a change is made for, where the request names one. Raises InputError (OMG-G001)."""
    text = arrival.header("if-match").strip()
    if text in ("", "*"):
        return None
    number = text.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise invalid("If-Match holds no version of this installation's", "invalidVers")
    return int(number)
