"""The public SCIM tester against a house that is open: every attribute, in every way that SCIM knows."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

pytestmark = pytest.mark.slow


@pytest.mark.promise("SSO-04")
def test_the_public_tester_finds_nothing_to_say(provisioned: Any) -> None:
    headers = {"authorization": f"Bearer {provisioned.key}"}
    with httpx2.Client(base_url=f"{provisioned.house.url}/scim/v2", headers=headers, timeout=30, trust_env=False) as http:
        client = SyncSCIMClient(http)
        client.discover()
        results = check_server(client)
    bad = [f"{each.status.name} {each.title}: {each.reason}" for each in results if each.status in (Status.ERROR, Status.CRITICAL)]
    assert not bad, "\n".join(bad)
    assert len([each for each in results if each.status is Status.SUCCESS]) > 30
