"""An agent at a host of its own: the program that answers what the roster of an Omega elsewhere asks it.

    async with Client("https://omega.example:9405", tls=context) as omega:
        await host(omega, "researcher", research)

`research` is given the task and gives the answer; what it raises is told as the reason why there is none. It is called at least once for
each task: a task whose answer was under way when this process ended comes again, unless `after` says that it was dealt with. Who this is,
the certificate in `tls` or the passport of the client says; what it may is for the policies there. An answer that nobody takes (whoever
asked has gone, or a policy says no) is noted in the log `omega.client`, and is dealt with: the tasks behind it are done all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from omega.client.client import Client
from omega.kernel.errors import Denied, InputError

WAIT_S = 20.0
"""How long one look for work waits for the first, in seconds."""

PAGE = 20
MAX_WORDS = 500
"""How much (characters) is told of why there is no answer."""

NOT_NOW: Final = ("OMG-T", "OMG-W004", "OMG-W009", "OMG-W011")
"""How the codes of refusals begin that are about this program or this moment, not about one task: a passport, a rate, a quarantine."""

log = logging.getLogger("omega.client")

Work = Callable[[Any], Awaitable[Any]]


async def host(client: Client, agent: str, work: Work, *, after: int = -1, dealt_with: Callable[[int], None] = lambda _: None) -> None:
    """Answer for `agent` until this is cancelled, beginning after the position `after`; `dealt_with` is told each position to go on after.

    Raises OmegaError when the installation lets this program in no more, or cannot be reached; the task in hand comes again.
    """
    wanted = {"types": ["agent:asked"], "keys": [agent], "limit": PAGE, "wait_s": WAIT_S}
    while True:
        page = await client.call("events.read", {**wanted, "after": after})
        for event in page["events"]:
            await _answer(client, event["data"], work)
            dealt_with(int(event["sequence"]))
        after = int(page["position"])
        dealt_with(after)


async def _answer(client: Client, asked: dict[str, Any], work: Work) -> None:
    try:
        said: dict[str, Any] = {"answer": await work(json.loads(asked["task"]))}
    except Exception as error:  # noqa: BLE001 - the work is somebody else's: whatever it raises is the reason why there is no answer
        said = {"error": f"{type(error).__name__}: {error}"[:MAX_WORDS]}
    try:
        await client.decide(asked["execution"], "signal", {"name": asked["signal"], "value": said})
    except (InputError, Denied) as refused:  # whoever asked has gone, has an answer already, or is not ours to answer
        if refused.code.startswith(NOT_NOW):
            raise
        log.warning("the answer of %s to %s is not taken: %s", asked["agent"], asked["execution"], refused)
