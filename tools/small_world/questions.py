"""The tiny world's questions: drops as a user would bring them, and evaluation sets.

Evaluation questions are drawn first; training questions that equal one of them, or share a
run of 13 words with one, are never drawn (the decontamination rule of the pipeline).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, Final

from tools.small_world.code_problems import draw_code
from tools.small_world.instruction_problems import draw_instruction
from tools.small_world.math_problems import draw_math
from tools.small_world.problems import Problem
from tools.small_world.science_problems import draw_science

DRAW: Final = {
    "math": draw_math,
    "code": draw_code,
    "science": draw_science,
    "instruction_following": draw_instruction,
}
DOMAINS: Final = tuple(DRAW)
N_DROPS: Final = 4
N_PER_DROP_AND_DOMAIN: Final = 32
N_DUPLICATES_PER_DROP: Final = 6
N_EVALUATION_PER_DOMAIN: Final = 48
# Evaluation is harder than most of what is learned from.
LEVEL_2_SHARE: Final = 0.4
LEVEL_2_SHARE_OF_EVALUATION: Final = 0.7
N_GRAM_WORDS: Final = 13


def normalised(text: str) -> str:
    """The text in lower case with its words (letters and digits) separated by one space."""
    return " ".join(re.findall(r"\w+", text.lower()))


def n_grams(text: str, n: int = N_GRAM_WORDS) -> set[str]:
    """All runs of n words of the normalised text; empty when it is shorter."""
    words = normalised(text).split()
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def to_row(problem: Problem) -> dict[str, Any]:
    """The problem as a row of a drop."""
    return {
        "question": problem.question,
        "domain": problem.domain,
        "answer": problem.reference,
        "difficulty": problem.difficulty,
        "source": f"tiny-world/{problem.kind}",
    }


def to_jsonl(rows: list[dict[str, Any]]) -> str:
    """The rows as JSON lines, each ended by a newline."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _level(rng: random.Random, share: float) -> int:
    return 2 if rng.random() < share else 1


def evaluation_problems(seed: int) -> dict[str, list[Problem]]:
    """Evaluation problems per domain, unique by normalised text."""
    problems: dict[str, list[Problem]] = {}
    for domain, draw in DRAW.items():
        rng = random.Random(f"evaluation/{domain}/{seed}")
        seen: dict[str, Problem] = {}
        while len(seen) < N_EVALUATION_PER_DOMAIN:
            problem = draw(rng, _level(rng, LEVEL_2_SHARE_OF_EVALUATION))
            seen.setdefault(normalised(problem.question), problem)
        problems[domain] = list(seen.values())
    return problems


class Held:
    """What evaluation keeps for itself: texts, and runs of 13 words."""

    def __init__(self, problems: dict[str, list[Problem]]) -> None:
        texts = [problem.question for group in problems.values() for problem in group]
        self.texts = {normalised(text) for text in texts}
        self.n_grams = {gram for text in texts for gram in n_grams(text)}

    def has(self, question: str) -> bool:
        """Whether the question is an evaluation question or overlaps one."""
        return normalised(question) in self.texts or not self.n_grams.isdisjoint(n_grams(question))


def training_problems(domain: str, rng: random.Random, held: Held) -> Iterator[Problem]:
    """Endless problems of a domain that evaluation does not hold; they may repeat."""
    while True:
        problem = DRAW[domain](rng, _level(rng, LEVEL_2_SHARE))
        if not held.has(problem.question):
            yield problem


def drops(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows per drop name: all domains mixed, unique but for a few duplicates across drops."""
    held = Held(evaluation_problems(seed))
    seen: set[str] = set()
    result: dict[str, list[dict[str, Any]]] = {}
    streams = {
        domain: training_problems(domain, random.Random(f"training/{domain}/{seed}"), held)
        for domain in DOMAINS
    }
    earlier: list[dict[str, Any]] = []
    for number in range(1, N_DROPS + 1):
        rng = random.Random(f"drop/{number}/{seed}")
        rows = []
        for stream in streams.values():
            n_drawn = 0
            while n_drawn < N_PER_DROP_AND_DOMAIN:
                problem = next(stream)
                if (key := normalised(problem.question)) not in seen:
                    seen.add(key)
                    rows.append(to_row(problem))
                    n_drawn += 1
        # Collections brought together from several places repeat themselves now and then.
        repeated = rng.sample(earlier, N_DUPLICATES_PER_DROP) if earlier else []
        earlier.extend(rows)
        rows.extend(repeated)
        rng.shuffle(rows)
        result[f"drop-{number:02d}"] = rows
    return result
