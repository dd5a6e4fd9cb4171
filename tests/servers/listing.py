"""A registry of MCP servers by the official API, on aiohttp: pages with cursors, `updated_since`, and entries that a test can change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from omega.wire.registry import Listed, Wanted, answer, page_of


def entry(name: str, version: str = "1.0.0", *, updated: str = "2026-11-01T10:00:00Z", latest: bool = True, **server: Any) -> Listed:
    """An entry as a registry has it."""
    body = {
        "name": name,
        "version": version,
        "description": f"What {name} does",
        "packages": [
            {"registryType": "pypi", "identifier": name.partition("/")[2], "version": version, "transport": {"type": "stdio"}},
        ],
        **server,
    }
    return Listed(body, "active", "2026-10-01T10:00:00Z", updated, latest)


@dataclass
class Registry:
    """A running registry: where it is, what it lists, and the queries that it got. `broken` makes the answer to a page something else."""

    url: str = ""
    entries: list[Listed] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    broken: dict[int, tuple[int, str]] = field(default_factory=dict)
    page: int = 100


@asynccontextmanager
async def listing(*entries: Listed, page: int = 100) -> AsyncIterator[Registry]:
    """Serve it on a free port of this machine."""
    made = Registry(entries=list(entries), page=page)

    async def servers(request: web.Request) -> web.Response:
        made.queries.append(dict(request.query))
        made.tokens.append(request.headers.get("authorization", ""))
        if len(made.queries) in made.broken:
            status, text = made.broken[len(made.queries)]
            return web.Response(status=status, text=text, content_type="application/json")
        wanted = Wanted.from_query({**request.query, "limit": str(made.page)})
        return web.json_response(answer(page_of(made.entries, wanted)))

    app = web.Application()
    app.router.add_get("/v0.1/servers", servers)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
