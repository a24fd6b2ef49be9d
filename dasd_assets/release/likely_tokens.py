"""The teacher's likeliest tokens in exported rows, and what their ids stand for.

An id is one of the teacher's vocabulary. A trainer that learns from them needs the student's: they
are the same only where both tokenizers spell every id alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formats.token_bytes import TokenBytes
from resources.engines.load import load_tokenizer
from resources.engines.model_folder import ModelFolder, inspect_model
from resources.engines.settings import ServerSettings
from resources.lake.tables.teacher_responses import TEACHER_TOP_LOGPROBS

if TYPE_CHECKING:
    from dasd_assets.profile import Profile
    from dasd_assets.profile.models import Model, Teacher

FLAT: Final = ("k", "top_token_ids", "top_logprobs")
"""Columns of `teacher_top_logprobs` beside the id of the row."""

TOP_FIELDS: Final = [TEACHER_TOP_LOGPROBS.field(name).with_nullable(True) for name in FLAT]
"""The same beside the rows of a sample: null of an answer that was not asked for."""

TOKENS: Final = pa.schema(
    [("teacher", pa.string()), ("token_id", pa.int32()), ("bytes", pa.binary()),
     ("is_special", pa.bool_())]
)  # fmt: skip
"""A row for each token id: who has it, and what it spells (a special token its own name)."""


def nested(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns as they are exported: of each answer its positions, of each the k likeliest.

    Args:
        batch: the columns FLAT.
    """
    ks = [k for k in batch["k"].unique().to_pylist() if k]
    if len(ks) > 1:
        raise ValueError(f"answers with different numbers of likely tokens: {ks}")
    k = ks[0] if ks else 1
    return {
        "teacher_top_token_ids": _by_position(batch["top_token_ids"], k),
        "teacher_top_logprobs": _by_position(batch["top_logprobs"], k),
    }


def _by_position(flat: pa.ListArray, k: int) -> pa.ListArray:
    values = flat.flatten()
    positions = pa.ListArray.from_arrays(np.arange(0, len(values) + 1, k, dtype=np.int32), values)
    lengths = pc.list_value_length(flat).fill_null(0).to_numpy() // k
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, positions, mask=flat.is_null())


def token_table(profile: Profile) -> pa.Table:
    """What every token id of every teacher spells, with the schema TOKENS."""
    parts = []
    for teacher in profile.answerers.values():
        spelled = _spelled(teacher)
        name = pa.array([_name(teacher)] * len(spelled), pa.string())
        parts.append(spelled.add_column(0, TOKENS.field("teacher"), name))
    return pa.concat_tables(parts)


def of_another_vocabulary(profile: Profile) -> list[str]:
    """Names of the teachers whose ids do not all spell what they spell for the student."""
    student = _spelled(profile.base_student)
    return [
        name for name, teacher in profile.answerers.items() if not _spelled(teacher).equals(student)
    ]


def _name(teacher: Teacher) -> str:
    """What its rows say of `model`."""
    engine = teacher.engine
    return engine.served_model if isinstance(engine, ServerSettings) else _folder(teacher).name


def _folder(model: Model) -> ModelFolder:
    return inspect_model(model.location, model.revision, weights=False)


def _spelled(model: Model) -> pa.Table:
    """token_id, bytes and is_special of every id of a model's tokenizer."""
    table = TokenBytes(load_tokenizer(_folder(model).path))
    ids = pa.array(range(table.size), pa.int32())
    return pa.table(
        [ids, pa.array(table.pieces, pa.binary()), pa.array(table.is_special)],
        schema=pa.schema(list(TOKENS)[1:]),
    )
