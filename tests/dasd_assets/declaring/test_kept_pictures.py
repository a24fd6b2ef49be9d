"""Pictures lie in the lake; the event log has where they are served."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from support.small_lake import make_small_lake

from dasd_assets.declaring.pages import PAGES_URL, kept_pictures
from dasd_assets.declaring.stored_data import StoredData
from dasd_assets.graph import build_definitions
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE
from dasd_assets.profile import load_profile
from dasd_assets.reporting.pictures import response_pictures
from resources.lake.lake import Lake

CELL = {"temperature": "low", "question_shard": "drop-01"}
FOLDER = "pictures/teacher_responses/temperature=low/question_shard=drop-01"
NAMES = {"lengths", "likelihood_density"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "home" / "lake"))
    make_small_lake(lake)
    return lake


def show(lake: Lake) -> dict[str, str]:
    """Make the pictures of a partition; gives what the event log gets of them."""
    name = lake.name("teacher_responses", CELL)
    shown = kept_pictures(lake, name, response_pictures(Path(lake.root), CELL))
    return {name: str(value.value) for name, value in shown.items()}


def test_the_event_log_gets_an_address_and_the_lake_the_picture(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PAGES_URL, "https://pages.example/dasd/")
    shown = show(lake)
    assert shown.keys() == NAMES
    for name, text in shown.items():
        address, file = text.split("\n\n")
        quoted = FOLDER.replace("=", "%3D")
        assert address.startswith("![")
        assert address.endswith(f"](https://pages.example/dasd/{quoted}/{name}.png)")
        assert file == f"`{FOLDER}/{name}.png`"
        assert len(text) < 500
        picture = lake.content(f"{FOLDER}/{name}.png") or b""
        assert picture.startswith(PNG)
        assert int.from_bytes(picture[16:20], "big") <= 520  # else the UI cuts it at the right


def test_a_picture_that_is_gone_or_damaged_is_drawn_again(lake: Lake, tmp_path: Path) -> None:
    graph = build_definitions(load_profile("tiny"), tmp_path).resolve_asset_graph()
    key = dg.AssetKey("teacher_responses")
    cell = dg.MultiPartitionKey({TEMPERATURE: "low", QUESTION_SHARD: "drop-01"})
    show(lake)
    assert StoredData(graph, lake).problems(key, cell) == []

    lake.publish_file(f"{FOLDER}/lengths.png", PNG)
    found = StoredData(graph, lake).verified(key, cell)
    (problem,) = found.problems
    assert problem.startswith(f"{FOLDER}/lengths.png has ")
    assert StoredData(graph, lake).problems(key, cell) == [f"{FOLDER}/lengths.png is gone"]
    show(lake)
    assert StoredData(graph, lake).problems(key, cell) == []
    assert StoredData(graph, lake).verified(key, cell) == (found.n_files, 0, [])


def test_a_picture_that_is_not_drawn_any_more_is_never_missed(lake: Lake) -> None:
    show(lake)
    figures = response_pictures(Path(lake.root), CELL)
    del figures["lengths"]
    kept_pictures(lake, lake.name("teacher_responses", CELL), figures)
    left = {file.name for file in Path(lake.root, FOLDER).iterdir()}
    assert left == {"likelihood_density.png", "likelihood_density.png.manifest.json"}


def test_pictures_leave_with_their_partition(lake: Lake) -> None:
    show(lake)
    lake.retire("teacher_responses", CELL)
    assert not Path(lake.root, FOLDER).exists()
    assert {file.stem for file in Path(lake.root, "_retired", FOLDER).glob("*.png")} == NAMES
