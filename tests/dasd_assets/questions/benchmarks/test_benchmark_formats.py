"""Rows of the public evaluation sets become questions that are graded right."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pytest

from dasd_assets.profile import Benchmark, Verification
from dasd_assets.questions.benchmarks import livecodebench
from dasd_assets.questions.benchmarks.benchmark_formats import BOXED, FORMATS
from dasd_assets.questions.benchmarks.livecodebench import contest_day, pickled_text
from dasd_assets.questions.reading.unusable import UnusableRowError
from dasd_assets.verification.graders import PAPER_GRADERS, grade

GPQA = {
    "Record ID": "rec0", "Question": "Which planet is red?\n", "Correct Answer": "Mars",
    "Incorrect Answer 1": "Venus", "Incorrect Answer 2": "Earth", "Incorrect Answer 3": "Saturn",
    "Explanation": "Iron oxide.",
}  # fmt: skip
PUBLIC = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
HIDDEN = [{"input": "4 5\n", "output": "9\n", "testtype": "stdin"}]
CALLS = [{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]


def packed(tests: Any) -> str:
    """As the data set stores hidden tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


LCB = {
    "question_title": "Sum", "question_content": "Print the sum.", "platform": "atcoder",
    "question_id": "abc1_a", "contest_id": "abc1", "contest_date": "2024-11-02T00:00:00",
    "starter_code": "", "difficulty": "easy", "public_test_cases": json.dumps(PUBLIC),
    "private_test_cases": packed(HIDDEN), "metadata": "{}",
}  # fmt: skip
LEETCODE = LCB | {
    "starter_code": "class Solution:\n    def shift(self, xs: List[int], by: int) -> List[int]:\n",
    "public_test_cases": json.dumps(CALLS),
    "private_test_cases": packed([CALLS[0] | {"input": "[]\n1", "output": "[]"}]),
    "metadata": json.dumps({"func_name": "shift"}),
}


@pytest.mark.parametrize(
    ("kind", "row", "answer"),
    [
        ("aime", {"problem": "P", "answer": "033"}, "33"),
        ("aime", {"Problem": "P", "Answer": 204}, "204"),
        ("aime", {"question": "P", "answer": "336^\\circ"}, "336"),
        ("aime", {"problem": "P", "answer": 0.0}, "0"),
        ("gsm8k", {"question": "P", "answer": "9 + 9 = <<9+9=18>>18\n#### 1,018"}, "1018"),
        ("math_500", {"problem": "P", "answer": r"\left( 3, \frac{\pi}{2} \right)"},
         r"\left( 3, \frac{\pi}{2} \right)"),
        ("math_500", {"problem": "P", "answer": r"\text{Evelyn}"}, r"\text{Evelyn}"),
    ],
)  # fmt: skip
def test_mathematics_is_asked_for_in_a_box(kind: str, row: dict[str, Any], answer: str) -> None:
    found = FORMATS[kind](row, 0)
    assert (found.domain, found.question, found.answer) == ("math", "P", answer)
    assert found.prompt == f"P\n\n{BOXED}"
    PAPER_GRADERS.check_reference(found.domain, found.answer)
    assert grade("math", rf"So \boxed{{{answer}}}.", found.answer).is_correct
    assert not grade("math", r"So \boxed{77}.", found.answer).is_correct


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("aime", {"id": 1, "text": "P"}, "missing_column: expected problem or Problem or question"),
        ("aime", {"problem": "P"}, "missing_column: expected answer or Answer"),
        ("aime", {"problem": "P", "answer": None}, "empty_field: answer"),
        ("aime", {"problem": "P", "answer": "1000"}, "no_aime_answer"),
        ("aime", {"problem": "P", "answer": "1/2"}, "no_aime_answer"),
        ("aime", {"problem": "P", "answer": 1.5}, "wrong_type: answer: expected text, found float"),
        ("aime", {"problem": " ", "answer": "1"}, "empty_field: problem"),
        ("gsm8k", {"question": "P", "answer": "It is 18"}, "no_gsm8k_answer"),
        ("gsm8k", {"question": "P", "answer": "#### many"}, "no_gsm8k_answer"),
        ("gsm8k", {"question": 3, "answer": "#### 1"}, "wrong_type: question"),
        ("math_500", {"problem": "P", "answer": ""}, "empty_field: answer"),
        ("gpqa", {"Question": "?", "Correct Answer": "A"}, "missing_column: expected Incorrect"),
        ("gpqa", GPQA | {"Incorrect Answer 2": "Mars"}, "ambiguous_options"),
        ("livecodebench", {"problem": "P"}, "missing_column: expected question_content"),
        ("livecodebench", LCB | {"public_test_cases": "{"}, "unreadable_tests: public_test_cases"),
        ("livecodebench", LCB | {"public_test_cases": '[{"input": 1}]'}, "unreadable_tests"),
        ("livecodebench", LCB | {"private_test_cases": "%%%"}, "unreadable_tests: private"),
        ("livecodebench", LCB | {"private_test_cases": packed(HIDDEN)[:40]}, "unreadable_tests"),
        ("livecodebench", LCB | {"private_test_cases": packed(CALLS)}, "unknown_tests: testtype"),
        ("livecodebench", LCB | {"public_test_cases": "[]", "private_test_cases": "[]"},
         "no_tests"),
        ("livecodebench", LEETCODE | {"metadata": "{}"}, "unknown_tests: functional tests"),
        ("livecodebench", LEETCODE | {"metadata": '{"func_name": "os.system"}'}, "unknown_tests"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_say_why(kind: str, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRowError) as error:
        FORMATS[kind](row, 0)
    assert f"{error.value.reason}: {error.value.evidence}".startswith(reason)


def test_options_are_shuffled_by_the_seed_and_the_letter_follows() -> None:
    orders, letters = set(), set()
    for seed in range(40):
        found = FORMATS["gpqa"](GPQA, seed)
        assert found == FORMATS["gpqa"](GPQA, seed)
        lines = found.prompt.split("\n\n")[1].split("\n")
        assert sorted(line[3:] for line in lines) == ["Earth", "Mars", "Saturn", "Venus"]
        assert [line[:3] for line in lines] == ["A) ", "B) ", "C) ", "D) "]
        assert f"{found.answer}) Mars" in lines
        assert grade("science", rf"\boxed{{{found.answer}}}", found.answer).is_correct
        orders.add(tuple(lines))
        letters.add(found.answer)
        # What identifies the question does not hang on the order of its options.
        assert found.question == "Which planet is red?\nEarth\nMars\nSaturn\nVenus"
    assert letters == set("ABCD")
    assert len(orders) > 12


def test_questions_of_one_set_have_their_letters_spread() -> None:
    letters = [FORMATS["gpqa"](GPQA | {"Question": str(n)}, 0).answer for n in range(400)]
    assert all(70 < letters.count(letter) < 130 for letter in "ABCD")


def program(code: str) -> str:
    return f"```python\n{code}\n```"


def test_programs_that_read_standard_input_meet_public_and_hidden_tests() -> None:
    found = FORMATS["livecodebench"](LCB, 0)
    assert found.domain == "code"
    assert [test["input"] for test in found.answer["tests"]] == ["1 2\n", "4 5\n"]
    assert "standard input" in found.prompt
    assert "standard input" not in found.question
    PAPER_GRADERS.check_reference("code", found.answer)
    right = grade("code", program("print(sum(map(int, input().split())))"), found.answer)
    assert right.is_correct, right
    wrong = grade("code", program("input()\nprint(3)"), found.answer)
    assert (wrong.reason, wrong.detail[:7]) == ("failed_test", "test 2:")


def test_functions_are_called_with_the_names_that_the_benchmark_gives() -> None:
    found = FORMATS["livecodebench"](LEETCODE, 0)
    assert "class Solution" in found.prompt
    PAPER_GRADERS.check_reference("code", found.answer)
    body = "        return tuple(x + by for x in xs)"  # a tuple is as good as a list
    right = grade("code", program(LEETCODE["starter_code"] + body), found.answer)
    assert right.is_correct, right
    future = "from __future__ import annotations\n"
    assert grade("code", program(future + LEETCODE["starter_code"] + body), found.answer).is_correct
    wrong = grade("code", program(LEETCODE["starter_code"] + "        return xs"), found.answer)
    assert wrong.reason == "failed_test"


def test_a_function_outside_of_a_class_is_called_by_its_name() -> None:
    row = LEETCODE | {"starter_code": "def shift(xs, by):\n"}
    found = FORMATS["livecodebench"](row, 0)
    code = "def shift(xs, by):\n    return [x + by for x in xs]"
    assert grade("code", program(code), found.answer).is_correct


def test_each_functional_test_has_limits_of_its_own() -> None:
    calls = [{"input": str(n), "output": str(n), "testtype": "functional"} for n in range(3)]
    row = LEETCODE | {"private_test_cases": packed(calls), "public_test_cases": "[]"}
    found = FORMATS["livecodebench"](row, 0)
    slow = (
        "class Solution:\n    def shift(self, x):\n        end = time.process_time() + 0.7\n"
        "        while time.process_time() < end:\n            pass\n        return x"
    )
    limits = Verification(code_seconds=1.0)
    assert grade("code", program(f"import time\n{slow}"), found.answer, limits).is_correct


def test_hidden_tests_that_lie_open_are_read_too() -> None:
    row = LCB | {"private_test_cases": json.dumps(HIDDEN)}
    assert FORMATS["livecodebench"](row, 0) == FORMATS["livecodebench"](LCB, 0)


class Attack:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("attacked",))


def zipped(pickled: bytes) -> str:
    return base64.b64encode(zlib.compress(pickled)).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_text_is_read_without_unpickling(protocol: int) -> None:
    for text in ("", "[]", "é" * 300, "x" * 70_000):
        assert pickled_text(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize("value", [Attack(), [Attack()], ["a", "b"], {"a": "b"}, 1, b"[]", None])
def test_any_other_pickle_is_refused_and_never_run(
    value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        row = LCB | {"private_test_cases": zipped(pickle.dumps(value, protocol))}
        with pytest.raises(UnusableRowError) as error:
            FORMATS["livecodebench"](row, 0)
        assert error.value.reason == "unsafe_tests"
    assert capsys.readouterr().out == ""


def test_hidden_tests_that_unpack_to_too_much_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(livecodebench, "MAX_TEST_BYTES", 1_000)
    row = LCB | {"private_test_cases": zipped(pickle.dumps("x" * 2_000))}
    with pytest.raises(UnusableRowError) as error:
        FORMATS["livecodebench"](row, 0)
    assert error.value.evidence == "private_test_cases: cut off, or over 1000 bytes"


@pytest.mark.parametrize(
    "value", ["2024-11-02T00:00:00", "2024-11-02", date(2024, 11, 2), datetime(2024, 11, 2, 5)]
)
def test_the_day_of_a_contest(value: Any) -> None:
    assert contest_day({"contest_date": value}) == date(2024, 11, 2)


@pytest.mark.parametrize(
    "row", [{}, {"contest_date": "soon"}, {"contest_date": None}, {"contest_date": 5}]
)
def test_a_problem_without_a_day_is_refused(row: Mapping[str, Any]) -> None:
    with pytest.raises(UnusableRowError):
        contest_day(row)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "mmlu"}, "'livecodebench'"),
        ({"format": "aime", "since": "2024-01-01"}, "since and before are for livecodebench"),
        ({"format": "livecodebench", "since": "2025-02-01", "before": "2025-02-01"}, "earlier"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Benchmark(path="a.jsonl", max_tokens=1, **settings)
