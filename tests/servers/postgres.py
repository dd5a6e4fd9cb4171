"""A real PostgreSQL from the wheel `pgserver`, in a folder of its own, as a service user when the tests run as root.

`initdb` and `postgres` are started here: the wheel's own helper makes the folders above it readable for everybody when it runs as root.
The server listens on a Unix socket only; tests connect as a role that is neither superuser nor exempt from row-level security.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PR_SET_PDEATHSIG = 1
SERVICE_USER = "nobody"
ROLE = "omega"
START_S = 90.0
STOP_S = 60.0
_LIBC = ctypes.CDLL(None, use_errno=True)
MISSING = "there is no PostgreSQL: the wheel `pgserver` is not installed (it exists for Python 3.11 and 3.12)"


def programs() -> Path:
    """The folder of the wheel's programs. Skips the test when there is none; in CI that is a failure."""
    found = importlib.util.find_spec("pgserver")
    if found is None or found.origin is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return Path(found.origin).parent / "pginstall"


class PostgresServer:
    """One server and its data. `start`, `stop` and `kill` may follow each other in any order; what was committed stays."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omega-pg-"))
        self.password = secrets.token_hex(16)
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(SERVICE_USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._install = self._reachable(programs())
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self._initialise()
        self.start()
        asyncio.run(self._make_role())

    def dsn(self, schema: str = "public", *, role: str = ROLE, database: str = ROLE) -> str:
        """The address of one schema of the test database."""
        return f"postgresql://{role}:{self.password}@/{database}?host={quote(str(self.folder))}&search_path={schema}"

    def fresh(self) -> str:
        """The address of a new, empty schema."""
        self._schemas += 1
        name = f"home_{self._schemas}"
        asyncio.run(self.execute(f"CREATE SCHEMA {name}"))
        return self.dsn(name)

    async def execute(self, sql: str, *, dsn: str = "") -> list[Any]:
        """Run one statement; gives its rows."""
        import asyncpg

        connection = await asyncpg.connect(dsn or self.dsn())
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()

    def dump(self, dsn: str, path: Path) -> None:
        """Write everything in the schema of `dsn` to `path`, as SQL, while the server works (pg_dump)."""
        schema = dsn.rpartition("search_path=")[2]
        options = ["-h", self.folder, "-U", "postgres", "-d", ROLE, "-n", schema, "--no-owner", "--no-privileges"]
        dumped = subprocess.run(
            [self._install / "bin/pg_dump", *options], check=True, cwd="/", env=self._as_owner(), stdout=subprocess.PIPE, **self._identity
        )
        path.write_bytes(dumped.stdout)

    def restore(self, path: Path) -> str:
        """Put a dump into a new database; gives its address there."""
        self._schemas += 1
        database, sql = f"restored_{self._schemas}", path.read_bytes()
        schema = sql.partition(b"CREATE SCHEMA ")[2].partition(b";")[0].decode()
        self._psql("postgres", f"CREATE DATABASE {database} OWNER {ROLE}".encode())
        self._psql(database, f"SET ROLE {ROLE};\n".encode() + sql)
        return self.dsn(schema, database=database)

    def _psql(self, database: str, sql: bytes) -> None:
        options = ["-h", self.folder, "-U", "postgres", "-d", database, "-q", "-v", "ON_ERROR_STOP=1"]
        subprocess.run(
            [self._install / "bin/psql", *options],
            check=True,
            cwd="/",
            env=self._as_owner(),
            input=sql,
            stdout=subprocess.DEVNULL,
            **self._identity,
        )

    def _as_owner(self) -> dict[str, str]:
        return {"PATH": os.defpath, "PGPASSWORD": self.password}

    def start(self) -> None:
        """Start, and return once a connection is accepted."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._install / "bin/postgres", "-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses="],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, no lock is taken
                **self._identity,
            )
        deadline = time.monotonic() + START_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Shut down at once and in order, dropping every connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_S)
            self._process = None

    def kill(self) -> None:
        """End the server and all of its backends as a power cut would: each of them, without a word.

        A backend makes itself a session of its own, so that the group is not enough.
        """
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.send_signal(signal.SIGKILL)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:  # it saw that its parent is gone
                continue
        self._process.wait(STOP_S)
        deadline = time.monotonic() + STOP_S
        while any(_running(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._process = None

    def remove(self) -> None:
        """End the server, without the flushing that an orderly end takes, and delete everything."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reachable(self, install: Path) -> Path:
        """`install`, or a copy of it that the service user may read."""
        probe = subprocess.run(["/bin/sh", "-c", 'test -x "$0"', install / "bin/postgres"], check=False, cwd="/", **self._identity)
        if probe.returncode == 0:
            return install
        copy = self.folder / "install"
        shutil.copytree(install, copy)
        self.folder.chmod(0o755)
        return copy

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._identity:
            os.chown(secret, self._identity["user"], self._identity["group"])
        secret.chmod(0o600)
        options = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-locale", "-E", "UTF8", "--no-sync"]
        command = [self._install / "bin/initdb", "-D", self.folder / "data", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._identity)

    def _accepts(self) -> bool:
        command = [self._install / "bin/pg_isready", "-q", "-h", self.folder]
        return subprocess.run(command, check=False, cwd="/", **self._identity).returncode == 0

    async def _make_role(self) -> None:
        import asyncpg

        connection = await asyncpg.connect(self.dsn(role="postgres", database="postgres"))
        try:
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE PASSWORD '{self.password}'")
            await connection.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}")
        finally:
            await connection.close()


def _end_with_parent() -> None:
    """In the child, after it has become the service user: a test run that is killed leaves no server behind (prctl(2))."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def serve() -> Iterator[PostgresServer]:
    """For a fixture: one server, removed at the end."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.remove()
