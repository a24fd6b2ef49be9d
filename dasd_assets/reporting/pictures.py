"""Pictures of a run: what the assets, the stage report and the documentation show of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dasd_assets.profile import Profile
from dasd_assets.reporting import data_plots, picture_data, plots
from dasd_assets.reporting.examples import best_ranked, example_answers, last_ranked
from dasd_assets.reporting.funnel import FunnelStep
from dasd_assets.reporting.provenance_viewer import render_viewer
from dasd_assets.reporting.stage_table import StageRow
from resources.lake.tables.evaluation import CHECKPOINTS
from resources.lake.warehouse import open_warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its file, what it shows, and where in the report it stands."""

    name: str
    figure: Figure
    caption: str
    section: Literal["results", "funnel", "data", "training"] = "data"
    is_wide: bool = False


def run_pictures(
    rows: Sequence[StageRow],
    steps: list[FunnelStep],
    logs: Mapping[str, Sequence[Mapping[str, float]]],
    warehouse: DuckDBPyConnection,
    profile: Profile,
) -> Iterator[Picture]:
    """All pictures of a run.

    Args:
        rows, steps, logs: from `stage_rows`, `funnel_steps` and `training_logs` of `collect`.
        warehouse: from `open_warehouse`.
    """
    yield Picture(
        "stages", plots.stage_bars(rows),
        "avg@k of every checkpoint, with bootstrap intervals over questions.", "results", True,
    )  # fmt: skip
    yield Picture("funnel", plots.funnel_bars(steps), "What each step let through.", "funnel", True)
    yield from data_pictures(warehouse, profile)
    yield Picture(
        "training", plots.training_curves(logs), "Loss of the three stages.", "training", True
    )


def data_pictures(warehouse: DuckDBPyConnection, profile: Profile) -> Iterator[Picture]:
    """Pictures of the data of a whole run, in the order of the data's way."""
    temperatures = list(profile.teacher_responses.temperatures)
    yield Picture(
        "likelihood-density",
        data_plots.likelihood_density(
            _ordered(picture_data.likelihoods(warehouse, {}), temperatures)
        ),
        "How sure the teacher is of its answers, per temperature (the paper's Fig. 3a).",
    )
    yield Picture(
        "response-lengths",
        data_plots.length_distribution(
            _ordered(picture_data.response_lengths(warehouse, {}), temperatures), "teacher tokens"
        ),
        "Lengths of the teacher's answers, before any is filtered out.",
    )
    yield Picture(
        "filtered-lengths",
        data_plots.length_distribution(
            _ordered(picture_data.filtered_lengths(warehouse, {}), temperatures), "student tokens"
        ),
        "Lengths of the filtered answers.",
    )
    for name, figure in _class_shares(warehouse, {}).items():
        yield Picture(
            f"class-share-by-position{name}", figure,
            f"{figure.get_label()} (the paper's Fig. 6).",
        )  # fmt: skip
    if sentences := _varied_answer(warehouse, {}):
        yield Picture(
            "along-one-answer",
            data_plots.probabilities_along_answer(sentences),
            "Teacher and student along one answer (the paper's Fig. 5).",
            is_wide=True,
        )
    for name in temperatures:
        yield Picture(
            f"scores-{name}",
            _scores(warehouse, name),
            f"What the policy chose at the temperature {name}, beside the random control.",
        )
    yield Picture(
        "cut-off-rate",
        data_plots.cut_off_rate(picture_data.cut_off_rates(warehouse, {})),
        "How often the student's own answers are cut off, by the length of the teacher's (the "
        "paper's Fig. 7).",
    )
    yield Picture(
        "evaluation-lengths",
        data_plots.length_distribution(
            _ordered(picture_data.evaluation_lengths(warehouse), CHECKPOINTS),
            "student tokens",
        ),
        "Lengths of the answers to the evaluation questions, by checkpoint.",
    )


def response_pictures(lake: Path, cell: dict[str, str]) -> dict[str, Figure]:
    """Likelihoods and lengths of one partition of teacher responses."""
    warehouse = open_warehouse(lake)
    return {
        "likelihood_density": data_plots.likelihood_density(
            picture_data.likelihoods(warehouse, cell)
        ),
        "lengths": data_plots.length_distribution(
            picture_data.response_lengths(warehouse, cell), "teacher tokens"
        ),
    }


def provenance_pictures(lake: Path, cell: dict[str, str]) -> dict[str, Figure]:
    """Sentence classes of one partition by position, and along its most varied answer."""
    warehouse = open_warehouse(lake)
    return {
        **{
            f"classes_by_position{name}".replace("-", "_"): figure
            for name, figure in _class_shares(warehouse, cell).items()
        },
        "along_one_answer": data_plots.probabilities_along_answer(_varied_answer(warehouse, cell)),
    }


def rollout_pictures(warehouse: DuckDBPyConnection, shard: Mapping[str, str]) -> dict[str, Figure]:
    """How often the rollouts of one shard are cut off, by length."""
    return {
        "cut_off_rate_by_length": data_plots.cut_off_rate(
            picture_data.cut_off_rates(warehouse, shard)
        )
    }


def sample_pictures(lake: Path, temperature: str) -> dict[str, Figure]:
    """Scores and lengths of what was chosen at one temperature, and of the random control."""
    warehouse = open_warehouse(lake)
    return {
        "scores": _scores(warehouse, temperature),
        "lengths": data_plots.length_distribution(
            picture_data.candidates(warehouse, temperature, "n_student_tokens"), "student tokens"
        ),
    }


def sample_page(lake: Path, temperature: str) -> str:
    """Provenance viewer: of every domain the best answer chosen, and the last that was not."""
    warehouse = open_warehouse(lake)
    chosen = best_ranked(warehouse, temperature) + last_ranked(warehouse, temperature)
    return render_viewer(
        f"Best and last ranked answers, temperature {temperature}",
        example_answers(warehouse, chosen, temperature),
    )


def _scores(warehouse: DuckDBPyConnection, temperature: str) -> Figure:
    policies = warehouse.sql(
        "SELECT DISTINCT policy FROM divergence_candidates WHERE temperature = $temperature",
        params={"temperature": temperature},
    ).fetchall()
    label = f"{policies[0][0]} score" if policies else "score"
    return data_plots.score_distribution(
        picture_data.candidates(warehouse, temperature, "score"), label.replace("_", " ")
    )


def _class_shares(warehouse: DuckDBPyConnection, where: dict[str, str]) -> dict[str, Figure]:
    """Ending of a name -> classes of all answers, and of the right and wrong ones if judged."""
    figures = {"": data_plots.class_share_by_position(picture_data.class_shares(warehouse, where))}
    names = {True: "right", False: "wrong"}
    for is_correct, n in sorted(picture_data.judged_answers(warehouse, where).items()):
        figures[f"-{names[is_correct]}"] = data_plots.class_share_by_position(
            picture_data.class_shares(warehouse, where, is_correct=is_correct),
            f"{n:,} {names[is_correct]} answers",
        )
    return figures


def _varied_answer(warehouse: DuckDBPyConnection, where: dict[str, str]) -> list[dict[str, object]]:
    """Sentences of the answer that has the most of all classes; none if there is no answer."""
    found = warehouse.sql(
        f"""
        SELECT response_id, temperature, question_shard FROM response_provenance
        WHERE {picture_data.in_partition(where)}
        ORDER BY least(n_teacher_sentences, n_student_sentences, n_shared_sentences) DESC,
                 n_teacher_sentences + n_student_sentences DESC, response_id
        LIMIT 1
        """,
        params=where,
    ).to_arrow_table()
    if not found.num_rows:
        return []
    rows: list[dict[str, object]] = (
        warehouse.sql(
            "SELECT sentence_class, p_teacher, p_student FROM sentence_provenance "
            "WHERE response_id = $response_id AND temperature = $temperature "
            "AND question_shard = $question_shard ORDER BY sentence_index",
            params=found.to_pylist()[0],
        )
        .to_arrow_table()
        .to_pylist()
    )
    return rows


def _ordered(
    by_name: dict[str, picture_data.Numbers], names: list[str]
) -> dict[str, picture_data.Numbers]:
    return {name: by_name[name] for name in names if name in by_name}
