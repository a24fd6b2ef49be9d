"""Training rows and a configuration on the shipped tiny student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.training_rows import STUDENT, Row, row, with_set

from training.sft import SftConfig


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: Row) -> Path:
        file = tmp_path / "sample.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows)), file)
        return file

    return write


@pytest.fixture
def config(tmp_path: Path, write_rows: Callable[..., Path]) -> SftConfig:
    config = SftConfig(
        model_path=str(STUDENT),
        training_set=str(tmp_path / "none"),
        output_dir=str(tmp_path / "checkpoint"),
        epochs=2,
        learning_rate=1e-3,
        min_learning_rate=1e-4,
        global_batch_size=2,
        micro_batch_size=2,
        max_length=256,
        dtype="float32",
        gradient_checkpointing=False,
    )
    return with_set(config, write_rows(*(row(number) for number in range(24))))
