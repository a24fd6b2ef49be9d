"""A release is there whole or not at all, and says when a file is not what it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.release_child import MOMENTS, write

from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.release.folder import SUMS, differences, publish_release

pytestmark = pytest.mark.slow


def publish(root: Path, content: str = "first") -> Path:
    return publish_release(root, "model", lambda place: write(content, "", place)).folder


def test_every_file_is_listed_as_sha256sum_lists_it(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stderr
    assert check.stdout.splitlines() == ["data/two.txt: OK", "one.txt: OK"]
    assert differences(folder) == []
    assert (tmp_path / "model").resolve() == folder.resolve()


def written(file: Path) -> tuple[int, int]:
    """Which file it is and since when; reading changes another time of it."""
    return file.stat().st_ino, file.stat().st_mtime_ns


def test_the_same_content_is_the_same_release_and_another_stays_beside_it(tmp_path: Path) -> None:
    first = publish(tmp_path)
    before = written(first / "one.txt")
    assert publish(tmp_path) == first
    assert written(first / "one.txt") == before
    second = publish(tmp_path, "second")
    assert second != first
    assert (tmp_path / "model" / "one.txt").read_text() == "second"
    assert (first / "one.txt").read_text() == "first"
    assert publish(tmp_path) == first
    assert (tmp_path / "model" / "one.txt").read_text() == "first"


def test_a_damaged_release_is_made_whole_again(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    (folder / "one.txt").write_text("other")
    assert publish(tmp_path) == folder
    assert differences(folder) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["model", folder.name])


def change(folder: Path) -> None:
    (folder / "one.txt").write_text("first!")


def remove(folder: Path) -> None:
    (folder / "data" / "two.txt").unlink()


def add(folder: Path) -> None:
    (folder / "data" / "modeling.py").write_text("")


def climb(folder: Path) -> None:
    with (folder / SUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  ../outside.txt\n{'0' * 64}  /etc/hostname\nnonsense\n")


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (change, ["one.txt: changed"]),
        (remove, ["data/two.txt: missing"]),
        (add, ["data/modeling.py: not listed in SHA256SUMS"]),
        (climb, [f"SHA256SUMS: line {n} is no checksum of a file of this folder"
                 for n in (3, 4, 5)]),
        (lambda folder: (folder / SUMS).write_bytes(b"\xff\xfe"),
         ["SHA256SUMS: cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: "
          "invalid start byte"]),
        (lambda folder: (folder / SUMS).unlink(),
         ["SHA256SUMS: missing; is this the folder of a release?"]),
        (lambda folder: (folder / ".gitattributes").write_text("the hub's"), []),
    ],
    ids=["changed", "missing", "extra", "no checksums", "no text", "no list", "hidden"],
)  # fmt: skip
def test_what_differs_is_named(
    tmp_path: Path, tamper: Callable[[Path], object], found: list[str]
) -> None:
    folder = publish(tmp_path)
    tamper(folder)
    assert differences(folder) == found


@pytest.mark.parametrize("earlier", [True, False], ids=["after another", "the first"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_no_torn_release(tmp_path: Path, moment: str, earlier: bool) -> None:
    if earlier:
        publish(tmp_path, "earlier")
    child = subprocess.run(
        [sys.executable, "-m", "support.release_child", str(tmp_path), "second", moment],
        cwd=PROJECT_ROOT / "tests", env={"PYTHONPATH": str(PROJECT_ROOT)}, check=False,
    )  # fmt: skip
    assert child.returncode == -9
    link = tmp_path / "model"
    assert link.exists() == earlier
    if earlier:
        assert (link / "one.txt").read_text() == "earlier"
    for folder in tmp_path.glob("model-*"):
        assert differences(folder) == []
    again = publish(tmp_path, "second")
    assert link.resolve() == again.resolve()
    assert differences(link) == []
    assert not list(tmp_path.glob(".*"))
