"""Whether the tokens of samples spell what stands in the table, the mask where it should be."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from formats.chat import chat_of, chat_text
from formats.encoding import encode_all, encode_texts
from formats.model_format import ModelFormat
from formats.student_text import response_parts
from training.batch_checks import Check
from training.samples import NO_LOSS, Samples

TORN = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for a character of which it has only some bytes."""


def text_as_in_table(
    samples: Samples,
    indices: Iterable[int],
    student: ModelFormat,
    system_prompt: str,
    mask_student_prefix: bool,
) -> Check:
    """Decoded, the masked tokens are the prompt and the trained ones the response of the row."""
    rows = _rows_of(samples, sorted(set(indices)), mask_student_prefix)
    spells_spaces = encode_texts(student.tokenizer, ["a"]) == encode_all(student.tokenizer, ["a"])

    def normal(text: str) -> str:
        """Text as tokenizers that compose characters (Qwen: NFC) give it back."""
        composed = unicodedata.normalize("NFC", text)
        # Some put a space before a text, and behind each mark of a prompt.
        return composed if spells_spaces else composed.replace(" ", "")

    def decoded(ids: npt.NDArray[np.int32]) -> str:
        return normal(student.token_bytes.written(ids).decode(errors="replace"))

    cause = ""
    for index, row in rows.items():
        sample = samples[index]
        n_masked = int(np.count_nonzero(sample.labels == NO_LOSS))
        response = student.written_text(*response_parts(row["response_text"]))
        prefix = b""
        if mask_student_prefix and (n_bytes := row["student_prefix_bytes"]):
            n_written = student.n_written_bytes(row["response_text"], n_bytes)
            prefix = response.encode()[:n_written]
        prompt = chat_text(student.tokenizer, chat_of(row, system_prompt))
        masked = decoded(sample.input_ids[:n_masked]).rstrip(TORN)
        one_more = decoded(sample.input_ids[: n_masked + 1])
        shown = normal(prompt + prefix.decode(errors="ignore"))
        if decoded(sample.input_ids) != normal(prompt + response + student.tokenizer.eos_token):
            cause = "the tokens do not spell prompt, response and end token of the row"
        elif not shown.startswith(masked) or len(one_more) <= len(shown):
            cause = f"the masked tokens spell {masked[-40:]!r} at their end, not {shown[-40:]!r}"
        if cause:
            cause = f"{samples.name(index)}: {cause}"
            break
    return Check(
        "text_as_in_table", not cause, f"{len(rows):,} samples compared", "all the same", cause
    )


def _rows_of(
    samples: Samples, indices: list[int], mask_student_prefix: bool
) -> dict[int, dict[str, Any]]:
    """The rows of some samples, read anew; only the row groups that hold them are touched."""
    columns = ["question", "response_text"]
    columns += ["student_prefix_bytes"] if mask_student_prefix else []
    wanted: dict[Path, list[tuple[int, int]]] = {}
    for index in indices:
        file, row = samples.place(index)
        wanted.setdefault(file, []).append((row, index))
    found: dict[int, dict[str, Any]] = {}
    for file, rows in wanted.items():
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        has_earlier = "earlier_messages" in parquet.schema_arrow.names
        there = [*columns, "earlier_messages"] if has_earlier else columns
        first = 0
        for group in range(parquet.num_row_groups):
            n_rows = parquet.metadata.row_group(group).num_rows
            here = [(row - first, index) for row, index in rows if first <= row < first + n_rows]
            if here:
                table = parquet.read_row_group(group, there).take([row for row, _ in here])
                found |= dict(zip([i for _, i in here], table.to_pylist(), strict=True))
            first += n_rows
    return found
