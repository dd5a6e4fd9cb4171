"""Settings: where the records lie, said in several ways, and never with its password."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from omega.host.doctor import examine
from omega.host.settings import Address, Settings
from omega.kernel.errors import InputError

SECRET = "correct-horse"
DSN = f"postgresql://omega:{SECRET}@db.example.org:5433/work?search_path=team"


def test_without_a_store_the_records_lie_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMEGA_STORE", raising=False)
    settings = Settings.load(tmp_path)
    assert not settings.store.shared
    assert settings.place == str(tmp_path)


@pytest.mark.promise("RUN-47")
@pytest.mark.parametrize("way", ["plain", "env", "file"])
def test_a_store_is_named_by_address_or_by_reference_and_shown_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "dsn").write_text(f"{DSN}\n")
    monkeypatch.setenv("DATABASE", DSN)
    monkeypatch.setenv("OMEGA_STORE", {"plain": DSN, "env": "env:DATABASE", "file": f"file:{tmp_path / 'dsn'}"}[way])
    settings = Settings.load(tmp_path)
    assert settings.store.dsn == DSN
    assert settings.place == "postgresql://db.example.org:5433/work (team)"
    assert SECRET not in f"{settings!r} {settings.store} {settings.store!r}"


def test_a_socket_folder_is_a_host() -> None:
    assert Address.read(f"postgresql://omega:{SECRET}@/work?host=%2Ftmp%2Fpg").shown == "postgresql:///tmp/pg/work"


@pytest.mark.parametrize(
    "text", [f"mysql://omega:{SECRET}@db/work", SECRET, f"postgresql://omega:{SECRET}@db:port/work", "env:NOBODY_SET_THIS", "file:/nowhere"]
)
def test_what_names_no_store_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.setenv("OMEGA_STORE", text)
    with pytest.raises(InputError) as caught:
        Settings.load(tmp_path)
    assert caught.value.code == "OMG-X001"
    assert SECRET not in str(caught.value.record())


@pytest.mark.promise("RUN-48")
@pytest.mark.parametrize(
    ("address", "checked"),
    [
        ("postgresql://omega@localhost/omega", True),
        ("postgresql://omega@/omega?host=/run/postgresql", True),
        ("postgresql://omega@[::1]:5432/omega", True),
        ("postgresql://omega@db.example.org/omega", False),
        ("postgresql://omega@db.example.org/omega?sslmode=require", False),
        ("postgresql://omega@db.example.org/omega?sslmode=verify-full", True),
        ("postgresql://omega@/omega?host=db.example.org", False),
    ],
)
def test_a_database_across_a_network_is_checked_when_its_address_says_so(address: str, checked: bool) -> None:
    assert Address.read(address).checked is checked


@pytest.mark.promise("RUN-48")
def test_the_doctor_warns_of_a_way_to_the_database_that_nobody_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_STORE", DSN)
    found = list(itertools.islice(examine(tmp_path, servers=False), 6))  # what is looked at before the database is asked
    assert [each.state for each in found if "verify-full" in each.advice] == ["warn"] and SECRET not in str(found)
