"""The paper's Table 7 for a run: every checkpoint on every evaluation set, with gains."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from dasd_assets.reporting.metrics import (
    OVERALL,
    Bootstrap,
    PairedDifference,
    Score,
    benchmark_scores,
    overall_score,
    paired_difference,
    question_counts,
)
from formats.pages import markdown_table
from resources.lake.tables.evaluation import CHECKPOINTS

NOT_MEASURED: Final = "–"
SIGNIFICANT: Final = 0.05
COLUMN_CHARACTERS: Final = 12
ANSWER_CHARACTERS: Final = 11


@dataclass(frozen=True)
class StageRow:
    """One checkpoint's line of the table; None where nothing was measured.

    All three have the names of the evaluation sets as keys, in order, then `OVERALL`. `gains` are
    over the checkpoint of the row above, `total_gains` over that of the first row, and
    `differences` has those over every row above by its checkpoint.
    """

    checkpoint: str
    scores: Mapping[str, Score | None]
    gains: Mapping[str, PairedDifference | None]
    total_gains: Mapping[str, PairedDifference | None]
    differences: Mapping[str, Mapping[str, PairedDifference | None]] = field(default_factory=dict)


def stage_table(
    evaluation: pa.Table,
    benchmarks: Sequence[str],
    bootstrap: Bootstrap | None = None,
    checkpoints: Sequence[str] = CHECKPOINTS,
) -> list[StageRow]:
    """Scores and gains of every checkpoint on every benchmark and overall.

    Args:
        evaluation: rows with the schema EVALUATION.
        benchmarks: evaluation sets that the run has, in the order of the columns.
        checkpoints: those that the run makes, in the order of the rows.
    """
    counts = question_counts(evaluation)
    scores = benchmark_scores(counts, bootstrap)
    columns = {name: [name] for name in benchmarks} | {OVERALL: list(benchmarks)}

    def gains(before: str, after: str) -> dict[str, PairedDifference | None]:
        paired = {
            name: paired_difference(counts, before, after, members, bootstrap)
            for name, members in columns.items()
        }
        # A macro mean over a single benchmark is still the overall gain.
        return {name: gain and replace(gain, benchmark=name) for name, gain in paired.items()}

    rows = []
    for index, checkpoint in enumerate(checkpoints):
        nothing: dict[str, PairedDifference | None] = dict.fromkeys(columns)
        differences = {before: gains(before, checkpoint) for before in checkpoints[:index]}
        measured = {name: scores.get((checkpoint, name)) for name in benchmarks}
        measured[OVERALL] = overall_score(counts, checkpoint, benchmarks, bootstrap)
        rows.append(
            StageRow(
                checkpoint,
                scores=measured,
                gains=differences[checkpoints[index - 1]] if index else nothing,
                total_gains=differences.get(checkpoints[0], nothing),
                differences=differences,
            )
        )
    return rows


def is_trained(row: StageRow) -> bool:
    """Whether it is a checkpoint that was trained here and has been evaluated on all sets."""
    return row.checkpoint != CHECKPOINTS[0] and row.scores.get(OVERALL) is not None


def best_row(rows: Sequence[StageRow]) -> StageRow | None:
    """The trained checkpoint with the highest mean over the evaluation sets, of equals the last."""
    trained = [
        (score.avg_at_k.value, place, row)
        for place, row in enumerate(rows)
        if is_trained(row) and (score := row.scores[OVERALL])
    ]
    return max(trained, key=lambda item: item[:2])[2] if trained else None


def render_stage_table(rows: Sequence[StageRow]) -> str:
    """The table as aligned plain text, in per cent, for a terminal of about 90 columns.

    Below every score stands its gain over the row above, starred when the paired test gives
    p < 0.05. What was not measured is shown as `–`.
    """
    columns = list(rows[0].scores) if rows else []
    first = max([len(row.checkpoint) for row in rows], default=0)
    headers = [textwrap.wrap(name.replace("_", " "), COLUMN_CHARACTERS) for name in columns]
    height = max(map(len, headers), default=0)
    lines = [
        _line("", [([""] * (height - len(words)) + words)[level] for words in headers], first)
        for level in range(height)
    ]
    for row in rows:
        lines.append(_line(row.checkpoint, [_score(row.scores[name]) for name in columns], first))
        if any(row.gains.values()):
            lines.append(_line("", [_gain(row.gains[name]) for name in columns], first))
    return "\n".join([*lines, "", *_legend(rows, "below")])


def markdown_stage_table(rows: Sequence[StageRow]) -> str:
    """The same as a Markdown table, with the gain over the row above behind each score."""
    names = list(rows[0].scores) if rows else []
    table = markdown_table(
        ["checkpoint", *(name.replace("_", " ") for name in names)],
        [[row.checkpoint, *(_score_and_gain(row, name) for name in names)] for row in rows],
    )
    legend = " ".join(_legend(rows, "in brackets"))
    return f"{table}\n\n{legend}".replace("*", "\\*")


def render_answer_table(rows: Sequence[StageRow]) -> str:
    """What the answers behind the scores are like, as aligned plain text.

    A line for every checkpoint and evaluation set, and one for its mean over them.
    """
    scores = [score for row in rows for score in row.scores.values() if score is not None]
    if not scores:
        return "nothing measured yet"
    js = sorted({j for score in scores for j in score.pass_at if j > 1})
    titles = [*(f"pass@{j}" for j in js), "cut off", "no answer", "tokens"]
    names = [f"{score.checkpoint} {score.benchmark}".replace("_", " ") for score in scores]
    first = max(map(len, names))
    lines = ["".join([" " * first, *(title.rjust(ANSWER_CHARACTERS) for title in titles)])]
    for name, score in zip(names, scores, strict=True):
        shares = [*(score.pass_at.get(j) for j in js), score.truncated_share, score.no_answer_share]
        cells = [NOT_MEASURED if share is None else f"{100 * share:.1f}" for share in shares]
        cells.append(f"{score.mean_tokens:,.0f}")
        lines.append(
            "".join([name.ljust(first), *(cell.rjust(ANSWER_CHARACTERS) for cell in cells)])
        )
    return "\n".join(
        [
            *lines,
            "",
            "pass@j: at least one of j answers is right; cut off: hit max_tokens; no answer: no",
            "final part, cut off or not (all in %); tokens: mean length of an answer",
        ]
    )


def _line(name: str, cells: Sequence[str], first: int) -> str:
    aligned = [cell.rjust(COLUMN_CHARACTERS + 2) for cell in cells]
    return "".join([name.ljust(first), *aligned]).rstrip()


def _score(score: Score | None) -> str:
    if score is None:
        return NOT_MEASURED
    interval = score.avg_at_k
    return f"{100 * interval.value:.1f} ±{50 * (interval.high - interval.low):.1f} "


def _score_and_gain(row: StageRow, name: str) -> str:
    gain = f" ({_gain(row.gains[name]).strip()})" if row.gains[name] else ""
    return _score(row.scores[name]).strip() + gain


def _gain(gain: PairedDifference | None) -> str:
    if gain is None:
        return NOT_MEASURED
    star = "*" if gain.p_value < SIGNIFICANT else " "
    return f"{100 * gain.difference.value:+.1f}{star}"


def _legend(rows: Sequence[StageRow], where: str) -> list[str]:
    scores = [score for row in rows for score in row.scores.values() if score is not None]
    if not scores:
        return ["nothing measured yet"]
    answers = sorted({score.k for score in scores})
    k = f"{answers[0]}" if len(answers) == 1 else f"{answers[0]} to {answers[-1]}"
    confidence = f"{scores[0].avg_at_k.confidence:.0%}"
    return [
        f"avg@k in %, k = {k}; ± half of the {confidence} bootstrap interval over questions;",
        f"{where}: gain over the row above, * if paired p < {SIGNIFICANT:g}; "
        f"{NOT_MEASURED} not measured",
    ]
