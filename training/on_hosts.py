"""Training over several machines: the same program on each, started from the first one by ssh.

By hand, on the first of the machines: `python -m training.on_hosts --config sft.json`, where the
JSON's `hosts` says how many processes each machine has. All see project, environment, data and
`output_dir` under the same paths, and ssh gets from the first to the others without a password.
When one machine's part ends, or this program is killed, the others' end too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.checkpoint import note_error
from training.errors import TrainingError

PASSED_ON = (
    "PYTHONPATH", "PYTHONWARNINGS", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "HF_HOME",
    "HF_HUB_OFFLINE",
)  # fmt: skip
"""Environment variables that the other machines' parts get, with all of NCCL's and gloo's. What is
passed on can be read in the machine's list of processes: nothing secret is."""
PASSED_ON_PREFIXES = ("NCCL_", "GLOO_")
SSH = (
    "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4",
)  # fmt: skip
"""Never asks for a password; notices within a minute that a machine is away."""
SSH_FAILED = 255
SECONDS_TO_END = 30.0


def train_on_hosts(config: Path, settings: Mapping[str, Any]) -> None:
    """Run the training program on all machines of a configuration until it is done.

    Args:
        config: JSON with `SftConfig`'s fields, which every machine sees under this path.
        settings: what stands in it.

    Raises:
        TrainingError: a machine's part failed, or ssh cannot reach it; the others were stopped.
    """
    hosts: dict[str, int] = settings["hosts"]
    parts: dict[str, subprocess.Popen[bytes]] = {}
    port = _free_port()
    try:
        for rank, (host, processes) in enumerate(hosts.items()):
            command = part(
                config.resolve(), hosts, rank, port, processes if settings["gpus"] else 0
            )
            started = command if rank == 0 else [*SSH, host, on_other_machine(command, os.environ)]
            parts[host] = subprocess.Popen(started, stdin=subprocess.PIPE)
        running = parts
        while running:
            time.sleep(0.2)
            for host, one in running.items():
                if one.poll():
                    raise TrainingError(_told(host, one.returncode))
            running = {host: one for host, one in running.items() if one.returncode is None}
    finally:
        for one in parts.values():
            assert one.stdin
            one.stdin.close()  # what its part ends on
        for one in parts.values():
            _ended(one)


def part(config: Path, hosts: Mapping[str, int], rank: int, port: int, gpus: int) -> list[str]:
    """The command of one machine's part; the machines meet at a port of the first one."""
    first, *_ = hosts
    return [
        sys.executable, "-m", "training.one_host", "--gpus", str(gpus),
        sys.executable, "-m", "torch.distributed.run",
        "--nnodes", str(len(hosts)), "--node_rank", str(rank),
        "--nproc_per_node", str(list(hosts.values())[rank]),
        "--master_addr", first, "--master_port", str(port),
        "-m", "training.sft", "--config", str(config),
    ]  # fmt: skip


def on_other_machine(command: list[str], environment: Mapping[str, str]) -> str:
    """A command for another machine's shell: in the same folder, with what it needs to know."""
    passed_on = [
        f"{name}={value}"
        for name, value in sorted(environment.items())
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    ]
    return f"cd {shlex.quote(str(Path.cwd()))} && exec " + shlex.join(["env", *passed_on, *command])


def _told(host: str, code: int) -> str:
    if code == SSH_FAILED:
        return (
            f"{host}: ssh ended with {code}. Does `ssh -o BatchMode=yes {host} true` work on the "
            "first of compute.training.hosts, without a password? The other machines were stopped."
        )
    return (
        f"{host}: training ended with {code}, its output says why. The other machines were stopped."
    )


def _ended(one: subprocess.Popen[bytes]) -> None:
    try:
        one.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        one.kill()
        one.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SftConfig's fields")
    config = parser.parse_args().config
    settings = json.loads(config.read_text(encoding="utf-8"))
    try:
        train_on_hosts(config, settings)
    except TrainingError as error:
        note_error(Path(settings["output_dir"]), error)
        raise


if __name__ == "__main__":
    main()
