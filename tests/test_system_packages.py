"""`make test` on a bare machine: what is missing is named at once, with the command for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("system_packages.sh")


def run(path: str | None = None) -> subprocess.CompletedProcess[str]:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, SCRIPT], env=None if path is None else {"PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_where_everything_is_nothing_is_said() -> None:
    found = run()
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_where_nothing_may_be_installed_the_command_is_said(tmp_path: Path) -> None:
    (tmp_path / "id").symlink_to(str(shutil.which("id")))
    found = run(str(tmp_path))  # no apt-get, so that this holds for root too
    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        "error: the tests need bubblewrap chromium g++ ninja-build. On Debian and Ubuntu:",
        "    sudo apt-get update && sudo apt-get install -y bubblewrap chromium g++ ninja-build",
    ]
