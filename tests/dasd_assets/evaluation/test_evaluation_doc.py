"""docs/evaluation.md: its profile and its example rows work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from dasd_assets.profile import PROJECT_ROOT, Benchmark, Evaluation, Verification
from dasd_assets.questions.benchmarks.benchmark_formats import FORMATS
from dasd_assets.questions.benchmarks.evaluation_sets import read_benchmark
from resources.lake.tables.questions import BENCHMARK_QUESTIONS

TEXT = (PROJECT_ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"### `(\w+)`.*?```json\n(.*?)\n```", TEXT, re.DOTALL))


def test_the_settings_of_the_page_are_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = yaml.safe_load(block)
    Evaluation.model_validate(settings["evaluation"])
    Verification.model_validate(settings["verification"])


@pytest.mark.parametrize("kind", ["questions", *FORMATS])
def test_the_example_row_of_every_format_can_be_read(tmp_path: Path, kind: str) -> None:
    json.loads(ROWS[kind])
    file = tmp_path / "set.jsonl"
    file.write_text(ROWS[kind], encoding="utf-8")
    benchmark = Benchmark(path=str(file), format=kind, max_tokens=1)
    batches = read_benchmark(benchmark, "set")
    assert pa.Table.from_batches(batches, BENCHMARK_QUESTIONS).num_rows == 1
