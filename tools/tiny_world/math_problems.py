"""Arithmetic in words: sums, differences, groups and two-step stories."""

from __future__ import annotations

import random

from tools.tiny_world.problems import Problem, Slip, Solution, Step

PLACES = ("ones", "tens", "hundreds", "thousands")
NAMES = ("Mia", "Tom", "Ana", "Ben", "Eva", "Leo", "Zoe", "Sam", "Ida", "Max")
ITEMS = ("apples", "coins", "books", "cards", "pens", "shells", "stamps", "beads")

SUM_TEXTS = (
    "What is {a} + {b}?",
    "Compute the sum {a} + {b}.",
    "Add {a} and {b}. What do you get?",
    "Find the value of {a} plus {b}.",
)
DIFFERENCE_TEXTS = (
    "What is {a} - {b}?",
    "Compute the difference {a} - {b}.",
    "Subtract {b} from {a}. What do you get?",
    "Find the value of {a} minus {b}.",
)
SUM_STORIES = (
    "{name} has {a} {item} and buys {b} more. How many {item} does {name} have now?",
    "There are {a} {item} in one box and {b} in another. How many {item} are there in all?",
    "{name} found {a} {item} on Monday and {b} on Tuesday. How many {item} is that in total?",
)
DIFFERENCE_STORIES = (
    "{name} has {a} {item} and gives {b} away. How many {item} are left?",
    "A shop had {a} {item} and sold {b} of them. How many {item} remain?",
    "{name} had {a} {item} but lost {b}. How many {item} does {name} still have?",
)
GROUP_TEXTS = (
    "There are {n} bags with {m} {item} each. How many {item} are there in all?",
    "{name} fills {n} boxes with {m} {item} each. How many {item} is that?",
    "What is {n} times {m}?",
)
TWO_STEP_STORIES = (
    "{name} has {a} {item}, buys {b} more and gives {c} away. How many {item} are left?",
    "A shop had {a} {item}, got {b} new ones and sold {c}. How many {item} remain?",
    "{name} found {a} {item} and then {b} more, but lost {c} later. How many {item} are there now?",
)


def _digit(number: int, place: int) -> int:
    return number // 10**place % 10


def _add(a: int, b: int, slip: Slip) -> tuple[list[Step], int]:
    """Column addition from the ones upwards; the sum is read off the written digits."""
    steps = [Step("add_plan", {"a": a, "b": b})]
    carry = total = 0
    n_columns = len(str(max(a, b)))
    for place in range(n_columns):
        x, y = _digit(a, place), _digit(b, place)
        column = slip.number(x + y + carry)
        terms = f"{x} + {y} + 1" if carry else f"{x} + {y}"
        total += column % 10 * 10**place
        carry = column // 10
        values = {"place": PLACES[place], "terms": terms, "column": column}
        steps.append(Step("add_column", {**values, "digit": column % 10, "carry": carry}))
    total += carry * 10**n_columns
    steps.append(Step("add_total", {"a": a, "b": b, "total": total}))
    return steps, total


def _subtract(a: int, b: int, slip: Slip) -> tuple[list[Step], int]:
    """Column subtraction from the ones upwards, for a >= b."""
    steps = [Step("sub_plan", {"a": a, "b": b})]
    borrow = total = 0
    for place in range(len(str(a))):
        x, y = _digit(a, place), _digit(b, place)
        has_to_borrow = x - borrow < y
        column = slip.number(x - borrow - y + 10 * has_to_borrow) % 10
        terms = f"{x}" + " - 1" * borrow + " + 10" * has_to_borrow + f" - {y}"
        total += column * 10**place
        borrow = int(has_to_borrow)
        values = {"place": PLACES[place], "terms": terms, "digit": column, "borrow": borrow}
        steps.append(Step("sub_column", values))
    steps.append(Step("sub_total", {"a": a, "b": b, "total": total}))
    return steps, total


def _number(rng: random.Random, n_digits: int) -> int:
    return rng.randrange(10 ** (n_digits - 1), 10**n_digits)


def _say(rng: random.Random, texts: tuple[str, ...], **numbers: int) -> str:
    return rng.choice(texts).format(name=rng.choice(NAMES), item=rng.choice(ITEMS), **numbers)


def _addition(rng: random.Random, difficulty: int) -> Problem:
    a, b = _number(rng, 1 + difficulty), _number(rng, 1 + difficulty)

    def solve(slip: Slip) -> Solution:
        steps, total = _add(a, b, slip)
        return Solution(tuple(steps), "math_answer", str(total))

    text = _say(rng, SUM_TEXTS + SUM_STORIES, a=a, b=b)
    return Problem(text, "math", str(a + b), difficulty, "addition", solve)


def _subtraction(rng: random.Random, difficulty: int) -> Problem:
    b, a = sorted((_number(rng, 2), _number(rng, 2)))

    def solve(slip: Slip) -> Solution:
        steps, total = _subtract(a, b, slip)
        return Solution(tuple(steps), "math_answer", str(total))

    text = _say(rng, DIFFERENCE_TEXTS + DIFFERENCE_STORIES, a=a, b=b)
    return Problem(text, "math", str(a - b), difficulty, "subtraction", solve)


def _groups(rng: random.Random, difficulty: int) -> Problem:
    n, m = rng.randint(2, 6), rng.randint(11, 16)

    def solve(slip: Slip) -> Solution:
        tens, rest = slip.number(n * 10), slip.number(n * (m - 10))
        total = slip.number(tens + rest)
        values = {"n": n, "m": m, "rest_factor": m - 10, "tens": tens, "rest": rest}
        keys = ("groups_plan", "groups_tens", "groups_rest", "groups_total")
        steps = tuple(Step(key, {**values, "total": total}) for key in keys)
        return Solution(steps, "math_answer", str(total))

    text = _say(rng, GROUP_TEXTS, n=n, m=m)
    return Problem(text, "math", str(n * m), difficulty, "groups", solve)


def _two_steps(rng: random.Random, difficulty: int) -> Problem:
    a = rng.randint(11, 80)
    b = rng.randint(10, 99 - a)
    c = rng.randint(10, a + b)

    def solve(slip: Slip) -> Solution:
        added, total = _add(a, b, slip)
        # A slip can leave less than is to be taken away; the total is then taken as it stands.
        taken, left = _subtract(max(total, c), c, slip)
        return Solution((*added, *taken), "math_answer", str(left))

    text = _say(rng, TWO_STEP_STORIES, a=a, b=b, c=c)
    return Problem(text, "math", str(a + b - c), difficulty, "two_steps", solve)


def draw_math(rng: random.Random) -> Problem:
    """A random arithmetic problem; the reference is the result in decimal digits."""
    difficulty = rng.choice((1, 1, 2, 2, 3))
    if difficulty == 3:
        return _two_steps(rng, difficulty)
    return rng.choice((_addition, _addition, _subtraction, _subtraction, _groups))(rng, difficulty)
