"""Contexts: the installations that somebody has signed in to, each with its address, its tenant and its credentials.

One file, `contexts.json` in OMEGA_HOME, for its owner alone: it holds API keys and passports. It is written whole or not at all, and
refused when anybody else can read it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from omega.client.credentials import ApiKey, Credentials, Nobody, Passport
from omega.kernel.errors import InputError, StorageError

FILE: Final = "contexts.json"
FORMAT: Final = 1
MAX_CONTEXTS: Final = 1_000
MAX_BYTES: Final = 4 << 20
HERE: Final = "here"
"""The name of no context: commands work on this machine."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One installation: `key` is an API key, `passport` a passport that ends at `until_s` (Unix seconds; 0 when that is not known)."""

    address: str
    tenant: str = ""
    environment: str = ""
    key: str = field(default="", repr=False)
    passport: str = field(default="", repr=False)
    until_s: float = 0.0


class Contexts:
    """The contexts of one OMEGA_HOME."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def read(self) -> tuple[str, dict[str, Context]]:
        """The name of the current context (empty: none, commands work on this machine) and all of them by name.

        Raises StorageError: OMG-T003 when others can read the file, OMG-S003 when it is of a newer release, OMG-S002 when it is damaged.
        """
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return "", {}
        except OSError as error:
            raise StorageError("OMG-S002", f"{self._path} cannot be read: {(error.strerror or 'unknown').lower()}") from error
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise StorageError(
                    "OMG-T003", f"{self._path} is open to others", advice=f"chmod 600 {self._path}, and change what it holds"
                )
            return self._opened(file.read(MAX_BYTES + 1))

    def _opened(self, raw: bytes) -> tuple[str, dict[str, Context]]:
        try:
            document = json.loads(raw)
            if document["format"] > FORMAT:
                raise StorageError("OMG-S003", f"{self._path} was written by a newer release")
            found = {name: Context(**facts) for name, facts in document["contexts"].items()}
            return str(document["current"]), found
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError("OMG-S002", f"{self._path} is damaged", advice="remove it and sign in again with omega login") from error

    def keep(self, name: str, context: Context, *, use: bool = True) -> None:
        """Keep a context under `name`, in place of an earlier one; from now on it is the current one, with `use`."""
        chosen, known = self.read()
        if _NAME.fullmatch(name) is None or name == HERE or len(known) >= MAX_CONTEXTS:
            raise InputError("OMG-X001", f"{name[:64]!r} cannot name a context: lower-case letters, digits, dots, dashes")
        self._write(name if use else chosen, known | {name: context})

    def use(self, name: str) -> None:
        """Make `name` the current context; empty for none. Raises InputError (OMG-X011)."""
        _, known = self.read()
        if name and name not in known:
            raise InputError("OMG-X011", f"there is no context {name[:64]!r}")
        self._write(name, known)

    def forget(self, name: str) -> None:
        """Forget a context and its credentials. Raises InputError (OMG-X011)."""
        chosen, known = self.read()
        if name not in known:
            raise InputError("OMG-X011", f"there is no context {name[:64]!r}")
        del known[name]
        self._write("" if chosen == name else chosen, known)

    def credentials(self, name: str, context: Context) -> Credentials:
        """What `context` proves who it is with; a newer passport is kept for the next command."""

        def renewed(passport: str, until_s: float) -> None:
            self.keep(name, replace(context, passport=passport, until_s=until_s), use=False)

        if context.key:
            return ApiKey(context.key, passport=context.passport, until_s=context.until_s, renewed=renewed)
        return Passport(context.passport, renewed) if context.passport else Nobody()

    def chosen(self, name: str = "", *, tenant: str = "", environment: str = "") -> tuple[str, Context] | None:
        """The context called `name`, else the current one, else (with `tenant` or `environment`) the first that is for those; None for this
        machine. Raises InputError (OMG-X011) when there is none that fits."""
        current, known = self.read()
        if name == HERE or not (name or tenant or environment or current):
            return None
        for each in (name,) if name else (current, *sorted(known)):
            found = known.get(each)
            if found is not None and tenant in ("", found.tenant) and environment in ("", found.environment):
                return each, found
        wanted = " ".join(text for text in (name, tenant, environment) if text)
        raise InputError("OMG-X011", f"there is no context {wanted[:80]!r} (there are: {', '.join(sorted(known)) or 'none'})")

    def _write(self, current: str, contexts: Mapping[str, Context]) -> None:
        document: dict[str, Any] = {
            "format": FORMAT,
            "current": current,
            "contexts": {name: asdict(context) for name, context in sorted(contexts.items())},
        }
        draft = self._path.with_name(f".{FILE}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "w") as file:
                os.fchmod(file.fileno(), 0o600)
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise StorageError("OMG-S002", f"{self._path} cannot be written: {(error.strerror or 'unknown').lower()}") from error
        finally:
            draft.unlink(missing_ok=True)
