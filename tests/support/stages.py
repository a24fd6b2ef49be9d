"""Scores and a training log of two stages, for what is drawn of them."""

from __future__ import annotations

from dasd_assets.reporting.metrics import OVERALL, Estimate, Score
from dasd_assets.reporting.stage_table import StageRow


def score(checkpoint: str, value: float) -> Score:
    estimate = Estimate(value, value - 0.1, value + 0.1, 0.95)
    return Score(checkpoint, "math", 10, 20, 2, estimate, value, 0.0, 50.0)


ROWS = [
    StageRow("base", {"math": score("base", 0.2), OVERALL: None}, {}, {}),
    StageRow("dasd", {"math": score("dasd", 0.8), OVERALL: score("dasd", 0.8)}, {}, {}),
]
LOG = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "train_runtime": 3.0}]
