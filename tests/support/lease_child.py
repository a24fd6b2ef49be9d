"""Holds GPUs until its standard input ends; says on standard output what it waits for and has.

Arguments: how many GPUs; `program` besides, for one that starts a program which holds them too.
`chosen` and their names: those that another scheduler chose.
"""

from __future__ import annotations

import os
import subprocess
import sys

from resources.compute.gpu_lease import hold_gpus, keep_leased_gpus, lease_gpus
from resources.compute.gpus import TooFewGpusError


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Command line."""
    if sys.argv[1] == "kept":
        keep_leased_gpus()
        say(f"kept {os.environ['CUDA_VISIBLE_DEVICES']}")
    elif sys.argv[1] == "chosen":
        hold_gpus(sys.argv[2:], say)
        say(f"holds {' '.join(sys.argv[2:])} of {os.environ['CUDA_VISIBLE_DEVICES']}")
    else:
        try:
            lease_gpus(int(sys.argv[1]), "this step", say)
        except TooFewGpusError as error:
            say(str(error))
            return
        say(f"has {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}")
        if "program" in sys.argv:
            subprocess.run([sys.executable, __file__, "kept"], check=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
