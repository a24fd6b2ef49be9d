"""Pictures of a run: what the assets, the stage report and the documentation show of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dasd_assets.profile import Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.reporting import data_plots, picture_data, plots
from dasd_assets.reporting.examples import best_ranked, example_answers, last_ranked
from dasd_assets.reporting.funnel import FunnelStep
from dasd_assets.reporting.picture_data import OF_CHECKPOINTS, OF_TEACHER, Classified
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
            f"{figure.get_label()}.",
        )  # fmt: skip
    if sentences := picture_data.varied_answer(warehouse, {}):
        yield Picture(
            "along-one-answer",
            data_plots.probabilities_along_answer(sentences, "the teacher"),
            "Teacher and base student along one answer of the teacher.",
            is_wide=True,
        )
    for name in temperatures:
        yield Picture(
            f"scores-{name}",
            _scores(warehouse, name),
            f"What the policy chose at the temperature {name}, beside both controls.",
        )
        yield Picture(
            f"likelihood-of-chosen-{name}",
            _likelihood_of_chosen(warehouse, name),
            f"How sure the teacher is of the answers chosen at the temperature {name}, beside both "
            "controls (the paper's Fig. 10).",
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
    captions = {
        "along_own_answer": "Teacher T, base student S and the checkpoint D along one of its own "
        "answers (the paper's Fig. 5).",
        "own_classes_right_and_wrong": "Classes of the sentences of a checkpoint's own answers, "
        "right ones solid, wrong ones dashed (the paper's Fig. 6).",
    }
    for name, figure in _answer_pictures(warehouse, {"checkpoint": checkpoints_of(profile)[-1]}):
        yield Picture(name.replace("_", "-"), figure, captions[name], is_wide=True)


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
        "along_one_answer": data_plots.probabilities_along_answer(
            picture_data.varied_answer(warehouse, cell), "the teacher"
        ),
    }


def rollout_pictures(warehouse: DuckDBPyConnection, shard: Mapping[str, str]) -> dict[str, Figure]:
    """How often the rollouts of one shard are cut off, by length."""
    return {
        "cut_off_rate_by_length": data_plots.cut_off_rate(
            picture_data.cut_off_rates(warehouse, shard)
        )
    }


def sample_pictures(lake: Path, temperature: str) -> dict[str, Figure]:
    """Scores and lengths of what was chosen at one temperature, and of both controls."""
    warehouse = open_warehouse(lake)
    return {
        "scores": _scores(warehouse, temperature),
        "likelihood_of_chosen": _likelihood_of_chosen(warehouse, temperature),
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


def _likelihood_of_chosen(warehouse: DuckDBPyConnection, temperature: str) -> Figure:
    p_teacher = picture_data.candidates(warehouse, temperature, "p_teacher")
    del p_teacher["all"]
    return data_plots.likelihood_density(p_teacher, f"Likelihood of chosen answers, {temperature}")


def _class_shares(warehouse: DuckDBPyConnection, where: dict[str, str]) -> dict[str, Figure]:
    """Ending of a name -> classes of all answers, and of the right and wrong ones if judged."""
    shares = picture_data.class_shares(warehouse, where)
    figures = {"": data_plots.class_share_by_position(shares)}
    if judged := _right_and_wrong(warehouse, where, OF_TEACHER, "the teacher"):
        figures["-right-and-wrong"] = judged
    return figures


def _right_and_wrong(
    warehouse: DuckDBPyConnection, where: dict[str, str], of: Classified, name: str
) -> Figure | None:
    """Classes of right and wrong answers; None unless there are both."""
    n = picture_data.judged_answers(warehouse, where, of)
    if len(n) < 2:
        return None
    right, wrong = (
        picture_data.class_shares(warehouse, where, is_correct=is_correct, of=of)
        for is_correct in (True, False)
    )
    return data_plots.class_share_right_and_wrong(
        right, wrong, f"{name} ({n[True]:,} right, {n[False]:,} wrong)"
    )


def answer_pictures(lake: Path, partition: dict[str, str]) -> dict[str, Figure]:
    """Classes of a checkpoint's own answers (paper Figs. 5 and 6), as far as there are any."""
    return dict(_answer_pictures(open_warehouse(lake), partition))


def _answer_pictures(
    warehouse: DuckDBPyConnection, where: dict[str, str]
) -> Iterator[tuple[str, Figure]]:
    checkpoint = where["checkpoint"]
    if sentences := picture_data.varied_answer(warehouse, where, OF_CHECKPOINTS):
        yield "along_own_answer", data_plots.probabilities_along_answer(sentences, checkpoint)
    if figure := _right_and_wrong(warehouse, where, OF_CHECKPOINTS, checkpoint):
        yield "own_classes_right_and_wrong", figure


def _ordered(
    by_name: dict[str, picture_data.Numbers], names: Sequence[str]
) -> dict[str, picture_data.Numbers]:
    return {name: by_name[name] for name in names if name in by_name}
