"""The Python client against a real server: typed calls, retries, streams, pages, errors, sign-in."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from client.served import Served, served
from omega.client import ApiKey, Client, Context, Contexts, Passport, Retry
from omega.client.contexts import FILE
from omega.client.failures import family_of, of_problem
from omega.client.retrying import asked_wait
from omega.client.transport import checked_address
from omega.host import stubs
from omega.kernel.errors import CODES, Denied, FlowError, InputError, OmegaError, StorageError, UpstreamError, from_record
from omega.wire.problem import problem_of

QUICK = Retry(times=3, first_s=0.01, longest_s=0.02)


def run(work: Callable[[Served], Awaitable[Any]], home: Path) -> Any:
    async def main() -> Any:
        async with served(home) as here:
            return await asyncio.wait_for(work(here), 60)

    return asyncio.run(main())


@pytest.mark.promise("SDK-12")
def test_a_typed_call_gives_the_value(tmp_path: Path) -> None:
    async def work(here: Served) -> Any:
        async with here.client() as omega:
            await omega.insights.summary(hours=1)
            return await omega.insights.summary(hours=1)

    found = run(work, tmp_path)
    assert found["executions"] >= 1
    assert found["flows"][0]["flow"] == "insights.summary"


@pytest.mark.promise("SDK-12")
def test_the_methods_that_are_committed_are_those_of_the_services() -> None:
    assert stubs.TARGET.read_text() == stubs.written(), "write them anew: python -m omega.host.stubs"


@pytest.mark.promise("SDK-13")
def test_errors_come_back_as_the_same_classes(tmp_path: Path) -> None:
    async def work(here: Served) -> list[OmegaError]:
        found = []
        async with here.client() as owner, here.client("agent:small") as agent, Client(here.url, "nonsense") as stranger:
            for call in (
                lambda: owner.call("insights.summary", {"hours": -1}),
                lambda: owner.call("insights.nothing", {}),
                lambda: agent.call("insights.summary", {}),
                lambda: stranger.call("insights.summary", {}),
                lambda: owner.execution("exe_0000"),
            ):
                with pytest.raises(OmegaError) as raised:
                    await call()
                found.append(raised.value)
        return found

    found = run(work, tmp_path)
    assert [(type(each), each.code) for each in found] == [
        (InputError, "OMG-I001"),
        (InputError, "OMG-G002"),
        (Denied, "OMG-W008"),
        (Denied, "OMG-T001"),
        (InputError, "OMG-I003"),
    ]
    assert all(each.cause and each.advice for each in found)


@pytest.mark.promise("SDK-13")
@pytest.mark.parametrize("kind", [InputError, Denied, FlowError, UpstreamError, StorageError])
def test_the_family_of_a_code_survives_problem_details(kind: type[OmegaError]) -> None:
    codes = {"input": "OMG-I001", "denied": "OMG-W001", "flow": "OMG-R001", "upstream": "OMG-M002", "storage": "OMG-S002"}
    error = kind(codes[kind.family], "a cause", details={"some": "fact"})
    status, document = problem_of(error.record())
    again = of_problem(status, json.loads(json.dumps(document)))
    assert (type(again), again.code, again.cause, again.advice) == (kind, error.code, error.cause, error.advice)


def test_every_code_has_a_family() -> None:
    for code in CODES:
        assert from_record({"family": family_of(code), "code": code}).code == code


def test_an_answer_of_something_else_is_no_error_of_ours() -> None:
    for document in (None, [], {}, {"code": "nonsense"}, {"code": 7}, "text"):
        assert of_problem(502, document).code == "OMG-X010"


@pytest.mark.promise("SDK-14")
def test_a_repeat_with_a_key_does_nothing_twice(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[Any, Any, int]:
        async with here.client() as omega:
            value = {"type": "review:asked", "key": "a", "data": {}}
            first = await omega.call("events.publish", value, key="once")
            again = await omega.call("events.publish", value, key="once")
            with pytest.raises(InputError) as refused:
                await omega.call("events.publish", value | {"key": "b"}, key="once")
            assert refused.value.code == "OMG-G010"
            async with omega.session() as rpc:
                assert await rpc.call("events.publish", value, key="once") == first, "a key means the same over RPC"
            events = (await omega.events.read(types=["review:*"]))["events"]
            return first, again, len(events)

    first, again, count = run(work, tmp_path)
    assert first == again
    assert count == 1


@pytest.mark.promise("SDK-15")
def test_a_stream_gives_each_part(tmp_path: Path) -> None:
    async def work(here: Served) -> list[str]:
        async with here.client() as omega:
            for name in ("a", "b", "c"):
                await omega.events.publish(type="review:asked", key=name, data={})
            return [event["subject"] async for event in omega.events.follow(types=["review:*"], most=3)]

    assert run(work, tmp_path) == ["a", "b", "c"]


@pytest.mark.promise("SDK-15")
def test_an_error_in_a_stream_is_raised(tmp_path: Path) -> None:
    async def work(here: Served) -> None:
        async with here.client() as omega:
            with pytest.raises(InputError):
                async for _ in omega.stream("events.follow", {"types": ["no type"]}):
                    pass

    run(work, tmp_path)


@pytest.mark.promise("SDK-15")
def test_pages_are_walked_through(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[list[str], list[str]]:
        async with here.client() as omega:
            for number in range(12):
                await omega.call("events.publish", {"type": "a:b", "key": str(number), "data": {}})
            import omega.client.client as module

            module.PAGE, page = 5, module.PAGE
            try:
                found = [line["execution"] async for line in omega.executions(flow="events.publish")]
                some = [line["execution"] async for line in omega.executions(flow="events.publish", limit=7)]
            finally:
                module.PAGE = page
            return found, some

    found, some = run(work, tmp_path)
    assert len(found) == len(set(found)) == 12
    assert some == found[:7]


# -- a server that misbehaves


@asynccontextmanager
async def misbehaving(*answers: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server that answers with `answers` in turn, the last one for ever; and the requests that came."""
    seen: list[web.Request] = []
    todo = list(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await (todo.pop(0) if len(todo) > 1 else todo[0])(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


def says(status: int, value: Any = None, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(value, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return answer


def problem(code: str, status: int) -> dict[str, Any]:
    return {"code": code, "status": status, "detail": "a cause", "title": "a title"}


@pytest.mark.promise("SDK-14")
def test_what_passes_is_tried_again_under_the_same_key() -> None:
    async def main() -> list[str]:
        busy = says(503, problem("OMG-G008", 503), retry_after="0")
        async with misbehaving(busy, says(502), busy, says(200, 7)) as (url, seen), Client(url, "p", retry=QUICK) as omega:
            assert await omega.call("a.b", 1) == 7
            return [request.headers["idempotency-key"] for request in seen]

    keys = asyncio.run(main())
    assert len(keys) == 4
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("status", "code"), [(400, "OMG-I001"), (403, "OMG-W001"), (500, "OMG-R001"), (502, "OMG-M002")])
def test_what_does_not_pass_is_not_tried_again(status: int, code: str) -> None:
    async def main() -> int:
        async with misbehaving(says(status, problem(code, status))) as (url, seen), Client(url, "p", retry=QUICK) as omega:
            with pytest.raises(OmegaError) as raised:
                await omega.call("a.b", 1)
            assert raised.value.code == code
            return len(seen)

    assert asyncio.run(main()) == 1


def test_a_wait_that_is_too_long_is_told_instead() -> None:
    async def main() -> tuple[str, int]:
        busy = says(429, problem("OMG-G007", 429), retry_after="3600")
        async with misbehaving(busy) as (url, seen), Client(url, "p", retry=QUICK) as omega:
            with pytest.raises(OmegaError) as raised:
                await omega.call("a.b", 1)
            return raised.value.code, len(seen)

    assert asyncio.run(main()) == ("OMG-G007", 1)


async def _hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _breaks(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _redirects(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:1/")


async def _babbles(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>not ours</html>", content_type="text/html", status=404)


@pytest.mark.parametrize("answer", [_hangs, _breaks, _redirects, _babbles, says(500), says(200, {"waits": 1})])
def test_a_server_that_misbehaves_is_a_coded_error(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
    async def main() -> OmegaError:
        async with misbehaving(answer) as (url, _), Client(url, "secret-passport", retry=QUICK, timeout_s=0.5) as omega:
            with pytest.raises(OmegaError) as raised:
                async for _part in omega.stream("a.b"):
                    pass
            streamed = raised.value
            if answer is _hangs:
                return streamed
            return streamed

    if answer is _hangs:

        async def calls() -> OmegaError:
            async with misbehaving(answer) as (url, _), Client(url, "secret-passport", retry=QUICK, timeout_s=0.2) as omega:
                with pytest.raises(OmegaError) as raised:
                    await omega.call("a.b", 1)
                return raised.value

        error = asyncio.run(calls())
    else:
        error = asyncio.run(main())
    assert error.code == "OMG-X010"
    assert "secret" not in str(error)


def test_nobody_at_the_address_is_a_coded_error() -> None:
    async def main() -> OmegaError:
        async with Client("http://127.0.0.1:1", "p", retry=QUICK, timeout_s=5) as omega:
            with pytest.raises(UpstreamError) as raised:
                await omega.me()
            return raised.value

    assert asyncio.run(main()).code == "OMG-X010"


# -- who one is


@pytest.mark.promise("SDK-16")
def test_a_key_is_shown_to_the_token_endpoint_alone_and_exchanged_again_when_refused() -> None:
    given_out = iter(("first", "second", "third"))

    async def token(_: web.Request) -> web.StreamResponse:
        return web.json_response({"access_token": next(given_out), "expires_in": 900, "token_type": "Bearer"})

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/oauth/token":
            form = await request.post()
            assert form["client_secret"] == "omk_key"
            assert "authorization" not in request.headers
            return await token(request)
        assert "omk_key" not in str(request.headers)
        if request.headers["authorization"] == "Bearer first":
            return web.json_response(problem("OMG-T001", 401), status=401)
        return web.json_response(request.headers["authorization"])

    async def main() -> tuple[Any, Any, list[str]]:
        kept: list[str] = []
        key = ApiKey("omk_key", renewed=lambda passport, until_s: kept.append(passport))
        async with misbehaving(handle) as (url, _), Client(url, key, retry=QUICK) as omega:
            return await omega.call("a.b"), await omega.call("a.b"), kept

    assert asyncio.run(main()) == ("Bearer second", "Bearer second", ["first", "second"])


def test_a_key_that_is_refused_is_refused_once() -> None:
    async def main() -> tuple[str, int]:
        refused = says(401, {"error": "invalid_client"})
        async with misbehaving(refused) as (url, seen), Client(url, ApiKey("omk_key"), retry=QUICK) as omega:
            with pytest.raises(Denied) as raised:
                await omega.me()
            assert "omk_key" not in str(raised.value)
            return raised.value.code, len(seen)

    assert asyncio.run(main()) == ("OMG-T001", 1)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "omega.example",
        "ftp://a",
        "http://omega.example",
        "https://a/path",
        "https://u:p@a",
        "https://a?x",
        "http://[::1",
        "https://a:b",
    ],
)
def test_an_address_that_would_give_a_passport_away_is_refused(address: str) -> None:
    with pytest.raises(InputError):
        checked_address(address)


@pytest.mark.parametrize("address", ["https://omega.example", "http://127.0.0.1:9405", "http://localhost:1/", "http://[::1]:9405"])
def test_a_good_address_is_taken(address: str) -> None:
    assert checked_address(address) == address.rstrip("/")


@pytest.mark.promise("SDK-16")
def test_contexts_are_for_their_owner_alone(tmp_path: Path) -> None:
    kept = Contexts(tmp_path / "home")
    assert kept.chosen() is None
    kept.keep("work", Context(address="https://a", key="omk_secret", tenant="t1", environment="prod"))
    kept.keep("play", Context(address="https://b", passport="p", tenant="t2"), use=False)
    path = tmp_path / "home" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept.chosen() == ("work", kept.read()[1]["work"])
    assert kept.chosen(tenant="t2") == ("play", kept.read()[1]["play"])
    assert kept.chosen(environment="prod") is not None
    assert kept.chosen("here") is None
    for wrong in ({"name": "none"}, {"tenant": "t3"}):
        with pytest.raises(InputError) as refused:
            kept.chosen(**wrong)
        assert refused.value.code == "OMG-X011"
    kept.forget("work")
    assert kept.chosen() is None
    assert "omk_secret" not in path.read_text()
    assert "omk_secret" not in repr(Context(address="https://a", key="omk_secret"))
    path.chmod(0o644)
    with pytest.raises(StorageError) as open_to_others:
        kept.read()
    assert open_to_others.value.code == "OMG-T003"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "current": "", "contexts": {"a": {"nonsense": 1}}}'])
def test_a_damaged_file_of_contexts_is_a_coded_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(StorageError) as refused:
        Contexts(tmp_path).read()
    assert refused.value.code == "OMG-S002"


def test_a_newer_file_of_contexts_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"format": 2}')
    os.chmod(tmp_path / FILE, 0o600)
    with pytest.raises(StorageError) as refused:
        Contexts(tmp_path).read()
    assert refused.value.code == "OMG-S003"


@settings(max_examples=100, deadline=None)
@given(repeat=st.integers(1, 60), chance=st.floats(0, 1), asked=st.one_of(st.none(), st.floats(0, 1e6)))
def test_waits_are_bounded_and_keep_to_what_was_asked(repeat: int, chance: float, asked: float | None) -> None:
    wait = Retry().wait_s(repeat, chance, asked)
    if asked is None:
        assert 0 <= wait <= Retry().longest_s
    else:
        assert asked <= wait <= asked + Retry().first_s


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_a_header_that_asks_for_nothing_usable_is_none_or_a_number(text: str) -> None:
    found = asked_wait(text, time.time)
    assert found is None or found >= 0


def test_a_date_is_a_wait() -> None:
    assert asked_wait("Thu, 01 Jan 1970 00:01:40 GMT", lambda: 40.0) == 60.0
    assert asked_wait("7", time.time) == 7.0


def test_a_passport_near_its_end_is_changed_for_a_newer_one(tmp_path: Path) -> None:
    async def work(here: Served) -> tuple[str, str, dict[str, Any]]:
        import omega.client.credentials as module

        module.RENEW_S, before = 1e9, module.RENEW_S
        try:
            first = here.omega.passport()
            passport = Passport(first)
            async with Client(here.url, passport) as omega:
                me = await omega.me()
            return first, passport.text, me
        finally:
            module.RENEW_S = before

    first, second, me = run(work, tmp_path)
    assert first != second
    assert me["principal"].startswith("person:")
