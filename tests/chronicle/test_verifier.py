"""The verifier as a program that stands alone, and what it says to bad files."""

from __future__ import annotations

import ast
import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import ATTACKER, OPERATOR, TENANT, Ledger, SeededSigner, journal, leaf, ledger, sequencer
from omega.chronicle import verifier
from omega.chronicle.export import Exporter, verify_store, write_export
from omega.chronicle.record import Leaf, encode
from omega.chronicle.verifier import EMPTY_JOURNAL, MAX_LINE, verify_export
from omega.kernel.errors import IntegrityError
from omega.kernel.journal import EMPTY_DIGEST, digest_of
from omega.trust.checkpoint import VerifierKey

KEY = sequencer().key(TENANT)


def with_journal(rows: int = 6, covered: int = 6, execution: str = "exe_1") -> Ledger:
    """A log of which the last leaf seals `covered` of the `rows` rows of one execution."""
    log = ledger((3, 2))
    log.journals[execution] = journal(execution, rows)
    digest = digest_of(log.journals[execution][:covered]).hex()
    log.commit([encode(Leaf(kind="end", tenant=TENANT, execution=execution, rows=covered, digest=digest))])
    return log


def run_alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The file copied out of the package, in a process that has no way to import Omega."""
    program = folder / "verify.py"
    shutil.copy(verifier.__file__, program)
    guard = "import sys, runpy; sys.modules['omega'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", guard, str(program), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.promise("LOG-02")
def test_the_file_imports_the_standard_library_and_cryptography_only() -> None:
    tree = ast.parse(Path(verifier.__file__).read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)
    assert foreign == {"cryptography"}
    assert not {"socket", "ssl", "urllib", "http"} & {module.partition(".")[0] for module in modules}


@pytest.mark.promise("LOG-02")
def test_it_runs_alone_and_tells_sound_from_unsound(tmp_path: Path) -> None:
    log = with_journal()
    export = tmp_path / "export.omega"
    export.write_bytes(log.exported(["exe_1"]))
    kept = tmp_path / "kept.txt"
    kept.write_bytes(log.points[1][1])

    good = run_alone(tmp_path, str(export), "--checkpoint", str(kept), "--key", KEY.text())
    assert (good.returncode, good.stderr) == (0, "")
    assert "this does not show:" in good.stdout

    export.write_bytes(log.exported().replace(b'"step":"step1"', b'"step":"step7"'))
    bad = run_alone(tmp_path, str(export), "--json")
    assert (bad.returncode, bad.stderr) == (1, "")
    told = json.loads(bad.stdout)
    assert told["sound"] is False
    assert (told["findings"][0]["code"], told["findings"][0]["first"], told["findings"][0]["last"]) == ("OMG-C001", 0, 2)

    missing = run_alone(tmp_path, str(tmp_path / "nowhere.omega"))
    assert (missing.returncode, missing.stderr) == (2, "")
    assert "OMG-C003" in missing.stdout


def test_the_report_names_what_it_does_not_prove() -> None:
    log = with_journal(rows=8, covered=6)
    bare = verify_export(io.BytesIO(log.exported(["exe_1"])))
    assert bare.sound
    assert any("the key was taken from the export itself" in said for said in bare.does_not_prove())
    assert any("rewritten as a whole" in said for said in bare.does_not_prove())
    assert any("2 journal rows that no leaf covers" in said for said in bare.does_not_prove())
    held = verify_export(io.BytesIO(log.exported()), kept=[log.points[0][1]], keys=[KEY.text()])
    assert held.sound
    assert any("after the newest checkpoint you kept" in said for said in held.does_not_prove())


def test_a_given_key_is_the_only_one_believed() -> None:
    forged = ledger(signer=ATTACKER).exported(signer=ATTACKER)
    assert verify_export(io.BytesIO(forged)).sound, "without a key the export vouches for itself, and the report says so"
    report = verify_export(io.BytesIO(forged), keys=[KEY.text()])
    assert report.status == 1
    assert "not signed by the key" in report.findings[0].text


def test_a_checkpoint_of_another_log_is_refused_though_the_same_key_signed_it() -> None:
    other = Ledger("globex")
    other.commit([leaf(at, "globex") for at in range(3)])
    report = verify_export(io.BytesIO(ledger().exported()), kept=[other.points[0][1]])
    assert [finding.code for finding in report.findings] == ["OMG-C002"]
    foreign = ledger((3,))
    foreign.points = other.points
    assert verify_export(io.BytesIO(foreign.exported())).status == 1


def test_a_key_added_to_the_export_does_not_vouch_for_what_follows_the_kept_checkpoint() -> None:
    """Without the operator's key, leaves are appended under another key and both keys are named in the file."""
    log = ledger()
    kept = log.points[-1][1]
    log.commit([leaf(99)], ATTACKER)
    raw = log.exported()
    both = raw.replace(b'"keys":["', b'"keys":["' + sequencer(ATTACKER).key(TENANT).text().encode() + b'","')
    assert verify_export(io.BytesIO(both)).sound, "nothing held elsewhere, nothing to hold it against"
    report = verify_export(io.BytesIO(both), kept=[kept])
    assert report.status == 1
    assert "not signed by the key" in report.findings[0].text


@pytest.mark.promise("LOG-07")
def test_names_out_of_a_hostile_file_cannot_write_to_the_terminal() -> None:
    origin = '"\\u001b]0;owned\\u0007\\udc80' + "x" * 10_000 + '"'
    raw = b'omega export 1\n{"origin":' + origin.encode() + b',"checkpoints":["o\\n1\\n"],"journals":0,"keys":[]}\n\n\nend\n'
    report = verify_export(io.BytesIO(raw), kept=[ledger().points[0][1]])
    text = verifier.told(report)
    assert report.status == 1
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) < 1000


def test_the_empty_log_is_sound_and_leaves_without_a_checkpoint_are_not() -> None:
    empty = Ledger()
    assert verify_export(io.BytesIO(empty.exported())).sound
    assert verify_store(empty, TENANT, keys=[KEY]).sound
    raw = empty.exported()
    header, rest = raw[: raw.index(b"\n\n") + 1], raw[raw.index(b"\n\n") + 1 :]
    assert verify_export(io.BytesIO(header + leaf(1) + b"\n" + rest)).status == 1


def test_rows_are_held_against_the_digest_in_the_log() -> None:
    assert EMPTY_JOURNAL == EMPTY_DIGEST
    log = with_journal(rows=8, covered=6)
    report = verify_export(io.BytesIO(log.exported(["exe_1"])))
    assert (report.sound, report.rows, report.executions, report.unsealed) == (True, 8, 1, 2)
    rows = log.journals["exe_1"]
    for at in range(6):
        other = msgspec.structs.replace(rows[at], meta=b"?")
        for changed in ([*rows[:at], *rows[at + 1 :]], [*rows[:at], other, *rows[at + 1 :]], rows[: at + 1] if at < 5 else []):
            log.journals["exe_1"] = changed
            if changed:  # with no rows at all, the execution is simply not in this export
                assert verify_export(io.BytesIO(log.exported(["exe_1"]))).status == 1, at
                assert verify_store(log, TENANT, keys=[KEY]).status == 1


BAD = {
    "nothing": b"",
    "another file": b"PK\x03\x04" * 100,
    "a newer format": b"omega export 2\n{}\n",
    "no header": b"omega export 1\n",
    "a header that is not JSON": b"omega export 1\n{\n\n\nend\n",
    "a header that is a list": b"omega export 1\n[]\n\n\nend\n",
    "a header nested too deep": b"omega export 1\n" + b"[" * 200_000 + b"\n\n\nend\n",
    "a header without keys": b'omega export 1\n{"origin":"o","checkpoints":[]}\n\n\nend\n',
    "keys that are none": b'omega export 1\n{"origin":"o","checkpoints":[],"keys":["x"]}\n\n\nend\n',
    "no number of journals": b'omega export 1\n{"origin":"o","checkpoints":[],"keys":[]}\n\n\nend\n',
    "keys of another type": b'omega export 1\n{"origin":"o","checkpoints":[],"keys":[1]}\n\n\nend\n',
    "too many checkpoints": b'omega export 1\n{"origin":"o","checkpoints":[' + b",".join([b'""'] * 8193) + b'],"keys":[]}\n\n\nend\n',
}


@pytest.mark.promise("LOG-07")
@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_what_is_no_export_gets_a_coded_answer(raw: bytes) -> None:
    report = verify_export(io.BytesIO(raw))
    assert (report.status, report.findings[0].code) == (2, "OMG-C003")


@pytest.mark.promise("LOG-07")
def test_an_export_cut_short_anywhere_is_never_sound() -> None:
    raw = with_journal().exported(["exe_1"])
    for end in range(len(raw)):
        assert verify_export(io.BytesIO(raw[:end])).status in (1, 2), end
    assert verify_export(io.BytesIO(raw + b"x")).status == 1


@pytest.mark.promise("LOG-07")
def test_an_oversized_line_is_refused_in_bounded_memory() -> None:
    raw = ledger().exported()
    at = raw.index(b"\n\n")
    huge = raw[:at] + b"\n" + b"x" * (3 * MAX_LINE) + raw[at:]
    report = verify_export(io.BytesIO(huge))
    assert report.status == 1
    assert "longer than" in report.findings[0].text


@pytest.mark.promise("LOG-07")
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_an_answer_and_never_a_traceback(data: st.DataObject) -> None:
    raw = bytearray(FUZZED)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    report = verify_export(io.BytesIO(bytes(raw)), kept=[KEPT])
    assert report.status in (0, 1, 2)
    if bytes(raw) != FUZZED and report.sound:
        # Only what no signature covers may change unseen: parts of the header that are not used.
        assert bytes(raw)[FUZZED.index(b"\n{", 20) :] == FUZZED[FUZZED.index(b"\n{", 20) :]


_FUZZ = with_journal()
FUZZED = _FUZZ.exported(["exe_1"])
KEPT = _FUZZ.points[-1][1]


@pytest.mark.promise("LOG-07")
@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"o\n1\nAAAA\n\nx\n", b"x" * 70_000, base64.b64encode(b"y" * 99) + b"\n\n"])
def test_a_kept_checkpoint_that_is_none_gets_a_coded_answer(note: bytes) -> None:
    assert verify_export(io.BytesIO(ledger().exported()), kept=[note]).status == 2


@pytest.mark.promise("LOG-08")
def test_the_exported_bytes_are_the_stored_bytes() -> None:
    log = Ledger()
    log.commit([b'{ "tenant" : "acme" , "kind":"admit","odd":  1}', leaf(1)])
    raw = log.exported()
    assert log.stored[0] + b"\n" in raw
    assert verify_export(io.BytesIO(raw)).sound


def test_a_leaf_that_cannot_be_a_line_is_not_exported() -> None:
    for broken in (b"", b"two\nlines"):
        log = ledger((2,))
        log.stored[1] = broken
        with pytest.raises(IntegrityError) as caught:
            write_export(log, TENANT, io.BytesIO(), keys=[KEY])
        assert caught.value.code == "OMG-C001"
        assert caught.value.details == {"leaf": 1}


def test_a_long_history_is_thinned_and_still_ends_with_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega.chronicle.export.MAX_HISTORY", 8)
    log = ledger([1] * 50)
    header = json.loads(log.exported().split(b"\n")[1])
    assert 2 <= len(header["checkpoints"]) <= 8
    assert header["checkpoints"][-1].encode() == log.points[-1][1]
    assert verify_export(io.BytesIO(log.exported())).sound


def test_sections_are_read_alike_wherever_the_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = with_journal().exported(["exe_1"])
    for block in range(1, 200):
        monkeypatch.setattr(verifier, "BLOCK", block)
        report = verify_export(io.BytesIO(raw))
        assert (report.sound, report.leaves, report.rows) == (True, 6, 6), block


def signed_export(name: str = KEY.name, signer: SeededSigner = OPERATOR) -> bytes:
    out = io.BytesIO()
    log = with_journal(rows=8, covered=6)
    write_export(log, TENANT, out, keys=[KEY], executions=["exe_1"], exporter=Exporter(name, signer, 1_800_000_000))
    return out.getvalue()


@pytest.mark.promise("LOG-23")
def test_an_export_signed_as_a_whole_says_by_whom_and_when() -> None:
    report = verify_export(io.BytesIO(signed_export()))
    assert (report.sound, report.exporter, report.exported_s) == (True, KEY.name, 1_800_000_000)
    assert any("signed by test.omega/acme at 2027-01-15 08:00:00 UTC" in said for said in report.proves())
    auditor = VerifierKey.of("auditor.example", SeededSigner(9).public)
    other = signed_export("auditor.example", SeededSigner(9))
    assert verify_export(io.BytesIO(other), exporters=[auditor.text()]).exporter == "auditor.example"
    assert verify_export(io.BytesIO(other)).status == 1, "nobody said that this key may"
    unsigned = with_journal().exported()
    assert verify_export(io.BytesIO(unsigned), exporters=[auditor.text()]).findings[0].text == "the export is not signed as a whole"


@pytest.mark.promise("LOG-23")
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_of_a_signed_export_is_found(data: st.DataObject) -> None:
    """Also in the header and in the rows that no leaf covers yet."""
    raw = bytearray(SIGNED)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert verify_export(io.BytesIO(bytes(raw)), exporters=[KEY.text()]).status in (1, 2), at


@pytest.mark.promise("LOG-23")
def test_a_signed_export_cut_short_anywhere_is_never_sound() -> None:
    for end in range(len(SIGNED)):
        assert verify_export(io.BytesIO(SIGNED[:end]), exporters=[KEY.text()]).status in (1, 2), end


SIGNED = signed_export()
