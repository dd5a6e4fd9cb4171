"""Certificates of workloads on real sockets: renewed under load, and refused when they are nobody's, foreign, ended or distrusted."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.adapters.certificates import Credentials, Issuer, Root
from omega.kernel.errors import InputError, OmegaError, StorageError
from omega.trust.spiffe import workload_of
from trust.signers import LatticeSigner, P256Signer

DOMAIN = "omega.local"
REFUSED = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)


class Office:
    """An authority, and the hour."""

    def __init__(self, signer: Any = None, domain: str = DOMAIN) -> None:
        self.ahead = 0.0
        self.domain = domain
        self.roots: list[bytes] = []
        self.found(signer or SeededSigner(51))

    def now(self) -> float:
        return time.time() + self.ahead

    def found(self, signer: Any) -> None:
        """Begin anew with a root of that key, which counts beside those before it."""
        self._root = Root.made(self.domain, signer, now_s=time.time())
        self.roots.append(self._root.pem)
        self.issuer = Issuer(self._root.issuer(self.domain, signer.public, now_s=time.time()), signer, self.domain)

    def credentials(self, folder: Path, name: str = "worker/a", **facts: Any) -> Credentials:
        def renew() -> Any:
            return self.issuer.issue(f"spiffe://{facts.get('domain', self.domain)}/{name}", now_s=facts.get("at", time.time)())

        return Credentials(folder, renew=renew, bundle=lambda: b"".join(facts.get("roots", self.roots)), now=self.now)


@asynccontextmanager
async def listener(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that answers a line with the same line; gives its port, and who called."""
    callers: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        der = writer.get_extra_info("ssl_object").getpeercert(True)
        callers.append(str(workload_of(der, domain=DOMAIN, now_s=time.time())) if der else "")
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except REFUSED:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], callers


async def called(port: int, context: ssl.SSLContext, word: bytes = b"hello\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(word)
        await writer.drain()
        return await reader.readexactly(len(word))
    finally:
        writer.close()


@pytest.mark.promise("TRUST-17")
@pytest.mark.parametrize("signer", [SeededSigner(51), P256Signer(1)])
def test_both_sides_know_who_the_other_is(signer: Any, tmp_path: Path) -> None:
    async def run() -> None:
        office = Office(signer)
        gateway, worker = office.credentials(tmp_path / "g", "gateway"), office.credentials(tmp_path / "w", "worker/mail-3")
        async with listener(gateway.server()) as (port, callers):
            assert await called(port, worker.client()) == b"hello\n"
            assert callers == ["spiffe://omega.local/worker/mail-3"]

    asyncio.run(run())


@pytest.mark.promise("TRUST-17")
def test_rotation_under_load_drops_no_call(tmp_path: Path) -> None:
    """Certificates are renewed, the root is followed by another one and taken out of the bundle, while calls go on."""

    async def run() -> None:
        office = Office()
        gateway, worker = office.credentials(tmp_path / "g", "gateway"), office.credentials(tmp_path / "w")
        done, stop = [0], asyncio.Event()

        async def calls(port: int) -> None:
            while not stop.is_set():
                assert await called(port, worker.client(), b"%d\n" % done[0])
                done[0] += 1

        async def more(count: int) -> None:
            wanted = done[0] + count
            while done[0] < wanted:
                assert all(not task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
                await asyncio.sleep(0.001)

        async with listener(gateway.server()) as (port, callers):
            kept = await asyncio.open_connection("127.0.0.1", port, ssl=worker.client())
            tasks = [asyncio.create_task(calls(port)) for _ in range(4)]
            for _ in range(5):  # half an hour at a time
                await more(20)
                office.ahead += 1801
                assert gateway.look() and worker.look()
            office.found(SeededSigner(52))  # the next root counts before anything is signed under it
            assert worker.look() and gateway.look()
            await more(20)
            office.ahead += 1801
            assert gateway.look()
            await more(20)
            assert worker.look()
            del office.roots[0]
            assert gateway.look() and worker.look()
            await more(20)
            stop.set()
            await asyncio.gather(*tasks)
            kept[1].write(b"still\n")
            assert await kept[0].readexactly(6) == b"still\n"
            kept[1].close()
        assert set(callers) == {"spiffe://omega.local/worker/a"} and gateway.renewals >= 8

    asyncio.run(asyncio.wait_for(run(), 60))


def nobody(office: Office, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=office.roots[0].decode())
    return context


def foreign(office: Office, folder: Path) -> ssl.SSLContext:
    """Of another installation with the same trust domain, which knows our root."""
    return Office(SeededSigner(53)).credentials(folder, roots=office.roots).client()


def ended(office: Office, folder: Path) -> ssl.SSLContext:
    return office.credentials(folder, at=lambda: time.time() - 7200).client()


def other_domain(office: Office, folder: Path) -> ssl.SSLContext:
    """Signed by our issuer for a workload that is not of its domain: the constraint in its certificate says so."""
    return office.credentials(folder, domain="evil.local").client()


def by_a_workload(office: Office, folder: Path) -> ssl.SSLContext:
    """A workload that plays issuer: its certificate may sign none."""
    issued = office.issuer.issue("spiffe://omega.local/worker/a", now_s=time.time())
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    from omega.trust.keys import es256_of_der

    key: Any = load_pem_private_key(issued.key, None)

    class Thief:
        name = "thief"
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

        def sign(self, message: bytes) -> bytes:
            from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
            from cryptography.hazmat.primitives.hashes import SHA256

            return es256_of_der(key.sign(message, ECDSA(SHA256())))

    from cryptography import x509

    issuer = Issuer.__new__(Issuer)
    issuer.certificate, issuer.domain, issuer._pem, issuer._signer = (
        x509.load_pem_x509_certificate(issued.chain),
        DOMAIN,
        issued.chain,
        Thief(),
    )
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())

    from omega.adapters.certificates import authority

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authority, "_signed_by", lambda _: x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski))
        made = issuer.issue("spiffe://omega.local/admin", now_s=time.time())
    return Credentials(folder, renew=lambda: made, bundle=lambda: office.roots[0], now=time.time).client()


def old_tls(office: Office, folder: Path) -> ssl.SSLContext:
    context = office.credentials(folder).client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def distrusted(office: Office, folder: Path) -> ssl.SSLContext:
    """Of a root that counted when the listener began."""
    context = office.credentials(folder).client()
    office.found(SeededSigner(54))
    context.load_verify_locations(cadata=office.roots[-1].decode())
    del office.roots[0]
    return context


@pytest.mark.promise("TRUST-17")
@pytest.mark.parametrize("stranger", [nobody, foreign, ended, other_domain, by_a_workload, old_tls, distrusted])
def test_a_stranger_is_refused(stranger: Callable[[Office, Path], ssl.SSLContext], tmp_path: Path) -> None:
    async def run() -> None:
        office = Office()
        gateway = office.credentials(tmp_path / "g", "gateway")
        async with listener(gateway.server()) as (port, callers):
            assert await called(port, office.credentials(tmp_path / "w").client())
            context = stranger(office, tmp_path / "s")
            office.ahead += 1801
            gateway.look()
            with pytest.raises(REFUSED):
                await called(port, context)
            assert callers == ["spiffe://omega.local/worker/a"]

    asyncio.run(run())


@pytest.mark.promise("TRUST-17")
@pytest.mark.parametrize("stranger", [foreign, ended, other_domain])
def test_a_client_refuses_a_server_that_is_a_stranger(stranger: Callable[[Office, Path], Any], tmp_path: Path) -> None:
    async def run() -> None:
        office = Office()
        other = stranger(office, tmp_path / "s")  # its folder holds the certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "s" / "chain.pem", tmp_path / "s" / "key.pem")
        assert other is not None
        async with listener(context) as (port, _):
            with pytest.raises(ssl.SSLCertVerificationError):
                await called(port, office.credentials(tmp_path / "w").client())

    asyncio.run(run())


def test_where_certificates_are_only_asked_for_a_bad_one_is_refused_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        office = Office()
        gateway = office.credentials(tmp_path / "g", "gateway")
        async with listener(gateway.server(demand=False)) as (port, callers):
            assert await called(port, nobody(office, tmp_path))
            assert await called(port, office.credentials(tmp_path / "w").client())
            with pytest.raises(REFUSED):
                await called(port, foreign(office, tmp_path / "s"))
            assert callers == ["", "spiffe://omega.local/worker/a"]

    asyncio.run(run())


def test_what_a_listener_does_is_told_as_it_is(tmp_path: Path) -> None:
    office = Office()
    gateway = office.credentials(tmp_path / "g", "gateway")
    seen = gateway.look_at(gateway.server())
    assert (seen.version, seen.ends_s) == ("TLSv1.3", gateway.ends_s) and seen.cipher
    assert seen.hybrid == (ssl.OPENSSL_VERSION_INFO >= (3, 5))
    with pytest.raises(InputError):
        gateway.look_at(Office(SeededSigner(55)).credentials(tmp_path / "o").server())


def test_files_are_of_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "w"
    Office().credentials(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        ("bundle.pem", "chain.pem", "key.pem"), 0o600
    )


def test_openssl_itself_verifies_the_chain(tmp_path: Path) -> None:
    office = Office()
    office.credentials(tmp_path)
    for purpose in ("sslserver", "sslclient"):
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            "bundle.pem",
            "-untrusted",
            "chain.pem",
            "chain.pem",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr


def test_a_renewal_that_fails_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omega.adapters.certificates import rotation

    async def run() -> None:
        monkeypatch.setattr(rotation, "LOOK_S", 0.005)
        office, told = Office(), asyncio.Queue[OmegaError]()
        issuer = office.issuer
        worker = office.credentials(tmp_path)

        class Down:
            def issue(self, *args: object, **kwargs: object) -> Any:
                raise StorageError("OMG-T005", "the signer does not answer")

        office.issuer = Down()  # type: ignore[assignment]
        office.ahead += 1801
        following = asyncio.create_task(worker.follow(told.put_nowait))
        assert (await asyncio.wait_for(told.get(), 10)).code == "OMG-T005" and worker.renewals == 1
        office.issuer = issuer
        async with asyncio.timeout(10):
            while worker.renewals == 1:
                await asyncio.sleep(0.005)
        following.cancel()

    asyncio.run(run())


@pytest.mark.parametrize(("ttl", "domain"), [(0, DOMAIN), (90_000, DOMAIN)])
def test_a_life_that_is_too_long_is_not_given(ttl: int, domain: str) -> None:
    with pytest.raises(InputError):
        Office().issuer.issue(f"spiffe://{domain}/a", now_s=time.time(), ttl_s=ttl)


def test_a_certificate_never_outlives_its_issuer() -> None:
    office = Office()
    late = office.issuer.ends_s - 60
    assert office.issuer.issue("spiffe://omega.local/a", now_s=late).ends_s == office.issuer.ends_s
    with pytest.raises(InputError):
        office.issuer.issue("spiffe://omega.local/a", now_s=office.issuer.ends_s)


def test_keys_that_certificates_are_not_signed_with_are_refused() -> None:
    with pytest.raises(StorageError) as caught:
        Root.made(DOMAIN, LatticeSigner(1), now_s=time.time())
    assert caught.value.code == "OMG-T003"


def test_a_certificate_that_is_not_the_signers_is_refused() -> None:
    office = Office()
    with pytest.raises(InputError):
        Issuer(office.roots[0], SeededSigner(56), DOMAIN)
    with pytest.raises(InputError):
        Root.of(office.roots[0], SeededSigner(56))
    with pytest.raises(InputError):
        Root.check(b"nothing")
