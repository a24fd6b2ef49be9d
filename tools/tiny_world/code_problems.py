"""Small Python functions described in words, one operation or two."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from tools.tiny_world.problems import Mind, Pass, Problem, Step

FUNCTION_NAMES = ("f", "g", "step", "apply", "change", "convert", "update", "run")
WORDS = ("red", "sun", "cat", "top", "new", "blue", "end", "go")
TEXTS = (
    "Write a Python function `{name}` that takes x, {ops}.",
    "Define a function `{name}(x)` in Python which {ops}.",
    "I need a Python function called `{name}`. Given x, it {ops}.",
    "Please write `{name}(x)` in Python. It {ops}.",
)
# By name: how the question says it, and how the expression grows.
NUMBER_OPS = {
    "multiply": (("multiplies it by {k}", "takes {k} times the value"), "{e}*{k}"),
    "add": (("adds {k}", "increases it by {k}"), "{e}+{k}"),
    "subtract": (("subtracts {k}", "decreases it by {k}"), "{e}-{k}"),
}
TEXT_OPS = {
    "prefix": (("puts '{k}' in front", "prepends '{k}'"), "'{k}'+{e}"),
    "suffix": (("puts '{k}' at the end", "appends '{k}'"), "{e}+'{k}'"),
    "repeat": (("repeats it {k} times", "writes it {k} times in a row"), "{e}*{k}"),
}
Op = tuple[str, Any, str]
"""Name, operand, and how the question says it."""


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


def _draw_ops(rng: random.Random, n: int, is_text: bool) -> list[Op]:
    table = TEXT_OPS if is_text else NUMBER_OPS
    drawn: list[Op] = []
    while len(drawn) < n:
        op = rng.choice(tuple(table))
        # No operation twice in a row: "adds 3 and then adds 4" is an odd thing to ask for.
        if drawn and drawn[-1][0] == op:
            continue
        k: Any = rng.choice(WORDS) if op in ("prefix", "suffix") else rng.randint(2, 9)
        drawn.append((op, k, rng.choice(table[op][0]).format(k=k)))
    return drawn


def _grown(op: str, k: Any, expression: str) -> str:
    inner = expression if expression == "x" else f"({expression})"
    return (NUMBER_OPS | TEXT_OPS)[op][1].format(e=inner, k=k)


def _fits(op: str, k: Any) -> bool:
    """Whether the operation takes an operand of this type."""
    return (op in ("prefix", "suffix")) == isinstance(k, str)


def _walk(way: int, name: str, ops: list[Op], mind: Mind) -> Pass:
    """From x outwards; from the last operation inwards; by what becomes of an example."""
    table = tuple(TEXT_OPS if ops[0][0] in TEXT_OPS else NUMBER_OPS)
    done: list[tuple[str, Any]] = []
    for place, (right, k, said) in enumerate(ops):
        phrase = said.replace(str(k), "")
        op = mind.choice(right, [o for o in table if _fits(o, k)], f"{phrase} in place {place}")
        done.append((op, mind.number(k, None) if isinstance(k, int) else k))
    expression, grown = "x", []
    for op, k in done:
        expression = _grown(op, k, expression)
        grown.append(expression)
    if way == 0:
        parts = [f"{said}: {e}" for (_, _, said), e in zip(ops, grown, strict=True)]
        steps = [Step("code_outwards", {"parts": ", then ".join(parts)})]
    elif way == 1:
        holes = [_grown(op, k, "_").replace("(_)", "_") for op, k in done]
        parts = [f"{said}: {hole}" for (_, _, said), hole in zip(ops, holes, strict=True)]
        steps = [Step("code_inwards", {"parts": ", after ".join(reversed(parts))})]
    else:
        x = "a" if table[0] in TEXT_OPS else 1
        values = [repr(_evaluate(done[: n + 1], x)) for n in range(len(done))]
        parts = [f"{said}: {value}" for (_, _, said), value in zip(ops, values, strict=True)]
        steps = [Step("code_example", {"x": repr(x), "parts": ", then ".join(parts)})]
    body = f"```python\ndef {name}(x):\n    return {expression}\n```"
    return Pass(tuple(steps), expression, body)


def draw_code(rng: random.Random, difficulty: int) -> Problem:
    """A random function to write; the reference holds its name and test cases."""
    is_text = rng.random() < 0.4
    ops = _draw_ops(rng, difficulty, is_text)
    name = rng.choice(FUNCTION_NAMES)
    text = rng.choice(TEXTS).format(name=name, ops=" and then ".join(said for *_, said in ops))
    if is_text:
        text += " The input x is a text."
    right = [(op, k) for op, k, _ in ops]
    tests = [[[x], _evaluate(right, x)] for x in (("a", "hi", "sky") if is_text else (0, 1, 3, 10))]
    kind = "text_function" if is_text else "number_function"
    plan = Step("code_plan", {"name": name, "n": {1: "one thing", 2: "two things"}[difficulty]})
    ways = tuple(partial(_walk, way, name, ops) for way in range(3))
    reference = {"function": name, "tests": tests}
    return Problem(text, "code", reference, difficulty, kind, plan, ways)
