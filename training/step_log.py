"""The training log: one line per step, reported while training runs, and lost losses noticed."""

from __future__ import annotations

import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from training.errors import TrainingError
from training.progress import Report

SECONDS_BETWEEN_REPORTS = 2.0


class StepLog(TrainerCallback):
    """Writes one line per step, reports every few seconds, stops when the loss is lost."""

    def __init__(self, report: Report | None, log: Path | None, tokens_per_epoch: int) -> None:
        """
        Args:
            report: where progress goes; None on ranks that do not report.
            log: file of the log, which may have the lines of a run that was interrupted.
            tokens_per_epoch: tokens of all samples, on all ranks together.
        """
        self._report = report
        self._log = log
        self._tokens_per_epoch = tokens_per_epoch
        self._earlier_seconds = _last_seconds(log)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._started = self._reported = time.monotonic()
        self._first_step = state.global_step
        self._first_epoch = float(state.epoch or 0.0)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        seconds = time.monotonic() - self._started
        n_tokens = self._tokens_per_epoch * (float(state.epoch) - self._first_epoch)
        row = {
            "step": state.global_step,
            "epoch": round(float(state.epoch), 4),
            "loss": float(logs["loss"]),
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": float(logs["grad_norm"]),
            "seconds": round(self._earlier_seconds + seconds, 3),
            "tokens_per_second": round(n_tokens / max(seconds, 1e-9)),
            "memory_gib": round(_peak_bytes() / 1024**3, 3),
        }
        _check_finite(row)
        if self._log:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        now = time.monotonic()
        is_last = state.global_step == state.max_steps
        if self._report and (is_last or now - self._reported > SECONDS_BETWEEN_REPORTS):
            self._reported = now
            done = state.global_step - self._first_step
            left = seconds * (state.max_steps - state.global_step) / max(done, 1)
            self._report(
                f"progress: step {state.global_step}/{state.max_steps}, loss {row['loss']:.3f}, "
                f"learning rate {row['learning_rate']:.1e}, grad norm {row['grad_norm']:.2f}, "
                f"{row['tokens_per_second']:,} tokens/s, {row['memory_gib']:.1f} GiB, "
                f"{left:.0f} s left"
            )


def _check_finite(row: dict[str, Any]) -> None:
    for name in ("loss", "grad_norm"):
        if not math.isfinite(row[name]):
            raise TrainingError(
                f"the {name.replace('_', ' ')} is {row[name]} at step {row['step']}: learning rate "
                "too high, or the starting checkpoint is broken. Restart points are from before."
            )


def _peak_bytes() -> int:
    """Most memory that this rank has used so far: of its GPU, or of its process where none is."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _last_seconds(log: Path | None) -> float:
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.is_file() else []
    return float(json.loads(lines[-1])["seconds"]) if lines else 0.0
