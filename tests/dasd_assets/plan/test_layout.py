"""What is started on the declared GPUs."""

from __future__ import annotations

import pytest

from dasd_assets.plan.layout import inference_layout, layout, training_layout
from dasd_assets.profile import load_profile
from resources.engines.settings import (
    EngineSettings,
    OpenAiSettings,
    SyntheticSettings,
    TransformersSettings,
    VllmSettings,
)


def test_the_papers_layout() -> None:
    placed = {one.work: one for one in layout(load_profile("dasd-4b"))}
    teacher = placed["teacher.engine"]
    assert (teacher.gpus, teacher.pool, teacher.how) == (
        8, "teacher", "vLLM, 4 copies, tensor parallel 2 each",
    )  # fmt: skip
    assert placed["base_student.engine"].how == "vLLM, the model whole"
    training = placed["temperature_scheduled_learning"]
    assert training.gpus == 16
    # 64 sequences a step over 16 processes of one sequence.
    assert training.how == (
        "16 process(es), DeepSpeed ZeRO-3, 4 pass(es) of 1 x 65,536 tokens a step"
    )


def test_training_over_several_machines_says_how_many() -> None:
    training = load_profile("dasd-4b").temperature_scheduled_learning
    assert training_layout(training, 2).startswith(
        "16 process(es) (8 on each of 2), DeepSpeed ZeRO-3, 4 pass(es) of 1 x"
    )


@pytest.mark.parametrize(
    ("engine", "how"),
    [
        (TransformersSettings(), "transformers, the model whole"),
        (VllmSettings(), "vLLM, the model whole"),
        (VllmSettings(tensor_parallel_size=2), "vLLM, tensor parallel 2"),
        (VllmSettings(data_parallel_size=2), "vLLM, 2 copies, the model whole"),
        (
            VllmSettings(tensor_parallel_size=8, pipeline_parallel_size=2, data_parallel_size=3),
            "vLLM, 3 copies, tensor parallel 8, pipeline parallel 2 each",
        ),
        (
            OpenAiSettings(base_urls=("http://a/v1", "http://b/v1"), served_model="m"),
            "2 servers elsewhere, 64 requests at once",
        ),
        (
            OpenAiSettings(base_url="http://127.0.0.1/v1", served_model="m", concurrency=9),
            "a server elsewhere, 9 requests at once",
        ),
        (SyntheticSettings(), "no model: answers are made up, for a rehearsal"),
    ],
)
def test_an_engines_layout(engine: EngineSettings, how: str) -> None:
    assert inference_layout(engine) == how
