"""The evaluation assets through Dagster: limits of the profile, refusals, partitions made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from support.writing_engine import Writes

from dasd_assets import profile as profiles
from dasd_assets.evaluation.assets import build
from dasd_assets.models.students import resource_of
from dasd_assets.profile import Profile, load_profile
from dasd_assets.verification.sandbox import SandboxError
from resources.engines.inference import InferenceModel
from resources.lake.lake import Lake
from resources.lake.tables.questions import BENCHMARK_QUESTIONS

pytestmark = pytest.mark.slow

RIGHT = "<think>\nOnes.\n</think>\n\n\\boxed{3}"
HANGS = "<think>\nOnes.\n</think>\n\n\\boxed{9^{9^{9^{9}}}}"
OPENED: list[Writes] = []
PATHS: list[str | None] = []


class Student(InferenceModel):
    """Answers with one text."""

    text: str

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[Any]:
        """An engine that remembers what it was asked."""
        PATHS.append(path)
        OPENED.append(Writes(self.text))
        yield OPENED[-1]


def profile(**changes: Any) -> Profile:
    tiny = load_profile("tiny")
    evaluation = tiny.evaluation.model_copy(update={"samples_per_question": 2})
    verification = tiny.verification.model_copy(update={"math_seconds": 0.3})
    update = {"evaluation": evaluation, "verification": verification}
    return tiny.model_copy(update=update | changes)


def put_questions(lake: Lake, domain: str, answer: Any, n: int = 3) -> None:
    rows = [
        {
            "question_id": f"q{i}", "benchmark": domain, "domain": domain, "question": f"{i}?",
            "prompt": f"{i}?", "answer": json.dumps(answer),
        }
        for i in range(n)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTIONS)
    lake.write("benchmark_questions", table, {"benchmark": domain})


def evaluate(lake: Lake, of: Profile, benchmark: str, text: str) -> dict[str, Any]:
    """Materialize one partition of the base student's evaluation; its metadata."""
    OPENED.clear()
    base, *_ = build(of)
    result = dg.materialize(
        [base],
        partition_key=benchmark,
        resources={
            "lake": lake, "base_student_model": Student(path="", engine={}, text=text),
        },
    )  # fmt: skip
    (made,) = result.asset_materializations_for_node("evaluation__base")
    return {name: value.value for name, value in made.metadata.items()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def test_a_partition_says_what_its_answers_are_like(lake: Lake) -> None:
    put_questions(lake, "math", "3")
    metadata = evaluate(lake, profile(), "math", RIGHT)
    assert metadata["dagster/row_count"] == 6
    assert metadata["avg_at_k"] == metadata["pass_at_1"] == metadata["pass_at_2"] == 1.0
    assert (metadata["truncated_share"], metadata["no_answer_share"]) == (0.0, 0.0)
    assert metadata["mean_tokens"] == len(RIGHT)


def test_answers_are_graded_with_the_limits_of_the_profile(lake: Lake) -> None:
    put_questions(lake, "math", "3", n=1)
    evaluate(lake, profile(), "math", HANGS)
    rows = lake.read("evaluation", {"checkpoint": "base", "benchmark": "math"}, ["verdict"])
    assert rows["verdict"].to_pylist() == ["timeout"] * 2


def test_a_further_student_is_asked_before_and_after_its_training(lake: Lake) -> None:
    students = {"other": profiles.Student(path="tiny_world/models/student")}
    put_questions(lake, "math", "3", n=1)
    trained = lake.checkpoint_folder("other", "key")
    trained.mkdir(parents=True)
    lake.publish_checkpoint("other", "key")
    assets = [one for one in build(profile(students=students)) if "other" in str(one.key)]
    PATHS.clear()
    dg.materialize(
        assets,
        partition_key="math",
        resources={
            "lake": lake,
            "base_student_model": Student(path="", engine={}, text="not this one"),
            resource_of("other"): Student(path="", engine={}, text=RIGHT),
            "teacher": Student(path="", engine={}, text="nor this one"),
        },
    )
    assert sorted(PATHS, key=str) == [str(trained), None]
    rows = lake.read_partitions("evaluation", ["checkpoint", "text"]).to_pylist()
    assert {row["checkpoint"] for row in rows} == {"other", "other_base"}
    assert {row["text"] for row in rows} == {RIGHT}


def test_without_a_sandbox_programs_are_not_even_asked_for(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_questions(lake, "code", {"tests": [{"input": "1", "output": "1"}]})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        evaluate(lake, profile(), "code", RIGHT)
    assert OPENED == []
    put_questions(lake, "code", {"function": "f", "tests": [[[0], 2]]})  # evaluated, not run
    assert evaluate(lake, profile(), "code", RIGHT)["avg_at_k"] == 0.0


def test_a_partition_made_again_with_other_limits_asks_nothing(lake: Lake) -> None:
    put_questions(lake, "math", "3")
    evaluate(lake, profile(), "math", RIGHT)
    assert len(OPENED[-1].asked) == 6
    slow = profile(verification=profile().verification.model_copy(update={"math_seconds": 9.0}))
    assert evaluate(lake, slow, "math", "other")["avg_at_k"] == 1.0
    assert OPENED[-1].asked == []


def version(of: Profile) -> str | None:
    base, *_ = build(of)
    return base.code_versions_by_key[base.key]


@pytest.mark.parametrize(
    ("changes", "is_stale"),
    [
        ({"confidence": 0.9}, False),
        ({"bootstrap_resamples": 500}, False),
        ({"samples_per_question": 3}, True),
        ({"temperature": 0.6}, True),
        ({"top_p": 0.9}, True),
    ],
)
def test_only_what_shapes_answers_or_verdicts_makes_them_stale(
    changes: dict[str, Any], is_stale: bool
) -> None:
    evaluation = profile().evaluation.model_copy(update=changes)
    assert (version(profile(evaluation=evaluation)) != version(profile())) is is_stale


def test_limits_of_the_graders_make_verdicts_stale() -> None:
    limits = profile().verification.model_copy(update={"code_seconds": 1.0})
    assert version(profile(verification=limits)) != version(profile())
