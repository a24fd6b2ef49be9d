"""Training rows become samples; a row that cannot be trained on is refused by name."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from formats.answer_format import FormatError
from formats.chat import all_prompt_tokens, chat_of
from formats.model_format import ModelFormat
from formats.student_text import THINK_OPEN, response_parts
from resources.engines.end_tokens import check_end_token
from resources.engines.model_files import ModelFolderError
from training.samples import SampleError, Samples

ROWS_AT_ONCE = 64
"""Rows whose tokens are Python's own numbers at once: nine times as large as in a file."""

Row = dict[str, Any]


def load_samples(
    files: Sequence[Path],
    student: ModelFormat,
    *,
    system_prompt: str,
    max_length: int,
    vocab_size: int,
    max_positions: int | None = None,
    mask_student_prefix: bool = False,
    compare_lengths: bool = True,
    row_groups: Sequence[int] | None = None,
) -> Samples:
    """Tokenise the rows of Parquet files with the columns question and response_text.

    Of a conversation (earlier_messages) only the last answer is trained on.

    Args:
        student: how the student that is trained writes.
        files: training rows; `student_prefix_bytes` is read where the prefix is to be masked,
            `n_student_tokens` and `weight` where the table has them.
        max_length: tokens of one packed sequence; a longer row is an error, never cut.
        vocab_size: rows of the model's embedding.
        max_positions: positions that the model can tell apart.
        mask_student_prefix: take no loss on the leading bytes that the student wrote.
        compare_lengths: the table's lengths are of this tokenizer; else they are not looked at.
        row_groups: of each file, if not all; messages name rows by their place in the file.

    Raises:
        SampleError: no rows at all, a tokenizer whose end token does not end a turn, or a row
            that is empty, without an answer, without a positive weight, too long, ended early or
            outside the vocabulary.
    """
    tokenizer = student.tokenizer
    try:
        check_end_token(student.tokenizer)
    except ModelFolderError as error:
        raise SampleError(str(error)) from error
    limits = {"max_length (tokens of a packed sequence)": max_length}
    if max_positions:
        limits["max_position_embeddings (positions of the model)"] = max_positions
    token_ids, lengths, weights = array("i"), array("q"), array("f")
    n_prompt, n_masked, n_response, file_starts = array("i"), array("i"), array("i"), []
    for file in files:
        file_starts.append(len(lengths))
        for first, rows in _rows(file, mask_student_prefix, row_groups):
            for number, row in enumerate(rows, first):
                _check_text(f"{file}, row {number}", row)
                _check_weight(f"{file}, row {number}", row.get("weight", 1.0))
            responses = [response_parts(row["response_text"]) for row in rows]
            chats = [chat_of(row, system_prompt) for row in rows]
            prompts = all_prompt_tokens(tokenizer, chats)
            try:
                encoded = student.encode_all(responses)
            except FormatError as error:
                raise SampleError(f"{file}, rows from {first} on: {error}") from error
            for number, (row, prompt, response) in enumerate(
                zip(rows, prompts, encoded, strict=True), first
            ):
                where = f"{file}, row {number}"
                if tokenizer.eos_token_id in response:
                    raise SampleError(
                        f"{where}: the end token {tokenizer.eos_token} stands inside the response, "
                        f"at token {response.index(tokenizer.eos_token_id)} of {len(response)}"
                    )
                ids = np.asarray([*prompt, *response, tokenizer.eos_token_id], np.int32)
                _check_tokens(where, ids, limits, vocab_size)
                masked = len(prompt)
                if mask_student_prefix:
                    masked += student.n_tokens_within(
                        np.asarray(response), row["response_text"], row["student_prefix_bytes"]
                    )
                token_ids.frombytes(ids.tobytes())
                lengths.append(len(ids))
                n_prompt.append(len(prompt))
                n_masked.append(masked)
                n_response.append(row.get("n_student_tokens", -1) if compare_lengths else -1)
                weights.append(row.get("weight", 1.0))
    if not lengths:
        raise SampleError(f"{', '.join(map(str, files))}: no training rows")
    return Samples(
        token_ids=np.frombuffer(token_ids, np.int32),
        starts=np.concatenate([[0], np.cumsum(np.frombuffer(lengths, np.int64))]),
        n_prompt=np.frombuffer(n_prompt, np.int32),
        n_masked=np.frombuffer(n_masked, np.int32),
        n_response=np.frombuffer(n_response, np.int32),
        weights=np.frombuffer(weights, np.float32),
        files=tuple(files),
        file_starts=np.asarray(file_starts, np.int64),
    )


def _rows(
    file: Path, mask_student_prefix: bool, row_groups: Sequence[int] | None
) -> Iterator[tuple[int, list[Row]]]:
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    columns = ["question", "response_text"]
    columns += ["student_prefix_bytes"] if mask_student_prefix else []
    missing = [name for name in columns if name not in parquet.schema_arrow.names]
    if missing:
        raise SampleError(f"{file}: no column {', '.join(missing)}")
    optional = ("earlier_messages", "n_student_tokens", "weight")
    columns += [name for name in optional if name in parquet.schema_arrow.names]
    sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    for group in range(parquet.num_row_groups) if row_groups is None else row_groups:
        first = sum(sizes[:group])
        for batch in parquet.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
            yield first, batch.to_pylist()
            first += len(batch)


def _check_text(where: str, row: Row) -> None:
    question, response = row["question"], row["response_text"]
    if not (question and question.strip()) and not (response and response.strip()):
        raise SampleError(f"{where}: the sample is empty")
    if not (question and question.strip()):
        raise SampleError(f"{where}: the question is empty")
    if not (response and response.strip()):
        raise SampleError(f"{where}: the response is empty")
    _, answer = response_parts(response)
    if response.lstrip().startswith(THINK_OPEN.strip()) and not answer.strip():
        raise SampleError(f"{where}: the answer after the reasoning is empty")


def _check_weight(where: str, weight: float | None) -> None:
    if weight is None or not 0.0 < weight < math.inf:
        raise SampleError(
            f"{where}: the weight is {weight}; it has to be a finite number above 0. Make the "
            "sample again, or leave the row out."
        )


def _check_tokens(where: str, ids: np.ndarray, limits: dict[str, int], vocab_size: int) -> None:
    for name, most in limits.items():
        if len(ids) > most:
            raise SampleError(
                f"{where}: {len(ids)} tokens, but a sequence takes {most}: {name}. "
                "Nothing is cut: raise the limit or filter harder."
            )
    if ids.max() >= vocab_size:
        raise SampleError(
            f"{where}: token id {ids.max()} is outside the model's vocabulary of "
            f"{vocab_size}. Tokenizer and model do not belong together."
        )
