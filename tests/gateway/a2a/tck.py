"""Run the A2A project's own test kit against this installation.

    python tests/gateway/a2a/tck.py PATH [--transport jsonrpc,http_json,grpc] [-- PYTEST ARGUMENTS]

PATH is a copy of github.com/a2aproject/a2a-tck (branch 1.0-dev) with an environment of its own in PATH/.venv, in which it is installed. The
kit shows no passport, so each of its requests is given one before it comes to the door; all else is as `omega up` has it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from omega.gateway.a2a.grpc_listener import GrpcListener, GrpcPlace
from omega.gateway.front.core import AsgiScope, Receive, Send
from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.host.a2a_telling import telling
from omega.host.embedded import Omega
from omega.host.house import House, entrances, put_up
from omega.host.publishing import PUBLISHED
from omega.host.targets import Target

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.a2a.kit import kit

AGENT = "tck"
PUBLISHING: dict[str, Any] = {
    "flow": "tck",
    "title": "Test kit agent",
    "description": "does what the scenarios of the test kit ask for",
    "takes": "message",
    "front": True,
    "networks": ["127.0.0.0/8", "::1/128"],
}


class Passing(Door):
    """A door that gives whoever shows none the passport of the owner."""

    omega: Omega

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not any(name == b"authorization" for name, _ in scope["headers"]):
            shown = (b"authorization", f"Bearer {self.omega.passport()}".encode())
            scope = {**scope, "headers": [*scope["headers"], shown]}
        await super().__call__(scope, receive, send)


async def examine(path: Path, arguments: list[str]) -> int:
    """The exit status of the kit."""
    with tempfile.TemporaryDirectory() as home:
        async with Omega.open(home) as omega, telling(omega):
            await omega.arrange(PUBLISHED, AGENT, PUBLISHING)
            house = House(omega, await put_up(omega, [Target("tests:kit", kit, ())]))
            door = Passing(entrances(house), Manners(hosts=frozenset({"127.0.0.1", "localhost"})), ready=house.ready, prefix="req_")
            door.omega = omega
            listener = Listener(door, Place(host="127.0.0.1", port=0))
            await listener.start()
            grpc = GrpcListener(door, GrpcPlace(host="127.0.0.1", port=0, base=listener.url))
            await grpc.start()
            house.a2a_grpc = grpc.port
            try:
                command = ["-m", "pytest", "tests/compatibility", f"--sut-host={listener.url}/a2a/{AGENT}", "-q", *arguments]
                process = await asyncio.create_subprocess_exec(str(path / ".venv" / "bin" / "python"), *command, cwd=path)
                return await process.wait()
            finally:
                await grpc.stop()
                listener.close()
                await listener.stop()


def main() -> int:
    """Parse the command line, and run the kit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--transport", default="jsonrpc,http_json,grpc")
    given, rest = parser.parse_known_args()
    return asyncio.run(examine(given.path.resolve(), [f"--transport={given.transport}", *[each for each in rest if each != "--"]]))


if __name__ == "__main__":
    sys.exit(main())
