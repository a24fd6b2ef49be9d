"""The stage report: a page that needs nothing but itself."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pyarrow as pa
import pytest
from support.html_page import Page

from dasd_assets.reporting import data_plots, plots, report
from dasd_assets.reporting.compared import changes
from dasd_assets.reporting.data_quality import DataQuality, Failing
from dasd_assets.reporting.diagnosis import NOTHING_FOUND, Finding
from dasd_assets.reporting.figures import to_svg
from dasd_assets.reporting.funnel import ResponseCounts, funnel
from dasd_assets.reporting.report import (
    AssetCost,
    ExampleAnswer,
    Lineage,
    ReportData,
    ReportPlot,
    render_report,
    segments,
)
from dasd_assets.reporting.stage_table import stage_table

pytestmark = pytest.mark.slow

ATTACK = "</script><img src=x onerror=alert(1)>"


def answers(checkpoint: str, n_correct: int, benchmark: str = "math") -> pa.Table:
    return pa.table(
        {
            "checkpoint": [checkpoint] * 20,
            "benchmark": [benchmark] * 20,
            "question_id": [f"q{i}" for i in range(20)],
            "finish_reason": ["stop"] * 20,
            "n_tokens": pa.array([5] * 20, pa.int32()),
            "is_correct": [i < n_correct for i in range(20)],
        }
    )


def example(
    text: str, spans: list[tuple[int, int, str]], question: str = "2 + 2?"
) -> ExampleAnswer:
    rows = [
        {
            "response_id": "r",
            "sentence_index": index,
            "part": "reasoning",
            "start_byte": start,
            "end_byte": end,
            "p_teacher": None if name == "unscored" else 0.9,
            "p_student": None if name == "unscored" else 0.1234,
            "sentence_class": name,
        }
        for index, (start, end, name) in enumerate(spans)
    ]
    return ExampleAnswer("r", question, text, pa.Table.from_pylist(rows), {"domain": "math"})


def data(**changes: Any) -> ReportData:
    rows = stage_table(
        pa.concat_tables([answers("base", 4), answers("low_temperature", 14), answers("dasd", 18)]),
        ["math"],
    )
    steps = funnel(
        raw_questions=99,
        quarantined={"broken_json": 1},
        questions=90,
        rejected_questions={"duplicate_in_drop": 9},
        responses={"low": ResponseCounts(90, 60, 40, {"repetition": 30})},
    )
    full = ReportData(
        title="A run",
        summary={"teacher": "models/teacher"},
        stage_rows=rows,
        funnel=steps,
        plots=[
            ReportPlot("results", to_svg(plots.stage_bars(rows)), "Stages.", is_wide=True),
            ReportPlot("data", to_svg(data_plots.likelihood_density({"low": [0.5]})), "Density."),
            ReportPlot("data", to_svg(data_plots.length_distribution({"low": [5]})), "Lengths."),
        ],
        examples=[
            example("<think>Für 2 + 2.</think> 4", [(7, 18, "teacher"), (27, 28, "unscored")]),
            example(ATTACK, [(0, 37, "student")], question=ATTACK),
        ],
        costs=[
            AssetCost("questions", 4, 1.5, stage="questions"),
            AssetCost("teacher_responses", 8, 300.0, 60_000, "sampling", 2.5, 10.0, 7.25),
            AssetCost("student_scores", 8, 100.0, stage="sampling", money=1.0),
        ],
        profile="name: tiny\n",
        versions={"python": "3.11"},
        lineage=[Lineage("questions", "math-01", "run-1", "abc")],
    )
    return dataclasses.replace(full, **changes)


def test_page_is_well_formed_with_unique_ids_and_working_links() -> None:
    html = render_report(data())
    assert html.startswith("<!DOCTYPE html>")
    page = Page(html, " ")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = {link.removeprefix("#") for link in page.values("href") + page.values("xlink:href")}
    assert targets <= set(ids)


def test_page_loads_nothing_and_runs_nothing() -> None:
    html = render_report(data())
    page = Page(html, " ")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert all(link.startswith("#") for link in page.values("href") + page.values("xlink:href"))
    assert page.values("src") == page.values("srcset") == []
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    styles = " ".join(re.findall(r"<style>.*?</style>", html, re.DOTALL) + page.values("style"))
    assert "@import" not in styles
    assert not re.search(r"url\((?!#)", styles)
    policy = [attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_model_output_is_text() -> None:
    html = render_report(data(title=ATTACK, profile=ATTACK, summary={ATTACK: ATTACK}))
    assert "<img" not in html
    assert "</script" not in html
    assert Page(html, " ").text.count(ATTACK) >= 6


def test_the_same_data_gives_the_same_page() -> None:
    assert render_report(data()) == render_report(data())


def test_scores_gains_and_what_is_missing() -> None:
    text = " ".join(Page(render_report(data()), " ").text.split())
    assert "20.0 % → 90.0 % from base to the best stage, dasd, mean over" in text
    assert "The last stage" not in text
    assert "+70.0 points" in text
    assert "low temperature 70.0 +50.0*" in text
    # Not measured: the high-temperature checkpoint, and so the last gain over the row above.
    assert "high temperature – – dasd 90.0 80.0 – 100.0" not in text
    assert re.search(r"high temperature – – dasd 90\.0 \d", text)
    assert "base dasd overall 20 +70.0" in text


def test_the_headline_names_the_best_stage_where_it_is_not_the_last() -> None:
    rows = stage_table(
        pa.concat_tables([answers("base", 4), answers("low_temperature", 18), answers("dasd", 14)]),
        ["math"],
    )
    text = " ".join(Page(render_report(data(stage_rows=rows)), " ").text.split())
    assert "20.0 % → 90.0 % from base to the best stage, low temperature, mean" in text
    assert "The last stage, dasd, has 70.0 %." in text


def test_it_says_of_when_it_is_what_was_found_and_which_checks_fail() -> None:
    page = render_report(
        data(
            as_of="2026-11-29 10:00 UTC",
            findings=[Finding("r", "It <is> so.", "Set `a.b: 1`.")],
            quality=DataQuality(
                9, (Failing("evaluation/dasd", "few_truncated", "warn", tuple("abcdefg")),)
            ),
        )
    )
    text = " ".join(Page(page, " ").text.split())
    assert "Data as of 2026-11-29 10:00 UTC." in text
    assert "It <is> so. Set a.b: 1 ." in text
    assert "Set <code>a.b: 1</code>." in page
    assert "9 checks passed, these fail:" in text
    assert "few truncated evaluation/ dasd warn a, b, c, d, e and 2 more" in text
    assert NOTHING_FOUND in Page(render_report(data()), " ").text


def test_what_changed_since_the_last_report_is_told() -> None:
    then = {"avg@k (%) base": 32.3, "questions": 1000, "rollouts": 3}
    now = {"avg@k (%) base": 30.0, "questions": 1000, "checks that fail": 2}
    text = " ".join(
        Page(
            render_report(data(compared_with="Monday", changes=changes(then, now))), " "
        ).text.split()
    )
    assert "the report of other data before this one, of Monday." in text
    assert "avg@k (%) base 32.3 30.0 −2.3" in text
    assert "checks that fail – 2" in text and "rollouts 3 –" in text
    same = " ".join(Page(render_report(data(compared_with="Monday")), " ").text.split())
    assert "The report before this one, of Monday, has the same numbers." in same


def test_pictures_shrink_with_the_page() -> None:
    """A lowest width, or a frame to scroll in, cut them at the right on a phone."""
    page = render_report(data())
    widths = re.findall(r"figure[^{]*svg \{([^}]*)\}", page)
    assert "max-width: 100%" in widths[0]
    assert not any("min-width" in rules for rules in widths)
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert figures and not any("scroll" in figure for figure in figures)


def test_every_table_can_be_stacked_on_a_phone() -> None:
    """Else its last columns are cut at the right until somebody scrolls there."""
    assert Page(render_report(data())).cut_on_a_phone() == []


def test_funnel_costs_and_lineage() -> None:
    text = " ".join(Page(render_report(data()), " ").text.split())
    assert "filtered responses low 60 66.7 % repetition 30" in text
    assert "sampling 16 6.7 min 100 % 10 2.5 8.25" in text
    assert "responses 8 5.0 min 75 % 60,000 200 10 2.5 7.25" in text
    assert "questions 4 1.5 s 0 % 0 0 " in text
    assert "all 20 6.7 min 100 % 10 2.5 8.25" in text


def test_a_run_without_gpus_and_prices_has_no_columns_for_them() -> None:
    costs = [AssetCost("questions", 4, 1.5, stage="questions", core_hours=0.0004)]
    text = " ".join(Page(render_report(data(costs=costs)), " ").text.split())
    assert "0.0004" in text
    assert "GPU" not in text
    assert "money" not in text.lower()
    assert "questions math-01 run-1 abc" in text


def test_sentences_are_coloured_and_say_their_probabilities() -> None:
    page = Page(render_report(data()), " ")
    titles = [t for t in page.values("title") if "p_T" in t]
    assert titles == [
        "teacher · p_T 0.900 · p_S 0.123",
        "unscored · p_T – · p_S –",
        "student · p_T 0.900 · p_S 0.123",
    ]
    assert "sentence teacher" in page.values("class")
    # The same without a pointer: every number in the text leads to a row of the table.
    assert {"#example-1-1", "#example-1-2", "#example-2-1"} <= set(page.values("href"))


def test_segments_are_the_whole_text_cut_at_bytes() -> None:
    text = "<think>Für 2 + 2.</think> 4"
    pieces = segments(example(text, [(7, 18, "teacher"), (27, 28, "unscored")]))
    assert [piece.text for piece in pieces] == ["<think>", "Für 2 + 2.", "</think> ", "4"]
    assert [piece.sentence is not None for piece in pieces] == [False, True, False, True]


def test_long_answers_are_shortened_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_SENTENCES", 2)
    long = example("A.B.C.", [(0, 2, "common"), (2, 4, "common"), (4, 6, "common")])
    assert [piece.text for piece in segments(long, most=2)] == ["A.", "B."]
    assert "The first 2 of 3 sentences." in render_report(data(examples=[long]))


def test_control_characters_are_replaced() -> None:
    pieces = segments(example("a\x00b\x1b\n\tc", [(0, 7, "common")]))
    assert pieces[0].text == "a\ufffdb\ufffd\n\tc"


@pytest.mark.parametrize("spans", [[(0, 4, "common"), (2, 6, "common")], [(0, 99, "common")]])
def test_sentences_outside_the_text_are_an_error(spans: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValueError, match=r"response r: sentence \d has bytes"):
        segments(example("A.B.C.", spans))


def test_a_report_of_nothing_is_a_page_that_says_so() -> None:
    rows = stage_table(answers("base", 1).slice(0, 0), ["math"])
    html = render_report(
        data(stage_rows=rows, funnel=[], plots=[], examples=[], costs=[], versions={}, lineage=[])
    )
    page = Page(html, " ")
    assert "Nothing has been evaluated yet." in page.text
    assert "Funnel" not in page.text
    assert {link.removeprefix("#") for link in page.values("href")} <= set(page.values("id"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.25, "1.2 s"), (119.0, "119.0 s"), (300, "5.0 min"), (9_000, "2.5 h")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert expected in render_report(data(costs=[AssetCost("questions", 1, seconds)]))


GRADED = {
    "answer_id": "a-1", "checkpoint": "dasd", "benchmark": "math", "sample_index": 0,
    "n_tokens": 1_200, "finish_reason": "stop", "is_correct": True, "verdict": "correct",
    "extracted": "7", "detail": None, "prompt": "Find it.", "reference": '"7"',
    "text": f"So it is 7. {ATTACK}",
}  # fmt: skip


def test_right_and_wrong_answers_are_shown_with_how_to_open_them_all() -> None:
    wrong = GRADED | {
        "answer_id": "a-2", "is_correct": False, "verdict": "wrong_number", "extracted": "8",
        "detail": "found 8, expected 7",
    }  # fmt: skip
    html = render_report(data(graded=[GRADED, wrong]))
    page = Page(html, " ")
    text = " ".join(page.text.split())
    assert "✓ right · math · dasd · sample 1 · 1,200 tokens (stop)" in text
    assert "✗ wrong number · math" in text
    assert "why found 8, expected 7" in text
    assert "dasd trace with the id of a question or of an answer opens it" in text
    assert {"a-1", "a-2"} <= set(page.values("id"))
    assert "<img" not in html


def test_all_pairs_of_checkpoints_and_every_pass_at_are_in_the_tables() -> None:
    table = pa.concat_tables([answers("base", 4), answers("low_temperature", 14),
                              answers("dasd", 18)])  # fmt: skip
    rows = stage_table(pa.concat_tables([table] * 4), ["math"])
    text = " ".join(Page(render_report(data(stage_rows=rows)), " ").text.split())
    for pair in ("base low temperature math", "low temperature dasd math", "base dasd math"):
        assert pair in text
    assert "pass@1 (%) pass@2 (%) pass@4 (%) cut off (%) no final answer (%)" in text
    assert "dasd math 20 80 4 90.0 90.0 90.0 90.0 0.0 – 5" in text
