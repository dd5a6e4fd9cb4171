"""What a tool server that is a process of ours may do on this machine: data only; the shield around the process holds it to that.

Whatever is not granted is refused. Every server has what programs need to run (the system's folders, its own program) and a folder of its
own that is removed with it; this is what it gets on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.kernel.errors import InputError

NOTHING: Final = "none"
EVERYTHING: Final = "all"
MAX_PATHS: Final = 100
"""Most paths of one kind: each is a rule that the kernel looks at when a file is opened."""

MAX_PORTS: Final = 32
_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Grants of one server. `read`: files and folders that it may read and run, `write`: those that it may change, too, all as absolute
    paths. `network`: `none`, `all`, or the TCP ports that it may connect to (`443` or `443,5432`). Not `on`: it may do what the user may.

    Raises InputError (OMG-I001) for what is no path or no port.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: str = NOTHING
    on: bool = True

    def __post_init__(self) -> None:
        for path in (*self.read, *self.write):
            odd = any(part in ("", ".", "..") for part in path[1:].split("/") if path != "/") or "\n" in path or "\0" in path
            if odd or not path.startswith("/"):
                raise InputError("OMG-I001", f"{path[:200]!r} is no path that can be granted: it must be absolute and plain")
        if max(len(self.read), len(self.write)) > MAX_PATHS:
            raise InputError("OMG-I001", f"more than {MAX_PATHS} paths are granted: grant a folder that holds them")
        _ = self.ports

    @property
    def ports(self) -> tuple[int, ...] | None:
        """The TCP ports that may be connected to; None where nothing is held back."""
        if self.network == EVERYTHING:
            return None
        if self.network == NOTHING:
            return ()
        texts = self.network.split(",")
        if len(texts) > MAX_PORTS or not all(text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_PORT for text in texts):
            raise InputError("OMG-I001", f"{self.network[:80]!r} is no network: say {NOTHING}, {EVERYTHING}, or TCP ports such as 443,5432")
        return tuple(int(text) for text in texts)

    @property
    def told(self) -> str:
        """In one line, for people."""
        if not self.on:
            return "not confined"
        parts = [f"reads {path}" for path in self.read if path not in self.write] + [f"writes {path}" for path in self.write]
        network = {NOTHING: [], EVERYTHING: ["network"]}.get(self.network, [f"ports {self.network}"])
        return ", ".join(["confined", *parts, *network])

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"on": self.on, "read": list(self.read), "write": list(self.write), "network": self.network}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sandbox:
        """From plain data. Raises InputError (OMG-I001) for anything that was not written by `to_json`."""
        read, write, network, on = (data.get(key) for key in ("read", "write", "network", "on"))
        lists = isinstance(read, list) and isinstance(write, list) and all(isinstance(path, str) for path in (*read, *write))
        if set(data) != {"read", "write", "network", "on"} or not lists or not isinstance(network, str) or not isinstance(on, bool):
            raise InputError("OMG-I001", "the sandbox of a tool server is not understood")
        return cls(read=tuple(read or ()), write=tuple(write or ()), network=network, on=on)


PLAIN: Final = Sandbox()
"""What a server gets that was granted nothing."""
