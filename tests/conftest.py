"""A whole pipeline on a few questions, with the shipped tiny models and the real executor.

It is made once and shared: tests of the command line run on it, tests in a browser on a copy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.pipeline import CAP_RATIO, TINY_WORLD, Pipeline

from dasd_assets.profile import PROFILE_FOLDER

LONGEST = ("pipeline", "test_postgres")


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that share an expensive fixture run in the same process, in their order.

    The longest groups come first: one that is left over at the end has a core to itself and the
    other idle.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: Path(_group(item)).stem not in LONGEST)


def _group(item: pytest.Item) -> str:
    if "new_pipeline" in getattr(item, "fixturenames", ()):
        return "pipeline"
    has_own_fixtures = Path(item.path.parent, "conftest.py").is_file()
    return str(item.path.parent if has_own_fixtures else item.path)


@pytest.fixture(scope="session")
def new_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """Make a pipeline whose profile is the tiny one, made small."""

    def make(name: str) -> Pipeline:
        pipeline = Pipeline(tmp_path_factory.mktemp(name))
        pipeline.inbox.mkdir()
        settings = yaml.safe_load((PROFILE_FOLDER / "tiny.yaml").read_text(encoding="utf-8"))
        settings["name"] = "small"
        settings["questions"]["inbox"] = str(pipeline.inbox)
        settings["divergence_sampling"]["budget_samples"] = {"low": 24, "high": 24}
        settings["temperature_scheduled_learning"]["epochs"] = 2
        settings["mixed_policy_distillation"] |= {
            "rollout_questions": 60, "off_policy_samples": 8, "cap_ratio": CAP_RATIO,
        }  # fmt: skip
        questions = (TINY_WORLD / "benchmarks" / "math.jsonl").read_text(encoding="utf-8")
        benchmark = pipeline.folder / "math.jsonl"
        benchmark.write_text("".join(questions.splitlines(keepends=True)[:8]), encoding="utf-8")
        settings["evaluation"] |= {
            "samples_per_question": 2,
            "benchmarks": {"math": {"path": str(benchmark), "max_tokens": 320}},
        }
        (pipeline.folder / "small.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        return pipeline

    return make


@pytest.fixture(scope="session")
def finished(
    new_pipeline: Callable[[str], Pipeline],
) -> tuple[Pipeline, subprocess.CompletedProcess[str]]:
    """A pipeline of two drops after one `dasd run`, and what that printed."""
    pipeline = new_pipeline("finished")
    pipeline.put_drop("drop-01", 0)
    pipeline.put_drop("drop-02", 600)
    return pipeline, pipeline.dasd("run")
