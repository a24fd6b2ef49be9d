"""The page says what the numbers say, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dasd_assets.profile import load_profile
from dasd_assets.reporting.figures import to_png
from tools.ablation.arms import ARMS, BASE, CLAIMS, STAGES, Comparison
from tools.ablation.findings import finding, summary
from tools.ablation.page import HAND_WRITTEN, NOTHING_YET, Found, by_hand, render
from tools.ablation.plots import arm_dots, difference_dots, stage_bars
from tools.ablation.results import ArmResult, Compared, compared
from tools.ablation.statistics import Floats, effect

pytestmark = pytest.mark.slow

TINY = load_profile("tiny")
NAMES = {BASE: "base student"} | {arm.name: arm.label for arm in ARMS}


def result(name: str, accuracy: float, seed: int = 0) -> ArmResult:
    """An arm that is right on just that share; others of the same seed have the same noise."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (2, 5, 30))
    noise -= noise.mean()
    values: dict[str, Floats] = {"math": accuracy + noise[0], "code": accuracy + noise[1]}
    training = {"n_samples": 600.0, "n_tokens": 63_012.0, "right_share": 0.9512, "steps": 84.0,
                "n_teacher_sentences": 4.2}  # fmt: skip
    return ArmResult(
        name, NAMES[name], values, effect(values),
        {benchmark: effect({benchmark: each}) for benchmark, each in values.items()},
        98.7, 0.0123, {} if name == BASE else training,
    )  # fmt: skip


def one(better: float, worse: float, same_noise: bool = True) -> Compared:
    results = {"low": result("low", better), "high": result("high", worse, 0 if same_noise else 1)}
    results["low"].accuracies["math"] += np.linspace(-0.001, 0.001, 150).reshape(5, 30)
    return compared(results, [Comparison("low", "high", "low is better")], 0.95)[0]


def test_a_finding_has_the_sign_of_its_interval() -> None:
    shown, reverse, nothing = one(0.7, 0.5), one(0.5, 0.7), one(0.5, 0.5, same_noise=False)
    assert finding(shown).startswith(
        "low is better: shown (+20.0 points, +20.0 to +20.0, p < 0.001; the same sign with 5 of 5"
    )
    assert finding(reverse).startswith(
        "low is better: not shown: the reverse is, the interval lies"
    )
    assert "(-20.0 points" in finding(reverse)
    assert "not shown: the interval includes 0" in finding(nothing)
    assert summary([shown, reverse, nothing, nothing]).startswith(
        "Claims that show: 1 of 4. Claims that do not: 2 whose interval includes 0, 1 of which the "
        "reverse shows."
    )


def page(accuracy: dict[str, float]) -> str:
    results = {name: result(name, accuracy.get(name, 0.5), i) for i, name in enumerate(NAMES)}
    even = {name: result(name, 0.5, i) for i, name in enumerate(NAMES)}
    by_temperature = {
        temperature: Found(found, compared(found, CLAIMS, 0.95), [])
        for temperature, found in ((0.6, results), (1.0, even))
    }
    return render(by_temperature, ARMS, TINY, runs="Commit `abc`.", n_seeds=5)


def row(text: str, claim: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {claim}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("masked", "says"),
    [
        (0.3, "shown"),
        (0.5, "not shown: the interval includes 0"),
        (0.7, "not shown: the reverse is, the interval lies below 0"),
    ],
)
def test_the_page_follows_the_numbers(masked: float, says: str) -> None:
    text = page({"mixed_policy_masked": masked})
    cells = row(text, "loss on the student's prefix too is better than masking it")
    assert cells[-1] == says
    assert (float(cells[2]) > 1) is (says == "shown")
    assert row(text, "the second stage adds to the first")[-1].startswith("not shown")


def test_the_page_tells_how_it_came_about() -> None:
    text = page({})
    assert "(--seeds 5)" in text and "Commit `abc`." in text
    assert "60 questions in\n4 evaluation sets" in text
    assert "22 claims are tested" in text.replace("\n", " ") and "1.1 of the" in text
    assert text.index("## Answers at T = 0.6") < text.index("## Answers at T = 1")
    cells = row(text, "low, at random")
    assert cells[1:6] == ["base student", "600", "63,012", "95.1%", "4.2"]
    assert row(text, "base student")[1:7] == ["–"] * 6
    assert cells[-1] == "1.2%"


def test_what_a_person_wrote_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "results.md"
    assert by_hand(file) == NOTHING_YET
    file.write_text(f"old numbers\n{HAND_WRITTEN}\n\n## Why\n\nBecause.\n", encoding="utf-8")
    assert by_hand(file) == "\n\n## Why\n\nBecause.\n"


def test_pictures_show_every_arm() -> None:
    results = [result(name, 0.5, i) for i, name in enumerate(NAMES)]
    by_name = {each.name: each for each in results}
    figures = [
        arm_dots(results),
        difference_dots(compared(by_name, CLAIMS, 0.95), NAMES),
        stage_bars([by_name[name] for name in STAGES]),
    ]
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert labels == list(NAMES.values())
    assert len(figures[1].axes[0].get_yticklabels()) == len(CLAIMS)
    assert len(figures[2].axes[0].patches) == len(STAGES) * 2
    assert all(to_png(figure).startswith(b"\x89PNG") for figure in figures)
