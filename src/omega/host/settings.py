"""Settings: few, typed, from the environment. The one secret among them, the password in a store's address, is never shown.

OMEGA_HOME     the folder: keys and policies always, the records too unless OMEGA_STORE names another place
OMEGA_STORE    where the records lie: empty for SQLite in OMEGA_HOME; postgresql://USER:PASSWORD@HOST/DATABASE; or where that address
               is found: env:NAME (another variable), file:PATH (a file that holds nothing else)
OMEGA_BLOBS    where large values lie: empty for beside the records; file:///FOLDER; s3://BUCKET/PREFIX (see docs/forks.md)
OMEGA_MODE     development, or production: then nothing is served beyond this machine without TLS, or a proxy that is trusted to do it
OMEGA_LOG_LEVEL  debug, info, warning, error or critical: what a process that serves tells on standard error beside what it always tells

TENANT_ISOLATION and AUDIT_LEVEL are known from descriptions of deployments: `strict` and `enterprise` are what always holds here, and
anything less is refused, because it cannot be had.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from omega.kernel.errors import InputError

DEFAULT_HOME = "~/.omega"
STORE = "OMEGA_STORE"
WAKEUPS = "OMEGA_WAKEUPS"
BLOBS = "OMEGA_BLOBS"
TENANT = "local"
"""The tenant of an embedded installation: one person, one folder."""

MODE = "OMEGA_MODE"
MODES = ("development", "production")
LOG_LEVEL = "OMEGA_LOG_LEVEL"
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
ALWAYS = {"TENANT_ISOLATION": "strict", "AUDIT_LEVEL": "enterprise"}
"""Settings that can only be what holds anyway."""

SCHEMES = ("postgresql", "postgres")
NEAR = ("", "localhost", "127.0.0.1", "::1")
"""Hosts that are this machine."""

VERIFIED = ("verify-ca", "verify-full")
"""The values of `sslmode` with which the server's certificate is looked at (libpq)."""

MAX_ADDRESS = 4_096
"""Longest address of a store, in characters."""

_ADVICE = f"write {STORE}=postgresql://USER@HOST/DATABASE, env:NAME or file:PATH; leave it empty for SQLite in OMEGA_HOME"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the records lie. `dsn` is empty for SQLite in OMEGA_HOME; `shown` names the place without user and password."""

    dsn: str = field(default="", repr=False)
    shown: str = ""

    @property
    def shared(self) -> bool:
        """Whether several engines may work there at once."""
        return bool(self.dsn)

    @property
    def checked(self) -> bool:
        """Whether nobody on the way can pass for the database: it is on this machine, or the address has its certificate looked at."""
        parts = urlsplit(self.dsn)
        query = parse_qs(parts.query)
        host = parts.hostname or query.get("host", [""])[0]
        return host in NEAR or host.startswith("/") or query.get("sslmode", [""])[0] in VERIFIED

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def read(cls, text: str) -> Address:
        """From what OMEGA_STORE holds. Raises InputError (OMG-X001), which never repeats the text: it may hold a password."""
        found = referred(text, STORE)
        if not found:
            return cls()
        try:
            parts = urlsplit(found)
            known = parts.scheme in SCHEMES and len(found) <= MAX_ADDRESS
            query = parse_qs(parts.query)
            host = parts.hostname or query.get("host", ["localhost"])[0]
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            known = False
        if not known:
            raise InputError("OMG-X001", f"{STORE} holds no address of a PostgreSQL database", advice=_ADVICE)
        schema = query.get("search_path", [""])[0]
        return cls(found, f"postgresql://{host}{port}/{parts.path.strip('/')}{f' ({schema})' if schema else ''}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the data lies and who works here. `person` comes from the operating system's user."""

    home: Path
    tenant: str
    person: str
    store: Address = Address()
    wakeups: str = field(default="", repr=False)
    blobs: str = ""
    mode: str = MODES[0]
    log_level: str = "warning"

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> Settings:
        """The settings of this process; `home` outweighs OMEGA_HOME. Raises InputError (OMG-X001) for a store that cannot be meant,
        and for a setting that has no such value."""
        for name, always in ALWAYS.items():
            _one_of(name, (always,))
        folder = Path(home if home is not None else os.environ.get("OMEGA_HOME") or DEFAULT_HOME).expanduser()
        wakeups = referred(os.environ.get(WAKEUPS, ""), WAKEUPS)
        return cls(
            folder.absolute(),
            TENANT,
            _person(),
            Address.read(os.environ.get(STORE, "")),
            wakeups,
            os.environ.get(BLOBS, ""),
            _one_of(MODE, MODES) or MODES[0],
            _one_of(LOG_LEVEL, LOG_LEVELS) or "warning",
        )

    @property
    def keys(self) -> Path:
        """The key store."""
        return self.home / "keys"

    @property
    def policies(self) -> Path:
        """The operator's own policies, beside the default set."""
        return self.home / "policies"

    @property
    def place(self) -> str:
        """Where the records lie, for people."""
        return self.store.shown or str(self.home)


def _one_of(name: str, known: tuple[str, ...]) -> str:
    """The value of a variable, empty where it is not set. Raises InputError (OMG-X001) for one that it cannot have."""
    text = os.environ.get(name, "").strip().lower()
    if text and text not in known:
        raise InputError("OMG-X001", f"{name} cannot be {text[:40]!r} here", advice=f"set it to {' or '.join(known)}, or leave it out")
    return text


def referred(text: str, setting: str) -> str:
    """What `text` says, or what the reference in it (env:NAME, file:PATH) points to.

    Raises InputError (OMG-X001) naming the reference, never what it holds.
    """
    kind, _, name = text.strip().partition(":")
    if kind == "env":
        found = os.environ.get(name, "")
        reason = "that variable is not set"
    elif kind == "file":
        path = Path(name.removeprefix("//")).expanduser()
        try:
            with path.open(encoding="utf-8") as file:
                found, reason = file.read(MAX_ADDRESS + 1).strip(), "that file is empty"
        except (OSError, UnicodeDecodeError) as error:
            found = ""
            reason = (error.strerror or "unknown").lower() if isinstance(error, OSError) else "it is not UTF-8 text"
    else:
        return text.strip()
    if not found:
        raise InputError("OMG-X001", f"{setting} refers to {kind}:{name[:200]}: {reason}", advice=_ADVICE)
    return found


def _person() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no entry in the user database, as in some containers
        name = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._@-]", "-", name)[:64] or "owner"
