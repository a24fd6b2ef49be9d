"""A small lake in which every check passes, to be spoilt one table at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pyarrow as pa

import checks
from dasd_assets.declaring.check_outcomes import ALLOWED, SEVERITY
from dasd_assets.profile import PAPER_DOMAINS, Layout, Profile, Student, load_profile
from formats.checkpoint_folder import CERTIFICATE
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

Rows = dict[str, list[dict[str, Any]]]
"""Table -> rows of its one partition."""

Spoil = Callable[[Rows], object]

SHARD = {"question_shard": "s"}
CELL = {"temperature": "low", "question_shard": "s"}
LOW = {"temperature": "low"}
TRAINING_SETS = (
    "low_temperature_training_set", "high_temperature_training_set", "student_training_set",
    "mixed_policy_training_set",
)  # fmt: skip
N = 24
K = 4

_DEFAULTS: dict[pa.DataType, Any] = {
    pa.string(): "x",
    pa.int32(): 1,
    pa.int64(): 1,
    pa.float32(): 0.5,
    pa.bool_(): False,
}


@cache
def small_profile() -> Profile:
    """The tiny profile with the budgets of the small lake, and a further student."""
    tiny = load_profile("tiny")
    sampling = tiny.divergence_sampling.model_copy(
        update={
            "budget_samples": {"low": N - 1, "high": N - 1},
            "max_answers_per_question": 1,
        }
    )
    mixed = tiny.mixed_policy_distillation.model_copy(update={"off_policy_samples": 10})
    evaluation = tiny.evaluation.model_copy(update={"samples_per_question": K})
    # Some other drop brings answers without logprobs along, so that there are checks on these.
    brought = Layout.model_validate({
        "question": "question", "domain": "domain", "answer": "answer",
        "answers": {"text": "text", "temperatures": {"low": {}}},
    })  # fmt: skip
    questions = tiny.questions.model_copy(update={"layouts": {"brought-*": brought}})
    return tiny.model_copy(
        update={
            "questions": questions,
            "teacher_responses": tiny.teacher_responses.model_copy(
                update={"top_logprobs": 2, "samples_per_question": {"low": 1, "high": 1}}
            ),
            "students": {"student": Student(path=tiny.base_student.path)},
            "divergence_sampling": sampling,
            "mixed_policy_distillation": mixed,
            "evaluation": evaluation,
        }
    )


def put(lake: Lake, table: str, partition: dict[str, str] | None, *rows: dict[str, Any]) -> None:
    """Write rows to the lake; columns that are not given have a plain value."""
    schema = TABLES[table].schema
    full = [
        {field.name: row.get(field.name, _DEFAULTS.get(field.type, [])) for field in schema}
        for row in rows
    ]
    lake.write(table, pa.Table.from_pylist(full, schema=schema), partition)


def good_rows() -> Rows:
    """Rows of all tables that fit together; the last answer is truncated and rejected."""
    every = range(N)
    kept = range(N - 1)

    def about(i: int) -> dict[str, Any]:
        return {
            "question_id": f"q{i}", "domain": tuple(PAPER_DOMAINS)[i % 4],
            "question": f"How many are {i}?",
            "line": i, "question_shard": "s",
        }  # fmt: skip

    sampled = {"token_ids": [1, 2, 3], "logprobs": [-0.1, -0.2, -0.3], "finish_reason": "stop"}
    cut = {**sampled, "finish_reason": "length"}
    lengths = {"n_teacher_tokens": 3, "n_student_tokens": 3}
    selected = {
        "is_selected": True,
        "is_random_control": True,
        "is_longest_control": True,
        "decision": "selected",
    }
    counts = {
        "n_sentences": 2, "n_teacher_sentences": 1, "n_student_sentences": 0,
        "n_common_sentences": 1,
    }  # fmt: skip
    continued = range(0, N - 1, 2)
    too_long = {"broken_rules": [{"rule": "hit_max_tokens", "evidence": "3 tokens"}]}
    packed = {"n_tokens": 9, "n_prompt_tokens": 6, "n_masked_tokens": 6, "weight": 1.0}
    off_policy = [f"r{i}" for i in range(1, 20, 2)]
    return {
        "raw_questions": [about(i) for i in range(N + 1)],
        "quarantined_rows": [{"line": 99}],
        "questions": [about(i) for i in every],
        "rejected_questions": [about(N)],
        "question_signatures": [about(i) for i in every],
        "benchmark_questions": [
            {"question_id": f"b{i}", "domain": "math", "question": f"What is {i} and {i}?"}
            for i in every
        ],
        "imported_answers": [{"response_id": f"r{i}", "line": i, **sampled} for i in every],
        "quarantined_answers": [{"line": 99}],
        "teacher_responses": [
            {"response_id": f"r{i}", **about(i), "logprobs_mode": "raw_logprobs",
             **(sampled if i in kept else cut)}
            for i in every
        ],
        "teacher_top_logprobs": [
            {"response_id": f"r{i}", "k": 2, "top_token_ids": [1, 7, 2, 7, 3, 7],
             "top_logprobs": [-0.1, -2.5, -0.2, -2.5, -0.3, -1.5]}
            for i in every
        ],
        "filtered_responses": [
            {"response_id": f"r{i}", **about(i), **lengths, "teacher_logprobs": [-0.1, -0.2, -0.3],
             "teacher_token_starts": [0, 4, 8]}
            for i in kept
        ],
        "rejected_responses": [{"response_id": f"r{N - 1}", **about(N - 1), **too_long}],
        "student_scores": [
            {"response_id": f"r{i}", **sampled, "ranks": [1, 2, 1], "token_starts": [0, 4, 8]}
            for i in kept
        ],
        "teacher_scores": [
            {"response_id": f"r{i}", **sampled, "token_starts": [0, 4, 8], "left_out": None}
            for i in kept
        ],
        "sentence_provenance": [
            {"response_id": f"r{i}", "sentence_index": index, "start_byte": 6 * index,
             "end_byte": 6 * index + 6, "sentence_class": kind}
            for i in kept for index, kind in enumerate(("teacher", "common"))
        ],
        "response_provenance": [
            {"response_id": f"r{i}", **about(i), **counts, **lengths} for i in kept
        ],
        "divergence_candidates": [
            {"response_id": f"r{i}", **about(i), **lengths, **selected} for i in kept
        ],
        "divergence_sample": [
            {"response_id": f"r{i}", **about(i), "n_student_tokens": 3, "weight": 1.0}
            for i in kept
        ],
        "student_rollouts": [
            {"rollout_id": f"o{i}", "response_id": f"r{i}", **about(i), "max_tokens": 3,
             "n_teacher_response_tokens": 3, "is_truncated": i in continued,
             **(cut if i in continued else sampled)}
            for i in kept
        ],
        "teacher_continuations": [
            {"continuation_id": f"c{i}", "rollout_id": f"o{i}", **about(i), **sampled,
             "cut_fraction": 0.75, "cut_kind": "random"}
            for i in continued
        ],
        "mixed_policy_sample": [
            {"sample_id": f"c{i}", **about(i), "policy": "mixed_policy", "response_text": "four",
             "student_prefix_bytes": 2}
            for i in continued[1:]
        ] + [
            {"sample_id": f"r{i}", **about(i), "policy": "off_policy", "student_prefix_bytes": 0}
            for i in range(1, 20, 2)
        ],
        **{
            table: [{"sample_id": f"r{i}", **packed} for i in kept] for table in TRAINING_SETS[:3]
        },
        "mixed_policy_training_set": [
            {"sample_id": sample, **packed}
            for sample in (*(f"c{i}" for i in continued[1:]), *off_policy)
        ],
        "rejected_continuations": [{"continuation_id": "c0", **about(0), **too_long}],
        "evaluation": [
            {"question_id": f"b{i}", "sample_index": sample, "finish_reason": "stop",
             "is_correct": sample == 0}
            for i in every for sample in range(K)
        ],
        "evaluation_teacher_scores": [
            {"answer_id": f"a{i}", **sampled, "token_starts": [0, 4, 8], "left_out": None}
            for i in every
        ],
        "evaluation_provenance": [
            {"answer_id": f"a{i}", "sentence_index": index, "sentence_class": kind}
            for i in every for index, kind in enumerate(("teacher", "shared"))
        ],
    }  # fmt: skip


def partition_of(table: str) -> dict[str, str]:
    """Where the rows of a table lie in the small lake."""
    grid = {
        "imported_answers", "quarantined_answers", "teacher_responses", "teacher_top_logprobs",
        "filtered_responses",
        "rejected_responses", "student_scores", "teacher_scores", "sentence_provenance",
        "response_provenance",
    }  # fmt: skip
    if table in grid:
        return CELL
    places = {
        "benchmark_questions": {"benchmark": "math"},
        "divergence_candidates": LOW,
        "divergence_sample": LOW,
        "mixed_policy_sample": {},
        "low_temperature_training_set": {},
        "high_temperature_training_set": {},
        "student_training_set": {"student": "student"},
        "mixed_policy_training_set": {},
        "rejected_continuations": {},
        "evaluation": {"checkpoint": "base", "benchmark": "math"},
        "evaluation_teacher_scores": {"checkpoint": "dasd", "benchmark": "math"},
        "evaluation_provenance": {"checkpoint": "dasd", "benchmark": "math"},
    }
    return places.get(table, SHARD)


def fill(lake: Lake, rows: Rows) -> None:
    """Write all tables, of the samples at both temperatures, and what certifies training sets.

    Tables with the good rows are copied: that takes a twentieth of the time.
    """
    good = _good_lake()
    for table, content in rows.items():
        if content == good.rows[table]:
            shutil.copytree(
                Path(good.folder.name, table), Path(lake.root, table),
                copy_function=shutil.copyfile,  # of its own time, as what is written again has
                dirs_exist_ok=True,
            )  # fmt: skip
        else:
            put(lake, table, partition_of(table), *content)
    put(lake, "divergence_sample", {"temperature": "high"}, *rows["divergence_sample"])
    for name in ("low_temperature", "high_temperature", "student", "dasd"):
        certify_set(lake, name, is_sound=True)


@dataclass(frozen=True)
class _GoodLake:
    folder: TemporaryDirectory[str]
    rows: Rows


@cache
def _good_lake() -> _GoodLake:
    """Written once in a process."""
    good = _GoodLake(TemporaryDirectory(prefix="good-lake-"), good_rows())
    for table, content in good.rows.items():
        put(Lake(root=good.folder.name), table, partition_of(table), *content)
    return good


def certify_set(lake: Lake, checkpoint: str, *, is_sound: bool) -> None:
    """Publish the folder of a training set that has a certificate and nothing else."""
    check = {"name": "loss_mask", "passed": is_sound, "cause": "row 1: no prompt"}
    folder = lake.keyed_folder(f"training_sets/{checkpoint}", f"key-{is_sound}")
    folder.mkdir(exist_ok=True)
    (folder / CERTIFICATE).write_text(json.dumps({"checks": [check]}), encoding="utf-8")
    lake.publish_keyed(f"training_sets/{checkpoint}", f"key-{is_sound}")


def spoilt(lake: Lake, spoil: Spoil) -> None:
    """Fill the lake with good rows that something has been done to."""
    rows = good_rows()
    spoil(rows)
    fill(lake, rows)


PARTITION_KEYS: dict[str, Any] = {
    "raw_questions": "s",
    "benchmark_questions": "math",
    "questions": "s",
    "imported_answers": dg.MultiPartitionKey(CELL),
    "teacher_responses": dg.MultiPartitionKey(CELL),
    "filtered_responses": dg.MultiPartitionKey(CELL),
    "student_scores": dg.MultiPartitionKey(CELL),
    "teacher_scores": dg.MultiPartitionKey(CELL),
    "sentence_provenance": dg.MultiPartitionKey(CELL),
    "divergence_sample": "low",
    "student_rollouts": "s",
    "teacher_continuations": "s",
    "mixed_policy_sample": None,
    "evaluation": "math",
    "evaluation_teacher_scores": "math",
    "evaluation_provenance": "math",
    **dict.fromkeys(TRAINING_SETS),
    "low_temperature_checkpoint": None,
    "high_temperature_checkpoint": None,
    "student_checkpoint": None,
    "dasd_checkpoint": None,
    "model_release": None,
    "dataset_release": None,
}


def check_results(lake: Lake, asset: str) -> dict[str, dg.AssetCheckResult]:
    """What the checks of one asset say of what is in the lake, without a run of Dagster."""
    context = dg.build_op_context(partition_key=PARTITION_KEYS[asset])
    results = _small_groups()[_key_of(asset)](context, lake)
    return {str(result.check_name): result for result in results}


def failed_checks(lake: Lake, asset: str) -> set[str]:
    """Names of the checks of one asset that what is in the lake fails, without a run of Dagster."""
    return failed(check_results(lake, asset))


def _key_of(asset: str) -> dg.AssetKey:
    is_further = asset in ("student_checkpoint", "student_training_set")
    checkpoint = "student" if is_further else partition_of(asset).get("checkpoint")
    return dg.AssetKey([asset, checkpoint] if checkpoint else asset)


def evaluate(
    lake: Lake, asset: str, profile: Profile | None = None, only: str | None = None
) -> dict[str, dg.AssetCheckEvaluation]:
    """Run the checks of one asset, or one of them, through Dagster over what is in the lake."""
    key = _key_of(asset)
    group = (_groups(profile) if profile else _small_groups())[key]

    @dg.asset(key=key, partitions_def=next(iter(group.check_specs)).partitions_def)
    def in_the_lake_already() -> None:
        """Stands for the asset, whose rows the test has written."""

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["s"])
        result = dg.materialize(
            [in_the_lake_already, group],
            instance=instance,
            resources={"lake": lake},
            # Of checks alone Dagster knows no partitions, but takes one by its tag.
            partition_key=None if only else PARTITION_KEYS[asset],
            tags={"dagster/partition": PARTITION_KEYS[asset]} if only else None,
            selection=only and dg.AssetSelection.checks(dg.AssetCheckKey(key, only)),
            raise_on_error=False,
        )
        found = {e.check_name: e for e in result.get_asset_check_evaluations()}
        assert list(found) == [s.name for s in group.check_specs if only in (None, s.name)]
        for spec in group.check_specs:  # what `dasd check` compares, to see what is due
            if (seen := found.get(spec.name)) and (limits := seen.metadata.get(ALLOWED)):
                judged_by = {ALLOWED: limits.value, SEVERITY: seen.severity.value.lower()}
                assert spec.metadata == judged_by
        return found


@cache
def _small_groups() -> dict[dg.AssetKey, dg.AssetChecksDefinition]:
    return _groups(small_profile())


def _groups(profile: Profile) -> dict[dg.AssetKey, dg.AssetChecksDefinition]:
    groups = [group for box in checks.BOXES for group in box.build(profile)]
    return {next(iter(group.check_specs)).asset_key: group for group in groups}


def failed(
    evaluations: Mapping[str, dg.AssetCheckEvaluation | dg.AssetCheckResult],
) -> set[str]:
    """Names of the checks that did not pass."""
    return {name for name, evaluation in evaluations.items() if not evaluation.passed}
