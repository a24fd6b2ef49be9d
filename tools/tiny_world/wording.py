"""How a step reads in English: one usual wording each, and for some a rarer one."""

from __future__ import annotations

import random
from typing import Final

from tools.tiny_world.problems import Step

PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "math_plan": ("We need {expression}.", "The task is {expression}."),
    "math_split": ("Split it: {equations}.",),
    "math_onward": ("Step by step: {equations}.",),
    "math_round": ("With a round number: {equations}.",),
    "math_other": ("From the other one: {equations}.",),
    "math_up": ("Counting up: {equations}.",),
    "code_plan": ("{name} does {n}.", "We write {name}, which does {n}."),
    "code_outwards": ("It {parts}.",),
    "code_inwards": ("From the end, it {parts}.",),
    "code_example": ("For x = {x} it {parts}.",),
    "science_plan": ("We need {wanted}.", "Asked is {wanted}."),
    "fact_number": ("{name} has number {number}.",),
    "fact_by_symbol": ("{name} is written {symbol}, and {symbol} has number {number}.",),
    "fact_symbol": ("{name} is written {symbol}.",),
    "fact_number_symbol": ("{name} has number {number}, and {number} is written {symbol}.",),
    "fact_name": ("Number {number} is {name}.",),
    "fact_symbol_name": ("Number {number} is written {symbol}, and {symbol} is {name}.",),
    "fact_options": ("Through the options: {seen}.",),
    "fact_count": ("{name} has number {number}, {where} it is {target}, and {target} is {found}.",),
    "fact_order": ("In the order of names, {where} {name} stands {found}.",),
    "fact_from": ("From {name} with {number}, through the options: {seen}.",),
    "read_options": ("The options are {listed}.",),
    "items_plan": ("We {task} with {separator}.", "The task is to {task} with {separator}."),
    "items_forwards": ("In turn with {mark} we take {listed}.",),
    "items_backwards": ("From the end with {mark} we take {listed}.",),
    "items_at_once": ("All at once with {mark}: {listed}.",),
    "result": ("So it is {result}.",),
    "check": ("Let me check another way.", "Wait, let me look again."),
    "agrees": ("It is {result} again.",),
    "disagrees": ("No, it is {result}, not {earlier}.",),
    "math_answer": ("The answer is \\boxed{{{answer}}}.", "The result is \\boxed{{{answer}}}."),
    "code_answer": ("Here it is:\n\n{answer}", "{answer}"),
    "science_answer": ("The answer is ({answer}).",),
    "instruction_following_answer": ("{answer}",),
}


def say(step: Step, rng: random.Random, usual_share: float) -> str:
    """The step as a sentence, in its usual wording with that share, else in its rarer one."""
    phrases = PHRASES[step.key]
    is_usual = len(phrases) == 1 or rng.random() < usual_share
    return phrases[not is_usual].format(**step.values)
