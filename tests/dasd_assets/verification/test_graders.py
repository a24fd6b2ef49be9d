"""Graders: right, wrong and hostile answers per domain."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dasd_assets.verification.graders import PAPER_GRADERS, grade

DOUBLE = {"function": "f", "tests": [[[0], 2], [[3], 8]]}
GREET = {"function": "g", "tests": [[["a"], "hiahia"]]}
LIST = {"constraints": [{"type": "items", "separator": ",", "values": ["lamp", "fish"]}]}
NUMBERED = {
    "constraints": [
        {"type": "last_line", "value": "Done."},
        {"type": "numbered_lines", "values": ["lamp", "fish"]},
    ]
}


def code(body: str, name: str = "f") -> str:
    return f"Here it is:\n```python\ndef {name}(x):\n    return {body}\n```"


@pytest.mark.parametrize(
    ("answer", "reference", "reason"),
    [
        (r"The answer is \boxed{632}.", "632", "correct"),
        (r"\boxed{ 1,632 }", "1632", "correct"),
        (r"\boxed{-4.50}", "-4.5", "correct"),
        (r"First \boxed{1}, no, \boxed{2}", "2", "correct"),
        (r"\boxed{631}", "632", "wrong_number"),
        ("The answer is 632.", "632", "no_boxed_answer"),
        (r"\boxed{six}", "6", "not_equal"),
        (r"\boxed{NaN}", "6", "not_equal"),
        (r"\boxed{1e999999999}", "6", "not_equal"),
        (r"\boxed{" + "9" * 5000 + "}", "6", "expression_too_long"),
        (r"\boxed{٣}", "3", "not_an_expression"),
        (r"\boxed{}", "3", "not_an_expression"),
        (r"\boxed{3", "3", "no_boxed_answer"),
        (r"\boxed{1 2}", "3", "not_an_expression"),
        (r"\boxed{\frac{1}{2}}", "0.5", "correct"),
        (r"\boxed{\dfrac{\sqrt{2}}{2}}", r"\frac{1}{\sqrt{2}}", "correct"),
        (r"\boxed{204^\circ}", "204", "correct"),
        (r"\boxed{x = 10}", 10, "correct"),
        (r"\boxed{1 + x}", "$x + 1$", "correct"),
        (r"\boxed{x + 2}", "x + 1", "not_equal"),
        ("", "632", "empty_answer"),
    ],
)
def test_math(answer: str, reference: str, reason: str) -> None:
    result = grade("math", answer, reference)
    assert (result.is_correct, result.reason) == (reason == "correct", reason)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("The answer is B.", "correct"),
        ("Answer: (B)", "correct"),
        ("B", "correct"),
        ("**B)**", "correct"),
        ("The answer is A. No, the answer is B.", "correct"),
        ("The answer is C.", "wrong_option"),
        ("Because boron is heavy.", "no_option_stated"),
    ],
)
def test_science(answer: str, reason: str) -> None:
    result = grade("science", answer, "B")
    assert (result.is_correct, result.reason) == (reason == "correct", reason)


@pytest.mark.parametrize(
    ("answer", "reference", "reason"),
    [
        (code("(x * 2) + 2"), DOUBLE, "correct"),
        (code("2 + x + x"), DOUBLE, "correct"),
        (code("x * 50000.0"), {"function": "f", "tests": [[[2], 100000]]}, "correct"),
        ("```python\ndef f(x):\n    '''Doc.'''\n    return x * 2 + 2\n```", DOUBLE, "correct"),
        (code("('hi' + x) * 2 ", "g"), {**GREET, "tests": [[["a"], "hiahia"]]}, "correct"),
        (code("x * 2"), DOUBLE, "failed_test"),
        (code("x * 2 + 2", "h"), DOUBLE, "wrong_function_name"),
        ("def f(x): return x * 2 + 2", DOUBLE, "no_code_block"),
        ("```python\ndef f(x:\n```", DOUBLE, "syntax_error"),
        ("```python\nimport os\ndef f(x):\n    return 2\n```", DOUBLE, "not_a_single_function"),
        ("```python\ndef f(x):\n    y = x * 2\n    return y\n```", DOUBLE, "not_a_single_return"),
        ("```python\ndef f(x, y):\n    return x * 2 + 2\n```", DOUBLE, "wrong_parameters"),
        ("```python\ndef f(x=print(1)):\n    return x * 2 + 2\n```", DOUBLE, "wrong_parameters"),
        ("```python\n@exit\ndef f(x):\n    return x\n```", DOUBLE, "wrong_parameters"),
        (code("y * 2 + 2"), DOUBLE, "evaluation_failed"),
        (code("x / 0"), DOUBLE, "evaluation_failed"),
        (code("x + 'a'"), DOUBLE, "evaluation_failed"),
    ],
)
def test_code(answer: str, reference: object, reason: str) -> None:
    result = grade("code", answer, reference)
    assert (result.is_correct, result.reason) == (reason == "correct", reason)


@pytest.mark.parametrize(
    "body",
    [
        "__import__('os').system('touch owned')",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 1)()",
        "[y for y in range(10 ** 9)]",
        "f'{x!r:>1000000000}'",
        "9 ** 9 ** 9 ** 9",
        "'a' * 10 ** 9",
        "[0] * 10 ** 9",
        "((0,) * 10000) * 10000",
        "'%1000000000d' % x",
        "*".join(["99999999999999999999"] * 90),
        "(" * 150 + "x" + ")" * 150,
        "-" * 5000 + "x",
        "x[10 ** 6]",
        "exit()",
        "(x := 3)",
        "4000000 ** 4000000",
    ],
)
def test_hostile_code_is_wrong_quickly_and_runs_nothing(body: str) -> None:
    start = time.monotonic()
    result = grade("code", code(body), DOUBLE)
    assert not result.is_correct
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "reason"),
    [
        ("lamp, fish", LIST, "correct"),
        ("lamp,fish\n", LIST, "correct"),
        ("fish, lamp", LIST, "broken_items"),
        ("Sure! lamp, fish", LIST, "broken_items"),
        ("1. lamp\n2. fish\nDone.", NUMBERED, "correct"),
        ("1. lamp\n2. fish", NUMBERED, "broken_last_line"),
        ("1. lamp\n3. fish\nDone.", NUMBERED, "broken_numbered_lines"),
        ("1. lamp\nand\n2. fish\nDone.", NUMBERED, "broken_numbered_lines"),
        ("Done.", {"constraints": NUMBERED["constraints"][:1]}, "correct"),
        ("More.\nDone.", {"constraints": NUMBERED["constraints"][:1]}, "more_than_asked"),
        ("exact text\n", "exact text", "correct"),
        ("Exact text", "exact text", "not_exact"),
    ],
)
def test_instruction_following(answer: str, reference: object, reason: str) -> None:
    result = grade("instruction_following", answer, reference)
    assert (result.is_correct, result.reason) == (reason == "correct", reason)


@pytest.mark.parametrize(
    ("domain", "reference"),
    [
        ("poetry", "x"),
        ("math", ""),
        ("math", []),
        ("math", [["1"]]),
        ("math", ["?", None]),
        ("math", True),
        ("science", "AB"),
        ("code", {"function": "f"}),
        ("code", {"function": "f", "tests": []}),
        ("code", {"function": "f", "tests": [1]}),
        ("code", {"function": "f", "tests": [[1, 2]]}),
        ("code", {"function": 1, "tests": [[[1], 2]]}),
        ("code", "print(1)"),
        ("code", {"tests": []}),
        ("code", {"tests": [{"input": "1"}]}),
        ("code", {"tests": [{"input": 1, "output": 2}]}),
        ("code", {"assertions": ["assert f(1)"]}),
        ("code", {"entry_point": "f", "assertions": "assert f(1)"}),
        ("instruction_following", {"constraints": []}),
        ("instruction_following", {"constraints": [{"type": "rhymes"}]}),
        ("instruction_following", {"constraints": [{"type": "last_line"}]}),
        ("instruction_following", {"constraints": [{"type": "last_line", "value": 1}]}),
        ("instruction_following", {"constraints": [{"type": "items", "values": ["a"]}]}),
        (
            "instruction_following",
            {"constraints": [{"type": "items", "separator": "", "values": ["a"]}]},
        ),
        ("instruction_following", {"constraints": [{"type": "numbered_lines", "values": "ab"}]}),
        ("instruction_following", {"constraints": [{"type": "numbered_lines", "values": [1]}]}),
    ],
)
def test_bad_reference_is_an_error_not_a_wrong_answer(domain: str, reference: object) -> None:
    with pytest.raises(ValueError, match=r"known|reference"):
        grade(domain, "anything", reference)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["constraints", "type", "values", "value", "tests", "function",
                             "assertions", "input", "output"]), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip
ANSWERS = {
    "math": "It is 3.",
    "science": "The answer is B.",
    "code": code("x * 2"),
    "instruction_following": "lamp, fish",
}


@settings(max_examples=300, deadline=None)
@given(domain=st.sampled_from(sorted(PAPER_GRADERS.domains)), reference=JSON)
def test_whatever_the_reference_there_is_a_verdict_or_a_value_error(
    domain: str, reference: object
) -> None:
    try:
        result = grade(domain, ANSWERS[domain], reference)
    except ValueError as error:
        assert str(error)
    else:
        assert result.reason


REFERENCES = {"math": "1", "code": DOUBLE, "science": "A", "instruction_following": NUMBERED}
SNIPPETS = st.sampled_from(["\\boxed{", "}", "```python\n", "def f(x):\n    return ", "```", "\n"])


@settings(max_examples=200, deadline=None)
@given(
    domain=st.sampled_from(sorted(PAPER_GRADERS.domains)),
    pieces=st.lists(st.one_of(st.text(max_size=12), SNIPPETS), max_size=12),
)
def test_no_text_raises(domain: str, pieces: list[str]) -> None:
    result = grade(domain, "".join(pieces), REFERENCES[domain])
    assert result.is_correct == (result.reason == "correct")
