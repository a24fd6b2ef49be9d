"""What a person sees of every asset in the UI, before and after it was materialized."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from support.small_lake import filled

from dasd_assets.declaring import cost
from dasd_assets.declaring.cost import tokens_of, with_prices
from dasd_assets.declaring.declare import (
    OWNERS,
    asset_of,
    column_lineage,
    declared,
    log_progress,
    materialized,
)
from dasd_assets.declaring.own_memory import peak_own_bytes
from dasd_assets.evaluation.costs import asset_costs
from dasd_assets.graph import build_definitions
from dasd_assets.profile import load_profile
from resources.compute import gpu_lease
from resources.compute.declared import Compute
from resources.engines.protocol import Progress
from resources.lake.lake import Lake
from resources.lake.tables import TABLES

TINY = load_profile("tiny")
DEFINITIONS = build_definitions(TINY, Path("/nowhere"))
ASSETS = {
    spec.key: spec
    for asset in DEFINITIONS.assets or []
    if isinstance(asset, dg.AssetsDefinition)
    for spec in asset.specs
}
BY_NAME = {key.to_user_string(): spec for key, spec in ASSETS.items()}

DELIVERED = {"raw_questions", "benchmark_questions"}
"""Tables that come from outside: no column has an origin in the graph, no row has tokens yet."""


def main_tables() -> dict[str, dg.AssetSpec]:
    tables = {spec.metadata.get("dagster/table_name"): spec for spec in ASSETS.values()}
    return {str(table): spec for table, spec in tables.items() if table}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_description_is_markdown_with_an_equation_or_a_rule(name: str) -> None:
    description = BY_NAME[name].description or ""
    summary, _, rest = description.partition("\n\n")
    assert 20 < len(summary) < 200
    rule = rest.partition("```text\n")[2].partition("```")[0]
    assert rule.strip(), "a fenced block with the equation or rule"
    prose = description.replace(rule, "")
    assert "\n    " not in prose, "indented by the code around it: Markdown would quote it"
    assert all(len(line) <= 100 for line in rule.splitlines())


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_definition_says_who_what_with_and_where(name: str) -> None:
    spec = BY_NAME[name]
    assert spec.owners == OWNERS
    assert spec.kinds and spec.code_version and spec.group_name
    assert {"compute/gpus", "compute/cpus", "compute/memory_gib"} <= set(spec.metadata)
    [reference] = spec.metadata["dagster/code_references"].code_references
    assert Path(reference.file_path).name == "assets.py"
    line = (
        Path(reference.file_path)
        .read_text(encoding="utf-8")
        .splitlines()[reference.line_number - 1]
    )
    assert "@dg.asset" in line or "def " in line


def test_tables_describe_every_column() -> None:
    for table, spec in main_tables().items():
        columns = spec.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == TABLES[table].schema.names
        assert all(column.description and column.type for column in columns)


def test_every_table_of_the_graph_has_tokens_and_column_lineage_or_is_delivered() -> None:
    with_lineage = {name for name, table in TABLES.items() if table.lineage}
    with_tokens = {name for name, table in TABLES.items() if table.token_column}
    of_other_tokens = {"teacher_top_logprobs"}  # those of teacher_responses
    assert with_lineage == (with_tokens | {"questions"} | of_other_tokens) - {"imported_answers"}
    assert set(main_tables()) - with_lineage <= DELIVERED
    assert with_tokens >= {name for name, table in TABLES.items() if table.is_by_a_model}


@pytest.mark.parametrize("table", [name for name in main_tables() if TABLES[name].lineage])
def test_column_lineage_names_columns_that_are_upstream(table: str) -> None:
    upstream = set()
    todo = [spec.key for spec in [main_tables()[table]]]
    while todo:
        for dep in ASSETS[todo.pop()].deps:
            if dep.asset_key in ASSETS and dep.asset_key not in upstream:
                upstream.add(dep.asset_key)
                todo.append(dep.asset_key)
    for column, sources in TABLES[table].lineage.items():
        assert column in TABLES[table].schema.names
        assert sources
        for source in sources:
            assert asset_of(source.asset, {"checkpoint": "dasd"}) in upstream
            assert source.column in TABLES[source.asset].schema.names


def materialize(
    lake: Lake, meanwhile: Callable[[], None] = lambda: None
) -> dg.AssetMaterialization:
    """Sample and write one row of the evaluation table on 2 declared GPUs at a price."""

    @dg.asset(**declared("g", Compute(gpus=2, cpus=4.0), "1", kinds={"python"}, table="evaluation"))
    def asked(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult:
        meanwhile()
        log_progress(context, "answers")(Progress(3, 3, 50, 2.0))
        table = filled("evaluation", {"n_tokens": 5}, {"n_tokens": 7})
        return materialized(lake, lake.write("evaluation", table))

    priced = TINY.model_copy(
        update={"plan": TINY.plan.model_copy(update={"price_per_gpu_hour": 3.0})}
    )
    result = dg.materialize([with_prices(asked, priced)], resources={"lake": lake})
    [event] = result.asset_materializations_for_node("asked")
    return event


def test_a_materialization_shows_rows_tokens_rate_cost_samples_and_lineage(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    event = materialize(lake)
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["dagster/row_count"] == 2
    assert shown["n_tokens"] == 12
    # The model's own rate, not the tokens of the table over the time of the step.
    assert shown["tokens_per_second"] == 25.0
    hours = shown["cost/seconds"] / 3_600
    assert shown["cost/seconds"] > 0
    assert shown["cost/gpu_hours"] == pytest.approx(2 * hours, abs=1e-6)
    assert shown["cost/core_hours"] == pytest.approx(4 * hours, abs=1e-6)
    assert shown["cost/money"] == pytest.approx(6 * hours, abs=1e-5)
    peak = peak_own_bytes()
    assert peak is not None
    assert shown["cost/peak_memory_gib"] == pytest.approx(peak / 1024**3, rel=0.2)
    header, _, *lines = str(shown["preview"]).splitlines()
    assert header == "| column | row 1 | row 2 |"
    assert [line.split(" | ")[0] for line in lines] == [
        f"| {n}" for n in TABLES["evaluation"].schema.names
    ]
    assert "| n_tokens | 5 | 7 |" in lines
    assert "| text | `benchmark_questions.prompt` |" in str(shown["column_lineage"])
    assert "| checkpoint | set by this asset |" in str(shown["column_lineage"])
    assert list(shown)[:6] == [
        "dagster/row_count", "n_tokens", "tokens_per_second", "cost/seconds", "cost/gpu_hours",
        "cost/core_hours",
    ]  # fmt: skip
    lineage = event.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    [text] = lineage.value.deps_by_column["text"]
    assert (text.asset_key, text.column_name) == (dg.AssetKey("benchmark_questions"), "prompt")

    [cost] = asset_costs([event, event], {dg.AssetKey("asked"): "evaluation"})
    assert (cost.stage, cost.n_partitions, cost.n_tokens) == ("evaluation", 2, 24)
    assert cost.money == pytest.approx(12 * hours, abs=1e-5)


def test_tokens_of_lists_and_of_numbers_are_counted_over_row_groups(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    cell = {"temperature": "low", "question_shard": "a"}
    rows = filled("teacher_responses", *({"token_ids": [1] * n} for n in (0, 3, 5)))
    batches = rows.to_batches(max_chunksize=1)
    lake.write("teacher_responses", batches, cell)
    assert tokens_of(lake, "teacher_responses", cell) == 8
    assert tokens_of(lake, "questions", {"question_shard": "a"}) is None


def test_what_is_delivered_has_no_column_lineage() -> None:
    assert column_lineage("raw_questions") == {}


def test_costs_are_told_stage_by_stage_in_the_order_of_their_end() -> None:
    """An evaluation of the base student may come long before training, but its stage ends last."""
    groups = {
        dg.AssetKey(name): group
        for name, group in {
            "q": "questions",
            "base": "evaluation",
            "c": "training",
            "r": "evaluation",
        }.items()
    }
    events = [dg.AssetMaterialization(key) for key in groups]
    unknown = dg.AssetMaterialization("of an asset that is gone")
    costs = asset_costs([*events, unknown], groups)
    assert [cost.asset for cost in costs] == ["q", "c", "base", "r"]
    assert all(cost.seconds == 0 and cost.money is None for cost in costs)


def test_waiting_for_gpus_that_others_hold_is_told_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time

    def wait_for_an_hour() -> None:
        monkeypatch.setattr(gpu_lease, "_wait", (clock(), 3_600.0))
        monkeypatch.setattr(cost, "time", SimpleNamespace(time=lambda: clock() + 3_600.0))

    event = materialize(Lake(root=str(tmp_path)), wait_for_an_hour)
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["cost/waited_for_gpu_seconds"] == 3_600.0
    assert shown["cost/seconds"] < 60
    assert shown["cost/gpu_hours"] == pytest.approx(2 * shown["cost/seconds"] / 3_600, abs=1e-6)
    assert shown["cost/money"] < 0.1


def test_a_step_that_takes_no_gpu_tells_of_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease, "_wait", (time.time() - 60, 30.0))  # an earlier step's
    assert "cost/waited_for_gpu_seconds" not in materialize(Lake(root=str(tmp_path))).metadata


def test_peak_memory_is_left_out_where_the_kernel_does_not_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "peak_own_bytes", lambda: None)
    assert "cost/peak_memory_gib" not in materialize(Lake(root=str(tmp_path))).metadata
