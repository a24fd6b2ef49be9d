"""A Python that has imported nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys


def printed(program: str, *arguments: str) -> str:
    """What a program prints in it; it must succeed."""
    result = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
