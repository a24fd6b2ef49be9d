"""What is released: the three training sets, and what their provenance was found from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.paired_batches import paired
from dasd_assets.release.likely_tokens import FLAT, TOP_FIELDS
from dasd_assets.teacher_responses.tops import TOPS
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE
from resources.lake.tables.mixed_policy_distillation import MIXED_POLICY_SAMPLE
from resources.lake.tables.release import RELEASED_LOGPROBS, RELEASED_OF_SEVERAL, RELEASED_SAMPLE

if TYPE_CHECKING:
    from dasd_assets.profile import Profile
    from resources.lake.lake import Lake

STAGES: Final = {
    "stage1_low_temperature": "low",
    "stage2_high_temperature": "high",
}
"""Configuration of a stage -> the temperature it is trained on."""

MIXED: Final = "stage3_mixed_policy"
LOGPROBS: Final = "_logprobs"

Chosen = Callable[[str, list[str]], Iterator[pa.RecordBatch]]
"""Columns of the rows of a table that are wanted."""

_TEACHER_COLUMNS = [
    name for name in RELEASED_LOGPROBS.names
    if name not in {"response_text", "teacher_token_starts", "sentences", "segmenter"}
]  # fmt: skip
_SENTENCE: Final[pa.StructType] = RELEASED_LOGPROBS.field("sentences").type.value_type
_SENTENCES: Final = pa.schema(
    [RELEASED_LOGPROBS.field(name) for name in ("response_id", "sentences", "segmenter")]
)


@dataclass(frozen=True)
class TrainingSet:
    """One configuration of the data release."""

    name: str
    description: str
    schema: pa.Schema
    rows: Callable[[], Iterator[pa.RecordBatch]]
    """Reads the rows from the lake, a row group at a time."""


def training_sets(lake: Lake, profile: Profile) -> list[TrainingSet]:
    """The configurations that a profile releases, in the order of the stages."""
    temperatures = profile.teacher_responses.temperatures
    schema = RELEASED_OF_SEVERAL if profile.teachers else RELEASED_SAMPLE
    whose = "the teachers'" if profile.teachers else "the teacher's"
    sets = [
        TrainingSet(
            name,
            f"divergence-aware sample of {whose} answers at T = {temperatures[key]:g}",
            schema,
            lambda key=key: sample_rows(lake, key, schema),  # type: ignore[misc]
        )
        for name, key in STAGES.items()
    ]
    if not profile.no_mixed_policy:
        sets.append(
            TrainingSet(
                MIXED,
                "the student's answers finished by the teacher, and a share of stages 1 and 2",
                MIXED_POLICY_SAMPLE,
                lambda: lake.batches("mixed_policy_sample"),
            )
        )
    if profile.release.include_logprobs:
        sets += [
            TrainingSet(
                name + LOGPROBS,
                f"the teacher's tokens and logprobs of {name}, and each sentence's provenance",
                RELEASED_LOGPROBS,
                lambda key=key: logprob_rows(lake, key),  # type: ignore[misc]
            )
            for name, key in STAGES.items()
        ]
    return sets


def sample_rows(
    lake: Lake, key: str, schema: pa.Schema = RELEASED_SAMPLE
) -> Iterator[pa.RecordBatch]:
    """The divergence sample of one temperature, in the order it is trained on.

    Its answers need not have been sampled with the profile's: imported ones say what is known.

    Args:
        schema: what the sample lacks of its columns is taken from `teacher_responses`.
    """
    told = [name for name in schema.names if name not in DIVERGENCE_SAMPLE.names]
    sampled = lake.read_partitions("teacher_responses", ["response_id", *told], temperature=key)
    ids = sampled["response_id"].combine_chunks()
    for batch in lake.batches("divergence_sample", {"temperature": key}):
        rows = sampled.take(pc.index_in(batch["response_id"], ids)).combine_chunks()
        for name in told:
            batch = batch.append_column(name, rows[name].combine_chunks())
        yield batch.select(schema.names).cast(schema)


def logprob_rows(
    lake: Lake, key: str, schema: pa.Schema = RELEASED_LOGPROBS
) -> Iterator[pa.RecordBatch]:
    """Tokens, logprobs and sentences of the divergence sample of one temperature.

    The order is that of the shards and of the answers in them. The ids of the sample are held in
    memory, and a row group of each table that is read.

    Args:
        schema: may have columns of `filtered_responses` besides, and those of the likeliest tokens
            (TOP_FIELDS), which are null where they were not asked for.

    Raises:
        ContractError: a sample's response, or its sentences, are not in the lake.
    """
    sample = lake.read("divergence_sample", {"temperature": key}, ["response_id", "question_shard"])
    n_found = 0
    for shard in sorted(set(sample["question_shard"].to_pylist())):
        ids = sample.filter(pc.equal(sample["question_shard"], shard))["response_id"]
        cell = {"temperature": key, "question_shard": shard}
        for batch in _cell_rows(lake, cell, ids, schema):
            n_found += batch.num_rows
            yield batch
    if n_found != sample.num_rows:
        raise ContractError(
            f"divergence_sample {key}: {sample.num_rows} responses, but {n_found} of them are in "
            "filtered_responses. Materialize divergence_sample again."
        )


def _cell_rows(
    lake: Lake, cell: dict[str, str], ids: pa.ChunkedArray, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    def chosen(table: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for batch in lake.batches(table, cell, columns):
            yield batch.filter(pc.is_in(batch["response_id"], ids.combine_chunks()))

    beside = [name for name in schema.names if name in FLAT]
    told = [name for name in schema.names if name not in (*RELEASED_LOGPROBS.names, *beside)]
    filtered = chosen(
        "filtered_responses", ["response_id", "response_text", "teacher_token_starts", *told]
    )
    names = [*_SENTENCE.names, "response_id", "segmenter"]
    sentences = sentence_lists(chosen("sentence_provenance", names))
    answers = chosen("teacher_responses", _TEACHER_COLUMNS)
    with_answers: Iterator[pa.RecordBatch] = (
        _side_by_side(text, answer)
        for text, answer in paired(filtered, answers, "filtered_responses", "teacher_responses")
    )
    if beside:
        with_answers = _with_tops(with_answers, lake, cell, chosen)
    for row, sentence in paired(
        with_answers, sentences, "filtered_responses", "sentence_provenance"
    ):
        yield _side_by_side(row, sentence).select(schema.names).cast(schema)


def _with_tops(
    rows: Iterator[pa.RecordBatch], lake: Lake, cell: dict[str, str], chosen: Chosen
) -> Iterator[pa.RecordBatch]:
    """The rows with their likeliest tokens; of answers that a drop brought along there are none."""
    tops = chosen(TOPS, ["response_id", *FLAT]) if lake.exists(TOPS, cell) else iter(())
    first = next((batch for batch in tops if batch.num_rows), None)
    if first is None:
        for row in rows:
            for field in TOP_FIELDS:
                row = row.append_column(field, pa.nulls(row.num_rows, field.type))
            yield row
        return
    for pair in paired(rows, chain([first], tops), "teacher_responses", TOPS):
        yield _side_by_side(*pair)


def sentence_lists(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a response out of one row a sentence; a response may go on in the next batch.

    Args:
        batches: response_id, segmenter and the fields of a sentence, each response's sentences
            behind each other.
    """
    held = None
    for batch in batches:
        rows = pa.Table.from_batches([*(held.to_batches() if held else []), batch])
        if not rows.num_rows:
            continue
        last = rows["response_id"][rows.num_rows - 1]
        n_complete = rows.num_rows - pc.sum(pc.equal(rows["response_id"], last)).as_py()
        yield _lists(rows.slice(0, n_complete))
        held = rows.slice(n_complete)
    if held is not None:
        yield _lists(held)


def _lists(rows: pa.Table) -> pa.RecordBatch:
    rows = rows.combine_chunks()
    names = rows["response_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])[: len(names)])
    sentences = pa.StructArray.from_arrays(
        [rows[field.name].combine_chunks() for field in _SENTENCE], fields=list(_SENTENCE)
    )
    offsets = pa.array([*starts.tolist(), len(names)], pa.int32())
    first = rows.select(["response_id", "segmenter"]).take(pa.array(starts)).combine_chunks()
    return pa.RecordBatch.from_arrays(
        [
            first["response_id"].combine_chunks(),
            pa.ListArray.from_arrays(offsets, sentences, type=pa.list_(_SENTENCE)),
            first["segmenter"].combine_chunks(),
        ],
        schema=_SENTENCES,
    )


def _side_by_side(left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of both, whose rows are the same; those that both have are the left's."""
    for field in right.schema:
        if field.name not in left.schema.names:
            left = left.append_column(field, right[field.name])
    return left
