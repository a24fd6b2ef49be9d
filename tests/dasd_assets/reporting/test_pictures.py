"""Pictures and pages of a run: what there is, how large it is, and that an empty lake has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.small_lake import DROP_01, make_small_lake
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from dasd_assets.profile import load_profile
from dasd_assets.reporting import picture_data, pictures
from dasd_assets.reporting.class_deltas import class_deltas
from dasd_assets.reporting.collect import training_logs
from dasd_assets.reporting.examples import best_ranked, example_answers, last_ranked
from dasd_assets.reporting.figures import to_png
from dasd_assets.reporting.mixed_policy_funnel import cut_counts, rollout_counts
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables import TABLES
from resources.lake.warehouse import open_warehouse

pytestmark = pytest.mark.slow

CELL = {"temperature": "low", "question_shard": "drop-01"}
OWN = {"checkpoint": "dasd", "benchmark": "math"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    make_small_lake(lake)
    return lake


def test_assets_get_pictures_that_are_small(lake: Lake) -> None:
    root = Path(lake.root)
    for figures, names in (
        (pictures.response_pictures(root, CELL), {"likelihood_density", "lengths"}),
        (
            pictures.provenance_pictures(root, CELL),
            {
                "classes_by_position",
                "classes_by_position_right_and_wrong",
                "along_one_answer",
            },
        ),
        (
            pictures.sample_pictures(root, "low"),
            {"scores", "likelihood_of_chosen", "lengths"},
        ),
        (
            pictures.answer_pictures(root, {"checkpoint": "dasd", "benchmark": "math"}),
            {"along_own_answer", "own_classes_right_and_wrong"},
        ),
        (
            pictures.rollout_pictures(open_warehouse(root), {"question_shard": "drop-01"}),
            {"cut_off_rate_by_length"},
        ),
    ):
        assert set(figures) == names
        assert all(1_000 < len(to_png(figure)) < 75_000 for figure in figures.values())


def test_the_share_of_each_class_in_right_and_in_wrong_answers(lake: Lake) -> None:
    found = {
        one.sentence_class: (one.checkpoint, one.right, one.wrong, one.delta)
        for one in class_deltas(open_warehouse(Path(lake.root)))
    }
    assert found == {
        "teacher": ("dasd", 0.5, 0.0, 0.5), "shared": ("dasd", 0.5, 0.0, 0.5),
        "boosted": ("dasd", 0.0, 1.0, -1.0), "student": ("dasd", 0.0, 0.0, 0.0),
    }  # fmt: skip


def test_the_score_is_named_by_its_policy(lake: Lake) -> None:
    figure = pictures.sample_pictures(Path(lake.root), "low")["scores"]
    assert figure.axes[0].get_xlabel() == "divergence share score"


def test_the_answer_that_is_drawn_has_the_most_of_all_classes(lake: Lake) -> None:
    found = picture_data.varied_answer(open_warehouse(Path(lake.root)), {})
    assert [row["sentence_class"] for row in found] == ["teacher", "student"]  # r4


def test_training_logs_are_those_of_the_trained_stages(lake: Lake) -> None:
    assert list(training_logs(lake)) == ["low_temperature", "high_temperature"]


def test_an_empty_lake_has_empty_pictures(tmp_path: Path) -> None:
    warehouse = open_warehouse(tmp_path)
    made = list(pictures.run_pictures([], [], {}, warehouse, load_profile("tiny")))
    assert "along-one-answer" not in {picture.name for picture in made}
    assert len({picture.name for picture in made}) == len(made) > 6
    assert set(pictures.provenance_pictures(tmp_path, CELL)) == {
        "classes_by_position", "along_one_answer"
    }  # fmt: skip


def test_examples_are_chosen_per_domain_and_shown_in_order(lake: Lake) -> None:
    warehouse = open_warehouse(Path(lake.root))
    assert best_ranked(warehouse, "low") == ["r1"]
    assert best_ranked(warehouse, "high") == []
    assert last_ranked(warehouse, "low") == ["r2"]
    first, second = example_answers(warehouse, ["r2", "no such id", "r1", "r3"])
    assert (first.response_id, second.response_id) == ("r2", "r1")
    assert second.about["decision"] == "selected"
    assert second.about["Teacher Sentences"] == "1 of 2"
    assert second.sentences.num_rows == 2
    assert second.picture.startswith("<svg")
    assert example_answers(warehouse, ["r1"], "high") == []


def test_the_page_of_a_sample_has_the_best_and_the_last(lake: Lake) -> None:
    page = pictures.sample_page(Path(lake.root), "low")
    assert page.count("<article") == 2
    assert page.index("r1") < page.index("r2")


def test_a_page_needs_no_teacher_responses_and_says_which_answer_is_gone(lake: Lake) -> None:
    lake.path("teacher_responses", CELL).unlink()
    assert pictures.sample_page(Path(lake.root), "low").count("<article") == 2
    lake.path("filtered_responses", CELL).unlink()
    with pytest.raises(ContractError, match="filtered_responses low/drop-01: the answer r"):
        pictures.sample_page(Path(lake.root), "low")


def test_dasd_pictures_writes_png_files(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "docs" / "images"
    result = CliRunner().invoke(app, ["pictures", str(folder)])
    assert result.exit_code == 0, result.output
    files = {file.stem: file.read_bytes() for file in folder.iterdir()}
    assert {"stages", "funnel", "likelihood-density", "class-share-by-position", "scores-low",
            "along-one-answer", "filtered-lengths", "training",
            "cut-off-rate"} <= set(files)  # fmt: skip
    for content in files.values():
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "nothing"))
    refused = CliRunner().invoke(app, ["pictures", str(folder)])
    assert refused.exit_code == 2
    assert "`dasd run` makes it" in refused.stderr


@pytest.mark.parametrize(
    ("where", "draw"),
    [
        (CELL, lambda lake: pictures.response_pictures(lake, CELL)),
        (CELL, lambda lake: pictures.provenance_pictures(lake, CELL)),
        (OWN, lambda lake: pictures.answer_pictures(lake, OWN)),
        (DROP_01, lambda lake: pictures.rollout_pictures(open_warehouse(lake), DROP_01)),
        (DROP_01, lambda lake: rollout_counts(open_warehouse(lake), DROP_01)),
        (DROP_01, lambda lake: cut_counts(open_warehouse(lake), DROP_01)),
        ({"temperature": "low"}, lambda lake: pictures.sample_pictures(lake, "low")),
        ({"temperature": "low"}, lambda lake: pictures.sample_page(lake, "low")),
    ],
)
def test_pictures_of_a_partition_read_no_other(
    lake: Lake, where: dict[str, str], draw: Callable[[Path], object]
) -> None:
    """Else a damaged partition, which is made again later, would keep this one from being made."""
    for table, declared in TABLES.items():
        others = [
            keys for keys in lake.partitions(table)
            if any(keys.get(name, key) != key for name, key in where.items())
        ]  # fmt: skip
        if set(where) & set(declared.dimensions):
            others.append(dict.fromkeys(declared.dimensions, "another"))
        for keys in others:
            file = lake.path(table, keys)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"cut short")
    assert draw(Path(lake.root))
