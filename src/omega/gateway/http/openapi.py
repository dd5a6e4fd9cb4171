"""The description of the interface (OpenAPI 3.1), made of the same data that answers: services, their types, their offers, the codes.

A schema of a flow's type is JSON Schema 2020-12, which is what OpenAPI 3.1 uses, so it goes in as it is; only its `$defs` move to
`components/schemas`, under the operation's name, because references in a document start at its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omega.gateway.http.executions import DECISIONS, FILTERS, LARGEST_PAGE, PAGE, REQUIRED
from omega.gateway.http.schemas import DECIDED, EVENT, EXECUTION, LATER, NAME, OF_FIELD, OUTCOME, PROBLEM, SCHEMAS, VERBS
from omega.kernel.effects import Effect
from omega.kernel.journal import Status
from omega.kernel.service import Offer
from omega.kernel.types import Type

VERSION = "1"
_SCALARS = ("string", "integer", "number", "boolean")
_REFUSALS = {
    "400": "the request is not understood, or its input does not fit",
    "401": "no passport came that counts",
    "403": "denied by policy, capability missing, or the host or origin is not allowed",
    "404": "nothing there, or not for this caller",
    "default": "any other error, as problem details",
}
_HEADERS = {
    "IdempotencyKey": ("Idempotency-Key", "a repeat with the same key and content gives the recorded outcome", {"maxLength": 255}),
    "Prefer": ("Prefer", "`respond-async` to be told where to look, `wait=10` to wait so many seconds for the end (RFC 7240)", {}),
    "Traceparent": ("traceparent", "the trace that the call goes on with (W3C Trace Context)", {}),
}
_LIMITS = (
    "Every call also takes the headers `omega-budget` (what it may spend at most: `cost_micros=100;currency=USD;tokens=20;calls=3`) and "
    "`omega-deadline` (when it must have ended, in Unix seconds)."
)

MAX_IN_QUERY = 4_000
"""Longest text, in characters, of a method that has a GET form: each may take twelve bytes there, and a head has 64 KiB in all."""


def reads(offer: Offer) -> bool:
    """Whether a method has a GET form: it changes nothing, and its input is an object of plain fields, or nothing."""
    return offer.flow.effect.rank <= Effect.READ.rank and not offer.method.stream and is_flat(offer.flow.input.schema())


def is_flat(schema: Mapping[str, Any]) -> bool:
    """Whether a query can say every value of `schema`: an object whose fields are numbers, truth values, and texts that fit into one."""
    if schema.get("type") != "object" or schema.get("additionalProperties"):
        return False
    fields = schema.get("properties", {}).values()
    return all(field.get("type") in _SCALARS and field.get("maxLength", 0) <= MAX_IN_QUERY for field in fields)


def document(offers: Sequence[Offer], *, base: str = "") -> dict[str, Any]:
    """The whole description; `base` is scheme and host of this installation."""
    schemas: dict[str, Any] = dict(SCHEMAS)
    paths: dict[str, Any] = {}
    for offer in offers:
        if "http" in offer.method.entrances:
            paths[f"/api/v1/{offer.service}/{offer.name}"] = _method(offer, schemas)
    paths |= _about_flows() | _about_executions()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Omega",
            "version": VERSION,
            "summary": "governed calls: each one is decided by policy, run durably, and on record",
            "description": _LIMITS,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base or "/"}],
        "security": [{"passport": []}],
        "tags": [*({"name": name} for name in dict.fromkeys(each.service for each in offers)), *({"name": name} for name in _TAGS)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {
                name: {"name": header, "in": "header", "description": about, "schema": {"type": "string", **more}}
                for name, (header, about, more) in _HEADERS.items()
            },
            "securitySchemes": {
                "passport": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "a passport or an API key; a bound passport comes as `DPoP` with its proof (RFC 9449)",
                }
            },
        },
    }


_TAGS = ("flows", "tools", "modules", "executions", "caller")


def _method(offer: Offer, schemas: dict[str, Any]) -> dict[str, Any]:
    """The operations of one method."""
    flow, name = offer.flow, offer.flow.name
    given, result = _schema(flow.input, f"{name}.input", schemas), _schema(flow.output, f"{name}.result", schemas)
    about = {
        "tags": [offer.service],
        "summary": offer.summary.rstrip("."),
        "description": "\n\n".join(filter(None, [flow.description, _demands(offer)])),
        "responses": _responses(result, stream=offer.method.stream),
    }
    content: dict[str, Any] = {"schema": given}
    if offer.method.example:
        content["example"] = dict(offer.method.example)
    parameters: list[dict[str, Any]] = [{"$ref": f"#/components/parameters/{each}"} for each in _HEADERS]
    if offer.method.keyed:
        parameters[0] = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 255}}
    required = flow.input.name != "None" and bool(flow.input.schema().get("required"))
    body = {"required": required, "content": {"application/json": content}}
    found = {"post": {"operationId": name, **about, "parameters": parameters, "requestBody": body}}
    if reads(offer):
        schema = flow.input.schema()
        fields = [
            {"name": field, "in": "query", "required": field in schema.get("required", ()), "schema": dict(how)}
            for field, how in schema.get("properties", {}).items()
        ]
        found["get"] = {"operationId": f"{name}.get", **about, "parameters": fields}
    return found


def _demands(offer: Offer) -> str:
    """What a method demands of its caller, in a sentence for people."""
    flow, method = offer.flow, offer.method
    said = [f"effect: {flow.effect.value}"]
    said += [f"needs: {', '.join(sorted(flow.needs))}"] if flow.needs else []
    said += [f"for: {' or '.join(method.roles)}"] if method.roles else []
    said += [f"waits for the approval of: {method.role}"] if method.role else []
    said += [f"at most {method.rate} by one caller"] if method.rate is not None else []
    return "; ".join(said)


def _schema(of: Type, name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a type, which goes into `schemas` under `name` with whatever it defines."""
    schema = dict(of.schema())
    defined = schema.pop("$defs", {})
    moved = {f"#/$defs/{each}": f"#/components/schemas/{name}.{each}" for each in defined}
    for each, definition in defined.items():
        schemas[f"{name}.{each}"] = _moved(definition, moved)
    schemas[name] = _moved(schema, moved)
    return {"$ref": f"#/components/schemas/{name}"}


def _moved(part: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(part, Mapping):
        referred = part.get("$ref")
        kept = {key: _moved(value, moved) for key, value in part.items()}
        return kept | {"$ref": moved.get(referred, referred)} if isinstance(referred, str) else kept
    return [_moved(each, moved) for each in part] if isinstance(part, list) else part


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _responses(schema: Mapping[str, Any], *, said: str = "the result", later: bool = True, stream: bool = False) -> dict[str, Any]:
    content = _json(schema) | ({"text/event-stream": {"schema": EVENT}} if stream else {})
    found = {"200": {"description": said, "content": content}}
    if later:
        found["202"] = {"description": "under way, or waiting for somebody; look again at `location`", "content": _json(LATER)}
    told = {"application/problem+json": {"schema": PROBLEM}}
    return found | {status: {"description": text, "content": told} for status, text in _REFUSALS.items()}


def _operation(tag: str, name: str, summary: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    later = more.pop("later", False)
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": _responses(schema, later=later), **more}


def _list_of(name: str, *, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    fields = {name: {"type": "array", "items": {"type": "object"}}, **(more or {})}
    return {"type": "object", "required": [name], "properties": fields}


def _body(schema: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _path(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string", "minLength": 1}}


def _about_flows() -> dict[str, Any]:
    anything: dict[str, Any] = {"description": "the input of the flow"}
    module = {
        "type": "object",
        "properties": {"method": {"type": "string"}, "input": {}},
        "additionalProperties": False,
        "description": "the method of a service and its input; the input alone for a flow",
    }
    keyed = [{"$ref": f"#/components/parameters/{each}"} for each in _HEADERS]
    called = {"later": True, "requestBody": _body(anything)}
    return {
        "/api/v1/me": {"get": _operation("caller", "me", "who is calling, with which rights", {"type": "object"})},
        "/api/v1/services": {"get": _operation("modules", "services", "what is installed, with its types", _list_of("services"))},
        "/api/v1/flows": {"get": _operation("flows", "flows", "the flows that the operator put up", _list_of("flows"))},
        "/api/v1/flows/{flow}/run": {
            "post": _operation("flows", "run", "run a flow", {}, parameters=[_path("flow", "its name"), *keyed], **called)
        },
        "/api/v1/servers": {"get": _operation("tools", "servers", "the tool servers and how each is", _list_of("servers"))},
        "/api/v1/tools": {"get": _operation("tools", "tools", "the accepted tools of upstream servers", _list_of("tools"))},
        "/api/v1/tools/{server}/{tool}/call": {
            "post": _operation(
                "tools",
                "call",
                "call a tool",
                {},
                parameters=[_path("server", "the server's name"), _path("tool", "the tool's name"), *keyed],
                **called,
            )
        },
        "/api/v1/modules/{module}/execute": {
            "post": _operation(
                "modules",
                "execute",
                "call a service or a flow by its name",
                {},
                later=True,
                parameters=[_path("module", "a service or a flow"), *keyed],
                requestBody=_body(module, required=True),
            )
        },
    }


def _about_executions() -> dict[str, Any]:
    one = _path("execution", "its id")
    place = "/api/v1/executions"
    seconds = {"name": "wait", "in": "query", "description": "seconds to wait for its end", "schema": {"type": "integer", "minimum": 0}}
    values = {"name": "values", "in": "query", "description": "with inputs and results", "schema": {"type": "boolean"}}
    page = _list_of("executions", more={"next": {"type": ["string", "null"]}})
    page["properties"]["executions"]["items"] = EXECUTION
    events = _operation("executions", "events", "its parts as they are made, then its outcome, as server-sent events", {}, parameters=[one])
    events["responses"]["200"]["content"] = {"text/event-stream": {"schema": EVENT}}
    found = {
        place: {"get": _operation("executions", "find", "list executions, the newest first", page, parameters=_filters())},
        f"{place}/{{execution}}": {
            "get": _operation("executions", "show", "one, step by step", {"type": "object"}, parameters=[one, values])
        },
        f"{place}/{{execution}}/outcome": {
            "get": _operation("executions", "outcome", "how it ended or stands", OUTCOME, parameters=[one, seconds])
        },
        f"{place}/{{execution}}/events": {"get": events},
    }
    for verb, fields in DECISIONS.items():
        schema = {
            "type": "object",
            "properties": {name: NAME if name == "name" else OF_FIELD[kind] for name, kind in fields.items()},
            "required": list(REQUIRED.get(verb, ())),
            "additionalProperties": False,
        }
        body = _body(schema, required=verb in REQUIRED)
        found[f"{place}/{{execution}}/{verb}"] = {
            "post": _operation("executions", verb, VERBS[verb], DECIDED, parameters=[one], requestBody=body)
        }
    return found


def _filters() -> list[dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {
        "status": {"type": "string", "description": f"one or more of {', '.join(each.value for each in Status)}, with commas between"},
        "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE},
        "since": {"type": "string", "format": "date-time"},
        "until": {"type": "string", "format": "date-time"},
        "label": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}=", "description": "NAME=VALUE"},
        "cursor": {"type": "string", "description": "`next` of the page before"},
    }
    return [{"name": name, "in": "query", "schema": known.get(name, {"type": "string"})} for name in FILTERS]
