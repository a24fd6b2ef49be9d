"""`dasd boosted` on a finished pipeline: a checkpoint judges the sentences a third time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.training_rows import STUDENT
from typer.testing import CliRunner

from dasd_assets.cli.main import app
from dasd_assets.divergence_sampling.provenance_run import write_provenance
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
from formats.student_text import student_text
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine
from resources.lake.lake import Lake
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

CELL = {"temperature": "high", "question_shard": "drop-1"}
SYSTEM_PROMPT = "You are a helpful assistant."


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Four answers with provenance, and a checkpoint that is the base student itself."""
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setenv("DASD_HOME", str(tmp_path))
    lake = Lake(root=str(tmp_path / "lake"))
    reasoning, answer = "3 + 4 = 7. Then 7 - 2 = 5. Is it? Yes.", "It is 5."
    rows = [
        {
            "response_id": f"r{index}", "question_id": "q", "domain": "math", "question": "?",
            "sample_index": index, "logprobs_mode": "raw_logprobs", "reasoning": reasoning,
            "answer": answer, "response_text": student_text(reasoning, answer),
            "n_teacher_tokens": 2, "n_student_tokens": 2, "teacher_token_starts": [8, 19],
            "teacher_logprobs": [-0.5, -0.5],
        }
        for index in range(4)
    ]  # fmt: skip
    filtered = pa.Table.from_pylist(rows, FILTERED_RESPONSES)
    lake.write("filtered_responses", filtered, CELL)
    engine = TransformersEngine(str(STUDENT), TransformersSettings(dtype="float32", device="cpu"))
    texts = filtered.select(TEXT_COLUMNS).to_batches()
    lake.write("student_scores", score_responses(texts, 4, engine, SYSTEM_PROMPT), CELL)
    write_provenance(lake, CELL, 2.0, segmenter_named("reasoning-rules"))
    shutil.copytree(STUDENT, lake.checkpoint_folder("dasd", "k"))
    lake.publish_checkpoint("dasd", "k")
    return lake


def test_the_base_student_boosts_nothing(finished: Lake) -> None:
    result = CliRunner().invoke(app, ["boosted", "--answers", "3"])
    assert result.exit_code == 0, result.output
    rows = pq.read_table(Path(finished.root, "boosted_sentences", "high.parquet"))
    assert sorted(set(rows["response_id"].to_pylist())) == ["r0", "r1", "r2"]
    assert rows["p_distilled"].to_pylist() == pytest.approx(rows["p_student"].to_pylist(), abs=1e-6)
    assert "boosted" not in rows["sentence_class"].to_pylist()
    known = finished.read("sentence_provenance", CELL)
    assert rows["sentence_class"].to_pylist() == known["sentence_class"].to_pylist()[: len(rows)]
    assert "rows: " in result.output


def test_what_is_not_there_yet_is_said(finished: Lake) -> None:
    result = CliRunner().invoke(app, ["boosted", "--temperature", "low"])
    assert result.exit_code == 2
    assert "no sentence_provenance of temperature low" in result.output
    result = CliRunner().invoke(app, ["boosted", "--checkpoint", "low_temperature"])
    assert result.exit_code == 2
    assert "low_temperature: not trained yet" in result.output
