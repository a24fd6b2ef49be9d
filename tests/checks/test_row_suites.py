"""Great Expectations on DuckDB finds the rows that the checks find, with suites read from JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.checked_lake import SHARD, good_rows, partition_of, put, small_profile

from checks.checked_partition import CheckedPartition
from checks.expectations import judge
from checks.logprobs import LOGPROBS, logprob_checks
from checks.row_rules import rows_that_break
from checks.schema import contract_problems, table_checks
from checks.table_rules import rules_of
from dasd_assets.profile.check_settings import CheckSettings
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake
from resources.lake.manifest import SUFFIX
from resources.lake.tables import TABLES

pytestmark = pytest.mark.slow

NAN, INFINITY = float("nan"), float("inf")
REPEATED = [{"rule": "repeated_ngram", "evidence": "9 x"}]

FAULTS: dict[str, list[dict[str, Any]]] = {
    "benchmark_questions": [],
    "raw_questions": [
        {"domain": "poetry"}, {"question": "\t"}, {"line": 4}, {"question": ""},
    ],
    "teacher_responses": [
        {"logprobs_mode": "processed_logprobs"}, {"logprobs": [-0.1]},
        {"logprobs": [-0.1, NAN, -0.1]}, {"logprobs": [-0.1, 0.5, -0.1]},
    ],
    "rejected_responses": [{"broken_rules": []}, *[{"broken_rules": REPEATED}] * 6],
    "student_scores": [{"ranks": [1, 0, 1]}, {"response_id": "r3"}, {"logprobs": [0.5] * 3}],
    "sentence_provenance": [
        {"p_teacher": NAN}, {"p_student": 1.5}, {"end_byte": 0}, {"p_student": -0.1},
    ],
    "divergence_sample": [
        {"weight": NAN}, {"weight": INFINITY}, {"weight": 0.0}, {"n_student_tokens": 9_999},
    ],
}  # fmt: skip
"""Table -> what is wrong with its first rows."""

EXPECTED: dict[str, dict[str, set[str]]] = {
    "benchmark_questions": {"not_empty": set()},
    "raw_questions": {
        "known_domains": {"x:0"}, "no_nulls": {"x:1", "x:3"}, "unique_ids": {"x:4"},
    },
    "teacher_responses": {
        "raw_logprobs": {"r0"}, "one_logprob_per_token": {"r1", "r2"},
        "logprobs_not_positive": {"r3"},
    },
    "rejected_responses": {
        "every_reject_has_a_rule": {"r0"}, "few_repetitive": set(), "unique_ids": {"r3"},
    },
    "student_scores": {
        "ranks_from_one": {"r0"}, "unique_ids": {"r3"}, "logprobs_not_positive": {"r2"},
    },
    "sentence_provenance": {
        "probabilities_in_range": {"r0:0", "r0:1", "r1:1"}, "sentences_in_order": {"r1:0"},
    },
    "divergence_sample": {
        "positive_weights": {"r0", "r1", "r2"}, "within_context": {"r3"},
    },
}  # fmt: skip
"""Table -> check that fails -> ids of the rows that break it."""

OF_THE_PARTITION = {"not_empty", "few_repetitive", "ranks_from_one", "logprobs_not_positive"}
"""Checks with a limit, which name no rows, or those with the worst values."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def validated(lake: Lake, tables: list[str], *, with_types: bool) -> dict[str, list[Any]]:
    """Results of the tables' suites, each read from its JSON as Great Expectations reads it."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from checks.row_suites import row_suite, shown_columns, write_views

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    address, found = write_views(lake, Path(lake.root, "rows.duckdb"))
    assert found == [table for table in TABLES if table in tables]
    source = context.data_sources.add_sql("rows", connection_string=address)
    results = {}
    for table in tables:
        exported = json.loads(json.dumps(row_suite(table, small_profile()).to_json_dict()))
        suite = gx.ExpectationSuite(**exported)
        assert len(suite.expectations) == len(exported["expectations"])
        if not with_types:  # half of the expectations, which take half of the time
            suite.expectations = [
                one for one in suite.expectations if one.meta["check"] != "matches_contract"
            ]
        batch = source.add_table_asset(table, table_name=table)
        shown = {
            "result_format": "SUMMARY", "unexpected_index_column_names": shown_columns(table),
        }  # fmt: skip
        whole = batch.add_batch_definition_whole_table("all").get_batch()
        results[table] = whole.validate(suite, result_format=shown).results
    return results


def ids_of(table: str, rows: list[dict[str, Any]]) -> set[str]:
    assert all(row["partition"] == "|".join(partition_of(table).values()) for row in rows)
    found = {":".join(str(row[name]) for name in TABLES[table].ids if name in row) for row in rows}
    return found - {""}  # of a whole partition


def found_by_gx(table: str, results: list[Any]) -> dict[str, set[str]]:
    """Check that fails -> ids of the rows."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one in results:
        assert one.result, one.exception_info
        if not one.success:
            rows = one.result.get("partial_unexpected_index_list")
            if one.expectation_config.type == "expect_compound_columns_to_be_unique":
                rows = one.result["partial_unexpected_list"]
            rows = rows or one.result.get("details", {}).get("unexpected_rows", [])
            found[one.expectation_config.meta["check"]] |= ids_of(table, rows)
    return dict(found)


def found_by_checks(lake: Lake, table: str) -> dict[str, set[str]]:
    """The same by what the checks go by, of the checks that look at one table alone."""
    ids = " || ':' || ".join(TABLES[table].ids)
    asset = TABLES[table].written_with or table
    with CheckedPartition(lake, partition_of(table)) as data:
        measured = [*table_checks(data, (table,))]
        measured += logprob_checks(data, table) if table in LOGPROBS else ()
        rules = [r for r in rules_of(table, small_profile()) if r.rows == "{table}"]
        for check in dict.fromkeys(rule.check for rule in rules if not rule.has_limit):
            of_check = [rule for rule in rules if rule.check == check]
            measured.append(rows_that_break(data, table, ids, *of_check))
    settings = small_profile().checks.of(asset)
    verdicts = judge([one for one in measured if one.check in settings], settings)
    found = {v.measured.check: set(v.measured.examples) for v in verdicts if not v.passed}
    found.pop("logprobs_not_positive", None)
    return found


def test_great_expectations_finds_the_rows_that_the_checks_find(lake: Lake) -> None:
    rows = good_rows()
    rows["rejected_responses"] = [
        {**rows["rejected_responses"][0], "response_id": f"r{n}"} for n in (0, 1, 2, 3, 3, 4, 5)
    ]
    for table, faults in FAULTS.items():
        for row, fault in zip(rows[table], faults, strict=False):
            row.update(fault)
        put(lake, table, partition_of(table), *(rows[table] if faults else []))
    by_gx = validated(lake, [table for table in TABLES if table in FAULTS], with_types=False)
    for table, expected in EXPECTED.items():
        assert found_by_gx(table, by_gx[table]) == expected, table
        of_rows = {check: ids for check, ids in expected.items() if check not in OF_THE_PARTITION}
        if empty := expected.get("no_nulls"):
            of_rows["no_nulls"] = {f"{table}.question: {len(empty)}"}
        assert found_by_checks(lake, table) == of_rows, table


def test_an_id_of_two_shards_and_a_broken_contract(lake: Lake) -> None:
    """What lies in the files is judged, not what the contract makes of it."""
    rows = good_rows()
    for shard in ("s", "t"):
        questions = [
            {**row, "question_id": f"{shard}{n}"} for n, row in enumerate(rows["questions"])
        ]
        questions[0]["question_id"] = "both"
        put(lake, "questions", {"question_shard": shard}, *questions)
    put(lake, "quarantined_rows", partition_of("quarantined_rows"), {"line": 1}, {"line": 2})
    file = lake.path("quarantined_rows", partition_of("quarantined_rows"))
    stored = pq.read_table(file)
    changed = pa.table(
        {
            "drop": stored["drop"], "line": stored["line"].cast(pa.int32()),
            "reason": pa.array(["x", None]), "more": stored["evidence"],
        }
    )  # fmt: skip
    pq.write_table(changed, file)
    file.with_name(file.name + SUFFIX).unlink()
    results = validated(lake, ["quarantined_rows", "questions"], with_types=True)
    (twice,) = [one for one in results["questions"] if not one.success]
    assert twice.expectation_config.type == "expect_column_values_to_be_unique"
    shown = twice.result["partial_unexpected_index_list"]
    # DuckDB gives rows in no order of their own.
    assert sorted((row["partition"], row["question_id"]) for row in shown) == [
        ("s", "both"),
        ("t", "both"),
    ]
    unmet = {
        (one.expectation_config.type, one.expectation_config.kwargs.get("column"))
        for one in results["quarantined_rows"] if one.result and not one.success
    }  # fmt: skip
    assert unmet == {
        ("expect_table_columns_to_match_set", None),
        ("expect_column_values_to_be_of_type", "line"),
        ("expect_column_values_to_not_be_null", "reason"),
    }
    with CheckedPartition(lake, SHARD) as data:
        assert contract_problems(data, ("quarantined_rows",)).values["quarantined_rows"] > 0


def test_a_rule_whose_check_the_profile_loosens_is_in_no_suite() -> None:
    from checks.row_suites import row_suite

    def checks_of(limit: float | None) -> set[str]:
        changed = settings.model_copy(
            update={"known_domains": CheckSettings(severity="warn", min=None, max=limit)}
        )
        limits = profile.checks.model_copy(update={"raw_questions": changed})
        suite = row_suite("raw_questions", profile.model_copy(update={"checks": limits}))
        return {one.meta["check"] for one in suite.expectations}

    profile = small_profile()
    settings = profile.checks.raw_questions
    assert checks_of(0) - checks_of(3) == checks_of(0) - checks_of(None) == {"known_domains"}


def test_every_expectation_is_of_a_check_and_its_table() -> None:
    from checks.row_suites import row_suite

    kinds = set()
    for table, declared in TABLES.items():
        names = [check.name for check in CONTRACTS[declared.written_with or table]]
        for one in row_suite(table, small_profile()).expectations:
            assert one.meta["check"] in names
            kinds.add(one.configuration.type)
    assert kinds == {
        "expect_table_columns_to_match_set", "expect_column_values_to_be_of_type",
        "expect_column_values_to_not_be_null", "expect_column_values_to_match_regex",
        "expect_compound_columns_to_be_unique", "expect_column_values_to_be_unique",
        "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_be_between", "expect_table_row_count_to_be_between",
        "expect_column_pair_values_a_to_be_greater_than_b", "expect_no_broken_rows",
        "expect_one_logprob_per_token", "expect_logprobs_not_positive", "expect_few_repetitive",
    }  # fmt: skip
