"""The run of the first tiny world, as it was found: a teacher whose high temperature brings errors.

Right answers, lengths and losses are those of docs/results.md and of the demo of that time, whose
accuracies were 59.4 → 50.8 → 48.7 %.
"""

from __future__ import annotations

from dasd_assets.reporting.loss_course import LossCourse
from dasd_assets.reporting.metrics import OVERALL, Estimate, PairedDifference
from dasd_assets.reporting.run_facts import RunFacts, Share, StageFacts, TemperatureFacts

N_QUESTIONS = 192


def gain(before: str, after: str, points: tuple[float, float, float], p: float) -> PairedDifference:
    """A paired difference in percentage points: value, lower and upper end."""
    value, low, high = (each / 100 for each in points)
    estimate = Estimate(value, low, high, 0.95)
    return PairedDifference(before, after, OVERALL, N_QUESTIONS, 0, estimate, p)


OLD_WORLD = RunFacts(
    temperatures={
        "low": TemperatureFacts(
            0.6,
            answered={
                "math": Share(452, 474), "science": Share(457, 511),
                "instruction_following": Share(506, 511),
            },
            chosen={
                "math": Share(135, 141), "science": Share(148, 153),
                "instruction_following": Share(151, 153),
            },
            at_random=Share(506, 529), p_teacher=0.937, p_student=0.873,
        ),
        "high": TemperatureFacts(
            1.0,
            answered={
                "math": Share(360, 474), "science": Share(380, 490),
                "instruction_following": Share(425, 508),
            },
            chosen={
                "math": Share(158, 216), "science": Share(168, 223),
                "instruction_following": Share(188, 232),
            },
            at_random=Share(627, 765), p_teacher=0.912, p_student=0.809,
        ),
    },
    stages=(
        StageFacts(
            "low_temperature", "base", "low", (0.323, 0.594),
            gain("base", "low_temperature", (27.1, 22.6, 31.5), 0.0005),
            mean_tokens=(80, 117), truncated=(0.003, 0.017),
            loss=LossCourse(0.118, 0.082, 0.079, 0.005),
        ),
        StageFacts(
            "high_temperature", "low_temperature", "high", (0.594, 0.508),
            gain("low_temperature", "high_temperature", (-8.6, -12.7, -4.5), 0.0005),
            mean_tokens=(117, 130), truncated=(0.017, 0.031),
            loss=LossCourse(0.162, 0.131, 0.117, 0.008),
        ),
        StageFacts(
            "dasd", "high_temperature", None, (0.508, 0.487),
            gain("high_temperature", "dasd", (-2.1, -5.2, 0.9), 0.18),
            mean_tokens=(130, 135), truncated=(0.031, 0.038),
            loss=LossCourse(0.137, 0.138, 0.145, 0.031),
        ),
    ),
    with_own_prefix=Share(106, 306),
)  # fmt: skip
