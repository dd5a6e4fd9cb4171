"""WebSocket sessions and the passports that opened them: what is shown beside a passport neither keeps a session nor ends one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.served import Served, served
from omega.gateway.rpc import entrance
from omega.gateway.rpc.session import Limits
from omega.host.clock import SystemClock
from omega.host.tenants import Bearer
from omega.kernel.ids import PASSPORT, new_id
from omega.trust.dpop import prove, thumbprint
from omega.wire.rpc import CLOSE_REVOKED, SUBPROTOCOL
from trust.signers import P256Signer

SOON_S = 60.0
LOOKS = 4
"""How often the passport is looked at again before a session counts as one that goes on."""


def now() -> float:
    return SystemClock().now_us() / 1_000_000


def passport(here: Served, holder: str = "") -> str:
    """A passport of the owner's, bound to a key where `holder` names one."""
    world = here.omega.world
    bearer = Bearer(tenant="local", principal="person:ada", roles=("owner",), capabilities=("*",))
    jti = new_id(PASSPORT, now_ms=int(now() * 1_000), entropy=world.entropy.take(10))
    token: str = world.authority.issue(
        tenant=bearer.tenant, principal=bearer.principal, groups=bearer.roles, capabilities=bearer.capabilities,
        ttl_s=600, now=now(), jti=jti, holder=holder,
    )  # fmt: skip
    return token


async def asked(socket: aiohttp.ClientWebSocketResponse, method: str, **params: Any) -> dict[str, Any]:
    await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    found: dict[str, Any] = await socket.receive_json(timeout=SOON_S)
    return found


def run(work: Any, home: Path) -> Any:
    async def main() -> Any:
        async with served(home, mounted=lambda house: [entrance(house, Limits(recheck_s=0.02))]) as here, aiohttp.ClientSession() as http:
            return await asyncio.wait_for(work(here, http), 60)

    return asyncio.run(main())


def looked_at(here: Served, times: int) -> Any:
    """Done once the passports of sessions have been looked at so often from now on."""
    done = asyncio.Event()
    ask, left = here.house.visitor, [times]

    def visitor(*given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] <= 0:
            done.set()
        return ask(*given, **more)

    object.__setattr__(here.house, "visitor", visitor)
    return done


@pytest.mark.promise("SDK-07")
def test_a_stray_proof_beside_a_bearer_passport_counts_for_nothing(tmp_path: Path) -> None:
    """A proof counts once: were it looked at again with the passport, the session would end; were the passport not, it would never end."""

    async def work(here: Served, http: aiohttp.ClientSession) -> None:
        token = passport(here)
        proof = prove(P256Signer(7), passport=token, method="GET", address=f"{here.url}/rpc", now=now(), jti="stray")
        for stray in (proof, "nonsense", ""):
            headers = {"authorization": f"Bearer {token}", "dpop": stray}
            async with http.ws_connect(f"{here.url}/rpc", protocols=(SUBPROTOCOL,), headers=headers) as socket:
                done = looked_at(here, LOOKS)
                await asyncio.wait_for(done.wait(), SOON_S)
                assert "result" in await asked(socket, "rpc.ping")
        async with http.ws_connect(f"{here.url}/rpc", headers={"authorization": f"Bearer {token}", "dpop": proof}) as socket:
            await here.omega.revoke(here.omega.world.authority.verify(token, now=now()).passport)
            message = await socket.receive(timeout=SOON_S)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, CLOSE_REVOKED)

    run(work, tmp_path)


@pytest.mark.promise("SDK-07")
@pytest.mark.promise("DOOR-14")
def test_a_bound_passport_opens_a_session_with_its_proof_alone_and_calls_nothing_once_revoked(tmp_path: Path) -> None:
    async def work(here: Served, http: aiohttp.ClientSession) -> None:
        signer = P256Signer(8)
        token = passport(here, thumbprint(signer))
        proof = prove(signer, passport=token, method="GET", address=f"{here.url}/rpc", now=now(), jti="one")
        for headers in ({"authorization": f"Bearer {token}", "dpop": proof}, {"authorization": f"Bearer {token}"}):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(f"{here.url}/rpc", headers=headers)
        async with http.ws_connect(f"{here.url}/rpc", headers={"authorization": f"DPoP {token}", "dpop": proof}) as socket:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(f"{here.url}/rpc", headers={"authorization": f"DPoP {token}", "dpop": proof})
            answer = await asked(socket, "insights.summary", input={"hours": 1})
            assert "result" in answer, answer
            refused = await asked(socket, "rpc.authorize", passport=token)
            assert json.dumps(refused).count("OMG-T001"), refused
            await here.omega.revoke(here.omega.world.authority.verify(token, now=now(), holder=thumbprint(signer)).passport)
            answer = await asked(socket, "insights.summary", input={"hours": 1})
            assert answer["error"]["data"]["code"] == "OMG-T001", answer

    run(work, tmp_path)
