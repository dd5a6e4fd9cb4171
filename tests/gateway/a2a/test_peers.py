"""Agents elsewhere, asked through the gate: here the agent elsewhere is one that this release publishes, over the real server."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.a2a.conftest import Published
from omega.adapters.a2a import Asked, peer
from omega.host.acquainted import PEER
from omega.host.arrangements import all_arranged
from omega.host.embedded import Omega
from omega.host.peers import accept, add, compare
from omega.host.reading import Archive
from omega.kernel.errors import Denied, OmegaError, UpstreamError

pytestmark = pytest.mark.slow

LOOPBACK = ("127.0.0.0/8",)


def alone(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


async def added(home: Path, house: Published, name: str, **given: Any) -> None:
    """Accept an agent of the house as an agent elsewhere."""
    headers = {"Authorization": f"Bearer plain:{house.passport()}"}
    await add(home, name, f"{house.url}/a2a/{name}", headers=headers, allow=LOOPBACK, key=None, timeout_s=20, **given)


@pytest.mark.promise("A2A-10")
@pytest.mark.promise("A2A-11")
@alone
async def test_an_agent_elsewhere_is_a_flow_with_types(published: Published, tmp_path: Path) -> None:
    await added(tmp_path, published, "shout")
    await added(tmp_path, published, "deliver")
    async with Omega.open(tmp_path) as omega:
        told = await omega.ask(peer("shout"), {"text": "hello"})
        assert (told["state"], told["text"]) == ("completed", "HELLO")
        asks = await omega.ask(peer("deliver"), Asked(text="soup").model_dump())
        assert asks["state"] == "input required" and asks["text"] == "where to?"
        done = await omega.ask(peer("deliver"), {"data": {"street": "Main"}, "task": asks["task"]})
        assert (done["state"], done["text"], done["task"]) == ("completed", "soup to Main", asks["task"])
    with Archive.open(tmp_path) as archive:
        kept = all_arranged(archive.reader, PEER)["shout"]
        assert kept["signer"], "the card was verified with the key at its own host"


@pytest.mark.promise("A2A-10")
@alone
async def test_a_changed_card_is_refused_until_it_is_accepted(published: Published, tmp_path: Path) -> None:
    await added(tmp_path, published, "shout")
    with Archive.open(tmp_path) as archive:
        body = all_arranged(archive.reader, PEER)["shout"]
    other = {**body, "card": {**body["card"], "description": "Says it more quietly."}}
    async with Omega.open(tmp_path) as omega:
        await omega.arrange(PEER, "shout", other)
        with pytest.raises(UpstreamError) as refused:
            await omega.ask(peer("shout"), {"text": "hello"})
        assert refused.value.code == "OMG-M004"
    with Archive.open(tmp_path) as archive:
        compared = await compare(archive.reader, "shout")
    assert compared.state == "changed" and any("more quietly" in line for line in compared.differences)
    await accept(tmp_path, compared)
    async with Omega.open(tmp_path) as omega:
        assert (await omega.ask(peer("shout"), {"text": "hello"}))["text"] == "HELLO"


@alone
async def test_what_an_agent_refuses_is_an_error_with_its_words(published: Published, tmp_path: Path) -> None:
    await added(tmp_path, published, "cook")
    async with Omega.open(tmp_path) as omega:
        for asked, code in (({"text": "no order"}, "OMG-M007"), ({}, "OMG-I001")):
            with pytest.raises(OmegaError) as refused:
                await omega.ask(peer("cook"), asked)
            assert refused.value.code == code
        with pytest.raises(OmegaError) as unknown:
            await omega.ask(peer("nobody"), {"text": "hello"})
        assert unknown.value.code == "OMG-M005"


@alone
async def test_a_card_on_this_machine_needs_an_allowed_network(published: Published, tmp_path: Path) -> None:
    with pytest.raises(Denied) as refused:
        await add(tmp_path, "shout", f"{published.url}/a2a/shout", headers={}, allow=(), key=None, timeout_s=5)
    assert refused.value.code == "OMG-P011"


@pytest.mark.promise("A2A-02")
@alone
async def test_a_card_must_be_signed_with_the_key_that_is_wanted(published: Published, tmp_path: Path) -> None:
    other = tmp_path / "other.jwk"
    other.write_text('{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}')
    with pytest.raises(Denied) as refused:
        await add(tmp_path, "shout", f"{published.url}/a2a/shout", headers={}, allow=LOOPBACK, key=other, timeout_s=5)
    assert refused.value.code == "OMG-T001"
