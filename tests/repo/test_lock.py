"""The lock pins everything by hash, names no address, and agrees with the pins that `uv run` reads from pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "docs/requirements.lock")
REGISTRIES = re.compile(
    r"(?:files\.)?py(?:pi|thonhosted)\.org|registry\.(?:npm|yarn)|deb\.debian|security\.debian|archive\.ubuntu", re.IGNORECASE
)

pytestmark = pytest.mark.promise("REPO-08")


def entries(text: str) -> dict[str, list[str]]:
    """Requirement (with its marker, spaces normalised) -> hashes, of one lock file."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line.strip())
            found[" ".join(requirement.split())] = hashes
    return found


def locked() -> dict[str, list[str]]:
    return {name: hashes for lock in LOCKS for name, hashes in entries((ROOT / lock).read_text()).items()}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_entry_is_exact_and_hashed() -> None:
    for requirement, hashes in locked().items():
        assert re.match(r"[a-z0-9-]+==[^ ;]+( ; .+)?$", requirement), requirement
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), requirement


def test_pins_in_pyproject_are_those_of_the_lock() -> None:
    """Names and versions; a marker may be wider in the pins, where one package serves both lock files."""
    pins = {pin.partition(";")[0].strip() for pin in project()["tool"]["uv"]["constraint-dependencies"]}
    assert pins == {requirement.partition(";")[0].strip() for requirement in locked()}


def test_the_build_tool_is_the_locked_one() -> None:
    assert project()["tool"]["uv"]["build-constraint-dependencies"] == [name for name in locked() if name.startswith("hatchling==")]


def test_every_direct_dependency_is_locked() -> None:
    data = project()
    extras = [name for names in data["project"]["optional-dependencies"].values() for name in names]
    wanted = [*data["project"]["dependencies"], *extras]
    wanted += [name for group in data["dependency-groups"].values() for name in group]
    names = {re.match(r"[A-Za-z0-9-]+", name)[0].lower() for name in wanted} - {"omega-platform"}
    assert names <= {requirement.partition("==")[0] for requirement in locked()}


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_names_the_host_of_a_registry() -> None:
    named = []
    for path in committed():
        if path.is_file() and REGISTRIES.search(path.read_bytes().decode("utf-8", "replace")):
            named.append(str(path.relative_to(ROOT)))
    assert not named
    assert ROOT / "uv.lock" not in committed()
