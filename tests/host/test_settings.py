"""Settings that are read from the environment: what they may be, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega.cli.up import demand_mode
from omega.host.settings import Settings
from omega.host.up import Opening
from omega.kernel.errors import InputError


@pytest.mark.parametrize(
    ("name", "value"), [("OMEGA_MODE", "fast"), ("OMEGA_LOG_LEVEL", "loud"), ("TENANT_ISOLATION", "shared"), ("AUDIT_LEVEL", "none")]
)
def test_a_value_that_cannot_be_meant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name} cannot be '{value}' here") as refusal:
        Settings.load(tmp_path)
    assert refusal.value.code == "OMG-X001"


def test_what_always_holds_may_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TENANT_ISOLATION", "strict"), ("AUDIT_LEVEL", "Enterprise"), ("OMEGA_LOG_LEVEL", "DEBUG")):
        monkeypatch.setenv(name, value)
    settings = Settings.load(tmp_path)
    assert (settings.mode, settings.log_level) == ("development", "debug")


@pytest.mark.parametrize(
    ("opening", "served"),
    [
        (Opening(host="127.0.0.1"), True),
        (Opening(host="[::1]"), True),
        (Opening(host="0.0.0.0"), False),
        (Opening(host="10.0.0.7"), False),
        (Opening(host="127.evil.example"), False),
        (Opening(host="0.0.0.0", certificate="cert.pem"), True),
        (Opening(host="0.0.0.0", mutual="ask"), True),
        (Opening(host="0.0.0.0", proxies=("10.0.0.1",)), True),
    ],
)
def test_production_is_never_served_to_others_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening, served: bool
) -> None:
    demand_mode(Settings.load(tmp_path), opening)
    monkeypatch.setenv("OMEGA_MODE", "production")
    if served:
        demand_mode(Settings.load(tmp_path), opening)
        return
    with pytest.raises(InputError, match="without TLS"):
        demand_mode(Settings.load(tmp_path), opening)
