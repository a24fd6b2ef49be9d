"""Evaluation sets: read without tolerance, from files, folders and the hub's cache."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_assets.profile import Benchmark
from dasd_assets.questions.benchmarks.evaluation_sets import read_benchmark
from dasd_assets.questions.curation.normalisation import question_id
from resources.lake.table import ContractError
from resources.lake.tables.questions import BENCHMARK_QUESTIONS

GOOD = {"question": " Wie groß ist e\u0301? ", "domain": "math", "answer": 2}
AIME = [{"id": n, "problem": f"Find {n}.", "solution": "…", "answer": f"{n:03}"} for n in (60, 61)]


def write(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "set.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def read(path: Path | str, kind: str = "questions", **settings: Any) -> pa.Table:
    benchmark = Benchmark(path=str(path), format=kind, max_tokens=9, **settings)
    return pa.Table.from_batches(read_benchmark(benchmark, "held_out"), BENCHMARK_QUESTIONS)


def test_questions_are_normalised_as_the_training_questions_are(tmp_path: Path) -> None:
    rows = read(write(tmp_path, GOOD))
    assert rows.to_pylist() == [
        {
            "question_id": question_id("math", "Wie groß ist é?"),
            "benchmark": "held_out",
            "domain": "math",
            "question": "Wie groß ist \u00e9?",
            "prompt": "Wie groß ist \u00e9?",
            "answer": "2",
        }
    ]


def test_one_bad_row_refuses_the_whole_set_and_names_the_first(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD, {**GOOD, "domain": "poetry"}, {})
    with pytest.raises(
        ContractError, match=rf"2 row\(s\) cannot be used .* {file}: row 2: unknown_dom"
    ):
        read(file)


@pytest.mark.parametrize("lines", ['{"question": 1', "[]", '{"question": "\\ud800"}'])
def test_rows_that_are_no_objects_or_no_text_are_named(tmp_path: Path, lines: str) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text(lines)
    with pytest.raises(ContractError, match="row 1: "):
        read(file)


def test_a_missing_or_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"'held_out' cannot be read: .*none\.jsonl is missing"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(ContractError, match="'held_out' has no questions"):
        read(write(tmp_path))


def test_a_question_that_is_there_twice_is_refused_with_both_rows(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD, {**GOOD, "question": "Other"}, {**GOOD, "answer": 3})
    with pytest.raises(ContractError, match=r"row 3: duplicate_question .*set\.jsonl: row 1"):
        read(file)


@pytest.mark.parametrize(
    ("domain", "answer"),
    [("math", ""), ("math", r"\frac{"), ("science", "Paris"), ("code", {"tests": []}),
     ("instruction_following", {"constraints": []})],
)  # fmt: skip
def test_a_reference_that_its_grader_cannot_use_is_found_before_anything_is_sampled(
    tmp_path: Path, domain: str, answer: Any
) -> None:
    file = write(tmp_path, {"question": "?", "domain": domain, "answer": answer})
    with pytest.raises(ContractError, match="row 1: unusable_reference"):
        read(file)


def test_a_reference_that_cannot_be_used_refuses_its_row_and_not_its_set(tmp_path: Path) -> None:
    questions = [
        {"question": f"Q{number}?", "domain": "math", "answer": answer}
        for number, answer in enumerate(
            [r"1 - \frac{1}{\mathrm{e}}", r"0.\overline{3}", r"\frac{", "1 23", 1e-05]
        )
    ]
    left_out: list[str] = []
    read_in = read_benchmark(
        Benchmark(path=str(write(tmp_path, *questions)), max_tokens=9),
        "held_out",
        left_out=left_out,
    )
    rows = pa.Table.from_batches(read_in, BENCHMARK_QUESTIONS)
    assert rows["question"].to_pylist() == ["Q0?", "Q1?", "Q4?"]
    assert [each.partition(": unusable_reference")[0][-5:] for each in left_out] == [
        "row 3", "row 4",
    ]  # fmt: skip


def as_jsonl(folder: Path) -> Path:
    return write(folder, *AIME)


def as_parquet(folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(AIME), folder / "aime.parquet")
    return folder / "aime.parquet"


def as_csv(folder: Path) -> Path:
    with (folder / "aime.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(AIME[0]))
        writer.writeheader()
        writer.writerows(AIME)
    return folder / "aime.csv"


def as_hub_folder(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    pq.write_table(pa.Table.from_pylist(AIME), folder / "data" / "train-00000-of-00001.parquet")
    return folder


def as_saved(folder: Path) -> Path:
    datasets.Dataset.from_list(AIME).save_to_disk(folder / "saved")
    return folder / "saved"


@pytest.mark.parametrize("make", [as_jsonl, as_parquet, as_csv, as_hub_folder, as_saved])
def test_every_kind_of_file_and_folder_gives_the_same_questions(tmp_path: Path, make: Any) -> None:
    rows = read(make(tmp_path), "aime")
    assert rows["question"].to_pylist() == ["Find 60.", "Find 61."]
    assert rows["answer"].to_pylist() == ['"60"', '"61"']


def test_a_hub_data_set_is_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "datasets--owner--aime"
    as_hub_folder(repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for revision in ("", "@main", "@" + "0" * 40):
        rows = read(f"hf://datasets/owner/aime{revision}", "aime", files="data/train-*")
        assert rows.num_rows == 2
    with pytest.raises(ContractError, match=r"neither on the hub nor .*`hf download .*/other"):
        read("hf://datasets/owner/other", "aime")
    with pytest.raises(ContractError, match=r"no data file fits 'test-\*'"):
        read("hf://datasets/owner/aime", "aime", files="test-*")


def test_damaged_and_unknown_files_are_named(tmp_path: Path) -> None:
    for name, content in {"a.parquet": b"PAR1", "a.txt": b"?", "a.csv": b'a,b\n"1,2\n'}.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(ContractError, match=f"cannot be read: {file}"):
            read(file, "aime")


def test_a_row_of_csv_with_too_many_cells_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('problem,answer\n"Find\n1.",1\nFind 2.,2,3\n')
    with pytest.raises(ContractError, match=r"row 2: wrong_columns .3 cells below a header of 2"):
        read(file, "aime")


def problem(name: str, day: str, **changes: Any) -> dict[str, Any]:
    tests = json.dumps([{"input": "1", "output": "1", "testtype": "stdin"}])
    return {
        "question_content": name, "contest_date": f"{day}T00:00:00", "starter_code": "",
        "public_test_cases": tests, "private_test_cases": "[]", "metadata": "{}",
    } | changes  # fmt: skip


def test_problems_of_a_window_of_days_are_asked(tmp_path: Path) -> None:
    days = {"a": "2024-09-30", "b": "2024-10-01", "c": "2025-01-31", "d": "2025-02-01"}
    broken = problem("e", "2023-05-01", private_test_cases="%")  # outside: its tests are not read
    file = write(tmp_path, *(problem(name, day) for name, day in days.items()), broken)
    window = {"since": "2024-10-01", "before": "2025-02-01"}
    assert read(file, "livecodebench", **window)["question"].to_pylist() == ["b", "c"]
    late = read(file, "livecodebench", since="2025-02-01")
    assert late["question"].to_pylist() == ["d"]
    with pytest.raises(ContractError, match="no questions from 2026-01-01 to None"):
        read(file, "livecodebench", since="2026-01-01")


def test_files_of_a_release_are_chosen_by_their_names(tmp_path: Path) -> None:
    for name in ("test.jsonl", "test5.jsonl", "test6.jsonl"):
        (tmp_path / name).write_text(json.dumps(problem(name, "2025-01-01")))
    rows = read(tmp_path, "livecodebench", files="test[56].jsonl")
    assert rows["question"].to_pylist() == ["test5.jsonl", "test6.jsonl"]
