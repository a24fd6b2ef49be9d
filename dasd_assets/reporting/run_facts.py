"""What is measured of a run, as plain numbers: all that the diagnosis knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dasd_assets.reporting.loss_course import LossCourse
from dasd_assets.reporting.metrics import PairedDifference


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    n: int
    of: int

    @property
    def value(self) -> float:
        """As a fraction; of nothing it is 0."""
        return self.n / self.of if self.of else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.n + other.n, self.of + other.of)


NONE = Share(0, 0)


@dataclass(frozen=True)
class TemperatureFacts:
    """The teacher's answers at one temperature, and the sample that was drawn from them.

    Shares are right answers of those that a grader judged.

    Attributes:
        sampled_at: the temperature itself.
        answered: domain -> of all answers that passed the filters.
        chosen: domain -> of the sample.
        at_random: of the random control of as many tokens.
        p_teacher, p_student: geometric mean, over the sample, of the probability of its answers'
            tokens; None where nobody knows them.
    """

    sampled_at: float
    answered: Mapping[str, Share] = field(default_factory=dict)
    chosen: Mapping[str, Share] = field(default_factory=dict)
    at_random: Share = NONE
    p_teacher: float | None = None
    p_student: float | None = None


@dataclass(frozen=True)
class StageFacts:
    """A checkpoint's answers to the evaluation sets, beside those of the checkpoint before it.

    Attributes:
        learnt_from: temperature partition of the sample it was trained on; None of a mixed one.
        accuracy: avg@k over all sets, 0 to 1.
        gain: over the checkpoint before, paired by question.
        mean_tokens: of an answer, by checkpoint: before, then this one.
        truncated: share of answers that hit their cap, likewise.
        looping: answers that hit their cap and repeat themselves, of all, likewise.
        loss: the course of its training.
    """

    checkpoint: str
    before: str
    learnt_from: str | None
    accuracy: tuple[float, float]
    gain: PairedDifference
    mean_tokens: tuple[float, float]
    truncated: tuple[float, float]
    looping: tuple[Share, Share] = (NONE, NONE)
    loss: LossCourse | None = None


@dataclass(frozen=True)
class RunFacts:
    """A whole run.

    Attributes:
        temperatures: temperature partition -> its answers.
        stages: of checkpoints that are evaluated, as is the one before, in their order.
        trained_on: evaluation set -> questions of the training sets that share words with it.
        delivered: evaluation set -> delivered questions that curation rejected for it, of the
            questions that the set has.
        with_own_prefix: rows of the mixed-policy sample that begin with the student's own text and
            have a loss on it, of all its rows.
        shared_words: how many consecutive words are meant.
        verified: domains whose wrong answers are rejected.
    """

    temperatures: Mapping[str, TemperatureFacts]
    stages: tuple[StageFacts, ...]
    trained_on: Mapping[str, int] = field(default_factory=dict)
    delivered: Mapping[str, Share] = field(default_factory=dict)
    with_own_prefix: Share = NONE
    shared_words: int = 13
    verified: tuple[str, ...] = ()
