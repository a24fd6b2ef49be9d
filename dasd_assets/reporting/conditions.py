"""The conditions of the diagnosis: each gives the numbers of every case in which it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from dasd_assets.reporting.loss_course import LossCourse
from dasd_assets.reporting.run_facts import NONE, RunFacts, Share, StageFacts
from dasd_assets.reporting.stage_table import SIGNIFICANT

LEAST_JUDGED: Final = 20
"""Fewer judged answers say nothing."""
LEAST_RIGHT: Final = 0.9
"""Share of right training answers below which a domain is named."""
LARGEST_GAP: Final = 0.05
"""By how much a higher temperature may have fewer right answers than the next lower one."""
FAR: Final = 2.0
"""p_teacher / p_student of the sample's tokens from which it is far from the student."""
GROWN: Final = 1.2
"""Length of the answers over that of the checkpoint before."""
CUT_OFF: Final = 0.01
"""By how much the share of answers that hit their cap may rise."""
LOOPING: Final = 0.01
"""Share of answers that end in a loop."""
ERRORS: Final = 3.0
"""Standard errors beyond which a loss rises or falls by more than chance."""
STILL_FALLS: Final = 0.03
"""Part of the loss by which a training that has come to its end may still fall in a fifth."""
LEAST_POINTS: Final = 3.0
"""Percentage points that a comparison of two checkpoints should be able to tell from 0."""

SETTINGS: Final = {"dasd": "mixed_policy_distillation.training"}
"""Checkpoint -> section of its training; the others have `temperature_scheduled_learning`."""

Cases = Iterator[Mapping[str, Any]]


def stage_lost(facts: RunFacts) -> Cases:
    """A checkpoint is worse than the one before it, by the paired test."""
    for stage in facts.stages:
        if _lost(stage):
            yield _gain(stage)


def wrong_training_answers(facts: RunFacts) -> Cases:
    """Of the training answers of a domain that a grader could judge, too many are wrong."""
    for name, answers in facts.temperatures.items():
        judged = _judged(answers.chosen)
        if wrong := [domain for domain, share in judged.items() if share.value < LEAST_RIGHT]:
            together = sum(judged.values(), start=NONE)
            yield {
                "name": name,
                "sampled_at": answers.sampled_at,
                "right": together.value,
                "wrong": 1 - together.value,
                "judged": together.of,
                "by_domain": ", ".join(
                    f"{domain} {share.value:.0%}" for domain, share in judged.items()
                ),
                "domains": _domains(facts, wrong),
            }


def temperature_brings_errors(facts: RunFacts) -> Cases:
    """A higher temperature has fewer right answers in the domains that both were judged in."""
    by_heat = sorted(facts.temperatures.items(), key=lambda item: item[1].sampled_at)
    for (other, cooler), (name, hotter) in pairwise(by_heat):
        low, high = _judged(cooler.answered), _judged(hotter.answered)
        both = [domain for domain in low if domain in high]
        if not both:
            continue
        of_low, of_high = (sum((one[d] for d in both), start=NONE).value for one in (low, high))
        if of_low - of_high > LARGEST_GAP:
            lost = [d for d in both if low[d].value - high[d].value > LARGEST_GAP]
            yield {
                "name": name, "sampled_at": hotter.sampled_at, "high": of_high,
                "other": other, "other_sampled_at": cooler.sampled_at, "low": of_low,
                "domains": _domains(facts, lost),
            }  # fmt: skip


def selection_prefers_errors(facts: RunFacts) -> Cases:
    """The sample has fewer right answers than a random one, by more than chance."""
    for name, answers in facts.temperatures.items():
        judged = _judged(answers.chosen)
        chosen, at_random = sum(judged.values(), start=NONE), answers.at_random
        if min(chosen.of, at_random.of) < LEAST_JUDGED:
            continue
        together = (chosen + at_random).value
        spread = math.sqrt(together * (1 - together) * (1 / chosen.of + 1 / at_random.of))
        if spread and (at_random.value - chosen.value) / spread > 2:
            yield {
                "name": name, "chosen": chosen.value, "n_chosen": chosen.of,
                "at_random": at_random.value, "n_at_random": at_random.of,
                "domains": _domains(facts, judged),
            }  # fmt: skip


def sample_far_from_student(facts: RunFacts) -> Cases:
    """The base student would hardly write what it is to learn."""
    for name, answers in facts.temperatures.items():
        p_teacher, p_student = answers.p_teacher, answers.p_student
        if p_teacher and p_student and p_teacher / p_student >= FAR:
            yield {
                "name": name, "p_teacher": p_teacher, "p_student": p_student,
                "factor": p_teacher / p_student,
            }  # fmt: skip


def mixed_policy_lost(facts: RunFacts) -> Cases:
    """The stage on mixed-policy answers lost, with loss on the student's own beginnings."""
    for stage in facts.stages:
        if stage.learnt_from is None and _lost(stage) and facts.with_own_prefix.n:
            yield {"checkpoint": stage.checkpoint, "share": facts.with_own_prefix.value}


def answers_grew(facts: RunFacts) -> Cases:
    """Answers are longer than before, without being right more often."""
    for stage in facts.stages:
        before, now = stage.mean_tokens
        gained = stage.gain.difference.value > 0 and stage.gain.p_value < SIGNIFICANT
        if before and now / before >= GROWN and not gained:
            yield {**_names(stage), "growth": now / before, "tokens": stage.mean_tokens}


def more_cut_off(facts: RunFacts) -> Cases:
    """More answers hit their cap than before."""
    for stage in facts.stages:
        before, now = stage.truncated
        if now - before > CUT_OFF:
            yield {**_names(stage), "truncated": stage.truncated}


def loops_taken_over(facts: RunFacts) -> Cases:
    """More answers end in a loop than before, and not just a few."""
    for stage in facts.stages:
        before, now = stage.looping
        if now.value > max(LOOPING, before.value):
            yield {
                **_names(stage), "share": now.value, "n": now.n, "of": now.of,
                "share_before": before.value,
            }  # fmt: skip


def loss_still_falls(facts: RunFacts) -> Cases:
    """The loss went on falling in the last fifth, by more than chance."""
    for stage, loss in _losses(facts):
        falls = -loss.rise(loss.before_last)
        if falls > ERRORS and loss.last < (1 - STILL_FALLS) * loss.before_last:
            yield {
                **_names(stage), "last": loss.last, "before_last": loss.before_last,
                "errors": falls, "setting": _setting(stage),
            }  # fmt: skip


def loss_rose(facts: RunFacts) -> Cases:
    """The loss is higher at the end than it was at the start, by more than chance."""
    for stage, loss in _losses(facts):
        rise = loss.rise(loss.first)
        if rise > ERRORS:
            yield {
                **_names(stage), "last": loss.last, "first": loss.first, "errors": rise,
                "setting": _setting(stage),
            }  # fmt: skip


def trained_on_evaluation_set(facts: RunFacts) -> Cases:
    """Questions of an evaluation set are in the training sets."""
    for benchmark, n in facts.trained_on.items():
        if n:
            yield {"benchmark": benchmark, "n": n, "shared_words": facts.shared_words}


def evaluation_set_was_delivered(facts: RunFacts) -> Cases:
    """Questions of an evaluation set were among those delivered."""
    for benchmark, share in facts.delivered.items():
        if share.n:
            yield {
                "benchmark": benchmark, "n": share.n, "of": share.of,
                "shared_words": facts.shared_words,
            }  # fmt: skip


def too_few_questions(facts: RunFacts) -> Cases:
    """The paired test tells no difference, and could have told none of a size that matters."""
    for stage in facts.stages:
        found = stage.gain.difference
        width = 100 * (found.high - found.low) / 2
        if stage.gain.p_value >= SIGNIFICANT and width > LEAST_POINTS:
            needed = stage.gain.n_questions * (width / LEAST_POINTS) ** 2
            yield {**_gain(stage), "least": LEAST_POINTS, "needed": math.ceil(needed / 10) * 10}


def _lost(stage: StageFacts) -> bool:
    return stage.gain.difference.value < 0 and stage.gain.p_value < SIGNIFICANT


def _judged(shares: Mapping[str, Share]) -> dict[str, Share]:
    return {domain: share for domain, share in shares.items() if share.of >= LEAST_JUDGED}


def _domains(facts: RunFacts, more: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys([*facts.verified, *more]))


def _names(stage: StageFacts) -> dict[str, Any]:
    return {"checkpoint": stage.checkpoint, "before": stage.before}


def _gain(stage: StageFacts) -> dict[str, Any]:
    found = stage.gain.difference
    return {
        **_names(stage), "accuracy": stage.accuracy, "points": 100 * found.value,
        "low": 100 * found.low, "high": 100 * found.high, "n_questions": stage.gain.n_questions,
        "p": "p < 0.001" if stage.gain.p_value < 0.001 else f"p {stage.gain.p_value:.3f}",
    }  # fmt: skip


def _losses(facts: RunFacts) -> Iterator[tuple[StageFacts, LossCourse]]:
    return ((stage, stage.loss) for stage in facts.stages if stage.loss is not None)


def _setting(stage: StageFacts) -> str:
    return SETTINGS.get(stage.checkpoint, "temperature_scheduled_learning")
