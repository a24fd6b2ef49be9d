"""Token ids and logprobs as they were delivered: beside their answers, or in a companion."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.profile.answers import AnswerTokens
from dasd_assets.questions.reading.columns import column_rows
from dasd_assets.questions.reading.data_files import data_files
from dasd_assets.questions.reading.rows import UnusableRowError, value_at
from resources.lake.table import LOGPROBS, TOKEN_IDS, schema

COMPANION = schema(
    ("id", pa.string(), "name of the answer's row"),
    ("drop", pa.string(), "file"),
    ("line", pa.int64(), "row"),
    ("token_ids", TOKEN_IDS, "as delivered", True),
    ("logprobs", LOGPROBS, "as delivered", True),
    ("problem", pa.string(), "why the row cannot be used", True),
)


@dataclass(frozen=True)
class Delivered:
    """One row of a drop's answers, or of their companion.

    Attributes:
        drop, line: where it is.
        content: its columns, or why it cannot be used.
        answer_id: its name, if rows are named and it could be read.
        token_ids, logprobs: as delivered; None: none came along.
    """

    drop: str
    line: int
    content: dict[str, Any] | UnusableRowError
    answer_id: str | None = None
    token_ids: Any = None
    logprobs: Any = None


def name_at(column: str, content: dict[str, Any] | UnusableRowError) -> str | None:
    """What names a row; None if it has no name that can be read."""
    if isinstance(content, UnusableRowError):
        return None
    try:
        name = value_at(column, content)
    except UnusableRowError:
        return None
    return name if isinstance(name, str) and name else None


def companion_rows(
    drop: Path,
    tokens: AnswerTokens,
    max_row_bytes: int,
    answers: Container[str],
    orphans: list[Delivered] | None,
) -> Iterator[dict[str, Any]]:
    """The rows of tokens of a drop that belong to an answer (COMPANION).

    Args:
        answers: names of all answers of the drop.
        orphans: is given the rows that belong to none; None: they are told elsewhere.
    """
    assert tokens.files is not None and tokens.id is not None  # `delivered_answers` asks
    used = {
        "answers.tokens.id": tokens.id,
        "answers.tokens.token_ids": tokens.token_ids,
        "answers.tokens.logprobs": tokens.logprobs,
    }
    for file in data_files(drop, tokens.files):
        for line, content in column_rows(file, used, max_row_bytes):
            problem = content if isinstance(content, UnusableRowError) else None
            name = name_at(tokens.id, content)
            if name is None or name not in answers:
                if orphans is not None:
                    unknown = UnusableRowError("no_answer", f"id {name!r} is of no answer")
                    orphans.append(Delivered(file.name, line, problem or unknown))
                continue
            assert isinstance(content, dict)  # it has a name
            row = {"id": name, "drop": file.name, "line": line, "problem": None}
            try:
                yield row | {
                    "token_ids": as_token_ids(value_at(tokens.token_ids, content)),
                    "logprobs": as_logprobs(value_at(tokens.logprobs, content)),
                }
            except UnusableRowError as error:
                said = f"{error.reason}: {error.evidence}"
                yield row | {"token_ids": None, "logprobs": None, "problem": said}


def as_token_ids(value: Any) -> npt.NDArray[np.int32]:
    """A list of token ids as int32.

    Raises:
        UnusableRowError: it is no list of whole numbers of 32 bits.
    """
    array = _array("token_ids", value)
    if len(array) and array.dtype.kind not in "iu":
        raise UnusableRowError("wrong_type", "token_ids: not whole numbers")
    if len(array) and (int(array.max()) >= 2**31 or int(array.min()) < -(2**31)):
        raise UnusableRowError("wrong_type", "token_ids: a number of over 32 bits")
    return array.astype(np.int32)


def as_logprobs(value: Any) -> npt.NDArray[np.float32]:
    """A list of logprobs as float32; what is missing in it is NaN.

    Raises:
        UnusableRowError: it is no list of numbers.
    """
    if isinstance(value, list):
        value = [np.nan if number is None else number for number in value]
    array = _array("logprobs", value)
    if len(array) and array.dtype.kind not in "fiu":
        raise UnusableRowError("wrong_type", "logprobs: not numbers")
    return array.astype(np.float32)


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    if value is None:
        raise UnusableRowError("missing_field", name)
    if not isinstance(value, list | np.ndarray):
        raise UnusableRowError("wrong_type", f"{name}: expected list, found {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise UnusableRowError("wrong_type", f"{name}: {error}") from None
    if array.ndim != 1:
        raise UnusableRowError("wrong_type", f"{name}: a list of lists")
    return array
