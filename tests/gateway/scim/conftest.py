"""A tenant whose users an identity provider manages, in a house that is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.conftest import Open, opened
from omega.host.clock import SystemEntropy
from omega.host.exchange import draw_secret, key_text
from omega.host.methods import ask_method

RIGHTS = ["flows:run", "directory:*", "users:use"]


@dataclass
class Provisioned:
    """A house with a tenant, and the key of its identity provider."""

    house: Open
    tenant: str
    key: str

    def client(self, key: str = "") -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.house.url}/scim/v2/",
            headers={"authorization": f"Bearer {key or self.key}", "content-type": "application/scim+json"},
            timeout=30,
            trust_env=False,
        )


def _make_key(home: Path, tenant: str, principal: str, **more: Any) -> str:
    secret, digest = draw_secret(SystemEntropy())
    wanted = {"name": "k", "secret_sha256": digest, "principal": principal, **more}
    made = asyncio.run(ask_method(home, "tenancy.create_key", wanted, tenant))
    return key_text(made["key"], secret)


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scim") / "home"


@pytest.fixture(scope="package")
def tenants(home: Path) -> list[str]:
    made = [
        asyncio.run(ask_method(home, "tenancy.create", {"organisation": "acme", "project": "web", "environment": name}))
        for name in ("production", "staging")
    ]
    return [str(each["tenant"]) for each in made]


@pytest.fixture(scope="package")
def keys(home: Path, tenants: list[str]) -> dict[str, str]:
    roles = ["admin", "member", "viewer"]
    return {
        "scim": _make_key(home, tenants[0], "agent:scim", roles=roles, capabilities=RIGHTS),
        "other": _make_key(home, tenants[1], "agent:scim", roles=roles, capabilities=RIGHTS),
        "reader": _make_key(
            home, tenants[0], "agent:reader", roles=["admin"], capabilities=["flows:run", "directory:use", "directory:read"]
        ),
        "nobody": _make_key(home, tenants[0], "agent:nobody", roles=[], capabilities=RIGHTS),
        "person": _make_key(home, tenants[0], "person:gil@example.com", roles=["owner", "member"], capabilities=["*"]),
    }


@pytest.fixture(scope="package")
def provisioned(home: Path, tenants: list[str], keys: dict[str, str]) -> Iterator[Provisioned]:
    for house in opened(home):
        yield Provisioned(house, tenants[0], keys["scim"])


@pytest.fixture
def scim(provisioned: Provisioned) -> Iterator[httpx.Client]:
    """A client that shows the provider's key."""
    with provisioned.client() as made:
        yield made


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(scim: httpx.Client) -> Iterator[Make]:
    """Makes users, and deletes them when the test is over."""
    made: list[str] = []

    def user(name: str, **more: Any) -> dict[str, Any]:
        body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, **more}
        answer = scim.post("Users", json=body)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        return dict(answer.json())

    yield user
    for each in made:
        scim.delete(f"Users/{each}")
