"""`dg` and `dagster dev`: the home that `dasd ui` uses, or a refusal; a project of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from dasd_assets.profile import PROJECT_ROOT, ProfileError
from dasd_assets.profile.home import dagster_home, require_kept_records

pytestmark = pytest.mark.slow

OF_A_UI = ["dagster", "api", "grpc", "--lazy-load-user-code", "--socket", "/tmp/x"]
BY_HAND = ["dagster", "api", "grpc", "--port", "4000"]
LOOKS = ["dg", "check", "defs"]


def dagster(program: str, *arguments: str, cwd: Path, **variables: str) -> tuple[int, str]:
    """Exit code and output of one of Dagster's programs, without settings of this process."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DA")}
    result = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], cwd=cwd,
        env=clean | {"PYTHONPATH": str(PROJECT_ROOT), "PYTHONWARNINGS": "ignore"} | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout


@pytest.mark.parametrize(
    ("argv", "home", "is_refused"),
    [
        (OF_A_UI, None, True),
        (OF_A_UI, "/any", False),
        (BY_HAND, None, False),
        (LOOKS, None, False),
    ],
)
def test_a_ui_that_would_forget_its_records_is_refused(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], home: str | None, is_refused: bool
) -> None:
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    if home:
        monkeypatch.setenv("DAGSTER_HOME", home)
    if not is_refused:
        require_kept_records(Path("/data"))
        return
    with pytest.raises(ProfileError, match=r"\.env .*names it: DAGSTER_HOME=/data/dagster$"):
        require_kept_records(Path("/data"))


def test_the_code_server_of_plain_dagster_dev_refuses_to_load(tmp_path: Path) -> None:
    """As `dagster dev` starts it; without lazy loading it ends with the error that the UI shows."""
    server = ("api", "grpc", "--socket", str(tmp_path / "x"), "-m", "dasd_assets.definitions")
    code, printed = dagster("dagster", *server, cwd=PROJECT_ROOT, DASD_HOME=str(tmp_path))
    assert code != 0
    assert f"this UI would show none of the runs of {tmp_path}, and forget its own" in printed
    assert f"DAGSTER_HOME={tmp_path / 'dagster'}" in printed


def test_a_new_project_is_one_of_dg_and_has_the_home_of_dasd_ui(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    made = CliRunner().invoke(app, ["init", str(folder)])
    assert made.exit_code == 0, made.output
    home = dagster_home(folder / ".dasd" / "my-project")
    assert (home / "dagster.yaml").is_file()
    code, printed = dagster("dagster", "instance", "info", cwd=folder)
    assert (code, f"$DAGSTER_HOME: {home}" in printed) == (0, True), printed
    assert "enabled: false" in printed  # telemetry, as in the shipped dagster.yaml
    code, printed = dagster("dg", "check", "defs", cwd=folder)
    assert (code, "All definitions loaded successfully" in printed) == (0, True), printed
