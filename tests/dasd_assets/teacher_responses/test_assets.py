"""The asset: what one run may choose about the answers that are there already."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.small_lake import filled
from support.stub_engine import StubEngine

from dasd_assets.declaring.stored_data import StoredData
from dasd_assets.profile import load_profile
from dasd_assets.teacher_responses import assets
from dasd_assets.teacher_responses.tops import TOPS, write_tops
from resources.engines.inference import InferenceModel
from resources.lake.examination import Examination
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

ENGINES: list[StubEngine] = []


class StubModel(InferenceModel):
    """A teacher whose engine is a stub; every step has its own."""

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[Any]:
        ENGINES.append(StubEngine())
        yield ENGINES[-1]


def test_a_run_asks_for_what_is_missing_unless_it_is_told_to_ask_again(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path))
    questions = ({"question_id": f"q{i}", "question": f"What is {i}?"} for i in range(30))
    lake.write("questions", filled("questions", *questions), {"question_shard": "a"})
    [_, sampled] = assets.build(load_profile("tiny"))
    cell = {"temperature": "low", "question_shard": "a"}
    asked, rows, rates = [], [], []
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["a"])
        for config in ({}, {"ask_again": False}, {"ask_again": True}):
            result = dg.materialize(
                [sampled], partition_key=dg.MultiPartitionKey(cell), instance=instance,
                resources={"lake": lake, "teacher": StubModel(path="x", engine={})},
                run_config={"ops": {"teacher_responses": {"config": config}}},
            )  # fmt: skip
            asked.append(len(ENGINES[-1].asked))
            [event] = result.asset_materializations_for_node("teacher_responses")
            rates.append("tokens_per_second" in event.metadata)
            rows.append(lake.path("teacher_responses", cell).read_bytes())
    # The stub leaves some answers without tokens or logprobs: these alone are asked for again.
    assert asked[0] == asked[2] == 120  # four answers to each question
    assert 0 < asked[1] < 120
    assert rates == [True, True, True]
    assert rows[0] == rows[1] == rows[2]


def test_the_likeliest_tokens_are_a_table_of_their_own_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    lake = Lake(root=str(tmp_path))
    questions = ({"question_id": f"q{i}", "question": f"What is {i}?"} for i in range(3))
    lake.write("questions", filled("questions", *questions), {"question_shard": "a"})
    tiny = load_profile("tiny")
    asking = tiny.teacher_responses.model_copy(update={"top_logprobs": 2})
    cell = {"temperature": "low", "question_shard": "a"}
    resources = {"lake": lake, "teacher": StubModel(path="x", engine={})}
    versions, kept = [], []
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["a"])
        for profile in (tiny, tiny.model_copy(update={"teacher_responses": asking}), tiny):
            [_, sampled] = assets.build(profile)
            key = sampled.key
            result = dg.materialize(
                [sampled], partition_key=dg.MultiPartitionKey(cell), instance=instance,
                resources=resources,
            )  # fmt: skip
            versions.append(sampled.code_versions_by_key[key])
            [event] = result.asset_materializations_for_node("teacher_responses")
            graph = dg.Definitions([sampled], resources=resources).resolve_asset_graph()
            names = StoredData(graph, lake).names(key, dg.MultiPartitionKey(cell))
            kept.append(("top_logprobs" in event.metadata, TOPS in " ".join(names)))
    assert kept == [(False, False), (True, True), (False, False)]
    assert versions[0] == versions[2] != versions[1]


def test_likely_tokens_that_are_gone_are_awaited_no_more_where_none_are_asked_for(
    tmp_path: Path,
) -> None:
    lake, cell = Lake(root=str(tmp_path)), {"temperature": "low", "question_shard": "a"}
    lake.write(TOPS, filled(TOPS), cell)
    lake.path(TOPS, cell).unlink()
    assert write_tops(lake, cell, [], 0) == {}
    assert not Examination(lake).is_recorded(lake.name(TOPS, cell))
