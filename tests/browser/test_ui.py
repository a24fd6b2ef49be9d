"""What a person sees of the pipeline in the Dagster UI."""

from __future__ import annotations

from functools import partial
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Page, Route, expect
from support.browser import FAILED_SHARD, MISSING_SHARD, Shoot, closed, left, line_of, opened
from support.pipeline import Pipeline

from dasd_assets.declaring.jobs import JOBS
from dasd_assets.graph import BOXES
from dasd_assets.running.pages_server import page_named
from resources.lake.tables import TABLES

pytestmark = [pytest.mark.slow, pytest.mark.deployment("browser")]

ASSET = "teacher_responses"
CELL = "drop-02|high"


def materialization(pipeline: Pipeline, asset: str, partition: str | None = None) -> dict[str, Any]:
    """Metadata of the newest materialization, as Dagster has stored it."""
    records_filter = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=[partition] if partition else None
    )
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        [record] = instance.fetch_materializations(records_filter, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def from_the_lake(pipeline: Pipeline, route: Route) -> None:
    """What the server of the pages answers."""
    name = page_named(route.request.url)
    assert name is not None, route.request.url
    content = pipeline.lake.content(name)
    assert content is not None, name
    route.fulfill(body=content, content_type="image/png")


def test_the_graph_reads_as_the_papers_figure(ui: str, page: Page, shoot: Shoot) -> None:
    page.set_viewport_size({"width": 2400, "height": 1300})
    page.goto(f"{ui}/asset-groups")
    groups = [box.GROUP for box in BOXES]
    nodes = {
        group: page.locator(f'[class*="GroupNode"] [data-tooltip="{group}"]') for group in groups
    }
    for node in nodes.values():
        expect(node).to_be_visible()
    # What a box is made from stands to its left: models and questions begin, releases end.
    places = {group: left(node) for group, node in nodes.items()}
    assert places["models"] == places["questions"]
    way = [places[group] for group in groups[1:]]
    assert way == sorted(way)
    assert len(set(way)) == len(way)
    shoot(page, "groups")

    page.keyboard.press("Alt+e")  # expand all groups
    expect(page.get_by_text("divergence_sample", exact=True).first).to_be_visible()
    page.wait_for_timeout(1_000)  # the graph moves to its new layout
    shoot(page, "assets")


def test_an_asset_says_what_it_is_whose_and_what_it_needs(
    ui: str, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{ui}/assets/{ASSET}?view=overview")
    expect(page.get_by_text("Answers of the teacher to one shard")).to_be_visible()
    # The equation is set as it was written, not run together into a paragraph.
    equation = page.locator("pre, code").filter(has_text="likelihood(y) = exp( (1/n)").first
    expect(equation).to_be_visible()
    assert equation.evaluate("e => getComputedStyle(e).fontFamily").lower().count("mono")
    expect(page.get_by_text("data-engineering")).to_be_visible()
    expect(page.get_by_text("Hugging Face")).to_be_visible()
    for name, value in (("compute/gpus", "0"), ("compute/cpus", "1"), ("compute/memory_gib", "2")):
        expect(line_of(page, name)).to_contain_text(value)
    for field in TABLES[ASSET].schema:
        column = page.get_by_role("row").filter(has=page.get_by_text(field.name, exact=True)).first
        expect(column).to_contain_text(str(field.type))
        expect(column).to_contain_text(field.metadata[b"description"].decode())
    page.get_by_text("Compute details").click()
    expect(page.get_by_text("Code version")).to_be_visible()
    shoot(page)


def test_a_materialization_shows_counts_cost_rows_pictures_and_where_columns_come_from(
    ui: str, pipeline: Pipeline, page: Page, shoot: Shoot
) -> None:
    stored = materialization(pipeline, ASSET, CELL)
    rows = pipeline.lake.read(ASSET, {"temperature": "high", "question_shard": "drop-02"})
    assert stored["dagster/row_count"] == rows.num_rows
    assert stored["n_tokens"] == sum(map(len, rows["token_ids"].to_pylist()))
    page.route("**/pictures/**", partial(from_the_lake, pipeline))
    page.goto(f"{ui}/assets/{ASSET}?view=partitions&partition={CELL}")
    for name in ("dagster/row_count", "n_tokens", "tokens_per_second", "cost/core_hours"):
        assert stored[name] > 0
        expect(line_of(page, name)).to_contain_text(f"{stored[name]:g}")
    shoot(page)

    preview = opened(page, "preview")
    for number in range(1, 4):
        expect(preview.get_by_role("columnheader", name=f"row {number}")).to_be_visible()
    expect(preview.get_by_text(rows["response_id"][2].as_py())).to_be_visible()
    shoot(page, "three-rows")
    closed(preview)

    lineage = line_of(page, "column_lineage").get_by_role("row")
    expect(lineage.filter(has_text="questions.question_id").first).to_contain_text("question_id")
    expect(lineage.filter(has_text="questions.question").first).to_be_visible()

    # The UI shows a short text of Markdown in its line.
    picture = line_of(page, "likelihood_density").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("e => e.complete && e.naturalWidth > 400")
    assert picture.evaluate("e => e.getBoundingClientRect().right <= innerWidth - 24")
    shoot(page, "picture")


def test_partitions_are_coloured_by_what_became_of_them(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}/assets/questions?view=partitions")
    for count in ("Materialized (2)", "Failed (1)", "Missing (1)"):
        expect(page.get_by_text(count)).to_be_visible()
    colours = {}
    for shard in ("drop-01", "drop-02", FAILED_SHARD, MISSING_SHARD):
        dot = page.locator(f'[data-tooltip="{shard}"] + div')
        expect(dot).to_be_visible()
        colours[shard] = dot.evaluate("e => e.style.background")
    assert colours["drop-01"] == colours["drop-02"]
    assert "green" in colours["drop-01"]
    assert "red" in colours[FAILED_SHARD]
    assert colours[MISSING_SHARD] not in (colours["drop-01"], colours[FAILED_SHARD])
    page.get_by_text(FAILED_SHARD).first.click()
    expect(page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    shoot(page, "one-dimension")

    # Of a grid, the dimension's colour tells of all cells below it.
    page.goto(f"{ui}/assets/{ASSET}?view=partitions")
    for count in ("Materialized (4)", "Failed (0)", "Missing (4)"):
        expect(page.get_by_text(count)).to_be_visible()
    shoot(page, "grid")


def test_a_check_shows_what_it_observed_and_what_is_allowed(
    ui: str, pipeline: Pipeline, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{ui}/assets/{ASSET}?view=checks&checkDetail=mean_logprob")
    expect(page.get_by_text("Latest execution")).to_be_visible()
    with dg.DagsterInstance.from_config(str(pipeline.home / "dagster")) as instance:
        key = dg.AssetCheckKey(dg.AssetKey(ASSET), "mean_logprob")
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None and record.event.dagster_event is not None
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    observed = evaluation.metadata["observed"].value
    assert isinstance(observed, float)
    expect(line_of(page, "observed")).to_contain_text(str(observed))
    expect(line_of(page, "allowed")).to_contain_text(str(evaluation.metadata["allowed"].value))
    expect(page.get_by_text("Passed" if evaluation.passed else "Failed").first).to_be_visible()
    shoot(page)


def test_jobs_have_the_names_of_what_a_user_wants(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}/jobs")
    for job in JOBS:
        expect(page.locator(f'a[href$="/jobs/{job.name}"]')).to_be_visible()
    shoot(page)
    page.goto(f"{ui}/locations/dasd/jobs/train_student")
    expect(page.get_by_text("Train the student on the current divergence samples")).to_be_visible()


def test_a_jobs_launchpad_is_typed_and_says_what_is_chosen(
    ui: str, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{ui}/locations/dasd/jobs/sample_teacher/playground")
    expect(page.get_by_text("No errors")).to_be_visible()
    line = page.locator(".CodeMirror-line").filter(has_text="question_shards")
    expect(line).to_contain_text("question_shards: []")  # the default
    line.click()
    expect(page.get_by_text("only these question_shards, such as drop-01")).to_be_visible()
    shoot(page)
    # What is not a list is refused before anything is launched.
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("7")
    expect(page.get_by_text("No errors")).to_have_count(0)
    expect(page.get_by_text("question_shards").nth(1)).to_be_visible()
    expect(page.get_by_role("button", name="Launch Run")).to_be_disabled()
    shoot(page, "refused")


def test_an_assets_launchpad_has_descriptions_and_defaults(
    ui: str, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{ui}/assets/{ASSET}?view=overview")
    page.get_by_role("button", name="Materialize").first.click(modifiers=["Shift"])
    line = page.locator(".CodeMirror-line").filter(has_text="ask_again: false")
    line.click()
    expect(page.get_by_text("Ask the teacher for every answer")).to_be_visible()
    expect(page.get_by_text("No errors")).to_be_visible()
    shoot(page)
    page.locator(".CodeMirror-line").filter(has_text="threads:").click()
    for described in ("CPU threads of the embedded engines", "how the model is run"):
        expect(page.get_by_text(described)).to_be_visible()
