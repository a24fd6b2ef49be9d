"""Arithmetic in words: sums, differences, groups, and stories in two steps."""

from __future__ import annotations

import random
from collections.abc import Callable

from tools.tiny_world.problems import Mind, Pass, Problem, Step, Way

NAMES = ("Mia", "Tom", "Ana", "Ben", "Eva", "Leo", "Zoe", "Sam", "Ida", "Max")
ITEMS = ("apples", "coins", "books", "cards", "pens", "shells", "stamps", "beads")

SUM_TEXTS = (
    "What is {a} + {b}?",
    "Compute the sum {a} + {b}.",
    "Add {a} and {b}. What do you get?",
    "{name} has {a} {item} and buys {b} more. How many {item} does {name} have now?",
    "There are {a} {item} in one box and {b} in another. How many {item} are there in all?",
)
DIFFERENCE_TEXTS = (
    "What is {a} - {b}?",
    "Compute the difference {a} - {b}.",
    "Subtract {b} from {a}. What do you get?",
    "{name} has {a} {item} and gives {b} away. How many {item} are left?",
    "A shop had {a} {item} and sold {b} of them. How many {item} remain?",
)
GROUP_TEXTS = (
    "There are {a} bags with {b} {item} each. How many {item} are there in all?",
    "{name} fills {a} boxes with {b} {item} each. How many {item} is that?",
    "What is {a} times {b}?",
)
SUM_DIFFERENCE_TEXTS = (
    "{name} has {a} {item}, buys {b} more and gives {c} away. How many {item} are left?",
    "A shop had {a} {item}, got {b} new ones and sold {c}. How many {item} remain?",
    "What is {a} + {b} - {c}?",
)
GROUPS_SUM_TEXTS = (
    "{name} has {a} bags with {b} {item} each and {c} more. How many {item} are there in all?",
    "There are {a} boxes with {b} {item} each, and {c} lie beside them. How many {item} is that?",
    "What is {a} times {b}, plus {c}?",
)

# What one way of one operation writes: its equations and the result.
Worked = tuple[list[str], int]


def _fact(x: int, y: int, sign: str) -> tuple[str | None, int]:
    """What has to be known of two digits, and their unit; with a zero there is nothing to know."""
    unit = 10 if y >= 10 else 1
    x, y = x // unit % 10, y // unit % 10
    return (f"{x} {sign} {y}" if x and y else None), unit


def _plus(mind: Mind, x: int, y: int) -> tuple[str, int]:
    """x + y where one of the two digits of y decides."""
    total = mind.number(x + y, *_fact(x, y, "plus"))
    return f"{x}+{y}={total}", total


def _minus(mind: Mind, x: int, y: int) -> tuple[str, int]:
    """x - y where one of the two digits of y decides, for x >= y."""
    rest = mind.number(x - y, *_fact(x, y, "minus"))
    return f"{x}-{y}={rest}", rest


def _times(mind: Mind, n: int, m: int) -> tuple[str, int]:
    product = mind.number(n * m, None if m == 10 else f"{n} times {m}", n)
    return f"{n}*{m}={product}", product


def _add(way: int, mind: Mind, a: int, b: int) -> Worked:
    """Both numbers split; step by step; over a round number; from the other number on."""
    tens, ones = b // 10 * 10, b % 10
    if way == 0:
        first, high = _plus(mind, a // 10 * 10, tens)
        second, low = _plus(mind, a % 10, ones)
        third, total = _plus(mind, high, low)
        return [first, second, third], total
    if way == 1:
        first, high = _plus(mind, a, tens)
        second, total = _plus(mind, high, ones)
    elif way == 2:
        first, high = _plus(mind, a, tens + 10)
        second, total = _minus(mind, high, 10 - ones)
    else:
        first, high = _plus(mind, b, a // 10 * 10)
        second, total = _plus(mind, high, a % 10)
    return [first, second], total


def _subtract(way: int, mind: Mind, a: int, b: int) -> Worked:
    """Step by step; over a round number; counted up from the smaller; for a >= b + 10."""
    tens, ones = b // 10 * 10, b % 10
    if way == 0:
        first, high = _minus(mind, a, tens)
        second, rest = _minus(mind, high, min(ones, high))
        return [first, second], rest
    if way == 1:
        first, high = _minus(mind, a, tens + 10)
        second, rest = _plus(mind, high, 10 - ones)
        return [first, second], rest
    up = mind.number(10 - ones, f"10 minus {ones}")
    first, high = _minus(mind, a, tens + 10)
    second, rest = _plus(mind, high, up)
    return [f"{b}+{up}={tens + 10}", f"{tens + 10}+{high}={a}", f"{up}+{high}={rest}"], rest


def _multiply(way: int, mind: Mind, n: int, m: int) -> Worked:
    """Ten and the rest; one group fewer, then one more; from 20 back; for m of 11 to 19."""
    if way == 0:
        first, tens = _times(mind, n, 10)
        second, rest = _times(mind, n, m - 10)
        third, total = _plus(mind, tens, rest)
        return [first, second, third], total
    if way == 1:
        first, less = _times(mind, n, m - 1)
        second, total = _plus(mind, less, n)
        return [first, second], total
    first, twenty = _times(mind, n, 20)
    second, over = _times(mind, n, 20 - m)
    third, total = _minus(mind, twenty, over)
    return [first, second, third], total


# By name: the name of each way's opening, and the ways themselves.
OPENINGS = {
    "+": ("split", "onward", "round", "other"),
    "-": ("onward", "round", "up"),
    "*": ("split", "onward", "round"),
}
WORK: dict[str, Callable[[int, Mind, int, int], Worked]] = {
    "+": _add, "-": _subtract, "*": _multiply,
}  # fmt: skip


def _way(index: int, first: str, a: int, b: int, then: tuple[str, int] | None) -> Way:
    """The way with that index through one operation, or through two of which the first leads."""

    def walk(mind: Mind) -> Pass:
        equations, result = WORK[first](index, mind, a, b)
        if then is not None:
            sign, c = then
            # A slip can leave less than is to be taken away.
            start = max(result, c + 10) if sign == "-" else result
            more, result = WORK[sign](index % len(OPENINGS[sign]), mind, start, c)
            equations += more
        steps = (Step(f"math_{OPENINGS[first][index]}", {"equations": ", ".join(equations)}),)
        return Pass(steps, str(result), str(result))

    return walk


def _problem(
    rng: random.Random,
    texts: tuple[str, ...],
    kind: str,
    asked: tuple[str, int, int],
    then: tuple[str, int] | None = None,
) -> Problem:
    sign, a, b = asked
    c = then[1] if then else 0
    text = rng.choice(texts).format(name=rng.choice(NAMES), item=rng.choice(ITEMS), a=a, b=b, c=c)
    expression = f"{a}{sign}{b}" + (f"{then[0]}{then[1]}" if then else "")
    reference = {"+": a + b, "-": a - b, "*": a * b}[sign]
    if then:
        reference += c if then[0] == "+" else -c
    ways = tuple(_way(index, sign, a, b, then) for index in range(len(OPENINGS[sign])))
    plan = Step("math_plan", {"expression": expression})
    return Problem(text, "math", str(reference), 2 if then else 1, kind, plan, ways)


def _sum(rng: random.Random) -> tuple[int, int]:
    a = rng.randint(11, 78)
    return a, rng.randint(11, 99 - a)


def draw_math(rng: random.Random, difficulty: int) -> Problem:
    """A random arithmetic problem; the reference is the result in decimal digits."""
    a, b = _sum(rng)
    n, m = rng.randint(2, 6), rng.randint(11, 19)
    if difficulty == 1:
        match rng.choice(("addition", "subtraction", "groups")):
            case "addition":
                return _problem(rng, SUM_TEXTS, "addition", ("+", a, b))
            case "subtraction":
                return _problem(rng, DIFFERENCE_TEXTS, "subtraction", ("-", a + b, b))
        return _problem(rng, GROUP_TEXTS, "groups", ("*", n, m))
    if rng.random() < 0.5:
        c = rng.randint(11, a + b - 10)
        return _problem(rng, SUM_DIFFERENCE_TEXTS, "two_steps", ("+", a, b), ("-", c))
    c = rng.randint(11, 48)
    return _problem(rng, GROUPS_SUM_TEXTS, "groups_sum", ("*", n, m), ("+", c))
