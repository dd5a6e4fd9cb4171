"""The pytest plugin: the fixture `omega_test`. Loaded in every pytest run where Omega is installed, so it imports nothing until it is used.

def test_urgent_is_paged(omega_test):
    omega_test.answers(classify, Triage(team="net", urgency=5, reply=""))
    assert omega_test.run(triage, ticket).needs_approval(of=page)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from omega.testing.bench import Bench


@pytest.fixture
def omega_test() -> Iterator[Bench]:
    """Runs flows through the real engine, gate and log, in memory and in virtual time. See `omega.testing.bench.Bench`."""
    from omega.testing.bench import Bench

    bench = Bench()
    yield bench
    bench.close()
