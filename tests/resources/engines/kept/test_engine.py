"""A kept engine answers as vLLM does in the step's own process, or says why it cannot."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.training_rows import STUDENT

from resources.engines.journal import finish_requests
from resources.engines.kept.engine import KeptVllmEngine, kept_model
from resources.engines.kept.place import EnginePlaceError, Place
from resources.engines.kept.server import options
from resources.engines.model_folder import ModelFolder, inspect_model
from resources.engines.openai_servers import WrongModelError
from resources.engines.protocol import EngineUnavailableError, GenerationRequest, ScoringRequest
from resources.engines.settings import VllmSettings

from .conftest import KEPT_SERVER, Bench

SETTINGS = VllmSettings(max_model_len=512, keep_alive_seconds=60.0)


@pytest.fixture(scope="module")
def folder() -> ModelFolder:
    return inspect_model(str(STUDENT))


@pytest.fixture(autouse=True)
def vllm_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.engines.kept.engine.version", lambda build: "0.32.0")


@pytest.mark.parametrize(
    ("changed", "is_the_same"),
    [
        ({}, True),
        ({"keep_alive_seconds": 5.0}, True),
        ({"max_model_len": 256}, False),
        ({"dtype": "float32"}, False),
        ({"engine_arguments": {"seed": 1}}, False),
        ({"gpus": 2}, False),
        ({"content": "another revision's"}, False),
        ({"CUDA_VISIBLE_DEVICES": "3"}, False),
        ({"vllm": "0.33.0"}, False),
    ],
)
def test_what_makes_it_another_engine(
    folder: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, object],
    is_the_same: bool,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    before = kept_model(folder, SETTINGS, 1)
    gpus = changed.pop("gpus", 1)
    if content := changed.pop("content", None):
        folder = replace(folder, content_hash=content)
    if visible := changed.pop("CUDA_VISIBLE_DEVICES", None):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(visible))
    if installed := changed.pop("vllm", None):
        monkeypatch.setattr("resources.engines.kept.engine.version", lambda build: installed)
    after = kept_model(folder, SETTINGS.model_copy(update=changed), gpus)  # type: ignore[arg-type]
    assert (after.served_model == before.served_model) == is_the_same


def test_engine_arguments_on_the_command_line() -> None:
    given = {
        "max_model_len": 9, "enforce_eager": True, "enable_prefix_caching": False, "seed": None,
        "hf_overrides": {"a": [1]}, "middleware": ["x", "y"],
    }  # fmt: skip
    assert list(options(given)) == [
        "--max-model-len", "9", "--enforce-eager", "--no-enable-prefix-caching",
        "--hf-overrides", '{"a": [1]}', "--middleware", "x", "y",
    ]  # fmt: skip


def test_a_folder_whose_path_is_too_long_for_sockets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(EnginePlaceError, match="Set TMPDIR to a folder with a shorter path"):
        Place.of("1")


def open_engine(bench: Bench) -> KeptVllmEngine:
    engine = KeptVllmEngine(str(STUDENT), SETTINGS, None, 0, bench.said.append, KEPT_SERVER)
    bench.place = engine._borrowed.place
    return engine


def requests(engine: KeptVllmEngine, n: int) -> list[GenerationRequest]:
    prompt = engine.render([{"role": "user", "content": "What is 2 + 3?"}])
    return [GenerationRequest(prompt, 1.0, 1.0, 24, seed) for seed in range(n)]


@pytest.mark.slow
def test_it_is_vllm_to_the_pipeline_and_another_models_answers_are_refused(
    engine: Bench, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_SERVER", "answer")
    kept = open_engine(engine)
    assert (kept.identity.model, kept.identity.engine) == ("student", "vllm")
    assert kept.identity.revision == folder.content_hash[:16]  # as in the step's own process
    assert len(list(kept.generate(requests(kept, 3)))) == 3
    whole = ScoringRequest("a", tuple(range(100)), tuple(range(412)))  # all of the context
    [scores] = kept.score([whole])
    assert len(scores.logprobs) == 412
    kept._settings = kept._settings.model_copy(update={"served_model": "student@another"})
    with pytest.raises(WrongModelError, match="asked for 'student@another' and answered with"):
        list(kept.generate(requests(kept, 1)))
    kept.close()


@pytest.mark.slow
def test_a_server_that_is_killed_while_it_answers_fails_the_step_which_then_goes_on(
    engine: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT_SERVER", "answer")
    monkeypatch.setenv("KEPT_SERVER_DIES_AT", "5")
    kept = open_engine(engine)
    kept._settings = kept._settings.model_copy(update={"concurrency": 1})
    kept._client._settings = kept._settings
    asked, journal = requests(kept, 8), tmp_path / "journal"
    with pytest.raises(EngineUnavailableError) as told:
        finish_requests(kept, asked, journal)
    assert "vLLM with student ended while it was asked" in str(told.value)
    assert "was killed by signal 9" in str(told.value)
    kept.close()
    monkeypatch.delenv("KEPT_SERVER_DIES_AT")
    again = open_engine(engine)
    left: list[int] = []
    generate = again.generate
    monkeypatch.setattr(
        again, "generate", lambda those, *rest: left.append(len(those)) or generate(those, *rest)
    )
    finish_requests(again, asked, journal)
    assert left == [4] and len(engine.starts()) == 2  # four of eight were finished
    again.close()
    os.kill(again._borrowed.running.pid, 15)
