"""Pruning: what old leaves said goes, and every proof over them still holds."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from chronicle.ledger import TENANT as ACME
from chronicle.ledger import Ledger, journal, leaf, ledger, sequencer
from omega import flow
from omega.chronicle.export import verify_store
from omega.chronicle.pruned import hash_of, is_pruned, prune
from omega.chronicle.record import Leaf, encode
from omega.chronicle.search import Query, search
from omega.chronicle.tiles import export_tiles
from omega.chronicle.verifier import verify_export
from omega.host.embedded import Omega
from omega.host.holds import HOLD, release_hold
from omega.host.identity import Caller
from omega.host.proof import prove
from omega.host.pruning import DAY_S, LOG
from omega.host.pruning import prune as prune_flow
from omega.host.reading import Archive
from omega.host.retention import Keeper
from omega.host.settings import TENANT
from omega.kernel.errors import Denied, InputError
from omega.kernel.ports import Batch, Head
from omega.trust.merkle import Tree, leaf_hash, verify_inclusion


@flow
def hello(name: str) -> str:
    return f"hello {name}"


def pruned(upto: int) -> Ledger:
    log = ledger([7] * 90)
    log.stored[:upto] = [prune(each) for each in log.stored[:upto]]
    return log


@pytest.mark.promise("LOG-36")
def test_every_proof_over_a_pruned_log_holds() -> None:
    whole, log = ledger([7] * 90), pruned(512)
    export = log.exported()
    report = verify_export(io.BytesIO(export), kept=[note for _, note in whole.points[::9]], keys=[sequencer().key(ACME).text()])
    assert report.sound, report.findings
    assert (report.pruned, report.leaves) == (512, 630)
    assert any("512 leaves" in said for said in report.does_not_prove())
    assert b'step3"' not in export and b'step600"' in export
    assert verify_store(log, ACME, keys=[sequencer().key(ACME)]).sound
    tree = Tree(whole.stored)
    proof = tree.inclusion(3, tree.size)
    assert verify_inclusion(leaf_hash(leaf(3)), 3, tree.size, proof, tree.root()), "whoever kept a leaf can still show it"
    assert [hash_of(each) for each in log.stored] == [leaf_hash(each) for each in whole.stored]


@pytest.mark.promise("LOG-36")
def test_a_changed_hash_is_found_and_nothing_above_the_stated_index_is_taken_for_one() -> None:
    log = pruned(512)
    export = log.exported()
    lines = export.split(b"\n")
    assert lines[2].startswith(b"#") and lines[3].startswith(b"#")
    swapped = b"\n".join([*lines[:2], lines[3], lines[2], *lines[4:]])
    broken = export.replace(lines[2], b"#nonsense")
    hidden = b"\n".join([*lines[:602], lines[2], *lines[603:]])
    lied = export.replace(b'"pruned":512', b'"pruned":-1')
    for mutant in (swapped, broken, hidden, lied):
        assert not verify_export(io.BytesIO(mutant)).sound


def test_a_search_ends_where_the_log_was_pruned() -> None:
    page = search(pruned(512), ACME, Query(limit=1000))
    assert (len(page.found), page.before, page.found[-1][0]) == (118, 0, 512)


def test_tiles_of_a_pruned_log_have_all_hashes_and_no_old_leaves() -> None:
    whole: dict[str, bytes] = {}
    left: dict[str, bytes] = {}
    export_tiles(ledger([7] * 90), ACME, whole.__setitem__)
    export_tiles(pruned(512), ACME, left.__setitem__)
    assert whole.keys() - left.keys() == {"tile/entries/000", "tile/entries/001"}
    assert all(whole[path] == body for path, body in left.items())


def test_a_leaf_that_hands_the_log_over_stays() -> None:
    handover = encode(Leaf(kind="handover", tenant=ACME, note="x"))
    assert prune(handover) == handover
    gone = prune(leaf(1))
    assert is_pruned(gone) and prune(gone) == gone


@pytest.mark.promise("LOG-36")
def test_workers_prune_what_is_over_its_time_and_a_hold_blocks_it(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def whole() -> bytes:
        async with Omega.open(home) as omega:
            now_us = omega.world.clock.now_us()
            old = [encode(Leaf(kind="admin", tenant=TENANT, at_us=now_us - int(40 * DAY_S * 1e6), reason=f"n{at}")) for at in range(600)]
            head = Head(status="done", flow="old", at_us=now_us, create=True)
            await omega.store.commit(Batch(tenant=TENANT, execution="exe_old", epoch=1, rows=journal("exe_old", 1), leaves=old, head=head))
            await omega.run(hello, "Ada")
            kept = omega.store.checkpoints(TENANT)[-1][1]
            await omega.arrange(HOLD, TENANT, {"reason": "case 7"})
            await omega.arrange(LOG, TENANT, {"after_s": 30 * DAY_S})
            keeper = Keeper(omega)
            await keeper.round()
            assert not any(map(is_pruned, omega.store.leaves(TENANT)))
            with pytest.raises(Denied):
                await omega.ask(prune_flow, {"tenant": TENANT, "before_us": now_us - int(31 * DAY_S * 1e6), "start": 0})
            await omega.ask(release_hold, TENANT)
            await omega.ask(release_hold, TENANT, Caller("person:grace", ("owner",)))
            for before_us, start in ((now_us, 0), (now_us - int(31 * DAY_S * 1e6), 3)):
                with pytest.raises(InputError):
                    await omega.ask(prune_flow, {"tenant": TENANT, "before_us": before_us, "start": start})
            await keeper.round()
            return kept

    kept = asyncio.run(whole())
    with Archive.open(home) as archive:
        leaves = archive.reader.leaves(TENANT)
        (proof,) = prove(archive, kept=[kept])
    assert all(map(is_pruned, leaves[:512])) and not any(map(is_pruned, leaves[512:]))
    assert proof.sound, proof.record()


def test_a_rule_below_the_shortest_time_is_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            for body in ({"after_s": DAY_S}, {"after_s": "7y"}, {"after_s": True}, {}):
                with pytest.raises(InputError):
                    await omega.arrange(LOG, TENANT, body)

    asyncio.run(whole())
