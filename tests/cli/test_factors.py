"""`omega mfa`: an app is replaced with its code, keys are listed, another person resets, and a terminal says where the page is."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cli.program import omega
from omega.host import mfa
from omega.host.embedded import Omega
from omega.host.passkeys import Passkeys
from omega.host.whereabouts import named
from trust.authenticator import Authenticator

ORIGIN = "https://omega.example"
RULE = """
@id("keyed")
@reason("{flow} takes a key")
@approval("webauthn")
forbid (principal, action == Action::"write", resource) unless { context.approved.contains("webauthn") };
"""
WRITES = """
from omega import Context, WriteFiles, flow


@flow(effect="write", needs="files:write")
async def note(ctx: Context, text: str) -> list[str]:
    return await ctx.touch(WriteFiles(files={"note.txt": text.encode()}))
"""


def code_of(address: str) -> str:
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    return mfa.code_at(base64.b32decode(secret + "=" * (-len(secret) % 8)), int(time.time()) // mfa.STEP_S)


async def registered(home: Path) -> None:
    """A key of the owner's, as if its page had been open."""
    async with Omega.open(home) as opened:
        world, scope = opened.world, opened.scope()
        keys = Passkeys(opened.store, world.keyring, world.clock.now_us, world.entropy.take)
        asked = keys.ask_new((scope.tenant, scope.principal), ORIGIN)
        said = {"ceremony": asked["ceremony"], "answer": Authenticator().create(asked["options"], ORIGIN)}
        keys.register((scope.tenant, scope.principal), "blue key", said)


@pytest.mark.slow
@pytest.mark.promise("MFA-04")
def test_an_app_is_replaced_with_its_code_and_reset_by_somebody_else(home: Path) -> None:
    assert omega("budget", "set", "agent:x", "5", "USD/day").status == 0, "a folder is there"
    first = omega("mfa", "enrol", "--json").document
    me = first["person"]
    assert omega("mfa", "list", "--json").document["code"] is True
    refused = omega("mfa", "enrol")
    assert refused.status == 3 and "OMG-W007" in refused.out + refused.err
    assert omega("mfa", "enrol", "--code", code_of(first["address"])).status == 0
    assert omega("mfa", "reset", me).status == 3
    assert omega("mfa", "reset", me, "--as", "person:grace").status == 0
    assert omega("mfa", "list").out.startswith(f"{me} has no second factor")
    assert omega("mfa", "reset", me, "--as", "person:grace").status != 0
    assert omega("mfa", "enrol").status == 0


@pytest.mark.slow
@pytest.mark.promise("MFA-05")
def test_a_terminal_says_where_a_key_approves(home: Path, tmp_path: Path) -> None:
    flows, rule = tmp_path / "note.py", tmp_path / "keyed.cedar"
    flows.write_text(WRITES)
    rule.write_text(RULE)
    assert omega("policy", "enact", str(rule)).status == 0
    asyncio.run(registered(home))
    listed = omega("mfa", "list", "--json").document
    assert [key["name"] for key in listed["passkeys"]] == ["blue key"] and listed["page"] == ""
    assert "blue key" in omega("mfa", "list").out
    waiting = omega("run", str(flows), "--input", "text=x", "--id", "one")
    assert waiting.status == 4 and "omega mfa page one" in waiting.out + waiting.err
    told = omega("approve", "one")
    assert told.status == 4 and "start omega up" in told.out
    assert omega("approve", "one", "--code", "000000").status == 3, "a code is no key"
    refused = omega("mfa", "page")
    assert refused.status != 0 and "omega up" in refused.out + refused.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:9405", "http://localhost:9405"),
        ("http://127.0.0.1", "http://localhost"),
        ("https://[::1]:1/sign-in?code=x", "https://localhost:1/sign-in?code=x"),
        ("https://omega.example", "https://omega.example"),
        ("http://127.0.0.11:1", "http://127.0.0.11:1"),
    ],
)
def test_pages_with_keys_are_opened_by_name(url: str, shown: str) -> None:
    assert named(url) == shown
