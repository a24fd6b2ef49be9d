"""The tiny world's questions by domain and level; its evaluation is harder than its drops."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tools.tiny_world.code_problems import draw_code
from tools.tiny_world.drawing import Draw, Held, drops_of, evaluation_of
from tools.tiny_world.instruction_problems import draw_instruction
from tools.tiny_world.math_problems import draw_math
from tools.tiny_world.problems import Problem
from tools.tiny_world.science_problems import draw_science

DRAW: Final = {
    "math": draw_math,
    "code": draw_code,
    "science": draw_science,
    "instruction_following": draw_instruction,
}
DOMAINS: Final = tuple(DRAW)
N_PER_DROP_AND_DOMAIN: Final = 32
LEVEL_2_SHARE: Final = 0.4
LEVEL_2_SHARE_OF_EVALUATION: Final = 0.7


def _drawn(
    draw: Callable[[random.Random, int], Problem], level_2_share: float, rng: random.Random
) -> Problem:
    return draw(rng, 2 if rng.random() < level_2_share else 1)


def _with_levels(level_2_share: float) -> dict[str, Draw]:
    return {domain: partial(_drawn, draw, level_2_share) for domain, draw in DRAW.items()}


TRAINING_DRAW: Final = _with_levels(LEVEL_2_SHARE)


def evaluation_problems(seed: int) -> dict[str, list[Problem]]:
    """Evaluation problems per domain, unique by normalised text."""
    return evaluation_of(_with_levels(LEVEL_2_SHARE_OF_EVALUATION), seed)


def drops(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows per drop name: all domains mixed, unique but for a few duplicates across drops."""
    return drops_of(TRAINING_DRAW, seed, Held(evaluation_problems(seed)), N_PER_DROP_AND_DOMAIN)
