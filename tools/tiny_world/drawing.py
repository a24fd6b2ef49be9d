"""Drops as a user would bring them, and evaluation sets, of the questions that a world draws.

Evaluation questions are drawn first; training questions that equal one of them, or share a
run of 13 words with one, are never drawn (the decontamination rule of the pipeline).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.tiny_world.problems import Problem

Draw = Callable[[random.Random], Problem]
Draws = Mapping[str, Draw]
"""By domain: draws a question of it."""

N_DROPS: Final = 4
N_DUPLICATES_PER_DROP: Final = 6
N_EVALUATION_PER_DOMAIN: Final = 48
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


def write_rows(
    out: Path, drops: Mapping[str, list[dict[str, Any]]], evaluation: Mapping[str, list[Problem]]
) -> None:
    """Write the drops to `inbox/` and the evaluation sets to `benchmarks/`."""
    files = {f"inbox/{name}.jsonl": rows for name, rows in drops.items()}
    for domain, problems in evaluation.items():
        files[f"benchmarks/{domain}.jsonl"] = [to_row(problem) for problem in problems]
    for name, rows in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_jsonl(rows), encoding="utf-8")


def evaluation_of(draws: Draws, seed: int) -> dict[str, list[Problem]]:
    """Evaluation problems per domain, unique by normalised text."""
    problems: dict[str, list[Problem]] = {}
    for domain, draw in draws.items():
        rng = random.Random(f"evaluation/{domain}/{seed}")
        seen: dict[str, Problem] = {}
        while len(seen) < N_EVALUATION_PER_DOMAIN:
            problem = draw(rng)
            seen.setdefault(normalised(problem.question), problem)
        problems[domain] = list(seen.values())
    return problems


class Held:
    """What evaluation keeps for itself: texts, and runs of 13 words."""

    def __init__(self, problems: Mapping[str, list[Problem]]) -> None:
        texts = [problem.question for group in problems.values() for problem in group]
        self.texts = {normalised(text) for text in texts}
        self.n_grams = {gram for text in texts for gram in n_grams(text)}

    def has(self, question: str) -> bool:
        """Whether the question is an evaluation question or overlaps one."""
        return normalised(question) in self.texts or not self.n_grams.isdisjoint(n_grams(question))


def not_held(
    draw: Callable[[random.Random], Problem], rng: random.Random, held: Held
) -> Iterator[Problem]:
    """Endless problems of a domain that evaluation does not hold; they may repeat."""
    while True:
        problem = draw(rng)
        if not held.has(problem.question):
            yield problem


def stream_of(draws: Draws, seed: str, held: Held, turn: Sequence[str]) -> Iterator[Problem]:
    """Endless problems of the turn's domains, over and over, none of which evaluation holds."""
    rng = random.Random(seed)
    streams = {domain: not_held(draw, rng, held) for domain, draw in draws.items()}
    while True:
        for domain in turn:
            yield next(streams[domain])


def drops_of(
    draws: Draws, seed: int, held: Held, n_per_domain: int
) -> dict[str, list[dict[str, Any]]]:
    """Rows per drop name: all domains mixed, unique but for a few duplicates across drops."""
    seen: set[str] = set()
    result: dict[str, list[dict[str, Any]]] = {}
    streams = {
        domain: not_held(draw, random.Random(f"training/{domain}/{seed}"), held)
        for domain, draw in draws.items()
    }
    earlier: list[dict[str, Any]] = []
    for number in range(1, N_DROPS + 1):
        rng = random.Random(f"drop/{number}/{seed}")
        rows = []
        for stream in streams.values():
            n_drawn = 0
            while n_drawn < n_per_domain:
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
