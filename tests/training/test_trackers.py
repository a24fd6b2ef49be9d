"""Trackers: what they lack is said before training, what fails ends none, no step is told twice."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.tracked import event_files, told_losses
from transformers import TrainerCallback

from formats.checkpoint_folder import LOG, partial_folder
from training import trackers
from training.errors import TrainingError
from training.settings import Restart, Tracker
from training.sft import SftConfig, train
from training.trackers import (
    Tracked,
    environment,
    last_logged_step,
    missing,
    read_run_ids,
    run_name,
    told_so_far,
)

TAGS = {"profile": "mine", "stage": "low_temperature", "checkpoint_key": "abc", "git_commit": "12+"}
OFFLINE = {"WANDB_MODE": "offline"}
BLOCK_BYTES = 32_768


@pytest.mark.parametrize(
    ("report_to", "installed", "given", "said"),
    [
        ((), False, {}, []),
        (("mlflow",), False, {"MLFLOW_TRACKING_URI": "x"}, ["install mlflow-skinny, or take"]),
        (("wandb",), False, OFFLINE, ["install wandb, or take wandb out of report_to"]),
        (("mlflow",), True, {}, ["MLFLOW_TRACKING_URI is not set: set it to"]),
        (("wandb",), True, {}, ["WANDB_API_KEY is not set: set it in the environment"]),
        (("wandb",), True, {"WANDB_MODE": "online"}, ["WANDB_API_KEY is not set"]),
        (("wandb",), True, OFFLINE, []),
        (("wandb", "mlflow"), True, {"WANDB_API_KEY": "k", "MLFLOW_TRACKING_URI": "x"}, []),
        (("wandb", "mlflow"), True, {}, ["MLFLOW_TRACKING_URI", "WANDB_API_KEY"]),
    ],
)
def test_what_a_tracker_lacks(
    monkeypatch: pytest.MonkeyPatch,
    report_to: tuple[Any, ...],
    installed: bool,
    given: Mapping[str, str],
    said: list[str],
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: name if installed else None)
    found = list(missing(report_to, given))
    assert len(found) == len(said)
    assert all(part in one for part, one in zip(said, found, strict=True)), found


def test_the_environment_names_the_run_and_keeps_what_the_user_set() -> None:
    both: tuple[Tracker, ...] = ("mlflow", "wandb")
    said: list[str] = []
    given = {"MLFLOW_TAGS": '{"team": "a"}', "WANDB_PROJECT": "ours"}
    made = environment(both, TAGS, {}, given, said.append)
    assert json.loads(made["MLFLOW_TAGS"]) == {"team": "a", **TAGS}
    assert made["WANDB_TAGS"].split(",")[-1] == "git_commit:12+"
    assert (made["WANDB_PROJECT"], made["MLFLOW_EXPERIMENT_NAME"]) == ("ours", "mine")
    assert not {"MLFLOW_RUN_ID", "WANDB_RUN_ID", "WANDB_RESUME"} & made.keys()
    again = environment(both, TAGS, {"mlflow": "m", "wandb": "w"}, {}, said.append)
    assert not said
    assert (again["MLFLOW_RUN_ID"], again["WANDB_RUN_ID"]) == ("m", "w")
    assert again["WANDB_RESUME"] == "allow"
    assert run_name(TAGS, Path("x/some")) == "mine/low_temperature/abc"
    assert run_name({}, Path("x/some")) == "some"


@pytest.mark.parametrize("tags", ["team=a", '["a"]'])
def test_tags_that_are_no_json_object_are_warned_about_where_they_are_read(tags: str) -> None:
    said: list[str] = []
    made = environment(["mlflow"], TAGS, {}, {"MLFLOW_TAGS": tags}, said.append)
    assert json.loads(made["MLFLOW_TAGS"]) == TAGS
    assert said == [f"warning: MLFLOW_TAGS is {tags!r} and no JSON object: none of it is used"]
    assert "MLFLOW_TAGS" not in environment(["wandb"], TAGS, {}, {"MLFLOW_TAGS": tags}, said.append)
    assert len(said) == 1


class Noting(TrainerCallback):
    """Keeps the steps that it is told, and fails at one."""

    def __init__(self, fails_at: int = 0) -> None:
        self.steps: list[int] = []
        self._fails_at = fails_at

    def on_log(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        if state.global_step == self._fails_at:
            raise OSError("no route to host")
        self.steps.append(state.global_step)


def test_a_tracker_that_fails_is_left_alone_with_one_warning() -> None:
    said: list[str] = []
    failing, whole = Noting(fails_at=3), Noting()
    told = [
        Tracked("one", lambda: failing, said.append),
        Tracked("other", lambda: whole, said.append, told=2),
    ]
    for one in told:
        one.on_train_begin(None, SimpleNamespace(global_step=0), None)
    for step in range(1, 6):
        for one in told:
            one.on_log(None, SimpleNamespace(global_step=step), None)
    for one in told:
        one.on_train_end(None, SimpleNamespace(global_step=5), None)
    assert failing.steps == [1, 2]
    assert whole.steps == [3, 4, 5], "steps that the killed run had told already"
    (warning,) = said
    assert warning.startswith("warning: the tracker one gets no more of this run, it failed with ")
    assert "OSError: no route to host. Training goes on" in warning


def test_a_tracker_that_does_not_start_is_left_alone_too(tmp_path: Path) -> None:
    said: list[str] = []
    # No package of this name, so it has no run that could be known by an id.
    one = Tracked("nowhere", Noting, said.append, run_ids=tmp_path / "trackers.json")

    def broken() -> TrainerCallback:
        raise ImportError("libfoo.so is missing")

    other = Tracked("other", broken, said.append)
    for each in (one, other):
        each.on_train_begin(None, SimpleNamespace(global_step=0), None)
        each.on_log(None, SimpleNamespace(global_step=1), None)
        each.on_train_end(None, SimpleNamespace(global_step=1), None)
    assert len(said) == 2
    assert "ModuleNotFoundError: No module named 'nowhere'" in said[0]
    assert "ImportError: libfoo.so is missing. Training goes on" in said[1]


def test_what_was_told_is_kept_though_a_run_is_killed_more_than_once(tmp_path: Path) -> None:
    file = tmp_path / "trackers.json"
    assert told_so_far(file, 0) == 0
    file.write_text(json.dumps({**read_run_ids(file), "mlflow": "m"}), encoding="utf-8")
    assert told_so_far(file, 10) == 10, "then it goes on from step 4, and is killed at 6"
    assert told_so_far(file, 6) == 10
    assert read_run_ids(file)["mlflow"] == "m"


def test_the_last_step_that_a_killed_run_has_logged(tmp_path: Path) -> None:
    output_dir = tmp_path / "checkpoint"
    assert last_logged_step(output_dir) == 0
    partial_folder(output_dir).mkdir()
    log = partial_folder(output_dir) / LOG
    log.write_text('{"step": 1}\n{"step": 2}\n{"ste', encoding="utf-8")
    assert last_logged_step(output_dir) == 2


@pytest.mark.slow
def test_nothing_is_trained_where_a_tracker_lacks_something(
    config: SftConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    asking = config.model_copy(update={"report_to": ("wandb",)})
    with pytest.raises(TrainingError, match="report_to has wandb, whose package is not installed"):
        train(asking, lambda line: None)
    assert not partial_folder(Path(config.output_dir)).exists()


def stopped_and_run_again(config: SftConfig) -> list[str]:
    """Stopped at its last step, which is not the restart point's; what the second run says."""

    def stop_at_the_end(line: str) -> None:
        done = re.search(r"step (\d+)/(\d+)", line)
        if done and done[1] == done[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, stop_at_the_end)
    said: list[str] = []
    train(config, said.append)
    return said


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / LOG).read_text("utf-8").splitlines()]


@pytest.fixture
def reporting_config(config: SftConfig) -> Callable[..., SftConfig]:
    def new(*report_to: str) -> SftConfig:
        update = {
            "report_to": report_to, "tags": TAGS,
            "restart": Restart(every_steps=4, every_minutes=0),
        }  # fmt: skip
        return config.model_copy(update=update)

    return new


@pytest.mark.slow
def test_tensorboard_has_each_step_once_though_the_run_was_stopped(
    reporting_config: Callable[..., SftConfig],
) -> None:
    config = reporting_config()
    stopped_and_run_again(config)
    folder = Path(config.output_dir)
    assert len(event_files(folder)) == 2, "one of each run"
    told = told_losses(folder)
    expected = losses(folder)
    assert [step for step, _ in told] == list(range(1, len(expected) + 1))
    assert [loss for _, loss in told] == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What training sets in the environment goes with the test."""
    run_ids = {"mlflow": "m", "wandb": "w"}
    names = environment(["mlflow", "wandb"], TAGS, run_ids, {}, print)
    for name in [*names, "MLFLOW_TRACKING_URI", "WANDB_DIR", "WANDB_API_KEY"]:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.slow
def test_mlflow_has_one_run_with_each_step_once(
    reporting_config: Callable[..., SftConfig],
    own_environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny, which nothing here pins")
    own_environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    config = reporting_config("mlflow")
    stopped_and_run_again(config)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'mine'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "mine/low_temperature/abc"
    assert run.info.status == "FINISHED"
    assert {name: run.data.tags[name] for name in TAGS} == TAGS
    history = client.get_metric_history(run.info.run_id, "loss")
    expected = losses(Path(config.output_dir))
    assert [one.step for one in history] == list(range(1, len(expected) + 1))
    assert [one.value for one in history] == pytest.approx(expected, rel=1e-6)


def wandb_records(file: Path) -> Iterator[Any]:
    """Records of an offline run: protobufs in LevelDB's log format, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


@pytest.mark.slow
def test_wandb_offline_has_each_step_once(
    reporting_config: Callable[..., SftConfig],
    own_environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("wandb", reason="needs wandb (extra wandb)")
    own_environment.setenv("WANDB_MODE", "offline")
    own_environment.setenv("WANDB_DIR", str(tmp_path))
    config = reporting_config("wandb")
    stopped_and_run_again(config)
    steps, names, ids = [], set(), set()
    for file in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                names.add(record.run.display_name)
                ids.add(record.run.run_id)
            if kind == "history":
                row = {
                    item.key or "/".join(item.nested_key): item.value_json
                    for item in record.history.item
                }
                if "train/loss" in row:
                    steps.append(int(row["train/global_step"]))
    assert names == {"mine/low_temperature/abc"}
    assert len(ids) == 1, "both parts are one run"
    assert steps == list(range(1, len(losses(Path(config.output_dir))) + 1))
