"""Every adapter of the small ports and every effector passes the suite of its port unchanged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from omega.adapters.files import FileEffector
from omega.adapters.keystore import Keystore
from omega.adapters.mcp import McpEffector, ToolDescription, Transport, Upstream
from omega.adapters.memory import MemoryStore
from omega.adapters.models import ModelEffector
from omega.adapters.process import ProcessEffector, launch
from omega.adapters.records import RecordsEffector
from omega.chronicle.sequencer import LogSequencer
from omega.host.clock import SystemClock, SystemEntropy
from omega.kernel.effects import Command, ListExecutions, ModelCall, ToolCall, WriteFiles
from omega.kernel.ports import Clock, Entropy, Line, Sealer, Search, Sequencer, Signer
from omega.kernel.sandbox import Sandbox
from omega.testing.clock import FakeClock
from omega.testing.conformance import (
    ClockConformance,
    EffectorCase,
    EffectorConformance,
    EntropyConformance,
    NoteSequencer,
    SealerConformance,
    SequencerConformance,
    SignerConformance,
)
from omega.testing.entropy import SeededEntropy
from omega.trust.sealing import Keyring
from servers.chat import serving


@pytest.mark.promise("GATE-03")
class TestProcess(EffectorConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> EffectorCase:
        return EffectorCase(ProcessEffector(), Command(argv=("touch", str(tmp_path / "it"))), (tmp_path / "it").exists)


@pytest.mark.promise("GATE-03")
class TestFiles(EffectorConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> EffectorCase:
        return EffectorCase(FileEffector(), WriteFiles(files={str(tmp_path / "it"): b"1"}), (tmp_path / "it").exists)


@pytest.mark.promise("GATE-03")
class TestRecords(EffectorConformance):
    @pytest.fixture
    def case(self) -> EffectorCase:
        asked: list[str] = []

        class Watched(MemoryStore):
            def search(self, search: Search) -> list[Line]:
                asked.append(search.tenant)
                return super().search(search)

        store = Watched(sequencer=NoteSequencer(), owner="test", now_us=SystemClock().now_us)
        return EffectorCase(RecordsEffector(store), ListExecutions(), lambda: asked == ["ten_one"])


@pytest.mark.promise("GATE-03")
class TestModel(EffectorConformance):
    @pytest.fixture
    def case(self) -> object:
        with serving() as url:
            answered: list[str] = []

            class Watched(ModelEffector):
                async def perform(self, *given: object, **named: object) -> object:  # type: ignore[override]
                    answer = await super().perform(*given, **named)  # type: ignore[arg-type]
                    answered.append(str(answer[0]))
                    return answer

            effector = Watched({"OMEGA_MODEL_URL": f"{url}/v1", "OMEGA_MODEL": "echo", "OMEGA_MODEL_KEY": "k"})
            yield EffectorCase(effector, ModelCall(instructions="be brief", prompt="hello"), lambda: bool(answered))  # type: ignore[arg-type]


SERVER = """
import pathlib, sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("witness")

@server.tool()
def tool() -> str:
    pathlib.Path(sys.argv[1]).write_text("called")
    return "done"

server.run()
"""


@pytest.mark.slow
@pytest.mark.promise("GATE-03")
class TestMcp(EffectorConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> EffectorCase:
        import asyncio

        from omega.adapters.mcp import describe

        (tmp_path / "server.py").write_text(SERVER)
        argv = (sys.executable, str(tmp_path / "server.py"), str(tmp_path / "it"))
        upstream = Upstream(name="server", transport=Transport.STDIO, argv=argv, sandbox=Sandbox(write=(str(tmp_path),)))
        pins: dict[str, ToolDescription] = {tool.name: tool for tool in asyncio.run(describe(upstream, launch))}
        effector = McpEffector({"server": upstream}.get, lambda server, tool: pins.get(tool), launch)
        return EffectorCase(effector, ToolCall(server="server", tool="tool", arguments={}), (tmp_path / "it").exists)


class TestSystemClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestFakeClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return FakeClock()


class TestSystemEntropy(EntropyConformance):
    @pytest.fixture
    def entropy(self) -> Entropy:
        return SystemEntropy()


class TestSeededEntropy(EntropyConformance):
    @pytest.fixture
    def entropy(self) -> Entropy:
        return SeededEntropy(7)


class TestFileSigner(SignerConformance):
    @pytest.fixture
    def signer(self, tmp_path: Path) -> Signer:
        return Keystore.open(tmp_path / "keys").signer("log")


class TestExecutionSealer(SealerConformance):
    @pytest.fixture
    def sealers(self) -> tuple[Sealer, Sealer]:
        ring = Keyring(bytes(range(32)), entropy=SystemEntropy().take)
        return ring.create("exe_1")[1], ring.create("exe_2")[1]


class TestLogSequencer(SequencerConformance):
    @pytest.fixture
    def sequencer(self, tmp_path: Path) -> Sequencer:
        return LogSequencer(Keystore.open(tmp_path / "keys").signer("log"), origin=lambda tenant: f"omega.test/{tenant}")


class TestNoteSequencer(SequencerConformance):
    @pytest.fixture
    def sequencer(self) -> Sequencer:
        return NoteSequencer()
