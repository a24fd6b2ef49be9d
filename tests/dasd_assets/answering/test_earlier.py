"""What an earlier materialization has is not asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from support.stub_engine import StubEngine

from dasd_assets.answering.earlier import SAMPLED
from dasd_assets.teacher_responses.sampling import sample_responses
from dasd_assets.teacher_responses.tops import TOPS, earlier_tops, write_tops
from resources.lake.lake import Lake
from resources.lake.manifest import SUFFIX
from resources.lake.tables import TABLES
from resources.lake.tables.questions import QUESTIONS

CELL = {"temperature": "high", "question_shard": "s1"}


def questions(*texts: str) -> pa.Table:
    rows = [
        {
            "question_id": f"q-{text}", "drop": "d.jsonl", "line": line, "domain": "math",
            "question": text, "answer": "1", "difficulty": None, "source": None,
        }
        for line, text in enumerate(texts)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=QUESTIONS)


def materialize(lake: Lake, engine: Any, *texts: str, seed: int = 0, k: int = 0) -> pa.Table:
    journal = lake.journal("teacher_responses", CELL)
    rows = sample_responses(
        questions(*texts), engine, temperature_name="high", temperature=1.0,
        samples_per_question=3, top_p=1.0, max_tokens=100, system_prompt="s",
        reasoning_effort="high", seed=seed, journal=journal,
        earlier=lake.earlier("teacher_responses", CELL, ["response_id", *SAMPLED]),
        top_logprobs=k, earlier_tops=earlier_tops(lake, CELL, k),
    )  # fmt: skip
    write_tops(lake, CELL, [rows], k)
    lake.write("teacher_responses", rows, CELL)
    journal.unlink()
    return lake.read("teacher_responses", CELL)


def n_not_whole(rows: pa.Table) -> int:
    """Answers that are empty or lack a finite logprob: those are asked for again.

    A server may leave out the first ones, those of the reasoning.
    """
    return sum(
        not row["token_ids"]
        or len(row["token_ids"]) != len(row["logprobs"])
        or not np.isfinite(row["logprobs"][-1])
        or (np.diff(np.isfinite(row["logprobs"]).astype(int)) < 0).any()
        for row in rows.to_pylist()
    )


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Equal, NaN included."""
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


def test_only_what_is_new_edited_or_broken_is_asked_for(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "lake"))
    texts = [f"question {n}" for n in range(40)]
    first = materialize(lake, StubEngine(), *texts)
    broken = n_not_whole(first)
    assert 0 < broken < 40

    engine = StubEngine()
    assert_same(materialize(lake, engine, *texts), first)
    assert len(engine.asked) == broken

    edited = ["new", *reversed(texts[1:]), "question 0?"]
    engine = StubEngine()
    rows = materialize(lake, engine, *edited)
    of_kept = first.filter([row != "question 0" for row in first["question"].to_pylist()])
    assert len(engine.asked) == 2 * 3 + n_not_whole(of_kept)
    fresh = Lake(root=str(tmp_path / "fresh"))
    assert_same(rows, materialize(fresh, StubEngine(), *edited))


def test_other_settings_ask_for_everything(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    materialize(lake, StubEngine(), "a", "b")
    engine = StubEngine()
    materialize(lake, engine, "a", "b", seed=1)
    assert len(engine.asked) == 6


def test_answers_outlive_a_table_that_gains_or_loses_columns(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "lake"))
    first = materialize(lake, StubEngine(), "question")
    file = lake.path("teacher_responses", CELL)
    wanted = ["response_id", *SAMPLED]
    columns = [
        list(batch.schema.names) for batch in lake.earlier("teacher_responses", CELL, wanted)
    ]
    assert columns == [wanted]

    Path(f"{file}{SUFFIX}").unlink()  # as a table of before, which had none
    pq.write_table(first.append_column("more", pa.nulls(first.num_rows)).drop(["engine"]), file)
    (batch,) = lake.earlier("teacher_responses", CELL, wanted)
    assert_same(pa.Table.from_batches([batch]), first.select(wanted))
    engine = StubEngine()
    materialize(lake, engine, "question")
    assert len(engine.asked) == n_not_whole(first)

    Path(f"{file}{SUFFIX}").unlink()
    pq.write_table(first.drop(["response_id"]), file)  # what cannot be null and is not there
    assert list(lake.earlier("teacher_responses", CELL, wanted)) == []
    evaluated = {"checkpoint": "base", "benchmark": "math"}
    answers = pa.table({"answer_id": ["a-1"], "token_ids": [[1]], "finish_reason": ["stop"]})
    answers = answers.cast(
        pa.schema([TABLES["evaluation"].schema.field(name) for name in answers.column_names])
    )
    place = lake.path("evaluation", evaluated)
    place.parent.mkdir(parents=True)
    pq.write_table(answers, place)
    (batch,) = lake.earlier("evaluation", evaluated, ["answer_id", *SAMPLED])
    assert batch["logprobs"].null_count == 1  # may be null, and was not kept then


def test_the_likeliest_tokens_are_kept_with_their_answers(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "lake"))
    texts = [f"question {n}" for n in range(20)]
    plain = materialize(lake, StubEngine(), *texts)
    assert not lake.exists(TOPS, CELL)
    engine = StubEngine()
    first = materialize(lake, engine, *texts, k=3)
    assert len(engine.asked) == 60, "without them no answer is one that is asked for now"
    assert not set(first["response_id"].to_pylist()) & set(plain["response_id"].to_pylist())
    tops = lake.read(TOPS, CELL)
    assert tops["response_id"].to_pylist() == first["response_id"].to_pylist()
    lengths = [3 * len(ids) for ids in first["token_ids"].to_pylist()]
    for name in ("top_token_ids", "top_logprobs"):
        assert [len(one) for one in tops[name].to_pylist()] == lengths

    broken = n_not_whole(first)
    edited = ["new", *texts[1:]]
    engine = StubEngine()
    materialize(lake, engine, *edited, k=3)
    of_kept = first.filter([row != "question 0" for row in first["question"].to_pylist()])
    assert len(engine.asked) == 3 + n_not_whole(of_kept)
    fresh = Lake(root=str(tmp_path / "fresh"))
    materialize(fresh, StubEngine(), *edited, k=3)
    assert_same(lake.read(TOPS, CELL), fresh.read(TOPS, CELL))

    # An answer whose own are gone is asked for again, and no other.
    rows = lake.read(TOPS, CELL)
    lost = rows["response_id"].to_pylist()[7]
    lake.write(TOPS, rows.filter(pc.not_equal(rows["response_id"], lost)), CELL)
    whole = n_not_whole(materialize(fresh, StubEngine(), *edited, k=3))
    is_whole = has_logprobs_of(lake, lost)
    engine = StubEngine()
    materialize(lake, engine, *edited, k=3)
    assert len(engine.asked) == whole + is_whole
    assert broken

    materialize(lake, StubEngine(), *texts)
    assert not lake.exists(TOPS, CELL), "they belong to no answer any more"


def has_logprobs_of(lake: Lake, response_id: str) -> int:
    rows = lake.read("teacher_responses", CELL)
    one = rows.filter(pc.equal(rows["response_id"], response_id))
    return 1 - n_not_whole(one)
