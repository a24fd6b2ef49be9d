"""The Dagster UI over a copy of a finished pipeline, looked at in Debian's Chromium.

Each test leaves screenshots in `build/screenshots` (ignored by git).
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.browser import (
    CHROMIUM,
    FAILED_SHARD,
    FLAGS,
    MILLISECONDS,
    MISSING_SHARD,
    SCREENSHOTS,
    Shoot,
)
from support.finished_pipeline import Finished, with_own_inbox
from support.pipeline import Pipeline
from support.webserver import webserver

from dasd_assets.graph import build_definitions
from dasd_assets.partitions import QUESTION_SHARD
from dasd_assets.profile import load_profile


@pytest.fixture(scope="session")
def pipeline(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A copy of the finished pipeline, with a shard that cannot be read and one not read yet."""
    copy = with_own_inbox(finished[0], tmp_path_factory.mktemp("browser") / "pipeline")
    (copy.inbox / f"{FAILED_SHARD}.jsonl").write_bytes(b"{not json\n")
    definitions = build_definitions(load_profile(str(copy.profile)), copy.home)
    with dg.DagsterInstance.from_config(str(copy.home / "dagster")) as instance:
        instance.add_dynamic_partitions(QUESTION_SHARD, [FAILED_SHARD, MISSING_SHARD])
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("raw_questions"), dg.AssetKey("questions")],
            partition_key=FAILED_SHARD,
            raise_on_error=False,
        )
    assert not result.success
    return copy


@pytest.fixture(scope="session")
def ui(pipeline: Pipeline) -> Iterator[str]:
    """Address of a webserver over the pipeline."""
    with webserver(pipeline) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module: while it is open, no other test can use asyncio."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab of its own, wide enough for the UI."""
    context = chromium.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(MILLISECONDS)
    expect.set_options(timeout=MILLISECONDS)
    yield context.new_page()
    context.close()


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Shoot:
    """Keep what a page shows, under the test's name."""

    def keep(page: Page, what: str = "") -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        name = "-".join(
            [request.node.originalname.removeprefix("test_"), *([what] if what else [])]
        )
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return keep
