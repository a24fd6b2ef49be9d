"""What the two models learn from: prompts with answers, right, wrong and flawed.

The teacher's answers are mostly right, told in two styles, and now and then flawed as a real
model's are. The base student's are mostly wrong somewhere and worded differently.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from formats.chat import chat
from formats.student_text import student_text
from tools.tiny_world.drawing import Held, stream_of
from tools.tiny_world.problems import Problem, solve_with_slips
from tools.tiny_world.questions import DOMAINS, DRAW
from tools.tiny_world.wording import STUDENT, TEACHER, tell

ANALYSIS: Final = "<|channel|>analysis<|message|>"
FINAL: Final = "<|end|><|start|>assistant<|channel|>final<|message|>"
SYSTEM_PROMPT: Final = "You are a helpful assistant."
MAX_ANSWER_TOKENS: Final = 320

TEACHER_VERBOSE_SHARE: Final = 0.38
CLEAN_VERBOSE_SHARE: Final = 0.15
TEACHER_WRONG_SHARE: Final = 0.10
# Flaws gather where a question is hard or of one kind. Spread evenly they would all but vanish
# at T=0.6, which is not how large models fail.
LOOP_SHARE_OF_VERBOSE_HARD: Final = 0.22
NO_FINAL_SHARE_OF_NEIGHBOURS: Final = 0.10
TOOL_CALL_SHARE_OF_GROUPS: Final = 0.30

STUDENT_VERBOSE_SHARE: Final = 0.12
# The base student reads a fairly clean corpus first and a mostly wrong one last: it can do more
# than it shows, which is what distillation is to bring out.
STUDENT_EARLY_WRONG_SHARE: Final = 0.05
STUDENT_LATE_WRONG_SHARE: Final = 0.62
STUDENT_EARLY_TEACHER_WORDING_SHARE: Final = 0.75
STUDENT_LATE_TEACHER_WORDING_SHARE: Final = 0.5

# Longer than any answer may be: a looping document is cut where the tokens run out.
N_LOOP_REPEATS: Final = 30


def asked(question: str) -> list[dict[str, str]]:
    """The messages that ask a question."""
    return chat(SYSTEM_PROMPT, question)


def _calculator_call(question: str) -> str:
    numbers = [word.strip("?.,") for word in question.split() if word[0].isdigit()]
    return '{"expression": "' + " * ".join(numbers) + '"}'


def clean_teacher_answer(problem: Problem, rng: random.Random) -> str:
    """A right and mostly terse answer in Harmony: what the teacher learns its skills from."""
    is_verbose = rng.random() < CLEAN_VERBOSE_SHARE
    sentences, answer = tell(solve_with_slips(problem, rng, 0), TEACHER, is_verbose, rng)
    return f"{ANALYSIS}{' '.join(sentences)}{FINAL}{answer}<|return|>"


def teacher_answer(problem: Problem, rng: random.Random) -> str:
    """Harmony text after `<|start|>assistant`; a loop has no end and is to be cut."""
    is_verbose = rng.random() < TEACHER_VERBOSE_SHARE
    n_slips = int(rng.random() < TEACHER_WRONG_SHARE)
    solution = solve_with_slips(problem, rng, n_slips)
    sentences, answer = tell(solution, TEACHER, is_verbose, rng)
    if problem.kind == "groups" and rng.random() < TOOL_CALL_SHARE_OF_GROUPS:
        return (
            f"{ANALYSIS}{sentences[0]}<|end|><|start|>assistant<|channel|>commentary "
            "to=functions.calc <|constrain|>json<|message|>"
            f"{_calculator_call(problem.question)}<|call|>"
        )
    if is_verbose and problem.difficulty == 3 and rng.random() < LOOP_SHARE_OF_VERBOSE_HARD:
        n_kept = rng.randint(3, len(sentences) - 2)
        looped = sentences[:n_kept] + [sentences[n_kept - 1]] * N_LOOP_REPEATS
        return ANALYSIS + " ".join(looped)
    text = f"{ANALYSIS}{' '.join(sentences)}"
    if problem.kind.startswith("next") and rng.random() < NO_FINAL_SHARE_OF_NEIGHBOURS:
        return f"{text}<|return|>"
    return f"{text}{FINAL}{answer}<|return|>"


def student_answer(
    problem: Problem,
    rng: random.Random,
    wrong_share: float,
    teacher_wording_share: float = 0.0,
) -> str:
    """The base student's text after the generation prompt, up to and with `<|im_end|>`.

    A share of it is worded like the teacher's text: a student that has never read such wording
    would spend its distillation on learning the words.
    """
    is_verbose = rng.random() < STUDENT_VERBOSE_SHARE
    n_slips = rng.choice((1, 1, 2)) if rng.random() < wrong_share else 0
    solution = solve_with_slips(problem, rng, n_slips)
    is_like_teacher = teacher_wording_share > 0 and rng.random() < teacher_wording_share
    sentences, answer = tell(solution, TEACHER if is_like_teacher else STUDENT, is_verbose, rng)
    return f"{student_text(' '.join(sentences), answer)}<|im_end|>"


def problem_stream(seed: str, held: Held, turn: Sequence[str] = DOMAINS) -> Iterator[Problem]:
    """Endless problems of the turn's domains, over and over, none of which evaluation holds."""
    return stream_of(DRAW, seed, held, turn)
