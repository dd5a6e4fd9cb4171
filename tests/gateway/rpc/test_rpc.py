"""RPC over a WebSocket, against a real server: calls, streams, cancellation, limits, revocation."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.served import Served, served
from omega.gateway.rpc import entrance
from omega.gateway.rpc.session import Limits
from omega.kernel.context import Context
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError
from omega.kernel.service import Manifest, Offer, method, methods_of
from omega.wire.rpc import CLOSE_PROTOCOL, CLOSE_REVOKED, SUBPROTOCOL, CallParams

SOON_S = 60.0
MADE: list[int] = []


class Numbers:
    """A service for these tests."""

    @method(effect="pure", example={"n": 1})
    def double(self, n: int) -> int:
        """Twice a number."""
        return 2 * n

    @method(effect="read", stream=True)
    async def count(self, ctx: Context, to: int) -> AsyncIterator[int]:
        """Numbers one by one."""
        for number in range(to):
            MADE.append(number)
            yield number

    @method(effect="read")
    async def wait(self, ctx: Context, name: str) -> str:
        """A name, after a day."""
        await ctx.sleep(86_400)
        return name

    @method(effect="write", needs="numbers:write", entrances=("cli",))
    async def hidden(self, ctx: Context, n: int) -> int:
        """Not for clients."""
        return n


def run(work: Callable[[Served], Awaitable[Any]], home: Path) -> Any:
    """Do `work` against a server that offers the service `numbers` too."""
    MADE.clear()

    async def main() -> Any:
        async with served(home, mounted=lambda house: [entrance(house)]) as here:
            add(here)
            return await asyncio.wait_for(work(here), 60)

    return asyncio.run(main())


def add(here: Served) -> None:
    manifest = Manifest("numbers", "1.0.0", "numbers", "")
    found = methods_of(manifest, Numbers())
    here.house._offers = [*here.house._offers, *(Offer("numbers", name, flow, offered) for name, (flow, offered) in found.items())]


@asynccontextmanager
async def socket(here: Served, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A bare WebSocket as the owner."""
    lines = {"authorization": f"Bearer {here.omega.passport()}"} | headers
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{here.url}/rpc", protocols=(SUBPROTOCOL,), headers=lines) as opened:
        yield opened


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.promise("SDK-05")
def test_calls_run_side_by_side_and_each_gets_its_answer(tmp_path: Path) -> None:
    async def work(here: Served) -> list[int]:
        async with here.client() as client, client.session() as rpc:
            return list(await asyncio.gather(*(rpc.call("numbers.double", number) for number in range(30))))

    assert run(work, tmp_path) == [2 * number for number in range(30)]


@pytest.mark.promise("SDK-05")
def test_an_error_comes_back_as_the_same_class_with_its_code(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[OmegaError, OmegaError, OmegaError]:
        async with here.client() as client, client.session() as rpc:
            found = []
            for name, value in (("numbers.double", "no number"), ("numbers.nothing", 1), ("numbers.hidden", 1)):
                with pytest.raises(OmegaError) as raised:
                    await rpc.call(name, value)
                found.append(raised.value)
            return found[0], found[1], found[2]

    wrong, unknown, hidden = run(work, tmp_path)
    assert isinstance(wrong, InputError)
    assert wrong.code == "OMG-I001"
    assert unknown.code == hidden.code == "OMG-I002"


@pytest.mark.promise("SDK-06")
def test_a_stream_shows_every_part_in_order(tmp_path: Path) -> None:
    async def work(here: Served) -> list[int]:
        async with here.client() as client, client.session() as rpc, rpc.stream("numbers.count", 500, window=8) as parts:
            return [part async for part in parts]

    assert run(work, tmp_path) == list(range(500))


@pytest.mark.promise("SDK-06")
def test_a_reader_that_stops_holds_up_the_flow_and_no_other_call(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[int, int]:
        async with here.client() as client, client.session() as rpc, rpc.stream("numbers.count", 5_000, window=4) as parts:
            reading = parts.__aiter__()
            assert await anext(reading) == 0
            other = await rpc.call("numbers.double", 4)
            await until(lambda: len(MADE) > 60)
            seen = len(MADE)
            for _ in range(20):
                await rpc.ping()
            assert len(MADE) == seen, "the flow went on though nobody read"
            return other, seen

    other, seen = run(work, tmp_path)
    assert other == 8
    assert seen < 100


@pytest.mark.promise("SDK-06")
def test_leaving_a_stream_cancels_its_execution(tmp_path: Path) -> None:
    async def work(here: Served) -> list[str]:
        async with here.client() as client, client.session() as rpc:
            async with rpc.stream("numbers.count", 5_000, window=4) as parts:
                async for _ in parts:
                    break
            lines = here.omega.store.lines
            await until(lambda: any(line.status == "cancelled" for line in lines(tenant="local")))
            return [line.status for line in lines(tenant="local") if line.flow == "numbers.count"]

    assert run(work, tmp_path) == ["cancelled"]


@pytest.mark.promise("SDK-05")
def test_a_call_that_is_given_up_is_cancelled(tmp_path: Path) -> None:
    async def work(here: Served) -> str:
        async with here.client() as client, client.session() as rpc:
            calling = asyncio.create_task(rpc.call("numbers.wait", "x"))
            lines = here.omega.store.lines
            await until(lambda: any(line.flow == "numbers.wait" for line in lines(tenant="local")))
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            await until(lambda: any(line.status == "cancelled" for line in lines(tenant="local")))
            return next(line.status for line in lines(tenant="local") if line.flow == "numbers.wait")

    assert run(work, tmp_path) == "cancelled"


@pytest.mark.promise("SDK-05")
def test_a_repeat_with_the_same_key_gives_the_recorded_outcome(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[int, int, int]:
        async with here.client() as client, client.session() as rpc:
            first = await rpc.call("numbers.double", 2, key="once")
            again = await rpc.call("numbers.double", 2, key="once")
            return first, again, sum(line.flow == "numbers.double" for line in here.omega.store.lines(tenant="local"))

    assert run(work, tmp_path) == (4, 4, 1)


@pytest.mark.promise("SDK-07")
def test_a_revoked_passport_ends_the_session(tmp_path: Path) -> None:
    async def work(here: Served) -> int | None:
        passport = here.omega.passport()
        jti = here.omega.world.authority.verify(passport, now=here.omega.world.clock.now_us() / 1_000_000).passport
        async with socket(here, authorization=f"Bearer {passport}") as opened:
            await opened.send_json({"jsonrpc": "2.0", "id": 1, "method": "rpc.ping"})
            assert "result" in await opened.receive_json()
            await here.omega.revoke(jti)
            message = await opened.receive(timeout=SOON_S)
            assert message.type is aiohttp.WSMsgType.CLOSE
            return opened.close_code

    assert run(work, tmp_path) == CLOSE_REVOKED


@pytest.mark.promise("SDK-07")
@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_nobody_is_let_in_without_a_good_passport(tmp_path: Path, token: str) -> None:
    async def work(here: Served) -> None:
        from omega.client import Client

        async with Client(here.url, token) as client:
            with pytest.raises(Denied) as refused:
                async with client.session():
                    pass
            assert refused.value.code == "OMG-T001"

    run(work, tmp_path)


@pytest.mark.promise("SDK-07")
def test_a_session_stays_with_who_opened_it(tmp_path: Path) -> None:
    async def work(here: Served) -> list[Any]:
        async with socket(here) as opened:
            answers = []
            for passport in (here.omega.passport(), here.omega.passport("agent:other"), 7):
                await opened.send_json({"jsonrpc": "2.0", "id": 1, "method": "rpc.authorize", "params": {"passport": passport}})
                answers.append(await opened.receive_json())
            return answers

    good, other, wrong = run(work, tmp_path)
    assert "principal" in good["result"]
    assert other["error"]["data"]["code"] == "OMG-T001"
    assert wrong["error"]["data"]["code"] == "OMG-I001"


def test_a_foreign_page_opens_no_session(tmp_path: Path) -> None:
    async def work(here: Served) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket(here, origin="https://evil.example"):
                pass
        return refused.value.status

    assert run(work, tmp_path) == 403


NONSENSE = [
    "",
    "nonsense",
    "[]",
    "null",
    '{"jsonrpc":"1.0","id":1,"method":"x"}',
    '{"jsonrpc":"2.0","id":1.5,"method":"x"}',
    '{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}',
    '{"jsonrpc":"2.0","id":1,"method":7}',
    '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":[1]}',
    '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":{"inputs":1}}',
    '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":{"input":1,"credit":-1}}',
    '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":{"input":1,"timeout_s":0}}',
    '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":{"input":1,"key":7}}',
    "[" * 10_000,
]


@pytest.mark.promise("SDK-08")
def test_nonsense_is_answered_with_a_coded_error_and_the_session_goes_on(tmp_path: Path) -> None:
    async def work(here: Served) -> list[dict[str, Any]]:
        answers = []
        for text in NONSENSE:
            async with socket(here) as opened:
                await opened.send_str(text)
                answers.append(await opened.receive_json(timeout=SOON_S))
                await opened.send_json({"jsonrpc": "2.0", "id": "after", "method": "rpc.ping"})
                assert (await opened.receive_json(timeout=SOON_S))["id"] == "after"
        return answers

    for text, answer in zip(NONSENSE, run(work, tmp_path), strict=True):
        assert "error" in answer, text
        assert answer["error"]["code"] in (-32700, -32600, -32602, -32000), text


@pytest.mark.promise("SDK-08")
def test_too_much_nonsense_ends_the_session(tmp_path: Path) -> None:
    async def work(here: Served) -> int | None:
        async with socket(here) as opened:
            for _ in range(Limits().nonsense):
                await opened.send_str("nonsense")
                await opened.receive(timeout=SOON_S)
            await opened.receive(timeout=SOON_S)
            return opened.close_code

    assert run(work, tmp_path) == CLOSE_PROTOCOL


@pytest.mark.promise("SDK-08")
def test_a_frame_over_the_limit_ends_the_session(tmp_path: Path) -> None:
    async def work(here: Served) -> int | None:
        async with socket(here) as opened:
            await opened.send_str("x" * ((1 << 20) + 1))
            await opened.receive(timeout=SOON_S)
            return opened.close_code

    assert run(work, tmp_path) == 1009


@pytest.mark.promise("SDK-08")
def test_more_calls_at_once_than_allowed_are_refused(tmp_path: Path) -> None:
    async def work(here: Served) -> dict[str, Any]:
        async with socket(here) as opened:
            most = Limits().at_once
            for number in range(most + 1):
                call = {"jsonrpc": "2.0", "id": number, "method": "numbers.wait", "params": {"input": "x"}}
                await opened.send_json(call)
            answer: dict[str, Any] = await opened.receive_json(timeout=SOON_S)
            return answer

    answer = run(work, tmp_path)
    assert answer["id"] == Limits().at_once
    assert answer["error"]["data"]["code"] == "OMG-G008"


def test_an_id_is_one_call_at_a_time(tmp_path: Path) -> None:
    async def work(here: Served) -> dict[str, Any]:
        async with socket(here) as opened:
            for _ in range(2):
                await opened.send_json({"jsonrpc": "2.0", "id": 1, "method": "numbers.wait", "params": {"input": "x"}})
            answer: dict[str, Any] = await opened.receive_json(timeout=SOON_S)
            return answer

    assert run(work, tmp_path)["error"]["data"]["code"] == "OMG-I001"


def test_a_session_that_ends_tells_whoever_waits(tmp_path: Path) -> None:
    async def work(here: Served) -> OmegaError:
        async with here.client() as client, client.session() as rpc:
            calling = asyncio.create_task(rpc.call("numbers.wait", "x"))
            await until(lambda: any(line.flow == "numbers.wait" for line in here.omega.store.lines(tenant="local")))
            await rpc._socket.close()
            with pytest.raises(OmegaError) as raised:
                await calling
            return raised.value

    assert isinstance(run(work, tmp_path), UpstreamError)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["input", "key", "timeout_s", "credit", "more"]),
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3_000), st.floats(), st.text(max_size=200)),
    )
)
def test_params_are_read_or_refused(params: dict[str, Any]) -> None:
    try:
        found = CallParams.read(params)
    except InputError as error:
        assert error.code == "OMG-I001"
        return
    assert CallParams.read(found.record()) == replace(found)
    json.dumps(found.record())


GOOD = '{"jsonrpc":"2.0","id":1,"method":"numbers.double","params":{"input":2,"key":"k","timeout_s":5,"credit":0}}'

ODD = ("\x00", "\ufeff", "1e999", "-0", "9" * 400, '"\\ud800"', "[[[[", "}}", "null", "true", '"rpc.cancel"', '"rpc.credit"', "\u202e")


def mutated(seed: int) -> str | bytes:
    """A frame that is nearly good: pieces of it are dropped, doubled, swapped or replaced."""
    chance = random.Random(seed)
    text = list(GOOD)
    for _ in range(chance.randint(1, 6)):
        at, many = chance.randrange(len(text)), chance.randint(1, 12)
        piece = text[at : at + many]
        text[at : at + many] = chance.choice(([], piece * 2, piece[::-1], list(chance.choice(ODD))))
    frame = "".join(text) or "x"
    return frame.encode("utf-8", "replace") if chance.random() < 0.2 else frame


@pytest.mark.promise("SDK-08")
@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_frames_that_are_nearly_good_crash_nothing(count: int, tmp_path: Path) -> None:
    async def work(here: Served) -> set[int | None]:
        closed: set[int | None] = set()
        seeds = iter(range(count))
        left = True
        while left:
            async with socket(here) as opened:
                left = False
                for seed in seeds:
                    left = True
                    frame = mutated(seed)
                    await (opened.send_bytes(frame) if isinstance(frame, bytes) else opened.send_str(frame))
                    await opened.send_json({"jsonrpc": "2.0", "id": "after", "method": "rpc.ping"})
                    answered = False
                    async with asyncio.timeout(SOON_S):
                        while not answered and not opened.closed:
                            message = await opened.receive()
                            answered = message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["id"] == "after"
                    if not answered:
                        closed.add(opened.close_code)
                        break
        return closed

    assert run(work, tmp_path) <= {CLOSE_PROTOCOL}, "no frame ends a session but by the count of nonsense"
