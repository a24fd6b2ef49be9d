"""From questions to a distilled student and back again: nothing twice, nothing lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from support.finished_pipeline import Finished
from support.pipeline import CAP_RATIO, materializations, new_pipeline

from dasd_assets.profile import load_profile
from formats.model_format import student_format
from resources.engines.load import load_tokenizer

pytestmark = pytest.mark.slow


def test_one_command_makes_everything(finished: Finished) -> None:
    pipeline, result = finished
    assert result.returncode == 0, result.stdout + result.stderr
    counts = materializations(pipeline)
    assert set(counts.values()) == {1}
    names = Counter(name for name, _ in counts)
    assert names["teacher_responses"] == names["sentence_provenance"] == 4
    assert names["divergence_sample"] == 2
    assert names["dasd_checkpoint"] == names["stage_report"] == 1
    assert names["model_release"] == names["dataset_release"] == 1
    assert sum(n for name, n in names.items() if name.startswith("evaluation/")) == 4


def test_drops_are_curated_in_their_order(finished: Finished) -> None:
    """Else it would be chance which of two keeps a question that both have."""
    lake = finished[0].lake
    for drop, place in (("drop-01", 1), ("drop-02", 2)):
        signatures = lake.read("question_signatures", {"question_shard": drop})
        assert set(signatures["curation_order"].to_pylist()) == {place}


def test_the_terminal_shows_progress_stage_table_and_funnel(finished: Finished) -> None:
    _, result = finished
    assert re.search(r"teacher_responses \[drop-01\|low\]: \d+/\d+ responses, [\d,]+ tokens/s",
                     result.stdout)  # fmt: skip
    assert re.search(r"low_temperature_checkpoint: step \d+/\d+, loss", result.stdout)
    for words in ("filtered responses", "divergence sample", "stage_report.html", "dasd ui"):
        assert words in result.stdout
    assert re.search(r"\d+ runs in \d+ s, peak memory [\d.]+ GiB", result.stdout)


def test_every_check_ran_and_no_blocking_one_failed(finished: Finished) -> None:
    pipeline, _ = finished
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        events = [
            entry.dagster_event.asset_check_evaluation_data
            for run in instance.get_runs()
            for entry in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
            )
            if entry.dagster_event is not None
        ]
    assert len({(event.asset_key, event.check_name) for event in events}) > 20
    failed = [e for e in events if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR]
    assert not failed


def test_the_report_is_one_page_that_loads_nothing(finished: Finished) -> None:
    pipeline, _ = finished
    page = (pipeline.home / "lake" / "stage_report.html").read_text(encoding="utf-8")
    assert "avg@k" in page
    assert not re.search(r'(?:src|href)="https?://', page)


def test_a_sample_can_be_followed_from_question_to_training(finished: Finished) -> None:
    lake = finished[0].lake
    sample = lake.read_partitions("divergence_sample", temperature="high").to_pylist()[0]
    cell = {"temperature": "high", "question_shard": sample["question_shard"]}
    for table in ("teacher_responses", "filtered_responses", "student_scores"):
        rows = lake.read(table, cell, ["response_id"])["response_id"].to_pylist()
        assert rows.count(sample["response_id"]) == 1
    shard = {"question_shard": sample["question_shard"]}
    assert sample["question_id"] in lake.read("questions", shard)["question_id"].to_pylist()
    packed = lake.read("high_temperature_training_set")["sample_id"].to_pylist()
    assert packed.count(sample["response_id"]) == 1
    configuration = lake.current_checkpoint("high_temperature") / "sft.json"
    trained_on = json.loads(configuration.read_text(encoding="utf-8"))["training_set"]
    training_set = lake.current_folder("training_sets/high_temperature")
    assert trained_on.endswith(str(training_set.relative_to(lake.root)))  # the lake was moved since


def test_the_lake_can_be_asked_and_a_sample_traced(finished: Finished, tmp_path: Path) -> None:
    pipeline, _ = finished
    question = "SELECT response_id FROM training_samples WHERE policy = 'mixed_policy' LIMIT 1"
    asked = pipeline.ask("sql", question, "--csv")
    assert asked.returncode == 0, asked.stderr
    response_id = asked.stdout.splitlines()[1]
    traced = pipeline.ask("trace", response_id)
    assert traced.returncode == 0, traced.stderr
    key = pipeline.lake.current_checkpoint("dasd").name
    assert f"Checkpoint dasd (current {key}): as mixed_policy sample" in traced.stdout
    assert pipeline.ask("pictures", str(tmp_path)).returncode == 0
    assert (tmp_path / "likelihood-density.png").stat().st_size > 1_000


def test_both_releases_are_whole_and_tell_where_they_come_from(finished: Finished) -> None:
    pipeline, _ = finished
    releases = pipeline.home / "lake" / "releases"
    for name in ("model", "dataset"):
        verified = pipeline.ask("verify-release", str(releases / name))
        assert verified.returncode == 0, verified.stderr
        card = (releases / name / "README.md").read_text(encoding="utf-8")
        assert re.search(r"bad data must not pass, \d\d\d? passed and none failed", card)
    sources = json.loads((releases / "model" / "lineage.json").read_text())["sources"]
    assert {"asset", "partition", "data_version", "code_version"} == set(sources[0])
    assert all(source["data_version"] for source in sources)
    named = {(source["asset"], source["partition"]) for source in sources}
    # Which checkpoint is the best one, and released, differs from machine to machine.
    assert {("teacher_responses", "drop-01|low"), ("low_temperature_checkpoint", "")} <= named
    sources = json.loads((releases / "dataset" / "lineage.json").read_text())["sources"]
    assert not [one for one in sources if one["asset"].startswith(("evaluation", "dasd_"))]


def test_the_released_model_writes_in_the_format_that_it_learnt(finished: Finished) -> None:
    pipeline, _ = finished
    student = load_profile(str(pipeline.profile)).base_student
    kept = pipeline.lake.read_partitions("filtered_responses", ["reasoning"])
    assert all(kept["reasoning"].to_pylist())
    released = load_tokenizer(pipeline.home / "lake" / "releases" / "model", student.format)
    assert (
        student_format(released, student.format).format
        == student_format(load_tokenizer(Path(student.path), student.format), student.format).format
    )


def test_the_assets_show_their_pictures(finished: Finished) -> None:
    pipeline, _ = finished
    expected = {
        "teacher_responses": {"likelihood_density", "lengths"},
        "filtered_responses": {"funnel_plot"},
        "sentence_provenance": {
            "classes_by_position",
            "classes_by_position_right_and_wrong",
            "along_one_answer",
        },
        "divergence_sample": {"scores", "lengths", "likelihood_of_chosen", "provenance_viewer"},
        "evaluation_provenance/dasd": {"along_own_answer"},
        "student_rollouts": {"cut_off_rate_by_length", "cut_off_rate", "rejected"},
        "mixed_policy_sample": {"funnel", "funnel_plot", "mixed_policy", "off_policy"},
        "stage_report": {"stages", "funnel", "likelihood-density", "class-share-by-position"},
    }
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        for asset, names in expected.items():
            records = instance.fetch_materializations(
                dg.AssetKey(asset.split("/")), limit=100
            ).records
            shown = [one.asset_materialization.metadata for one in records
                     if one.asset_materialization is not None]  # fmt: skip
            # A partition without wrong answers has no picture of them.
            assert names - {"classes_by_position_right_and_wrong"} <= set(shown[0])
            assert names <= set().union(*shown)
            for value in shown[0].values():
                assert len(str(value.value)) < 100_000
    page = (pipeline.home / "lake" / "provenance_viewer" / "low.html").read_text(encoding="utf-8")
    assert "p_T" in page


def test_rollouts_keep_the_cap_and_only_truncated_ones_are_continued(finished: Finished) -> None:
    lake = finished[0].lake
    rollouts = lake.read_partitions("student_rollouts").to_pylist()
    assert rollouts
    for row in rollouts:
        assert row["max_tokens"] == int(row["n_teacher_response_tokens"] * CAP_RATIO)
        assert row["is_truncated"] == (row["finish_reason"] == "length")
    continued = lake.read_partitions("teacher_continuations")
    assert sorted(continued["rollout_id"].to_pylist()) == sorted(
        row["rollout_id"] for row in rollouts if row["is_truncated"] and not row["broken_rules"]
    )
    assert all(0.5 < fraction < 1 for fraction in continued["cut_fraction"].to_pylist())


def test_a_second_run_makes_nothing(finished: Finished) -> None:
    pipeline, _ = finished
    before = materializations(pipeline)
    again = pipeline.dasd("run")
    assert again.returncode == 0, again.stderr
    assert "Everything is up to date" in again.stdout
    assert materializations(pipeline) == before


def test_a_drop_with_nothing_usable_fails_its_partition_alone(tmp_path: Path) -> None:
    pipeline = new_pipeline(tmp_path)
    pipeline.put_drop("good", 0, n=6)
    (pipeline.inbox / "broken.jsonl").write_bytes(b"{not json\n\xff\xfe\n")
    result = pipeline.dasd("run", "--select", "key:raw_questions or key:questions")
    assert result.returncode == 1
    assert "raw_questions, questions [broken]" in result.stderr
    counts = materializations(pipeline)
    assert ("questions", "good") in counts
    assert ("questions", "broken") not in counts
    quarantined = pipeline.lake.read("quarantined_rows", {"question_shard": "broken"})
    assert quarantined["reason"].to_pylist() == ["invalid_json", "invalid_utf8"]


def test_bad_models_and_profiles_are_refused_before_any_work(tmp_path: Path) -> None:
    pipeline = new_pipeline(tmp_path)
    pipeline.put_drop("drop-01", 0, n=2)
    profile = pipeline.profile
    good = profile.read_text(encoding="utf-8")
    profile.write_text(good.replace("tiny_world/models/teacher", "no/such/folder/x"))
    missing = pipeline.dasd("run")
    assert missing.returncode == 2
    assert "teacher: no/such/folder/x: no such model folder" in missing.stderr
    profile.write_text(good + "\nunknown: 1\n")
    unknown = pipeline.dasd("run")
    assert unknown.returncode == 2
    assert "unknown: unknown key. Allowed here:" in unknown.stderr
    assert "Traceback" not in unknown.stderr
    assert not (pipeline.home / "lake").exists()
