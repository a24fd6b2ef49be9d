"""Instructions on short word lists whose result can be checked exactly."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from tools.tiny_world.problems import Mind, Pass, Problem, Step

WORDS = (
    "apple", "boat", "cloud", "door", "eagle", "fish", "garden", "house", "iron", "jacket",
    "king", "lamp", "moon", "nest", "ocean", "paper", "queen", "river", "stone", "tree", "uncle",
    "valley", "window", "yard", "zebra",
)  # fmt: skip
SEPARATORS = {"commas": ",", "dashes": "-", "slashes": "/", "semicolons": ";"}
# A run of 13 words that names none of the listed words would be common to many questions, and
# decontamination would take all of them out: what stands before and after the list is short.
FORMATS = ("Number them, with {separator}.", "Use numbers and {separator}.")
TASKS = {
    "reverse": (
        "Write these words in reverse order: {words}.",
        "Take the words {words} and list them backwards.",
        "Reverse the list {words}.",
    ),
    "copy": (
        "List these words in order: {words}.",
        "List the words {words} as they are.",
        "Take the words {words} and keep their order.",
    ),
    "uppercase": (
        "Write these words in capital letters: {words}.",
        "Take the words {words} and write each in upper case.",
        "Turn the list {words} into upper case.",
    ),
    "repeat": (
        "Write the word {words} exactly {times} times.",
        "Repeat the word {words} {times} times.",
        "Say the word {words} {times} times in a row.",
    ),
}
ENDING = "Finish with the line: Done."
ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Asked:
    """What an instruction wants: a task on words, what stands between them, a last line."""

    task: str
    words: tuple[str, ...]
    times: int
    separator: str
    has_ending: bool


def _result(task: str, words: tuple[str, ...], times: int) -> tuple[str, ...]:
    match task:
        case "reverse":
            return words[::-1]
        case "copy":
            return words
        case "uppercase":
            return tuple(word.upper() for word in words)
        case "repeat":
            return words * times
    raise ValueError(f"unknown task {task!r}")


def _walk(way: int, asked: Asked, mind: Mind) -> Pass:
    """Word by word; from the last one; all of them at once."""
    n_times = asked.times
    if asked.task == "repeat":
        n_times = mind.number(asked.times, f"{asked.times} times")
    right = _result(asked.task, asked.words, n_times)
    pool = [word.upper() for word in asked.words] if asked.task == "uppercase" else asked.words
    items = [
        mind.choice(item, pool, f"{asked.task} {place} of {len(right)}")
        for place, item in enumerate(right)
    ]
    mark = mind.choice(
        SEPARATORS[asked.separator], tuple(SEPARATORS.values()), f"mark of {asked.separator}"
    )
    named = [f"{ORDINALS[place % 4]} {item}" for place, item in enumerate(items)]
    if way == 0:
        listed = ", ".join(named)
    else:
        listed = ", ".join(reversed(named)) if way == 1 else " ".join(items)
    key = ("forwards", "backwards", "at_once")[way]
    steps = [Step(f"items_{key}", {"listed": listed, "mark": mark})]
    joint = f"{mark} " if mark in ",;" else f" {mark} "
    written = joint.join(f"{n}. {item}" for n, item in enumerate(items, start=1))
    return Pass(tuple(steps), " ".join(items) + f" {mark}", written + "\nDone." * asked.has_ending)


def draw_instruction(rng: random.Random, difficulty: int) -> Problem:
    """A random instruction; the reference is a list of constraints on the answer's text.

    Level 1 has two words, level 2 three or four and often a last line.
    """
    task = rng.choice(tuple(TASKS))
    times = 2 if difficulty == 1 else rng.randint(3, 4)
    words = tuple(rng.sample(WORDS, 1 if task == "repeat" else times))
    separator = rng.choice(tuple(SEPARATORS))
    has_ending = difficulty == 2 and rng.random() < 0.5
    parts = [
        rng.choice(FORMATS).format(separator=separator),
        rng.choice(TASKS[task]).format(words=", ".join(words), times=times),
        *([ENDING] if has_ending else []),
    ]
    asked = Asked(task, words, times, separator, has_ending)
    values = [f"{n}. {item}" for n, item in enumerate(_result(task, words, times), start=1)]
    constraints: list[dict[str, Any]] = [
        # First, because each constraint takes away the lines that it accounts for.
        *([{"type": "last_line", "value": "Done."}] if has_ending else []),
        {"type": "items", "separator": SEPARATORS[separator], "values": values},
    ]
    plan = Step("items_plan", {"task": task, "separator": separator})
    ways = tuple(partial(_walk, way, asked) for way in range(3))
    return Problem(
        " ".join(parts), "instruction_following", {"constraints": constraints}, difficulty, task,
        plan, ways,
    )  # fmt: skip
