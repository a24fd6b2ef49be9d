"""What makes a delivered answer usable; nothing about it is assumed, row by row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.profile import Layout
from dasd_assets.questions.curation.normalisation import question_id
from dasd_assets.questions.reading.drops import MAX_EVIDENCE
from dasd_assets.questions.reading.rows import UnusableRowError, usable, value_at
from dasd_assets.teacher_responses.imported.companion import Delivered, as_logprobs, as_token_ids
from formats.delivered_text import (
    DeliveredTextError,
    DeliveredTokens,
    delivered_parts,
    delivered_tokens,
)
from formats.token_bytes import TokenBytes
from resources.lake.row_batches import batches
from resources.lake.tables.teacher_responses import IMPORTED_ANSWERS, QUARANTINED_ANSWERS

MOST_LOGPROB = 1e-4
"""Rounding may bring a certain token just above 0."""


class AnswerReader:
    """Reads the answers of one partition, one after the other."""

    def __init__(
        self,
        layout: Layout,
        max_row_bytes: int,
        domains: Collection[str],
        token_bytes: TokenBytes | None = None,
    ) -> None:
        """Prepare for rows of one layout.

        Args:
            layout: one with answers.
            max_row_bytes: a longer question cannot be used.
            domains: those of the profile.
            token_bytes: of the tokenizer that token ids are of; used if the layout has tokens.
        """
        if layout.answers is None or (layout.answers.tokens is not None and token_bytes is None):
            raise ValueError("a layout with answers, and a tokenizer where they have tokens")
        self._layout, self._answers = layout, layout.answers
        self._max_row_bytes, self._domains = max_row_bytes, domains
        self._token_bytes = token_bytes
        self._seen: Counter[str] = Counter()

    def read(self, row: Delivered) -> dict[str, Any]:
        """The row as one of IMPORTED_ANSWERS.

        Raises:
            UnusableRowError: a reason of the drop's questions (`questions.reading.drops`), or
                empty_answer, malformed_text, tokens_do_not_spell_text, logprobs_not_per_token,
                invalid_logprobs, logprobs_not_raw, or one that `delivered_answers` has found.
        """
        if isinstance(row.content, UnusableRowError):
            raise row.content
        question = usable(row.content, self._layout, self._max_row_bytes, self._domains)
        text = self._text(row.content)
        facts = self._tokens(row, text) if self._answers.tokens is not None else None
        named = question_id(question["domain"], question["question"], question["earlier_messages"])
        digest = hashlib.sha256(f"{named}\0{text}".encode()).hexdigest()
        # The same answer may have been sampled twice; both stay, and have ids of their own.
        self._seen[digest] += 1
        if (times := self._seen[digest]) > 1:
            digest = hashlib.sha256(f"{digest}\0{times}".encode()).hexdigest()
        return {
            "drop": row.drop,
            "line": row.line,
            "answer_id": row.answer_id,
            "response_id": f"r-{digest[:24]}",
            "question_id": named,
            "text": text,
            "token_ids": None if facts is None else facts[0],
            "logprobs": None if facts is None else facts[1],
            "has_answer_tokens": None if facts is None else facts[2].has_answer,
            "has_end_token": None if facts is None else facts[2].has_end,
        }

    def _text(self, content: dict[str, Any]) -> str:
        column = self._answers.text
        text = value_at(column, content)
        if text is None:
            raise UnusableRowError("missing_field", f"text ({column})")
        if not isinstance(text, str):
            raise UnusableRowError(
                "wrong_type", f"text ({column}): expected str, found {type(text).__name__}"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableRowError("invalid_utf8", f"text ({column}): a lone surrogate") from None
        if not text.strip():
            raise UnusableRowError("empty_answer", repr(text))
        return text

    def _tokens(
        self, row: Delivered, text: str
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], DeliveredTokens]:
        assert self._token_bytes is not None  # the caller asks
        token_ids, logprobs = as_token_ids(row.token_ids), as_logprobs(row.logprobs)
        try:
            reasoning, answer = delivered_parts(text)
        except DeliveredTextError as error:
            raise UnusableRowError("malformed_text", str(error)) from error
        try:
            placed = delivered_tokens(token_ids, reasoning, answer, self._token_bytes)
        except DeliveredTextError as error:
            raise UnusableRowError("tokens_do_not_spell_text", str(error)) from error
        require_raw(token_ids, logprobs, self._answers.max_p_teacher)
        return token_ids, logprobs, placed


def require_raw(
    token_ids: npt.NDArray[np.int32], logprobs: npt.NDArray[np.float32], max_p_teacher: float
) -> None:
    """Refuse logprobs that cannot be the model's own at temperature 1.

    Raises:
        UnusableRowError: logprobs_not_per_token, invalid_logprobs or logprobs_not_raw.
    """
    if len(logprobs) != len(token_ids):
        raise UnusableRowError(
            "logprobs_not_per_token", f"{len(logprobs)} logprobs for {len(token_ids)} tokens"
        )
    bad = np.flatnonzero(~np.isfinite(logprobs) | (logprobs > MOST_LOGPROB))
    if len(bad):
        raise UnusableRowError("invalid_logprobs", f"{logprobs[bad[0]]} at token {bad[0]}")
    p_teacher = float(np.exp(min(0.0, logprobs.mean(dtype=np.float64))))
    if p_teacher > max_p_teacher:
        raise UnusableRowError(
            "logprobs_not_raw",
            f"geometric mean probability {p_teacher:.4f} of {len(logprobs)} tokens, above "
            f"max_p_teacher ({max_p_teacher:g}): after temperature or top_p?",
        )


def imported_answers(
    delivered: Iterable[Delivered], reader: AnswerReader, quarantined: list[dict[str, Any]]
) -> Iterator[pa.RecordBatch]:
    """The usable answers, as batches of IMPORTED_ANSWERS.

    Args:
        quarantined: is given a row of QUARANTINED_ANSWERS for each of the others.
    """

    def rows() -> Iterator[dict[str, Any]]:
        for row in delivered:
            try:
                yield reader.read(row)
            except UnusableRowError as error:
                quarantined.append({
                    "drop": row.drop, "line": row.line, "reason": error.reason,
                    "evidence": error.evidence[:MAX_EVIDENCE],
                })  # fmt: skip

    return batches(rows(), IMPORTED_ANSWERS)


def quarantine_table(quarantined: list[dict[str, Any]]) -> pa.Table:
    """The rows as QUARANTINED_ANSWERS."""
    return pa.Table.from_pylist(quarantined, schema=QUARANTINED_ANSWERS)
