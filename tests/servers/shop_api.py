"""A small HTTP interface with an OpenAPI document, on aiohttp: what tools are made of in tests. It notes every request that it got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ITEM = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "minLength": 1},
        "note": {"type": "string", "nullable": True},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
    },
}


def document(**changed: Any) -> dict[str, Any]:
    """The document, in OpenAPI 3.0; `changed` replaces parts at its top."""
    one = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    item = {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}}
    paths = {
        "/items": {
            "get": {
                "operationId": "listItems",
                "summary": "List items",
                "parameters": [
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}},
                    {"name": "X-Api-Key", "in": "header", "required": True, "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}}}}
                },
            },
            "post": {
                "operationId": "createItem",
                "description": "Make an item.",
                "requestBody": {"required": True, "content": item},
                "responses": {"201": {"content": item}},
            },
        },
        "/items/{id}": {
            "parameters": [one],
            "get": {"operationId": "getItem", "responses": {"200": {"content": item}, "404": {}}},
            "put": {"requestBody": {"content": item}, "responses": {"200": {"content": item}}},
            "delete": {"operationId": "deleteItem", "responses": {"204": {}}},
        },
        "/files": {
            "post": {"operationId": "upload", "requestBody": {"required": True, "content": {"multipart/form-data": {}}}, "responses": {}}
        },
        "/elsewhere": {"get": {"operationId": "elsewhere", "responses": {}}},
        "/wrong": {
            "get": {"operationId": "wrong", "responses": {"200": {"content": item}}},
        },
        "/huge": {"get": {"operationId": "huge", "responses": {}}},
        "/hang": {"get": {"operationId": "hang", "responses": {}}},
    }
    components = {
        "schemas": {"Item": ITEM},
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
    }
    return {"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}, "paths": paths, "components": components, **changed}


@dataclass
class Shop:
    """A running interface: where it is, its document, and the requests it got as (method, path with query, headers, body)."""

    url: str = ""
    told: Mapping[str, Any] = field(default_factory=document)
    got: list[tuple[str, str, Mapping[str, str], str]] = field(default_factory=list)


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    """Serve it on a free port of this machine."""
    made = Shop()

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.text()
        if request.path == "/openapi.json":
            return web.json_response(made.told)
        made.got.append((request.method, request.raw_path, dict(request.headers), body))
        return await _answer(made, request, body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


async def _answer(made: Shop, request: web.Request, body: str) -> web.StreamResponse:
    path = request.path
    if path == "/elsewhere":
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")
    if path == "/wrong":
        return web.json_response({"id": "not a number"})
    if path == "/huge":
        return web.Response(text="x" * (9 << 20))
    if path == "/hang":
        await request.content.wait_eof()
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        return web.Response(status=204)
    if path == "/items" and request.method == "GET":
        return web.json_response([{"id": 1, "name": "bolt", "note": None}])
    if request.method == "POST":
        return web.json_response({"id": 2, **json.loads(body)}, status=201)
    if request.method == "DELETE":
        return web.Response(status=204)
    known = path != "/items/404"
    given = json.loads(body) if body else {"name": "bolt"}
    return web.json_response({"id": 1, **given} if known else {"error": "no such item"}, status=200 if known else 404)
