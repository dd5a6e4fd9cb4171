"""A house with a tenant, a real OpenID provider and a SAML provider, and browsers that are HTTP clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.saml import idp
from gateway.conftest import Open, opened
from omega.host import sso_adding
from omega.host.methods import ask_method

SECRET = "OMEGA_SSO_ACME"
ALLOW = ("127.0.0.0/8",)


@dataclass
class Signing:
    """A house whose people sign in elsewhere."""

    house: Open
    home: Path
    tenant: str
    provider: str

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.house.url, timeout=30, trust_env=False)

    def ask(self, name: str, value: dict[str, Any]) -> Any:
        """What a method of the tenant gives its owner."""
        with self.house.client(self.house.passport(tenant=self.tenant)) as client:
            answer = client.post(f"/api/v1/{name.replace('.', '/')}", json=value)
            assert answer.status_code == 200, answer.text
            return answer.json()


@pytest.fixture(scope="package")
def provider() -> Iterator[str]:
    """The address of a real OpenID provider."""
    script = Path(__file__).with_name("openid_provider.py")
    command = [sys.executable, "-W", "ignore", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


@pytest.fixture(scope="package")
def signing(tmp_path_factory: pytest.TempPathFactory, provider: str) -> Iterator[Signing]:
    home = tmp_path_factory.mktemp("sso") / "home"
    made = {"organisation": "acme", "project": "web", "environment": "production"}
    tenant = str(asyncio.run(ask_method(home, "tenancy.create", made))["tenant"])
    asyncio.run(ask_method(home, "directory.create_group", {"display_name": "Engineers", "roles": ["member"]}, tenant))
    asyncio.run(ask_method(home, "directory.create_group", {"display_name": "Owners", "roles": ["owner"]}, tenant))
    mapped = {"eng": "engineers", "boss": "owners"}
    openid = sso_adding.for_openid(provider, "omega", SECRET)
    claims = {"user_name": "email"}
    usual: dict[str, Any] = {"tenant": tenant, "allow": ALLOW, "groups": mapped, "claims": claims}
    asyncio.run(sso_adding.add(home, "acme", **openid, **usual, create=True, domains=("example.com",)))
    asyncio.run(sso_adding.add(home, "closed", **dict(openid) | {"secret": f"{SECRET[:-4]}CLOSED"}, **usual))
    linking = {"tenant": tenant, "allow": ALLOW, "link": True, "create": True}
    for name, more in (
        ("linked", {}),
        ("trusting", {"claims": {"user_name": "preferred_username"}}),
        ("narrow", {"domains": ("example.com",)}),
    ):
        asyncio.run(sso_adding.add(home, name, **sso_adding.for_openid(provider, "omega", f"OMEGA_SSO_{name.upper()}"), **linking, **more))
    file = home.parent / "idp.xml"
    file.write_text(idp.metadata())
    named = {"claims": {}, "allow": ()}
    asyncio.run(sso_adding.add(home, "paper", **sso_adding.from_metadata(file), **usual | named, create=True, role="viewer"))
    others = ("CLOSED", "LINKED", "TRUSTING", "NARROW")
    secrets = dict.fromkeys((SECRET, *(f"{SECRET[:-4]}{each}" for each in others)), "a secret of the client")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        for house in opened(home):
            yield Signing(house, home, tenant, provider)


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.action = found.get("action") or ""
        if tag == "input" and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""


def form_of(page: str) -> tuple[str, dict[str, str]]:
    """Where the form of a page goes, and its fields."""
    reader = _Form()
    reader.feed(page)
    return reader.action, reader.fields
