"""The shards in the lake as curation sees them, also where some of it is gone or damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from support.checked_lake import put

from dasd_assets.profile import Questions
from dasd_assets.questions.curation.index.catalog import CATALOG, FOLDER, Catalog
from dasd_assets.questions.curation.index.question_index import QuestionIndex
from dasd_assets.questions.curation.index.shard_entries import id_keys
from dasd_assets.questions.curation.stored_shards import other_shards, shard_to_curate
from resources.lake.lake import Lake
from resources.lake.table import ContractError

SETTINGS = Questions(inbox="inbox", near_duplicate_jaccard=None)


def place(shard: str) -> dict[str, str]:
    return {"question_shard": shard}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three shards that were curated in the order of their names."""
    lake = Lake(root=str(tmp_path))
    for order, shard in enumerate(("a", "b", "c"), 1):
        about = {"question_id": f"q-{shard}"}
        put(lake, "raw_questions", place(shard), about)
        put(lake, "question_signatures", place(shard), {**about, "curation_order": order})
        put(lake, "questions", place(shard), about)
    return lake


def orders(lake: Lake, shard: str) -> tuple[int, dict[str, int]]:
    index = QuestionIndex(lake, SETTINGS)
    this, _ = shard_to_curate(lake, place(shard), SETTINGS)
    others = other_shards(lake, place(shard), index)
    return this.order, {other.name: other.order for other in others}


def damage(lake: Lake, table: str, shard: str, is_gone: bool) -> None:
    file = lake.path(table, place(shard))
    if is_gone:
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size - 1)


def test_a_shard_keeps_its_place_and_a_new_one_stands_behind_all(lake: Lake) -> None:
    assert orders(lake, "a") == (1, {"b": 2, "c": 3})
    assert orders(lake, "d") == (4, {"a": 1, "b": 2, "c": 3})


@pytest.mark.parametrize("is_gone", [True, False])
def test_without_its_signatures_a_shard_takes_the_place_that_is_free(
    lake: Lake, is_gone: bool
) -> None:
    damage(lake, "question_signatures", "b", is_gone)
    assert orders(lake, "b") == (2, {"a": 1, "c": 3})
    assert orders(lake, "a") == (1, {"b": 0, "c": 3})
    others = other_shards(lake, place("a"), QuestionIndex(lake, SETTINGS))
    assert list(others[0].signatures()) == []
    assert [batch["question_id"].to_pylist() for batch in others[0].questions()] == [["q-b"]]


@pytest.mark.parametrize("is_gone", [True, False])
def test_two_damaged_shards_are_curated_again_one_after_the_other(
    lake: Lake, is_gone: bool
) -> None:
    for shard in ("a", "b"):
        damage(lake, "questions", shard, is_gone)
    assert orders(lake, "a") == (1, {"c": 3})
    put(lake, "questions", place("a"), {"question_id": "q-a"})
    assert orders(lake, "b") == (2, {"a": 1, "c": 3})


def test_without_raw_questions_nothing_is_curated(lake: Lake) -> None:
    damage(lake, "raw_questions", "a", is_gone=False)
    shard, _ = shard_to_curate(lake, place("a"), SETTINGS)
    with pytest.raises(ContractError, match=r"raw_questions a: .* bytes where"):
        list(shard.rows())


def test_a_shard_is_not_read_again_until_its_files_change(lake: Lake) -> None:
    shard_to_curate(lake, place("c"), SETTINGS)
    index = QuestionIndex(lake, SETTINGS)
    with mock.patch.object(Lake, "_verified", side_effect=AssertionError("read")):
        others = other_shards(lake, place("c"), index)
    assert {other.name: other.order for other in others} == {"a": 1, "b": 2}
    damage(lake, "questions", "a", is_gone=False)
    assert [other.name for other in other_shards(lake, place("c"), index)] == ["b"]


def test_a_retired_shard_is_not_looked_up_any_more(lake: Lake) -> None:
    _, index = shard_to_curate(lake, place("c"), SETTINGS)
    assert index.names() == {-2: "a", -1: "b"}
    lake.retire("questions", place("a"))
    _, index = shard_to_curate(lake, place("c"), SETTINGS)
    assert index.names() == {-1: "b"}
    assert found(index, "q-a", "q-b") == {"q-b": "b"}


def test_a_lake_without_an_index_gets_one_from_what_is_there(lake: Lake) -> None:
    _, index = shard_to_curate(lake, place("d"), SETTINGS)
    assert found(index, "q-a", "q-b", "q-d") == {"q-a": "a", "q-b": "b"}
    shutil.rmtree(folder := Path(lake.root, FOLDER))
    _, index = shard_to_curate(lake, place("d"), SETTINGS)
    assert found(index, "q-a", "q-c") == {"q-a": "a", "q-c": "c"}
    assert {file.name for file in folder.iterdir()} == {
        name.rpartition("/")[2] for name in Catalog.from_json(lake.content(CATALOG) or b"").files()
    }


def found(index: QuestionIndex, *ids: str) -> dict[str, str]:
    """Which shard has a question."""
    by_key = dict(zip(id_keys(ids).tolist(), ids, strict=True))
    keys = np.array(sorted(by_key), np.uint64)
    looked_up = index.find(keys, are_bands=False)
    names = index.names()
    return {
        by_key[int(keys[number])]: names[place]
        for number, place in zip(looked_up.indices, looked_up.places.tolist(), strict=True)
    }
