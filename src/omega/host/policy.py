"""The operator's policies: the default set and every `*.cedar` file in OMEGA_HOME/policies."""

from __future__ import annotations

from pathlib import Path

from omega.kernel.errors import StorageError
from omega.warden.policies import Bundle, default_sources

MAX_FILE = 1 << 20
"""Largest policy file in bytes."""


def sources(folder: Path) -> dict[str, str]:
    """The policy texts by file name, the default set first. Raises StorageError (OMG-S002) when one cannot be read."""
    found = dict(default_sources())
    for path in sorted(folder.glob("*.cedar")) if folder.is_dir() else ():
        try:
            if path.stat().st_size > MAX_FILE:
                raise StorageError("OMG-S002", f"{path} is larger than {MAX_FILE:,} bytes")
            found[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError("OMG-S002", f"{path} cannot be read: {error}") from error
    return found


def load_bundle(folder: Path) -> Bundle:
    """The bundle in force. Raises InputError (OMG-W003) naming file and line of what is wrong: no half of a policy set is ever used."""
    return Bundle.load(sources(folder))
