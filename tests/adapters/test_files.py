"""Files: read within limits, written whole or not at all, and no link leads anywhere unexpected."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.permits import EXECUTION, STEP, permit_for
from omega.adapters.files import FileEffector, mounts
from omega.adapters.files.effector import SMALL
from omega.kernel.effects import Command, ReadFile, Request, WriteFiles
from omega.kernel.errors import Denied, InputError


def do(request: Request, *, step: str = STEP) -> Any:
    return asyncio.run(FileEffector().perform(permit_for("files", step=step), request, execution=EXECUTION, step=step))[0]


def failure(request: Request) -> InputError:
    with pytest.raises(InputError) as caught:
        do(request)
    return caught.value


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Reading


def test_reads_bytes_and_counts_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\xff")
    data, receipt = asyncio.run(
        FileEffector().perform(permit_for("files"), ReadFile(path=str(tmp_path / "a")), execution=EXECUTION, step=STEP)
    )
    assert (data, receipt.bytes_in) == (b"\x00\xff", 2)


def test_limit_is_exact(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert do(ReadFile(path=str(tmp_path / "a"), limit=5)) == b"12345"
    error = failure(ReadFile(path=str(tmp_path / "a"), limit=4))
    assert (error.code, "5 bytes" in error.cause) == ("OMG-P005", True)


def test_size_that_the_system_does_not_tell_is_limited_too() -> None:
    assert failure(ReadFile(path="/proc/self/status", limit=10)).code == "OMG-P005"


def test_missing_file_folder_and_zero_byte_are_coded(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), str(tmp_path), f"{tmp_path}/a\0b"):
        error = failure(ReadFile(path=path))
        assert (error.code, error.details["path"]) == ("OMG-P005", path)


def test_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in failure(ReadFile(path=str(tmp_path / "pipe"))).cause


def test_symbolic_link_is_not_followed_but_folders_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"a")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link").symlink_to("real/a")
    assert do(ReadFile(path=str(tmp_path / "folder" / "a"))) == b"a"
    assert "symbolic link" in failure(ReadFile(path=str(tmp_path / "link"))).cause


# Writing


@pytest.mark.promise("TOOL-10")
def test_writes_all_files_and_makes_folders(tmp_path: Path) -> None:
    paths = [str(tmp_path / "new" / "deep" / "a.txt"), str(tmp_path / "b.bin")]
    assert do(WriteFiles(files={paths[0]: b"a", paths[1]: b"\x00"})) == paths
    assert (Path(paths[0]).read_bytes(), Path(paths[1]).read_bytes()) == (b"a", b"\x00")
    assert names(tmp_path) == ["b.bin", "new"]


def test_relative_paths_come_back_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert do(WriteFiles(files={"x/../y": b"1"})) == [str(tmp_path / "y")]


def test_replaces_content_and_keeps_permissions(tmp_path: Path) -> None:
    target = tmp_path / "script"
    target.write_bytes(b"old and longer")
    target.chmod(0o750)
    do(WriteFiles(files={str(target): b"new"}))
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


@pytest.mark.promise("TOOL-10")
def test_one_unfit_target_leaves_all_others_untouched(tmp_path: Path) -> None:
    good, folder = tmp_path / "good", tmp_path / "folder"
    good.write_bytes(b"old")
    folder.mkdir()
    error = failure(WriteFiles(files={str(good): b"new", str(folder): b"x"}))
    assert (error.code, error.details["path"]) == ("OMG-P005", str(folder))
    assert good.read_bytes() == b"old"
    assert names(tmp_path) == ["folder", "good"]


@pytest.mark.promise("TOOL-10")
def test_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    error = failure(WriteFiles(files={str(target): b"new"}))
    assert (error.code, "no space left" in error.cause) == ("OMG-P005", True)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_rest_of_a_crashed_attempt_is_replaced_by_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    request = WriteFiles(files={str(tmp_path / "a"): b"new"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash)
        patch.setattr(os, "unlink", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
        with pytest.raises(Crash):
            do(request)
    assert len(names(tmp_path)) == 1
    do(request)
    assert names(tmp_path) == ["a"]


def test_data_reaches_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("flush"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "rename", lambda *a, **k: (calls.append("rename"), rename(*a, **k))[1])
    do(WriteFiles(files={str(tmp_path / "a"): b"1", str(tmp_path / "b"): b"2"}))
    assert calls == ["flush", "flush", "rename", "rename", "flush"]


def test_link_as_target_is_refused_and_its_destination_untouched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(outside)
    assert "symbolic link" in failure(WriteFiles(files={str(tmp_path / "link"): b"x"})).cause
    assert outside.read_bytes() == b"precious"


def test_planted_temporary_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    monkeypatch.setattr("omega.adapters.files.effector._temporary", lambda name, key: "planted")
    (tmp_path / "planted").symlink_to(outside)
    do(WriteFiles(files={str(tmp_path / "a"): b"new"}))
    assert outside.read_bytes() == b"precious"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_one_file_named_twice_is_refused(tmp_path: Path) -> None:
    assert failure(WriteFiles(files={f"{tmp_path}/a": b"1", f"{tmp_path}/./a": b"2"})).code == "OMG-I001"
    assert names(tmp_path) == []


def test_parent_that_is_a_file_is_coded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert failure(WriteFiles(files={f"{tmp_path}/a/b": b"1"})).code == "OMG-P005"


def test_zero_byte_in_a_path_is_coded() -> None:
    assert failure(WriteFiles(files={"a\0b": b"1"})).code == "OMG-P005"


def test_spent_permit_and_foreign_request_do_nothing(tmp_path: Path) -> None:
    permit = permit_for("files")
    permit.spend("files")
    request = WriteFiles(files={str(tmp_path / "a"): b"1"})
    with pytest.raises(Denied):
        asyncio.run(FileEffector().perform(permit, request, execution=EXECUTION, step=STEP))
    assert names(tmp_path) == []
    assert failure(Command(argv=("touch", str(tmp_path / "a")))).code == "OMG-I001"
    assert names(tmp_path) == []


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40), st.binary(), max_size=6)
)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("law")
    wanted = {str(folder / name): content for name, content in files.items() if name not in (".", "..")}
    do(WriteFiles(files=wanted))
    assert {path: do(ReadFile(path=path)) for path in wanted} == wanted
    assert len(names(folder)) == len(wanted)


# Where a file lies


def test_small_local_files_are_read_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(bytes(SMALL + 1))
    (tmp_path / "link").symlink_to(tmp_path / "small")
    mounts.look(str(tmp_path))
    hops: list[str] = []
    real = asyncio.to_thread

    async def counted(work: Any) -> Any:
        hops.append("hop")
        return await real(work)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    monkeypatch.setattr(mounts, "known", {str(tmp_path): True}.get)
    assert (do(ReadFile(path=str(tmp_path / "small"))), hops) == (b"x", [])
    assert (len(do(ReadFile(path=str(tmp_path / "large")))), hops) == (SMALL + 1, ["hop"])
    assert "symbolic link" in failure(ReadFile(path=str(tmp_path / "link"))).cause
    monkeypatch.setattr(mounts, "known", {str(tmp_path): False}.get)
    hops.clear()
    assert (do(ReadFile(path=str(tmp_path / "small"))), hops) == (b"x", ["hop"])


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:50 / /home rw shared:1 - nfs4 server:/home rw
31 30 0:51 / /home/ada/my\\040disk rw - xfs /dev/sdb1 rw
32 22 0:52 / /mnt rw - fuse.sshfs host: rw
33 32 0:53 / /mnt rw - tmpfs none rw
a line that is none
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/etc", "ext4"),
        ("/home", "nfs4"),
        ("/homework", "ext4"),
        ("/home/ada/my disk/x", "xfs"),
        ("/home/ada/my diskette", "nfs4"),
        ("/mnt/a", "tmpfs"),
    ],
)
def test_the_longest_and_latest_mount_holds_a_folder(folder: str, kind: str) -> None:
    assert mounts.kind_of(folder, MOUNTS) == kind


def test_without_mounts_nothing_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.kind_of("/a", "") == ""
    monkeypatch.setattr(mounts, "MOUNTS", str(tmp_path / "none"))
    assert mounts.look(str(tmp_path)) is False
