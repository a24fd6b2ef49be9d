"""Four answers that teacher and base student have judged, and a checkpoint that is the student."""

from __future__ import annotations

import shutil

import pyarrow as pa
from support.training_rows import STUDENT

from dasd_assets.divergence_sampling.provenance_run import write_provenance
from dasd_assets.divergence_sampling.sentences import segmenter_named
from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
from dasd_assets.profile.divergence_sampling import RatioRule
from formats.student_text import student_text
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine
from resources.lake.lake import Lake
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

CELL = {"temperature": "high", "question_shard": "drop-1"}
SYSTEM_PROMPT = "You are a helpful assistant."


def make_judged_answers(lake: Lake) -> None:
    """Write them into a lake."""
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
    write_provenance(lake, CELL, RatioRule(), segmenter_named("reasoning-rules"))
    shutil.copytree(STUDENT, lake.checkpoint_folder("dasd", "k"))
    lake.publish_checkpoint("dasd", "k")
