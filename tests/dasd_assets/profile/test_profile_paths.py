"""What relative paths of a profile are relative to, and where its data goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from dasd_assets.cli.prepare import make_dagster_home, prepare
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT, Profile, load_profile, resolve_path
from dasd_assets.profile.home import home

SHIPPED = load_profile("tiny")


def own(folder: Path, **changes: Any) -> Profile:
    """A copy of `tiny` in a folder, with some paths changed."""
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    for section, values in changes.items():
        settings[section] = settings.get(section, {}) | values
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_profile(str(folder / "mine.yaml"))


def test_paths_of_an_own_profile_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "models" / "big").mkdir(parents=True)
    others = {"big": {"path": "models/big"}, "hub": {"path": "owner/model"}}
    sets = {"benchmarks": {"mine": {"path": "sets/mine.jsonl", "max_tokens": 9}}}
    profile = own(
        tmp_path, teacher={"path": "models/big"}, questions={"inbox": "drops"}, evaluation=sets,
        students=others,
    )  # fmt: skip
    assert profile.students["big"].path == str(tmp_path / "models" / "big")
    assert profile.students["hub"].path == "owner/model"
    assert profile.teacher.path == str(tmp_path / "models" / "big")
    assert resolve_path(profile.questions.inbox) == tmp_path / "drops"
    assert profile.evaluation.benchmarks["mine"].path == str(tmp_path / "sets" / "mine.jsonl")


def test_a_copy_of_a_shipped_profile_finds_what_the_project_ships(tmp_path: Path) -> None:
    profile = own(tmp_path)
    assert profile.model_dump() == SHIPPED.model_dump()
    assert resolve_path(profile.teacher.path) == PROJECT_ROOT / "tiny_world/models/teacher"
    (tmp_path / "tiny_world" / "inbox").mkdir(parents=True)
    assert own(tmp_path).questions.inbox == str(tmp_path / "tiny_world" / "inbox")


def test_ids_on_the_hub_urls_and_absolute_paths_stay(tmp_path: Path) -> None:
    profile = own(
        tmp_path, teacher={"path": "openai/gpt-oss-120b"}, questions={"inbox": "s3://bucket/inbox"}
    )
    assert profile.teacher.path == "openai/gpt-oss-120b"
    assert profile.questions.inbox == "s3://bucket/inbox"
    assert own(tmp_path, questions={"inbox": "/data/inbox"}).questions.inbox == "/data/inbox"


def test_data_goes_beside_an_own_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASD_HOME", raising=False)
    assert home(own(tmp_path)) == tmp_path / ".dasd" / "tiny"
    assert home(SHIPPED) == PROJECT_ROOT / ".dasd" / "tiny"
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "elsewhere"))
    assert home(own(tmp_path)) == tmp_path / "elsewhere"


def test_the_environment_names_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's processes start in the project's folder, not in the user's."""
    own(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASD_PROFILE", "mine.yaml")
    monkeypatch.setenv("DASD_HOME", "data")
    for variable in ("DAGSTER_HOME", "PYTHONWARNINGS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    _, folder = prepare()
    assert Path.cwd() == PROJECT_ROOT
    assert os.environ["DASD_PROFILE"] == str(tmp_path / "mine.yaml")
    assert os.environ["DASD_HOME"] == str(folder) == str(tmp_path / "data")
    assert os.environ["DAGSTER_HOME"] == str(folder / "dagster")


def test_a_home_of_an_earlier_version_finds_modules_that_were_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_HOME", str(tmp_path))
    for variable in ("DAGSTER_HOME", "PYTHONWARNINGS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))
    monkeypatch.chdir(tmp_path)
    configuration = tmp_path / "dagster" / "dagster.yaml"
    configuration.parent.mkdir()
    own = (
        "# mine\nrun_launcher:\n  module: dasd_assets.local_run_launcher\n"
        "  class: LocalRunLauncher\n"
    )
    configuration.write_text(own, encoding="utf-8")
    prepare()
    text = configuration.read_text(encoding="utf-8")
    assert text == own.replace("dasd_assets.", "dasd_assets.running.")
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_launcher).__name__ == "LocalRunLauncher"


@pytest.mark.parametrize(("n_cores", "n_runs"), [(1, 2), (2, 2), (64, 64)])
def test_runs_side_by_side_follow_the_cores_unless_somebody_chose_another_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_cores: int, n_runs: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(n_cores)))
    configuration = tmp_path / "dagster" / "dagster.yaml"

    def limit() -> int:
        make_dagster_home(tmp_path)
        settings = yaml.safe_load(configuration.read_text(encoding="utf-8"))
        return settings["concurrency"]["runs"]["max_concurrent_runs"]

    assert limit() == n_runs
    assert f"of a machine with {n_cores} cores" in configuration.read_text(encoding="utf-8")
    configuration.write_text("concurrency: {runs: {max_concurrent_runs: 7}}", encoding="utf-8")
    assert limit() == 7
