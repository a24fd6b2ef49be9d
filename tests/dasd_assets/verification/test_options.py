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
        (r"\boxed{\mathrm{B}}", "B"),
        (r"\boxed{\text{B) Mars}}", "B"),
        (r"\boxed{\mathbf{(B)}\ 12}", "B"),
        (r"\boxed{\textbf{Option B}}", "B"),
        (r"\boxed{\text{B. A rock}}", "B"),
        (r"\boxed{\boldsymbol{b}}", "B"),
        (r"\boxed{B \text{ and } C}", None),
        (r"\boxed{\text{Barium}}", None),
        (r"The answer is $\mathrm{B}$.", "B"),
        ("The correct option is B. The answer is a consequence of momentum conservation.", "B"),
        ("The correct option is B. The answer is A consequence of momentum.", "B"),
        ("The answer is B. This option a student would pick.", "B"),
        ("The answer is B. Option A is wrong, as is option C.", "B"),
        ("The answer is B. I chose this option I think well.", "B"),
        ("The correct choice is therefore **B** because A is too small.", "B"),
        ("The answer to this question is B.", "B"),
        ("So (B) is correct, and A is the wrong one.", "B"),
        ("Therefore B is the best answer.", "B"),
        ("A is incorrect. I select option B.", "B"),
        ("We compare.\n\n**B) Mars**", "B"),
        ("We compare.\n\nB", "B"),
        ("B. Mars", "B"),
        ("the answer is b)", "B"),
        ("The answer is A because B is false, so no: the answer is B", "B"),
        ("The answer is a matter of taste.", None),
        ("The answer is not A", None),
        ("A rock is the answer I think.", None),
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
