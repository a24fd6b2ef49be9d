"""Exported training sets are what TRL, axolotl, LLaMA-Factory and ms-swift take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from support.release_lake import PROFILE
from support.small_lake import filled
from transformers import AutoTokenizer

from dasd_assets.release.exporting import TOKENS_FILE, ExportError, export
from dasd_assets.release.library import Library
from dasd_assets.release.likely_tokens import of_another_vocabulary
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

STAGES = ["stage1_low_temperature", "stage2_high_temperature", "stage3_mixed_policy"]


def exported(lake: Lake, folder: Path, library: Library, logprobs: bool = False) -> Any:
    """The first stage, as `datasets` reads it."""
    written = export(lake, PROFILE, folder, library, logprobs=logprobs)
    assert [one.file.stem for one in written] == STAGES
    assert [one.has_logprobs for one in written] == [logprobs, logprobs, False]
    rows = [_load(one.file, folder) for one in written]
    assert [each.num_rows for each in rows] == [one.n_rows for one in written]
    return rows[0]


def _load(file: Path, folder: Path) -> Any:
    return datasets.load_dataset(
        "parquet", data_files=str(file), split="train", cache_dir=str(folder.parent / "cache")
    )


def sample(lake: Lake) -> dict[str, Any]:
    row: dict[str, Any] = lake.read("divergence_sample", {"temperature": "low"}).to_pylist()[0]
    return row


def test_trl_gets_prompts_and_completions(lake: Lake, tmp_path: Path) -> None:
    row = exported(lake, tmp_path / "out", Library.TRL)[0]
    expected = sample(lake)
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"][1]["content"] == expected["question"]
    assert row["completion"] == [{"role": "assistant", "content": expected["response_text"]}]


@pytest.mark.parametrize(
    ("library", "flag"), [(Library.AXOLOTL, "training"), (Library.MS_SWIFT, "loss")]
)
def test_loss_is_taken_on_the_last_message_alone(
    lake: Lake, tmp_path: Path, library: Library, flag: str
) -> None:
    messages = exported(lake, tmp_path / "out", library)[0]["messages"]
    assert [message[flag] for message in messages] == [False, False, True]


def test_axolotl_finds_its_data_sets(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "out", Library.AXOLOTL)
    listed = yaml.safe_load((tmp_path / "out" / "datasets.yaml").read_text())["datasets"]
    assert [Path(one["path"]).is_file() for one in listed] == [True] * 3
    assert {one["message_field_training"] for one in listed} == {"training"}


def test_llama_factory_finds_its_data_sets(lake: Lake, tmp_path: Path) -> None:
    row = exported(lake, tmp_path / "out", Library.LLAMA_FACTORY)[0]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert list(info) == STAGES
    one = info[STAGES[0]]
    assert (tmp_path / "out" / one["file_name"]).is_file()
    tags = one["tags"]
    roles = [message[tags["role_tag"]] for message in row[one["columns"]["messages"]]]
    assert roles == [tags["system_tag"], tags["user_tag"], tags["assistant_tag"]]


def test_the_teachers_logprobs_come_along(lake: Lake, tmp_path: Path) -> None:
    rows = exported(lake, tmp_path / "out", Library.TRL, logprobs=True)
    known = lake.read_partitions(
        "teacher_responses", ["response_id", "model", "token_ids", "logprobs"], temperature="low"
    ).to_pylist()
    by_id = {row["response_id"]: row for row in known}
    filtered = lake.read_partitions(
        "filtered_responses", ["response_id", "teacher_token_starts"], temperature="low"
    )
    starts = {row["response_id"]: row["teacher_token_starts"] for row in filtered.to_pylist()}
    weights = lake.read("divergence_sample", {"temperature": "low"}, ["response_id", "weight"])
    assert {row["id"]: row["weight"] for row in rows} == {
        row["response_id"]: row["weight"] for row in weights.to_pylist()
    }
    for row in rows:
        teacher = by_id[row["id"]]
        assert row["teacher"] == teacher["model"]
        assert row["teacher_token_ids"] == teacher["token_ids"]
        assert row["teacher_logprobs"] == pytest.approx(teacher["logprobs"])
        assert row["teacher_token_starts"] == starts[row["id"]]


def test_nothing_is_written_over_and_nothing_is_left_half(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export(lake, PROFILE, tmp_path / "out", Library.TRL, logprobs=False)
    empty = Lake(root=str(tmp_path / "empty"))
    with pytest.raises(ExportError, match="no training set has been made yet: `dasd run`"):
        export(empty, PROFILE, tmp_path / "new", Library.TRL, logprobs=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "out"]


TOPS = PROFILE.model_copy(
    update={"teacher_responses": PROFILE.teacher_responses.model_copy(update={"top_logprobs": 2})}
)
TOP_2 = {
    "top_token_ids": [5, 6, 7, 8, 9, 10],
    "top_logprobs": [-0.5, -1.0, -0.25, -2.0, -0.125, -3.0],
}  # fmt: skip
NESTED = [[5, 6], [7, 8], [9, 10]], [[-0.5, -1.0], [-0.25, -2.0], [-0.125, -3.0]]


@pytest.mark.parametrize("library", Library)
def test_the_likeliest_tokens_come_along_in_each_format(
    lake: Lake, tmp_path: Path, library: Library
) -> None:
    table = "teacher_top_logprobs"
    place = {"temperature": "low", "question_shard": "drop-01"}
    rows = [{"response_id": name, "k": 2, **TOP_2} for name in ("r1", "r2")]
    lake.write(table, filled(table, *rows), place)  # those of the high temperature are not there
    low, high, mixed = export(lake, TOPS, tmp_path / "out", library, logprobs=True)
    (row,) = _load(low.file, tmp_path / "out")
    assert row["teacher_token_ids"] == [1, 2, 3]
    assert (row["teacher_top_token_ids"], row["teacher_top_logprobs"]) == NESTED
    (row,) = _load(high.file, tmp_path / "out")
    assert row["teacher_top_token_ids"] is row["teacher_top_logprobs"] is None
    assert "teacher_top_token_ids" not in pq.read_schema(mixed.file).names
    plain = [one.file for one in export(lake, TOPS, tmp_path / "plain", library, logprobs=False)]
    assert "teacher_top_token_ids" not in pq.read_schema(plain[0]).names
    assert not (tmp_path / "plain" / TOKENS_FILE).exists()


def test_what_the_teachers_ids_spell_is_told(lake: Lake, tmp_path: Path) -> None:
    export(lake, TOPS, tmp_path / "out", Library.TRL, logprobs=True)
    tokens = pq.read_table(tmp_path / "out" / TOKENS_FILE).to_pylist()
    assert TOPS.teacher is not None
    tokenizer = AutoTokenizer.from_pretrained(TOPS.teacher.location)
    ids = tokenizer.encode("It is 5.", add_special_tokens=False)
    assert b"".join(tokens[index]["bytes"] for index in ids) == b"It is 5."
    end = tokens[tokenizer.eos_token_id]
    assert end["is_special"] and end["bytes"].decode() == tokenizer.eos_token
    assert [row["token_id"] for row in tokens] == list(range(len(tokens)))
    assert of_another_vocabulary(TOPS) == ["teacher"]
    alike = TOPS.teacher.model_copy(update={"path": TOPS.base_student.path})
    assert of_another_vocabulary(TOPS.model_copy(update={"teacher": alike})) == []
