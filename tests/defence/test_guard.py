"""The guard on real records and real channels."""

from __future__ import annotations

import asyncio
import email
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from omega import flow
from omega.adapters.alerts import Address
from omega.defence.guard.health import advised, workers
from omega.defence.guard.model import Swept
from omega.host import guarding
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line

NOW_US = 1_800_000_000_000_000
LINE = Line(
    execution="exe_1",
    tenant="local",
    flow="triage",
    version="1.0.0",
    status=Status.RUNNING,
    principal="person:ada",
    target="",
    epoch=1,
    owner="host-1",
    lease_us=NOW_US + 30_000_000,
    started_us=NOW_US - 60_000_000,
    updated_us=NOW_US - 10_000_000,
)
HOUR_US = 3_600_000_000


@pytest.mark.promise("WATCH-02")
def test_workers_are_known_by_their_leases() -> None:
    lost = replace(LINE, execution="exe_2", owner="host-2", lease_us=NOW_US - HOUR_US, updated_us=NOW_US - HOUR_US)
    ended = replace(LINE, execution="exe_3", owner="host-3", status=Status.DONE)
    found = workers([LINE, replace(LINE, execution="exe_4"), lost, ended], NOW_US / 1_000_000)
    assert [(each.name, each.holds, each.alive) for each in found] == [("host-1", 2, True), ("host-2", 1, False)]


@pytest.mark.promise("WATCH-02")
@pytest.mark.parametrize(
    ("line", "about", "do"),
    [
        (replace(LINE, status=Status.DEAD, owner=""), "exe_1", "omega redrive exe_1"),
        (replace(LINE, lease_us=NOW_US - HOUR_US, updated_us=NOW_US - HOUR_US), "host-1", "start a worker: omega worker"),
        (replace(LINE, status=Status.QUEUED, owner="", lease_us=0, due_us=NOW_US - HOUR_US), "exe_1", "omega worker"),
        (replace(LINE, tries=3), "exe_1", "omega show exe_1"),
    ],
)
def test_what_should_be_looked_at_comes_with_what_to_do(line: Line, about: str, do: str) -> None:
    assert (about, do) in [(each.about, each.do) for each in advised([line], NOW_US / 1_000_000)]


@pytest.mark.promise("WATCH-02")
@pytest.mark.parametrize(
    "line",
    [
        LINE,
        replace(LINE, status=Status.DONE, tries=9),
        replace(LINE, status=Status.WAITING, owner="", lease_us=0, due_us=0),
        replace(LINE, status=Status.QUEUED, owner="", lease_us=0, due_us=NOW_US - 1_000_000),
        replace(LINE, lease_us=NOW_US - 1_000_000, updated_us=NOW_US - 1_000_000),  # its successor has time left
    ],
)
def test_what_is_well_is_left_alone(line: Line) -> None:
    assert advised([line], NOW_US / 1_000_000) == []


# -- telling


class Chat:
    """A chat and a program that take JSON, and a mail server, all real."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any]] = []
        self.mails: list[str] = []
        self.status = 200


@asynccontextmanager
async def world() -> AsyncIterator[tuple[Chat, str, str]]:
    chat = Chat()

    async def take(request: web.Request) -> web.Response:
        chat.posts.append((request.path, await request.json()))
        return web.Response(status=chat.status)

    app = web.Application()
    app.router.add_post("/{name}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    mail = await asyncio.start_server(lambda reader, writer: _smtp(chat, reader, writer), "127.0.0.1", 0)
    try:
        yield chat, f"http://127.0.0.1:{runner.addresses[0][1]}", f"smtp://127.0.0.1:{mail.sockets[0].getsockname()[1]}"
    finally:
        mail.close()
        await runner.cleanup()


async def _smtp(chat: Chat, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As much of RFC 5321 as one mail takes."""
    writer.write(b"220 here\r\n")
    while line := await reader.readline():
        word = line.strip().upper()[:4]
        if word == b"DATA":
            writer.write(b"354 go on\r\n")
            lines = []
            while (part := await reader.readline()) not in (b".\r\n", b""):
                lines.append(part)
            chat.mails.append(b"".join(lines).decode())
        if word == b"QUIT":
            writer.write(b"221 bye\r\n")
            break
        writer.write(b"250 fine\r\n")
    await writer.drain()
    writer.close()


@flow
def falls(n: int) -> int:
    raise ValueError("no")


async def _swept(home: Path, *channels: str) -> Swept:
    async with Omega.open(home) as omega:
        outcome = await omega.run(find_method("guard.sweep")[0], {"target": 0.999, "channels": list(channels)})
    assert outcome.error is None, outcome.error
    return Swept.model_validate(outcome.value)


@pytest.mark.promise("WATCH-03")
def test_a_new_alert_reaches_every_channel_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with world() as (chat, http, smtp):
            home = tmp_path / "home"
            async with Omega.open(home) as omega:
                for _ in range(10):
                    assert (await omega.run(falls, 1)).status == Status.FAILED
            mail = Address("mail", smtp, "guard@omega.example", ("ada@omega.example",))
            for name, address in {
                "chat": Address("slack", f"{http}/chat"),
                "hook": Address("webhook", f"{http}/hook"),
                "post": mail,
            }.items():
                await guarding.arrange_channel(home, name, address)
            names = [each["name"] for each in guarding.channels(home)]
            assert sorted(names) == ["chat", "hook", "post"]
            found = await _swept(home, *names, "nowhere")
            keys = [alert.key for alert in found.new]
            assert keys == ["slo all page", "slo falls page"]
            assert len(found.told) == 6 and found.untold == ["nowhere: slo all page", "nowhere: slo falls page"]
            assert [path for path, _ in chat.posts].count("/chat") == 2
            slack = next(body for path, body in chat.posts if path == "/chat")
            hook = next(body for path, body in chat.posts if path == "/hook")
            assert slack["text"].startswith("*[page] all burns") and hook["severity"] == "page" and hook["tenant"] == "local"
            assert len(chat.mails) == 2
            letter = email.message_from_string(chat.mails[0])
            assert letter["Subject"].startswith("[page] all burns") and letter["To"] == "ada@omega.example"
            again = await _swept(home, *names)
            assert again.new == [] and [alert.key for alert in again.standing] == keys and len(chat.posts) == 4

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.promise("WATCH-03")
def test_a_channel_that_fails_keeps_no_other_from_being_told_and_shows_no_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with world() as (chat, http, _):
            home = tmp_path / "home"
            async with Omega.open(home) as omega:
                for _ in range(10):
                    await omega.run(falls, 1)
            await guarding.arrange_channel(home, "down", Address("webhook", "http://127.0.0.1:9/token-s3cr3t"))
            await guarding.arrange_channel(home, "hook", Address("webhook", f"{http}/hook"))
            found = await _swept(home, "down", "hook")
            assert found.untold == ["down: slo all page", "down: slo falls page"] and len(chat.posts) == 2
            everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
            assert b"s3cr3t" not in everything

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.promise("WATCH-03")
@pytest.mark.parametrize(
    ("kind", "url", "facts"),
    [
        ("pager", "https://example.org", {}),
        ("slack", "http://example.org/token", {}),
        ("slack", "file:///etc/passwd", {}),
        ("webhook", "https://", {}),
        ("webhook", "https://[::1", {}),
        ("mail", "https://example.org", {"sender": "a@b", "receivers": ("c@d",)}),
        ("mail", "smtp://example.org", {"sender": "a@b"}),
        ("mail", "smtp://example.org", {"sender": "a@b\nBcc: all", "receivers": ("c@d",)}),
        ("mail", "smtp://example.org", {"sender": "a@b", "receivers": ("c@d, e@f",)}),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_and_not_repeated(kind: str, url: str, facts: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Address(kind, url, **facts)
    assert caught.value.code == "OMG-I001" and "token" not in str(caught.value)


def test_the_command_line_shows_the_same(tmp_path: Path) -> None:
    from omega.cli import run

    async def failing() -> None:
        async with Omega.open(tmp_path) as omega:
            for _ in range(10):
                await omega.run(falls, 1)

    asyncio.run(failing())
    levels = guarding.service_levels(tmp_path, target=0.999, days=30, within_s=0)
    assert [(each.name, each.bad, each.severity) for each in levels.levels] == [("all", 10, "page"), ("falls", 10, "page")]
    assert guarding.look(tmp_path).open == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMEGA_HOME", str(tmp_path))
        for words in (["status"], ["slo", "--target", "99", "--within", "2s"], ["alerts"], ["channel"]):
            assert run(["guard", *words, "--json"]) == 0
    with pytest.raises(InputError):
        guarding.service_levels(tmp_path, target=1.0, days=30, within_s=0)
    assert json.dumps([alert.model_dump() for alert in guarding.alerts(tmp_path, target=0.999, days=30, within_s=0)])
