"""Two launchers that meet over TCP, as on two machines: the losses of one process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.checkpoint import LOG
from training.sft import SftConfig, train

SECONDS_TO_TRAIN = 300


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def log(config: SftConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output_dir) / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_two_launchers_train_as_one_process(
    config: SftConfig, tmp_path: Path, zero_stage: int
) -> None:
    alone = config.model_copy(update={"micro_batch_size": 1, "epochs": 1})
    train(alone, lambda line: None)
    both = alone.model_copy(
        update={
            "output_dir": str(tmp_path / "two"),
            "processes": 2,
            "deepspeed_zero_stage": zero_stage,
        }
    )
    file = tmp_path / "sft.json"
    file.write_text(both.model_dump_json(), encoding="utf-8")
    command = [
        sys.executable, "-W", "ignore", "-m", "torch.distributed.run",
        "--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d",
        "--rdzv_endpoint", f"127.0.0.1:{free_port()}", "--rdzv_id", "dasd",
        "--local_addr", "127.0.0.1", "-m", "training.sft", "--config", str(file),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    nodes = []
    try:
        for number in range(2):
            with (tmp_path / f"node-{number}.log").open("wb") as out:
                nodes.append(
                    subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
                )
        codes = [node.wait(SECONDS_TO_TRAIN) for node in nodes]
    finally:
        for node in nodes:
            node.terminate()
    told = "".join((tmp_path / f"node-{n}.log").read_text(encoding="utf-8") for n in range(2))
    assert codes == [0, 0], told[-4000:]
    one, two = log(alone), log(both)
    assert len(one) == len(two) >= 3
    for name, tolerance in (("loss", 1e-3), ("grad_norm", 1e-2), ("learning_rate", 1e-9)):
        differences = [abs(a[name] - b[name]) for a, b in zip(one, two, strict=True)]
        assert max(differences) < tolerance, (name, differences)
