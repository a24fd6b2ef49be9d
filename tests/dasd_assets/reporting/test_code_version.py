"""The commit of a checkout, whether it is dirty, and no other repository's commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dasd_assets.reporting.code_version import code_version


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    (tmp_path / "code.py").write_text("1\n")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_clean_checkout(checkout: Path) -> None:
    found = code_version(checkout)
    assert found.commit is not None and len(found.commit) == 40
    assert not found.is_dirty
    assert str(found) == f"dasd-dagster {found.package}, commit {found.commit}"
    assert found.short == found.commit[:12]


@pytest.mark.parametrize("file", ["code.py", "new.py"])
def test_a_changed_or_new_file_makes_it_dirty(checkout: Path, file: str) -> None:
    (checkout / file).write_text("2\n")
    assert code_version(checkout).is_dirty
    assert str(code_version(checkout)).endswith(" with uncommitted changes")


def test_a_package_inside_another_checkout_has_no_commit(checkout: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    assert code_version(installed).commit is None


def test_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = code_version(checkout)
    assert (found.commit, found.is_dirty) == (None, False)
    assert str(found).endswith(", no git checkout")
