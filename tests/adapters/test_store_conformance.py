"""Every store passes the same suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omega.adapters.memory import MemoryStore
from omega.adapters.sqlite import SqliteReader, SqliteStore
from omega.kernel.ports import Reader
from omega.testing.conformance import FullStore, StoreConformance


@pytest.mark.promise("RUN-09")
@pytest.mark.promise("RUN-10")
@pytest.mark.promise("RUN-26")
@pytest.mark.promise("RUN-60")
@pytest.mark.promise("RUN-61")
@pytest.mark.promise("RUN-62")
@pytest.mark.promise("RUN-65")
class TestSqlite(StoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[..., FullStore]:
        return lambda **given: SqliteStore.open(tmp_path / "home", **given)

    @pytest.fixture
    def open_reader(self, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Reader]:
        def open_one() -> Reader:
            reader = SqliteReader.open(tmp_path / "home")
            request.addfinalizer(reader.close)
            return reader

        return open_one


@pytest.mark.promise("RUN-09")
@pytest.mark.promise("RUN-10")
@pytest.mark.promise("RUN-26")
@pytest.mark.promise("RUN-60")
@pytest.mark.promise("RUN-61")
@pytest.mark.promise("RUN-62")
@pytest.mark.promise("RUN-65")
class TestMemory(StoreConformance):
    @pytest.fixture
    def stores(self) -> list[MemoryStore]:
        return []

    @pytest.fixture
    def open_store(self, stores: list[MemoryStore]) -> Callable[..., FullStore]:
        def open_one(**given: Any) -> FullStore:
            store = MemoryStore.from_snapshot(stores[-1].snapshot(), **given) if stores else MemoryStore(**given)
            stores.append(store)
            return store

        return open_one

    @pytest.fixture
    def open_reader(self, stores: list[MemoryStore]) -> Callable[[], Reader]:
        return lambda: stores[-1]
