"""The properties that the world is to have (docs/small-world.md), read off sampled answers."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tools.tiny_world.corpus import ANALYSIS
from tools.tiny_world.measuring import Sample, flaw, is_correct, sample, summary
from tools.tiny_world.problems import Problem, Step, slipped, walked
from tools.tiny_world.wording import PHRASES, say

N_ANSWERS: Final = 8
LOW, HIGH = 0.6, 1.0
WORLD_BEFORE: Final = {"loop": 0.0104, "tool_call": 0.0182}
"""Shares of the answers at T = 1 that had the flaw in the world before this one."""

# Least and most that a property may be; None where there is no such limit.
LIMITS: Final[dict[str, tuple[float | None, float | None]]] = {
    "teacher_right_low": (0.90, None),
    "teacher_right_high": (0.90, None),
    "teacher_gap": (-0.03, 0.03),
    "slips_ratio": (2.0, None),
    "mended": (0.85, None),
    "ways_ratio": (1.5, None),
    "likelihood_spread_ratio": (1.5, None),
    "loop": (WORLD_BEFORE["loop"] / 2, WORLD_BEFORE["loop"] * 2),
    "tool_call": (WORLD_BEFORE["tool_call"] / 2, WORLD_BEFORE["tool_call"] * 2),
    "finished_right": (0.85, None),
    "student_kept": (2 / 3, None),
    "student_checks": (None, 0.05),
    "failed_1": (0.15, None),
    "failed_2": (0.15, None),
}


def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Each phrase as a pattern, those with more words of their own first."""
    phrases = [(key, phrase) for key, group in PHRASES.items() for phrase in group]
    phrases.sort(key=lambda one: -len(re.sub(r"{\w+}", "", one[1])))
    parts = {key + phrase: re.split(r"{\w+}", phrase) for key, phrase in phrases}
    return [
        (key, re.compile("(.+)".join(map(re.escape, parts[key + phrase])), re.DOTALL))
        for key, phrase in phrases
    ]


PATTERNS: Final = _patterns()
WAY_KEYS: Final = tuple(
    key
    for key in PHRASES
    if key.startswith(("math_", "code_", "fact_", "items_"))
    and not key.endswith(("plan", "answer"))
)


def sentences(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Key and filled-in texts of each sentence of an answer's reasoning; of others an empty key."""
    reasoning = text.partition("<|end|>")[0].partition("</think>")[0]
    reasoning = reasoning.removeprefix(ANALYSIS).removeprefix("<think>").strip()
    found = []
    for sentence in re.split(r"(?<=\.) ", reasoning):
        matches = ((key, pattern.fullmatch(sentence)) for key, pattern in PATTERNS)
        found.append(next(((k, m.groups()) for k, m in matches if m), ("", ())))
    return found


def way(text: str) -> tuple[str, ...]:
    """The ways of an answer's passes, in order."""
    return tuple(key for key, _ in sentences(text) if key in WAY_KEYS)


def first_result(text: str) -> str | None:
    """What the first pass came to; None where it came to nothing."""
    return next((filled[0] for key, filled in sentences(text) if key == "result"), None)


def has_slip(answer: Sample) -> bool:
    """Whether the first pass does not lead to the right result, whatever the cause."""
    return first_result(answer.text) != walked(answer.problem, 0).result


def _share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")


def _ways_per_question(samples: Sequence[Sample]) -> float:
    ways: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for answer in samples:
        ways[answer.problem.question].add(way(answer.text))
    return sum(map(len, ways.values())) / len(ways)


def _spread(samples: Sequence[Sample]) -> float:
    """Interquartile range of the answers' likelihoods."""
    low, high = np.quantile([answer.likelihood for answer in samples], [0.25, 0.75])
    return float(high - low)


def teacher_properties(
    low: Sequence[Sample], high: Sequence[Sample], finished: Sequence[Sample]
) -> dict[str, float]:
    """Of the teacher, from its answers at both temperatures, N_ANSWERS to each question.

    Args:
        low, high: answers at T = 0.6 and T = 1.
        finished: answers at T = 1 that the teacher went on with after a wrong first pass.
    """
    whole = {n: [a for a in s if flaw(a) is None] for n, s in (("low", low), ("high", high))}
    right = {name: _share(map(is_correct, answers)) for name, answers in whole.items()}
    slips = {name: [a for a in answers if has_slip(a)] for name, answers in whole.items()}
    slip_share = {name: len(slips[name]) / len(whole[name]) for name in whole}
    return {
        "teacher_right_low": right["low"],
        "teacher_right_high": right["high"],
        "teacher_gap": right["low"] - right["high"],
        "teacher_right_low_of_all": _share(map(is_correct, low)),
        "teacher_right_high_of_all": _share(map(is_correct, high)),
        "slips_low": slip_share["low"],
        "slips_high": slip_share["high"],
        "slips_ratio": slip_share["high"] / max(slip_share["low"], 1 / len(whole["low"])),
        "mended": _share(map(is_correct, slips["high"])),
        "ways_ratio": _ways_per_question(high) / _ways_per_question(low),
        "likelihood_spread_ratio": _spread(high) / _spread(low),
        "loop": _share(flaw(a) == "loop" for a in high),
        "tool_call": _share(flaw(a) == "tool_call" for a in high),
        "no_final": _share(flaw(a) == "no_final" for a in high),
        "finished_right": _share(map(is_correct, finished)),
    }


def student_properties(
    low: Sequence[Sample], high: Sequence[Sample], teacher_high: Sequence[Sample]
) -> dict[str, float]:
    """Of the base student, beside the teacher's answers to the same questions at T = 1."""
    right = {"low": _share(map(is_correct, low)), "high": _share(map(is_correct, high))}

    def failed(level: int) -> float:
        teacher, student = (
            _share(is_correct(a) for a in answers if a.problem.difficulty == level)
            for answers in (teacher_high, high)
        )
        return teacher - student

    return {
        "student_right_low": right["low"],
        "student_right_high": right["high"],
        "student_kept": right["high"] / right["low"],
        "student_checks": _share(len(way(a.text)) > 1 for a in high),
        "failed_1": failed(1),
        "failed_2": failed(2),
    }


def wrong_beginnings(problems: Sequence[Problem], seed: int) -> list[tuple[Problem, str]]:
    """Each problem with the teacher's beginning of an answer: a first pass that went wrong.

    Problems whose drawn slip changes nothing are left out.
    """
    rng = random.Random(seed)
    begun = []
    for problem in problems:
        done = slipped(problem, 0, rng)
        if done.result == walked(problem, 0).result:
            continue
        steps = [problem.plan, *done.steps, Step("result", {"result": done.result})]
        begun.append((problem, ANALYSIS + " ".join(say(step, rng, 1.0) for step in steps)))
    return begun


Models = dict[str, tuple[PreTrainedModel, PreTrainedTokenizerFast]]


def measure(models: Models, problems: Sequence[Problem]) -> tuple[dict[str, Any], dict[str, float]]:
    """Summaries by model and temperature, and all properties, rounded to four places."""
    answers = {
        name: {t: sample(*models[name], [*problems] * N_ANSWERS, t, seed=0) for t in (LOW, HIGH)}
        for name in ("teacher", "student")
    }
    begun = wrong_beginnings(problems, seed=0)
    asked, texts = [problem for problem, _ in begun], [text for _, text in begun]
    finished = sample(*models["teacher"], asked, HIGH, seed=0, beginnings=texts)
    teacher, student = answers["teacher"], answers["student"]
    found = teacher_properties(teacher[LOW], teacher[HIGH], finished)
    found |= student_properties(student[LOW], student[HIGH], teacher[HIGH])
    summaries = {
        name: {str(t): summary(samples) for t, samples in by_temperature.items()}
        for name, by_temperature in answers.items()
    }
    return summaries, {name: round(value, 4) for name, value in found.items()}


def missed(found: dict[str, float]) -> list[str]:
    """Names of the properties that are not within their limits."""
    return [
        name
        for name, (least, most) in LIMITS.items()
        if not (-np.inf if least is None else least)
        <= found[name]
        <= (np.inf if most is None else most)
    ]
