"""The small lake with all that a release needs: evaluations and a trained checkpoint."""

from __future__ import annotations

import shutil
from functools import cache
from typing import Any

import dagster as dg
from support.repository import repository_with
from support.small_lake import TEXT, filled, make_small_lake
from support.training_rows import STUDENT

import checks
from dasd_assets.dagster_internals import AssetGraph
from dasd_assets.graph import BOXES
from dasd_assets.profile import Profile, load_profile
from dasd_assets.release import assets
from resources.lake.lake import Lake
from resources.lake.tables.evaluation import CHECKPOINTS

PROFILE = load_profile("tiny")
KEY = "0123abcdef"
RELEASES = ("model_release", "dataset_release")


def make_release_lake(lake: Lake) -> None:
    """Write the small lake, the tiny student as its `dasd` checkpoint, and all evaluations."""
    make_small_lake(lake)
    _select_r4(lake)
    folder = lake.checkpoint_folder("dasd", KEY)
    shutil.copytree(STUDENT, folder)
    log = '{"step": 1, "loss": 0.5}\n'
    (folder / "training_log.jsonl").write_text(log, encoding="utf-8")
    lake.publish_checkpoint("dasd", KEY)
    for benchmark in PROFILE.evaluation.benchmarks:
        put_benchmark(lake, benchmark, f"How many {benchmark} are there in all of this?")
        for checkpoint, n_correct in zip(CHECKPOINTS, (1, 2, 2, 3), strict=True):
            put_evaluation(lake, checkpoint, benchmark, n_correct)


def _select_r4(lake: Lake) -> None:
    """Of the small lake nothing was selected at the high temperature."""
    high = {"temperature": "high"}
    (r4,) = lake.read("divergence_candidates", high).to_pylist()
    r4 |= {"is_selected": True, "decision": "selected"}
    lake.write("divergence_candidates", filled("divergence_candidates", r4), high)
    about = {"question": "What is 2 + 2?", "response_text": TEXT}
    lake.write("divergence_sample", filled("divergence_sample", r4 | about), high)


def put_benchmark(lake: Lake, benchmark: str, question: str) -> None:
    row = {"question_id": f"b-{benchmark}", "benchmark": benchmark, "question": question}
    lake.write("benchmark_questions", filled("benchmark_questions", row), {"benchmark": benchmark})


def put_evaluation(lake: Lake, checkpoint: str, benchmark: str, n_correct: int) -> None:
    place = {"checkpoint": checkpoint, "benchmark": benchmark}
    answers: list[dict[str, Any]] = [
        place
        | {"question_id": f"b-{n}", "sample_index": sample, "is_correct": sample < n_correct}
        | {"finish_reason": "stop", "n_tokens": 10 + n}
        for n in range(5)
        for sample in range(4)
    ]
    lake.write("evaluation", filled("evaluation", *answers), place)


def release(
    lake: Lake,
    *names: str,
    profile: Profile = PROFILE,
    instance: dg.DagsterInstance | None = None,
    others: tuple[dg.AssetsDefinition, ...] = (),
    with_checks: bool = False,
) -> dg.ExecuteInProcessResult:
    """Make releases through Dagster; a failure is in the result."""
    wanted = {dg.AssetKey(name) for name in names}
    made = [one for one in assets.build(profile) if one.key in wanted]
    groups = [
        group
        for group in (checks.build(profile) if with_checks else [])
        if next(iter(group.check_specs)).asset_key in wanted
    ]
    with repository_with(graph()):
        return dg.materialize(
            [*others, *made, *groups],
            instance=instance,
            resources={"lake": lake},
            selection=dg.AssetSelection.assets(*wanted),
            raise_on_error=False,
        )


@cache
def graph() -> AssetGraph:
    """What is made of what in the profile; as nothing of it can be made, nothing is stale."""
    defined = [each for box in BOXES for each in box.build(PROFILE)]
    parents: dict[dg.AssetKey, set[dg.AssetKey]] = {}
    for each in defined:
        for key, deps in each.asset_deps.items():
            parents[key] = set(deps)
    specs = [dg.AssetSpec(key, deps=list(deps)) for key, deps in parents.items()]
    return dg.Definitions(assets=specs).resolve_asset_graph()


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the only failed step, the innermost cause of it."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert error is not None
    while error.cause is not None:
        error = error.cause
    return error.message
