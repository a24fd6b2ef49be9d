"""Layouts: those of the documentation read drops of their shape, and bad ones are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support.whole_drops import read_whole_drop

from dasd_assets.profile import (
    PROFILE_FOLDER,
    PROJECT_ROOT,
    Profile,
    ProfileError,
    Questions,
    load_profile,
)
from dasd_assets.questions.reading.drops import DropContents, layout_of

PAGE = (PROJECT_ROOT / "docs" / "bring-your-own-questions.md").read_text(encoding="utf-8")
BLOCKS = [
    yaml.safe_load(block)["questions"] for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
]


def documented(shard: str) -> Questions:
    """The documented settings whose layout fits a shard."""
    blocks = [Questions(inbox="inbox", **block) for block in BLOCKS]
    (settings,) = [block for block in blocks if layout_of(shard, block.layouts)]
    return settings


def read(drop: Path) -> DropContents:
    settings = documented(drop.name)
    layout = layout_of(drop.name, settings.layouts)
    return read_whole_drop(drop, layout, settings.max_row_bytes)


def values(contents: DropContents) -> list[tuple[Any, ...]]:
    columns = ["question", "domain", "answer", "difficulty", "source"]
    return [tuple(row.values()) for row in contents.rows.select(columns).to_pylist()]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_openr1_math(tmp_path: Path) -> None:
    drop = tmp_path / "openr1-math-220k"
    row = {
        "problem": "Compute $1 + 1$.", "solution": "It is two.", "answer": "2",
        "problem_type": "Algebra", "question_type": "math-word-problem", "source": "olympiads",
        "uuid": "u1", "is_reasoning_complete": [True], "generations": ["<think>…</think> 2"],
        "correctness_math_verify": [True], "correctness_llama": None, "finish_reasons": ["stop"],
        "correctness_count": 1,
        "messages": [{"content": "Compute $1 + 1$.", "role": "user"}],
    }  # fmt: skip
    write(drop / "data" / "train-00000-of-00001.parquet", [row, {**row, "answer": None}])
    write(drop / "extended" / "train-00000-of-00001.parquet", [{**row, "problem": "not read"}])
    contents = read(drop)
    assert values(contents) == [("Compute $1 + 1$.", "math", '"2"', None, "olympiads")]
    assert contents.quarantined["reason"].to_pylist() == ["missing_field"]


def test_opencodereasoning(tmp_path: Path) -> None:
    drop = tmp_path / "opencodereasoning"
    row = {
        "id": "1", "input": "Read n. Print n + 1.", "output": "<think>…</think> print(1)",
        "source": "codeforces", "license": "cc-by-4.0", "dataset": "taco", "split": "train",
        "difficulty": "EASY", "solution": "print(1)",
    }  # fmt: skip
    write(drop / "split_0" / "train-00000-of-00002.parquet", [row, row])
    write(drop / "split_1" / "train-00000-of-00001.parquet", [{**row, "input": "-"}])
    expected = ("Read n. Print n + 1.", "code", "null", None, "codeforces")
    assert values(read(drop)) == [expected, expected]


def test_opensciencereasoning(tmp_path: Path) -> None:
    drop = tmp_path / "opensciencereasoning-2"
    row = {"input": "Which gas? A) He B) O", "output": "…", "expected_answer": "A"}
    write(drop / "train" / "train-00000-of-00001.parquet", [row])
    assert values(read(drop)) == [("Which gas? A) He B) O", "science", '"A"', None, None)]


def test_am_deepseek_r1_distilled(tmp_path: Path) -> None:
    drop = tmp_path / "am-deepseek-r1-distilled"
    drop.mkdir()

    def row(source: str, reference: str | None) -> dict[str, Any]:
        info = {"source": source, "reference_answer": reference, "test_case": None}
        return {
            "messages": [
                {"role": "user", "content": f"A question of {source}", "info": info},
                {"role": "assistant", "content": "<think>…</think><answer>…</answer>",
                 "info": {"think_content": "…", "answer_content": "…"}},
            ]
        }  # fmt: skip

    rows = [row("openR1Math_default", "7"), row("InfinityInstruct", None), row("unlisted", "1")]
    content = "".join(json.dumps(each) + "\n" for each in rows).encode()
    (drop / "am_0.5M.jsonl.zst").write_bytes(pa.compress(content, "zstd").to_pybytes())
    (drop / "am_0.9M_sample_1k.jsonl").write_bytes(content)
    contents = read(drop)
    assert values(contents) == [
        ("A question of openR1Math_default", "math", '"7"', None, "openR1Math_default"),
        ("A question of InfinityInstruct", "instruction_following", "null", None,
         "InfinityInstruct"),
    ]  # fmt: skip
    ((bad),) = contents.quarantined.to_pylist()
    assert (bad["line"], bad["reason"]) == (3, "unmapped_value")


def test_the_example_of_all_kinds_of_fields_is_a_layout() -> None:
    layout = layout_of("my-questions-7", documented("my-questions-7").layouts)
    assert layout is not None
    assert layout.source.value == "my own"
    assert layout.difficulty.values == {"easy": 1, "hard": 2, "unknown": None}


def test_the_first_layout_that_fits_counts_and_none_is_the_standard_one() -> None:
    fields = {"question": "q", "domain": "d", "answer": "a"}
    layouts = {"a-*": {**fields, "files": "1"}, "a*": {**fields, "files": "2"}}
    settings = Questions.model_validate({"inbox": "inbox", "layouts": layouts})
    found = [layout_of(shard, settings.layouts) for shard in ("a-b", "ab", "b-a")]
    assert [layout and layout.files for layout in found] == ["1", "2", None]


def load(tmp_path: Path, layout: dict[str, Any]) -> Profile:
    settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
    settings["questions"]["layouts"] = {"mine*": layout}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load_profile(str(file))


GOOD: dict[str, Any] = {"question": "q", "domain": {"value": "math"}, "answer": "a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"qestion": "q"},
            r"layouts\.mine\*\.qestion: unknown key\. Allowed here: answer, answers, difficulty",
        ),
        ({"answer": ...}, r"layouts\.mine\*\.answer: required, but missing"),
        (
            {"answer": {"colum": "a"}},
            r"answer\.colum: unknown key\. Allowed here: column, optional",
        ),
        ({"answer": {}}, "answer: .*either column or value"),
        ({"answer": {"column": "a", "value": 1}}, "answer: .*either column or value"),
        ({"source": {"value": "x", "optional": True}}, "values and optional belong to a column"),
        ({"question": "messages[x]"}, r"question\.column: .*found 'messages\[x\]'"),
        ({"question": "a..b"}, r"question\.column: "),
        (
            {"domain": {"value": "poetry"}},
            r"layouts\.mine\*\.domain: no domain 'poetry'; known: math, code",
        ),
        ({"domain": {"column": "d", "values": {"x": "maths"}}}, "no domain 'maths'; known: math"),
    ],
)
def test_a_layout_that_cannot_be_used_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    layout = {key: value for key, value in (GOOD | change).items() if value is not ...}
    with pytest.raises(ProfileError, match=message):
        load(tmp_path, layout)
    assert load(tmp_path, GOOD).questions.layouts["mine*"].question.column == "q"
