"""TLS to PostgreSQL as its address asks for it, against a proxy of our own that answers the request for it (protocol 3.0, "SSLRequest")."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from omega.adapters.postgres import PostgresBus, PostgresReader, PostgresWakeups
from omega.adapters.postgres.link import connect
from omega.host.embedded import Omega
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.flow import flow
from servers.postgres import PostgresServer
from servers.postgres import serve as started

pytestmark = pytest.mark.slow

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from started()


class Authority:
    """A certificate authority for one test, with a server certificate for the names that are wanted."""

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir(exist_ok=True)
        self.roots, self.chain = folder / "roots.pem", folder / "chain.pem"
        key, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        root = self._made(issuer, issuer, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.roots.write_bytes(root.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        alternatives = [x509.IPAddress(ipaddress.ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's database")])
        leaf = self._made(subject, issuer, own).add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        secret = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.chain.write_bytes(leaf.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + secret)

    @staticmethod
    def _made(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))


class Proxy:
    """Stands in front of the server's socket. With a context it ends TLS, without it says that there is none; counts how often which."""

    def __init__(self, server: PostgresServer, context: ssl.SSLContext | None) -> None:
        self._socket = server.folder / ".s.PGSQL.5432"
        self._context = context
        self.encrypted = self.plain = 0

    @contextmanager
    def open(self) -> Iterator[int]:
        """Listen, in a thread of its own (an engine waits for its database without letting others run); gives the port."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._take, "127.0.0.1", 0), loop).result()
        try:
            yield listening.sockets[0].getsockname()[1]
        finally:
            asyncio.run_coroutine_threadsafe(self._close(listening), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _close(self, listening: asyncio.Server) -> None:
        listening.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            begun = await reader.readexactly(8)
            if begun == SSL_REQUEST:
                writer.write(b"S" if self._context is not None else b"N")
                await writer.drain()
                if self._context is not None:
                    await writer.start_tls(self._context)
                    self.encrypted += 1
                begun = await reader.readexactly(8)
            self.plain += self._context is None
            behind, ahead = await asyncio.open_unix_connection(self._socket)
            ahead.write(begun)
            ways = [asyncio.create_task(_copy(*way)) for way in ((reader, ahead), (behind, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for each in ways:
                each.cancel()
            ahead.close()
        writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()


def ending(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain)
    return context


def address(server: PostgresServer, port: int, options: str, schema: str = "public") -> str:
    return f"postgresql://omega:{server.password}@127.0.0.1:{port}/omega?search_path={schema}&{options}"


async def refusal(dsn: str) -> str:
    """How a connection is refused; empty when it is not."""
    try:
        connection = await connect(dsn, "a test")
    except OmegaError as error:
        assert error.code == "OMG-S002" and "correct-horse" not in str(error.record())
        return error.cause
    await connection.close()
    return ""


@flow
def double(n: int) -> int:
    return n * 2


@pytest.mark.promise("RUN-48")
def test_the_whole_product_runs_over_verified_tls(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca", "127.0.0.1")
    schema = server.fresh().rpartition("=")[2]

    async def main() -> None:
        proxy = Proxy(server, ending(authority))
        with proxy.open() as port:
            dsn = address(server, port, f"sslmode=verify-full&sslrootcert={quote(str(authority.roots))}", schema)
            monkeypatch.setenv("OMEGA_STORE", dsn)
            async with Omega.open(tmp_path / "home") as omega:
                assert (await omega.run(double, 21)).value == 42
                bus, wakeups = await PostgresBus.open(dsn), await asyncio.to_thread(PostgresWakeups.open, dsn)
                await bus.aclose()
                await wakeups.aclose()
            reader = await asyncio.to_thread(PostgresReader.open, dsn)
            await asyncio.to_thread(reader.close)
        assert proxy.encrypted >= 5 and proxy.plain == 0

    asyncio.run(main())


@pytest.mark.promise("RUN-48")
def test_tls_that_cannot_be_had_as_asked_is_refused_and_says_why(server: PostgresServer, tmp_path: Path) -> None:
    known, foreign = Authority(tmp_path / "known", "127.0.0.1"), Authority(tmp_path / "foreign", "127.0.0.1")
    elsewhere = Authority(tmp_path / "elsewhere", "db.example.org")

    def full(authority: Authority, mode: str = "verify-full") -> str:
        return f"sslmode={mode}&sslrootcert={quote(str(authority.roots))}"

    async def main() -> None:
        with Proxy(server, ending(known)).open() as port:
            assert not await refusal(address(server, port, full(known)))
            assert "certificate is not accepted" in await refusal(address(server, port, full(foreign)))
            missing = f"sslmode=verify-full&sslrootcert={quote(str(tmp_path / 'missing.pem'))}"
            assert "no such file" in await refusal(address(server, port, missing))
            assert "TLS options" in await refusal(address(server, port, "sslmode=perhaps"))
        with Proxy(server, ending(elsewhere)).open() as port:
            assert "certificate is not accepted" in await refusal(address(server, port, full(elsewhere)))
            assert not await refusal(address(server, port, full(elsewhere, "verify-ca")))
        plain = Proxy(server, None)
        with plain.open() as port:
            for mode in ("require", "verify-ca", "verify-full"):
                assert "the server offers none" in await refusal(address(server, port, full(known, mode)))
            assert plain.plain == 0
            assert not await refusal(address(server, port, "sslmode=prefer"))
            assert plain.plain == 1

    asyncio.run(main())


def test_a_server_that_breaks_off_in_the_handshake_is_no_crash(server: PostgresServer, tmp_path: Path) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S" + b"not TLS at all")
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(rude, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            with pytest.raises(StorageError) as caught:
                await connect(address(server, port, "sslmode=require"), "a test")
            assert caught.value.code == "OMG-S002"

    asyncio.run(main())
