"""A pipeline to rehearse: made-up questions and a profile whose models are synthetic engines."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dasd_assets.profile import PAPER_DOMAINS, PROFILE_FOLDER, PROJECT_ROOT
from resources.engines.settings import SyntheticSettings
from resources.engines.synthetic_engine import WORDS

PAPER_MEAN_TOKENS = SyntheticSettings().mean_tokens
PAPER_MAX_TOKENS = 65_536
PROMPT_TOKENS = 1_024
"""Room for a question, which is not made shorter."""

WORDS_PER_QUESTION = (15, 60)
AGAIN_SHARE, ALIKE_SHARE = 0.02, 0.01
"""Questions that were there word by word, and those that were there with a word less in front."""


@dataclass(frozen=True)
class Size:
    """How much is rehearsed.

    Attributes:
        questions: in the inbox; curation takes some out.
        shard_questions: of one drop.
        answers: per question and temperature.
        factor: by which answers are shorter than the paper's.
    """

    questions: int
    shard_questions: int
    answers: int
    factor: float


def make_project(folder: Path, size: Size) -> dict[str, str]:
    """Write the inbox and the profile; returns the environment that names them."""
    inbox = folder / "inbox"
    inbox.mkdir(parents=True)
    _write_drops(inbox, size)
    profile = folder / "profile.yaml"
    profile.write_text(yaml.safe_dump(_settings(inbox, size)), encoding="utf-8")
    return {"DASD_PROFILE": str(profile), "DASD_HOME": str(folder / "home")}


def _settings(inbox: Path, size: Size) -> dict[str, Any]:
    """The tiny profile's models and evaluation sets, the paper's rules, synthetic engines."""
    tiny, paper = (
        yaml.safe_load((PROFILE_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("tiny", "dasd-4b")
    )
    max_tokens = int(PAPER_MAX_TOKENS / size.factor)
    context = max_tokens + PROMPT_TOKENS
    engine = {
        "kind": "synthetic", "mean_tokens": int(PAPER_MEAN_TOKENS / size.factor),
        "max_model_len": context,
    }  # fmt: skip
    half = size.questions * size.answers // 2
    settings: dict[str, Any] = tiny | {
        "name": "rehearsal",
        "questions": paper["questions"] | {"inbox": str(inbox)},
        "teacher_responses": paper["teacher_responses"]
        | {"samples_per_question": {"low": size.answers, "high": size.answers},
           "max_tokens": max_tokens},
        "response_filtering": paper["response_filtering"]
        | {"max_student_tokens": context, "judge_domains": []},
        "divergence_sampling": paper["divergence_sampling"]
        | {"budget_samples": {"low": half, "high": half}},
    }  # fmt: skip
    for model in ("teacher", "base_student"):
        settings[model] = {"path": str(PROJECT_ROOT / tiny[model]["path"]), "engine": engine}
    for benchmark in settings["evaluation"]["benchmarks"].values():
        benchmark["path"] = str(PROJECT_ROOT / benchmark["path"])
    settings["temperature_scheduled_learning"]["max_length"] = context
    settings["mixed_policy_distillation"]["training"]["max_length"] = context
    return settings


def _write_drops(inbox: Path, size: Size) -> None:
    rng = random.Random(0)
    earlier: list[dict[str, str]] = []
    for first in range(0, size.questions, size.shard_questions):
        with (inbox / f"drop-{first // size.shard_questions:04}.jsonl").open("w") as drop:
            for _ in range(min(size.shard_questions, size.questions - first)):
                drop.write(json.dumps(_row(rng, earlier)) + "\n")


def _row(rng: random.Random, earlier: list[dict[str, str]]) -> dict[str, str]:
    draw = rng.random()
    if earlier and draw < AGAIN_SHARE + ALIKE_SHARE:
        row = rng.choice(earlier)
        return row if draw < AGAIN_SHARE else row | {"question": f"Well, {row['question']}"}
    words = rng.choices(WORDS, k=rng.randint(*WORDS_PER_QUESTION))
    row = {
        "question": f"{' '.join(words)} {rng.randrange(10_000)}?",
        "domain": rng.choice(tuple(PAPER_DOMAINS)),
        "answer": str(rng.randrange(1_000)),
    }  # fmt: skip
    earlier.append(row)
    return row
