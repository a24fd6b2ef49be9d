"""What is released is what the stages were trained on, and what it was chosen by."""

from __future__ import annotations

import pyarrow as pa
import pytest
from support.release_lake import PROFILE
from support.small_lake import REASONING, TEXT, filled, sentences

from dasd_assets.release.training_sets import (
    logprob_rows,
    sample_rows,
    sentence_lists,
    training_sets,
)
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.release import RELEASED_LOGPROBS, RELEASED_SAMPLE

pytestmark = pytest.mark.slow

LOW = {"temperature": "low"}
CELL = {"temperature": "low", "question_shard": "drop-01"}


def names(lake: Lake, include_logprobs: bool) -> list[str]:
    release = PROFILE.release.model_copy(update={"include_logprobs": include_logprobs})
    return [
        one.name for one in training_sets(lake, PROFILE.model_copy(update={"release": release}))
    ]


def test_the_configurations(lake: Lake) -> None:
    stages = ["stage1_low_temperature", "stage2_high_temperature", "stage3_mixed_policy"]
    assert names(lake, include_logprobs=False) == stages
    companions = [f"{name}_logprobs" for name in stages[:2]]
    assert names(lake, include_logprobs=True) == stages + companions


def test_a_stage_is_its_divergence_sample_with_the_temperature(lake: Lake) -> None:
    rows = pa.Table.from_batches(sample_rows(lake, "low"), RELEASED_SAMPLE)
    expected = lake.read("divergence_sample", LOW)
    assert rows.drop_columns("temperature").equals(expected.select(RELEASED_SAMPLE.names[:-1]))
    assert rows["temperature"].to_pylist() == pytest.approx([0.6])


def test_of_several_teachers_a_row_says_which_answered(lake: Lake) -> None:
    teacher = PROFILE.teacher.model_copy(update={"path": "other"})
    several = PROFILE.model_copy(update={"teachers": {"other": teacher}})
    stage = training_sets(lake, several)[0]
    rows = pa.Table.from_batches(stage.rows(), stage.schema)
    known = lake.read("teacher_responses", CELL, ["response_id", "model", "model_revision"])
    who = {row.pop("response_id"): row for row in known.to_pylist()}
    assert rows.select(["model", "model_revision"]).to_pylist() == [
        who[name] for name in rows["response_id"].to_pylist()
    ]
    assert rows.drop_columns(["model", "model_revision"]).equals(
        pa.Table.from_batches(sample_rows(lake, "low"), RELEASED_SAMPLE)
    )


def test_the_companion_has_tokens_logprobs_and_sentences_of_what_was_chosen(lake: Lake) -> None:
    (row,) = pa.Table.from_batches(logprob_rows(lake, "low"), RELEASED_LOGPROBS).to_pylist()
    assert (row["response_id"], row["response_text"]) == ("r1", TEXT)
    assert (row["token_ids"], row["logprobs"]) == ([1, 2, 3], [-0.5] * 3)
    assert row["temperature"] == pytest.approx(0.6)
    assert [s["sentence_class"] for s in row["sentences"]] == ["teacher", "common"]
    assert [s["p_teacher"] for s in row["sentences"]] == pytest.approx([0.9, 0.5])
    spans = [TEXT.encode()[s["start_byte"] : s["end_byte"]] for s in row["sentences"]]
    assert [span.decode() for span in spans] == [REASONING, "It is 2."]


def test_a_sample_that_is_not_in_the_lake_is_an_error(lake: Lake) -> None:
    sample = lake.read("divergence_sample", LOW).to_pylist()
    lost = {**sample[0], "response_id": "lost"}
    lake.write("divergence_sample", filled("divergence_sample", *sample, lost), LOW)
    with pytest.raises(ContractError, match="2 responses, but 1 of them"):
        list(logprob_rows(lake, "low"))


def test_a_response_without_its_sentences_is_an_error(lake: Lake) -> None:
    lake.write("sentence_provenance", filled("sentence_provenance"), CELL)
    with pytest.raises(ContractError, match="filtered_responses and sentence_provenance do not"):
        list(logprob_rows(lake, "low"))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_sentences_of_a_response_may_be_in_several_batches(size: int) -> None:
    rows = [row for n in range(4) for row in sentences(f"r{n}", "teacher", "common")]
    rows.insert(3, {**rows[3], "end_byte": 7})
    table = filled("sentence_provenance", *rows)
    lists = pa.Table.from_batches(
        sentence_lists(table.to_batches(max_chunksize=size))  # type: ignore[arg-type]
    ).to_pylist()
    assert [row["response_id"] for row in lists] == ["r0", "r1", "r2", "r3"]
    assert [len(row["sentences"]) for row in lists] == [2, 3, 2, 2]
    assert [s["end_byte"] for s in lists[1]["sentences"]] == [
        row["end_byte"] for row in rows if row["response_id"] == "r1"
    ]


def test_nothing_gives_nothing() -> None:
    empty = filled("sentence_provenance").to_batches()
    assert sum(batch.num_rows for batch in sentence_lists(iter(empty))) == 0
