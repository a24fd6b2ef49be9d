"""Pictures lie in the lake; the event log has where they are served."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from matplotlib.figure import Figure
from support.small_lake import make_small_lake

from dasd_assets.declaring.pages import EARLIER_PICTURES, PAGES_URL, kept_pictures
from dasd_assets.declaring.stored_data import StoredData
from dasd_assets.graph import build_definitions
from dasd_assets.partitions import QUESTION_SHARD, TEMPERATURE
from dasd_assets.profile import load_profile
from dasd_assets.reporting.pictures import response_pictures
from dasd_assets.running.pages_server import _whole
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
        assert file.startswith(f"`{FOLDER}/{name}.")
        shown_by = file.strip("`").rpartition("/")[2]
        assert address.endswith(f"](https://pages.example/dasd/{quoted}/{shown_by})")
        assert len(text) < 500
        picture = lake.content(f"{FOLDER}/{shown_by}") or b""
        assert picture.startswith(PNG)
        assert int.from_bytes(picture[16:20], "big") <= 520  # else the UI cuts it at the right


def test_a_picture_that_is_gone_or_damaged_is_drawn_again(lake: Lake, tmp_path: Path) -> None:
    graph = build_definitions(load_profile("tiny"), tmp_path).resolve_asset_graph()
    key = dg.AssetKey("teacher_responses")
    cell = dg.MultiPartitionKey({TEMPERATURE: "low", QUESTION_SHARD: "drop-01"})
    show(lake)
    assert StoredData(graph, lake).problems(key, cell) == []

    (lengths,) = Path(lake.root, FOLDER).glob("lengths.*.png")
    lake.publish_file(f"{FOLDER}/{lengths.name}", PNG)
    found = StoredData(graph, lake).verified(key, cell)
    (problem,) = found.problems
    assert problem.startswith(f"{FOLDER}/{lengths.name} has ")
    assert StoredData(graph, lake).problems(key, cell) == [f"{FOLDER}/{lengths.name} is gone"]
    show(lake)
    assert StoredData(graph, lake).problems(key, cell) == []
    assert StoredData(graph, lake).verified(key, cell) == (found.n_files, 0, [])


def number(n: int) -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.text(0.2, 0.2, str(n))
    return figure


def test_what_was_made_earlier_shows_its_own_pictures_for_a_while_and_none_is_missed(
    lake: Lake, tmp_path: Path
) -> None:
    graph = build_definitions(load_profile("tiny"), tmp_path).resolve_asset_graph()
    key, cell = dg.AssetKey("teacher_responses"), {TEMPERATURE: "low", QUESTION_SHARD: "drop-01"}
    name = lake.name("teacher_responses", CELL)
    lake.publish_page(f"{FOLDER}/lengths.png", PNG)  # as they were named once
    shown = []
    for n in range(EARLIER_PICTURES + 3):
        kept = kept_pictures(lake, name, {"number": number(n)})
        shown.append(str(kept["number"].value).rpartition("`")[0].rpartition("`")[2])
    assert len(set(shown)) == len(shown), "another content is another file"
    there = {each.name for each in Path(lake.root, FOLDER).glob("*.png")}
    assert there == {each.rpartition("/")[2] for each in shown[2:]}, "the newest stay"
    assert all(_whole(lake, each) for each in shown[2:])
    Path(lake.root, shown[2]).write_bytes(PNG)
    assert _whole(lake, shown[2]) is None
    Path(lake.root, shown[3]).unlink()
    assert StoredData(graph, lake).problems(key, dg.MultiPartitionKey(cell)) == []
    Path(lake.root, shown[-1]).unlink()
    assert len(StoredData(graph, lake).problems(key, dg.MultiPartitionKey(cell))) == 1


def test_pictures_leave_with_their_partition(lake: Lake) -> None:
    show(lake)
    lake.retire("teacher_responses", CELL)
    assert not Path(lake.root, FOLDER).exists()
    left = Path(lake.root, "_retired", FOLDER).glob("*.png")
    assert {file.name.split(".")[0] for file in left} == NAMES
