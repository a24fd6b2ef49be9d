"""Sampling: reproducible per request, the right distribution, raw logprobs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from resources.engines.decode import NOISE_BLOCK, sample_batch
from resources.engines.protocol import (
    Completion,
    ContextLengthError,
    GenerationRequest,
    Prompt,
    ScoringRequest,
)
from resources.engines.transformers_engine import TransformersEngine

pytestmark = pytest.mark.slow

PROMPTS = [tuple(range(20, 20 + n)) for n in (3, 12, 7, 1, 17)]
NEVER = frozenset({352})
"""An id beyond the vocabulary, as the only stop: answers that run to their caps."""


def request(index: int = 0, **changes: object) -> GenerationRequest:
    plain = GenerationRequest(Prompt(PROMPTS[index % 5]), 1.0, 1.0, 20, 100 + index)
    return replace(plain, **changes)  # type: ignore[arg-type]


def answers(
    engine: TransformersEngine,
    requests: list[GenerationRequest],
    stop_ids: frozenset[int] = NEVER,
) -> list[Completion]:
    """Completions of one batch, in the order of its requests."""
    keys = [str(index) for index in range(len(requests))]
    found = {c.key: c for c in sample_batch(engine._model, requests, keys, stop_ids, 0)}
    return [found[key] for key in keys]


def next_logits(engine: TransformersEngine, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.inference_mode():
        return engine._model(torch.tensor([tokens])).logits[0, -1].float()


def test_tokens_depend_on_neither_order_nor_batch(engine: TransformersEngine) -> None:
    requests = [request(i, temperature=(0.0, 0.7, 1.3)[i % 3]) for i in range(11)]
    shuffled = random.Random(1).sample(requests, len(requests))
    batched = {c.key: c for c in engine.generate(requests)}
    reordered = {c.key: c for c in engine.generate(shuffled)}
    alone = {c.key: c for r in requests for c in engine.generate([r])}
    assert set(batched) == {r.key(engine.identity) for r in requests}
    for key, completion in alone.items():
        for other in (batched[key], reordered[key]):
            assert completion.token_ids.tolist() == other.token_ids.tolist()
            assert completion.finish_reason == other.finish_reason
            np.testing.assert_allclose(completion.logprobs, other.logprobs, atol=1e-4)


def test_seeds_differ(engine: TransformersEngine) -> None:
    texts = {tuple(c.token_ids) for c in answers(engine, [request(seed=s) for s in range(8)])}
    assert len(texts) == 8


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.5])
def test_logprobs_are_raw_at_any_temperature(
    engine: TransformersEngine, temperature: float
) -> None:
    requests = [request(i, temperature=temperature, top_p=0.9) for i in range(5)]
    completions = answers(engine, requests)
    scored = engine.score(
        [
            ScoringRequest(c.key, r.prompt.token_ids, tuple(c.token_ids.tolist()))
            for c, r in zip(completions, requests, strict=True)
        ]
    )
    by_key = {scores.key: scores.logprobs for scores in scored}
    for completion in completions:
        np.testing.assert_allclose(completion.logprobs, by_key[completion.key], atol=1e-4)


def test_greedy_is_argmax(engine: TransformersEngine) -> None:
    greedy = request(1, temperature=0.0)
    tokens = greedy.prompt.token_ids
    for token in answers(engine, [greedy])[0].token_ids.tolist():
        assert token == next_logits(engine, tokens).argmax()
        tokens = (*tokens, token)


def outside_nucleus(engine: TransformersEngine, r: GenerationRequest, top_p: float) -> int:
    """How many sampled tokens have likelier ones that already reach top_p."""
    tokens, outside = r.prompt.token_ids, 0
    for token in answers(engine, [r])[0].token_ids.tolist():
        probabilities = (next_logits(engine, tokens) / r.temperature).softmax(-1)
        likelier = probabilities[probabilities > probabilities[token]].sum()
        outside += bool(likelier >= top_p + 1e-4)
        tokens = (*tokens, token)
    return outside


def test_top_p_samples_the_nucleus_only(engine: TransformersEngine) -> None:
    wide = request(2, temperature=1.5, max_tokens=40)
    assert outside_nucleus(engine, replace(wide, top_p=0.3), 0.3) == 0
    assert outside_nucleus(engine, wide, 0.3) > 0
    tiny, greedy = answers(engine, [replace(wide, top_p=1e-6), replace(wide, temperature=0.0)])
    assert tiny.token_ids.tolist() == greedy.token_ids.tolist()


@pytest.mark.parametrize("temperature", [0.6, 1.5])
def test_frequencies_follow_the_tempered_distribution(
    engine: TransformersEngine, temperature: float
) -> None:
    n = 3000
    requests = [request(0, temperature=temperature, max_tokens=1, seed=s) for s in range(n)]
    counts = Counter(int(c.token_ids[0]) for c in answers(engine, requests))
    expected = (next_logits(engine, PROMPTS[0]) / temperature).softmax(-1)
    for token in expected.topk(8).indices.tolist():
        p = float(expected[token])
        assert abs(counts[token] / n - p) < 4.5 * (p * (1 - p) / n) ** 0.5


def test_max_tokens_and_stop_token(engine: TransformersEngine) -> None:
    whole = answers(engine, [request(0)])[0]
    assert (len(whole.token_ids), whole.finish_reason) == (20, "length")
    tokens = whole.token_ids.tolist()
    stop = tokens[9]
    stopped = answers(engine, [request(0), request(4)], frozenset({stop}))[0]
    assert stopped.token_ids.tolist() == tokens[: tokens.index(stop) + 1]
    assert stopped.finish_reason == "stop"
    # A stop token in the last place allowed is a stop, not a cut.
    last = request(0, max_tokens=tokens.index(stop) + 1)
    assert answers(engine, [last], frozenset({stop}))[0].finish_reason == "stop"


def test_compaction_changes_nothing(engine: TransformersEngine) -> None:
    caps = (2, NOISE_BLOCK + 20, 3, NOISE_BLOCK, 2, 5, NOISE_BLOCK + 1)
    requests = [request(i, max_tokens=cap) for i, cap in enumerate(caps)]
    for completion, r in zip(answers(engine, requests), requests, strict=True):
        alone = answers(engine, [r])[0]
        assert len(completion.token_ids) == r.max_tokens
        assert completion.token_ids.tolist() == alone.token_ids.tolist()
        np.testing.assert_allclose(completion.logprobs, alone.logprobs, atol=1e-4)


def test_prefix_continues_the_prompt(engine: TransformersEngine) -> None:
    split = request(1, prefix_token_ids=(40, 41, 42))
    joined = replace(split, prompt=Prompt((*PROMPTS[1], 40, 41, 42)), prefix_token_ids=())
    a, b = answers(engine, [split, joined])
    assert a.token_ids.tolist() == b.token_ids.tolist()
    assert a.token_ids.tolist() != answers(engine, [request(1)])[0].token_ids.tolist()


def test_context_is_checked_before_any_sampling(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = request(0, max_tokens=253)
    beyond = request(0, max_tokens=254)
    assert engine.check(fits) is None
    assert "254 new ones" in str(engine.check(beyond))
    forward_passes: list[object] = []
    monkeypatch.setattr(engine, "_model", lambda **inputs: forward_passes.append(inputs))
    with pytest.raises(ContextLengthError, match=beyond.key(engine.identity)[:12]):
        list(engine.generate([request(1), beyond]))
    with pytest.raises(ContextLengthError, match="257 tokens"):
        list(engine.score([ScoringRequest("long", (1,), (2,) * 256)]))
    assert not forward_passes


def test_render_uses_the_models_template(engine: TransformersEngine) -> None:
    prompt = engine.render([{"role": "user", "content": "2 + 3?"}])
    expected = "<|im_start|>user\n2 + 3?<|im_end|>\n<|im_start|>assistant\n"
    assert engine.tokenizer.decode(prompt.token_ids) == expected
    assert prompt.messages == (("user", "2 + 3?"),)
