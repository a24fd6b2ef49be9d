"""Folders in the shared temporary folder: ours, or refused."""

import os
import tempfile
from pathlib import Path

import pytest

from resources.compute import gpu_lease
from resources.temporary_folder import ForeignFolderError, check_common_folder, own_temporary_folder


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_an_own_folder_is_nobody_elses(shared: Path) -> None:
    folder = own_temporary_folder("x")
    assert folder.parent == shared and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert own_temporary_folder("x").stat().st_mode & 0o777 == 0o700


def test_a_link_in_its_place_is_refused(shared: Path) -> None:
    (shared / "elsewhere").mkdir(mode=0o755)
    (shared / f"x-{os.getuid()}").symlink_to("elsewhere")
    with pytest.raises(ForeignFolderError, match=f"x-{os.getuid()}: is a link, or not yours"):
        own_temporary_folder("x")
    assert (shared / "elsewhere").stat().st_mode & 0o777 == 0o755


def test_anothers_folder_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with pytest.raises(ForeignFolderError, match="not yours"):
        own_temporary_folder("x")


def test_a_common_folder_lets_nobody_replace_anothers_files(shared: Path) -> None:
    folder = shared / "common"
    folder.mkdir()
    for mode, is_safe in ((0o755, True), (0o1777, True), (0o777, False)):
        folder.chmod(mode)
        if is_safe:
            check_common_folder(folder)
        else:
            with pytest.raises(ForeignFolderError, match="chmod"):
                check_common_folder(folder)
    (shared / "link").symlink_to(folder)
    with pytest.raises(ForeignFolderError, match="link"):
        check_common_folder(shared / "link")


def test_the_locks_of_gpus_are_in_no_folder_that_is_a_link(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(gpu_lease.LOCKS, raising=False)
    assert gpu_lease._folder().stat().st_mode & 0o7777 == 0o1777
    (shared / "dasd-gpus").rename(shared / "moved")
    (shared / "dasd-gpus").symlink_to("moved")
    with pytest.raises(ForeignFolderError, match="dasd-gpus: is a link"):
        gpu_lease._folder()


def test_a_lock_that_is_a_link_or_a_pipe_leads_nowhere_and_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / "link.lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match=r"link\.lock"):
        gpu_lease._open(tmp_path / "link.lock")
    assert not (tmp_path / "made").exists()
    os.mkfifo(tmp_path / "pipe.lock")
    os.close(gpu_lease._open(tmp_path / "pipe.lock"))
