"""What a stranger installs: its size, what is in it, and that it starts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
LIMIT_BYTES = 100_000_000
MUST_SHIP = ("omega/py.typed", "omega/warden/default.cedar", "omega/chronicle/verifier.py")


def uv(*arguments: object) -> str:
    run = subprocess.run([UV, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, ROOT)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_what_runs_need(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in MUST_SHIP if name not in names]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/")) or "__pycache__" in name]


@pytest.mark.slow
@pytest.mark.promise("REPO-02")
def test_the_base_install_is_small(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the locked versions of the base dependencies and bytecode; the interpreter itself is not counted."""
    venv = tmp_path / "venv"
    uv("venv", "--quiet", "--python", sys.executable, venv)
    uv("pip", "install", "--quiet", "--compile-bytecode", "--link-mode", "copy", "--python", venv / "bin/python",
       "--constraint", ROOT / "requirements.lock", wheel)  # fmt: skip
    size = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < LIMIT_BYTES, f"{size / 1e6:.1f} MB"
    helped = subprocess.run([venv / "bin/omega", "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert helped.returncode == 0 and "run" in helped.stdout
