"""The sample: texts of the selected, all or an error, and nothing half-written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from support.candidates import candidate_rows, candidate_table, put_into_lake

from dasd_assets.divergence_sampling.assets import build
from dasd_assets.divergence_sampling.ready_shards import shards_of
from dasd_assets.divergence_sampling.sample import sample_of, summary
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import DivergenceSampling, NoWeights, PowerWeights, load_profile
from resources.lake.lake import Lake
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import DIVERGENCE_SAMPLE

pytestmark = pytest.mark.slow

ROWS = candidate_rows(60)
SETTINGS = DivergenceSampling(budget_samples={"low": 20})
LOW = {"temperature": "low"}
SAMPLE = dg.AssetKey("divergence_sample")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path))
    put_into_lake(lake, ROWS, "low")
    return lake


def materialize(lake: Lake, **changes: Any) -> dg.ExecuteInProcessResult:
    """Make the sample of the low temperature through Dagster; errors are raised."""
    tiny = load_profile("tiny")
    settings = tiny.divergence_sampling.model_copy(
        update={"budget_samples": {"low": 20, "high": 1}, **changes}
    )
    profile = tiny.model_copy(update={"divergence_sampling": settings})
    asset = next(a for a in build(profile) if a.key == SAMPLE)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, ["drop-0", "drop-1", "drop-2", "drop-9"])
        return dg.materialize(
            [asset], resources={"lake": lake}, partition_key="low", instance=instance
        )


def table(settings: DivergenceSampling = SETTINGS) -> pa.Table:
    return select(candidate_table(ROWS), settings, "low", 0)


def sample(lake: Lake, candidates: pa.Table) -> pa.Table:
    scratch = Path(lake.root, "_scratch")
    shards = shards_of(lake, "low").ready
    with sample_of(candidates, lake, shards, scratch, NoWeights()) as batches:
        rows = pa.Table.from_batches(batches, DIVERGENCE_SAMPLE)
    assert not scratch.exists()
    return rows


def test_the_sample_joins_the_texts_and_misses_none(lake: Lake) -> None:
    rows = sample(lake, table()).to_pylist()
    chosen = {row["response_id"] for row in table().to_pylist() if row["is_selected"]}
    assert {row["response_id"] for row in rows} == chosen
    assert len(rows) == 20
    assert all(row["response_text"] == f"text of {row['response_id']}" for row in rows)
    places = [(row["domain"], row["rank"]) for row in rows]
    assert places == sorted(places)


def test_a_selected_response_without_a_text_or_with_two_is_an_error(lake: Lake) -> None:
    renamed = [f"x{row['response_id']}" for row in ROWS]
    others = table().set_column(0, table().schema.field(0), pa.array(renamed))
    with pytest.raises(ContractError, match=r"20 selected response\(s\) .* xr\d+: 0 times"):
        sample(lake, others)
    cell = {**LOW, "question_shard": "drop-0"}
    texts = lake.read("filtered_responses", cell)
    lake.write("filtered_responses", pa.concat_tables([texts, texts]), cell)
    with pytest.raises(ContractError, match=r"exactly once, for example r\d+: 2 times"):
        sample(lake, table())
    assert not Path(lake.root, "_scratch").exists()


def test_the_asset_keeps_every_candidate_and_reports_the_selection(lake: Lake) -> None:
    result = materialize(lake)
    sample = lake.read("divergence_sample", LOW)
    candidates = lake.read("divergence_candidates", LOW)
    assert candidates.num_rows == 60
    assert sample.num_rows == 20
    assert all(row["response_text"] == f"text of {row['response_id']}"
               for row in sample.to_pylist())  # fmt: skip
    metadata = result.asset_materializations_for_node("divergence_sample")[0].metadata
    assert metadata["left_of_budget"].value == 0
    assert metadata["shards_not_ready"].value == ["drop-9"]
    assert metadata["selected_tokens"].value == sum(sample["n_student_tokens"].to_pylist())


def test_a_sample_has_its_weights_beside_its_texts(lake: Lake) -> None:
    materialize(lake)
    assert set(lake.read("divergence_sample", LOW)["weight"].to_pylist()) == {1.0}
    materialize(lake, weights=PowerWeights(exponent=2.0, max_weight=50.0))
    sample = lake.read("divergence_sample", LOW).to_pylist()
    p_teacher = {row["response_id"]: row["p_teacher"] for row in ROWS}
    mean = sum(p_teacher[row["response_id"]] ** 2 for row in sample) / len(sample)
    for row in sample:
        assert row["weight"] == pytest.approx(p_teacher[row["response_id"]] ** 2 / mean, rel=1e-5)


def test_the_summary_reports_what_a_budget_could_not_be_spent_on() -> None:
    settings = DivergenceSampling(
        budget_tokens={"low": 10**9}, length_strata=3, max_answers_per_question=2
    )
    candidates = table(settings)
    n_tokens = sum(row["n_student_tokens"] for row in ROWS)
    assert summary(candidates, settings, "low") == {
        "candidates": 60, "budget_tokens": 10**9, "left_of_budget": 10**9 - n_tokens,
        "selected_tokens": n_tokens, "random_control_tokens": n_tokens,
        "longest_control_tokens": n_tokens,
        "decisions": {"selected": 60}, "empty_strata": 0,
        "chosen_between": "the answers to each question first, then questions",
    }  # fmt: skip
    rows = [{**row, "n_student_tokens": 7} for row in ROWS]
    same = select(candidate_table(rows), settings, "low", 0)
    assert summary(same, settings, "low")["empty_strata"] == 4


def test_what_the_answers_were_preferred_to_is_said() -> None:
    own = [{**row, "question_id": f"q{number}"} for number, row in enumerate(ROWS)]
    one_each = select(candidate_table(own), SETTINGS, "low", 0)
    between = summary(one_each, SETTINGS, "low")["chosen_between"]
    assert between == "questions only: no question has a second answer"
    any_answer = SETTINGS.model_copy(update={"best_of_question": False})
    chosen = select(candidate_table(ROWS), any_answer, "low", 0)
    assert summary(chosen, any_answer, "low")["chosen_between"] == "all answers of a domain"


def in_one_table(lake: Lake, table: str) -> str:
    shutil.rmtree(lake.path(table, {**LOW, "question_shard": "drop-1"}).parent)
    other = {"filtered_responses", "response_provenance"} - {table}
    return f"is in {other.pop()}, but not in {table}"


def being_made_anew(lake: Lake, table: str) -> str:
    """One response is in this table alone, as after a changed filter."""
    cell = {**LOW, "question_shard": "drop-1"}
    other = ({"filtered_responses", "response_provenance"} - {table}).pop()
    lake.write(other, lake.read(other, cell).slice(1), cell)
    both = {"filtered_responses": (1, 0), "response_provenance": (0, 1)}[table]
    return "has {} response(s) without provenance and provenance of {} that are no more".format(
        *both
    )


@pytest.mark.parametrize("table", ["filtered_responses", "response_provenance"])
@pytest.mark.parametrize("spoil", [in_one_table, being_made_anew])
def test_a_sample_is_drawn_from_the_shards_that_are_ready(
    lake: Lake, spoil: Callable[[Lake, str], str], table: str
) -> None:
    problem = spoil(lake, table)
    assert shards_of(lake, "low").not_ready == {"drop-1": problem}
    metadata = materialize(lake).asset_materializations_for_node("divergence_sample")[0].metadata
    assert metadata["shards_not_ready"].value == ["drop-1", "drop-9"]
    from_shards = lake.read("divergence_candidates", LOW)["question_shard"].unique().to_pylist()
    assert sorted(from_shards) == ["drop-0", "drop-2"]
    with pytest.raises(ContractError, match=f"low/drop-1 {re.escape(problem)}.*exclude_shards"):
        materialize(lake, require_all_shards=True)


def test_an_excluded_shard_is_left_out_and_its_rows_stay(lake: Lake) -> None:
    excluded = materialize(lake, exclude_shards=["drop-1"], require_all_shards=True)
    metadata = excluded.asset_materializations_for_node("divergence_sample")[0].metadata
    assert metadata["shards_not_ready"].value == ["drop-9"]
    from_shards = lake.read("divergence_candidates", LOW)["question_shard"].unique().to_pylist()
    assert sorted(from_shards) == ["drop-0", "drop-2"]
    assert lake.exists("filtered_responses", {**LOW, "question_shard": "drop-1"})


def test_requiring_all_shards_makes_nothing_stale_and_excluding_one_does() -> None:
    tiny = load_profile("tiny")

    def version(**changes: Any) -> str | None:
        settings = tiny.divergence_sampling.model_copy(update=changes)
        built = build(tiny.model_copy(update={"divergence_sampling": settings}))
        return next(asset for asset in built if asset.key == SAMPLE).code_versions_by_key[SAMPLE]

    assert version() == version(require_all_shards=True) != version(exclude_shards=["drop-1"])


def test_no_shard_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="low: there are no filtered responses"):
        materialize(Lake(root=str(tmp_path)))


@pytest.mark.parametrize("when", ["before its texts are read", "after its texts are read"])
@pytest.mark.parametrize("sampled_before", [False, True])
def test_a_shard_deleted_under_a_running_selection_leaves_what_was_there(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, when: str, sampled_before: bool
) -> None:
    if sampled_before:
        materialize(lake)
    files = {name: lake.path(name, LOW) for name in ("divergence_sample", "divergence_candidates")}
    before = {name: file.read_bytes() for name, file in files.items() if file.exists()}
    assert len(before) == (2 if sampled_before else 0)
    read = Lake.batches

    def batches(self: Lake, table: str, *rest: Any) -> Any:
        is_looked_for = rest[-1] == ["response_id"]  # which shards are ready
        for batch in read(self, table, *rest):
            if is_looked_for:
                yield batch
                continue
            if table == "filtered_responses" and when.startswith("after"):
                delete()
            yield batch
        if table == "response_provenance" and not is_looked_for and when.startswith("before"):
            delete()

    def delete() -> None:
        for table in ("filtered_responses", "response_provenance"):
            folder = lake.path(table, {**LOW, "question_shard": "drop-0"}).parent
            shutil.rmtree(folder, ignore_errors=True)

    monkeypatch.setattr(Lake, "batches", batches)
    expected = "drop-0: not in the lake" if when.startswith("before") else "went away during"
    with pytest.raises(ContractError, match=expected):
        materialize(lake, max_answers_per_question=3)
    assert {name: file.read_bytes() for name, file in files.items() if file.exists()} == before
    assert not list(Path(lake.root).rglob("*.tmp"))
