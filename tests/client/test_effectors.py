"""The effectors of events and webhooks pass the suite of their port: nothing moves without a good permit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from omega.adapters.memory import MemoryStore
from omega.adapters.webhooks import Deliver, Receiver, WebhookEffector, new_secret
from omega.adapters.webhooks.reach import networks
from omega.contracts.publishing import Publish
from omega.host.events import EventsEffector, Feed
from omega.testing.conformance import EffectorCase, EffectorConformance, NoteSequencer
from omega.trust.sealing import Keyring

SECRET = new_secret(bytes(32))


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes every POST; and what came."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestWebhooks(EffectorConformance):
    @pytest.fixture
    def case(self) -> Iterator[EffectorCase]:
        with receiver() as (url, came):
            effector = WebhookEffector(lambda tenant, name: Receiver(url, SECRET, networks(["127.0.0.0/8"])), lambda: 0)
            yield EffectorCase(effector, Deliver(hook="hook", id="local.1", document={"a": 1}), lambda: bool(came))


class Counting(Keyring):
    """A keyring that counts the marks it was asked for."""

    marks = 0

    def vault(self, tenant: str):  # type: ignore[no-untyped-def]
        type(self).marks += 1
        return super().vault(tenant)


class TestEvents(EffectorConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> EffectorCase:
        keyring = Counting(bytes(32), entropy=bytes)
        Counting.marks = 0
        store = MemoryStore(sequencer=NoteSequencer(), owner="test", now_us=lambda: 0)
        effector = EventsEffector(lambda: Feed(store, keyring), keyring)
        return EffectorCase(effector, Publish(type="a:b", key="k", data={}), lambda: Counting.marks > 0)
