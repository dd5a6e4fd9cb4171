"""Hosted tenants over HTTP: an API key at the door, the token endpoint, and the way from a sandbox to its first call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.conftest import opened
from omega.host import sandbox
from omega.host.clock import SystemEntropy
from omega.host.exchange import draw_secret, key_text
from omega.host.methods import ask_method

API = "/api/v1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosted") / "home"


@pytest.fixture(scope="module")
def sandboxed(home: Path) -> dict[str, Any]:
    return asyncio.run(sandbox.up(home))


@pytest.fixture(scope="module")
def house(home: Path, sandboxed: dict[str, Any]) -> Iterator[Any]:
    yield from opened(home)


def test_a_key_of_a_sandbox_calls_and_gets_passports(house: Any, sandboxed: dict[str, Any]) -> None:
    with house.client(sandboxed["api_key"]) as client:
        answer = client.post(f"{API}/insights/summary", json={"hours": 24})
        assert answer.status_code == 200 and answer.json()["done"] >= 2
        assert "hello" in {line["flow"] for line in answer.json()["flows"]}
    with house.client("") as client:
        form = {"grant_type": "client_credentials", "client_secret": sandboxed["api_key"], "scope": "flows:run records:read"}
        granted = client.post("/oauth/token", data=form)
        assert granted.status_code == 200 and granted.headers["cache-control"] == "no-store"
    with house.client(granted.json()["access_token"]) as client:
        assert client.post(f"{API}/insights/summary", json={"hours": 24}).status_code == 200
        assert client.post(f"{API}/tenancy/tenants", json={}).status_code == 403


def test_a_passport_is_refreshed_looked_into_and_ended_by_whoever_holds_it(house: Any, sandboxed: dict[str, Any]) -> None:
    with house.client("") as client:
        form = {"grant_type": "client_credentials", "client_secret": sandboxed["api_key"]}
        first = client.post("/oauth/token", data=form).json()["access_token"]
        second = client.post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": first}).json()["access_token"]
        assert client.post("/oauth/introspect", data={"token": second}).status_code == 401
    with house.client() as stranger:
        assert stranger.post("/oauth/introspect", data={"token": second}).json() == {"active": False}
        assert stranger.post("/oauth/revoke", data={"token": second}).status_code == 200, "and nothing happened"
    with house.client(first) as holder:
        found = holder.post("/oauth/introspect", data={"token": second}).json()
        assert found["active"] and "flows:run" in found["scope"].split()
        assert holder.post("/oauth/revoke", data={"token": second}).json() == {}
        assert holder.post("/oauth/introspect", data={"token": second}).json() == {"active": False}
    with house.client(second) as ended:
        assert ended.post(f"{API}/insights/summary", json={"hours": 24}).status_code == 401


def test_a_key_that_is_no_good_is_told_so_in_the_words_of_the_standard(house: Any, sandboxed: dict[str, Any]) -> None:
    wrong = sandboxed["api_key"][:-1] + ("A" if sandboxed["api_key"][-1] != "A" else "B")
    with house.client("") as client:
        answer = client.post("/oauth/token", data={"grant_type": "client_credentials", "client_secret": wrong})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        answer = client.post("/oauth/token", data={"grant_type": "password"})
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    with house.client(wrong) as client:
        refused = client.post(f"{API}/insights/summary", json={"hours": 24})
        assert refused.status_code == 401 and "www-authenticate" in refused.headers


def test_an_operator_makes_a_tenant_and_a_key_over_http_and_suspends_it(house: Any, home: Path) -> None:
    with house.client() as operator:
        wanted = {"organisation": "acme", "project": "web", "environment": "production"}
        tenant = operator.post(f"{API}/tenancy/create", json=wanted).json()["tenant"]
        secret, digest = draw_secret(SystemEntropy())
        key = {"name": "ci", "secret_sha256": digest, "principal": "agent:ci"}
        made = asyncio.run(ask_method(home, "tenancy.create_key", key, tenant))
        text = key_text(made["key"], secret)
        with house.client(text) as agent:
            assert agent.post(f"{API}/insights/summary", json={"hours": 1}).status_code == 200
            suspended = operator.post(f"{API}/tenancy/suspend", json={"tenant": tenant, "reason": "an unpaid bill"})
            assert suspended.json()["state"] == "suspended"
            assert agent.post(f"{API}/insights/summary", json={"hours": 1}).status_code == 401
            assert operator.post(f"{API}/tenancy/resume", json={"tenant": tenant}).status_code == 200
            assert agent.post(f"{API}/insights/summary", json={"hours": 1}).status_code == 200
