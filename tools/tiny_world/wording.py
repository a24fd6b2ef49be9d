"""How a solution reads in English: phrase books, and the two styles that use them.

A phrase book maps a step's key to several sentences with the same meaning. Two books share
their keys and equations but not their words, as two models from different houses would.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tools.tiny_world.problems import Solution, Step

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Book:
    """A way to talk.

    Attributes:
        openings: said before the steps of a verbose solution.
        steps: sentences per step key; a step whose key is missing is left out.
        check_openings: said before the second pass of a verbose solution.
        checks: sentences per step key for the second pass.
        closings: said after the second pass.
        answers: wording of the final answer per answer key.
    """

    openings: tuple[str, ...]
    steps: Phrases
    check_openings: tuple[str, ...]
    checks: Phrases
    closings: tuple[str, ...]
    answers: Phrases


def _sentences(book: Phrases, steps: tuple[Step, ...], rng: random.Random) -> list[str]:
    texts = []
    for step in steps:
        if step.key in book:
            text = rng.choice(book[step.key]).format(**step.values)
            texts.append(text[0].upper() + text[1:])
    return texts


def tell(
    solution: Solution, book: Book, is_verbose: bool, rng: random.Random
) -> tuple[list[str], str]:
    """Sentences of the reasoning and the final answer's text.

    The terse style is the steps alone. The verbose style opens with a remark and goes through
    the steps a second time in other words, with the same values.
    """
    sentences = _sentences(book.steps, solution.steps, rng)
    if is_verbose:
        sentences = [
            rng.choice(book.openings),
            *sentences,
            rng.choice(book.check_openings),
            *_sentences(book.checks, solution.steps, rng),
            rng.choice(book.closings),
        ]
    answer = rng.choice(book.answers[solution.answer_key]).format(answer=solution.answer)
    return sentences, answer


TEACHER: Final = Book(
    openings=(
        "Let me work through this carefully.",
        "We need to be careful here, so let us go step by step.",
        "Okay, let me think about what is being asked.",
    ),
    steps={
        "add_plan": ("We need to add {a} and {b}.", "The task is to compute {a} + {b}."),
        "add_column": (
            "The {place}: {terms} = {column}, write {digit}, carry {carry}.",
            "For the {place} we get {terms} = {column}, so write {digit} and carry {carry}.",
        ),
        "add_total": ("So {a} + {b} = {total}.", "That gives a sum of {total}."),
        "sub_plan": ("We need to subtract {b} from {a}.", "The task is to compute {a} - {b}."),
        "sub_column": (
            "The {place}: {terms} = {digit}, borrow {borrow}.",
            "For the {place} we get {terms} = {digit}, with borrow {borrow}.",
        ),
        "sub_total": ("So {a} - {b} = {total}.", "That leaves {total}."),
        "groups_plan": (
            "We need {n} times {m}, and {m} = 10 + {rest_factor}.",
            "The task is {n} * {m}, where {m} splits into 10 + {rest_factor}.",
        ),
        "groups_tens": ("First, {n} * 10 = {tens}.", "The tens give {n} * 10 = {tens}."),
        "groups_rest": (
            "Then {n} * {rest_factor} = {rest}.",
            "The rest gives {n} * {rest_factor} = {rest}.",
        ),
        "groups_total": ("So {tens} + {rest} = {total}.", "Together {tens} + {rest} = {total}."),
        "code_plan": ("The function {name} takes x.", "We define {name} with one input x."),
        "code_op": (
            "The {order} step {said}, which gives {expression}.",
            "In the {order} step it {said}, so we have {expression}.",
        ),
        "code_done": ("So {name} returns {expression}.", "The body is return {expression}."),
        "fact_number": (
            "{name} has the atomic number {number}.",
            "We recall that {name} has {number} protons.",
        ),
        "fact_symbol": (
            "The symbol of {name} is {symbol}.",
            "We recall that {name} is written {symbol}.",
        ),
        "fact_name": (
            "The atomic number {number} is that of {name}.",
            "We recall that {number} protons make {name}.",
        ),
        "element_number": (
            "{name} has the atomic number {number}.",
            "We recall that {name} has {number} protons.",
        ),
        "planet_number": (
            "{name} is planet number {number}.",
            "We recall that {name} is number {number} from the Sun.",
        ),
        "number_next": (
            "The number {way} {number} is {target}.",
            "Right {way} {number} comes {target}.",
        ),
        "element_name": (
            "The atomic number {number} is that of {name}.",
            "We recall that {number} protons make {name}.",
        ),
        "planet_name": (
            "The planet with number {number} is {name}.",
            "We recall that number {number} is {name}.",
        ),
        "option_look": (
            "The options are {labelled}, and we look for {wanted}.",
            "With the options {labelled} we need {wanted}.",
        ),
        "option_pick": (
            "The right one is {option} {letter}.",
            "That is {option} {letter}.",
        ),
        "option_rest": ("The others are {others}.", "It is none of {others}."),
        "reverse_item": ("Word {n} is {item}.", "For word {n} we take {item}."),
        "copy_plan": (
            "The words are {words}, and the order stays.",
            "We need to keep the {n} words {words} in order.",
        ),
        "copy_item": ("Word {n} is {item}.", "For word {n} we take {item}."),
        "uppercase_item": ("Word {n} is {item}.", "For word {n} we take {item}."),
        "repeat_item": ("Word {n} is {item}.", "For word {n} we take {item}."),
        "reverse_plan": (
            "The words are {words}, and we need them backwards.",
            "We need to reverse the {n} words {words}.",
        ),
        "uppercase_plan": (
            "The words are {words}, and we need capitals.",
            "We need the {n} words {words} in upper case.",
        ),
        "repeat_plan": (
            "We need the word {words} {n} times.",
            "The word {words} has to appear {n} times.",
        ),
        "format_separated": ("We use {separator} between them.", "The separator is {separator}."),
        "format_ending": ("The last line has to be Done.", "We end with the line Done."),
    },
    check_openings=(
        "Let me double-check this before I answer.",
        "Wait, let me verify the result once more.",
        "Before answering, let us check it again.",
    ),
    checks={
        "add_plan": ("Again we look at {a} + {b} from right to left.",),
        "add_column": (
            "In the {place} column {terms} makes {column}, with {digit} written down.",
            "Checking the {place}, {terms} is {column}, and {digit} stays there.",
        ),
        "add_total": ("The sum {total} is confirmed.", "So the result {total} holds."),
        "sub_plan": ("Again we look at {a} - {b} from right to left.",),
        "sub_column": (
            "In the {place} column {terms} makes {digit}.",
            "Checking the {place}, {terms} is {digit} indeed.",
        ),
        "sub_total": ("The difference {total} is confirmed.", "So the result {total} holds."),
        "groups_plan": ("Again, {n} groups of {m} are counted together.",),
        "groups_tens": ("Ten in each of the {n} groups makes {tens}.",),
        "groups_rest": ("The other {rest_factor} in each of the {n} groups make {rest}.",),
        "groups_total": ("Adding {tens} and {rest} gives {total} again.",),
        "code_plan": ("The question asks for {name} with {n} operations in order.",),
        "code_op": (
            "It {said} in the {order} place, and {expression} does that.",
            "Since it {said}, the {order} expression {expression} is right.",
        ),
        "code_done": (
            "For x = {trial} the expression {expression} gives {value}, which looks right.",
            "Trying x = {trial} in {expression} we get {value}, as it should be.",
        ),
        "fact_number": ("In the periodic table, {name} stands at place {number}.",),
        "fact_symbol": ("In the periodic table, {symbol} stands for {name}.",),
        "fact_name": ("In the periodic table, place {number} belongs to {name}.",),
        "element_number": ("In the periodic table, {name} stands at place {number}.",),
        "planet_number": ("Counting from the Sun, {name} has place {number}.",),
        "number_next": ("From place {number} we go to place {target}.",),
        "element_name": ("In the periodic table, place {number} belongs to {name}.",),
        "planet_name": ("Counting from the Sun, place {number} belongs to {name}.",),
        "option_look": ("Among {options} we want {wanted}.",),
        "option_pick": ("Looking again, {option} stands next to {letter}.",),
        "reverse_item": ("In place {n} there is {item}.", "Place {n} holds {item}."),
        "copy_plan": ("Going through {words} one by one again.",),
        "copy_item": ("In place {n} there is {item}.", "Place {n} holds {item}."),
        "uppercase_item": ("In place {n} there is {item}.", "Place {n} holds {item}."),
        "repeat_item": ("In place {n} there is {item}.", "Place {n} holds {item}."),
        "reverse_plan": ("Reading {words} from the end to the start again.",),
        "uppercase_plan": ("Going through {words} one by one again.",),
        "repeat_plan": ("Counting how often {words} is written again.",),
        "format_separated": ("The words are split by {separator} as asked.",),
        "format_ending": ("And Done. closes the answer.",),
    },
    closings=("Everything agrees.", "This confirms the answer.", "All good, so we can answer."),
    answers={
        "math_answer": ("The answer is \\boxed{{{answer}}}.", "The result is \\boxed{{{answer}}}."),
        "code_answer": ("Here is the function:\n\n{answer}", "{answer}"),
        "science_answer": ("The answer is {answer}.",),
        "instruction_answer": ("{answer}",),
    },
)

STUDENT: Final = Book(
    openings=("Let's see.", "Okay."),
    steps={
        "add_plan": ("{a} + {b} is asked.", "Adding {a} and {b}."),
        "add_column": (
            "{place}: {terms} = {column}, put {digit}, carry {carry}.",
            "{terms} = {column} in the {place}, put {digit}, carry {carry}.",
        ),
        "add_total": ("{a} + {b} = {total}.", "Sum {total}."),
        "sub_plan": ("{a} - {b} is asked.", "Taking {b} from {a}."),
        "sub_column": (
            "{place}: {terms} = {digit}, borrow {borrow}.",
            "{terms} = {digit} in the {place}, borrow {borrow}.",
        ),
        "sub_total": ("{a} - {b} = {total}.", "Difference {total}."),
        "groups_plan": ("{n} * {m} with {m} = 10 + {rest_factor}.",),
        "groups_tens": ("{n} * 10 = {tens}.",),
        "groups_rest": ("{n} * {rest_factor} = {rest}.",),
        "groups_total": ("{tens} + {rest} = {total}.",),
        "code_op": ("It {said}: {expression}.", "{order} it {said}, {expression}."),
        "code_done": ("So {name} gives {expression}.",),
        "fact_number": ("{name} is number {number}.",),
        "fact_symbol": ("{name} is {symbol}.",),
        "fact_name": ("Number {number} is {name}.",),
        "element_number": ("{name} is number {number}.",),
        "planet_number": ("{name} is number {number}.",),
        "number_next": ("{way} {number} is {target}.",),
        "element_name": ("Number {number} is {name}.",),
        "planet_name": ("Number {number} is {name}.",),
        "option_pick": ("See {option} at {letter}.", "It is {option} so {letter}."),
        "reverse_item": ("{n} {item}.", "At {n} {item}."),
        "copy_plan": ("Same order of {words}.",),
        "copy_item": ("{n} {item}.", "At {n} {item}."),
        "uppercase_item": ("{n} {item}.", "At {n} {item}."),
        "repeat_item": ("{n} {item}.", "At {n} {item}."),
        "reverse_plan": ("From the back of {words}.",),
        "uppercase_plan": ("In big letters: {words}.",),
        "repeat_plan": ("It is {words} {n} times.",),
        "format_separated": ("With {separator}.",),
        "format_ending": ("Done. at the end.",),
    },
    check_openings=("Check.", "Once more."),
    checks={
        "fact_number": ("{name} has {number}.",),
        "fact_symbol": ("{symbol} for {name}.",),
        "fact_name": ("{number} for {name}.",),
        "element_number": ("{name} has {number}.",),
        "element_name": ("{number} for {name}.",),
        "planet_name": ("{number} for {name}.",),
        "option_pick": ("{letter} has {option}.",),
        "reverse_item": ("{n} is {item}.",),
        "copy_item": ("{n} is {item}.",),
        "uppercase_item": ("{n} is {item}.",),
        "repeat_item": ("{n} is {item}.",),
        "add_column": ("{terms} is {column}.",),
        "add_total": ("{total} it is.",),
        "sub_column": ("{terms} is {digit}.",),
        "sub_total": ("{total} it is.",),
        "groups_tens": ("{tens} from the tens.",),
        "groups_rest": ("{rest} from the rest.",),
        "groups_total": ("{total} it is.",),
        "code_op": ("{expression} for {said}.",),
    },
    closings=("Fine.", "Good enough."),
    answers={
        "math_answer": ("The answer is \\boxed{{{answer}}}.", "It is \\boxed{{{answer}}}."),
        "code_answer": ("{answer}",),
        "science_answer": ("The answer is {answer}.", "Answer: {answer}"),
        "instruction_answer": ("{answer}",),
    },
)
