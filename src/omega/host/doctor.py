"""The doctor: looks at everything an installation stands on and says of each thing whether it is well, and what to do if not.

It changes nothing and never takes the engine's lock. What it cannot look at is a finding, not an exception.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omega.adapters.mcp import Upstream, describe
from omega.adapters.models.provider import Missing, configured
from omega.adapters.process import Caps, landlock
from omega.adapters.process.launch import unconfinable
from omega.adapters.process.shield import CAPS_OPTION, CONFINE_OPTION
from omega.adapters.sqlite.folder import REMOTE_KINDS, file_system
from omega.adapters.sqlite.schema import OLDEST_SQLITE
from omega.host.additions import installed_effectors
from omega.host.confining import confined
from omega.host.discover import survey
from omega.host.explaining import examine_files
from omega.host.lasting import standing as standing_of_lasting
from omega.host.limits import MOST, crowded
from omega.host.presence import command_of, holder, last_pid
from omega.host.proof import prove
from omega.host.queues import arranged_queues, depths
from omega.host.reading import Archive
from omega.host.reputation import LATELY, Health, Reputation, health_of
from omega.host.sandboxing import launcher
from omega.host.settings import Settings
from omega.host.storage import KEYS
from omega.host.workload import established, looked_at, standing
from omega.kernel.errors import OmegaError
from omega.kernel.journal import FORMAT, Status
from omega.kernel.sandbox import PLAIN

OLDEST_PYTHON = (3, 11)
LOW_SPACE = 256 << 20
"""Bytes free below which a run may end with a full disk."""
FEW_SPACE = 16 << 20
"""Bytes free below which an engine cannot be expected to work."""
MAX_LINES = 10_000
LATE_S = 300.0
"""Something due for longer than this in a queue is told, in seconds."""
MAX_COMMAND = 200
"""Characters of a command line that are told."""
FEW_DAYS = 30
"""Days before the end of the certificate authority's own certificate from which on it is told."""
PROGRAMS = {
    "git": "the code review reads repositories with it",
    "mcp-server-git": "the code review reads history and diff through it",
    "ruff": "an analyser of the code review",
    "bandit": "an analyser of the code review",
    "radon": "an analyser of the code review",
}

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `state` is ok, warn or fail; `advice` is what to do about it."""

    state: str
    what: str
    text: str
    advice: str = ""

    def record(self) -> dict[str, Any]:
        """As data."""
        return {"state": self.state, "what": self.what, "text": self.text, "advice": self.advice}


def examine(home: str | os.PathLike[str] | None, *, servers: bool = True) -> Iterator[Finding]:
    """Everything, one finding after another; `servers` also starts each known tool server."""
    try:
        settings = Settings.load(home)
    except OmegaError as error:
        yield Finding(FAIL, "settings", f"{error.code} {error.cause}", error.advice)
        return
    yield _python()
    yield _sqlite()
    yield from _guarded("folder", lambda: _folder(settings.home))
    if settings.store.shared:
        yield _driver()
        yield from _way(settings)
    else:
        yield from _guarded("engine", lambda: _engine(settings.home))
    yield from _guarded("policies", lambda: _policies(settings))
    yield from _guarded("tls", lambda: _certificates(settings))
    yield _model()
    yield from _programs()
    yield from _services()
    yield from _guarded("effectors", _effectors)
    yield _sandbox()
    yield from _guarded("processes", lambda: _orphans(settings.home))
    if settings.store.shared or (settings.home / "omega.db").is_file():
        yield from _data(home, servers=servers)


def _data(home: str | os.PathLike[str] | None, *, servers: bool) -> Iterator[Finding]:
    try:
        archive = Archive.open(home)
    except OmegaError as error:
        yield Finding(FAIL, "data", f"{error.code} {error.cause}", error.advice)
        return
    with archive:
        yield Finding(OK, "data", f"format {FORMAT} in {archive.settings.place}, keys readable by you alone")
        if archive.settings.store.shared:
            yield from _guarded("keys", lambda: _keys(archive))
        yield from _guarded("lasting", lambda: _lasting(archive))
        yield from _guarded("log", lambda: _logs(archive))
        yield from _guarded("runs", lambda: _runs(archive))
        yield from _guarded("queues", lambda: _queues(archive))
        yield from _guarded("limits", lambda: _crowds(archive))
        yield from _guarded("caps", lambda: _capped(archive))
        if servers:
            yield from asyncio.run(_servers(archive))


def _lasting(archive: Archive) -> Iterator[Finding]:
    """Whether what is kept long has a second signature that lasts."""
    found = standing_of_lasting(archive.identity.keys, archive.reader)
    if found.state == "unable":
        yield Finding(WARN, "lasting", found.text, "install a newer release of cryptography")
    else:
        yield Finding(OK, "lasting", found.text)


def _certificates(settings: Settings) -> Iterator[Finding]:
    """What listeners of this installation agree upon on this machine, and how long its authority lasts."""
    if not established(settings):
        yield Finding(OK, "tls", "no certificate authority: listeners speak TLS with certificates that you bring")
        return
    found, seen = standing(settings), looked_at(settings)
    group = seen.group or (
        "hybrid post-quantum" if seen.hybrid else "classical key agreement, not post-quantum: OpenSSL 3.5 brings the hybrid one"
    )
    days = (found.issuer_ends_s - time.time()) / 86_400
    text = f"{seen.version} {seen.cipher}, {group}; {found.domain} has {len(found.roots)} roots, its issuer ends in {days:.0f} days"
    yield Finding(WARN if days < FEW_DAYS else OK, "tls", text, "omega keys certificates --renew" if days < FEW_DAYS else "")


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of `look`; its errors become one."""
    try:
        yield from look()
    except OmegaError as error:
        yield Finding(FAIL, what, f"{error.code} {error.cause}", error.advice)
    except OSError as error:
        yield Finding(FAIL, what, f"cannot be looked at: {(error.strerror or 'unknown').lower()}")


def _python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding(FAIL, "python", text, "use Python 3.11 or later")
    if sys.platform != "linux":
        return Finding(WARN, "python", f"{text} on {sys.platform}", "programs and tool servers are contained on Linux only")
    return Finding(OK, "python", text)


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return Finding(FAIL, "sqlite", sqlite3.sqlite_version, "use a Python with a newer SQLite, for example one installed by uv")
    return Finding(OK, "sqlite", sqlite3.sqlite_version)


def _folder(home: Path) -> Iterator[Finding]:
    place = home
    while not place.exists():
        place = place.parent
    if place == home and not home.is_dir():
        yield Finding(FAIL, "folder", f"{home} is not a folder", "set OMEGA_HOME to a folder, or to a name that is free")
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(FAIL, "folder", f"{place} is not writable by you", "set OMEGA_HOME to a folder you own")
    elif place != home:
        yield Finding(OK, "folder", f"{home} is not there yet: it is made on first use")
    elif home.stat().st_mode & 0o077:
        yield Finding(WARN, "folder", f"{home} is open to others (mode {home.stat().st_mode & 0o777:03o})", f"chmod 700 {home}")
    else:
        yield Finding(OK, "folder", str(home))
    kind = file_system(place, _read("/proc/self/mountinfo"))
    if kind in REMOTE_KINDS:
        yield Finding(
            FAIL, "disk", f"{place} is on a network file system ({kind})", "set OMEGA_HOME to a local disk: locks are not safe there"
        )
    free = shutil.disk_usage(place).free
    state = FAIL if free < FEW_SPACE else WARN if free < LOW_SPACE else OK
    yield Finding(state, "disk", f"{free / (1 << 30):.1f} GiB free", "" if state == OK else "free some space: a full disk stops the engine")


def _engine(home: Path) -> Iterator[Finding]:
    found = holder(home)
    if found is None:
        yield Finding(OK, "engine", "none works in this folder now")
        return
    running = command_of(found.pid)
    command = f" ({running.command[:MAX_COMMAND]})" if running is not None else ""
    yield Finding(OK, "engine", f"process {found.pid}{command} works in this folder: further runs are refused meanwhile")


def _policies(settings: Settings) -> Iterator[Finding]:
    found = examine_files(settings.policies, ())
    errors = [problem for problem in found.problems if problem.severity == "error"]
    for problem in errors[:5]:
        yield Finding(FAIL, "policies", f"{problem.where} {problem.text}", problem.advice or "omega policy check")
    if not errors:
        yield Finding(OK, "policies", f"{found.policies} load, {found.cases} cases pass")


def _model() -> Finding:
    found = configured(os.environ)
    if isinstance(found, Missing):
        return Finding(OK, "model", "none is configured: agent steps are computed or fail with OMG-X002")
    return Finding(OK, "model", f"{found.model} by {found.name}")


def _programs() -> Iterator[Finding]:
    found = [name for name in PROGRAMS if shutil.which(name)]
    if found:
        yield Finding(OK, "programs", ", ".join(found))
    for name, use in PROGRAMS.items():
        if name not in found:
            yield Finding(
                WARN,
                "programs",
                f"{name} is not on the PATH: {use}",
                "pip install 'omega-platform[examples]', or your system's own",
            )


def _services() -> Iterator[Finding]:
    found, broken = survey()
    yield Finding(OK, "services", ", ".join(sorted(found)) or "none is installed")
    for name, error in broken.items():
        yield Finding(FAIL, "services", f"{name}: {error.code} {error.cause}", error.advice)


def _sandbox() -> Finding:
    """Whether this kernel holds tool servers to what they were granted."""
    reason = unconfinable(PLAIN)
    if reason:
        text = f"tool servers cannot be confined: {reason}"
        return Finding(WARN, "sandbox", text, "use Linux 6.2 or later; else each needs --no-sandbox")
    version = landlock.abi()
    lacking = [what for what, since in (("signals", landlock.SIGNALS_ABI), ("single ports", landlock.NETWORK_ABI)) if version < since]
    text = f"tool servers are confined by Landlock {version}" + (f", which does not hold {' and '.join(lacking)}" if lacking else "")
    return Finding(OK, "sandbox", text)


def _effectors() -> Iterator[Finding]:
    ports = [each.port for each in installed_effectors()]
    if ports:
        yield Finding(OK, "effectors", ", ".join(ports))


def _orphans(home: Path) -> Iterator[Finding]:
    """Shields (omega.adapters.process.shield) whose engine is gone: each ends what it guards, so one that stays is stuck.

    Only those of the last engine of this folder are told. What belongs to another folder is its owner's business.
    """
    stuck = []
    last = last_pid(home)
    for entry in Path("/proc").glob("[0-9]*") if last and Path("/proc").is_dir() else ():
        words = _read(str(entry / "cmdline")).rstrip("\0").split("\0")
        place = next((index for index, word in enumerate(words) if word.endswith("adapters/process/shield.py")), -1)
        engine = words[place + 1] if place >= 0 and len(words) > place + 1 else ""
        if engine == str(last) and not Path(f"/proc/{engine}").exists():
            started = [word for word in words[place + 2 :] if not word.startswith((CAPS_OPTION, CONFINE_OPTION))]
            stuck.append((entry.name, " ".join(started)[:MAX_COMMAND]))
    for pid, command in stuck:
        text = f"process {pid} outlived its engine {last} of {home}: {command}"
        yield Finding(WARN, "processes", text, f"it ends by itself within seconds, else: kill {pid}")
    if not stuck:
        yield Finding(OK, "processes", "none outlived the engine of this folder")


def _logs(archive: Archive) -> Iterator[Finding]:
    for proof in prove(archive):
        if proof.sound:
            yield Finding(OK, "log", f"{proof.tenant} is sound: {proof.log.leaves} leaves, {proof.values} sealed values open")
            continue
        wrong = [finding.text for finding in proof.log.findings] + proof.damaged
        yield Finding(FAIL, "log", f"{proof.tenant} is not sound: {wrong[0]}", "omega verify; keep the folder as it is")


def _runs(archive: Archive) -> Iterator[Finding]:
    doubt = [line.execution for line in archive.reader.lines(status=Status.IN_DOUBT, limit=MAX_LINES)]
    if doubt:
        yield Finding(WARN, "runs", f"in doubt: {_some(doubt)}", f"omega show {doubt[0]} says what to resolve")
    running = archive.reader.lines(status=Status.RUNNING, limit=MAX_LINES)
    left = [line.execution for line in running if not line.queue and not archive.in_hands(line)]
    if left:
        yield Finding(WARN, "runs", f"interrupted: {_some(left)}", f"omega resume {left[0]}")
    waiting = [line.execution for line in archive.reader.lines(status=Status.WAITING, limit=MAX_LINES)]
    if waiting:
        yield Finding(OK, "runs", f"waiting for somebody or for their time: {_some(waiting)}")
    if not doubt and not waiting and not left:
        yield Finding(OK, "runs", "none stands still")


def _queues(archive: Archive) -> Iterator[Finding]:
    """Work that nobody does: executions given up, and queues in which something has been due for long."""
    dead = [line.execution for line in archive.reader.lines(status=Status.DEAD, limit=MAX_LINES)]
    if dead:
        yield Finding(WARN, "queues", f"given up: {_some(dead)}", f"omega show {dead[0]}, then omega redrive {dead[0]}")
    now, known = archive.world.clock.now_us(), arranged_queues(archive.reader)
    for name, depth in depths(archive.reader).items():
        late_s = (now - depth.oldest_us) / 1_000_000 if depth.oldest_us else 0.0
        if late_s < LATE_S:
            continue
        why = "it is paused" if name in known and known[name].paused else "no worker takes it up fast enough"
        advice = f"omega queue resume {name}" if name in known and known[name].paused else f"omega worker TARGET --queue {name}"
        yield Finding(WARN, "queues", f"{name}: {depth.queued} queued, one is {late_s / 60:.0f} minutes late: {why}", advice)


def _crowds(archive: Archive) -> Iterator[Finding]:
    """More limits or breakers for one tenant than are arranged nowadays: all of them hold, and each touch looks at each."""
    for kind, most in MOST.items():
        for tenant, number in crowded(archive.reader, kind).items():
            text = f"{number:,} of kind {kind} for {tenant or 'all tenants'}: all of them hold, and make each touch slower"
            yield Finding(WARN, "limits", text, f"keep {most:,} at most: omega {kind} list")


def _capped(archive: Archive) -> Iterator[Finding]:
    """Tenants whose programs are held to caps, and whether this machine can hold them."""
    found = confined(archive.reader)
    if not found:
        return
    if sys.platform != "linux":
        yield Finding(FAIL, "caps", f"{len(found)} tenants have caps, which are kept on Linux alone", "run their programs on Linux")
        return
    shown = [f"{tenant} {_caps_in_words(caps)}" for tenant, caps in sorted(found.items())]
    yield Finding(OK, "caps", f"each program, with all it starts: {_some(shown)}")


def _caps_in_words(caps: Caps) -> str:
    parts = ((caps.cpu_s, "s of processor"), (caps.memory_mb, "MB"), (caps.processes, "processes"))
    return ", ".join(f"{most:,} {what}" for most, what in parts if most)


def _driver() -> Finding:
    """What connects to PostgreSQL."""
    try:
        found = version("asyncpg")
    except PackageNotFoundError:
        return Finding(FAIL, "postgres", "asyncpg is not installed", "pip install 'omega-platform[server]'")
    return Finding(OK, "postgres", f"asyncpg {found}")


def _way(settings: Settings) -> Iterator[Finding]:
    """How the database is reached across a network."""
    if not settings.store.checked:
        text = f"nobody looks at whose server {settings.store.shown} is, and it decides whether the way there is encrypted"
        yield Finding(WARN, "postgres", text, "add sslmode=verify-full to the address (docs/stores.md)")


def _keys(archive: Archive) -> Iterator[Finding]:
    """Whether the keys here are those that the shared records are written with."""
    known = archive.reader.document(KEYS, "keys")
    if known is not None and known != archive.identity.log_public.hex().encode():
        text = f"{archive.settings.keys} holds other keys than the engines of {archive.settings.place} use"
        yield Finding(FAIL, "keys", text, "copy the folder `keys` from the OMEGA_HOME of a worker that works")


async def _servers(archive: Archive) -> list[Finding]:
    """Each tool server: whether it starts now, and how the calls of late went, by the log."""
    found = list(archive.catalogue.upstreams.values())
    known = Reputation(archive.reader, archive.settings.tenant, archive.world.clock.now_us, behind=LATELY).read() if found else {}
    return list(await asyncio.gather(*(_server(each, archive.settings, health_of(each.name, known)) for each in found)))


async def _server(upstream: Upstream, settings: Settings, health: Health) -> Finding:
    lately = f"lately {health.words()}"
    try:
        tools = await describe(upstream, launcher(settings))
    except OmegaError as error:
        advice = error.advice.replace("NAME", upstream.name)
        return Finding(FAIL, "server", f"{upstream.name}: {error.code} {error.cause}; {lately}", advice)
    said = f"{upstream.name} starts and offers {len(tools)} tools; {lately}"
    if health.state == "failing" or health.breaker == "open":
        return Finding(WARN, "server", said, f"omega errors {health.code or 'OMG-W011'}; omega mcp reputation")
    return Finding(OK, "server", said)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # a process that has just ended, or a system without /proc
        return ""
