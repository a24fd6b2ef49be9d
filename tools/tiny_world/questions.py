"""The tiny world's questions by domain, how many of them there are, and its evaluation sets."""

from __future__ import annotations

from typing import Any, Final

from tools.tiny_world.code_problems import draw_code
from tools.tiny_world.drawing import Held, drops_of, evaluation_of
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
N_PER_DROP_AND_DOMAIN: Final = 128


def evaluation_problems(seed: int) -> dict[str, list[Problem]]:
    """Evaluation problems per domain, unique by normalised text."""
    return evaluation_of(DRAW, seed)


def drops(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows per drop name: all domains mixed, unique but for a few duplicates across drops."""
    return drops_of(DRAW, seed, Held(evaluation_problems(seed)), N_PER_DROP_AND_DOMAIN)
