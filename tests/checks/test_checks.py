"""Every check has data on which it fails, and says what it saw."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

import checks
from dasd_assets.profile import load_profile
from resources.contracts import SCHEMAS
from resources.lake import Lake

PROFILE = load_profile("tiny")
SHARD = {"question_shard": "s"}
CELL = {"temperature": "low", "question_shard": "s"}
GRID_KEY = dg.MultiPartitionKey(CELL)

DEFAULTS: dict[pa.DataType, Any] = {
    pa.string(): "x",
    pa.int32(): 1,
    pa.int64(): 1,
    pa.float32(): 0.5,
    pa.bool_(): False,
}


def put(lake: Lake, table: str, partition: dict[str, str] | None, *rows: dict[str, Any]) -> None:
    """Write rows to the lake; columns that are not given have a plain value."""
    schema = SCHEMAS[table]
    full = [
        {field.name: row.get(field.name, DEFAULTS.get(field.type, [])) for field in schema}
        for row in rows
    ]
    lake.write(table, pa.Table.from_pylist(full, schema=schema), partition)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def evaluate(
    lake: Lake, asset: str | list[str], partition_key: str | None = None
) -> dict[str, dg.AssetCheckEvaluation]:
    """Run the checks of one asset through Dagster over what is in the lake."""
    key = dg.AssetKey(asset)
    group = next(
        check
        for check in checks.build(PROFILE)
        if any(spec.asset_key == key for spec in check.check_specs)
    )

    @dg.asset(key=key, partitions_def=next(iter(group.check_specs)).partitions_def)
    def in_the_lake_already() -> None:
        """Stands for the asset, whose rows the test has written."""

    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("question_shard", ["s"])
        result = dg.materialize(
            [in_the_lake_already, group],
            instance=instance,
            resources={"lake": lake},
            partition_key=partition_key,
            raise_on_error=False,
        )
        return {e.check_name: e for e in result.get_asset_check_evaluations()}


def failed(evaluations: dict[str, dg.AssetCheckEvaluation]) -> set[str]:
    return {name for name, evaluation in evaluations.items() if not evaluation.passed}


def question(name: str) -> dict[str, Any]:
    return {"question_id": name}


def test_raw_questions(lake: Lake) -> None:
    put(lake, "raw_questions", SHARD)
    put(lake, "quarantined_rows", SHARD, {"line": 7, "reason": "invalid_json"})
    evaluations = evaluate(lake, "raw_questions", "s")
    assert failed(evaluations) == {"has_usable_rows", "few_quarantined"}
    assert evaluations["has_usable_rows"].severity == dg.AssetCheckSeverity.ERROR
    assert "x:7: invalid_json" in str(evaluations["has_usable_rows"].metadata["failing_examples"])
    put(lake, "raw_questions", SHARD, *({"line": n} for n in range(30)))
    assert not failed(evaluate(lake, "raw_questions", "s"))


def test_questions(lake: Lake) -> None:
    put(lake, "raw_questions", SHARD, {"line": 1}, {"line": 2}, {"line": 3})
    put(lake, "rejected_questions", SHARD)
    put(lake, "questions", SHARD, question("a"), question("b"))
    put(lake, "questions", {"question_shard": "other"}, question("a"))
    assert failed(evaluate(lake, "questions", "s")) == {"unique_in_all_shards", "none_lost"}
    put(lake, "questions", {"question_shard": "other"}, question("c"))
    put(lake, "rejected_questions", SHARD, {"line": 3})
    assert not failed(evaluate(lake, "questions", "s"))


def response(name: str, **columns: Any) -> dict[str, Any]:
    good = {"logprobs_mode": "raw_logprobs", "finish_reason": "stop", "token_ids": [1, 2],
            "logprobs": [-0.1, -0.2]}  # fmt: skip
    return {"response_id": name, **good, **columns}


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([response("a"), response("b")], set()),
        ([response("a")], {"all_answered"}),
        ([response("a"), response("b", logprobs_mode="processed_logprobs")], {"raw_logprobs"}),
        ([response("a"), response("b", logprobs=[-0.1])], {"one_logprob_per_token"}),
        ([response("a"), response("b", logprobs=[-0.1, float("nan")])], {"one_logprob_per_token"}),
        ([response("a"), response("b", finish_reason="length")], {"few_truncated"}),
    ],
)
def test_teacher_responses(lake: Lake, rows: list[dict[str, Any]], broken: set[str]) -> None:
    put(lake, "questions", SHARD, question("a"), question("b"))
    put(lake, "teacher_responses", CELL, *rows)
    assert failed(evaluate(lake, "teacher_responses", str(GRID_KEY))) == broken


def test_unusable_logprobs_are_counted_and_stop_nothing(lake: Lake) -> None:
    nan = float("nan")
    put(lake, "questions", SHARD, *(question(name) for name in "abcde"))
    put(
        lake, "teacher_responses", CELL,
        response("a"), response("b", logprobs=[]), response("c", logprobs=[nan, nan]),
        response("d", logprobs=[-0.1, -float("inf")]), response("e", logprobs=[nan]),
    )  # fmt: skip
    evaluation = evaluate(lake, "teacher_responses", str(GRID_KEY))["one_logprob_per_token"]
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert not evaluation.blocking
    assert evaluation.metadata["observed"].value == {
        "unusable_answers": 4, "with_other_counts": 2, "with_non_finite": 3,
    }  # fmt: skip
    assert evaluation.metadata["failing_examples"].value == ["b", "c", "d", "e"]


def ids(names: Iterable[str], **columns: Any) -> list[dict[str, Any]]:
    return [{"response_id": name, **columns} for name in names]


def test_filtered_responses(lake: Lake) -> None:
    put(lake, "teacher_responses", CELL, *ids("abcde"))
    kept = {"n_teacher_tokens": 2, "teacher_logprobs": [-0.1, -0.2]}
    put(lake, "filtered_responses", CELL, *ids("a", **kept))
    put(lake, "rejected_responses", CELL, *ids("bc"))
    assert failed(evaluate(lake, "filtered_responses", str(GRID_KEY))) == {
        "none_lost", "every_reject_has_a_rule", "most_kept",
    }  # fmt: skip
    rule = [{"rule": "too_long", "evidence": "9"}]
    put(lake, "filtered_responses", CELL, *ids("acde", **kept))
    put(lake, "rejected_responses", CELL, *ids("b", broken_rules=rule))
    assert not failed(evaluate(lake, "filtered_responses", str(GRID_KEY)))
    for logprobs in ([-0.1], [-0.1, float("nan")]):
        put(lake, "filtered_responses", CELL, *ids("acd", **kept),
            *ids("e", **{**kept, "teacher_logprobs": logprobs}))  # fmt: skip
        evaluations = evaluate(lake, "filtered_responses", str(GRID_KEY))
        assert failed(evaluations) == {"one_logprob_per_token"}
        assert evaluations["one_logprob_per_token"].severity == dg.AssetCheckSeverity.ERROR


def test_student_scores_and_provenance(lake: Lake) -> None:
    put(lake, "filtered_responses", CELL, *ids("ab"))
    put(lake, "student_scores", CELL, *ids("a"))
    assert failed(evaluate(lake, "student_scores", str(GRID_KEY))) == {"every_response_scored"}
    put(lake, "student_scores", CELL, *ids("ba"))
    assert not failed(evaluate(lake, "student_scores", str(GRID_KEY)))
    put(lake, "sentence_provenance", CELL, *ids("a", p_teacher=1.5))
    key = str(GRID_KEY)
    assert failed(evaluate(lake, "sentence_provenance", key)) == {"probabilities_in_range"}
    put(lake, "sentence_provenance", CELL, *ids("a", p_teacher=None))
    assert not failed(evaluate(lake, "sentence_provenance", key))


def test_divergence_sample(lake: Lake) -> None:
    low = {"temperature": "low"}
    put(lake, "divergence_sample", low)
    assert failed(evaluate(lake, "divergence_sample", "low")) == {"not_empty", "budget_met"}
    put(lake, "divergence_sample", low, question("a"), question("a"))
    assert failed(evaluate(lake, "divergence_sample", "low")) == {
        "budget_met", "answers_per_question",
    }  # fmt: skip
    budget = PROFILE.divergence_sampling.budget_samples["low"]
    put(lake, "divergence_sample", low, *(question(str(n)) for n in range(budget)))
    assert not failed(evaluate(lake, "divergence_sample", "low"))


@pytest.mark.parametrize(
    ("samples_out", "losses", "broken"),
    [
        (5, [2.0, 1.0], set()),
        (4, [2.0, 1.0], {"nothing_cut"}),
        (5, [2.0, float("nan")], {"finite_loss", "loss_fell"}),
        (5, [1.0, 2.0], {"loss_fell"}),
        (5, [], {"finite_loss", "loss_fell"}),
    ],
)
@pytest.mark.parametrize("checkpoint", ["low_temperature", "dasd"])
def test_checkpoints(
    lake: Lake, checkpoint: str, samples_out: int, losses: list[float], broken: set[str]
) -> None:
    folder = lake.checkpoint_folder(checkpoint, "key")
    folder.mkdir(parents=True)
    (folder / "certificate.json").write_text(
        json.dumps({"samples_in": 5, "samples_out": samples_out})
    )
    (folder / "training_log.jsonl").write_text(
        "".join(json.dumps({"step": 1, "loss": loss}) + "\n" for loss in losses)
    )
    lake.publish_checkpoint(checkpoint, "key")
    assert failed(evaluate(lake, f"{checkpoint}_checkpoint")) == broken


def test_rollouts_and_continuations(lake: Lake) -> None:
    rollout = {"token_ids": [1, 2], "max_tokens": 2, "is_truncated": True}
    put(lake, "student_rollouts", SHARD, {"rollout_id": "a", **rollout})
    put(lake, "teacher_continuations", SHARD)
    assert not failed(evaluate(lake, "student_rollouts", "s"))
    assert failed(evaluate(lake, "teacher_continuations", "s")) == {"every_truncated_continued"}
    put(lake, "teacher_continuations", SHARD, {"rollout_id": "a"})
    assert not failed(evaluate(lake, "teacher_continuations", "s"))
    put(lake, "student_rollouts", SHARD, {"rollout_id": "a", **rollout, "max_tokens": 1})
    assert failed(evaluate(lake, "student_rollouts", "s")) == {"within_cap"}


def test_mixed_policy_sample(lake: Lake) -> None:
    text = {"response_text": "four", "policy": "mixed_policy"}
    put(lake, "mixed_policy_sample", None, {"policy": "off_policy"})
    assert failed(evaluate(lake, "mixed_policy_sample")) == {"has_mixed_policy"}
    put(lake, "mixed_policy_sample", None, {**text, "student_prefix_bytes": 4})
    assert failed(evaluate(lake, "mixed_policy_sample")) == {"prefix_within_text"}
    put(lake, "mixed_policy_sample", None, {**text, "student_prefix_bytes": 3})
    assert not failed(evaluate(lake, "mixed_policy_sample"))


def test_evaluation(lake: Lake) -> None:
    put(lake, "benchmark_questions", {"benchmark": "math"}, question("a"))
    place = {"checkpoint": "base", "benchmark": "math"}
    put(lake, "evaluation", place, {"finish_reason": "length"})
    key = ["evaluation", "base"]
    assert failed(evaluate(lake, key, "math")) == {"all_answered", "few_truncated"}
    answers = PROFILE.evaluation.samples_per_question * [{"finish_reason": "stop"}]
    put(lake, "evaluation", place, *answers)
    assert not failed(evaluate(lake, key, "math"))
