"""Asking the gateway at work for another sign-in link, as the owner of its data folder."""

from __future__ import annotations

import asyncio
import json
import os

from omega.adapters.mcp.http import HttpFault, Pool
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from omega.host.whereabouts import known
from omega.kernel.errors import InputError, from_record

PATIENCE_S = 10.0
MAX_ANSWER = 1 << 20
NOBODY = "the gateway of this folder does not answer"


async def invited(home: str | os.PathLike[str] | None) -> str:
    """A new link. Raises InputError (OMG-X001) when no gateway answers for this folder, and what it refuses with."""
    settings = Settings.load(home)
    url = known(settings.home)
    if not url:
        raise InputError("OMG-X001", NOBODY, advice="start it: omega up")
    passport = Identity.load(settings, SystemEntropy()).passport("", now_us=SystemClock().now_us())
    pool = Pool(f"{url}/sign-in/link", {}, MAX_ANSWER)
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await pool.ask("POST", b"", {"Authorization": f"Bearer {passport}"})
            body = json.loads(await pool.whole(answer))
    except (HttpFault, TimeoutError, ValueError) as error:
        raise InputError("OMG-X001", NOBODY, advice="start it: omega up") from error
    finally:
        pool.close()
    if answer.status != 200:
        told = {"family": "denied", "code": body.get("code"), "cause": str(body.get("detail", "")), "advice": str(body.get("advice", ""))}
        raise from_record(told)
    return f"{url}{body['path']}"
