"""Asking the gateway at work, as the owner of its data folder: for another sign-in link, and about the clients that act for the owner."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any, Final

from omega.adapters.mcp.http import HttpFault, Pool
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from omega.host.whereabouts import known
from omega.kernel.errors import InputError, from_record

PATIENCE_S = 10.0
MAX_ANSWER = 1 << 20
_GRANT: Final = re.compile(r"grt_[0-9a-f]{32}")
NOBODY = "the gateway of this folder does not answer"


async def invited(home: str | os.PathLike[str] | None) -> str:
    """A new link. Raises InputError (OMG-X001) when no gateway answers for this folder, and what it refuses with."""
    url, _, body = await _asked(home, "POST", "/sign-in/link", 200)
    return f"{url}{body['path']}"


async def connections(home: str | os.PathLike[str] | None) -> list[dict[str, Any]]:
    """What the owner has allowed clients, the newest first. Raises what `invited` raises."""
    _, _, body = await _asked(home, "GET", "/oauth/grants", 200)
    return list(body["grants"])


async def disconnected(home: str | os.PathLike[str] | None, grant: str) -> None:
    """End one of them. Raises InputError (OMG-I003) where there is none, and what `invited` raises."""
    if _GRANT.fullmatch(grant) is None:
        raise InputError("OMG-I003", "there is no such connection")
    await _asked(home, "DELETE", f"/oauth/grants/{grant}", 204)


async def _asked(home: str | os.PathLike[str] | None, method: str, path: str, good: int) -> tuple[str, int, dict[str, Any]]:
    """Where the gateway is, the status and the body of its answer."""
    settings = Settings.load(home)
    url = known(settings.home)
    if not url:
        raise InputError("OMG-X001", NOBODY, advice="start it: omega up")
    passport = Identity.load(settings, SystemEntropy()).passport("", now_us=SystemClock().now_us())
    pool = Pool(f"{url}{path}", {}, MAX_ANSWER)
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await pool.ask(method, b"", {"Authorization": f"Bearer {passport}"})
            body = json.loads(await pool.whole(answer) or b"{}")
    except (HttpFault, TimeoutError, ValueError) as error:
        raise InputError("OMG-X001", NOBODY, advice="start it: omega up") from error
    finally:
        pool.close()
    if answer.status != good:
        told = {"family": "denied", "code": body.get("code"), "cause": str(body.get("detail", "")), "advice": str(body.get("advice", ""))}
        raise from_record(told)
    return url, answer.status, body
