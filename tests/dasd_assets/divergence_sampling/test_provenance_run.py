"""A partition in the lake: streamed, both tables or neither."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dasd_assets.divergence_sampling.provenance_run import write_provenance
from dasd_assets.divergence_sampling.read_ahead import read_ahead
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.profile.divergence_sampling import RatioRule
from formats.student_text import student_text
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import STUDENT_SCORES
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

CELL = {"temperature": "low", "question_shard": "drop-1"}
RULES = segmenter_named("reasoning-rules")


def put(lake: Lake, names: list[str], scored: list[str]) -> None:
    """Responses "One. Two." / "3" of which the teacher is sure, and their scores."""
    text = student_text("One. Two.", "3")
    starts = [8, 13, 28]
    filtered = [
        {
            "response_id": name, "question_id": "q", "domain": "math", "question": "?",
            "sample_index": 0, "logprobs_mode": "raw_logprobs", "reasoning": "One. Two.",
            "answer": "3", "response_text": text, "n_teacher_tokens": 3, "n_student_tokens": 3,
            "teacher_logprobs": [-0.1] * 3, "teacher_token_starts": starts,
        }
        for name in names
    ]  # fmt: skip
    scores = [
        {
            "response_id": name, "model": "student", "model_revision": "0", "token_ids": [1] * 3,
            "logprobs": [-2.0] * 3, "ranks": [1] * 3, "token_starts": starts,
        }
        for name in scored
    ]  # fmt: skip
    lake.write("filtered_responses", pa.Table.from_pylist(filtered, FILTERED_RESPONSES), CELL)
    lake.write("student_scores", pa.Table.from_pylist(scores, STUDENT_SCORES), CELL)


@pytest.mark.parametrize("segmenter", ["reasoning-rules", "sentencex"])
def test_both_tables_are_written_and_counted(tmp_path: Path, segmenter: str) -> None:
    lake, names = Lake(root=str(tmp_path)), [f"r{index}" for index in range(2_500)]
    put(lake, names, names)
    found = segmenter_named(segmenter)  # type: ignore[arg-type]
    written, facts = write_provenance(lake, CELL, RatioRule(), found)
    sentences = lake.read("sentence_provenance", CELL)
    assert written.table == "sentence_provenance"
    assert written.n_rows == sentences.num_rows == 7_500
    assert lake.read("response_provenance", CELL)["response_id"].to_pylist() == names
    label = f"{found.name} {found.version}"
    assert facts == {
        "responses": 2_500, "sentence_classes": {"teacher": 7_500}, "segmenter": label,
    }  # fmt: skip
    assert sentences["segmenter"].unique().to_pylist() == [label]


def test_an_empty_partition_gives_two_empty_tables(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    put(lake, [], [])
    written, facts = write_provenance(lake, CELL, RatioRule(), RULES)
    assert written.n_rows == facts["responses"] == 0
    assert lake.read("response_provenance", CELL).num_rows == 0


@pytest.mark.parametrize(
    ("names", "scored", "message"),
    [
        (["a", "b"], ["a", "c"], "row 1 .* is response b in the first and response c in the sec"),
        (["a", "b"], ["a"], "row 1 .* is response b in the first and nothing in the second"),
        (["a", "b", "a"], ["a", "b", "a"], "1 responses are there more than once, for example a"),
    ],
)
def test_rows_that_do_not_match_leave_nothing_behind(
    tmp_path: Path, names: list[str], scored: list[str], message: str
) -> None:
    lake = Lake(root=str(tmp_path))
    put(lake, names, scored)
    with pytest.raises(ContractError, match=message):
        write_provenance(lake, CELL, RatioRule(), RULES)
    for table in ("sentence_provenance", "response_provenance"):
        assert not lake.exists(table, CELL)


def test_read_ahead_gives_the_same_items_one_step_early() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for index in range(3):
            made.append(index)
            if index == 1:
                second.set()
            yield index

    ahead = read_ahead(items())
    assert made == []
    assert next(ahead) == 0
    assert second.wait(10)  # made while the first is in use
    assert list(ahead) == [1, 2]
    assert list(read_ahead([])) == []


def test_read_ahead_raises_an_error_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ContractError("broken")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ContractError, match="broken"):
        next(ahead)
