"""Three tenants, three workers, two gateways on one database, mutual TLS between them, keys rotated twice under load: no failed call, and
no byte of another tenant."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from host.test_workload import Guarded
from omega import Context, flow
from omega.adapters.certificates import rotation
from omega.host import certifying, house, keys, workload
from omega.host.clock import SystemEntropy
from omega.host.identity import Identity
from omega.host.proof import prove
from omega.host.reading import Archive
from omega.host.serving import Service, Stop, serve
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.effects import Effect
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Search
from omega.kernel.scope import ANY
from omega.kernel.service import Method, Offer
from servers.nats import program
from servers.postgres import PostgresServer
from servers.postgres import serve as started

TENANTS = ("ten_a", "ten_b", "ten_c")
CALLS = 12
"""Calls that come to their end, over all tenants and gateways, between two rotations."""
QUEUE = "work"


@flow
def shout(text: str) -> str:
    return f"{text}!"


@flow
async def relay(ctx: Context, text: str) -> str:
    """Has a worker do it."""
    return str(await ctx.join(await ctx.start(shout, text, queue=QUEUE)))


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    yield from started()


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation on a database, with an authority and a guarded NATS server."""
    program()
    monkeypatch.setenv("OMEGA_STORE", server.fresh())
    monkeypatch.setattr(rotation, "LOOK_S", 0.1)
    home = tmp_path / "home"
    asyncio.run(certifying.change(home, "establish"))
    workload.credentials(Settings.load(home), "nats", folder=tmp_path / "nats")
    nats = Guarded(tmp_path, tmp_path / "nats")
    monkeypatch.setenv("OMEGA_WAKEUPS", f"tls://127.0.0.1:{nats.port}")
    yield home
    nats.kill()
    shutil.rmtree(nats.folder, ignore_errors=True)


class Load:
    """Calls of every tenant through every gateway, until it is told to stop. Whatever fails ends it."""

    def __init__(self, home: Path, urls: list[str]) -> None:
        self._home, self._urls = home, urls
        self._mutual = workload.calling(Settings.load(home), "client")
        self.done = dict.fromkeys(TENANTS, 0)
        self.stopped = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for tenant in TENANTS:
                for url in self._urls:
                    group.create_task(self._calls(tenant, url))

    async def until(self, more: int, loading: asyncio.Task[None]) -> None:
        """So many more calls have come to their end."""
        wanted = sum(self.done.values()) + more
        while sum(self.done.values()) < wanted:
            if loading.done():
                loading.result()
            await asyncio.sleep(0.02)

    def passport(self, tenant: str) -> str:
        identity, now = Identity.load(Settings.load(self._home), SystemEntropy()), time.time()
        jti = new_id(PASSPORT, now_ms=int(now * 1_000), entropy=SystemEntropy().take(10))
        facts = {"principal": "person:ada", "groups": ("owner",), "capabilities": (ANY,), "ttl_s": 600}
        return identity.authority.issue(tenant=tenant, now=now, jti=jti, **facts)  # type: ignore[arg-type]

    def client(self, url: str, tenant: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.passport(tenant)}"}
        return httpx.AsyncClient(base_url=url, verify=self._mutual(), headers=headers, trust_env=False, timeout=60)

    async def _calls(self, tenant: str, url: str) -> None:
        while not self.stopped:
            async with self.client(url, tenant) as client:  # a new connection each time, with the certificate and passport of now
                text = f"{tenant} {self.done[tenant]}"
                answer = await client.post("/api/v1/load/relay", json=text)
                assert answer.status_code == 200 and answer.json() == f"{text}!", answer.text
                self.done[tenant] += 1


async def gateway(home: Path, stop: Stop) -> tuple[asyncio.Task[None], str]:
    """A gateway that serves, and where."""
    where: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def tell(event: str, facts: Any) -> None:
        if event == "up":
            where.set_result(facts["url"])

    opening = Opening(port=0, mutual="demand", drain_s=2.0)
    serving = asyncio.create_task(up(home, opening, tell, stop))
    await asyncio.wait({serving, where}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    return serving, where.result()


def worker(home: Path, stop: Stop) -> asyncio.Task[Any]:
    service = Service(targets=[Target("shout", shout, ())], queues=(QUEUE,), at_once=8, lease_s=10.0, sweep_s=0.2, drain_s=2.0)
    return asyncio.create_task(serve(home, service, lambda event, facts: None, stop))


async def rotated(home: Path, partner: str) -> None:
    """Another passport key, another certificate of the issuer, another root in the bundle, and out again what came before."""
    await keys.rotate(home, "passport")
    await certifying.change(home, "renew")
    await certifying.change(home, "trust", partner)
    await asyncio.sleep(0)
    await certifying.change(home, "distrust", partner)


def partner_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.delenv("OMEGA_STORE")
        patch.delenv("OMEGA_WAKEUPS")
        patch.setenv("OMEGA_TRUST_DOMAIN", "partner.example")
        asyncio.run(certifying.change(tmp_path / "partner", "establish"))
    return (tmp_path / "partner" / "keys" / "ca-roots.pem").read_text()


@pytest.mark.slow
@pytest.mark.promise("TRUST-17")
@pytest.mark.promise("TRUST-07")
def test_keys_rotate_twice_under_load_and_no_call_fails(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = partner_roots(tmp_path, monkeypatch)
    monkeypatch.setattr(house, "offers", lambda: [Offer("load", "relay", relay, Method(effect=Effect.PURE))])

    async def run() -> None:
        stop = Stop()
        gateways = [await gateway(home, stop) for _ in range(2)]
        workers = [worker(home, stop) for _ in range(3)]
        load = Load(home, [url for _, url in gateways])
        loading = asyncio.create_task(load.run())
        await load.until(CALLS, loading)
        for _ in range(2):
            await rotated(home, partner)
            await load.until(CALLS, loading)
        load.stopped = True
        await loading
        assert all(load.done.values()), load.done
        await foreign_is_not_there(load, gateways[0][1])
        stop.now()
        await asyncio.gather(*workers, *(serving for serving, _ in gateways))

    asyncio.run(asyncio.wait_for(run(), 110))
    with Archive.open(home) as archive:
        owners = {line.owner for tenant in TENANTS for line in archive.reader.lines(tenant=tenant)}
        assert owners == {""}
        assert {proof.tenant for proof in prove(archive)} >= set(TENANTS) and all(proof.sound for proof in prove(archive))
        for tenant in TENANTS:
            _only_its_own(archive, tenant)


async def foreign_is_not_there(load: Load, url: str) -> None:
    """An execution of one tenant is not there for another one, by its exact id."""
    async with load.client(url, "ten_a") as client:
        mine = (await client.get("/api/v1/executions")).json()
        name = (mine.get("executions") or mine.get("items"))[0]["execution"]
        assert (await client.get(f"/api/v1/executions/{name}")).status_code == 200
    async with load.client(url, "ten_b") as client:
        answer = await client.get(f"/api/v1/executions/{name}")
        assert answer.status_code == 404 and "ten_a" not in answer.text


def _only_its_own(archive: Archive, tenant: str) -> None:
    """Everything that a tenant's executions hold, opened: its own name, and nobody else's."""
    from omega.runtime.recovery import load

    others = [other.encode() for other in TENANTS if other != tenant]
    opened: Callable[[Any, Any], bytes] = lambda book, row: book.open(row) if row.payload else b""  # noqa: E731
    for line in archive.reader.search(Search(tenant=tenant, limit=200)):
        past, book, _ = load(archive.world, line.execution)
        whole = b"".join(opened(book, row) for row in past.rows)
        assert tenant.encode() in whole and not any(other in whole for other in others)
