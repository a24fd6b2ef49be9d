"""Rollouts, continuations and the mixed sample through Dagster, with scripted models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.scripted_engine import Answer, ScriptedEngine, encode
from support.small_lake import filled
from support.training_rows import STUDENT

from dasd_assets.mixed_policy_distillation import assets as mixed_policy
from dasd_assets.profile import Profile, load_profile
from resources.compute.training_launcher import TrainingLauncher
from resources.engines.inference import InferenceModel
from resources.engines.protocol import GenerationRequest
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

THOUGHT = encode("student", "<think>\n" + "So we add the ones and then the tens of both. " * 9)
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>It is 3.<|return|>"
N = 12


def rolled_out(request: GenerationRequest) -> Answer:
    """Cut off where the teacher's answer is short."""
    if request.max_tokens < 60:
        return THOUGHT[: request.max_tokens], "length"
    return encode("student", "<think>\nA.\n</think>\n\nIt is 3.<|im_end|>"), "stop"


def finished(request: GenerationRequest) -> Answer:
    """Every third continuation or so has no answer."""
    ending = FINAL if request.seed % 3 else "<|return|>"
    return encode("teacher", f" and carry.{ending}"), "stop"


class ScriptedModel(InferenceModel):
    """A model that is never loaded."""

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[Any]:
        """A scripted engine."""
        is_student = self.engine["name"] == "student"
        yield ScriptedEngine(self.engine["name"], rolled_out if is_student else finished)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    rows = [
        {"response_id": f"r{i}", "question_id": f"q{i}", "domain": "math",
         "question": f"What is {i} + 3?", "question_shard": "ab"[i % 2],
         "n_student_tokens": 30 if i < 8 else 50}
        for i in range(2 * N)
    ]  # fmt: skip
    for name, part in {"low": rows[:N], "high": rows[N:]}.items():
        lake.write("divergence_sample", filled("divergence_sample", *part), {"temperature": name})
    lake.checkpoint_folder("high_temperature", "key").mkdir(parents=True)
    lake.publish_checkpoint("high_temperature", "key")
    return lake


def profile() -> Profile:
    tiny = load_profile("tiny")
    mixed = tiny.mixed_policy_distillation.model_copy(
        update={"rollout_questions": N, "off_policy_samples": 5}
    )
    return tiny.model_copy(update={"mixed_policy_distillation": mixed})


def test_from_rollouts_to_the_mixed_sample(lake: Lake) -> None:
    assets = mixed_policy.build(profile())
    metadata: dict[tuple[str, str | None], dict[str, Any]] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["a", "b"])
        for selection, key in (
            (["student_rollouts", "teacher_continuations"], "a"),
            (["student_rollouts", "teacher_continuations"], "b"),
            (["mixed_policy_sample"], None),
        ):
            result = dg.materialize(
                assets,
                selection=selection,
                partition_key=key,
                instance=instance,
                resources={
                    "lake": lake,
                    "base_student_model": ScriptedModel(
                        path=str(STUDENT), engine={"name": "student"}
                    ),
                    "teacher": ScriptedModel(
                        path=str(STUDENT.with_name("teacher")), engine={"name": "teacher"}
                    ),
                    "trainer": TrainingLauncher(),
                },
            )
            assert result.success
            for name in selection:
                (event,) = result.asset_materializations_for_node(name)
                metadata[name, key] = {k: v.value for k, v in event.metadata.items()}
    rollouts = lake.read_partitions("student_rollouts").to_pylist()
    continuations = lake.read_partitions("teacher_continuations").to_pylist()
    assert len(rollouts) == N
    assert all(row["max_tokens"] == int(1.5 * row["n_teacher_response_tokens"]) for row in rollouts)
    truncated = {row["rollout_id"] for row in rollouts if row["is_truncated"]}
    assert 0 < len(truncated) < N
    assert {row["rollout_id"] for row in continuations} == truncated
    shown = [metadata["student_rollouts", shard] for shard in "ab"]
    assert sum(each["rollouts"] for each in shown) == N
    assert sum(each["truncated"] for each in shown) == len(truncated)
    assert all("/cut_off_rate_by_length." in each["cut_off_rate_by_length"] for each in shown)
    cuts = [metadata["teacher_continuations", shard]["cuts"] for shard in "ab"]
    assert sum(each["random"]["n"] for each in cuts) == len(continuations)

    sample = lake.read("mixed_policy_sample").to_pylist()
    rejected = lake.read("rejected_continuations").num_rows
    n_mixed = sum(row["policy"] == "mixed_policy" for row in sample)
    assert 0 < n_mixed == len(truncated) - rejected
    assert len(sample) - n_mixed == 5
    assert len({row["question_id"] for row in sample}) == len(sample)
    mixed = metadata["mixed_policy_sample", None]
    assert (mixed["mixed_policy"], mixed["off_policy"], mixed["rejected"]) == (
        n_mixed, 5, rejected,
    )  # fmt: skip
    assert "lost: no_final_answer" in mixed["funnel"]
    assert "/funnel_plot." in mixed["funnel_plot"]
