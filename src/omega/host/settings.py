"""Settings: few, typed, from the environment. Nothing here is a secret."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_HOME = "~/.omega"
TENANT = "local"
"""The tenant of an embedded installation: one person, one folder."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the data lies and who works here. `home` comes from OMEGA_HOME, `person` from the operating system's user."""

    home: Path
    tenant: str
    person: str

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> Settings:
        """The settings of this process; `home` outweighs the environment."""
        folder = Path(home if home is not None else os.environ.get("OMEGA_HOME") or DEFAULT_HOME).expanduser()
        return cls(folder.absolute(), TENANT, _person())

    @property
    def keys(self) -> Path:
        """The key store."""
        return self.home / "keys"

    @property
    def policies(self) -> Path:
        """The operator's own policies, beside the default set."""
        return self.home / "policies"


def _person() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no entry in the user database, as in some containers
        name = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._@-]", "-", name)[:64] or "owner"
