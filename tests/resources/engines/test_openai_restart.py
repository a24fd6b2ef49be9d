"""A real `vllm serve` killed and restarted in the middle of a run."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from support.journaled import generate_with_journal
from support.vllm_server import VllmServer

from resources.engines.openai_engine import OpenAiEngine
from resources.engines.protocol import GenerationRequest, Progress, Prompt
from resources.engines.settings import OpenAiSettings

pytestmark = [pytest.mark.slow, pytest.mark.deployment("vllm")]

N_REQUESTS = 60
KILL_AFTER = 15


def test_every_request_is_answered_once_as_if_the_server_had_never_died(
    vllm_server: VllmServer, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    settings = OpenAiSettings(
        base_url=vllm_server.base_url,
        served_model=vllm_server.served_model,
        concurrency=8,
        max_attempts=10_000,
        backoff_seconds=0.1,
        max_backoff_seconds=0.5,
    )
    engine = OpenAiEngine(str(model_folders["gpt_oss"]), settings)
    requests = [
        GenerationRequest(Prompt(tuple(range(20, 30 + seed % 7))), 1.0, 1.0, 100, seed)
        for seed in range(N_REQUESTS)
    ]
    expected = {completion.key: completion for completion in engine.generate(requests)}

    restarts: list[threading.Thread] = []

    def kill_once(progress: Progress) -> None:
        if progress.done >= KILL_AFTER and not restarts:
            vllm_server.kill()
            restarts.append(threading.Thread(target=vllm_server.restart))
            restarts[0].start()

    found = list(generate_with_journal(engine, requests, tmp_path / "journal", kill_once))
    restarts[0].join()
    engine.close()
    assert len(found) == len({completion.key for completion in found}) == N_REQUESTS
    for completion in found:
        same = expected[completion.key]
        assert completion.token_ids.tolist() == same.token_ids.tolist()
        assert completion.finish_reason == same.finish_reason
        np.testing.assert_allclose(completion.logprobs, same.logprobs, atol=1e-4)
