"""A Python that has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys


def printed(program: str) -> str:
    """What a program prints in it."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()
