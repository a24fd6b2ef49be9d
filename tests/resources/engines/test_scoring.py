"""Scoring equals the plain computation with full logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resources.engines import scoring
from resources.engines.protocol import ScoringRequest
from resources.engines.scoring import batches_by_length, score_batch
from resources.engines.transformers_engine import TransformersEngine


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


@pytest.mark.parametrize("logits_bytes", [1, 3 * 4 * 352, scoring.LOGITS_BYTES])
def test_equals_full_logits_in_any_chunks(
    engine: TransformersEngine, logits_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "LOGITS_BYTES", logits_bytes)
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
