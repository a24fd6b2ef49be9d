"""One machine's part of training over several: holds its GPUs, ends when its standard input does.

Standard input comes from the program that started the part, through ssh on another machine: when
that program or the connection is gone, nothing is left running.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading

from resources.compute.gpu_lease import lease_gpus

SECONDS_TO_END = 10.0


def run(command: list[str], gpus: int) -> int:
    """Run a command with so many GPUs of this machine until it or standard input ends; its code."""
    lease_gpus(gpus, "training", lambda line: print(line, flush=True))
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_input() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        for number in (signal.SIGTERM, signal.SIGKILL):
            if program.poll() is None:
                os.killpg(program.pid, number)
                try:
                    program.wait(SECONDS_TO_END)
                except subprocess.TimeoutExpired:
                    continue

    threading.Thread(target=end_with_input, daemon=True).start()
    return program.wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, required=True, help="GPUs of this machine to hold")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    sys.exit(run(arguments.command, arguments.gpus))


if __name__ == "__main__":
    main()
