"""The browser page gives the answer of the Python verifier, word for word, with no network: in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chronicle.ledger import ATTACKER, OPERATOR, TENANT, Ledger, SeededSigner, ledger, sequencer
from chronicle.test_mutations import COMMITS, HONEST, KINDS
from chronicle.test_verifier import BAD, SIGNED, with_journal
from chronicle.test_witness import WITNESS, cosigned
from omega.chronicle import verifier
from omega.chronicle.export import write_export
from omega.chronicle.pruned import prune
from omega.chronicle.record import Leaf, encode
from omega.chronicle.sequencer import LogSequencer
from omega.chronicle.verifier import verify_export
from omega.trust import handover, keys
from omega.trust.keys import Retired, Ring

PAGE = Path(verifier.__file__).with_suffix(".html")
KEY = sequencer().key(TENANT)
PICTURES = os.environ.get("OMEGA_PICTURES", "")
"""A folder for pictures of the page, for a person to look at; none are made without it."""


def test_the_page_is_one_file_whose_policy_names_its_own_script_and_style() -> None:
    text = PAGE.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    for part in ("script", "style"):
        inline = re.findall(rf"<{part}>(.*?)</{part}>", text, re.S)
        assert len(inline) == 1
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy[1], f"the {part} changed: its digest is {digest}"
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe" not in policy[1]
    assert not re.search(r"""(?:src|href|action)=|@import|url\(|fetch\(|XMLHttp|WebSocket|https?:""", text)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(offline=True, viewport={"width": 900, "height": 1000})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.goto(PAGE.as_uri())
    yield opened
    context.close()
    assert wrong == []


def in_browser(page: Any, raw: bytes, **given: Any) -> dict[str, Any]:
    """What the page's own check says."""
    call = """async ({raw, given}) => {
        const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        return await verify(new Blob([bytes(raw)]), {...given, kept: given.kept.map(bytes)});
    }"""
    given["kept"] = [base64.b64encode(note).decode() for note in given.get("kept", ())]
    found: dict[str, Any] = page.evaluate(call, {"raw": base64.b64encode(raw).decode(), "given": given})
    return found


def agree(page: Any, raw: bytes, **given: Any) -> dict[str, Any]:
    """Both answers are one; gives it."""
    ours, theirs = verify_export(io.BytesIO(raw), **given).record(), in_browser(page, raw, **given)
    assert theirs == ours
    return ours


def test_its_own_sha256_is_that_of_the_browser(page: Any) -> None:
    differ = page.evaluate("""async () => {
        const wrong = [];
        for (let size = 0; size < 300; size++) {
            const bytes = Uint8Array.from({length: size}, (_, at) => (at * 31 + size) & 255);
            const theirs = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
            const parts = sha256(bytes.subarray(0, size >> 1), bytes.subarray(size >> 1));
            if (hex(theirs) !== hex(sha256(bytes)) || hex(theirs) !== hex(parts)) wrong.push(size);
        }
        return wrong;
    }""")
    assert differ == []


@pytest.mark.promise("LOG-24")
def test_good_exports_get_the_same_words(page: Any) -> None:
    log = with_journal(rows=8, covered=6)
    out = io.BytesIO()
    write_export(HONEST, TENANT, out, keys=[KEY], witnessed=[cosigned(4, WITNESS)])
    cases: list[tuple[bytes, dict[str, Any]]] = [
        (Ledger().exported(), {}),
        (log.exported(["exe_1"]), {}),
        (log.exported(["exe_1"]), {"keys": [KEY.text()], "kept": [log.points[1][1]]}),
        (SIGNED, {"exporters": [KEY.text()]}),
        (out.getvalue(), {"witnesses": [WITNESS.key.text()]}),
        (ledger([1] * 50).exported(), {"kept": [ledger([1] * 20).points[-1][1]]}),
    ]
    for raw, given in cases:
        assert agree(page, raw, **given)["sound"]


@pytest.mark.promise("LOG-24")
@pytest.mark.promise("LOG-36")
def test_a_pruned_log_gets_the_same_words(page: Any) -> None:
    whole, log = ledger([7] * 40), ledger([7] * 40)
    log.stored[:100] = [prune(each) for each in log.stored[:100]]
    export = log.exported()
    found = agree(page, export, keys=[KEY.text()], kept=[whole.points[5][1]])
    assert (found["sound"], found["pruned"]) == (True, 100)
    lines = export.split(b"\n")
    for mutant in (export.replace(lines[2], lines[3]), export.replace(lines[2], b"#x"), export.replace(b'"pruned":100', b'"pruned":1.5')):
        assert not agree(page, mutant)["sound"]


@pytest.mark.promise("LOG-24")
def test_a_log_under_other_kinds_of_keys_gets_the_same_words(page: Any) -> None:
    """P-256 as an HSM signs it, and a hand-over from one key to the next."""
    ring = Ring(SeededSigner(6), (), (Retired(SeededSigner(5).public, 0),))
    for signer in (HsmSigner(), SeededSigner(5)):
        grower = LogSequencer(signer, origin=lambda tenant: f"test.omega/{tenant}")
        log, state = Ledger(), b""
        note = handover.hand_over(KEY.name, SeededSigner(5), SeededSigner(6)).decode()
        for batch in (HONEST.stored[:3], [encode(Leaf(kind="handover", tenant=TENANT, note=note))], HONEST.stored[3:9]):
            if isinstance(signer, HsmSigner) and b"handover" in batch[0]:
                continue
            grown = (grower if not state or isinstance(signer, HsmSigner) else successors(ring)).grow(TENANT, state, batch, at_us=0)
            log.stored, state = log.stored + batch, grown.state
            log.points.append((grown.size, grown.checkpoint))
        out = io.BytesIO()
        write_export(log, TENANT, out, keys=[grower.key(TENANT)])
        found = agree(page, out.getvalue(), keys=[grower.key(TENANT).text()])
        assert (found["sound"], found["handovers"]) == (True, 0 if isinstance(signer, HsmSigner) else 1)
        assert not agree(page, out.getvalue(), keys=[KEY.text()])["sound"]


class HsmSigner:
    """A P-256 key whose signatures are the two numbers side by side, as the port has it."""

    def __init__(self) -> None:
        self._key = derive_private_key(7, SECP256R1())
        self.name = "hsm"
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes) -> bytes:
        return keys.es256_of_der(self._key.sign(message, ECDSA(SHA256())))


def successors(ring: Ring) -> LogSequencer:
    return LogSequencer(ring, origin=lambda tenant: f"test.omega/{tenant}")


@pytest.mark.promise("LOG-24")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_mutated_logs_get_the_same_words(page: Any, kind: Any) -> None:
    import random

    dice = random.Random(f"page {kind.__name__}")
    for _ in range(6):
        below, kept = HONEST.points[dice.randrange(1, len(COMMITS))]
        log = HONEST.copy()
        kind(log, below, dice)
        signer = ATTACKER if kind.__name__ == "rewrite_by_attacker" else OPERATOR
        assert not agree(page, log.exported(signer=signer), kept=[kept])["sound"]


@pytest.mark.promise("LOG-24")
def test_what_is_no_export_and_what_is_cut_or_changed_gets_the_same_words(page: Any) -> None:
    import random

    for raw in BAD.values():
        assert agree(page, raw)["status"] == 2
    dice = random.Random("page bytes")
    for end in dice.sample(range(len(SIGNED)), 40):
        assert agree(page, SIGNED[:end], exporters=[KEY.text()])["status"] in (1, 2)
    for _ in range(120):
        raw = bytearray(SIGNED)
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(7)
        agree(page, bytes(raw), exporters=[KEY.text()])
    for given in ({"keys": ["x"]}, {"witnesses": [KEY.text()]}, {"kept": [b"nothing"]}, {"keys": ["\u00e9+00+AAAA"]}):
        assert agree(page, SIGNED, **given)["status"] == 2
    hostile = b'omega export 1\n{"origin":"\\u001b]0;o\\u0007\\udc80\'","checkpoints":["o\\n1\\n"],"journals":0,"keys":[]}\n\n\nend\n'
    agree(page, hostile, kept=[HONEST.points[0][1]])


@pytest.mark.promise("LOG-24")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_chooses_files_and_reads_the_verdict(page: Any, tmp_path: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    log = with_journal(rows=8, covered=6)
    export, kept = tmp_path / "export.omega", tmp_path / "kept.txt"
    export.write_bytes(log.exported(["exe_1"]))
    kept.write_bytes(log.points[0][1])
    page.get_by_label("Choose an export").set_input_files(export)
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#verdict") == "sound"
    picture(page, f"{scheme}-sound")
    page.get_by_text("What you hold yourself").click()
    page.get_by_label("Checkpoints you kept").set_input_files(kept)
    page.get_by_text("the log continues the 1 checkpoint(s) you kept").wait_for()
    changed = tmp_path / "changed.omega"
    changed.write_bytes(log.exported(["exe_1"]).replace(b'"step":"step1"', b'"step":"step7"'))
    page.get_by_label("Choose an export").set_input_files(changed)
    page.locator("#verdict", has_text="NOT SOUND").wait_for()
    assert "leaves 0 to 2 are not those" in page.inner_text("#findings")
    assert page.evaluate("document.activeElement.id") == "answer", "a screen reader is taken to the answer"
    page.get_by_text("What you hold yourself").click()
    picture(page, f"{scheme}-not-sound")
    other = tmp_path / "picture.png"
    other.write_bytes(b"PK")
    page.get_by_label("Choose an export").set_input_files(other)
    page.locator("#verdict", has_text="cannot be read").wait_for()
    picture(page, f"{scheme}-unreadable")


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES, f"{name}.png")), full_page=True)
