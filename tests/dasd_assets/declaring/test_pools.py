"""The pools of one machine hold what the assets declare, and are set on the instance."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from support.gpu_location import defs

from dasd_assets.declaring.declare import declared
from dasd_assets.declaring.pools import asked_of_pools, set_pool_limits
from resources.compute.declared import TrainingCompute
from resources.compute.gpus import TooFewGpusError


def test_the_largest_step_of_a_pool_counts() -> None:
    assets = [asset for asset in defs.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    assert asked_of_pools(assets) == {"student": 1, "teacher": 2}


def test_training_over_several_machines_holds_none_of_the_machine_its_run_is_on() -> None:
    training = TrainingCompute(gpus=16, machines=2, pool="training")

    @dg.asset(**declared("g", training, "1", kinds={"x"}))
    def checkpoint() -> None: ...

    assert asked_of_pools([checkpoint]) == {"training": 0}


@pytest.mark.parametrize(
    ("gpus", "slots"),
    [
        (3, {"student": 1, "teacher": 1}),
        (8, {"student": 4, "teacher": 2}),
        (2, {"student": 2, "teacher": 1}),  # too few for both: they wait for each other's GPUs
        (0, {}),
    ],
)
def test_slots_are_set_where_there_are_gpus(
    gpus: int, slots: dict[str, int], tmp_path: Path
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert set_pool_limits(instance, defs, gpus) == slots
        told = instance.event_log_storage.get_pool_limits()
        assert {pool.name: pool.limit for pool in told} == slots


def test_too_few_gpus_are_refused_before_anything_is_set(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with pytest.raises(TooFewGpusError, match=r"one step of teacher \(2\) .*there are, 1"):
            set_pool_limits(instance, defs, 1)
        assert not instance.event_log_storage.get_pool_limits()
