"""What a tenant's programs may use: real processes that spin, allocate and fork, alone and as tool servers, ended when they go over."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.mcp import McpEffector, Transport, Upstream, describe
from omega.adapters.process import NO_CAPS, Caps, ProcessEffector, launch
from omega.host.confining import caps_of
from omega.kernel.effects import Command, CommandResult, ToolCall
from omega.kernel.errors import OmegaError
from omega.kernel.sandbox import Sandbox

SERVERS = Path(__file__).resolve().parents[1] / "servers"
HUNGRY = """
    import sys, time
    taken = []
    while len(taken) < 60:
        taken.append(b"x" * (10 << 20))
        time.sleep(0.02)
    print("took it all")
"""
SPINNING = "while True: pass"
IN_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', {code!r}])"
FORKING = """
    import os, time
    for _ in range(20):
        if os.fork() == 0:
            time.sleep(30)
    time.sleep(30)
"""


def run(code: str, caps: Caps, **fields: float) -> CommandResult:
    command = Command(argv=(sys.executable, "-I", "-S", "-c", textwrap.dedent(code)), timeout_s=fields.get("timeout_s", 25.0))
    effector = ProcessEffector(lambda tenant: caps if tenant == "ten_test" else NO_CAPS)
    return asyncio.run(effector.perform(permit_for("process"), command, execution=EXECUTION, step=STEP))[0]


@pytest.mark.promise("TEN-31")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "caps", "told"),
    [
        (HUNGRY, Caps(memory_mb=150), "more than 150 MB of memory"),
        (IN_A_CHILD.format(code=textwrap.dedent(HUNGRY)), Caps(memory_mb=150), "more than 150 MB of memory"),
        (SPINNING, Caps(cpu_s=1), "more than 1 seconds of processor time"),
        (IN_A_CHILD.format(code=SPINNING), Caps(cpu_s=1), "more than 1 seconds of processor time"),
        (FORKING, Caps(processes=8), "more than 8 processes at once"),
    ],
    ids=["memory", "memory of a child", "processor", "processor of a child", "processes"],
)
def test_a_tree_that_goes_over_a_cap_is_ended_with_a_code(code: str, caps: Caps, told: str, tmp_path: Path) -> None:
    with pytest.raises(OmegaError) as caught:
        run(code, caps)
    assert caught.value.code == "OMG-P008" and caught.value.details["cap"] == told and told in caught.value.cause


@pytest.mark.promise("TEN-31")
@pytest.mark.slow
def test_what_stays_below_its_caps_notices_nothing() -> None:
    result = run("print(sum(range(1000)))", Caps(cpu_s=20, memory_mb=256, processes=4))
    assert (result.code, result.stdout, result.stderr) == (0, b"499500\n", b"")


def test_one_allocation_above_twice_the_cap_is_refused_by_the_kernel() -> None:
    with pytest.raises(OmegaError) as caught:
        run("b'x' * (400 << 20)", Caps(memory_mb=64))
    assert caught.value.code in ("OMG-P002", "OMG-P008")
    assert caught.value.code == "OMG-P008" or "MemoryError" in caught.value.details["last_words"]


def test_a_program_cannot_pretend_to_have_been_capped_where_it_is_not() -> None:
    code = "import sys; sys.stderr.write('omega shield: more than 1 MB of memory'); sys.exit(125)"
    with pytest.raises(OmegaError) as caught:
        run(code, NO_CAPS)
    assert caught.value.code == "OMG-P002"


def test_the_shield_is_told_of_caps_alone_where_there_are_some() -> None:
    plain, _ = launch((sys.executable,), cwd=None, env={})
    capped, _ = launch((sys.executable,), cwd=None, env={}, caps=Caps(cpu_s=3, processes=2))
    assert [word for word in capped if word not in plain] == ["--caps=cpu_s:3,processes:2"]


def test_the_caps_of_a_tenant_stand_in_its_plan() -> None:
    assert caps_of({"limits": {"cpu_s": 60, "memory_mb": 512, "requests_per_s": 1.0}}) == Caps(cpu_s=60, memory_mb=512)
    assert caps_of({}) == NO_CAPS


@pytest.mark.promise("TEN-31")
@pytest.mark.slow
def test_a_tool_server_that_goes_over_a_cap_is_ended_and_the_next_call_has_a_new_one(tmp_path: Path) -> None:
    server = tmp_path / "hungry.py"
    server.write_text(
        textwrap.dedent("""
        from mcp.server.mcpserver import MCPServer

        server = MCPServer("hungry")
        kept = []

        @server.tool()
        def eat(mb: int) -> int:
            import time
            for _ in range(mb // 10):
                kept.append(b"x" * (10 << 20))
                time.sleep(0.02)
            return mb

        server.run("stdio")
        """)
    )
    upstream = Upstream(name="hungry", transport=Transport.STDIO, argv=(sys.executable, str(server)))
    shared, alone = [], []

    def confined(tenant: str) -> object:
        if tenant != "ten_test":
            return None
        alone.append(tenant)
        return capped

    def capped(argv: tuple[str, ...], *, cwd: str | None, env: dict[str, str], sandbox: Sandbox) -> tuple[tuple[str, ...], dict[str, str]]:
        shared.append(argv)
        return launch(argv, cwd=cwd, env=env, sandbox=sandbox, caps=Caps(memory_mb=220))

    async def whole() -> None:
        pins = {tool.name: tool for tool in await describe(upstream, launch)}
        effector = McpEffector(lambda name: upstream, lambda server, tool: pins[tool], launch, confined=confined)
        try:
            for mb, code in ((10, ""), (1_000, "OMG-P008"), (10, "")):
                call = ToolCall(server="hungry", tool="eat", arguments={"mb": mb}, timeout_s=30)
                try:
                    value, _ = await effector.perform(permit_for("mcp"), call, execution=EXECUTION, step=STEP)
                    assert (code, value["result"] if isinstance(value, dict) else value) == ("", mb)
                except OmegaError as error:
                    assert error.code == code and "more than 220 MB of memory" in error.cause
        finally:
            await effector.aclose()

    asyncio.run(whole())
    assert len(shared) == 2 and alone, "one process for the first two calls, another one for the last"


def test_the_words_of_the_shield_are_those_that_its_readers_know() -> None:
    from omega.adapters.mcp import stdio
    from omega.adapters.process import shield

    assert (stdio.CAPPED, stdio.CAPPED_WORDS) == (shield.CAPPED, shield.MARK)
    assert subprocess.run([sys.executable, "-I", "-S", shield.__file__, "1", "--caps=cpu_s:1", "/bin/true"], check=False).returncode == 127
