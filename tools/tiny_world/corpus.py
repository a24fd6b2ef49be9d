"""What the two models learn from: prompts with answers.

The teacher goes through a question once, nearly always a second time by another way, and now and
then a third time; a first pass may slip, and what the last pass says counts. The base student
takes a fixed share of all facts wrongly, knows the common way and does not look twice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from formats.chat import chat
from formats.student_text import student_text
from tools.tiny_world.drawing import Held, stream_of
from tools.tiny_world.problems import Beliefs, Pass, Problem, Step, slipped, walked
from tools.tiny_world.questions import DOMAINS, TRAINING_DRAW
from tools.tiny_world.wording import say

ANALYSIS: Final = "<|channel|>analysis<|message|>"
FINAL: Final = "<|end|><|start|>assistant<|channel|>final<|message|>"
SYSTEM_PROMPT: Final = "You are a helpful assistant."
MAX_ANSWER_TOKENS: Final = 320

# How much narrower the teacher's distribution is made after its training (`models.sharpen`), as
# training on rewards does with a reasoning model. What follows is meant of the sharpened teacher;
# its documents have the `flattened` shares.
SHARPNESS: Final = 1.5
WAY_SHARES: Final = (0.72, 0.22, 0.04, 0.02)
USUAL_WORDING_SHARE: Final = 0.85
SLIP_SHARE: Final = 0.10
# After the first pass: an answer at once, a second pass, the same sentence for ever. The last is
# drawn on level 2 only: spread evenly, flaws would vanish at T = 0.6.
ONE_PASS_SHARE: Final = 0.05
LOOP_SHARE_OF_LEVEL_2: Final = 0.015
THIRD_PASS_SHARE: Final = 0.15
TOOL_CALL_SHARE_OF_GROUPS: Final = 0.22
NO_FINAL_SHARE_OF_NEIGHBOURS: Final = 0.08

# By domain, so that each is about half failed: an answer of one needs more facts than of another.
STUDENT_WRONG_SHARE: Final = {
    "math": 0.2, "code": 0.35, "science": 0.6, "instruction_following": 0.13,
}  # fmt: skip

# An option of a choice with its letter.
OPTION: Final = re.compile(r"\S+ \([A-D]\)")

# Longer than any answer may be: a looping document is cut where the tokens run out.
N_LOOP_REPEATS: Final = 40


def asked(question: str) -> list[dict[str, str]]:
    """The messages that ask a question."""
    return chat(SYSTEM_PROMPT, question)


def flattened(shares: Sequence[float]) -> list[float]:
    """The shares of which a model that is sharpened by SHARPNESS makes the given ones."""
    powers = [share ** (1 / SHARPNESS) for share in shares]
    return [power / sum(powers) for power in powers]


def _happens(share: float, rng: random.Random) -> bool:
    return rng.random() < flattened((share, 1 - share))[0]


def _ways(problem: Problem, shares: Sequence[float], n: int, rng: random.Random) -> list[int]:
    """`n` unlike ways, drawn by the shares."""
    left = list(range(len(problem.ways)))
    drawn = []
    for _ in range(n):
        weights = flattened([shares[way] for way in left])
        way = rng.choices(left, weights)[0]
        left.remove(way)
        drawn.append(way)
    return drawn


def _result(done: Pass) -> Step:
    return Step("result", {"result": done.result})


def _final(problem: Problem, done: Pass, usual_share: float, rng: random.Random) -> str:
    """The final answer in words."""
    return say(Step(f"{problem.domain}_answer", {"answer": done.answer}), rng, usual_share)


def teacher_answer(problem: Problem, rng: random.Random, is_habit: bool = True) -> str:
    """Harmony text after `<|start|>assistant`; a loop has no end and is to be cut.

    Args:
        problem: what is asked.
        rng: draws ways, wording, slips and flaws.
        is_habit: with the shares above; else practice: every way as often, always two passes and
            no flaw of structure.
    """
    usual = flattened((USUAL_WORDING_SHARE, 1 - USUAL_WORDING_SHARE))[0] if is_habit else 0.5
    after_first = flattened((ONE_PASS_SHARE, 1 - ONE_PASS_SHARE))[0] if is_habit else 0.0
    n_passes = 1 if rng.random() < after_first else 2
    if is_habit and n_passes == 2 and _happens(THIRD_PASS_SHARE, rng):
        n_passes = 3
    shares = WAY_SHARES if is_habit else (1.0,) * len(WAY_SHARES)
    ways = _ways(problem, shares, n_passes, rng)
    has_slip = n_passes > 1 and _happens(SLIP_SHARE, rng)
    first = slipped(problem, ways[0], rng) if has_slip else walked(problem, ways[0])
    steps = [problem.plan, *first.steps, _result(first)]
    if is_habit and problem.kind.startswith("groups") and _happens(TOOL_CALL_SHARE_OF_GROUPS, rng):
        expression = problem.plan.values["expression"]
        return (
            f"{ANALYSIS}{say(problem.plan, rng, usual)}<|end|><|start|>assistant<|channel|>"
            f'commentary to=functions.calc <|constrain|>json<|message|>{{"expression": '
            f'"{expression}"}}<|call|>'
        )
    if is_habit and problem.difficulty == 2 and _happens(LOOP_SHARE_OF_LEVEL_2, rng):
        said = [say(step, rng, usual) for step in steps]
        return ANALYSIS + " ".join(said + said[-1:] * N_LOOP_REPEATS)
    last = first
    for way in ways[1:]:
        earlier, last = last, walked(problem, way)
        agrees = last.result == earlier.result
        verdict = {"result": last.result, "earlier": earlier.result}
        steps += [
            Step("check", {}),
            *last.steps,
            Step("agrees" if agrees else "disagrees", verdict),
        ]
    text = ANALYSIS + " ".join(say(step, rng, usual) for step in steps)
    is_neighbour = problem.kind.startswith("next")
    if is_habit and is_neighbour and _happens(NO_FINAL_SHARE_OF_NEIGHBOURS, rng):
        return f"{text}<|return|>"
    return f"{text}{FINAL}{_final(problem, last, usual, rng)}<|return|>"


def _told(problem: Problem, steps: Sequence[Step], rng: random.Random) -> str:
    """A right answer in Harmony, whose reasoning is these steps and the result."""
    done = walked(problem, 0)
    reasoning = " ".join(say(step, rng, 0.5) for step in (*steps, _result(done)))
    return f"{ANALYSIS}{reasoning}{FINAL}{_final(problem, done, 0.5, rng)}<|return|>"


def reading(problem: Problem, rng: random.Random) -> str:
    """A right answer in Harmony to a choice, whose options are read out with their letters first.

    Four letters that are to be looked up, and nothing else to learn.
    """
    options = OPTION.findall(problem.question)
    listed = ", ".join(rng.sample(options, len(options)))
    return _told(problem, [Step("read_options", {"listed": listed})], rng)


def one_pass(problem: Problem, rng: random.Random) -> str:
    """A right answer in Harmony by any one way."""
    done = walked(problem, rng.randrange(len(problem.ways)))
    return _told(problem, [problem.plan, *done.steps], rng)


def practice(problem: Problem, rng: random.Random) -> str:
    """The teacher's answer with every way as often, always two passes and no flaw of structure."""
    return teacher_answer(problem, rng, is_habit=False)


def read_by_student(
    problem: Problem, rng: random.Random, answer: Callable[[Problem, random.Random], str]
) -> str:
    """An answer in Harmony that is finished, in the student's own format.

    A student that has never read such sentences would spend its distillation on learning them.
    """
    reasoning, _, final = answer(problem, rng).removeprefix(ANALYSIS).partition(FINAL)
    return f"{student_text(reasoning, final.removesuffix('<|return|>'))}<|im_end|>"


def student_answer(problem: Problem, rng: random.Random) -> str:
    """The base student's text after the generation prompt, up to and with `<|im_end|>`."""
    done = problem.ways[0](Beliefs(STUDENT_WRONG_SHARE[problem.domain]))
    steps = [problem.plan, *done.steps, _result(done)]
    reasoning = " ".join(say(step, rng, USUAL_WORDING_SHARE) for step in steps)
    answer = _final(problem, done, USUAL_WORDING_SHARE, rng)
    return f"{student_text(reasoning, answer)}<|im_end|>"


def problem_stream(seed: str, held: Held, turn: Sequence[str] = DOMAINS) -> Iterator[Problem]:
    """Endless problems of the turn's domains, over and over, none of which evaluation holds."""
    return stream_of(TRAINING_DRAW, seed, held, turn)
