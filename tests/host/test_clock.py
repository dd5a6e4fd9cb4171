"""Randomness: never the same bytes twice, in whatever thread or process."""

from __future__ import annotations

import os
import threading

from omega.host.clock import DRAWN, MOST_DRAWN, SystemEntropy


def test_no_piece_is_given_twice_to_threads() -> None:
    entropy, taken = SystemEntropy(), [[] for _ in range(4)]  # type: list[bytes]

    def take(mine: list[bytes]) -> None:
        mine.extend(entropy.take(12) for _ in range(2_000))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pieces = [piece for mine in taken for piece in mine]
    assert {len(piece) for piece in pieces} == {12} and len(set(pieces)) == len(pieces) == 8_000


def test_sizes_are_what_was_asked_for() -> None:
    entropy = SystemEntropy()
    assert [len(entropy.take(size)) for size in (1, 32, MOST_DRAWN, MOST_DRAWN + 1, DRAWN * 3)] == [1, 32, 256, 257, 3 * DRAWN]


def test_a_process_that_was_forked_off_draws_its_own() -> None:
    entropy = SystemEntropy()
    entropy.take(8)  # a supply is at hand
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, entropy.take(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32) != entropy.take(32)
    os.close(reading)
    os.close(writing)
