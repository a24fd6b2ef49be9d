"""Small Python functions described in words, step by step."""

from __future__ import annotations

import random
from typing import Any

from tools.tiny_world.problems import Problem, Slip, Solution, Step

FUNCTION_NAMES = ("f", "g", "step", "apply", "change", "convert", "update", "run")
WORDS = ("red", "sun", "cat", "top", "new", "blue", "end", "go")
TEXTS = (
    "Write a Python function `{name}` that takes x, {ops}.",
    "Define a function `{name}(x)` in Python which {ops}.",
    "I need a Python function called `{name}`. Given x, it {ops}.",
    "Please write `{name}(x)` in Python. It {ops}.",
)
# (operation, how the question says it, how the expression grows)
NUMBER_OPS = (
    ("multiply", ("multiplies it by {k}", "takes {k} times the value"), "{e} * {k}"),
    ("add", ("adds {k}", "increases it by {k}"), "{e} + {k}"),
    ("subtract", ("subtracts {k}", "decreases it by {k}"), "{e} - {k}"),
)
TEXT_OPS = (
    ("prefix", ("puts '{k}' in front", "prepends '{k}'"), "'{k}' + {e}"),
    ("suffix", ("puts '{k}' at the end", "appends '{k}'"), "{e} + '{k}'"),
    ("repeat", ("repeats it {k} times", "writes it {k} times in a row"), "{e} * {k}"),
)


def _apply(op: str, k: Any, x: Any) -> Any:
    match op:
        case "multiply" | "repeat":
            return x * k
        case "add" | "suffix":
            return x + k
        case "subtract":
            return x - k
        case "prefix":
            return k + x
    raise ValueError(f"unknown operation {op!r}")


def _evaluate(ops: list[tuple[str, Any]], x: Any) -> Any:
    for op, k in ops:
        x = _apply(op, k, x)
    return x


def _draw_operand(op: str, rng: random.Random) -> Any:
    if op in ("prefix", "suffix"):
        return rng.choice(WORDS)
    if op == "repeat":
        return rng.randint(2, 5)
    return rng.randint(2, 9) if op == "multiply" else rng.randint(2, 60)


def draw_code(rng: random.Random) -> Problem:
    """A random function to write; the reference holds its name and test cases."""
    difficulty = rng.choice((1, 2, 2, 3))
    is_text = difficulty < 3 and rng.random() < 0.4
    table = TEXT_OPS if is_text else NUMBER_OPS
    rules = {op: (texts, grow) for op, texts, grow in table}
    # No operation twice in a row: "adds 3 and then adds 4" is an odd thing to ask for.
    drawn: list[tuple[str, Any]] = []
    while len(drawn) < difficulty:
        op = rng.choice(table)[0]
        if not drawn or drawn[-1][0] != op:
            drawn.append((op, _draw_operand(op, rng)))
    name = rng.choice(FUNCTION_NAMES)
    said = [rng.choice(rules[op][0]).format(k=k) for op, k in drawn]
    text = rng.choice(TEXTS).format(name=name, ops=" and then ".join(said))
    if is_text:
        text += " The input x is a text."
    trial = rng.choice(("a", "hi")) if is_text else rng.randint(1, 3)

    def solve(slip: Slip) -> Solution:
        steps = [Step("code_plan", {"name": name, "n": len(drawn)})]
        expression, done = "x", []
        for index, (op, k) in enumerate(drawn):
            if isinstance(k, int):
                k = slip.number(k)
            op = slip.choice(op, [other for other, *_ in table if _fits(other, k)])
            inner = expression if expression == "x" else f"({expression})"
            expression = rules[op][1].format(e=inner, k=k)
            done.append((op, k))
            order = "last" if index == len(drawn) - 1 > 0 else ("first", "second")[index]
            values = {"order": order, "said": said[index], "expression": expression}
            steps.append(Step("code_op", values))
        trial_value = repr(_evaluate(done, trial))
        values = {"expression": expression, "trial": repr(trial), "value": trial_value}
        steps.append(Step("code_done", {**values, "name": name}))
        body = f"```python\ndef {name}(x):\n    return {expression}\n```"
        return Solution(tuple(steps), "code_answer", body)

    inputs = ("a", "hi", "sky") if is_text else (0, 1, 3, 10)
    tests = [[[x], _evaluate(drawn, x)] for x in inputs]
    kind = "text_function" if is_text else "number_function"
    return Problem(text, "code", {"function": name, "tests": tests}, difficulty, kind, solve)


def _fits(op: str, k: Any) -> bool:
    """Whether the operation takes an operand of this type."""
    return (op in ("prefix", "suffix")) == isinstance(k, str)
