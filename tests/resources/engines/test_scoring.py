"""Scoring equals the plain computation with full logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from resources.engines import scoring
from resources.engines.protocol import ScoringRequest
from resources.engines.scoring import batches_by_length, score_batch
from resources.engines.transformers_engine import TransformersEngine

pytestmark = pytest.mark.slow


def requests(n: int = 9) -> list[ScoringRequest]:
    rng = np.random.default_rng(3)
    return [
        ScoringRequest(
            str(i),
            tuple(rng.integers(0, 350, 1 + 3 * (i % 4)).tolist()),
            tuple(rng.integers(0, 350, 1 + 5 * i).tolist()),
        )
        for i in range(n)
    ]


def plain(
    engine: TransformersEngine, r: ScoringRequest
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logprobs, ranks, and distance to the nearest other logit, from the full logits."""
    start = len(r.prompt_token_ids)
    with torch.inference_mode():
        logits = engine._model(torch.tensor([(*r.prompt_token_ids, *r.token_ids)])).logits[0]
    logits = logits[start - 1 : -1].float()
    targets = torch.tensor(r.token_ids)[:, None]
    chosen = logits.gather(1, targets)
    order = logits.argsort(-1, descending=True)
    gaps = (logits - chosen).abs().scatter(1, targets, float("inf")).min(-1).values
    ranks = (order == targets).int().argmax(-1) + 1
    return logits.log_softmax(-1).gather(1, targets)[:, 0], ranks, gaps


@pytest.mark.parametrize("positions", [1, 3, 256])
def test_equals_full_logits_in_any_chunks(
    engine: TransformersEngine, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK_POSITIONS", {"cpu": positions})
    monkeypatch.setattr(scoring, "CACHE_BYTES", 0)
    scored = score_batch(engine._model, requests(), pad_id=0)
    assert [s.key for s in scored] == [r.key for r in requests()]
    for scores, r in zip(scored, requests(), strict=True):
        logprobs, ranks, gaps = plain(engine, r)
        np.testing.assert_allclose(scores.logprobs, logprobs.numpy(), atol=1e-4)
        # Two logits closer than float32 rounding may change places between batch shapes.
        apart = (gaps > 1e-5).numpy()
        assert apart.mean() > 0.9 or len(apart) < 10
        assert scores.ranks[apart].tolist() == ranks.numpy()[apart].tolist()
        assert (scores.logprobs.dtype, scores.ranks.dtype) == (np.float32, np.int32)


def test_the_pad_id_and_the_batch_do_not_matter(engine: TransformersEngine) -> None:
    together = score_batch(engine._model, requests(), pad_id=0)
    other_pad = score_batch(engine._model, requests(), pad_id=350)
    for a, b, r in zip(together, other_pad, requests(), strict=True):
        alone = score_batch(engine._model, [r], pad_id=0)[0]
        np.testing.assert_array_equal(a.logprobs, b.logprobs)
        np.testing.assert_allclose(a.logprobs, alone.logprobs, atol=1e-4)


def test_greedy_tokens_rank_first(engine: TransformersEngine) -> None:
    prompt = (5, 6, 7)
    with torch.inference_mode():
        best = int(engine._model(torch.tensor([prompt])).logits[0, -1].argmax())
    assert score_batch(engine._model, [ScoringRequest("a", prompt, (best,))], 0)[0].ranks == [1]


def test_batches_hold_everything_once_within_the_budget() -> None:
    batches = list(batches_by_length(requests(), max_tokens=60))
    assert sorted(r.key for batch in batches for r in batch) == sorted(r.key for r in requests())
    assert 1 < len(batches) < 9
    for batch in batches:
        widths = [len(r.prompt_token_ids) + len(r.token_ids) for r in batch]
        assert len(batch) * max(widths) <= 60
    # One request beyond the budget still gets its turn, alone.
    assert [len(batch) for batch in batches_by_length(requests(3), 1)] == [1, 1, 1]


def test_a_token_needs_a_prompt_to_follow(engine: TransformersEngine) -> None:
    with pytest.raises(ValueError, match="b: no prompt"):
        score_batch(
            engine._model, [ScoringRequest("a", (1,), (2,)), ScoringRequest("b", (), (2,))], 0
        )
    nothing = score_batch(engine._model, [ScoringRequest("a", (1,), ())], 0)[0]
    assert (len(nothing.logprobs), len(nothing.ranks)) == (0, 0)


def test_scores_come_batch_by_batch(engine: TransformersEngine) -> None:
    before = engine._scoring_tokens
    engine._scoring_tokens = 1
    passes = []
    hook = engine._model.base_model.register_forward_hook(lambda *_: passes.append(1))
    try:
        first = next(engine.score(requests()))
        assert (first.key, len(passes)) == ("7", 1)  # the longest, and no other has been run
    finally:
        hook.remove()
        engine._scoring_tokens = before


def test_tied_tokens_share_the_better_rank() -> None:
    layer = torch.nn.Linear(2, 5, bias=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0], [3, 0], [3, 0], [0, 0], [2, 0]]))
        layer.bias.copy_(torch.tensor([0.0, 0, 0, 0, 2]))
    hidden = torch.tensor([[1.0, 0.0]]).expand(5, 2)
    with torch.inference_mode():
        logprobs, ranks = scoring.logprobs_and_ranks(hidden, torch.arange(5), layer)
        expected = layer(hidden[:1]).log_softmax(-1)[0]
    assert ranks.tolist() == [4, 2, 2, 5, 1]
    torch.testing.assert_close(logprobs, expected)


def wide_model() -> Qwen3ForCausalLM:
    """A vocabulary a thousand times as wide as the hidden states."""
    torch.manual_seed(5)
    config = Qwen3Config(
        vocab_size=50_000, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, initializer_range=0.3,
        max_position_embeddings=32_768, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def long_request(n_tokens: int) -> ScoringRequest:
    ids = np.random.default_rng(n_tokens).integers(0, 50_000, n_tokens).tolist()
    return ScoringRequest("long", tuple(ids[:8]), tuple(ids[8:]))


def allocations(call: Callable[[], object]) -> tuple[int, int]:
    """Bytes of the largest allocation on CPU, and of all that were held at once."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(sizes), int(np.cumsum(sizes).max())


def test_memory_does_not_grow_with_length_times_vocabulary() -> None:
    model, n = wide_model(), 4_096
    chunk = scoring.CHUNK_POSITIONS["cpu"] * 50_000 * 4
    held = {}
    for length in (n, 2 * n):
        request = long_request(length)
        largest, held[length] = allocations(partial(score_batch, model, [request], 0))
        assert largest == chunk  # a full sequence's logits are 16 and 32 times as large
    # What grows is hidden states: far less than one more vocabulary's width of anything.
    assert held[2 * n] - held[n] < n * 50_000 * 4 / 100
    plain_largest, _ = allocations(lambda: plain_logits(model, long_request(n)))
    assert plain_largest == (n - 8) * 50_000 * 4


def plain_logits(model: Qwen3ForCausalLM, request: ScoringRequest) -> torch.Tensor:
    ids = torch.tensor([(*request.prompt_token_ids, *request.token_ids)])
    with torch.inference_mode():
        return model(ids, logits_to_keep=len(request.token_ids)).logits


def test_no_attention_mask_is_quadratic_in_the_length() -> None:
    model, n = wide_model(), 16_384
    rows = [long_request(n), long_request(n // 2)]  # padding included
    largest, _ = allocations(
        lambda: score_batch(model, [ScoringRequest(r.key, r.token_ids, (7,)) for r in rows], 0)
    )
    assert largest < n * n / 8  # one byte per pair would be n * n


def test_bfloat16_stays_close_to_float32() -> None:
    """The product is rounded to bfloat16 (8 bits): within 2**-7 of the largest logit's size."""
    torch.manual_seed(6)
    layer = torch.nn.Linear(64, 5_000, bias=False)
    hidden, targets = torch.randn(300, 64), torch.randint(0, 5_000, (300,))
    half = torch.nn.Linear(64, 5_000, bias=False, dtype=torch.bfloat16)
    half.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        exact, _ = scoring.logprobs_and_ranks(
            hidden.bfloat16().float(), targets, layer.bfloat16().float()
        )
        rounded, ranks = scoring.logprobs_and_ranks(hidden.bfloat16(), targets, half)
        logits = half(hidden.bfloat16()).float()
    largest = logits.abs().max().item()
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max().item() < 2**-7 * largest
    # Against the same rounded logits in full, nothing but float32 softmax is left.
    full = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(rounded, full, atol=1e-4, rtol=0)
    above = (logits > logits.gather(1, targets[:, None])).sum(-1) + 1
    assert ranks.tolist() == above.tolist()
