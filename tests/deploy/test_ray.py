"""One run on a real Ray cluster of two nodes, with one and with four pretended GPUs.

Its steps are placed where their declared GPUs are; one that no node can hold is refused; one that
is killed is made again, and no request whose answer was durable is asked for twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from ray.cluster_utils import Cluster
from ray.job_submission import JobSubmissionClient
from support.ports import free_port
from support.ray_location import GPUS
from support.sampling_children import CELL, N_REQUESTS

from dasd_assets.profile import PROJECT_ROOT
from dasd_assets.running.ray_executor import asked_of_node, refusal
from resources.compute.declared import Compute
from resources.compute.gang import GIB, fits
from resources.lake.lake import Lake

pytestmark = [pytest.mark.slow, pytest.mark.deployment("ray")]

NODE_GPUS = (1, 4)
DURABLE_BEFORE_THE_KILL = 100
PATIENCE = 300.0
OBJECT_STORE_BYTES = 80_000_000

RUN = """
import dagster as dg
from dasd_assets.dagster_internals import job_of_module
everything = job_of_module("support.ray_location", "everything")
with dg.DagsterInstance.get() as instance:
    dg.execute_job(everything, instance, raise_on_error=False)
"""


@dataclass(frozen=True)
class Ended:
    """What the run left."""

    folder: Path
    events: list[dg.EventLogEntry]
    placed: dict[str, str]
    """Step -> id of the node that its job ran on."""
    node_gpus: dict[str, int]

    @property
    def held(self) -> dict[str, dict[str, Any]]:
        """Step -> when it ran."""
        lines = (self.folder / "held.jsonl").read_text(encoding="utf-8").splitlines()
        return {line["step"]: line for line in map(json.loads, lines)}

    def of_type(self, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        """Events of one type."""
        events = (entry.dagster_event for entry in self.events)
        return [event for event in events if event and event.event_type == kind]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as nodes_environment:
        for name, value in _environment(folder).items():
            nodes_environment.setenv(name, value)
        cluster = Cluster()
        node_gpus = _add_nodes(cluster)
    try:
        yield _run(folder, f"http://{cluster.head_node.webui_url}", node_gpus)
    finally:
        cluster.shutdown()


def _environment(folder: Path) -> dict[str, str]:
    """What every node has to know, as on machines of their own."""
    return {
        "RAY_LOCATION": str(folder), "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT / "tests"), str(PROJECT_ROOT)]),
    }  # fmt: skip


def _add_nodes(cluster: Cluster) -> dict[str, int]:
    """Start the nodes; id -> GPUs of each."""
    node_gpus: dict[str, int] = {}
    for gpus in NODE_GPUS:
        node = cluster.add_node(
            num_cpus=2, num_gpus=gpus, object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=not node_gpus, dashboard_host="127.0.0.1",
            dashboard_port=free_port(), dashboard_agent_listen_port=free_port(),
        )  # fmt: skip
        node_gpus[node.node_id] = gpus
    return node_gpus


def _run(folder: Path, server: str, node_gpus: dict[str, int]) -> Ended:
    """Start the run, kill the step `interrupted` once while it samples, wait for the end."""
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    environment = {
        **os.environ, **_environment(folder), "DAGSTER_HOME": str(home),
        "RAY_API_SERVER_ADDRESS": server,
    }  # fmt: skip
    with (folder / "run.log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + PATIENCE
    try:
        while _durable(folder) < DURABLE_BEFORE_THE_KILL:
            assert run.poll() is None and time.monotonic() < deadline, _told(folder)
            time.sleep(0.1)
        os.kill(int((folder / "pid").read_text(encoding="ascii")), signal.SIGKILL)
        assert run.wait(PATIENCE) == 0, _told(folder)
    finally:
        run.kill()
    jobs = JobSubmissionClient(server).list_jobs()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_runs()
        events = list(instance.all_logs(record.run_id))
    placed = {str((job.metadata or {})["dagster/op"]): str(job.driver_node_id) for job in jobs}
    return Ended(folder, events, placed, node_gpus)


def _durable(folder: Path) -> int:
    file = folder / "durable"
    return len(file.read_text(encoding="ascii").splitlines()) if file.exists() else 0


def _told(folder: Path) -> str:
    return (folder / "run.log").read_text(encoding="utf-8")[-4000:]


@pytest.mark.xdist_group("ray")
def test_steps_run_where_their_declared_gpus_are(ended: Ended) -> None:
    runnable = {name: gpus for name, gpus in GPUS.items() if gpus <= max(NODE_GPUS)}
    assert set(ended.held) == set(runnable)
    assert ended.node_gpus[ended.placed["four"]] == 4
    for node, has in ended.node_gpus.items():
        here = [name for name in runnable if ended.placed[name] == node]
        moments = [ended.held[name]["start"] for name in here]
        for moment in moments:
            in_use = sum(
                runnable[name]
                for name in here
                if ended.held[name]["start"] <= moment < ended.held[name]["end"]
            )
            assert in_use <= has


@pytest.mark.xdist_group("ray")
def test_what_no_node_can_hold_is_refused_and_the_others_are_made(ended: Ended) -> None:
    (failed,) = ended.of_type(dg.DagsterEventType.STEP_FAILURE)
    assert failed.step_key == "eight"
    assert failed.step_failure_data.error
    assert failed.step_failure_data.error.message.startswith(
        "eight asks for 8 GPU(s), 0.1 CPU core(s) and 2.0 GiB; no node of the Ray cluster has "
        "that, the largest of 2 has 4 GPU(s), 2 CPU core(s) and "
    )
    made = {event.step_key for event in ended.of_type(dg.DagsterEventType.STEP_SUCCESS)}
    assert made == {*GPUS, "interrupted"} - {"eight"}


@pytest.mark.xdist_group("ray")
def test_a_killed_step_is_made_again_and_its_journal_spares_what_was_finished(
    ended: Ended,
) -> None:
    told = [entry.message for entry in ended.events]
    assert [line for line in told if line.startswith("Submitting interrupted again (1 of 2): ")]
    asked = [
        file.read_text(encoding="ascii").split() for file in (ended.folder / "asked").iterdir()
    ]
    assert len(asked) == 2
    first, second = sorted(asked, key=len, reverse=True)
    assert len(first) == N_REQUESTS
    assert len(second) <= N_REQUESTS - DURABLE_BEFORE_THE_KILL
    times = Counter((ended.folder / "durable").read_text(encoding="ascii").split())
    assert len(times) == N_REQUESTS and max(times.values()) <= 2
    rows = Lake(root=str(ended.folder / "lake")).read("teacher_responses", CELL)
    assert rows.num_rows == N_REQUESTS


def test_a_step_fits_a_node_or_is_told_why_not() -> None:
    nodes = [
        {"GPU": 8.0, "CPU": 64.0, "memory": 400.0 * GIB},
        {"CPU": 128.0, "memory": 900.0 * GIB},
    ]
    inference = Compute(gpus=8, cpus=64, memory_gib=400)
    data = Compute(cpus=100, memory_gib=512)
    for compute in (inference, data):
        assert any(fits(_asked(compute), node) for node in nodes)
    training = _asked(Compute(gpus=16, cpus=64, memory_gib=512))
    assert not any(fits(training, node) for node in nodes)
    assert refusal("training", training, nodes).startswith(
        "training asks for 16 GPU(s), 64 CPU core(s) and 512.0 GiB; no node of the Ray cluster has "
        "that, the largest of 2 has 8 GPU(s), 64 CPU core(s) and 400.0 GiB. Lower this `compute`"
    )


def _asked(compute: Compute) -> dict[str, float]:
    return asked_of_node(
        {"dagster-ray/config": json.dumps(compute.op_tags()["dagster-ray/config"])}
    )
