"""The gateways that Omega is measured against: each in an environment of its own, in front of the same tool server, at its best settings.

    contextforge    uvicorn, one process, SQLite; a session of the client keeps its session with the tool server, which saves the handshake
                    of every call; caches in memory; its log, plugins, pages, metrics, observability and audit trail off, and its limits
    contextforge-as-it-comes    the same without sessions, which is its default: a handshake with the tool server for every call
    litellm         its own server, one worker, no database, a master key as the only key; `opentelemetry-sdk` stands beside it, because
                    without it every call looks for the package anew
    fastmcp         `create_proxy` over one connected client, which saves the handshake of every call; stateless, answers in JSON

Their journals and audit logs are off, Omega's are on. What each environment holds is pinned by hash in bench/peers-<name>.txt, made by
`uv pip compile --generate-hashes` from bench/peers/<name>.in.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from calling import Target, free_port, listening, name_of_tool, started

HERE = Path(__file__).resolve().parent
BENCH = HERE.parent
ENVIRONMENTS = BENCH / ".env-gateways"
ASK_S = 30.0
"""Longest (seconds) that one request to set a gateway up may take."""

KEEP_ALIVE_S = 300
"""How long (seconds) gateways keep an idle connection: handshakes of the others come between, and their own 5 s would cut some off."""

READY_S = 90.0
"""Longest (seconds) that a gateway may take until it shows the tools behind it."""

KEY = f"sk-bench-{secrets.token_hex(16)}"
"""The key of the gateways of this run, and what they sign with."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway: its name, the distribution whose version is stated, what starts it before a tool server, the environment it runs in."""

    name: str
    distribution: str
    start: Callable[[ExitStack, Path, Path, str], Target]
    environment: str

    @property
    def folder(self) -> Path:
        """Where its environment stands."""
        return ENVIRONMENTS / self.environment

    @property
    def pins(self) -> Path:
        """What its environment holds, by hash."""
        return BENCH / f"peers-{self.environment}.txt"

    def stands(self) -> bool:
        """Whether its environment is as the pins say."""
        stamp = self.folder / "stamp"
        return stamp.is_file() and stamp.read_text() == self.pins.read_text()

    def prepare(self) -> None:
        """Make its environment, unless it stands."""
        if self.stands():
            return
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, self.folder], check=True)
        # From an empty folder: uv would hold the peers to the versions that our own pyproject.toml pins.
        with tempfile.TemporaryDirectory() as empty:
            install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", self.folder / "bin/python", "-r", self.pins]
            subprocess.run(install, cwd=empty, check=True)
        (self.folder / "stamp").write_text(self.pins.read_text())

    def version(self) -> str:
        """The installed version."""
        code = f"from importlib.metadata import version; print(version({self.distribution!r}))"
        return subprocess.run([self.folder / "bin/python", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def put_up(stack: ExitStack, peer: Peer, behind: str) -> Target:
    """`peer` in front of the tool server at `behind`, ready to be called. Raises RuntimeError when it does not come up."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"omega-bench-{peer.name}-")))
    target = peer.start(stack, peer.folder / "bin", home, behind)
    target.name, target.version = peer.name, peer.version()
    end = time.monotonic() + READY_S
    while True:
        try:
            target.tool = name_of_tool(target, "echo")
            return target
        except (RuntimeError, OSError, EOFError) as error:
            if time.monotonic() > end:
                raise RuntimeError(f"{peer.name} shows no tool: {error}\n{_words(home)}") from error
            time.sleep(0.2)


def _words(home: Path) -> str:
    log = home / "log"
    return log.read_text(errors="replace")[-3_000:] if log.is_file() else ""


def _clean(binaries: Path, home: Path, more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
    return {**kept, "PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(home), **more}


def _run(stack: ExitStack, command: list[str | Path], home: Path, environment: dict[str, str], port: int) -> int:
    """Start a gateway, wait until it listens; gives its process id."""
    log = stack.enter_context((home / "log").open("wb"))
    process = started(stack, command, folder=home, environment=environment, log=log)
    try:
        listening(port, process)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{_words(home)}") from error
    return process.pid


# -- ContextForge

_OFF = (
    "AUDIT_TRAIL_ENABLED",
    "CLIENT_DISCONNECT_MIDDLEWARE_ENABLED",
    "COMPRESSION_ENABLED",
    "CORRELATION_ID_ENABLED",
    "DB_METRICS_RECORDING_ENABLED",
    "MCPGATEWAY_UI_ENABLED",
    "OBSERVABILITY_ENABLED",
    "OTEL_ENABLE_OBSERVABILITY",
    "PLUGINS_ENABLED",
    "RATE_LIMITING_ENABLED",
    "SECURITY_LOGGING_ENABLED",
    "STRUCTURED_LOGGING_ENABLED",
    "TOKEN_USAGE_LOGGING_ENABLED",
)
_CONTEXTFORGE = {
    **dict.fromkeys(_OFF, "false"),
    "AUTH_REQUIRED": "true",
    "CACHE_TYPE": "memory",
    "ENVIRONMENT": "development",
    "HEALTH_CHECK_INTERVAL": "3600",
    "JSON_RESPONSE_ENABLED": "true",
    "LOG_LEVEL": "ERROR",
    "MCPGATEWAY_ADMIN_API_ENABLED": "true",
    "PLATFORM_ADMIN_EMAIL": "admin@example.com",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    "TOOL_RATE_LIMIT": "1000000",
}


def _contextforge(stack: ExitStack, binaries: Path, home: Path, behind: str, *, sessions: str = "true") -> Target:
    port = free_port()
    own = {"DATABASE_URL": f"sqlite:///{home}/gateway.db", "USE_STATEFUL_SESSIONS": sessions}
    keys = dict.fromkeys(("JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET", "BASIC_AUTH_PASSWORD", "PLATFORM_ADMIN_PASSWORD"), KEY)
    environment = _clean(binaries, home, {**_CONTEXTFORGE, **own, **keys})
    command = [binaries / "mcpgateway", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    command += ["--no-access-log", "--timeout-keep-alive", str(KEEP_ALIVE_S)]
    pid = _run(stack, command, home, environment, port)
    token = [binaries / "python", "-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com", "--exp", "600", "--admin"]
    made = subprocess.run([*token, "--secret", KEY], env=environment, cwd=home, capture_output=True, text=True, check=True)
    bearer = {"Authorization": f"Bearer {made.stdout.strip().splitlines()[-1]}"}
    base = f"http://127.0.0.1:{port}"
    _until(lambda: _ask(f"{base}/health", {}, None))
    _ask(f"{base}/gateways", bearer, {"name": "bench", "url": behind, "transport": "STREAMABLEHTTP"})
    tools = _until(lambda: _tools(_ask(f"{base}/tools", bearer, None)))
    server = {"name": "bench", "description": "", "associated_tools": [tool["id"] for tool in tools]}
    made_server = _ask(f"{base}/servers", bearer, {"server": server, "team_id": None, "visibility": "public"})
    return Target("contextforge", f"{base}/servers/{made_server['id']}/mcp", pid, bearer, handshake=True)


def _tools(answer: Any) -> list[dict[str, Any]]:
    return answer if isinstance(answer, list) else answer.get("data", answer.get("tools", []))


def _until(look: Callable[[], Any]) -> Any:
    """What `look` gives once it gives anything. Raises RuntimeError after READY_S."""
    end = time.monotonic() + READY_S
    while True:
        try:
            found = look()
        except (OSError, RuntimeError):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise RuntimeError("a gateway was not ready in time")
        time.sleep(0.2)


def _ask(url: str, headers: Mapping[str, str], body: Any) -> Any:
    """One request to set a gateway up, POST where there is a body. Raises RuntimeError for a refusal."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=ASK_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read()[:600]!r}") from error


# -- LiteLLM


def _litellm(stack: ExitStack, binaries: Path, home: Path, behind: str) -> Target:
    port = free_port()
    settings = {
        "mcp_servers": {"bench": {"url": behind, "transport": "http"}},
        "general_settings": {"master_key": KEY, "disable_spend_logs": True},
        "litellm_settings": {"telemetry": False, "turn_off_message_logging": True},
    }
    (home / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    command = [binaries / "litellm", "--config", home / "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    command += ["--keepalive_timeout", str(KEEP_ALIVE_S)]
    pid = _run(stack, command, home, _clean(binaries, home, quiet), port)
    return Target("litellm", f"http://127.0.0.1:{port}/mcp/", pid, {"Authorization": f"Bearer {KEY}"}, handshake=True)


# -- FastMCP


def _fastmcp(stack: ExitStack, binaries: Path, home: Path, behind: str) -> Target:
    port = free_port()
    command = [binaries / "python", HERE / "thin_proxy.py", behind, str(port), str(KEEP_ALIVE_S)]
    pid = _run(stack, command, home, _clean(binaries, home, {"FASTMCP_LOG_LEVEL": "ERROR"}), port)
    return Target("fastmcp", f"http://127.0.0.1:{port}/mcp", pid, handshake=True)


PEERS = (
    Peer("contextforge", "mcp-contextforge-gateway", _contextforge, "contextforge"),
    Peer("contextforge-as-it-comes", "mcp-contextforge-gateway", partial(_contextforge, sessions="false"), "contextforge"),
    Peer("litellm", "litellm", _litellm, "litellm"),
    Peer("fastmcp", "fastmcp", _fastmcp, "fastmcp"),
)
