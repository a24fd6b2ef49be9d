"""Peak memory of a step is its own, whatever the process that it was forked from holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dasd_assets.declaring import own_memory
from dasd_assets.declaring.own_memory import peak_own_bytes

PROGRAM = """
import os, resource
from dasd_assets.declaring.own_memory import peak_own_bytes

def told():
    fork_counts = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(peak_own_bytes() >> 20, fork_counts >> 20, flush=True)

parents = bytearray(300 << 20)
if os.fork() == 0:
    told()
    freed = bytearray(60 << 20)
    del freed
    told()
    for page in range(0, 40 << 20, 4096):
        parents[page] = 1
    told()
    os._exit(0)
os.wait()
"""
"""A step of a fat parent: holds nothing, then 60 MiB for a moment, then writes to 40 of its."""


def test_a_forked_process_has_what_it_wrote_and_not_what_its_parent_holds() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split() for line in result.stdout.splitlines()]
    own, as_linux_counts = (list(map(int, column)) for column in zip(*rows, strict=True))
    assert as_linux_counts[0] > 300
    assert own[0] < 10
    assert 60 <= own[1] < 75
    assert 100 <= own[2] < 125


def test_nothing_is_told_where_the_kernel_does_not_tell_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(own_memory, "PAGES", tmp_path / "not-there")
    assert peak_own_bytes() is None
