"""The certificate authority of an installation: established, renewed and extended on record, and used by its listeners and clients."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega import flow
from omega.adapters.nats import NatsWakeups
from omega.chronicle.record import decode
from omega.host import admitting, certifying, workload
from omega.host.doctor import examine
from omega.host.reading import Archive
from omega.host.serving import Stop
from omega.host.settings import Settings
from omega.host.targets import Target
from omega.host.up import Opening, up
from omega.kernel.errors import Denied, InputError, StorageError
from omega.trust.sealing import Keyring
from servers.nats import NatsServer, program


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with an authority."""
    home = tmp_path / "home"
    asyncio.run(certifying.change(home, "establish"))
    return home


def test_without_an_authority_there_are_no_certificates(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        certifying.shown(tmp_path / "home")
    with pytest.raises(InputError):
        workload.credentials(Settings.load(tmp_path / "home"), "worker/a")


@pytest.mark.promise("TRUST-17")
def test_changes_are_on_record_and_hold_no_key(home: Path) -> None:
    asyncio.run(certifying.certify(home, "worker/mail-3", home / "out", ["db.example"]))
    key = (home / "out" / "key.pem").read_bytes().splitlines()[1]
    with Archive.open(home) as archive:
        kinds = [(leaf.kind, leaf.step.partition("#")[0]) for leaf in map(decode, archive.reader.leaves("local"))]
        assert kinds.count(("outcome", "change-certificates")) == 2, kinds
    assert all(key not in path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "key.pem")
    with pytest.raises(Denied) as caught:
        asyncio.run(certifying.certify(home, "../admin", home / "out", []))
    assert caught.value.code == "OMG-T010"


def test_establishing_again_changes_nothing_and_renewing_gives_the_issuer_another_year(home: Path) -> None:
    before = certifying.shown(home)
    assert asyncio.run(certifying.change(home, "establish")) == before
    after = asyncio.run(certifying.change(home, "renew"))
    assert after["roots"] == before["roots"] and after["issuer_ends_s"] >= before["issuer_ends_s"]
    (home / "keys" / "ca-root.key").rename(home / "root-in-a-safe.key")
    assert not certifying.shown(home)["root_key_here"]
    assert workload.credentials(Settings.load(home), "worker/a").ends_s > time.time()  # the issuer goes on without it
    with pytest.raises(InputError):
        asyncio.run(certifying.change(home, "renew"))


def test_roots_of_others_come_and_go_and_the_own_one_stays(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_TRUST_DOMAIN", "partner.example")
    asyncio.run(certifying.change(tmp_path / "partner", "establish"))
    theirs = (tmp_path / "partner" / "keys" / "ca-roots.pem").read_text()
    monkeypatch.delenv("OMEGA_TRUST_DOMAIN")
    assert len(asyncio.run(certifying.change(home, "trust", theirs))["roots"]) == 2
    assert len(asyncio.run(certifying.change(home, "trust", theirs))["roots"]) == 2
    assert len(asyncio.run(certifying.change(home, "distrust", theirs))["roots"]) == 1
    own = (home / "keys" / "ca-roots.pem").read_text()
    for act, text in (("distrust", own), ("trust", ""), ("trust", (home / "keys" / "ca.key").read_text()), ("burn", "")):
        with pytest.raises(InputError):
            asyncio.run(certifying.change(home, act, text))


@pytest.mark.promise("TRUST-17")
def test_the_doctor_tells_what_listeners_agree_upon(home: Path) -> None:
    (found,) = [finding for finding in examine(home, servers=False) if finding.what == "tls"]
    assert found.state == "ok" and found.text.startswith("TLSv1.3 ")
    assert ("not post-quantum" in found.text) == (ssl.OPENSSL_VERSION_INFO < (3, 5))


@pytest.mark.promise("TRUST-17")
def test_the_name_of_the_caller_reaches_the_handler_of_the_gateway(home: Path) -> None:
    front = pytest.importorskip("omega.gateway.front.server")
    from omega.gateway.front.door import PEER

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope.get(PEER, "").encode()})

    async def run() -> None:
        settings = Settings.load(home)
        gateway, worker = workload.credentials(settings, "gateway"), workload.credentials(settings, "worker/mail-3")
        listener = front.Listener(app, front.Place(host="127.0.0.1", port=0, tls=gateway.server()))
        await listener.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=worker.client())
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
        finally:
            await listener.stop()
        assert b"spiffe://omega.local/worker/mail-3" in answer

    asyncio.run(run())


PATIENCE = 60
"""How often a hint is given, a second apart, before a test gives up."""


class Guarded(NatsServer):
    """A NATS server that talks to workloads of the installation alone."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self._config = folder / "nats.conf"
        parts = {"cert_file": "chain.pem", "key_file": "key.pem", "ca_file": "bundle.pem"}
        lines = "\n".join(f"  {name}: {json.dumps(str(certificates / file))}" for name, file in parts.items())
        self._config.write_text(f"tls {{\n{lines}\n  verify: true\n}}\n")
        super().__init__()

    def start(self) -> None:
        """As its base class does, with the configuration."""
        real, config = subprocess.Popen, self._config

        def begun(command: list[Any], **facts: Any) -> Any:
            return real([*command, "--config", config], **facts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules["servers.nats"].subprocess, "Popen", begun)
            super().start()


@pytest.mark.slow
@pytest.mark.promise("TRUST-17")
def test_hints_travel_over_mutual_tls(home: Path, tmp_path: Path) -> None:
    program()
    settings = Settings.load(home)
    workload.credentials(settings, "nats", folder=tmp_path / "nats")
    server = Guarded(tmp_path, tmp_path / "nats")

    async def run() -> None:
        address = f"tls://127.0.0.1:{server.port}"
        first = await NatsWakeups.open(address, tls=workload.calling(settings, "worker/a"))
        second = await NatsWakeups.open(address, tls=workload.calling(settings, "worker/b"))
        for _ in range(PATIENCE):  # a hint may be lost: a connection that is just coming back does not keep it
            await first.hint("mail")
            if await second.wait(["mail"], 1.0):
                break
        else:
            pytest.fail("no hint arrived")
        await first.aclose()
        await second.aclose()
        with pytest.raises(StorageError):
            await NatsWakeups.open(address)

    try:
        asyncio.run(run())
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


@flow
def double(n: int) -> int:
    return n * 2


@pytest.mark.promise("TRUST-17")
def test_a_workload_calls_by_its_certificate_alone_once_it_was_let_in(home: Path) -> None:
    """The whole house with mutual TLS: nobody, somebody unknown, somebody admitted, and somebody shut out again."""
    settings = Settings.load(home)
    worker = workload.credentials(settings, "worker/mail-3")
    name = "spiffe://omega.local/worker/mail-3"
    entry = asyncio.run(certifying.admit(home, name, groups=["owner"], capabilities=["flows:run"]))
    assert entry.principal == "service:worker/mail-3"
    (home / "policies").mkdir()
    policy = '@id("workers-act")\n@reason("workers run flows")\npermit (principal is Service, action, resource);\n'
    (home / "policies" / "workers.cedar").write_text(policy)
    events: asyncio.Queue[tuple[str, Any]]

    async def run() -> None:
        nonlocal events
        events, stop = asyncio.Queue(), Stop()
        opening = Opening(port=0, targets=(Target("double", double, ()),), mutual="demand", drain_s=1.0)
        serving = asyncio.create_task(up(home, opening, lambda event, facts: events.put_nowait((event, facts)), stop))
        try:
            told = dict([await _next(events, serving)])
            (seen,) = told["up"]["listeners"]
            assert seen["tls"] == "TLSv1.3" and seen["post_quantum"] == (ssl.OPENSSL_VERSION_INFO >= (3, 5))
            url = told["up"]["url"]
            assert seen["address"] == url
            with pytest.raises(httpx.HTTPError):
                await _called(url, _nobody(home))
            stranger = await _called(url, workload.credentials(settings, "worker/other").client())
            assert stranger.status_code == 401
            known = await _called(url, worker.client())
            assert known.status_code == 200 and known.json() == 42, known.text
        finally:
            stop.now()
            await serving

    asyncio.run(asyncio.wait_for(run(), 90))
    with Archive.open(home) as archive:
        callers = {line.principal for line in archive.reader.lines(tenant="local") if line.flow == "double"}
    assert callers == {"service:worker/mail-3"}
    asyncio.run(certifying.shut_out(home, name))
    with pytest.raises(InputError):
        asyncio.run(certifying.shut_out(home, name))


async def _next(events: asyncio.Queue[tuple[str, Any]], serving: asyncio.Task[None]) -> tuple[str, Any]:
    waiting = asyncio.ensure_future(events.get())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        serving.result()
    return await waiting


async def _called(url: str, context: ssl.SSLContext) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False, timeout=30) as client:
        return await client.post("/api/v1/flows/double/run", json=21)


def _nobody(home: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=home / "keys" / "ca-roots.pem")
    return context


@pytest.mark.promise("TRUST-17")
def test_an_entry_that_was_not_sealed_here_is_none(home: Path, tmp_path: Path) -> None:
    entry = admitting.Entry(workload="spiffe://omega.local/worker/a", tenant="local", capabilities=("*",))
    other = Keyring(b"x" * 32, entropy=lambda n: b"y" * n)
    name = admitting.name_of(entry.workload)
    with Archive.open(home) as archive:
        good = entry.seal(archive.identity.keyring)
        check = admitting.reading(archive.identity.keyring)
    assert check(name, good) == good
    moved = admitting.name_of("spiffe://omega.local/worker/b")
    for place, body in ((name, entry.seal(other)), (moved, good), (name, {}), (name, good | {"format": 9}), (name, good | {"key": "?"})):
        with pytest.raises(InputError):
            check(place, body)
    for text in ("spiffe://omega.local", "worker/a"):
        with pytest.raises(Denied):
            admitting.name_of(text)
