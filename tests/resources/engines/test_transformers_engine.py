"""The embedded engine on the shipped tiny models: exact, seeded, and itself its own oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from dasd_assets.profile import PROJECT_ROOT
from resources.engines import scoring
from resources.engines.protocol import ContextLengthError, GenerationRequest, ScoringRequest
from resources.engines.transformers_engine import TransformersEngine

QUESTIONS = [
    "What is 23 plus 45?",
    "Write the words red, blue and green in reverse order.",
    "Which element has atomic number 8? A) Carbon B) Oxygen C) Iron D) Gold",
]


@pytest.fixture(scope="module", params=["teacher", "student"])
def engine(request: pytest.FixtureRequest) -> Iterator[TransformersEngine]:
    torch.set_num_threads(1)
    folder = PROJECT_ROOT / "tiny_world" / "models" / request.param
    loaded = TransformersEngine(str(folder), batch_size=16, scoring_tokens=4_096)
    yield loaded
    loaded.close()


def requests(engine: TransformersEngine, n: int, **settings: float) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            prompt_token_ids=tuple(
                engine.render(
                    [
                        {"role": "system", "content": "You are a helpful assistant."},
                        {"role": "user", "content": QUESTIONS[index % len(QUESTIONS)]},
                    ]
                )
            ),
            temperature=settings.get("temperature", 1.0),
            top_p=settings.get("top_p", 1.0),
            max_tokens=int(settings.get("max_tokens", 60)),
            seed=index,
        )
        for index in range(n)
    ]


def score(
    engine: TransformersEngine, request: GenerationRequest, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    asked = ScoringRequest("x", request.prompt_token_ids, tuple(tokens.tolist()))
    (scores,) = engine.score([asked])
    return scores.logprobs, scores.ranks


def test_a_request_has_the_same_answer_in_any_batch(engine: TransformersEngine) -> None:
    asked = requests(engine, 20)
    together = {c.key: c for c in engine.generate(asked)}
    assert len(together) == 20
    for request in (asked[0], asked[7], asked[19]):
        (alone,) = engine.generate([request])
        assert alone.token_ids.tolist() == together[alone.key].token_ids.tolist()
        np.testing.assert_allclose(alone.logprobs, together[alone.key].logprobs, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.3])
def test_logprobs_are_raw_whatever_the_temperature(
    engine: TransformersEngine, temperature: float
) -> None:
    for request in requests(engine, 3, temperature=temperature):
        (completion,) = engine.generate([request])
        logprobs, ranks = score(engine, request, completion.token_ids)
        np.testing.assert_allclose(completion.logprobs, logprobs, atol=1e-4)
        if temperature == 0.0:
            assert set(ranks.tolist()) == {1}


def test_a_tiny_nucleus_is_greedy(engine: TransformersEngine) -> None:
    (request,) = requests(engine, 1, top_p=1e-6)
    (nucleus,) = engine.generate([request])
    (greedy,) = engine.generate([replace(request, temperature=0.0)])
    assert nucleus.token_ids.tolist() == greedy.token_ids.tolist()


def test_sampling_follows_the_models_own_distribution(engine: TransformersEngine) -> None:
    (request,) = requests(engine, 1, max_tokens=1)
    drawn = [
        c.token_ids[0]
        for c in engine.generate([replace(request, seed=seed) for seed in range(2_000)])
    ]
    tokens, counts = np.unique(drawn, return_counts=True)
    for token, count in zip(tokens, counts, strict=True):
        p = float(np.exp(score(engine, request, np.array([token]))[0][0]))
        assert abs(count / 2_000 - p) < 5 * np.sqrt(p * (1 - p) / 2_000) + 1e-3


def test_answers_end_at_a_stop_token_or_at_their_own_cap(engine: TransformersEngine) -> None:
    asked = [replace(r, max_tokens=5 + 3 * r.seed) for r in requests(engine, 16)]
    caps = {r.key(engine.identity): r.max_tokens for r in asked}
    stops = engine._stop_ids
    for completion in engine.generate(asked):
        tokens = completion.token_ids.tolist()
        assert len(tokens) == len(completion.logprobs) <= caps[completion.key]
        if completion.finish_reason == "length":
            assert len(tokens) == caps[completion.key]
            assert tokens[-1] not in stops
        else:
            assert tokens[-1] in stops
        assert not stops & set(tokens[:-1])


def test_continuing_a_prefix_is_asking_with_a_longer_prompt(engine: TransformersEngine) -> None:
    (request,) = requests(engine, 1, max_tokens=30)
    (whole,) = engine.generate([replace(request, temperature=0.0)])
    head = tuple(whole.token_ids[:8].tolist())
    (rest,) = engine.generate([replace(request, temperature=0.0, prefix_token_ids=head)])
    n = len(whole.token_ids) - 8
    assert rest.token_ids[:n].tolist() == whole.token_ids[8:].tolist()


def test_what_does_not_fit_is_refused_before_anything_is_sampled(
    engine: TransformersEngine,
) -> None:
    good, bad = requests(engine, 1)[0], requests(engine, 1, max_tokens=100_000)[0]
    assert engine.check(good) is None
    assert "beyond the context" in str(engine.check(bad))
    with pytest.raises(ContextLengthError, match="100000 new ones are beyond the context"):
        next(engine.generate([good, bad]))


def test_scores_equal_the_full_logits(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(engine, 6, max_tokens=40)
    answers = {c.key: c.token_ids for c in engine.generate(asked)}
    scoring_requests = [
        ScoringRequest(
            str(index), r.prompt_token_ids, tuple(answers[r.key(engine.identity)].tolist())
        )
        for index, r in enumerate(asked)
    ]
    monkeypatch.setattr(scoring, "LOGITS_BYTES", 1 << 14)  # several chunks of positions
    scores = {s.key: s for s in engine.score(scoring_requests)}
    for request in scoring_requests:
        ids = torch.tensor([[*request.prompt_token_ids, *request.token_ids]])
        start = len(request.prompt_token_ids) - 1
        with torch.inference_mode():
            logits = engine._model(ids).logits[0, start:-1].float()
        targets = torch.tensor(request.token_ids)[:, None]
        expected = logits.log_softmax(-1).gather(1, targets)[:, 0].numpy()
        ranks = (logits > logits.gather(1, targets)).sum(-1).numpy() + 1
        np.testing.assert_allclose(scores[request.key].logprobs, expected, atol=1e-4)
        # Two tokens within rounding of each other may change places.
        assert (scores[request.key].ranks == ranks).mean() > 0.98


def test_the_key_covers_everything_that_shapes_the_answer(engine: TransformersEngine) -> None:
    (request,) = requests(engine, 1)
    variants = [
        request,
        replace(request, seed=9),
        replace(request, temperature=0.9),
        replace(request, top_p=0.9),
        replace(request, max_tokens=61),
        replace(request, prompt_token_ids=request.prompt_token_ids[1:]),
        replace(request, prefix_token_ids=(1,)),
    ]
    keys = {r.key(engine.identity) for r in variants}
    keys.add(request.key(replace(engine.identity, revision="other")))
    assert len(keys) == len(variants) + 1
