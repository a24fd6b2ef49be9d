"""The letter an answer settles on."""

from __future__ import annotations

import pytest

from dasd_assets.verification.options import grade_option


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("The answer is B.", "B"),
        ("The answer is (B) because of A.", "B"),
        (r"The answer is A, so \boxed{B}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{\textbf{B}}", "B"),
        ("**Answer:** B", "B"),
        ("**Answer: B**", "B"),
        ("Answer:\n\nB", "B"),
        ("The correct option is B", "B"),
        ("The right choice is **B**.", "B"),
        ("answer: b", "B"),
        ("B", "B"),
        ("(B)", "B"),
        (r"\boxed{3.2} is option B", "B"),
        ("The answer is I think unclear", None),
        ("Boron is heavier than A.", None),
        ("", None),
    ],
)
def test_the_letter(answer: str, letter: str | None) -> None:
    result = grade_option(answer, "B")
    assert result.extracted == letter
    assert result.is_correct is (letter == "B")


@pytest.mark.parametrize("reference", ["", "AB", "1", None])
def test_a_reference_is_one_letter(reference: object) -> None:
    with pytest.raises(ValueError, match="science reference must be one letter"):
        grade_option("A", reference)
