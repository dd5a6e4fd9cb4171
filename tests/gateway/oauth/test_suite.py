"""Our client of tool servers obtains its tokens as the public conformance suite demands.

What is not run, and why: `client-credentials-jwt`, `client-credentials-basic`, `enterprise-managed-authorization`, `wif-jwt-bearer`, `dpop`
and `dpop-nonce` are extensions that this client does not speak (a server that wants client credentials is given them as a header), and the
two of 2025-03-26 are about servers that say nothing of who gives their tokens.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
NODE = TESTS / ".node" / "node_modules"
SUITE = NODE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
PATIENCE_S = 100

BOTH = {
    "metadata-default": 18,
    "metadata-var1": 18,
    "metadata-var2": 18,
    "metadata-var3": 18,
    "basic-cimd": 12,
    "scope-from-www-authenticate": 14,
    "scope-from-scopes-supported": 14,
    "scope-omitted-when-undefined": 14,
    "scope-step-up": 25,
    "scope-retry-limit": 27,
    "token-endpoint-auth-basic": 19,
    "token-endpoint-auth-post": 19,
    "token-endpoint-auth-none": 19,
    "pre-registration": 13,
}
NEWER = {
    "resource-mismatch": 2,
    "offline-access-scope": 12,
    "offline-access-not-supported": 14,
    "authorization-server-migration": 27,
    "iss-supported": 14,
    "iss-not-advertised": 14,
    "iss-supported-missing": 8,
    "iss-wrong-issuer": 8,
    "iss-unexpected": 8,
    "iss-normalized": 8,
    "metadata-issuer-mismatch": 3,
}
"""Scenarios below `auth/`, with their checks in 2026-07-28."""

LACKING = "the suite is not installed under tests/.node: .ci/node does it"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.promise("OAUTH-09"),
    pytest.mark.skipif(not SUITE.exists() and bool(os.environ.get("OMEGA_WITHOUT_NODE") or not os.environ.get("CI")), reason=LACKING),
]


@pytest.mark.parametrize("scenario", sorted(BOTH | NEWER))
def test_client_obtains_tokens_as_the_newest_revision_demands(scenario: str) -> None:
    assert _passed(scenario, "2026-07-28") == (BOTH | NEWER)[scenario]


@pytest.mark.parametrize("scenario", ["basic-cimd", "metadata-var3", "scope-step-up", "token-endpoint-auth-basic"])
def test_client_obtains_tokens_as_the_older_revision_demands(scenario: str) -> None:
    assert _passed(scenario, "2025-11-25") > 0


def _passed(scenario: str, revision: str) -> int:
    """How many checks passed; fails where one failed or warned."""
    command = f"{sys.executable} {TESTS / 'servers' / 'suite_client.py'}"
    program = [str(NODE / ".bin" / "node"), str(SUITE), "client", "--command", command]
    wanted = [*program, "--scenario", f"auth/{scenario}", "--spec-version", revision]
    text = subprocess.run(wanted, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    found = re.search(r"Passed: (\d+)/(\d+), 0 failed, 0 warnings", text.stdout + text.stderr)
    assert found is not None and found[1] == found[2], (text.stdout + text.stderr)[-3_000:]
    return int(found[1])
