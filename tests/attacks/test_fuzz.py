"""Random attacks on every entrance of a house that is open: no crash, no internal error, nothing of others, and it goes on answering."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from attacks.conftest import AGENTS
from attacks.fuzzing import Attacker, OverA2a, OverHttp, OverMcp, OverOpenAI, OverRegistry, OverRpc
from attacks.judging import SECRET, leaks, wrong_with
from attacks.wire import CLOSE, Line, dialled
from gateway.http.test_credentials import OFFERS
from omega.gateway.http.openapi import document
from omega.wire.rpc import SUBPROTOCOL

SLOW_S = float(os.environ.get("OMEGA_FUZZ_S", "10"))
SOAK_S = float(os.environ.get("OMEGA_FUZZ_SOAK_S", "3600"))
LOOK = 200
"""Attacks between two looks whether the house still answers."""

FOREIGN = "ten_0000000000000000000000000000000f"


@dataclass
class Claims:
    """Who the next request claims to be: the owner, somebody without rights, somebody of another tenant, nobody."""

    house: Any
    dice: random.Random
    owner: bool = False
    made: dict[tuple[str, int], str] = field(default_factory=dict)

    def token(self) -> str:
        """A passport, one of a few that are kept for a while."""
        kind = self.dice.choice(("owner", "owner", "guest", "foreign", "nobody"))
        self.owner = kind == "owner"
        key = (kind, self.dice.randrange(4))
        if kind != "nobody" and key not in self.made:
            name = f"person:{kind}-{key[1]}-{self.dice.randrange(1 << 30)}"
            rights: dict[str, dict[str, Any]] = {"guest": {"groups": ("guest",), "capabilities": ()}, "foreign": {"tenant": FOREIGN}}
            self.made[key] = self.house.passport(name, **rights.get(kind, {}))
        return self.made.get(key, "not-a-passport")

    def refused(self) -> None:
        """A passport may have been revoked by its own request, or have grown old: make new ones."""
        self.made.clear()


def operations() -> list[tuple[str, str, Any]]:
    """Every operation of the description, with its example; without those that would call addresses elsewhere."""
    found = []
    for path, verbs in document(OFFERS)["paths"].items():
        filled = path.replace("{execution}", "EXECUTION").replace("{flow}", "double").replace("{module}", "insights")
        filled = filled.replace("{server}", "git").replace("{tool}", "log")
        for verb, described in verbs.items():
            example = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example", {})
            found.append((verb.upper(), filled, {} if "http" in json.dumps(example) else example))
    return found


Make = Callable[[dict[str, Any], Any], Attacker]
"""Makes an attacker from what all of them share, and the house."""

KINDS: dict[str, Make] = {
    "http": lambda shared, house: OverHttp(**shared, operations=operations()),
    "mcp newer": lambda shared, house: OverMcp(**shared, newer=True),
    "mcp older": lambda shared, house: OverMcp(**shared, newer=False, session=opened(shared["line"], house)),
    "openai": lambda shared, house: OverOpenAI(**shared),
    "rpc": lambda shared, house: OverRpc(**shared, methods=[f"{each.service}.{each.name}" for each in OFFERS]),
    "a2a": lambda shared, house: OverA2a(**shared, agents=[*AGENTS]),
    "registry": lambda shared, house: OverRegistry(**shared),
}
"""Every entrance, by name. One more is one line: an attacker of its own (`attacks.fuzzing`), or `OverHttp` with `operations` of
(verb, path, example), which it makes nearly right ones of."""


def attacker(kind: str, line: Line, dice: random.Random, claims: Claims, execution: str) -> Attacker:
    """The one of that kind."""
    return KINDS[kind]({"line": line, "dice": dice, "token": claims.token, "execution": execution}, claims.house)


def opened(line: Line, house: Any) -> str:
    """A session of the older era."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    with house.client() as client:
        answer = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    return str(answer.headers["mcp-session-id"])


def over_requests(shooter: Any, claims: Claims, hidden: tuple[str, ...]) -> None:
    """One attack of one request, and its answer."""
    data = shooter.shot()
    line: Line = shooter.line
    line.say(data)
    if shooter.broken:
        line.end()
        answers = line.answers()
        line.close()
    else:
        found = line.answer()
        answers = [] if found is None else [found]
        assert found is not None, ("closed without an answer", data[:2_000])
    for answer in answers:
        problem = wrong_with(answer, () if claims.owner else hidden)
        assert not problem, (problem, data[:2_000])
        if answer.status == 401 and claims.owner:
            claims.refused()


def over_frames(shooter: Any, claims: Claims, hidden: tuple[str, ...]) -> None:
    """One attack of one frame; a good one after it is answered, unless the session was closed."""
    line: Line = shooter.line
    if not getattr(shooter, "joined", False):
        headers = f"authorization: Bearer {claims.token()}\r\nsec-websocket-protocol: {SUBPROTOCOL}\r\n"
        answer = line.upgrade("/rpc", headers)
        if answer is None or answer.status != 101:
            assert answer is not None and answer.status in (401, 403), answer
            line.close()
            return
        shooter.joined, shooter.whole = True, claims.owner
    data, after = shooter.shot(), shooter.asked_after()
    line.say(data + after)
    if shooter.broken:
        line.end()
    wanted = f'"after-{shooter.number}"'.encode()
    while (frame := line.frame()) is not None:
        opcode, payload = frame
        shown = leaks(payload, () if shooter.whole else hidden)
        assert not shown and b"OMG-G011" not in payload, (shown, payload[:500], data[:2_000])
        if opcode == CLOSE:
            assert payload[:2] != b"\x03\xf3", ("1011: the server failed", data[:2_000])
            frame = None
            break
        if wanted in payload and not shooter.broken:
            return
    shooter.joined = False
    line.close()


def fuzz(kind: str, house: Any, hidden: str, seconds: float, seed: int) -> int:
    """How many attacks were made in so many seconds."""
    dice = random.Random(seed)
    claims, tried, end = Claims(house, dice), 0, time.monotonic() + seconds
    unseen = (SECRET,)
    one: Callable[[Any, Claims, tuple[str, ...]], None] = over_frames if kind == "rpc" else over_requests
    with dialled(house.url) as line:
        shooter = attacker(kind, line, dice, claims, hidden)
        while time.monotonic() < end:
            one(shooter, claims, unseen)
            tried += 1
            if tried % LOOK == 0:
                with house.client() as client:
                    assert client.get("/livez").status_code == 200
                claims.refused()
    return tried


@pytest.mark.promise("ATTACK-02")
@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_random_attacks_for_a_while(house: Any, hidden: str, faults: list[str], kind: str) -> None:
    seed = int(time.time())
    try:
        assert fuzz(kind, house, hidden, SLOW_S, seed) > 20
    except BaseException:
        print(f"fuzz: {kind}, seed {seed}")
        raise


@pytest.mark.promise("ATTACK-02")
@pytest.mark.soak
@pytest.mark.parametrize("kind", list(KINDS))
def test_an_hour_of_random_attacks(house: Any, hidden: str, faults: list[str], kind: str) -> None:
    """An hour with a seed that is told when it fails; OMEGA_FUZZ_SOAK_S makes it shorter."""
    seed = random.SystemRandom().randrange(2**32)
    try:
        tried = fuzz(kind, house, hidden, SOAK_S, seed)
    except BaseException:
        print(f"fuzz: {kind}, seed {seed}")
        raise
    print(f"fuzz: {kind}, seed {seed}: {tried} attacks, each refused or answered, nothing of others shown")
