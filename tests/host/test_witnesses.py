"""Witnesses over HTTP: the entrance of one, and an installation that has its logs cosigned by several."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chronicle.ledger import ATTACKER, OPERATOR, TENANT, Ledger, leaf, ledger, sequencer
from omega.chronicle.export import write_export
from omega.chronicle.verifier import verify_export
from omega.chronicle.witness import Request
from omega.gateway.front.door import Door, Manners
from omega.gateway.front.server import Listener, Place
from omega.gateway.witness import entrance
from omega.host.embedded import Omega
from omega.host.reading import Archive
from omega.host.witness_asking import KEPT, LATE, QUORUM, SEEN, WITNESS, Quorum, Shown, shown
from omega.host.witness_rounds import MAX_PAUSE_S, Rounds, _Log, standing
from omega.host.witnessing import WITNESSED, Desk, witnessed
from omega.kernel.errors import InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Search
from omega.runtime.recovery import read_outcome
from omega.trust.growth import grown
from omega.trust.merkle import Range, Tree

KEY = sequencer().key(TENANT)
LOG = ledger()
TREE = Tree(LOG.stored)
AT_S = 1_800_000_000
PATIENCE_S = 60.0


@flow
def double(n: int) -> int:
    return n * 2


@dataclass
class Witnessing:
    """A witness that answers at `url`; `spoil` changes its answers, `asked` are the requests it got."""

    desk: Desk
    url: str
    asked: list[bytes]
    spoil: Callable[[bytes], bytes] | None = None


@asynccontextmanager
async def witness(folder: Path, name: str) -> AsyncIterator[Witnessing]:
    """Serve a witness, new or as its folder has it."""
    desk = Desk.open(folder) if (folder / "name").exists() else Desk.make(folder, f"witness.example/{name}")
    served = Witnessing(desk, "", [])

    async def cosign(raw: bytes) -> bytes:
        served.asked.append(raw)
        line = await asyncio.to_thread(desk.cosign, raw, AT_S)
        return served.spoil(line) if served.spoil else line

    door = Door([entrance(cosign)], Manners(hosts=frozenset({"127.0.0.1"})), ready=lambda: "", prefix="wit_")
    listener = Listener(door, Place(host="127.0.0.1", port=0))
    await listener.start()
    served.url = listener.url
    try:
        yield served
    finally:
        await listener.stop()


def submission(old: int, at: int, log: Ledger = LOG, tree: Tree = TREE) -> bytes:
    size, note = log.points[at]
    return Request(old, tuple(tree.consistency(old, size)) if old else (), note).write()


@pytest.mark.promise("LOG-41")
def test_a_witness_answers_as_the_exchange_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
            served.desk.add(KEY.text())

            async def add(raw: bytes) -> httpx.Response:
                return await client.post("/add-checkpoint", content=raw)

            first = await add(submission(0, 2))
            size, note = LOG.points[2]
            assert first.status_code == 200
            head, name, encoded = first.text.rstrip("\n").split(" ")
            raw = base64.b64decode(encoded)
            assert (head, name) == ("\u2014", "witness.example/w1")
            said = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n".encode() + note.split(b"\n\n")[0] + b"\n"
            Ed25519PublicKey.from_public_bytes(served.desk.signer.public).verify(raw[12:], said)  # C2SP tlog-cosignature, by its text

            behind = await add(submission(0, -1))
            assert (behind.status_code, behind.text, behind.headers["content-type"]) == (409, f"{size}\n", "text/x.tlog.size")
            last = LOG.points[-1][0]
            wrong = Request(size, (b"\0" * 32,), LOG.points[-1][1]).write()
            assert (await add(wrong)).status_code == 422
            assert (await add(submission(size, -1))).status_code == 200
            assert (await add(submission(last, -1))).status_code == 200, "the same again is no harm"
            other = Ledger("globex")
            other.commit([leaf(1, "globex")])
            assert (await add(Request(0, (), other.points[0][1]).write())).status_code == 404
            forged = ledger((3,), signer=ATTACKER)
            assert (await add(Request(0, (), forged.points[0][1]).write())).status_code == 403
            for bad in (b"", b"old x\n\n", b"x" * 70_000):
                assert (await add(bad)).status_code == 400
            assert (await add(b"x" * 90_000)).status_code == 413
            assert (await client.get("/add-checkpoint")).status_code == 405
            assert (await client.post("/add-checkpoint/x", content=b"")).status_code == 404
            assert served.desk.seen(KEY.name).size == last

    asyncio.run(main())


@pytest.mark.promise("LOG-41")
def test_of_two_histories_at_once_one_is_cosigned(tmp_path: Path) -> None:
    """The keeper of the log forks it, and shows the two ends to one witness at the same moment, many times."""
    fork = ledger((3, 1, 4), OPERATOR)
    fork.commit([leaf(900 + at) for at in range(LOG.points[-1][0] - 8)])
    forked = Tree(fork.stored)
    assert fork.points[-1][0] == LOG.points[-1][0]

    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
            served.desk.add(KEY.text())
            assert (await client.post("/add-checkpoint", content=submission(0, 2))).status_code == 200
            raws = [submission(8, -1), submission(8, -1, fork, forked)] * 4
            found = await asyncio.gather(*(client.post("/add-checkpoint", content=raw) for raw in raws))
            good = {index % 2 for index, answer in enumerate(found) if answer.status_code == 200}
            assert len(good) == 1 and {answer.status_code for answer in found} <= {200, 409}

    asyncio.run(main())


async def went_round(omega: Omega, rounds: Rounds) -> None:
    """Ask whoever is due, as if the pause was over, and wait for the answers."""
    for name, _ in omega.store.documents("witness-round"):
        omega.store.drop_document("witness-round", name)
    await rounds.look()
    await rounds.finish()


async def register(omega: Omega, served: Witnessing, name: str, **more: Any) -> None:
    for tenant in omega.store.tenants() or ["local"]:
        served.desk.add(omega.identity.sequencer.key(tenant).text())
    body = {"url": served.url, "key": served.desk.key.text(), "allow": ["127.0.0.0/8"], **more}
    await omega.arrange(WITNESS, name, body)


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
@pytest.mark.promise("LOG-40")
def test_two_witnesses_cosign_as_the_log_goes_on_and_exports_carry_it(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def main() -> list[str]:
        async with witness(tmp_path / "w1", "w1") as first, witness(tmp_path / "w2", "w2") as second, Omega.open(home) as omega:
            await register(omega, first, "one")
            await register(omega, second, "two")
            rounds = Rounds(omega)
            await went_round(omega, rounds)
            assert len(first.asked) == 1 and first.asked[0].startswith(b"old 0\n")
            before = shown(omega.store, "one", "local").size
            await went_round(omega, rounds)
            assert len(first.asked) == 1, "what witnessing itself leaves in the log is not shown for its own sake"
            await omega.run(double, 21)
            await went_round(omega, rounds)
            assert first.asked[1].startswith(b"old %d\n" % before), "from where it was"
            (tmp_path / "w2" / "seen").rename(tmp_path / "gone")
            (tmp_path / "w2" / "seen").mkdir(mode=0o700)
            await omega.run(double, 22)
            await went_round(omega, rounds)
            assert [raw.split(b"\n")[0] for raw in second.asked[-1:]] == [b"old 0"], "one that forgot is shown the whole log"
            sizes = {shown(omega.store, name, "local").size for name in ("one", "two")}
            assert len(sizes) == 1 and sizes.pop() > before
            return [first.desk.key.text(), second.desk.key.text()]

    keys = asyncio.run(main())
    with Archive.open(home) as archive:
        out = io.BytesIO()
        write_export(archive.reader, "local", out, keys=archive.log_keys("local"), witnessed=witnessed(archive.reader, "local"))
        report = verify_export(io.BytesIO(out.getvalue()), witnesses=keys)
        assert report.sound, report.findings
        assert len(report.witnessed) == 2
        row = standing(archive)[0]
        assert row["quorum"] == 2 and row["cosigned"] >= row["witnesses"][0]["leaves"] > 0


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_one_that_is_down_and_one_that_lies_are_told_of_once_and_hold_up_nothing(tmp_path: Path) -> None:
    now = [0.0]

    async def main() -> None:
        async with witness(tmp_path / "w1", "w1") as good, witness(tmp_path / "w2", "w2") as liar, Omega.open(tmp_path / "home") as omega:
            await register(omega, good, "good")
            await register(omega, liar, "liar")
            await omega.arrange(WITNESS, "down", {"url": "http://127.0.0.1:9", "key": liar.desk.key.text(), "allow": ["127.0.0.0/8"]})
            await omega.arrange(QUORUM, QUORUM, {"quorum": 2, "within_s": 60, "every_s": 1})
            liar.spoil = lambda line: line[:-12] + (b"A" if line[-12:-11] != b"A" else b"B") + line[-11:]
            rounds = Rounds(omega, lambda: now[0])
            await went_round(omega, rounds)
            found = {name: shown(omega.store, name, "local") for name in ("good", "liar", "down")}
            assert found["good"].size and not found["good"].why
            assert not found["liar"].size and "without a cosignature of its key" in found["liar"].why
            assert not found["down"].size and "cannot be reached" in found["down"].why
            documents = [json.loads(body) for _, body in omega.store.documents(WITNESSED)]
            assert [body["keys"] for body in documents] == [[good.desk.key.text()]], "nothing of the liar is kept"

            def told() -> int:
                return len(omega.store.search(Search(tenant="local", flow=LATE, limit=10)))

            assert told() == 0
            now[0] = 61.0
            for _ in range(3):
                await went_round(omega, rounds)
            assert told() == 1, "once"
            line = omega.store.search(Search(tenant="local", flow=LATE, limit=1))[0]
            error = read_outcome(omega.world, line.execution).error
            assert line.status == "failed" and error is not None and error["code"] == "OMG-C009"
            assert (await omega.run(double, 2)).value == 4
            liar.spoil = None
            now[0] = 400.0
            await went_round(omega, rounds)
            await went_round(omega, rounds)
            assert shown(omega.store, "liar", "local").size and told() == 1
            await omega.run(double, 3)
            liar.spoil = lambda line: b"nonsense\n"
            await went_round(omega, rounds)
            now[0] = 500.0
            await went_round(omega, rounds)
            assert told() == 2, "again, after the quorum was met"

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_a_log_that_was_set_back_is_refused_and_said_to_be(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"

    async def begin() -> None:
        async with Omega.open(home) as omega:
            await omega.run(double, 1)

    async def shows(folder: Path, numbers: range) -> Shown:
        async with witness(tmp_path / "w", "w1") as served, Omega.open(folder) as omega:
            await register(omega, served, "one")
            for number in numbers:
                await omega.run(double, number)
            rounds = Rounds(omega)
            await went_round(omega, rounds)
            return shown(omega.store, "one", "local")

    asyncio.run(begin())
    shutil.copytree(home, copy)
    true = asyncio.run(shows(home, range(9)))
    assert true.size and not true.why
    short = asyncio.run(shows(copy, range(1)))
    assert not short.size and "has seen" in short.why, "it has fewer leaves than the witness saw"
    longer = asyncio.run(shows(copy, range(20)))
    assert not longer.size and "answers 422" in longer.why, "it has more, and they do not continue what the witness saw"


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_a_log_that_lies_behind_its_notes_is_not_cosigned_and_is_told_of(tmp_path: Path) -> None:
    """The log alone was set back: the notes of what witnesses were shown stand as they were."""
    home, now = tmp_path / "home", [0.0]
    ahead = Shown(5_000, 1, grown(Range(), [bytes([at % 256]) * 32 for at in range(5_000)]).state().hex())

    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, Omega.open(home) as omega:
            await omega.run(double, 1)
            await register(omega, served, "one")
            omega.store.put_document(SEEN, "one/local", json.dumps(ahead.to_json()).encode(), 0)
            rounds = Rounds(omega, lambda: now[0])
            await went_round(omega, rounds)
            found = shown(omega.store, "one", "local")
            assert (found.size, served.asked) == (5_000, []) and "has fewer now" in found.why
            now[0] = 601.0
            await went_round(omega, rounds)
            lines = omega.store.search(Search(tenant="local", flow=LATE, limit=10))
            assert [line.status for line in lines] == ["failed"], "and somebody is told"

    asyncio.run(main())
    with Archive.open(home) as archive:
        row = standing(archive)[0]
        assert row["cosigned"] == 0 < row["leaves"] and "has fewer now" in row["witnesses"][0]["why"]


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_a_log_that_a_witness_does_not_know_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, quorum = [1.0], Quorum()

    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, Omega.open(tmp_path / "home") as omega:
            await omega.run(double, 1)
            await register(omega, served, "one")
            served.desk.add(KEY.text())
            rounds = Rounds(omega, lambda: now[0])
            assert rounds._due("one", ["nobody", "local"], quorum) == ["nobody", "local"]
            await rounds._ask("one", ["nobody", "local"])
            assert shown(omega.store, "one", "local").size, "it is asked about the next all the same"
            assert omega.store.document(SEEN, "one/nobody") is None, "what is no log leaves no note"
            assert rounds._away["one"] == 0, "it answered"
            assert rounds._due("one", ["nobody", "local"], quorum) == ["local"]
            now[0] += MAX_PAUSE_S
            monkeypatch.setattr("omega.host.witness_rounds.MAX_LOGS", 1)
            await rounds._ask("one", rounds._due("one", ["nobody", "local"], quorum))
            assert rounds._due("one", ["nobody", "local", "other"], quorum) == ["other"], "in turn"
            rounds._logs["gone"] = _Log(looked=5, end=5)
            await went_round(omega, rounds)
            assert "gone" not in rounds._logs and not any(log in ("gone", "nobody") for _, log in rounds._turns)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_one_that_refuses_a_log_is_there_and_one_that_gives_no_answer_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, Omega.open(tmp_path / "home") as omega:
            await omega.run(double, 1)
            body = {"url": served.url, "key": served.desk.key.text(), "allow": ["127.0.0.0/8"]}
            await omega.arrange(WITNESS, "stranger", body)
            await omega.arrange(WITNESS, "down", {**body, "url": "http://127.0.0.1:9"})
            rounds = Rounds(omega, lambda: 1.0)
            await went_round(omega, rounds)
            assert "answers 404" in shown(omega.store, "stranger", "local").why
            assert rounds._away == {"stranger": 0, "down": 1}
            assert {name: turn.failures for (name, _), turn in rounds._turns.items()} == {"stranger": 1, "down": 0}

    asyncio.run(main())


def test_what_waits_is_counted_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[entrance.__module__], "MAX_WAITING", 1)

    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
            _reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
            writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 70000\r\n\r\nold 0\n")
            await writer.drain()
            async with asyncio.timeout(PATIENCE_S):
                while (await client.post("/add-checkpoint", content=b"")).status_code != 503:
                    await asyncio.sleep(0.01)
            writer.close()
            async with asyncio.timeout(PATIENCE_S):
                while (await client.post("/add-checkpoint", content=b"")).status_code != 400:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_what_cannot_be_a_witness_or_a_quorum(tmp_path: Path) -> None:
    key = Desk.make(tmp_path / "w", "witness.example/w1").key.text()
    good = {"url": "https://witness.example", "key": key}
    bad: list[tuple[str, str, dict[str, Any]]] = [
        (WITNESS, "one", {**good, "key": KEY.text()}),
        (WITNESS, "one", {**good, "key": ""}),
        (WITNESS, "one", {**good, "url": "http://witness.example"}),
        (WITNESS, "one", {**good, "url": "https://u:p@witness.example"}),
        (WITNESS, "one/two", good),
        (WITNESS, "one", {**good, "more": 1}),
        (QUORUM, QUORUM, {"quorum": -1}),
        (QUORUM, QUORUM, {"within_s": 0}),
        (QUORUM, "other", {}),
        (QUORUM, QUORUM, {"quorum": "2"}),
    ]

    async def main() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.arrange(WITNESS, "one", good)
            for kind, name, body in bad:
                with pytest.raises(InputError):
                    await omega.arrange(kind, name, body)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_only_the_newest_cosigned_checkpoints_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with witness(tmp_path / "w", "w1") as served, Omega.open(tmp_path / "home") as omega:
            await register(omega, served, "one")
            rounds = Rounds(omega)
            for number in range(KEPT + 5):
                await omega.run(double, number)
                await went_round(omega, rounds)
            assert len(omega.store.documents(WITNESSED)) == KEPT

    asyncio.run(main())


# -- as programs


def started(*command: str, home: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A program that tells its address on its first line."""
    environment = {**os.environ, "OMEGA_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "omega", *command], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def omega(home: Path, *command: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "omega", *command, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "OMEGA_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.promise("LOG-42")
def test_an_installation_and_its_witness_as_two_programs(tmp_path: Path) -> None:
    home, desk = tmp_path / "home", tmp_path / "desk"
    (tmp_path / "flows.py").write_text("from omega import flow\n\n\n@flow\ndef double(n: int) -> int:\n    return n * 2\n")
    omega(home, "run", f"{tmp_path / 'flows.py'}:double", "--input", "1")
    made = omega(home, "witness", "init", str(desk), "--name", "witness.example/w1")
    log_key = omega(home, "keys", "public")
    serving, facts = started("witness", "serve", str(desk), "--port", "0", "--json", home=home)
    house, _ = started("up", "--port", "0", "--json", home=home)
    try:
        body = omega(home, "witness", "register", "one", "--url", facts["url"], "--key", made["key"], "--allow", "127.0.0.0/8")
        assert body["logs"]["local"] in json.dumps(log_key), "what register prints is the key of the log"
        omega(home, "witness", "quorum", "1", "--every", "1s")
        omega(home, "witness", "add", str(desk), body["logs"]["local"])
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            row = omega(home, "witness", "status")["logs"][0]
            if row["cosigned"]:
                break
        assert row["cosigned"] > 0 and row["witnesses"][0]["why"] == ""
        omega(home, "verify", "--export", str(tmp_path / "export.omega"))
        checked = subprocess.run(
            [sys.executable, str(tmp_path / "verify.py"), str(tmp_path / "export.omega"), "--witness", made["key"]],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        omega(home, "witness", "dismiss", "one")
        assert omega(home, "witness", "status")["logs"] == [], "nobody is shown the log any more"
    finally:
        for process in (house, serving):
            process.send_signal(signal.SIGTERM)
        for process in (house, serving):
            assert process.wait(PATIENCE_S) == 0
            assert process.stdout is not None
            process.stdout.close()
