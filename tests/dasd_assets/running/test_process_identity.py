"""No process is taken for another, whatever machine, container or time it is of."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from dasd_assets.running import process_identity
from dasd_assets.running.process_identity import (
    NO_CONTAINER,
    Presence,
    ProcessIdentity,
    identity_from,
    this_process,
)

MACHINE = replace(this_process(), host="gpu-1", machine_id="a0", pid_namespace=NO_CONTAINER)
"""This process, on a machine that has a name and is no container."""


def seen_from(
    monkeypatch: pytest.MonkeyPatch, here: ProcessIdentity, noted: ProcessIdentity
) -> Presence:
    """What a process of another identity knows of the one that was noted."""
    monkeypatch.setattr(process_identity, "this_process", lambda: here)
    return noted.presence()


def test_what_was_noted_is_read_again() -> None:
    assert identity_from(this_process().as_texts()) == this_process()
    assert identity_from({"pid": "1"}) is None


def test_a_process_is_there_until_it_has_ended() -> None:
    program = (
        "from dasd_assets.running.process_identity import this_process as t; print(t().as_texts())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program}; input()"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    noted = identity_from(eval(process.stdout.readline()))
    assert noted and noted.pid == process.pid
    assert noted.presence() == Presence.RUNNING
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert noted.presence() == Presence.GONE  # though nobody has asked yet how it ended
    process.wait()
    assert noted.presence() == Presence.GONE


def test_a_number_that_another_process_got_is_not_the_noted_ones() -> None:
    earlier = replace(this_process(), start_ticks=this_process().start_ticks - 1)
    assert earlier.presence() == Presence.GONE


@pytest.mark.parametrize(
    ("here", "presence"),
    [
        (MACHINE, Presence.RUNNING),
        (replace(MACHINE, host="gpu-2"), Presence.UNKNOWN),
        (replace(MACHINE, host="gpu-2", boot_id="other", machine_id="b1"), Presence.UNKNOWN),
        (replace(MACHINE, pid_namespace="pid:[4026532001]"), Presence.UNKNOWN),
        # The machine has been started again; what ran on it before is gone.
        (replace(MACHINE, boot_id="other"), Presence.GONE),
        # Another machine of the same name.
        (replace(MACHINE, boot_id="other", machine_id="b1"), Presence.UNKNOWN),
        # A container of the same image and name on another machine.
        (replace(MACHINE, boot_id="other", pid_namespace="pid:[4026532001]"), Presence.UNKNOWN),
    ],
)
def test_elsewhere_is_unknown_unless_the_machine_has_certainly_been_started_again(
    monkeypatch: pytest.MonkeyPatch, here: ProcessIdentity, presence: Presence
) -> None:
    assert seen_from(monkeypatch, here, MACHINE) == presence


def test_a_container_or_a_machine_without_an_id_is_never_known_to_have_been_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for unsure in (
        replace(MACHINE, machine_id=""),
        replace(MACHINE, pid_namespace="pid:[4026532001]"),
    ):
        again = replace(unsure, boot_id="other")
        assert seen_from(monkeypatch, again, unsure) == Presence.UNKNOWN


def test_a_process_that_proc_hides_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_process()

    def hidden(pid: int) -> tuple[str, int]:
        raise FileNotFoundError

    monkeypatch.setattr(process_identity, "this_process", lambda: here)
    monkeypatch.setattr(process_identity, "_state_and_start", hidden)
    assert here.presence() == Presence.UNKNOWN
