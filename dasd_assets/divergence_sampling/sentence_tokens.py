"""Which tokens lie in which sentence, and sums over them, on flat arrays.

A token belongs to the sentence that holds its first non-space byte, so that one across a boundary
counts once; tokens of the template belong to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.sentences import Integers, SentenceSpans
from formats.student_text import TEMPLATE
from resources.lake.table import ContractError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SentenceTokens:
    """One model's tokens of a block of responses, as runs: one run per sentence."""

    count: Integers
    """Tokens of each sentence."""
    _place: npt.NDArray[np.intp] | npt.NDArray[np.bool_]
    """Picks the tokens that have a place in the text, in the order of the text."""
    _edges: Integers
    """First token and token after the last of each sentence, one after the other."""

    def sums(self, values: npt.NDArray[np.generic]) -> Floats:
        """Sum over the tokens of each sentence.

        Args:
            values: one value per token of the block, template tokens included.
        """
        if not len(self.count):
            return np.zeros(0)
        placed = np.append(values[self._place], np.zeros(1, values.dtype))
        totals: Floats = np.add.reduceat(placed, self._edges, dtype=np.float64)[::2]
        return np.where(self.count > 0, totals, 0.0)


def tokens_by_sentence(rows: pa.RecordBatch, column: str, spans: SentenceSpans) -> SentenceTokens:
    """Find the tokens of every sentence.

    Args:
        rows: response_id and the token starts, one row per response; a null list is of a model
            whose tokens nobody knows, and places none.
        column: name of the token starts; -1 is a template token.
        spans: sentences of the same responses.

    Raises:
        ContractError: a start lies outside the text, the starts of a part are not in the order of
            the text, or none is in a sentence; the message names the response.
    """
    starts = flat(rows, column)
    lengths = list_lengths(rows, column)
    _check_range(rows, column, starts, lengths, spans)
    width = int(spans.n_text_bytes.max(initial=0)) + 1
    # On one line of bytes for the whole block, response i begins at i x width.
    place = np.repeat(np.arange(len(lengths)) * width, lengths) + starts
    picked: npt.NDArray[np.intp] | npt.NDArray[np.bool_] = starts != TEMPLATE
    place = place[picked]
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        _check_order(rows, column, place, order, width, spans)
        picked, place = np.flatnonzero(picked)[order], place[order]
    first = np.searchsorted(place, spans.response * width + spans.start)
    end = np.searchsorted(place, spans.response * width + spans.end)
    count = end - first
    is_known = rows[column].is_valid().to_numpy(zero_copy_only=False)
    require(
        (np.bincount(spans.response, count, minlength=len(lengths)) > 0) | ~is_known,
        rows,
        f"{column} places no token in the text",
    )
    return SentenceTokens(count, picked, np.stack([first, end], axis=1).ravel())


def _check_range(
    rows: pa.RecordBatch,
    column: str,
    starts: npt.NDArray[np.generic],
    lengths: Integers,
    spans: SentenceSpans,
) -> None:
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return
    first = (np.cumsum(lengths) - lengths)[filled]
    is_inside = np.ones(len(lengths), bool)
    is_inside[filled] = (np.maximum.reduceat(starts, first) < spans.n_text_bytes[filled]) & (
        np.minimum.reduceat(starts, first) >= TEMPLATE
    )
    require(is_inside, rows, f"{column} has a byte that is not in the text")


def _check_order(
    rows: pa.RecordBatch,
    column: str,
    place: Integers,
    order: Integers,
    width: int,
    spans: SentenceSpans,
) -> None:
    """The teacher may write the answer before the reasoning; within a part, bytes ascend."""
    response = place[order] // width
    is_answer = place[order] % width >= spans.answer_start[response]
    goes_on = (response[1:] == response[:-1]) & (is_answer[1:] == is_answer[:-1])
    is_back = goes_on & (np.diff(order) < 0)
    in_order = np.ones(rows.num_rows, bool)
    in_order[response[1:][is_back]] = False
    require(in_order, rows, f"{column} does not ascend")


def flat(rows: pa.RecordBatch, column: str) -> npt.NDArray[np.generic]:
    """The values of all lists of a column."""
    values: npt.NDArray[np.generic] = rows[column].flatten().to_numpy(zero_copy_only=False)
    return values


def list_lengths(rows: pa.RecordBatch, column: str) -> Integers:
    """Values per row of a list column; 0 of a null."""
    lengths = pc.fill_null(rows[column].value_lengths(), 0).to_numpy(zero_copy_only=False)
    return np.asarray(lengths, np.int64)


def require(holds: npt.NDArray[np.bool_], rows: pa.RecordBatch, problem: str) -> None:
    """Raise ContractError with the first response for which it does not hold."""
    if not holds.all():
        name = rows["response_id"][int(np.argmin(holds))].as_py()
        raise ContractError(f"response {name}: {problem}")
