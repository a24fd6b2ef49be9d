"""The experiment as tables: samples, arms that are trained on them, and what is compared.

A new arm is a line in `ARMS`; a line in `COMPARISONS` has it compared. Every arm is trained and
evaluated once for each seed, and only what is not there yet is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

BASE: Final = "base"
"""The base student: evaluated, never trained."""

ABLATION_SEED: Final = "ablation_seed"
"""Dimension of what lies in the ablation's own lake."""

MIXED_POLICY, OFF_POLICY = "mixed_policy", "off_policy"
"""Samples that are made with a trained student: see `mixed.py`."""


EVALUATED_AT: Final = (0.6, 1.0)
"""Temperatures at which every arm answers: what is sharper answers better at the first alone."""


@dataclass(frozen=True)
class Draw:
    """A sample of the teacher's filtered answers, drawn before anything is trained.

    Attributes:
        temperature: partition that it is drawn from.
        by: what ranks the answers: the count of Teacher Sentences (the method), their share, the
            length, or nothing (the random control beside the selection by count).
        tokens_of: the budget is the tokens of these samples together; empty: the profile's.
    """

    temperature: str
    by: Literal["count", "share", "longest", "random"] = "count"
    tokens_of: tuple[str, ...] = ()


DRAWS: Final = {
    "low": Draw("low"),
    "low_share": Draw("low", "share", ("low",)),
    "low_longest": Draw("low", "longest", ("low",)),
    "low_random": Draw("low", "random"),
    "high": Draw("high"),
    "high_share": Draw("high", "share", ("high",)),
    "high_longest": Draw("high", "longest", ("high",)),
    "high_random": Draw("high", "random"),
    "high_as_low": Draw("high", tokens_of=("low",)),
    "double_high": Draw("high", tokens_of=("low", "high")),
}
"""Samples by name; one stands below those whose tokens are its budget."""


@dataclass(frozen=True)
class Arm:
    """One way to train the student.

    Attributes:
        name: also the name of its folder.
        label: how it is called on the page.
        sample: what it is trained on: a name of `DRAWS`, MIXED_POLICY or OFF_POLICY.
        starts_from: the arm whose checkpoint is trained further, which stands above this one.
        settings: section of the profile that says how.
        mask_student_prefix: no loss on what the student wrote itself.
    """

    name: str
    label: str
    sample: str
    starts_from: str = BASE
    settings: Literal["temperature_scheduled_learning", "mixed_policy_distillation"] = (
        "temperature_scheduled_learning"
    )
    mask_student_prefix: bool = False


ARMS: Final = (
    Arm("low", "low, by count", "low"),
    Arm("low_share", "low, by share", "low_share"),
    Arm("low_longest", "low, longest", "low_longest"),
    Arm("low_random", "low, at random", "low_random"),
    Arm("high", "high, by count", "high"),
    Arm("high_share", "high, by share", "high_share"),
    Arm("high_longest", "high, longest", "high_longest"),
    Arm("high_random", "high, at random", "high_random"),
    Arm("high_as_low", "high, as many tokens as low", "high_as_low"),
    Arm("double_high", "double high", "double_high"),
    Arm("low_to_high", "low → high", "high", starts_from="low"),
    Arm("high_to_low", "high → low", "low", starts_from="high"),
    Arm(
        "mixed_policy", "low → high → mixed", MIXED_POLICY,
        "low_to_high", "mixed_policy_distillation",
    ),
    Arm(
        "mixed_policy_masked", "low → high → mixed, masked", MIXED_POLICY,
        "low_to_high", "mixed_policy_distillation", mask_student_prefix=True,
    ),
    Arm(
        "off_policy", "low → high → off-policy only", OFF_POLICY,
        "low_to_high", "mixed_policy_distillation",
    ),
)  # fmt: skip

ROLLOUT_STUDENT: Final = "low_to_high"
"""The arm that mixed-policy answers start from."""

STAGES: Final = (BASE, "low", "low_to_high", "mixed_policy")
"""Rows of the stage table: the pipeline as the paper has it."""


@dataclass(frozen=True)
class Comparison:
    """Two arms, and the claim that `better` is right more often than `worse`."""

    better: str
    worse: str
    claim: str


CLAIMS: Final = (
    Comparison("low", "low_random", "selection by count beats chance (T low)"),
    Comparison("high", "high_random", "selection by count beats chance (T high)"),
    Comparison("low", "low_longest", "selection by count beats the longest answers (T low)"),
    Comparison("high", "high_longest", "selection by count beats the longest answers (T high)"),
    Comparison(
        "high_as_low", "low", "high-temperature answers teach more than as many tokens of low ones"
    ),
    Comparison("double_high", "high", "more high-temperature answers teach more"),
    Comparison("low_to_high", "low", "the second stage adds to the first"),
    Comparison(
        "low_to_high", "double_high",
        "low first, then high, beats as many tokens of high alone",
    ),
    Comparison(
        "mixed_policy", "low_to_high", "mixed-policy distillation adds to stage 2"
    ),
    Comparison(
        "mixed_policy", "off_policy",
        "it is the mixed-policy answers that add, not the further steps",
    ),
    Comparison(
        "mixed_policy", "mixed_policy_masked",
        "loss on the student's prefix too is better than masking it",
    ),
)  # fmt: skip
"""What the paper says."""

LOOKED_INTO: Final = (
    Comparison("low_share", "low_random", "selection by share beats chance (T low)"),
    Comparison("high_share", "high_random", "selection by share beats chance (T high)"),
    Comparison("high_to_low", "low_to_high", "the other order is better"),
    Comparison("high_to_low", "low", "a first stage on high-temperature answers helps the second"),
)  # fmt: skip
"""What the paper does not say, and may explain what does not show."""
