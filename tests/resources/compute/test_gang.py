"""Whether a cluster's nodes could hold a gang, and what is said where they cannot."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from resources.compute.gang import GIB, Gang, missing

NODE = {"GPU": 8.0, "CPU": 64.0, "memory": 512.0 * GIB}
PAPERS = Gang(processes=16, machines=2, gpus=16, cpus=64, memory_gib=512)


@pytest.mark.parametrize(
    ("nodes", "room"),
    [
        ({"a": NODE, "b": NODE}, 16),
        ({"a": {name: 2 * amount for name, amount in NODE.items()}}, 16),
        ({"a": NODE, "b": {**NODE, "GPU": 4.0}}, 12),
        ({"a": NODE, "b": {**NODE, "memory": 100.0 * GIB}}, 9),
        ({"a": NODE, "b": {**NODE, "CPU": 8.0}}, 9),
        ({"a": NODE, "b": {"CPU": 64.0, "memory": 512.0 * GIB}}, 8),
        ({}, 0),
    ],
)
def test_what_is_missing_is_counted_over_all_resources(
    nodes: dict[str, dict[str, float]], room: int
) -> None:
    found = missing(PAPERS, nodes)
    assert (found == "") is (room == 16)
    if found:
        assert f"Missing is room for {16 - room}: {16 - room} GPU(s), " in found


def test_it_is_said_what_is_asked_for_and_what_each_node_has() -> None:
    assert missing(PAPERS, {"a": NODE, "b": {"CPU": 4.0}}) == (
        "training asks for 16 process(es), 8 on each of 2 machine(s), of 1 GPU(s), 8 CPU core(s) "
        "and 64.0 GiB each. Missing is room for 8: 8 GPU(s), 64 CPU core(s) and 512.0 GiB. The "
        "cluster's 2 node(s): a has 8 GPU(s), 64 CPU core(s) and 512.0 GiB, room for 8; b has 0 "
        "GPU(s), 4 CPU core(s) and 0.0 GiB, room for 0"
    )


def test_machines_share_processes_evenly() -> None:
    with pytest.raises(ValidationError, match="5 processes are not shared evenly by 2"):
        Gang(processes=5, machines=2)
