"""Every check passes on a good lake, fails on one that is spoilt for it, and says what it saw."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.checked_lake import (
    LOW,
    SHARD,
    TRAINING_SETS,
    N,
    Rows,
    Spoil,
    certify_set,
    check_results,
    evaluate,
    failed,
    failed_checks,
    fill,
    good_rows,
    put,
    small_profile,
    spoilt,
)

from checks.checked_partition import CheckedPartition
from checks.declare import shards_made
from checks.divergence_sampling import no_removed_drops, no_shard_lost, shards_ready
from checks.mixed_policy_distillation import too_few
from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

NAN, INFINITY = float("nan"), float("inf")

OF_THE_LAKE = [asset for asset in CONTRACTS if not asset.endswith("_release")]
"""The releases, which are folders, have test_release.py."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def checkpoint(lake: Lake, name: str, samples_out: int, losses: list[float]) -> None:
    folder = lake.checkpoint_folder(name, "key")
    folder.mkdir(parents=True)
    (folder / "certificate.json").write_text(
        json.dumps(
            {
                "samples_in": 5,
                "samples_out": samples_out,
                "checks": [
                    {
                        "name": "every_sample_once",
                        "passed": samples_out == 5,
                        "cause": "row 1: lost",
                    },
                ],
            }
        )
    )
    log = [json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in enumerate(losses)]
    (folder / "training_log.jsonl").write_text("".join(log))
    lake.publish_checkpoint(name, "key")


@pytest.mark.parametrize("asset", OF_THE_LAKE)
def test_good_data_passes_every_check(lake: Lake, asset: str) -> None:
    fill(lake, good_rows())
    checkpoint(lake, asset.removesuffix("_checkpoint"), 5, [2.0, 1.0])
    evaluations = evaluate(lake, asset)
    assert failed(evaluations) == set()
    assert list(evaluations) == [contract.name for contract in CONTRACTS[asset]]


def every(table: str, **columns: Any) -> Spoil:
    """Set columns in all rows of a table."""
    return lambda rows: [row.update(columns) for row in rows[table]]


def first(table: str, **columns: Any) -> Spoil:
    """Set columns in one row of a table."""
    return lambda rows: rows[table][0].update(columns)


def several(table: str, n: int, **columns: Any) -> Spoil:
    """Set columns in the first n rows of a table."""
    return lambda rows: [row.update(columns) for row in rows[table][:n]]


def without(table: str, n: int = 1) -> Spoil:
    """Take the first n rows of a table away."""
    return lambda rows: rows[table].__delitem__(slice(n))


def empty(table: str) -> Spoil:
    return lambda rows: rows[table].clear()


def twice(table: str) -> Spoil:
    """Put the first row of a table there again."""
    return lambda rows: rows[table].append(dict(rows[table][0]))


def repeating(table: str, source: str, n: int, id_column: str) -> Spoil:
    """Turn n rows of a table into rejects for repetition."""

    def spoil(rows: Rows) -> None:
        taken = rows[source][:n]
        del rows[source][:n]
        names = {"broken_rules": [{"rule": "repeated_ngram", "evidence": "9 x"}]}
        rows[table] += [
            {**row, id_column: row.get(id_column) or row["sample_id"], **names} for row in taken
        ]

    return spoil


LOGPROBS = {
    "filtered_responses": "teacher_logprobs",
    "imported_answers": "logprobs",
    "teacher_responses": "logprobs",
    "student_scores": "logprobs",
    "teacher_scores": "logprobs",
    "student_rollouts": "logprobs",
    "teacher_continuations": "logprobs",
    "evaluation_teacher_scores": "logprobs",
}

EMPTY = [{"rule": "empty_completion", "evidence": "finish_reason length"}]

CASES: list[tuple[str, Spoil, set[str]]] = [
    ("imported_answers",
     lambda rows: rows["quarantined_answers"].extend({"line": 100 + n} for n in range(3)),
     {"few_quarantined"}),
    ("imported_answers", first("imported_answers", logprobs=[-0.1]), {"one_logprob_per_token"}),
    ("imported_answers", first("imported_answers", response_id=""), {"no_nulls"}),
    ("imported_answers", twice("imported_answers"), {"unique_ids"}),
    ("teacher_scores", without("teacher_scores"), {"every_response_scored"}),
    ("teacher_scores", first("teacher_scores", token_starts=[0]), {"one_logprob_per_token"}),
    ("teacher_scores",
     several("teacher_scores", 6, left_out="beyond_context"), {"few_left_out"}),
    ("teacher_scores", first("teacher_scores", response_id=""),
     {"no_nulls", "every_response_scored"}),
    ("teacher_scores", twice("teacher_scores"), {"unique_ids", "every_response_scored"}),
    ("raw_questions", empty("raw_questions"), {"has_usable_rows", "few_quarantined"}),
    ("raw_questions",
     lambda rows: rows["quarantined_rows"].extend({"line": 100 + n} for n in range(3)),
     {"few_quarantined"}),
    ("raw_questions", first("raw_questions", domain="poetry"), {"known_domains"}),
    ("raw_questions", first("raw_questions", question=" "), {"no_nulls"}),
    ("raw_questions", twice("raw_questions"), {"unique_ids"}),
    ("benchmark_questions", empty("benchmark_questions"), {"not_empty"}),
    ("benchmark_questions", first("benchmark_questions", domain="poetry"), {"known_domains"}),
    ("benchmark_questions", first("benchmark_questions", question_id=""), {"no_nulls"}),
    ("benchmark_questions", twice("benchmark_questions"), {"unique_ids"}),
    ("questions", twice("questions"), {"unique_in_all_shards", "none_lost"}),
    ("questions", without("questions"), {"none_lost"}),
    ("questions", first("questions", question="What is 7 and 7?"), {"not_contaminated"}),
    ("questions", first("questions", domain="poetry"), {"known_domains"}),
    ("questions", first("questions", question=""), {"no_nulls"}),
    ("questions",
     lambda rows: rows["rejected_questions"].extend(
         row for row in [rows["questions"].pop() for _ in range(16)]),
     {"few_rejected"}),
    ("questions", every("questions", domain="math"), {"domain_balance"}),
    ("teacher_responses", without("teacher_responses"), {"all_answered", "top_logprobs_hold"}),
    ("teacher_responses", first("teacher_responses", logprobs_mode="processed_logprobs"),
     {"raw_logprobs"}),
    ("teacher_responses", first("teacher_responses", question_id="q99"),
     {"known_questions", "all_answered"}),
    ("teacher_responses", several("teacher_responses", 6, finish_reason="length"),
     {"few_truncated"}),
    ("teacher_responses", first("teacher_responses", response_id="  "),
     {"no_nulls", "top_logprobs_hold"}),
    ("teacher_responses", first("teacher_responses", response_id="r1"),
     {"unique_ids", "top_logprobs_hold"}),
    ("teacher_responses", without("teacher_top_logprobs"), {"top_logprobs_hold"}),
    ("teacher_responses", every("teacher_top_logprobs", k=3), {"top_logprobs_hold"}),
    ("teacher_responses", first("teacher_top_logprobs", top_token_ids=[1, 7, 7, 2, 3]),
     {"top_logprobs_hold"}),
    ("teacher_responses",
     first("teacher_top_logprobs", top_logprobs=[-0.1, -2.5, -0.25, -2.5, -0.3, -1.5]),
     {"top_logprobs_hold"}),
    ("filtered_responses", without("filtered_responses"), {"none_lost"}),
    ("filtered_responses", first("rejected_responses", response_id="r1"), {"none_lost"}),
    ("filtered_responses", first("rejected_responses", broken_rules=[]),
     {"every_reject_has_a_rule"}),
    ("filtered_responses", first("filtered_responses", teacher_token_starts=[0]),
     {"one_logprob_per_token"}),
    ("filtered_responses", first("filtered_responses", question_id="q99"), {"known_questions"}),
    ("filtered_responses", first("filtered_responses", n_student_tokens=9_999),
     {"within_context"}),
    ("filtered_responses", without("filtered_responses", 13), {"none_lost", "most_kept"}),
    ("filtered_responses",
     lambda rows: rows.update(filtered_responses=[
         row for row in rows["filtered_responses"] if row["domain"] != "math"]),
     {"none_lost", "domain_balance"}),
    ("filtered_responses",
     repeating("rejected_responses", "filtered_responses", 6, "response_id"),
     {"few_repetitive"}),
    ("filtered_responses", first("filtered_responses", question=""), {"no_nulls"}),
    ("filtered_responses", first("filtered_responses", response_id="r1"),
     {"unique_ids", "none_lost"}),
    ("student_scores", without("student_scores"), {"every_response_scored"}),
    ("student_scores", first("student_scores", ranks=[1, 0, 1]), {"ranks_from_one"}),
    ("student_scores", first("student_scores", ranks=[1]), {"one_logprob_per_token"}),
    ("student_scores", first("student_scores", model_revision="other"), {"one_student"}),
    ("student_scores", first("student_scores", response_id=""),
     {"no_nulls", "every_response_scored"}),
    ("student_scores", twice("student_scores"), {"unique_ids", "every_response_scored"}),
    ("sentence_provenance", first("sentence_provenance", p_teacher=1.5),
     {"probabilities_in_range"}),
    ("sentence_provenance", first("sentence_provenance", p_student=NAN),
     {"probabilities_in_range"}),
    ("sentence_provenance", without("response_provenance"),
     {"every_response_classified", "counts_add_up"}),
    ("sentence_provenance", first("response_provenance", n_teacher_sentences=2),
     {"counts_add_up"}),
    ("sentence_provenance", first("sentence_provenance", end_byte=8), {"sentences_in_order"}),
    ("sentence_provenance", first("sentence_provenance", end_byte=0), {"sentences_in_order"}),
    ("sentence_provenance",
     lambda rows: [
         (several("sentence_provenance", 10, sentence_class="unscored")(rows)),
         (several("response_provenance", 5, n_teacher_sentences=0, n_common_sentences=0,
                  n_sentences=0)(rows)),
     ],
     {"few_unscored"}),
    ("sentence_provenance",
     lambda rows: [
         (every("sentence_provenance", sentence_class="common")(rows)),
         (every("response_provenance", n_teacher_sentences=0, n_common_sentences=2)(rows)),
     ],
     {"has_teacher_sentences"}),
    ("sentence_provenance", first("response_provenance", question_id=""), {"no_nulls"}),
    ("sentence_provenance", first("sentence_provenance", sentence_index=1),
     {"unique_ids"}),
    ("divergence_sample",
     lambda rows: [empty("divergence_sample")(rows), empty("divergence_candidates")(rows)],
     {"not_empty", "budget_met"}),
    ("divergence_sample", without("divergence_sample"),
     {"budget_met", "known_responses", "control_budget"}),
    ("divergence_sample", first("divergence_sample", question_id="q1"), {"answers_per_question"}),
    ("divergence_sample",
     lambda rows: [first(table, response_id="r99")(rows)
                   for table in ("divergence_sample", "divergence_candidates")],
     {"known_responses"}),
    ("divergence_sample", first("divergence_sample", question_id="q99"), {"known_questions"}),
    ("divergence_sample", first("divergence_sample", n_student_tokens=9_999),
     {"within_context", "control_budget"}),
    ("divergence_sample", several("divergence_sample", 12, domain="math"), {"domain_balance"}),
    ("divergence_sample", first("divergence_sample", weight=1.5), {"mean_weight"}),
    ("divergence_sample", first("divergence_sample", weight=math.nan), {"positive_weights"}),
    ("divergence_sample",
     lambda rows: [first("divergence_sample", weight=0.0)(rows),
                   rows["divergence_sample"][1].update(weight=2.0)], {"positive_weights"}),
    ("divergence_sample", several("divergence_candidates", 2, is_random_control=False),
     {"control_budget"}),
    ("divergence_sample", first("divergence_sample", question=""), {"no_nulls"}),
    ("divergence_sample", first("divergence_sample", response_id="r1"),
     {"unique_ids", "known_responses"}),
    ("student_rollouts", first("student_rollouts", max_tokens=2), {"within_cap"}),
    ("student_rollouts", first("student_rollouts", max_tokens=5), {"within_cap"}),
    ("student_rollouts", first("student_rollouts", response_id="r99"), {"known_responses"}),
    ("student_rollouts", first("student_rollouts", n_teacher_response_tokens=4),
     {"known_responses"}),
    ("student_rollouts", several("student_rollouts", 2, broken_rules=EMPTY), {"few_rejected"}),
    ("student_rollouts", every("student_rollouts", finish_reason="stop"), {"truncation_rate"}),
    ("student_rollouts", every("student_rollouts", finish_reason="length"), {"truncation_rate"}),
    ("student_rollouts", first("student_rollouts", question=""), {"no_nulls"}),
    ("student_rollouts", first("student_rollouts", rollout_id="o1"), {"unique_ids"}),
    ("teacher_continuations", without("teacher_continuations"), {"every_truncated_continued"}),
    ("teacher_continuations", first("teacher_continuations", rollout_id="o1"),
     {"every_truncated_continued"}),
    ("teacher_continuations", first("student_rollouts", broken_rules=EMPTY),
     {"every_truncated_continued"}),
    ("teacher_continuations", first("teacher_continuations", cut_fraction=0.3), {"cut_in_range"}),
    ("teacher_continuations", first("teacher_continuations", cut_fraction=NAN), {"cut_in_range"}),
    ("teacher_continuations", several("teacher_continuations", 4, finish_reason="length"),
     {"few_truncated"}),
    ("teacher_continuations", first("teacher_continuations", domain=""), {"no_nulls"}),
    ("teacher_continuations", first("teacher_continuations", continuation_id="c2"),
     {"unique_ids"}),
    ("mixed_policy_sample",
     lambda rows: [
         rows.update(mixed_policy_sample=rows["mixed_policy_sample"][11:]),
         rows["teacher_continuations"].__delitem__(slice(1, None)),
     ],
     {"has_mixed_policy", "few_rejected", "domain_balance"}),
    ("mixed_policy_sample", first("mixed_policy_sample", student_prefix_bytes=4),
     {"prefix_within_text"}),
    ("mixed_policy_sample", first("mixed_policy_sample", student_prefix_bytes=0),
     {"prefix_within_text"}),
    ("mixed_policy_sample", first("mixed_policy_sample", weight=-1.0), {"positive_weights"}),
    ("mixed_policy_sample", without("mixed_policy_sample"), {"none_lost"}),
    ("mixed_policy_sample", first("mixed_policy_sample", sample_id="c99"),
     {"known_samples", "none_lost"}),
    ("mixed_policy_sample", first("mixed_policy_sample", question_id="q99"), {"known_questions"}),
    ("mixed_policy_sample", first("mixed_policy_sample", question_id="q1"),
     {"distinct_questions"}),
    ("mixed_policy_sample", first("mixed_policy_sample", n_student_tokens=9_999),
     {"within_context"}),
    ("mixed_policy_sample", lambda rows: rows["mixed_policy_sample"].pop(), {"budget_met"}),
    ("mixed_policy_sample",
     repeating("rejected_continuations", "mixed_policy_sample", 6, "continuation_id"),
     {"few_rejected", "few_repetitive"}),
    ("mixed_policy_sample", every("mixed_policy_sample", domain="math"), {"domain_balance"}),
    ("mixed_policy_sample", first("mixed_policy_sample", question=""), {"no_nulls"}),
    ("mixed_policy_sample", first("mixed_policy_sample", sample_id="c4"),
     {"unique_ids", "none_lost"}),
    *(
        (table, spoil, broken)
        for table in TRAINING_SETS
        for spoil, broken in (
            (without(table), {"same_samples"}),
            (first(table, sample_id="r99"), {"same_samples"}),
            (twice(table), {"same_samples", "unique_ids"}),
            (first(table, sample_id=""), {"same_samples", "no_nulls"}),
            (first(table, weight=0.0), {"positive_weights"}),
        )
    ),
    ("evaluation", without("evaluation"), {"all_answered"}),
    ("evaluation", first("evaluation", question_id="b99"), {"all_answered", "known_questions"}),
    ("evaluation",
     lambda rows: rows["evaluation"].append(rows["evaluation"][0] | {"sample_index": 9}),
     {"all_answered"}),
    ("evaluation", first("evaluation", verdict="unusable_reference"), {"all_graded"}),
    ("evaluation", first("evaluation", verdict="not_judged"), {"all_graded"}),
    ("evaluation", several("evaluation", 30, finish_reason="length"), {"few_truncated"}),
    ("evaluation", several("evaluation", 30, verdict="no_final_answer"), {"few_without_answer"}),
    ("evaluation",
     several("evaluation", 30, verdict="no_final_answer", finish_reason="length"),
     {"few_truncated"}),
    ("evaluation", first("evaluation", domain=""), {"no_nulls"}),
    ("evaluation", first("evaluation", sample_index=1), {"unique_ids"}),
    ("evaluation_teacher_scores", first("evaluation_teacher_scores", token_starts=[0]),
     {"one_logprob_per_token"}),
    ("evaluation_teacher_scores",
     several("evaluation_teacher_scores", 6, left_out="no_logprobs"), {"few_left_out"}),
    ("evaluation_teacher_scores", first("evaluation_teacher_scores", answer_id=""), {"no_nulls"}),
    ("evaluation_teacher_scores", first("evaluation_teacher_scores", answer_id="a1"),
     {"unique_ids"}),
    ("evaluation_provenance", first("evaluation_provenance", p_distilled=1.5),
     {"probabilities_in_range"}),
    ("evaluation_provenance", several("evaluation_provenance", 10, sentence_class="unscored"),
     {"few_unscored"}),
    ("evaluation_provenance", first("evaluation_provenance", answer_id=""), {"no_nulls"}),
    ("evaluation_provenance", first("evaluation_provenance", sentence_index=1), {"unique_ids"}),
]  # fmt: skip
CASES += [
    # Where the logprobs are other numbers, the likely tokens' are not in line with them either.
    (
        table,
        spoil,
        {check, "top_logprobs_hold"}
        if table == "teacher_responses" and check != "one_logprob_per_token"
        else {check},
    )
    for table, column in LOGPROBS.items()
    for spoil, check in (
        (first(table, **{column: [-0.1, -0.2]}), "one_logprob_per_token"),
        (first(table, **{column: [-0.1, NAN, -0.3]}), "one_logprob_per_token"),
        (first(table, **{column: [-0.1, -INFINITY, -0.3]}), "one_logprob_per_token"),
        (first(table, **{column: [-0.1, None, -0.3]}), "one_logprob_per_token"),
        (first(table, **{column: [-0.1, 0.5, -0.3]}), "logprobs_not_positive"),
        (every(table, **{column: [0.0, 0.0, 0.0]}), "mean_logprob"),
        (every(table, **{column: [-20.0, -20.0, -20.0]}), "mean_logprob"),
    )
]
CHECKPOINT_CASES: list[tuple[int, list[float], set[str]]] = [
    (4, [2.0, 1.0], {"certificate_holds", "nothing_cut"}),
    (5, [2.0, NAN], {"finite_loss", "loss_fell"}),
    (5, [1.0] * 5 + [2.0] * 5, {"loss_fell"}),
    (5, [], {"finite_loss", "loss_fell"}),
]
LAST_STAGE: dict[str, str] = {"loss_fell": "loss_not_risen"}
"""Checks that the last stage has in place of others."""


@pytest.mark.parametrize(
    ("asset", "spoil", "broken"),
    CASES,
    ids=[f"{asset}-{'-'.join(sorted(broken))}" for asset, _, broken in CASES],
)
def test_spoilt_data_fails(lake: Lake, asset: str, spoil: Spoil, broken: set[str]) -> None:
    spoilt(lake, spoil)
    assert failed_checks(lake, asset) == broken


@pytest.mark.parametrize(("samples_out", "losses", "broken"), CHECKPOINT_CASES)
@pytest.mark.parametrize("name", ["low_temperature", "high_temperature", "dasd"])
def test_spoilt_checkpoints_fail(
    lake: Lake, name: str, samples_out: int, losses: list[float], broken: set[str]
) -> None:
    checkpoint(lake, name, samples_out, losses)
    if name == "dasd":
        broken = {LAST_STAGE.get(check, check) for check in broken}
    assert failed_checks(lake, f"{name}_checkpoint") == broken


CERTIFIED = {(table, "certificate_holds") for table in TRAINING_SETS}


@pytest.mark.parametrize("asset", TRAINING_SETS)
def test_a_training_set_whose_certificate_does_not_hold_fails(lake: Lake, asset: str) -> None:
    fill(lake, good_rows())
    name = asset.removesuffix("_training_set").replace("mixed_policy", "dasd")
    certify_set(lake, name, is_sound=False)
    assert failed_checks(lake, asset) == {"certificate_holds"}


DEMO = [0.127, 0.129, 0.154, 0.11, 0.143, 0.336, 0.161, 0.13, 0.169, 0.15, 0.147, 0.094, 0.126,
        0.125, 0.161, 0.127, 0.095, 0.213]  # fmt: skip
"""Losses of the demo's last stage: the last batch was a hard one, the stage learnt no worse."""


@pytest.mark.parametrize("losses", [DEMO, [1.0, 2.0]], ids=["of the demo", "of two batches"])
def test_the_loss_of_the_last_stage_may_rise_by_chance(lake: Lake, losses: list[float]) -> None:
    checkpoint(lake, "dasd", 5, losses)
    assert failed_checks(lake, "dasd_checkpoint") == set()


def test_the_loss_of_a_first_stage_is_that_of_several_batches(lake: Lake) -> None:
    checkpoint(lake, "low_temperature", 5, [*([2.0, 2.0] * 2), *([1.0] * 5), 2.5])
    assert failed_checks(lake, "low_temperature_checkpoint") == set()


def test_there_is_a_failing_case_for_every_check() -> None:
    covered = {(asset, check) for asset, _, broken in CASES for check in broken}
    declared = {
        (asset, contract.name)
        for asset, contracts in CONTRACTS.items()
        if asset in OF_THE_LAKE and not asset.endswith("_checkpoint")
        for contract in contracts
        # test_schema.py and test_drift.py fail these for every asset that has them; the last three
        # look at what Dagster remembers, too (below).
        if contract.name
        not in {"matches_contract", "drift", "no_shard_lost", "shards_ready", "no_removed_drops"}
        and (asset, contract.name) not in CERTIFIED
    }
    assert declared <= covered
    broken_ones = {check for *_, broken in CHECKPOINT_CASES for check in broken}
    assert {c.name for c in CONTRACTS["low_temperature_checkpoint"]} == broken_ones
    assert {c.name for c in CONTRACTS["dasd_checkpoint"]} == {
        LAST_STAGE.get(check, check) for check in broken_ones
    }


def test_a_shard_that_was_there_and_is_gone_or_was_not_chosen_from_is_named(lake: Lake) -> None:
    fill(lake, good_rows())
    cell = {"temperature": "low", "question_shard": "new"}
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("question_shard", ["s", "new", "not_yet"])
    for shard in ("s", "new", "unregistered"):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "sentence_provenance",
                partition=dg.MultiPartitionKey({"temperature": "low", "question_shard": shard}),
            )
        )

    def lost() -> tuple[str, ...]:
        def made(asset: str) -> set[str]:
            return shards_made(instance, asset, "low")

        with CheckedPartition(lake, LOW, made) as data:
            data.view("divergence_candidates", "temperature")
            found = no_shard_lost(data)
        assert found.values == {"low": len(found.examples)}
        return found.examples

    assert lost() == ("new: gone from the lake; `dasd run` makes it again",)
    for table in ("filtered_responses", "response_provenance"):
        put(lake, table, cell)
    assert lost() == (), "it has no answers"
    put(lake, "response_provenance", cell, {"response_id": "r77"})
    assert lost() == (), "it is being made anew, which the check `shards_ready` says"
    put(lake, "filtered_responses", cell, {"response_id": "r77"})
    assert lost() == ("new: not chosen from; materialize divergence_sample again",)


def test_shards_that_a_sample_lacks_are_named_with_how_far_they_are(lake: Lake) -> None:
    fill(lake, good_rows())
    put(lake, "raw_questions", {"question_shard": "read"})
    put(lake, "filtered_responses", {**LOW, "question_shard": "half"}, {"response_id": "r77"})
    registered = ["s", "unreadable", "read", "half", "excluded"]
    with CheckedPartition(lake, LOW, registered=lambda: registered) as data:
        found = shards_ready(data, ["excluded", "exclude"])
    assert found.values == {"low": 4}
    assert found.examples == (
        "exclude is no shard, and is named in divergence_sampling.exclude_shards",
        "half is in filtered_responses, but not in response_provenance",
        "read has nothing in questions yet",
        "unreadable has nothing in raw_questions yet",
    )


@pytest.mark.parametrize(("removed", "n"), [({"s", "other"}, N - 1), ({"other"}, 0)])
def test_samples_of_a_removed_drop_are_counted(lake: Lake, removed: set[str], n: int) -> None:
    fill(lake, good_rows())
    with CheckedPartition(lake, LOW, removed=lambda: removed) as data:
        data.view("divergence_candidates", "temperature")
        found = no_removed_drops(data)
    assert found.values == {"low": n}
    told = (f"s: {n} sample(s); put the drop back, or `dasd retire s`",)
    assert found.examples == (told if n else ())


def test_too_few_mixed_policy_samples_are_told_with_what_to_set(lake: Lake) -> None:
    fill(lake, good_rows())
    limits = {"mixed_policy_sample": {"has_mixed_policy": {"min": 500}}}
    profile = small_profile().model_copy(update={"checks": Checks.model_validate(limits)})
    evaluation = evaluate(lake, "mixed_policy_sample", profile)["has_mixed_policy"]
    assert not evaluation.passed
    assert str(evaluation.description).startswith(
        "11 mixed-policy samples found, 500 needed "
        "(checks.mixed_policy_sample.has_mixed_policy.min). More questions"
    )
    assert str(evaluation.description).endswith("`mixed_policy_distillation: off`")
    assert "no rollout was continued" in too_few(0, 1)


def test_a_question_of_another_shard_is_found(lake: Lake) -> None:
    fill(lake, good_rows())
    put(lake, "questions", {"question_shard": "other"}, {"question_id": "q3", "domain": "math"})
    evaluation = check_results(lake, "questions")["unique_in_all_shards"]
    assert not evaluation.passed
    assert evaluation.metadata["failing_examples"].value == ["q3"]


def test_unusable_logprobs_are_counted_and_stop_nothing_before_the_filter(lake: Lake) -> None:
    rows = good_rows()
    for row, logprobs in zip(
        rows["teacher_responses"], ([], [NAN] * 3, [-0.1, -INFINITY, 0.0], [NAN]), strict=False
    ):
        row["logprobs"] = logprobs
    fill(lake, rows)
    evaluation = evaluate(lake, "teacher_responses")["one_logprob_per_token"]
    assert not evaluation.passed
    assert not evaluation.blocking or evaluation.severity.value == "WARN"
    assert evaluation.metadata["details"].value == {
        "unusable_answers": 4, "with_other_counts": 2, "with_non_finite": 3,
    }  # fmt: skip
    assert evaluation.metadata["failing_examples"].value == ["r0", "r1", "r2", "r3"]


def test_empty_tables_are_measured_without_an_error(lake: Lake) -> None:
    fill(lake, {table: [] for table in good_rows()})
    for asset in OF_THE_LAKE:
        if not asset.endswith("_checkpoint"):
            failed_checks(lake, asset)


def test_what_is_observed_and_allowed_is_shown(lake: Lake) -> None:
    spoilt(lake, several("divergence_sample", 12, domain="math"))
    evaluation = check_results(lake, "divergence_sample")["domain_balance"]
    assert evaluation.metadata["allowed"].value == "at most 0.05"
    assert evaluation.metadata["observed"].value["math"] == pytest.approx(9 / 23, abs=1e-5)
    assert any("math: 0.39" in e for e in evaluation.metadata["failing_examples"].value)
    quarantine = good_rows()
    quarantine["quarantined_rows"] *= 5
    put(lake, "quarantined_rows", SHARD, *({"line": n, "reason": "bad"} for n in range(9)))
    evaluation = check_results(lake, "raw_questions")["few_quarantined"]
    assert "x:0: bad (x)" in evaluation.metadata["failing_examples"].value
