"""Great Expectations' suites, results and pages say what the checks have found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support.checked_lake import SHARD, evaluate, fill, good_rows, put, small_profile
from support.fresh_python import printed

from checks.data_docs import NothingCheckedError, build_data_docs, page_of, suite
from checks.expectations import Measurement, judge
from checks.kept_results import keep, kept_results
from dasd_assets.declaring.pages import page_link
from dasd_assets.profile.check_settings import Checks
from dasd_assets.profile.data_contracts import CONTRACTS
from dasd_assets.running.pages_server import page_named
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


def test_every_check_with_a_limit_is_in_its_assets_suite() -> None:
    profile = small_profile()
    for asset, contract in CONTRACTS.items():
        text = json.dumps(suite(asset, profile).to_json_dict())
        found = {one["meta"]["check"]: one for one in json.loads(text)["expectations"]}
        assert list(found) == [check.name for check in contract]
        for check in contract:
            limits = profile.checks.of(asset)[check.name]
            arguments = found[check.name]["kwargs"]
            assert arguments.get("min_value") == limits.min
            assert arguments.get("max_value") == limits.max
            assert check.description in found[check.name]["description"]


def test_what_was_found_is_kept_in_the_lake(lake: Lake) -> None:
    settings = small_profile().checks.of("questions")
    measured = [Measurement("none_lost", {"s": 2.0}, ("a.jsonl:7",)),
                Measurement("drift", {"mean": math.inf})]  # fmt: skip
    file = keep(lake, "questions", {"question_shard": "s"}, "s", judge(measured, settings))
    assert file == Path(lake.root, "_checks", "questions", "question_shard=s", "result.json")
    stored = json.loads(file.read_text())["checks"]["none_lost"]
    assert stored["passed"] is False and stored["examples"] == ["s: 2", "a.jsonl:7"]
    (kept,) = kept_results(lake)
    assert kept.measured == {"none_lost": {"s": 2.0}, "drift": {"mean": math.inf}}
    assert kept.passed == {"none_lost": False, "drift": False}


def test_great_expectations_finds_what_the_checks_found(lake: Lake) -> None:
    """Good and bad partitions, several subjects, infinity, and what was not measured."""
    profile = small_profile()
    contract = [check.name for check in CONTRACTS["filtered_responses"]]
    settings = profile.checks.of("filtered_responses")
    bad = {"none_lost": {"bad": 3.0}, "domain_balance": {"math": 0.0, "code": 0.9},
           "drift": {"mean": math.inf}, "mean_logprob": {"bad": -0.5}}  # fmt: skip
    good = {name: {"good": settings[name].min or settings[name].max or 0.0} for name in contract}
    for shard, values in {"good": good, "bad": bad}.items():
        verdicts = judge([Measurement(name, found) for name, found in values.items()], settings)
        place = {"temperature": "low", "question_shard": shard}
        keep(lake, "filtered_responses", place, shard, verdicts)
    failing = {c for one in kept_results(lake) for c, passed in one.passed.items() if not passed}
    assert failing == {"none_lost", "domain_balance", "drift"}
    page, unmet = build_data_docs(lake, profile)
    assert unmet == {"filtered_responses": 3}
    validations = Path(lake.root, "_data_docs", "gx", "uncommitted", "validations")
    (file,) = validations.rglob("*.json")
    results = {one["expectation_config"]["meta"]["check"]: one
               for one in json.loads(file.read_text())["results"]}  # fmt: skip
    assert {name for name, one in results.items() if not one["success"]} == failing
    outside = results["domain_balance"]["result"]["unexpected_index_list"]
    assert [row["subject"] for row in outside] == ["bad: math"]
    assert page.is_file() and "filtered_responses" in page.read_text()


def test_a_check_keeps_its_results_and_links_to_the_pages(lake: Lake) -> None:
    fill(lake, good_rows())
    first = evaluate(lake, "student_scores")["no_nulls"].metadata
    assert Path(first["kept"].path).is_file() and "data_docs" not in first
    build_data_docs(lake, small_profile())
    build_data_docs(lake, small_profile())  # again, over its own project
    page = page_of(lake, "student_scores")
    assert page is not None and page_named(f"/{page}") == page
    link = evaluate(lake, "student_scores")["no_nulls"].metadata["data_docs"]
    assert link == page_link(page)
    runs = Path(lake.root, "_data_docs", "gx", "uncommitted", "validations")
    assert len(list(runs.rglob("*.json"))) == 2


def test_rows_are_validated_when_asked_for(lake: Lake) -> None:
    """The suite of an asset below another has a page as well."""
    profile = small_profile()
    settings = profile.checks.of("evaluation")
    place = {"checkpoint": "base", "benchmark": "math"}
    keep(lake, "evaluation/base", place, "math", judge([Measurement("drift", {})], settings))
    put(lake, "evaluation", place, {"verdict": "not_judged"}, {"domain": "", "sample_index": 2})
    for _ in range(2):  # the second time over the views of the first
        page, unmet = build_data_docs(lake, profile, with_rows=True)
        assert unmet == {"evaluation/base": 0, "evaluation.rows": 2}
    assert "evaluation.rows" in page.read_text()
    assert page_of(lake, "evaluation/base") and page_of(lake, "evaluation/rows")
    kept = Path(lake.root, "_data_docs", "gx", "uncommitted", "validations", "evaluation", "rows")
    *_, last = sorted(kept.rglob("*.json"))
    for one in json.loads(last.read_text())["results"]:
        if not one["success"]:
            (row,) = one["result"]["partial_unexpected_index_list"]
            assert row["partition"] == "base|math"


def test_a_check_that_runs_alone_keeps_what_the_others_found(lake: Lake) -> None:
    fill(lake, good_rows())
    evaluate(lake, "questions")
    limits = {"questions": {"none_lost": {"min": 1, "max": 2}}}
    stricter = small_profile().model_copy(update={"checks": Checks.model_validate(limits)})
    assert not evaluate(lake, "questions", stricter, only="none_lost")["none_lost"].passed
    (kept,) = kept_results(lake)
    assert kept.passed == {each.name: each.name != "none_lost" for each in CONTRACTS["questions"]}


def test_of_earlier_data_no_result_is_kept(lake: Lake) -> None:
    fill(lake, good_rows())
    evaluate(lake, "questions")
    lake.write("questions", lake.read("questions", SHARD), SHARD)
    evaluate(lake, "questions", only="none_lost")
    (kept,) = kept_results(lake)
    assert list(kept.passed) == ["none_lost"]


def test_without_results_there_are_no_pages(lake: Lake) -> None:
    with pytest.raises(NothingCheckedError, match="no check has run yet: `dasd run`"):
        build_data_docs(lake, small_profile())


def test_checks_run_without_great_expectations(tmp_path: Path) -> None:
    """Its import takes seconds, and every check step is a process of its own."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from support.checked_lake import evaluate, fill, good_rows\n"
        "from resources.lake.lake import Lake\n"
        "lake = Lake(root=sys.argv[1]); fill(lake, good_rows())\n"
        "found = evaluate(lake, 'student_scores')\n"
        "print(len(found), 'great_expectations' in sys.modules)\n"
    )
    tests = Path(__file__).parents[1]
    n_checks = len(CONTRACTS["student_scores"])
    assert printed(program, str(tmp_path), str(tests)).endswith(f"{n_checks} False")
