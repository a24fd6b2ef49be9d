"""Training runs in children that can be killed at any moment.

    python -m support.training_children

Each line on stdin, a limit on the size of a file in bytes or 0 and the file of a configuration,
forks a child from this process, which has all imports done. The child's pid is printed, and when it
ends, its exit code; what it reports, and the error that ended it, go to the file CONFIG.out.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

from training.sft import SftConfig, train


def run(config_file: Path, max_file_bytes: int) -> int:
    """Train; returns the exit code."""
    torch.set_num_threads(1)
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    config = SftConfig.model_validate_json(config_file.read_text(encoding="utf-8"))
    with Path(f"{config_file}.out").open("a", buffering=1, encoding="utf-8") as out:
        try:
            train(config, lambda line: print(line, file=out))
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=out)
            return 1
    return 0


def serve() -> None:
    """One child per line on stdin."""
    for line in sys.stdin:
        max_file_bytes, config_file = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if not child:
            os.dup2(2, 1)  # DeepSpeed says things on stdout when it is imported
            os._exit(run(Path(config_file), int(max_file_bytes)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
