"""The whole graph for teachers and students of every format, with tokenizers of every kind.

Each row of FORMATS runs in one process: two stages, the mixed-policy set, the third stage,
evaluation and release.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chat_server import chat_server
from support.format_models import relabelled, untrained, with_opening
from support.pipeline import new_pipeline
from support.training_rows import STUDENT
from support.whole_graph import run_whole_graph

from dasd_assets.mixed_policy_distillation import rollouts
from dasd_assets.profile import load_profile
from dasd_assets.release.folder import release_link
from dasd_assets.release.publish import releases
from formats.model_format import student_format
from resources.engines.load import load_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.deployment("formats")]

Make = Callable[[Path], Path]


def shipped(name: str) -> Make:
    return lambda folder: Path(shutil.copytree(STUDENT.with_name(name), folder))


@dataclass(frozen=True)
class Formats:
    """A teacher and a student: how their folders are made, and what the profile says of them."""

    teacher: Make
    student: Make
    teacher_format: dict[str, Any] = field(default_factory=dict)
    student_format: dict[str, Any] = field(default_factory=dict)
    has_reasoning: bool = True
    is_trained: bool = True
    attention: str = "sdpa"


OPENED, CLOSED = "<think>\n", "<think>\n\n</think>\n\n"

FORMATS = {
    # Harmony to think, byte-level, is the finished pipeline of test_pipeline.py.
    "think opened, harmony, byte-level": Formats(
        lambda folder: with_opening(folder, OPENED), shipped("teacher"), attention="eager"
    ),
    "think, think opened, SentencePiece (Gemma)": Formats(
        lambda folder: relabelled(folder, "<think>"), lambda folder: relabelled(folder, OPENED)
    ),
    "plain, plain, byte-level": Formats(
        lambda folder: with_opening(folder, CLOSED), lambda folder: with_opening(folder, CLOSED),
        {"name": "plain"}, {"name": "plain"}, has_reasoning=False,
    ),
    "split, think opened, byte-level": Formats(
        lambda folder: with_opening(folder, OPENED),
        lambda folder: with_opening(folder, "<think>\n\n"),
        {"name": "split"},
    ),
    # Students that know nothing: what they roll out is mostly no text, and is not continued.
    "harmony, think, SentencePiece (Llama 2)": Formats(
        shipped("teacher"), lambda folder: untrained(folder, "llama2"), is_trained=False
    ),
    "harmony, think opened, Unigram": Formats(
        shipped("teacher"), lambda folder: untrained(folder, "unigram", OPENED), is_trained=False
    ),
    "harmony, think, Tekken": Formats(
        shipped("teacher"), lambda folder: untrained(folder, "tekken"), is_trained=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_graph_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Few rollouts of the tiny student are longer than the teacher's answers; here all are cut off.
    monkeypatch.setattr(rollouts, "rollout_cap", lambda n_tokens, ratio: n_tokens // 2)
    formats = FORMATS[name]
    teacher, student = formats.teacher(tmp_path / "teacher"), formats.student(tmp_path / "student")
    pipeline = new_pipeline(tmp_path)
    pipeline.put_drop("a", 0, n=16)
    profile = yaml.safe_load(pipeline.profile.read_text(encoding="utf-8"))
    is_served = formats.teacher_format.get("name") == "split"
    with chat_server(teacher) if is_served else nullcontext() as url:
        engine = profile["teacher"]["engine"]
        if url:
            engine = {
                "kind": "openai", "base_url": url, "served_model": "tiny", "endpoint": "chat",
                "concurrency": 8, "max_attempts": 2,
            }  # fmt: skip
        profile |= {
            "teacher": {"path": str(teacher), "engine": engine, "format": formats.teacher_format},
            "base_student": profile["base_student"]
            | {"path": str(student), "format": formats.student_format},
        }
        profile["response_filtering"] |= {
            "require_reasoning": formats.has_reasoning,
            "judge_domains": ["math"],
        }
        profile["divergence_sampling"]["budget_samples"] = {"low": 8, "high": 8}
        profile["temperature_scheduled_learning"] |= {"epochs": 1}
        profile["mixed_policy_distillation"] |= {
            "rollout_questions": 16,
            "off_policy_samples": 2,
            "cap_ratio": 1.01,
        }
        for stage in (
            profile["temperature_scheduled_learning"],
            profile["mixed_policy_distillation"]["training"],
        ):
            # One student as gpt-oss in transformers has to be trained: its attention on a CPU
            # does not keep packed samples apart.
            stage |= {"attention": formats.attention, "packing": formats.attention == "sdpa"}
        profile["evaluation"]["samples_per_question"] = 1
        benchmark = profile["evaluation"]["benchmarks"]["math"]
        questions = Path(benchmark["path"]).read_text(encoding="utf-8").splitlines(keepends=True)
        Path(benchmark["path"]).write_text("".join(questions[:2]), encoding="utf-8")
        benchmark["max_tokens"] = 100
        pipeline.profile.write_text(yaml.safe_dump(profile), encoding="utf-8")
        loaded = load_profile(str(pipeline.profile))
        run_whole_graph(loaded, pipeline.home, "a", monkeypatch)
    lake = pipeline.lake
    kept = lake.read_partitions("filtered_responses", ["reasoning", "answer"]).to_pylist()
    assert kept
    assert all(bool(row["reasoning"]) == formats.has_reasoning for row in kept)
    mixed = lake.read("mixed_policy_sample")["policy"].to_pylist()
    assert mixed
    assert "mixed_policy" in mixed or not formats.is_trained
    written = loaded.base_student.format
    released = load_tokenizer(release_link(releases(lake), "model"), written)
    assert student_format(released, written).format == student_format(
        load_tokenizer(student, written), written
    ).format  # fmt: skip
