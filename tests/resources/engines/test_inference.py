"""Where a model is loaded: in the step's process, or where the next step finds it."""

from __future__ import annotations

from typing import Any

import pytest

from dasd_assets.graph import inference_model
from dasd_assets.profile import load_profile
from resources.compute import gpu_lease
from resources.engines.inference import InferenceModel

KEPT, HERE = "kept", "in the step's process"


class Engine:
    """Loaded, wherever."""

    def write_as(self, settings: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("engine", "gpus", "visible", "held", "where"),
    [
        ({"kind": "vllm"}, 1, "0,1", {}, KEPT),
        ({"kind": "vllm"}, 0, "", {}, KEPT),
        ({"kind": "vllm", "keep_alive_seconds": 0}, 1, "0,1", {}, HERE),
        ({"kind": "vllm"}, 1, "0,1", {"0": 9}, HERE),  # nobody else gets what the step holds
        ({"kind": "vllm"}, 0, "0,1", {}, HERE),  # nobody could ask for a GPU that none declares
        ({"kind": "transformers"}, 1, "0,1", {}, HERE),
    ],
)
def test_where_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
    engine: dict[str, Any],
    gpus: int,
    visible: str,
    held: dict[str, int],
    where: str,
) -> None:
    loaded: list[str] = []
    for name, place in (("load_kept_engine", KEPT), ("load_engine", HERE)):

        def load(*_: Any, place: str = place) -> Engine:
            loaded.append(place)
            return Engine()

        monkeypatch.setattr(f"resources.engines.load.{name}", load)
    monkeypatch.setattr("resources.engines.inference.lease_gpus", lambda *_: [])
    monkeypatch.setattr("resources.engines.inference._use_threads", lambda threads: None)
    monkeypatch.setattr(gpu_lease, "_held", held)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with InferenceModel(path="a-model", engine=engine, gpus=gpus).open():
        pass
    assert loaded == [where]


@pytest.mark.parametrize(
    ("executor", "seconds"), [(None, 300.0), ("kubernetes", 0.0), ("ray", 0.0)]
)
def test_nothing_outlives_a_job_of_a_cluster(
    monkeypatch: pytest.MonkeyPatch, executor: str | None, seconds: float
) -> None:
    if executor:
        monkeypatch.setenv("DASD_EXECUTOR", executor)
    profile = load_profile("dasd-4b")
    assert profile.teacher
    model = inference_model(profile.teacher, profile.compute.teacher_inference)
    assert model.engine["keep_alive_seconds"] == seconds
