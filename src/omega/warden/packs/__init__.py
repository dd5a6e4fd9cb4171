"""Policy packs: named, versioned sets of policies that ship with Omega, each with its cases. One is a few lines that a person can read.

A pack is copied when it is used, so a newer release changes nothing that is in force; `omega policy packs` says when a newer version is
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from omega.kernel.errors import InputError


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack: its name, version, what it does in one sentence, its policies and the cases that hold for them beside the default set."""

    name: str
    version: str
    summary: str
    policies: str
    tests: str

    @property
    def file(self) -> str:
        """The name of its policy file where it is in force."""
        return f"pack-{self.name}.cedar"

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


_SHIPPED = (
    ("strict", "1.0.0", "every write waits for an owner, what cannot be undone for two, and agents do nothing but read"),
    ("read-only-agents", "1.0.0", "agents, and whoever they act for, read and do nothing else, whatever groups they carry"),
    ("change-windows", "1.0.0", "tools change things only while the fact change-window is open, or with a person of role oncall"),
    ("roles", "1.0.0", "viewers read, members run flows, admins arrange, in each tenant for which the fact roles is default"),
)


@cache
def packs() -> tuple[Pack, ...]:
    """Every pack that ships, in the order in which they are listed."""
    folder = resources.files("omega.warden.packs")
    return tuple(
        Pack(
            name,
            version,
            summary,
            folder.joinpath(f"{name}.cedar").read_text(encoding="utf-8"),
            folder.joinpath(f"{name}.test.yaml").read_text(encoding="utf-8"),
        )
        for name, version, summary in _SHIPPED
    )


def pack(name: str) -> Pack:
    """The pack of that name. Raises InputError (OMG-X001)."""
    for each in packs():
        if each.name == name:
            return each
    raise InputError("OMG-X001", f"there is no pack {name[:80]!r}", advice=f"known are {', '.join(each.name for each in packs())}")
