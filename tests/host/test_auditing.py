"""A tenant's own log over the road: what the service `log` gives is the log, no more than one's own, and on record."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client.served import served
from hosted import Installation
from omega.chronicle import verifier
from omega.contracts.auditing import MAX_PART
from omega.host.auditing import AuditEffector
from omega.host.logbook import read_log
from omega.host.logview import Shown, newest
from omega.kernel.flow import flow
from omega.kernel.ports import Call
from omega.trust.checkpoint import VerifierKey, verify
from omega.trust.merkle import leaf_hash, verify_consistency, verify_inclusion

SOON_S = 60.0

BRIEF = {"log.follow": {"most": 1, "for_s": 0.1}}
"""What is asked of methods that would go on for long."""

METHODS = ("log.search", "log.flags", "log.checkpoint", "log.proof", "log.export", "log.follow")


@flow(name="private")
def private(text: str) -> str:
    return text


async def _furnished(here: Installation, name: str) -> str:
    """A tenant with something in its log, a refusal among it."""
    tenant = await here.tenant(name, plan="own")
    for passport in (here.passport(tenant), here.passport(tenant, "agent:helper", roles=(), capabilities=("records:read",))):
        await here.omega.road.call(Call(passport=passport, flow=private, input="a"))
    return tenant


async def _taken(here: Installation, passport: str, *, most: int, drop: bool = False) -> tuple[bytes, dict[str, Any]]:
    """A whole export, part by part; with `drop` nothing is at hand when the next part is asked for."""
    part: dict[str, Any] = await here.ask("log.export", {"most": most}, passport)
    data = base64.b64decode(part["data"])
    while part["next"] < part["total"]:
        if drop:
            effector = here.omega.world.effectors["audit"]
            assert isinstance(effector, AuditEffector)
            await effector.aclose()
        part = await here.ask("log.export", {"export": part["export"], "position": part["next"], "most": most}, passport)
        data += base64.b64decode(part["data"])
    return data, part


@pytest.mark.slow
@pytest.mark.promise("LOG-46")
def test_everybody_reads_their_own_log_and_no_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            first, second = await _furnished(here, "first"), await _furnished(here, "second")
            for mine, other in ((first, second), (second, first)):
                owner = here.passport(mine)
                found = await here.ask("log.search", {"limit": 1000}, owner)
                assert {leaf["tenant"] for leaf in found["leaves"]} == {mine}
                flagged = await here.ask("log.flags", {"limit": 1000}, owner)
                assert {leaf["tenant"] for leaf in flagged["leaves"]} == {mine}
                assert (await here.ask("log.checkpoint", {}, owner))["note"].partition("\n")[0].endswith(mine)
                data, _ = await _taken(here, owner, most=MAX_PART)
                assert mine.encode() in data and other.encode() not in data

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-46")
def test_only_who_holds_the_capability_reads_the_log(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            tenant = await _furnished(here, "first")
            rights = ("flows:run", "records:read")
            for principal, roles in (("agent:helper", ()), ("person:bob", ("member",))):
                for name in METHODS:
                    assert await here.refusal(name, BRIEF.get(name), here.passport(tenant, principal, roles, rights)) == "OMG-W008", name
            auditor = here.passport(tenant, "agent:auditor", (), ("flows:run", "log:read"))
            for name in METHODS:
                assert await here.refusal(name, BRIEF.get(name), auditor) == "", name

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-46")
def test_whoever_follows_is_told_of_each_leaf_as_it_is_written_and_not_of_their_own_looking(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            first, second = await _furnished(here, "first"), await _furnished(here, "second")
            owner = here.passport(first)
            size = (await here.ask("log.checkpoint", {"lasting": False}, owner))["size"]
            wanted = {"after": size - 1, "flow": "private", "most": 2, "for_s": SOON_S}
            following = asyncio.create_task(here.ask("log.follow", wanted, owner))
            for tenant in (second, first):  # the stream has begun, or it has not: what is written after `size` is told all the same
                await here.omega.road.call(Call(passport=here.passport(tenant), flow=private, input="a"))
            assert not following.done(), "a call has one leaf that names its flow"
            await here.omega.road.call(Call(passport=owner, flow=private, input="b"))
            told = await following
            assert [leaf["kind"] for leaf in told] == ["entry"] * 2 and {leaf["tenant"] for leaf in told} == {first}
            assert [leaf["index"] for leaf in told] == sorted({leaf["index"] for leaf in told}) and told[0]["index"] >= size

            everything = await here.ask("log.follow", {"for_s": 0.6, "most": 10_000}, owner)
            assert len({leaf["index"] for leaf in everything}) == len(everything) >= size
            assert not [leaf for leaf in everything if leaf["index"] > everything[-1]["index"]]
            mine = [leaf["execution"] for leaf in everything if leaf.get("flow") == "log.follow"]
            assert len(set(mine)) == 1, "the first follower is in what the second sees; the second is not"
            denied = await here.ask("log.follow", {"decision": "deny", "flagged": True, "most": 1, "for_s": 0.1}, owner)
            assert [leaf["decision"] for leaf in denied] == ["deny"] and denied[0]["flags"]

    asyncio.run(work())


@pytest.mark.promise("LOG-46")
def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            assert await here.refusal("log.follow", {"kind": "no kind"}) == "OMG-I001"
            assert await here.refusal("log.follow", {"for_s": 0}) == "OMG-I001"

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-46")
def test_a_search_gives_what_the_command_gives_and_each_look_is_on_record(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            await here.omega.road.call(Call(passport=here.owner(), flow=private, input="a"))
            wanted = {"flow": "private", "limit": 5}
            by_service = await here.ask("log.search", wanted)
            outcome = await here.omega.road.call(Call(passport=here.owner(), flow=read_log, input=wanted))
            by_command = json.loads(json.dumps([Shown.read(leaf).record() for leaf in outcome.value["leaves"]]))
            assert by_service["leaves"] == by_command != []

            pages, before = [], 0
            while True:
                page = await here.ask("log.search", {"kind": "entry", "limit": 1, "before": before})
                pages += [leaf["index"] for leaf in page["leaves"]]
                before = page["before"]
                if not before:
                    break
            assert pages == sorted(set(pages), reverse=True)

            for name in METHODS[1:]:
                await here.ask(name, BRIEF.get(name))
            flagged = await here.ask("log.flags", {"limit": 1000})
            read = {leaf["flow"] for leaf in flagged["leaves"] if any(flag["flag"] == "log read" for flag in leaf["flags"])}
            assert read >= set(METHODS)
            shown = newest(here.omega.store, "local", 1000, flagged=True)
            assert [leaf["index"] for leaf in flagged["leaves"]] == [each.index for each in reversed(shown)][-len(flagged["leaves"]) :]
            alarming = await here.ask("log.flags", {"alarming": True})
            assert all(any(flag["alarming"] for flag in leaf["flags"]) for leaf in alarming["leaves"])

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-45")
def test_parts_make_an_export_that_the_verifier_accepts(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            tenant = await _furnished(here, "first")
            owner = here.passport(tenant)
            point = await here.ask("log.checkpoint", {}, owner)
            for drop in (False, True):
                data, last = await _taken(here, owner, most=4_000, drop=drop)
                assert last["next"] == last["total"] == len(data) > 4_000  # the log grew with every part, the export did not
                assert hashlib.sha256(data).hexdigest() == last["sha256"]
                keys = point["keys"][:1]
                report = verifier.verify_export(io.BytesIO(data), keys=keys, kept=[point["note"].encode()])
                assert report.sound and report.leaves == last["leaves"] >= point["size"] and report.executions > 0
            whole = tmp_path / "log.export"
            whole.write_bytes(data)
            command = [sys.executable, str(Path(verifier.__file__)), str(whole), "--key", keys[0]]
            assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
            for name in ("x", f"{last['leaves']}.1.{last['sha256']}", f"9999999.1.{last['sha256']}"):
                assert await here.refusal("log.export", {"export": name}, owner) == "OMG-I001"
            assert await here.refusal("log.export", {"export": last["export"], "position": last["total"] + 1}, owner) == "OMG-I001"
            assert await here.refusal("log.export", {"export": last["export"]}, here.passport(await here.tenant("other"))) == "OMG-I001"

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-45")
def test_proofs_verify_against_signed_checkpoints(tmp_path: Path) -> None:
    async def work() -> None:
        async with Installation.open(tmp_path / "home") as here:
            tenant = await _furnished(here, "first")
            owner = here.passport(tenant)
            old = await here.ask("log.checkpoint", {}, owner)
            plain = await here.ask("log.checkpoint", {"lasting": False}, owner)
            keys = [VerifierKey.parse(key) for key in plain["keys"]]
            assert plain["keys"] == old["keys"][:1] and plain["size"] > old["size"]
            told = await here.ask("log.proof", {"index": 1, "old": old["size"]}, owner)
            now = verify(told["checkpoint"].encode(), keys, origin=keys[0].name)
            then = verify(old["note"].encode(), keys, origin=keys[0].name)
            root = base64.b64decode(told["root"])
            assert now.size == told["size"] > old["size"] and now.root == root
            leaf = leaf_hash(base64.b64decode(told["leaf"]))
            assert leaf == base64.b64decode(told["leaf_hash"])
            way = [base64.b64decode(each) for each in told["inclusion"]]
            assert verify_inclusion(leaf, 1, now.size, way, root) and not verify_inclusion(leaf, 2, now.size, way, root)
            path = [base64.b64decode(each) for each in told["consistency"]]
            assert verify_consistency(then.size, now.size, path, then.root, root)
            assert not verify_consistency(then.size, now.size, path, root, root)
            for beyond in ({"index": 10**6}, {"size": 10**6}, {"old": 10**6}, {"size": 2, "index": 2}):
                assert await here.refusal("log.proof", beyond, owner) == "OMG-I001"

    asyncio.run(work())


@pytest.mark.slow
@pytest.mark.promise("LOG-46")
def test_the_log_is_read_over_http_and_by_the_client(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as here:
            headers = {"authorization": f"Bearer {here.omega.passport()}"}
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{here.url}/api/v1/log/search", json={"kind": "entry"}, headers=headers) as answer,
            ):
                assert answer.status == 200 and (await answer.json())["leaves"][0]["flow"] == "log.search"
            async with here.client() as client:
                assert (await client.log.checkpoint())["size"] > 0
                async with client.session() as rpc:
                    assert (await rpc.call("log.proof", {"index": 0}))["leaf"]

    asyncio.run(work())
