"""The launcher: torchrun under Dagster through Pipes, progress as it comes, causes of failures."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.ssh_hosts import OTHER, other_machine
from support.tracked import event_files, told_losses
from support.training_rows import STUDENT, row

from dasd_assets.temperature_scheduled_learning.stage import train_stage
from formats.checkpoint_folder import LOG, settings_file
from resources.compute.training_launcher import TrainingFailedError, TrainingLauncher, launcher
from resources.lake.lake import Lake
from training.encode_parts import SetConfig
from training.make_set import make_training_set
from training.set_check import multiple_of
from training.settings import Training
from training.sft import SftConfig, train

pytestmark = pytest.mark.slow

SETTINGS = Training(
    epochs=2, learning_rate=1e-3, min_learning_rate=1e-4, global_batch_size=4, micro_batch_size=2,
    max_length=256, dtype="float32", gradient_checkpointing=False, processes=2,
)  # fmt: skip


def materialize(
    folder: Path, settings: Training, trainer: TrainingLauncher
) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """One stage as an asset; the result, and what the run's log was told."""
    file = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(32)]), file)

    @dg.asset
    def checkpoint(
        context: dg.AssetExecutionContext, lake: Lake, trainer: TrainingLauncher
    ) -> dg.MaterializeResult:
        return train_stage(
            context, lake, trainer,
            checkpoint="low_temperature", start=STUDENT, expected=STUDENT, settings=settings,
        )  # fmt: skip

    lake = Lake(root=str(folder / "lake"))
    made = SetConfig(
        model_path=str(STUDENT), samples=[str(file)], max_length=settings.max_length,
        system_prompt="You are a helpful assistant.", multiple_of=multiple_of(settings),
        output_dir=str(lake.keyed_folder("training_sets/low_temperature", "key")),
    )  # fmt: skip
    make_training_set(made, lambda line: None)
    lake.publish_keyed("training_sets/low_temperature", "key")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [checkpoint],
            resources={"lake": lake, "trainer": trainer},
            instance=instance,
            raise_on_error=False,
        )
        told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return result, told


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node("checkpoint")
    return {name: value.value for name, value in materialization.metadata.items()}


def log(checkpoint: Path, name: str) -> list[float]:
    """One value of every step."""
    lines = (checkpoint / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def cause(result: dg.ExecuteInProcessResult) -> str:
    failure = result.failure_data_for_node("checkpoint")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert failure.error.cause.cls_name == TrainingFailedError.__name__
    return failure.error.cause.message


def test_two_processes_report_once_while_they_run_and_leave_curves_on_the_asset(
    tmp_path: Path,
) -> None:
    result, told = materialize(tmp_path, SETTINGS, TrainingLauncher(threads=2, profile="mine"))
    assert result.success, told[-5:]
    progress = [line for line in told if line.startswith("progress: step ")]
    n_steps = metadata(result)["steps"]
    last = [line for line in progress if f"step {n_steps}/{n_steps}" in line]
    assert len(last) == 1, "each rank reported"
    assert re.search(
        r"loss \d+\.\d+, learning rate \d\.\de-04, grad norm \d+\.\d+, [\d,]+ tokens/s, "
        r"\d+\.\d GiB, 0 s left$",
        last[0],
    )
    found = metadata(result)
    assert found["final_loss"] < found["first_loss"]
    assert found["peak_memory_gib"] > 0.05
    assert found["curves"].startswith("![Training curves](http")
    assert found["tensorboard"] == f"{found['path']}/tensorboard"
    checkpoint = tmp_path / "lake" / found["path"]
    assert len(event_files(checkpoint)) == 1, "each rank wrote"
    assert [step for step, _ in told_losses(checkpoint)] == list(range(1, n_steps + 1))
    tags = json.loads((checkpoint / "sft.json").read_text(encoding="utf-8"))["tags"]
    assert tags.pop("git_commit")
    assert tags == {
        "profile": "mine", "stage": "low_temperature", "checkpoint_key": checkpoint.name
    }  # fmt: skip


def test_two_machines_train_and_report_as_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh").mkdir()
    with other_machine(tmp_path / "ssh") as path:
        monkeypatch.setenv("PATH", path["PATH"])
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        over = TrainingLauncher(threads=1, hosts={"127.0.0.1": 1, OTHER: 1})
        result, told = materialize(tmp_path, SETTINGS, over)
        assert result.success, told[-5:]
        n_steps = metadata(result)["steps"]
        last = f"progress: step {n_steps}/{n_steps}"
        assert len([line for line in told if line.startswith(last)]) == 1
    two = Lake(root=str(tmp_path / "lake")).current_checkpoint("low_temperature")
    config = SftConfig.model_validate_json((two / "sft.json").read_text(encoding="utf-8"))
    alone = {"processes": 1, "hosts": {}, "output_dir": str(tmp_path / "one")}
    train(config.model_copy(update=alone), lambda line: None)
    for name, tolerance in (("loss", 1e-3), ("grad_norm", 1e-2), ("learning_rate", 1e-9)):
        assert log(two, name) == pytest.approx(log(tmp_path / "one", name), abs=tolerance)


def test_a_failure_has_the_cause_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    alone = SETTINGS.model_copy(update={"processes": 1})
    result, told = materialize(tmp_path, alone, TrainingLauncher(gpus=1000))
    assert not result.success
    assert "TrainingError: compute.training.gpus is 1000 and processes 1" in cause(result)
    assert not [line for line in told if line.startswith("progress: step")]


def test_a_kill_leaves_what_the_program_was_started_with_beside_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing removes what lies in the temporary folder; the next run of the same removes this."""
    left: list[Path] = []

    def killed(client: Any, *, command: list[str], **_: Any) -> None:
        left.append(Path(command[-1]))
        settings = json.loads(left[-1].read_text(encoding="utf-8"))
        assert left[-1] == settings_file(Path(settings["output_dir"]))
        raise RuntimeError("stands for a kill")

    monkeypatch.setattr(dg.PipesSubprocessClient, "run", killed)
    for _ in range(2):
        materialize(tmp_path, SETTINGS, TrainingLauncher())
    first, second = left
    assert first.parent == tmp_path / "lake" / "checkpoints" / "low_temperature"
    assert second == first
    assert not first.exists()


def test_more_gpus_than_the_machine_has_are_refused_before_a_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    result, told = materialize(tmp_path, SETTINGS, TrainingLauncher(gpus=2))
    failure = result.failure_data_for_node("checkpoint")
    assert failure and failure.error and failure.error.cause
    assert "training asks for 2 GPU(s), this machine has 1" in failure.error.cause.message
    assert not [line for line in told if line.startswith("progress: step")]


@pytest.mark.parametrize(
    ("processes", "zero_stage", "gpus", "torchrun"),
    [(1, 0, 0, False), (2, 0, 0, True), (1, 3, 0, True), (1, 0, 1, True)],
)
def test_several_processes_deepspeed_or_gpus_are_started_by_torchrun(
    processes: int, zero_stage: int, gpus: int, torchrun: bool
) -> None:
    command = launcher(processes, zero_stage, gpus)
    assert ("torch.distributed.run" in command) is torchrun
    assert command[-2:] == ["-m", "training.sft"]
