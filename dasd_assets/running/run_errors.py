"""What went wrong in a run, in the words of what went wrong and not in Dagster's."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import dagster as dg

SAYING_WHY = {
    dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}  # fmt: skip
STEP_KILLED = "ChildProcessCrashException"
"""Dagster's error for a step whose process ended without a word; an event before it says how."""
SIGNAL = re.compile(r"terminated by signal (\d+)")
"""What that event says."""
CHECK_FACTS = ("observed", "allowed", "failing_examples", "details")
"""Metadata of a check that says why it failed."""
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # fmt: skip
"""Of the kernel's second and first version of control groups."""


def errors_of(instance: dg.DagsterInstance, run_id: str) -> tuple[str, ...]:
    """What went wrong in a run that has ended; nothing if it succeeded."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.is_success:
        return ()
    entries = instance.all_logs(run_id, of_type=SAYING_WHY)
    events = [event for entry in entries if (event := entry.dagster_event) is not None]
    failures = [event for event in events if event.is_failure]
    around = [event for event in events if event.is_engine_event and event.engine_event_data.error]
    # The run's own failure says again what its steps, or what went wrong around them, have said.
    told = [event for event in failures if event.step_key] or around or failures
    known = {event.step_key: [_how_killed(event)] for event in around if _is_kill(event)}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION and (
            reason := _why_blocked(event.asset_check_evaluation_data)
        ):
            known.setdefault(event.step_key, []).append(reason)
    causes = [cause for event in told for cause in known.get(event.step_key) or [cause_of(event)]]
    return tuple(dict.fromkeys(causes)) or ("failed",)


def _why_blocked(check: dg.AssetCheckEvaluation) -> str | None:
    """What a check saw that stops all below; None if it does not. Dagster's error only names it."""
    if check.passed or not check.blocking or check.severity != dg.AssetCheckSeverity.ERROR:
        return None
    found = {name: check.metadata[name].value for name in CHECK_FACTS if name in check.metadata}
    facts = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in found.items())
    why = f"{check.description}; {facts}" if check.description else facts
    return (
        f"{check.asset_key.to_user_string()}: check {check.check_name} failed, which stops all "
        f"below it: {why}"
    )


def _is_kill(event: dg.DagsterEvent) -> bool:
    error = event.engine_event_data.error
    return event.step_key is not None and error is not None and error.cls_name == STEP_KILLED


def _how_killed(event: dg.DagsterEvent) -> str:
    message = event.message or ""
    found = SIGNAL.search(message)
    how = f"its process {killed_by(int(found[1]))}" if found else message
    return f"{event.step_key}: {how}"


def killed_by(number: int) -> str:
    """How a process ended that a signal killed."""
    how = f"was killed by signal {number}"
    if number == signal.SIGKILL:
        how += (
            f", probably out of memory; it had {memory_bytes() / 1024**3:.1f} GiB, all that this "
            "machine or container has, with whatever ran beside it (the kernel then says so in "
            "`dmesg`)"
        )
    return how


def memory_bytes() -> int:
    """Main memory of this machine, or what its container may use of it if that is less."""
    import psutil

    found = [int(psutil.virtual_memory().total)]
    for file in CONTAINER_LIMITS:
        if file.is_file() and (limit := file.read_text(encoding="ascii").strip()).isdigit():
            found.append(int(limit))  # "max" is no limit
    return min(found)


def cause_of(event: dg.DagsterEvent) -> str:
    """What went wrong in one failure event: the first error inside Dagster's own wrapping.

    Errors of this project say what to do; the library's error that one was raised from does not.
    """
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None and _is_dagsters(error):
        error = error.cause
    step = f"{event.step_key}: " if event.step_key else ""
    return step + (error.message.strip() if error else event.message or "failed")


def _is_dagsters(error: Any) -> bool:
    return (error.cls_name or "").startswith("Dagster")
