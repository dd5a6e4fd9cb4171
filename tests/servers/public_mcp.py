"""Ten public MCP servers, none of which needs a network or a key: how each is started, a call of it, and what is found by searching for it.

`.ci/servers` installs them, each at one version, into tests/.servers. All of them are other people's work, taken as it is.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
HERE = TESTS / ".servers"
MODULES = HERE / "node" / "node_modules" / "@modelcontextprotocol"


@dataclass(frozen=True)
class Public:
    """One server: the command that starts it, a tool of it with arguments, words that its answer holds, words that find the tool; `writes`
    where it has to change something in the folder that it works in."""

    name: str
    argv: tuple[str, ...]
    tool: str
    arguments: Mapping[str, Any]
    answer: str
    query: str
    env: Mapping[str, str] = field(default_factory=dict)
    npm: bool = False
    writes: bool = False


def install(*, npm: bool) -> None:
    """Install what is not there yet. Raises CalledProcessError."""
    kinds = ["python", "node"] if npm else ["python"]
    subprocess.run([str(TESTS.parent / ".ci" / "servers"), *kinds], check=True, capture_output=True, timeout=600)


def servers(folder: Path) -> list[Public]:
    """The ten, working in `folder`, where they find a file, a Git repository and a database to be."""
    repository, notes = folder / "repository", folder / "notes.txt"
    notes.write_text("buy bolts\nbuy nuts\n")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    python = [
        Public("git", (_newer("mcp-server-git"),), "git_status", {"repo_path": str(repository)}, "No commits yet", "working tree status"),
        Public(
            "time",
            (_newer("mcp-server-time"),),
            "convert_time",
            {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
            "21:00",
            "convert time between timezones",
        ),
        Public(
            "sqlite",
            (_older("mcp-server-sqlite"), "--db-path", str(folder / "shop.db")),
            "read_query",
            {"query": "SELECT 6 * 7 AS answer"},
            "42",
            "select query on the database",
            writes=True,
        ),
        Public("calculator", (_older("mcp-server-calculator"),), "calculate", {"expression": "6 * 7"}, "42", "calculate an expression"),
        Public(
            "editor",
            (_older("mcp-text-editor"),),
            "get_text_file_contents",
            {"files": [{"file_path": str(notes), "ranges": [{"start": 1, "end": 1}]}]},
            "buy bolts",
            "read text file contents by line ranges",
        ),
        Public(
            "excel",
            (_newer("excel-mcp-server"), "stdio"),
            "create_workbook",
            {"path": str(folder / "stock.xlsx")},
            "stock.xlsx",
            "create a new excel workbook",
            writes=True,
        ),
    ]
    thought = {"thought": "nuts first", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
    node = [
        Public("everything", _node("everything"), "echo", {"message": "hello there"}, "hello there", "echo the input back", npm=True),
        Public(
            "files",
            (*_node("filesystem"), str(folder)),
            "read_text_file",
            {"path": str(notes)},
            "buy nuts",
            "read a file as text",
            npm=True,
        ),
        Public(
            "memory",
            _node("memory"),
            "create_entities",
            {"entities": [{"name": "bolt", "entityType": "part", "observations": ["steel"]}]},
            "steel",
            "create entities in the knowledge graph",
            {"MEMORY_FILE_PATH": f"plain:{folder / 'memory.json'}"},
            npm=True,
            writes=True,
        ),
        Public(
            "thinking", _node("sequential-thinking"), "sequentialthinking", thought, "totalThoughts", "sequential thinking step", npm=True
        ),
    ]
    return [*python, *node]


def _newer(name: str) -> str:
    """A program on the official SDK that speaks 2026-07-28."""
    return str(HERE / "newer" / "bin" / name)


def _older(name: str) -> str:
    """A program on the official SDK that speaks 2025-11-25 and before."""
    return str(HERE / "older" / "bin" / name)


def _node(name: str) -> tuple[str, ...]:
    return (shutil.which("node") or "node", str(MODULES / f"server-{name}" / "dist" / "index.js"))
