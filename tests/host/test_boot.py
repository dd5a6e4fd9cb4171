"""What a process says of its listeners when it begins, with real listeners; and how strict HTTPS is."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.adapters.certificates import look, look_there
from omega.adapters.certificates.looking import HYBRID
from omega.cli.up import Teller
from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.host import certifying
from omega.host.boot import reported
from omega.host.up import Opening, tls_of
from omega.kernel.errors import InputError

pytestmark = pytest.mark.promise("DOOR-42")
LASTING = ssl.OPENSSL_VERSION_INFO >= (3, 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and gateway.example, its key, and the bundle to trust."""
    folder = tmp_path_factory.mktemp("tls")
    asyncio.run(certifying.change(folder / "home", "establish"))
    asyncio.run(certifying.certify(folder / "home", "gateway", folder, ["localhost", "gateway.example"]))
    return folder


def given(files: Path, **more: str) -> ssl.SSLContext:
    made = tls_of(Opening(certificate=str(files / "chain.pem"), key=str(files / "key.pem"), **more))
    assert made is not None
    return made


def test_a_brought_certificate_is_looked_at_in_a_handshake(files: Path) -> None:
    seen = look(given(files, authorities=str(files / "bundle.pem")))
    assert (seen.version, seen.hybrid) == ("TLSv1.3", LASTING)
    assert seen.group == (HYBRID if LASTING else seen.group) and seen.cipher.startswith("TLS_") and seen.ends_s > 0
    older = given(files)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (look(older).version, look(older).hybrid) == ("TLSv1.2", False), "what it does, not what it might"
    with pytest.raises(InputError):
        look(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # it has no certificate


@pytest.mark.slow
def test_every_listener_is_reported_and_https_is_strict_but_for_this_machine(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = frozenset({"localhost", "127.0.0.1", "gateway.example"})

    async def asked(tls: ssl.SSLContext | None) -> tuple[list[dict[str, Any]], list[str | None], list[dict[str, Any]]]:
        place = Place(host="127.0.0.1", port=0, tls=tls)
        listener = Listener(Door([], Manners(hosts=hosts), ready=lambda: "", prefix="req_"), place)
        await listener.start()
        trusted = ssl.create_default_context(cafile=str(files / "bundle.pem"))
        try:
            async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
                found = []
                for name in ("localhost", "gateway.example", "gateway.example:9405"):
                    answer = await client.get(f"{listener.url.replace('127.0.0.1', 'localhost')}/livez", headers={"host": name})
                    found.append(answer.headers.get("strict-transport-security"))
            there = [] if tls is None else [await asyncio.to_thread(look_there, "127.0.0.1", listener.port, "http/1.1")]
            return await reported(listener.url, place, None), found, there
        finally:
            await listener.stop()

    (plain,), unset, _ = asyncio.run(asked(None))
    (secure,), strict, (there,) = asyncio.run(asked(given(files)))
    assert plain["tls"] == "" and plain["address"].startswith("http://") and unset == [None] * 3
    assert secure["tls"] == "TLSv1.3" and secure["post_quantum"] == LASTING and secure["address"].startswith("https://")
    assert strict == [None, "max-age=31536000", "max-age=31536000"]
    assert (there.version, there.hybrid, there.ends_s) == ("TLSv1.3", LASTING, secure["ends_s"])
    Teller(_session())("up", {"url": "u", "store": "s", "listeners": [plain, secure]})
    said = capsys.readouterr().out
    assert "in the clear" in said and "TLSv1.3 TLS_" in said and ("(post-quantum)" in said) == LASTING


def _session() -> Any:
    from omega.cli.output import Session

    return Session(home=None, json=False)
