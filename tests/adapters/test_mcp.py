"""Tools of MCP servers: what is pinned is what is called, and no server, however hostile, costs more than one coded error."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.permits import EXECUTION, STEP, TRACE, permit_for
from omega.adapters.mcp import Limits, McpEffector, ToolDescription, Transport, Upstream, describe
from omega.adapters.mcp.limits import REPORTED
from omega.adapters.mcp.passing import PassedCall
from omega.adapters.mcp.session import Session
from omega.adapters.process import launch
from omega.kernel.effects import Command, Effect, Receipt, ToolCall
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.ids import span_of
from omega.kernel.sandbox import Sandbox
from servers.canned import answering

SERVERS = Path(__file__).resolve().parents[1] / "servers"
PATIENCE_S = 60.0
QUICK = Limits(backoff_s=0.01, exit_s=0.3)


def raw(behaviour: str, folder: Path | str = "", **fields: Any) -> Upstream:
    argv = (sys.executable, "-I", "-S", str(SERVERS / "raw_mcp.py"), behaviour, str(folder))
    grants = Sandbox(write=(str(folder),) if folder else ())
    return Upstream(name="raw", transport=Transport.STDIO, argv=argv, sandbox=grants, **fields)


def pin(name: str, **changes: Any) -> ToolDescription:
    """What the well-behaved raw server says of its tool `name`."""
    return ToolDescription.from_json({**PINS[name].to_json(), **changes})


@pytest.fixture(scope="session", autouse=True)
def _pins() -> None:
    PINS.update({tool.name: tool for tool in asyncio.run(describe(raw("good"), launch))})


PINS: dict[str, ToolDescription] = {}
Call = Callable[..., Awaitable[Any]]


class Bench:
    """One effector on one upstream, and short ways to use it."""

    def __init__(self, upstream: Upstream, pins: dict[str, ToolDescription] | None = None, **options: Any) -> None:
        self.upstream = upstream
        self.pins = PINS if pins is None else pins
        options.setdefault("limits", QUICK)
        self.effector = McpEffector(self._find, lambda server, tool: self.pins.get(tool), launch, **options)

    def _find(self, name: str) -> Upstream | None:
        return self.upstream if name == self.upstream.name else None

    async def call(self, tool: str = "echo", *, timeout_s: float = 10.0, cwd: str | None = None, **arguments: Any) -> Any:
        return (await self.touch(tool, timeout_s=timeout_s, cwd=cwd, **arguments))[0]

    async def touch(self, tool: str = "echo", *, timeout_s: float = 10.0, cwd: str | None = None, **arguments: Any) -> tuple[Any, Receipt]:
        request = ToolCall(server=self.upstream.name, tool=tool, arguments=arguments, timeout_s=timeout_s, cwd=cwd)
        return await self.effector.perform(permit_for("mcp"), request, execution=EXECUTION, step=STEP)

    async def fails(self, tool: str = "echo", **arguments: Any) -> OmegaError:
        with pytest.raises(OmegaError) as caught:
            await self.call(tool, **{"text": "x", **arguments})
        return caught.value


@asynccontextmanager
async def bench(upstream: Upstream, pins: dict[str, ToolDescription] | None = None, **options: Any) -> AsyncIterator[Bench]:
    made = Bench(upstream, pins, **options)
    try:
        yield made
    finally:
        await made.effector.aclose()


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def nothing_left(folder: Path) -> bool:
    return not any(alive(int(pid)) for pid in lines(folder, "pids"))


# A server that behaves


@pytest.mark.promise("TOOL-01")
def test_describes_the_tools_of_a_server() -> None:
    echo = PINS["echo"]
    assert list(PINS) == ["echo", "count", "change"]
    assert (echo.server, echo.title, echo.description, echo.effect) == ("raw", "Echo", "Gives back what it gets.", Effect.READ)
    assert echo.input_schema["required"] == ["text"]
    assert echo.output_schema is None
    assert PINS["count"].output_schema["required"] == ["letters"]
    assert PINS["count"].effect is Effect.WRITE


def test_calls_give_text_or_structure_and_a_receipt() -> None:
    async def scenario() -> None:
        async with bench(raw("good")) as it:
            value, receipt = await it.touch("echo", text="ab", times=2)
            assert value == "abab"
            assert receipt.bytes_out == len('{"text":"ab","times":2}')
            assert receipt.bytes_in > len("abab")
            assert await it.call("count", text="four") == {"letters": 4}

    asyncio.run(scenario())


def test_one_session_serves_many_calls_and_is_told_who_asks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path)) as it:
            answers = await asyncio.gather(*(it.call(text=str(number)) for number in range(20)))
            assert answers == [str(number) for number in range(20)]

    asyncio.run(scenario())
    assert len(lines(tmp_path, "starts")) == 1
    meta = json.loads(lines(tmp_path, "calls")[0])["_meta"]
    assert meta["omega/execution"] == EXECUTION
    assert meta["omega/tenant"] == "ten_test"
    assert meta["traceparent"] == f"00-{TRACE}-{span_of(TRACE, EXECUTION, STEP)}-01"
    assert meta["omega/step"] == STEP
    assert meta["omega/idempotency-key"] == f"{EXECUTION}/{STEP}"
    assert nothing_left(tmp_path)


def test_each_working_folder_has_a_server_of_its_own(tmp_path: Path) -> None:
    notes, one, two = tmp_path / "notes", tmp_path / "one", tmp_path / "two"
    for folder in (notes, one, two):
        folder.mkdir()

    async def scenario() -> None:
        async with bench(raw("good", notes)) as it:
            for folder in (one, two, one):
                await it.call(text="x", cwd=str(folder))
            folders = {os.readlink(f"/proc/{pid}/cwd") for pid in lines(notes, "pids")}
            assert folders == {str(one), str(two)}

    asyncio.run(scenario())
    assert len(lines(notes, "starts")) == 2


def test_sessions_beyond_the_limit_are_closed_longest_unused_first(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("notes", "a", "b", "c")]
    for folder in folders:
        folder.mkdir()

    async def scenario() -> None:
        async with bench(raw("good", folders[0]), limits=Limits(sessions=2, exit_s=0.3)) as it:
            for folder in folders[1:]:
                await it.call(text="x", cwd=str(folder))
            assert [alive(int(pid)) for pid in lines(folders[0], "pids")] == [False, True, True]

    asyncio.run(scenario())


def test_changed_record_of_a_server_is_used_from_the_next_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path)) as it:
            await it.call(text="x")
            it.upstream = raw("tool-error", tmp_path)
            assert (await it.fails()).code == "OMG-M007"
        assert len(lines(tmp_path, "starts")) == 2

    asyncio.run(scenario())


def test_banner_on_standard_output_and_chatter_on_standard_error_do_no_harm() -> None:
    async def scenario(behaviour: str) -> None:
        async with bench(raw(behaviour)) as it:
            assert await it.call(text="fine") == "fine"

    asyncio.run(scenario("banner"))
    asyncio.run(scenario("chatty-stderr"))


# What is refused before anything is sent


@pytest.mark.promise("TOOL-07")
@pytest.mark.parametrize(
    ("arguments", "path"),
    [({}, "/"), ({"text": 1}, "/text"), ({"text": "x", "times": 0}, "/times"), ({"text": "x", "more": 1}, "/")],
)
def test_arguments_that_do_not_fit_start_nothing(tmp_path: Path, arguments: dict[str, Any], path: str) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path)) as it:
            with pytest.raises(InputError) as caught:
                await it.call(**arguments)
            assert (caught.value.code, caught.value.details["path"]) == ("OMG-I001", path)

    asyncio.run(scenario())
    assert not lines(tmp_path, "starts")


def test_mismatch_never_repeats_the_value() -> None:
    async def scenario() -> None:
        async with bench(raw("good")) as it:
            error = await it.fails(text={"password": "hunter2-and-more"})
            assert "hunter2" not in json.dumps(error.record())

    asyncio.run(scenario())


def test_unknown_server_and_unpinned_tool_start_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path), pins={}) as it:
            assert (await it.fails()).code == "OMG-M004"
            request = ToolCall(server="other", tool="echo", arguments={})
            with pytest.raises(InputError) as caught:
                await it.effector.perform(permit_for("mcp"), request, execution=EXECUTION, step=STEP)
            assert caught.value.code == "OMG-M005"

    asyncio.run(scenario())
    assert not lines(tmp_path, "starts")


def test_spent_permit_and_foreign_request_start_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path)) as it:
            request = ToolCall(server="raw", tool="echo", arguments={"text": "x"})
            with pytest.raises(Denied):
                await it.effector.perform(permit_for("process"), request, execution=EXECUTION, step=STEP)
            with pytest.raises(InputError):
                await it.effector.perform(permit_for("mcp"), Command(argv=("true",)), execution=EXECUTION, step=STEP)

    asyncio.run(scenario())
    assert not lines(tmp_path, "starts")


@pytest.mark.filterwarnings("ignore")  # the validator library would fetch it with no more than a warning
def test_schema_that_points_elsewhere_is_not_fetched() -> None:
    async def scenario(url: str) -> None:
        schema = {"type": "object", "properties": {"text": {"$ref": url}}}
        async with bench(raw("good"), pins={"echo": pin("echo", input_schema=schema)}) as it:
            error = await it.fails()
            assert (error.code, "does not resolve" in error.cause) == ("OMG-M006", True)

    with answering(200, {"Content-Type": "application/json"}, b'{"type": "integer"}') as url:
        asyncio.run(scenario(url))


# What was pinned is what is called


@pytest.mark.promise("TOOL-02")
def test_description_changed_between_sessions_is_refused_with_the_difference(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("changes-between", tmp_path)) as first:
            assert await first.call(text="x") == "x"
        async with bench(raw("changes-between", tmp_path)) as second:
            error = await second.fails()
            assert (error.code, error.details["changed"]) == ("OMG-M004", ["description"])
            assert any(line.startswith("+") and "id_ed25519" in line for line in error.details["diff"])
            assert await second.call("count", text="abc") == {"letters": 3}, "tools that did not change stay usable"

    asyncio.run(scenario())
    assert [json.loads(line)["name"] for line in lines(tmp_path, "calls")] == ["echo", "count"]


@pytest.mark.promise("TOOL-02")
def test_description_changed_within_a_session_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("good", tmp_path)) as it:
            assert await it.call(text="x") == "x"
            await it.call("change")
            assert (await it.fails()).code == "OMG-M004"

    asyncio.run(scenario())
    assert len(lines(tmp_path, "calls")) == 2


def test_list_that_grew_old_is_fetched_again_unasked() -> None:
    async def scenario() -> None:
        async with bench(raw("good"), limits=Limits(recheck_s=0.0, exit_s=0.3)) as it:
            await it.call("change")
            seat = next(iter(it.effector._seats._seats.values()))
            assert seat.session is not None
            seat.session._announced = 0  # as if the announcement had been lost
            assert (await it.fails()).code == "OMG-M004"

    asyncio.run(scenario())


def test_check_that_was_cancelled_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with bench(raw("good")) as it:
            await it.call("change")
            asked = asyncio.Event()

            async def never(session: Session, client: object) -> None:
                asked.set()
                await asyncio.sleep(600)

            with monkeypatch.context() as patch:
                patch.setattr(Session, "_list", never)
                task = asyncio.create_task(it.call(text="x"))
                await asked.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await it.fails()).code == "OMG-M004"

    asyncio.run(scenario())


def test_tool_that_is_gone_is_refused() -> None:
    async def scenario() -> None:
        async with bench(raw("drops-tool")) as it:
            assert (await it.fails()).code == "OMG-M005"

    asyncio.run(scenario())


# Servers that misbehave


@pytest.mark.promise("TOOL-03")
def test_server_that_hangs_on_start_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("hangs-on-start-once", tmp_path, timeout_s=0.5)) as it:
            error = await it.fails()
            assert (error.code, "did not start" in error.cause, "sent" in error.details) == ("OMG-M003", True, False)
            assert nothing_left(tmp_path)
            it.upstream = raw("hangs-on-start-once", tmp_path)
            assert await it.call(text="again") == "again"

    asyncio.run(scenario())


def test_short_call_does_not_wait_for_the_start_that_a_longer_one_pays_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("hangs-on-start", tmp_path, timeout_s=2.0)) as it:
            longer = asyncio.create_task(it.fails())
            assert await asyncio.to_thread(wait_until, lambda: len(lines(tmp_path, "pids")) == 1)
            start = time.monotonic()
            assert (await it.fails(timeout_s=0.1)).code == "OMG-M003"
            assert time.monotonic() - start < 1.0
            assert (await longer).code == "OMG-M003"

    asyncio.run(scenario())
    assert len(lines(tmp_path, "starts")) == 1


@pytest.mark.promise("TOOL-03")
def test_server_that_hangs_in_a_call_is_ended_and_started_afresh(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("hangs-once", tmp_path)) as it:
            start = time.monotonic()
            error = await it.fails(timeout_s=1.0)
            assert (error.code, "the call of echo" in error.cause, error.details["sent"]) == ("OMG-M003", True, True)
            assert time.monotonic() - start < 5
            assert nothing_left(tmp_path)
            assert await it.call(text="again") == "again"

    asyncio.run(scenario())
    assert len(lines(tmp_path, "starts")) == 2


@pytest.mark.promise("TOOL-04")
@pytest.mark.promise("TOOL-12")
def test_crash_is_coded_with_last_words_and_without_secrets(tmp_path: Path) -> None:
    async def scenario() -> None:
        upstream = raw("crashes-once", tmp_path, env={"TOKEN": "env:SERVER_TOKEN"})
        async with bench(upstream, secrets={"SERVER_TOKEN": "s3cret-t0ken"}.get) as it:
            error = await it.fails()
            assert isinstance(error, UpstreamError)
            assert (error.code, error.details["exit_code"]) == ("OMG-M002", 7)
            assert error.details["last_words"] == "fatal: it broke, token ***"
            assert error.details["sent"] is True
            assert "s3cret" not in json.dumps(error.record())
            assert await it.call(text="again") == "again"

    asyncio.run(scenario())
    assert len(lines(tmp_path, "starts")) == 2


def test_crash_fails_every_open_call_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("crashes-once", tmp_path)) as it:
            errors = await asyncio.gather(*(it.fails() for _ in range(4)))
            assert {error.code for error in errors} == {"OMG-M002"}
            assert next(iter(it.effector._seats._seats.values())).failures == 1

    asyncio.run(scenario())


def test_server_that_keeps_failing_is_started_with_growing_pauses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("dies-at-start", tmp_path), limits=Limits(backoff_s=0.05, backoff_max_s=0.2, exit_s=0.3)) as it:
            pauses = []
            for _ in range(5):
                error = await it.fails()
                assert (error.code, error.details["exit_code"]) == ("OMG-M001", 3)
                assert error.details["last_words"] == "cannot open the database"
                seat = next(iter(it.effector._seats._seats.values()))
                pauses.append(seat.not_before - time.monotonic())
            assert pauses[0] < 0.06
            assert 0.1 < pauses[3] <= 0.2
            assert pauses[4] <= 0.2, "the pause has an end"

    asyncio.run(scenario())
    assert len(lines(tmp_path, "starts")) == 5


@pytest.mark.promise("TOOL-05")
@pytest.mark.parametrize("behaviour", ["lies", "gives-no-structure"])
def test_answer_that_breaks_its_schema_is_refused(behaviour: str) -> None:
    async def scenario() -> None:
        async with bench(raw(behaviour)) as it:
            error = await it.fails("count")
            assert error.code == "OMG-M006"
            assert await it.call(text="fine") == "fine", "the session goes on"

    asyncio.run(scenario())


def test_result_that_is_none_by_the_protocol_is_refused() -> None:
    async def scenario() -> None:
        async with bench(raw("no-result")) as it:
            assert (await it.fails()).code == "OMG-M006"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-06")
@pytest.mark.parametrize(
    ("behaviour", "code"), [("garbage", "OMG-M001"), ("floods", "OMG-M002"), ("floods-lines", "OMG-M002"), ("huge", "OMG-M002")]
)
def test_flood_is_cut_off_at_its_limit(tmp_path: Path, behaviour: str, code: str) -> None:
    async def scenario() -> None:
        limits = Limits(message_bytes=1 << 20, noise_bytes=1 << 18, exit_s=0.3)
        async with bench(raw(behaviour, tmp_path), limits=limits) as it:
            error = await it.fails()
            assert error.code == code
            assert "more than" in error.cause

    asyncio.run(scenario())
    assert nothing_left(tmp_path)


def test_server_that_closes_its_output_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("closes-stdout", tmp_path)) as it:
            assert (await it.fails()).code == "OMG-M002"

    asyncio.run(scenario())
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("behaviour", ["lists-twice", "pages-for-ever"])
def test_list_of_tools_that_makes_no_sense_is_refused(behaviour: str) -> None:
    async def scenario() -> None:
        async with bench(raw(behaviour), limits=Limits(pages=5, exit_s=0.3)) as it:
            assert (await it.fails()).code == "OMG-M006"

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-12")
def test_error_of_a_tool_is_its_own_code_and_holds_no_secret() -> None:
    async def scenario() -> None:
        async with bench(raw("tool-error", env={"TOKEN": "env:T"}), secrets={"T": "tok-12345678"}.get) as it:
            error = await it.fails()
            assert (error.code, error.details["message"]) == ("OMG-M007", "no such branch, token ***")
        async with bench(raw("refuses")) as it:
            assert (await it.fails()).details["error_code"] == -32602

    asyncio.run(scenario())


@pytest.mark.promise("TOOL-45")
def test_error_of_a_passed_tool_is_bounded_and_holds_no_secret() -> None:
    async def scenario() -> None:
        for behaviour in ("tool-error", "long-tool-error"):
            async with bench(raw(behaviour, env={"TOKEN": "env:T"}), secrets={"T": "tok-12345678"}.get) as it:
                request = PassedCall(server="raw", tool="echo", arguments={"text": "x"}, timeout_s=10.0, more={})
                told, _ = await it.effector.perform(permit_for("mcp"), request, execution=EXECUTION, step=STEP)
                assert told["isError"] is True
                words = json.dumps(told)
                assert "tok-12345678" not in words and "token ***" in words
                assert sum(len(block.get("text", "")) for block in told["content"]) <= REPORTED and len(words) < REPORTED * 2
                assert "structuredContent" not in told

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("upstream", "part"),
    [
        (Upstream(name="raw", transport=Transport.STDIO, argv=("no-such-server",)), "no program"),
        (raw("good", cwd="/no/such/folder"), "does not exist"),
        (raw("good", env={"TOKEN": "env:NOT_SET_ANYWHERE"}), "NOT_SET_ANYWHERE"),
    ],
)
def test_server_that_cannot_be_started_is_coded(upstream: Upstream, part: str) -> None:
    async def scenario() -> None:
        async with bench(upstream, secrets={}.get) as it:
            error = await it.fails()
            assert (error.code, part in error.cause) == ("OMG-M001", True)

    asyncio.run(scenario())


# Cancelling, and leaving nothing behind


@pytest.mark.slow
def test_cancelled_call_leaves_the_session_usable(tmp_path: Path) -> None:
    async def scenario() -> None:
        argv = (sys.executable, str(SERVERS / "sdk_mcp.py"), "stdio")
        upstream = Upstream(name="orderly", transport=Transport.STDIO, argv=argv, sandbox=Sandbox(write=(str(tmp_path),)))
        pins = {tool.name: tool for tool in await describe(upstream, launch)}
        async with bench(upstream, pins) as it:
            assert await it.call("add", a=1, b=2) == {"result": 3}
            session = next(iter(it.effector._seats._seats.values())).session
            for number in range(3):
                notes = tmp_path / str(number)
                task = asyncio.create_task(it.call("wait", seconds=60, notes=str(notes)))
                assert await asyncio.to_thread(wait_until, notes.exists)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await asyncio.to_thread(wait_until, lambda notes=notes: notes.read_text() == "begun\ncancelled\n")
            assert await it.call("add", a=2, b=2) == {"result": 4}
            assert next(iter(it.effector._seats._seats.values())).session is session
            await it.call("grow")
            assert (await _refused(it)).code == "OMG-M004"

    asyncio.run(scenario())


async def _refused(it: Bench) -> OmegaError:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:  # the announcement travels on a stream of its own
        try:
            await it.call("add", a=1, b=1)
        except OmegaError as error:
            return error
    raise AssertionError("the change was never noticed")


def test_call_cancelled_while_the_server_starts_leaves_no_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("hangs-on-start", tmp_path)) as it:
            task = asyncio.create_task(it.call(text="x"))
            assert await asyncio.to_thread(wait_until, lambda: len(lines(tmp_path, "pids")) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert nothing_left(tmp_path)

    asyncio.run(scenario())


@pytest.mark.promise("RUN-15")
def test_closing_ends_what_a_server_forked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(raw("forks", tmp_path)) as it:
            await it.call(text="x")
            assert await asyncio.to_thread(wait_until, lambda: len(lines(tmp_path, "pids")) == 2)

    asyncio.run(scenario())
    assert nothing_left(tmp_path)


def test_loop_that_ends_without_closing_leaves_no_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        assert await Bench(raw("forks", tmp_path)).call(text="x") == "x"
        assert await asyncio.to_thread(wait_until, lambda: len(lines(tmp_path, "pids")) == 2)

    asyncio.run(scenario())
    assert wait_until(lambda: nothing_left(tmp_path))


ENGINE = """
import asyncio, sys
sys.path[:0] = [{tests!r}, {source!r}]
from pathlib import Path
from adapters import test_mcp
async def main():
    test_mcp.PINS.update((tool.name, tool) for tool in await test_mcp.describe(test_mcp.raw("good"), test_mcp.launch))
    it = test_mcp.Bench(test_mcp.raw("forks", sys.argv[1]))
    await it.call(text="x")
    print("up", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.promise("RUN-15")
def test_engine_killed_outright_leaves_no_server(tmp_path: Path) -> None:
    program = ENGINE.format(tests=str(SERVERS.parent), source=str(SERVERS.parents[1] / "src"))
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"up\n"
        assert wait_until(lambda: len(lines(tmp_path, "pids")) == 2)
        assert all(alive(int(pid)) for pid in lines(tmp_path, "pids"))
        engine.send_signal(signal.SIGKILL)
    assert wait_until(lambda: nothing_left(tmp_path))


# Streamable HTTP


@pytest.fixture
def http_server() -> Iterator[Callable[[], Upstream]]:
    """Starts the orderly server on a free port, and starts it again on the same port when called again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> Upstream:
        argv = [sys.executable, str(SERVERS / "sdk_mcp.py"), "http", str(port)]
        running.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert wait_until(lambda: _answers(port))
        return Upstream(name="orderly", transport=Transport.HTTP, url=f"http://127.0.0.1:{port}/mcp", headers={"X-Key": "env:KEY"})

    start.running = running  # type: ignore[attr-defined]
    yield start
    for process in running:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.promise("TOOL-01")
def test_streamable_http_from_listing_to_crash_and_back(http_server: Any) -> None:
    upstream = http_server()

    async def scenario() -> None:
        secrets = {"KEY": "k3y-of-the-server"}.get
        tools = {tool.name: tool for tool in await describe(upstream, launch, secrets=secrets)}
        assert {name: tool.effect for name, tool in tools.items()} == {
            "add": Effect.READ,
            "put": Effect.IDEMPOTENT,
            "wait": Effect.WRITE,
            "big": Effect.WRITE,
            "grow": Effect.WRITE,
        }
        async with bench(upstream, tools, secrets=secrets, limits=Limits(message_bytes=1 << 20, backoff_s=0.01, exit_s=0.3)) as it:
            assert await it.call("add", a=1, b=2) == {"result": 3}
            assert (await _fails(it, "wait", timeout_s=1.0, seconds=60)).code == "OMG-M003"
            assert await it.call("put", key="a", value="b") == {"a": "b"}
            error = await _fails(it, "big", size=2 << 20)
            assert error.code == "OMG-M002"
            http_server.running[0].kill()
            http_server.running[0].wait()
            error = await _fails(it, "add", a=1, b=1)
            assert error.code in ("OMG-M001", "OMG-M002")
            assert (await _fails(it, "add", a=1, b=1)).code == "OMG-M001"
            http_server()
            assert await it.call("add", a=2, b=2) == {"result": 4}
            await it.call("grow")
            assert (await _refused(it)).code == "OMG-M004"

    asyncio.run(scenario())


async def _fails(it: Bench, tool: str, **arguments: Any) -> OmegaError:
    with pytest.raises(OmegaError) as caught:
        await it.call(tool, **arguments)
    return caught.value


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
        (200, {"Content-Type": "application/json"}, b"{]"),
        (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"\x1f\x8b bomb"),
        (200, {"Content-Type": "application/json"}, b"x" * (2 << 20)),
        (401, {}, b"who are you"),
        (307, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
        (500, {}, b""),
    ],
)
def test_http_server_that_makes_no_sense_is_coded(status: int, headers: dict[str, str], body: bytes) -> None:
    async def scenario(url: str) -> None:
        upstream = Upstream(name="raw", transport=Transport.HTTP, url=url, headers={"X-Key": "env:KEY"}, timeout_s=5)
        async with bench(upstream, secrets={"KEY": "k3y-of-the-server"}.get, limits=Limits(message_bytes=1 << 20)) as it:
            error = await it.fails()
            assert error.code == "OMG-M001"
            assert "k3y" not in json.dumps(error.record())

    with answering(status, headers, body) as url:
        asyncio.run(scenario(url))


@pytest.mark.promise("TOOL-03")
def test_http_server_that_hangs_on_start_is_given_up() -> None:
    async def scenario(port: int) -> None:
        upstream = Upstream(name="raw", transport=Transport.HTTP, url=f"http://127.0.0.1:{port}/mcp", timeout_s=0.3)
        async with bench(upstream) as it:
            assert (await it.fails()).code == "OMG-M003"

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(scenario(silent.getsockname()[1]))


# Records


GIT = Upstream(
    name="git", transport=Transport.STDIO, argv=("mcp-server-git",), env={"GIT_PAGER": "plain:cat", "TOKEN": "env:T"}, cwd="/", timeout_s=5
)
WEB = Upstream(name="web", transport=Transport.HTTP, url="https://tools.example/mcp", headers={"Authorization": "Bearer env:T"})


@pytest.mark.parametrize("upstream", [GIT, WEB])
def test_record_survives_json(upstream: Upstream) -> None:
    assert Upstream.from_json(json.loads(json.dumps(upstream.to_json()))) == upstream


@pytest.mark.parametrize(
    "change",
    [
        {"name": "No Such Name"},
        {"transport": "pigeon"},
        {"argv": []},
        {"argv": ["", "x"]},
        {"argv": [1]},
        {"url": "https://x.example"},
        {"env": {"TOKEN": "s3cret"}},
        {"env": {"TOKEN": "env:not a name"}},
        {"env": []},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": "soon"},
        {"surprise": 1},
        {"cwd": 3},
    ],
)
def test_record_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Upstream.from_json({**GIT.to_json(), **change})
    assert caught.value.code == "OMG-I001"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "ftp://x.example"},
        {"url": "https://me:pass@x.example"},
        {"url": "http://x.example/mcp"},
        {"url": "https://x.example:port"},
        {"url": ""},
        {"argv": ["x"]},
        {"headers": {"A": "plain"}},
    ],
)
def test_http_record_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Upstream.from_json({**WEB.to_json(), **change})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
DESCRIPTIONS = st.builds(
    ToolDescription,
    server=st.text(min_size=1),
    name=st.text(min_size=1),
    title=st.text(),
    description=st.text(),
    input_schema=st.dictionaries(st.text(), JSON),
    output_schema=st.none() | st.dictionaries(st.text(), JSON),
    annotations=st.dictionaries(st.sampled_from(["readOnlyHint", "idempotentHint", "destructiveHint"]), st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(DESCRIPTIONS, DESCRIPTIONS)
def test_digest_and_difference_agree(one: ToolDescription, two: ToolDescription) -> None:
    again = ToolDescription.from_json(json.loads(json.dumps(one.to_json())))
    assert again.digest == one.digest
    assert not again.differences(one)
    assert (one.digest == two.digest) == (not one.changed_fields(two)) == (not one.differences(two))


@settings(max_examples=40, deadline=None)
@given(DESCRIPTIONS)
def test_silence_is_a_write(tool: ToolDescription) -> None:
    if not any(tool.annotations.values()):
        assert tool.effect is Effect.WRITE
    if tool.annotations.get("destructiveHint") and not tool.annotations.get("readOnlyHint"):
        assert tool.effect is Effect.WRITE


# A real server


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        (folder / "a.txt").write_text("one\n")
        subprocess.run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *command], cwd=folder, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.promise("TOOL-01")
def test_real_git_server(repository: Path) -> None:
    async def scenario() -> None:
        upstream = Upstream(name="git", transport=Transport.STDIO, argv=("mcp-server-git",), sandbox=Sandbox(read=(str(repository),)))
        tools = {tool.name: tool for tool in await describe(upstream, launch)}
        assert tools["git_log"].effect is Effect.READ
        assert tools["git_add"].effect is Effect.IDEMPOTENT
        assert {tools[name].effect for name in ("git_commit", "git_reset", "git_checkout")} == {Effect.WRITE}
        async with bench(upstream, tools) as it:
            assert "Message: first" in str(await it.call("git_log", repo_path=str(repository)))
            (repository / "a.txt").write_text("two\n")
            assert "a.txt" in str(await it.call("git_status", repo_path=str(repository)))
            error = await _fails(it, "git_log", repo_path=str(repository / "none"))
            assert error.code == "OMG-M007"

    asyncio.run(scenario())
