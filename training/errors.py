"""What stops a training run."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message is the cause."""
