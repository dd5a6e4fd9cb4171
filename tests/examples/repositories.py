"""Repositories made on the spot, and secrets made up at run time."""

from __future__ import annotations

import os
import random
import string
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "A. Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "A. Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class Repository:
    """A Git repository made by a test."""

    path: Path

    def git(self, *arguments: str | bytes, stdin: bytes = b"") -> str:
        """Run Git in it; gives what it printed."""
        environment = {**os.environ, **_IDENTITY}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=environment, input=stdin, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files, folders included."""
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str, files: Mapping[str, str | bytes] | None = None) -> str:
        """Commit everything, after writing `files`; gives the id."""
        self.write(files or {})
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


def new_repository(path: Path) -> Repository:
    """An empty repository at `path`."""
    path.mkdir(parents=True)
    made = Repository(path)
    made.git("init", "--quiet", "--initial-branch=main")
    return made


def letters(length: int, alphabet: str = string.ascii_letters + string.digits, seed: int = 7) -> str:
    """Characters that look random and are the same in each run: no real token is ever written into a test."""
    source = random.Random(f"{seed} {length} {alphabet}")
    return "".join(source.choice(alphabet) for _ in range(length))
