"""An agent at a host of its own: its own process would be, mutual TLS and its own rights are, and what it answers is durable."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from omega.client import Client
from omega.client.hosting import host
from omega.features.agents.abroad import Errand, read_answer
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings
from omega.kernel.errors import Denied, InputError, OmegaError, UpstreamError

WORKLOAD = "spiffe://omega.local/agent/researcher"
POLICY = """
@id("researcher-hears")
@reason("the researcher hears what it is asked")
permit (
  principal == Service::"agent/researcher",
  action in [Action::"run", Action::"read"],
  resource == Flow::"events.read"
);

@id("researcher-answers")
@reason("the researcher answers what agents are asked")
permit (
  principal == Service::"agent/researcher",
  action == Action::"signal",
  resource == Flow::"agents.run"
);
"""
CARD = {"name": "researcher", "version": "1.0.0", "instructions": "runs elsewhere", "own_host": True}
PATIENCE_S = 60.0


class There:
    """An installation that serves over mutual TLS, with the certificate of one workload."""

    def __init__(self, folder: Path) -> None:
        self.home, self.certificates = folder / "home", folder / "out"
        (self.home / "policies").mkdir(parents=True)
        (self.home / "policies/researcher.cedar").write_text(POLICY)
        self.home.chmod(0o700)
        self.omega("keys", "certificates", "--establish")
        self.omega("keys", "certify", "agent/researcher", str(self.certificates))
        self.omega("keys", "admit", WORKLOAD, "--grant", "flows:run", "--grant", "events:use", "--group", "deciders")
        command = [sys.executable, "-m", "omega", "up", "--json", "--port", "0", "--mutual-tls", "ask", "--home", str(self.home)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def omega(self, *words: str) -> None:
        command = [sys.executable, "-m", "omega", *words, "--home", str(self.home)]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert said.returncode == 0, said.stdout + said.stderr

    def tls(self, *, certificate: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates / "bundle.pem"))
        if certificate:
            context.load_cert_chain(self.certificates / "chain.pem", self.certificates / "key.pem")
        return context

    def owner(self) -> httpx.Client:
        identity = Identity.load(Settings.load(self.home), SystemEntropy())
        headers = {"authorization": f"Bearer {identity.passport('', now_us=SystemClock().now_us())}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=self.tls(certificate=False), timeout=PATIENCE_S, trust_env=False)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    made = There(tmp_path_factory.mktemp("abroad"))
    yield made
    made.close()


async def research(task: Any) -> str:
    if task == "impossible":
        raise LookupError("nothing is known of it")
    return f"all about {task}"


@pytest.mark.slow
@pytest.mark.promise("AGENT-09")
def test_an_agent_at_its_own_host_answers_over_mutual_tls_with_its_own_rights(there: There) -> None:
    async def work() -> tuple[Any, Any]:
        with there.owner() as owner:
            assert owner.post("/api/v1/agents/register", json=CARD).status_code == 200
            async with Client(there.url, tls=there.tls(certificate=True)) as omega:
                assert (await omega.me())["principal"] == "service:agent/researcher"
                with pytest.raises(Denied):
                    await omega.call("agents.list", {})
                asked = owner.post("/api/v1/agents/run", json={"agent": "researcher", "task": "bees"}, headers={"prefer": "respond-async"})
                hosting = asyncio.create_task(host(omega, "researcher", research))
                done = await asyncio.to_thread(outcome, owner, asked.json()["outcome"])
                failing = owner.post(
                    "/api/v1/agents/run", json={"agent": "researcher", "task": "impossible"}, headers={"prefer": "respond-async"}
                )
                failed = await asyncio.to_thread(outcome, owner, failing.json()["outcome"])
                hosting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await hosting
            entry = owner.post("/api/v1/agents/list", json={}).json()[0]["versions"][0]
        return done["value"], (failed["error"]["code"], failed["error"]["detail"], entry["outcomes"], entry["health"])

    done, failed = asyncio.run(work())
    assert done == {"agent": "researcher", "version": "1.0.0", "answer": "all about bees"}
    assert failed == ("OMG-M008", "researcher at its own host: LookupError: nothing is known of it", 2, "shaky")


def outcome(owner: httpx.Client, path: str) -> Any:
    """How an execution ended, waited for."""
    while True:
        told = owner.get(path, params={"wait": 10}).json()
        if told.get("status") in ("done", "failed"):
            return told


@pytest.mark.slow
@pytest.mark.promise("AGENT-09")
def test_a_stranger_with_no_certificate_is_nobody(there: There) -> None:
    async def work() -> None:
        async with Client(there.url, tls=there.tls(certificate=False)) as omega:
            await omega.me()

    with pytest.raises(Denied) as refused:
        asyncio.run(work())
    assert refused.value.code == "OMG-T001"


class Scripted:
    """What `host` hears of an installation with some tasks, which refuses the answers to `refusing`."""

    def __init__(self, tasks: list[str], refusing: dict[str, OmegaError]) -> None:
        self.tasks, self.refusing, self.answered = tasks, refusing, list[str]()

    async def call(self, method: str, value: dict[str, Any]) -> dict[str, Any]:
        assert method == "events.read"
        begin = value["after"] + 1
        if begin >= len(self.tasks):
            raise asyncio.CancelledError
        asked = [{"agent": "researcher", "execution": task, "signal": "s", "task": json.dumps(task)} for task in self.tasks]
        events = [{"sequence": f"{at:016d}", "data": data} for at, data in enumerate(asked)]
        return {"events": events[begin:], "position": len(self.tasks) - 1}

    async def decide(self, execution: str, verb: str, body: dict[str, Any]) -> None:
        if execution in self.refusing:
            raise self.refusing[execution]
        self.answered.append(execution)


@pytest.mark.promise("AGENT-09")
@pytest.mark.parametrize("refused", [Denied("OMG-W001", "no"), Denied("OMG-W008", "no"), InputError("OMG-I003", "gone")])
def test_an_answer_that_is_not_taken_stops_no_task_after_it(refused: OmegaError, caplog: pytest.LogCaptureFixture) -> None:
    there = Scripted(["a", "b", "c"], {"b": refused})
    dealt: list[int] = []
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(host(there, "researcher", research, dealt_with=dealt.append))  # type: ignore[arg-type]
    assert (there.answered, dealt) == (["a", "c"], [0, 1, 2, 2])
    assert refused.code in caplog.text
    assert "of researcher to b" in caplog.text


@pytest.mark.promise("AGENT-09")
@pytest.mark.parametrize("code", ["OMG-T001", "OMG-T010", "OMG-W004", "OMG-W009", "OMG-W011"])
def test_a_host_that_is_let_in_no_more_leaves_the_task_in_hand(code: str) -> None:
    there = Scripted(["a", "b", "c"], {"b": Denied(code, "not now")})
    dealt: list[int] = []
    with pytest.raises(Denied):
        asyncio.run(host(there, "researcher", research, dealt_with=dealt.append))  # type: ignore[arg-type]
    assert (there.answered, dealt) == (["a"], [0])


@pytest.mark.parametrize("said", [None, "words", {"answer": 7}, {"error": "no", "answer": "x"}, {}, {"error": "no"}])
def test_what_is_no_answer_is_the_agents_failure(said: Any) -> None:
    with pytest.raises(UpstreamError) as refused:
        read_answer(Errand(agent="researcher", version="1.0.0", task="x"), said)
    assert refused.value.code == "OMG-M008"


def test_an_answer_fits_the_card() -> None:
    errand = Errand(agent="researcher", version="1.0.0", task="x", output={"type": "object", "required": ["n"]})
    assert read_answer(errand, {"answer": {"n": 1}}) == {"n": 1}
    with pytest.raises(UpstreamError):
        read_answer(errand, {"answer": {"m": 1}})
