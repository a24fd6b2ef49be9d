"""Training over a real Ray cluster of two nodes on this machine, with gloo: as one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from support.daemon import until
from support.ray_cluster import add_node, two_nodes
from support.training_rows import sample_files, with_set
from support.training_stage import SETTINGS, cause, log, materialize, metadata

from formats.checkpoint_folder import restart_folder
from resources.compute.training_launcher import TrainingLauncher
from resources.lake.lake import Lake
from training.settings import Restart
from training.sft import SftConfig, train

pytestmark = [pytest.mark.slow, pytest.mark.deployment("ray")]

PATIENCE = 600.0
GANG = {"machines": 2, "cpus": 1.0, "memory_gib": 1.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_nodes(GLOO_SOCKET_IFNAME="lo") as cluster:
        yield cluster


def same_curves(one: Path, two: Path) -> None:
    assert len(log(one, "loss")) == len(log(two, "loss")) >= 3
    for name, tolerance in (("loss", 1e-3), ("grad_norm", 1e-2), ("learning_rate", 1e-9)):
        assert log(two, name) == pytest.approx(log(one, name), abs=tolerance), name


@pytest.mark.xdist_group("ray")
def test_a_gang_trains_and_reports_as_one_process(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{cluster.head_node.webui_url}")
    local = tmp_path / "local"
    gang = TrainingLauncher(gang=GANG, local_folder=str(local))
    result, told = materialize(tmp_path, SETTINGS, gang)
    assert result.success, told[-5:]
    n_steps = metadata(result)["steps"]
    last = f"progress: step {n_steps}/{n_steps}"
    assert len([line for line in told if line.startswith(last)]) == 1
    (copy,) = (path for path in local.iterdir() if path.is_dir())
    assert (copy / "tokens.npy").is_file()
    two = Lake(root=str(tmp_path / "lake")).current_checkpoint("low_temperature")
    config = SftConfig.model_validate_json((two / "sft.json").read_text(encoding="utf-8"))
    alone = {"processes": 1, "local_folder": None, "output_dir": str(tmp_path / "one")}
    train(config.model_copy(update=alone), lambda line: None)
    same_curves(tmp_path / "one", two)
    assert not list(two.parent.glob(f"{two.name}.*")), "something was left beside the checkpoint"


@pytest.mark.xdist_group("ray")
def test_a_gang_that_the_nodes_cannot_hold_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{cluster.head_node.webui_url}")
    four = SETTINGS.model_copy(update={"processes": 4, "micro_batch_size": 1})
    result, told = materialize(tmp_path, four, TrainingLauncher(gang={**GANG, "cpus": 2.0}))
    assert not result.success
    assert (
        "training asks for 4 process(es), 2 on each of 2 machine(s), of 0 GPU(s), 1 CPU core(s) "
        "and 0.5 GiB each. Missing is room for 2: 0 GPU(s), 2 CPU core(s) and 1.0 GiB. The "
        "cluster's 2 node(s): "
    ) in cause(result)
    assert not [line for line in told if line.startswith("progress: step")]


@pytest.mark.xdist_group("ray")
def test_a_killed_rank_and_a_lost_node_cost_the_steps_since_the_last_restart_point(
    cluster: Cluster, config: SftConfig, tmp_path: Path
) -> None:
    one = config.model_copy(update={"micro_batch_size": 1, "epochs": 30})
    one = with_set(one, *sample_files(config), multiple_of=2)
    two = one.model_copy(
        update={
            "output_dir": str(tmp_path / "two"), "processes": 2,
            "restart": Restart(every_steps=4, every_minutes=0),
        }
    )  # fmt: skip
    program = start(cluster, two, tmp_path)
    told = tmp_path / "told"
    try:
        until(lambda: newest(two) >= 4 or program.poll() is not None, seconds=PATIENCE)
        ranks()[-1].kill()
        until(lambda: "Restarting all (1 of 2)" in told.read_text("utf-8"), seconds=PATIENCE)
        before = newest(two)
        until(lambda: newest(two) > before or program.poll() is not None, seconds=PATIENCE)
        cluster.remove_node(sorted(cluster.worker_nodes, key=id)[0], allow_graceful=False)
        until(lambda: "waiting for nodes: " in told.read_text("utf-8"), seconds=PATIENCE)
        add_node(cluster)
        assert program.wait(PATIENCE) == 0, told.read_text("utf-8")[-4000:]
    finally:
        program.kill()
    lines = told.read_text("utf-8")
    assert "Missing is room for 1: 0 GPU(s), 1 CPU core(s)" in lines
    assert "Restarting all (2 of 2)" in lines
    assert lines.count("progress: going on from the restart point of step ") == 2
    train(one, lambda line: None)
    same_curves(Path(one.output_dir), Path(two.output_dir))


def start(cluster: Cluster, config: SftConfig, folder: Path) -> subprocess.Popen[bytes]:
    """The program that starts gangs, as by hand on a node."""
    file = folder / "sft.json"
    file.write_text(config.model_dump_json(), encoding="utf-8")
    gang = json.dumps({**GANG, "processes": 2, "restarts": 2, "wait_minutes": PATIENCE / 60})
    environment = {
        **os.environ, "RAY_ADDRESS": cluster.address,
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    }  # fmt: skip
    with (folder / "told").open("wb") as told:
        return subprocess.Popen(
            [
                sys.executable, "-W", "ignore", "-m", "training.on_ray",
                "--config", str(file), "--gang", gang,
            ],
            env=environment, stdout=told, stderr=subprocess.STDOUT,
        )  # fmt: skip


def newest(config: SftConfig) -> int:
    """The step of the newest restart point; 0 before the first."""
    points = restart_folder(Path(config.output_dir)).glob("step-*")
    return max((int(point.name.removeprefix("step-")) for point in points), default=0)


def ranks() -> list[psutil.Process]:
    """Processes of the gang, which are below the nodes that this process started."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in _command(process)
    ]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
