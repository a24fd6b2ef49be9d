"""Instructions on short word lists whose result can be checked exactly."""

from __future__ import annotations

import random
from typing import Any

from tools.tiny_world.problems import Problem, Slip, Solution, Step

WORDS = (
    "apple", "boat", "cloud", "door", "eagle", "fish", "garden", "house", "iron", "jacket",
    "king", "lamp", "moon", "nest", "ocean", "paper", "queen", "river", "stone", "tree", "uncle",
    "valley", "window", "yard", "zebra",
)  # fmt: skip
LINE_BREAKS = "line breaks"
SEPARATORS = {"commas": ", ", "dashes": " - ", "slashes": " / ", "semicolons": "; "}
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
ENDINGS = ("Finish with the line: Done.", "End with a line: Done.")


def _result(task: str, words: list[str], times: int) -> list[str]:
    match task:
        case "reverse":
            return words[::-1]
        case "copy":
            return words
        case "uppercase":
            return [word.upper() for word in words]
        case "repeat":
            return words * times
    raise ValueError(f"unknown task {task!r}")


def draw_instruction(rng: random.Random) -> Problem:
    """A random instruction; the reference is a list of constraints on the answer's text."""
    task = rng.choice(tuple(TASKS))
    times = rng.randint(2, 4)
    words = rng.sample(WORDS, 1 if task == "repeat" else rng.randint(2, 4))
    result = _result(task, words, times)
    is_on_lines = rng.random() < 0.3
    separator = LINE_BREAKS if is_on_lines else rng.choice(tuple(SEPARATORS))
    has_ending = rng.random() < 0.3
    parts = [
        rng.choice(FORMATS).format(separator=separator),
        rng.choice(TASKS[task]).format(words=", ".join(words), times=times),
    ]
    if has_ending:
        parts.append(rng.choice(ENDINGS))

    def solve(slip: Slip) -> Solution:
        steps = [Step(f"{task}_plan", {"words": ", ".join(words), "n": len(result)})]
        items = []
        for index, item in enumerate(result):
            # A slipped item is mostly another word of the same list, as when one loses track.
            pool = [word.upper() if task == "uppercase" else word for word in [*words, *WORDS[:2]]]
            item = slip.choice(item, pool)
            items.append(item)
            word = words[min(index, len(words) - 1)]
            values = {"n": index + 1, "word": word, "item": item}
            steps.append(Step(f"{task}_item", values))
        steps.append(Step("format_separated", {"separator": separator}))
        if has_ending:
            steps.append(Step("format_ending", {}))
        return Solution(tuple(steps), "instruction_answer", _written(items, has_ending))

    def _written(items: list[str], with_ending: bool) -> str:
        numbered = [f"{n}. {item}" for n, item in enumerate(items, start=1)]
        joint = "\n" if is_on_lines else SEPARATORS[separator]
        return joint.join(numbered) + "\nDone." * with_ending

    values = [f"{n}. {item}" for n, item in enumerate(result, start=1)]
    constraints: list[dict[str, Any]] = [
        {"type": "numbered_lines", "values": result}
        if is_on_lines
        else {"type": "items", "separator": SEPARATORS[separator].strip(), "values": values}
    ]
    if has_ending:
        # First, because each constraint takes away the lines that it accounts for.
        constraints.insert(0, {"type": "last_line", "value": "Done."})
    difficulty = min(3, 1 + (len(result) > 2) + has_ending)
    reference = {"constraints": constraints}
    return Problem(" ".join(parts), "instruction_following", reference, difficulty, task, solve)
