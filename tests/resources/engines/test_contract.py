"""What every engine keeps to: transformers, vLLM in process, and `vllm serve` over HTTP.

vLLM's attention on CPU takes head sizes from 32 on, hence the shape of the untrained models.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.protocol import (
    Completion,
    ContextLengthError,
    GenerationRequest,
    InferenceEngine,
    Progress,
    Prompt,
    ScoringRequest,
    TokenScores,
)
from resources.engines.transformers_engine import TransformersEngine

pytestmark = [pytest.mark.slow, pytest.mark.deployment("vllm")]

MESSAGES = [
    {"role": "system", "content": "Antworte kurz: 思考 🙂"},
    {"role": "user", "content": "What is 2 + 3?"},
]
ATOL = 1e-3


def ask(engine: InferenceEngine, n: int = 12, **changes: object) -> list[GenerationRequest]:
    """Requests for answers to one question that differ in their seeds."""
    plain = GenerationRequest(engine.render(MESSAGES), 1.0, 1.0, 24, 0)
    return [replace(plain, seed=2**40 + i, **changes) for i in range(n)]  # type: ignore[arg-type]


def answers(engine: InferenceEngine, requests: list[GenerationRequest]) -> list[Completion]:
    """Completions in the order of the requests."""
    found = {completion.key: completion for completion in engine.generate(requests)}
    return [found[request.key(engine.identity)] for request in requests]


def scores(engine: InferenceEngine, requests: list[ScoringRequest]) -> list[TokenScores]:
    """Scores in the order of the requests."""
    found = {found.key: found for found in engine.score(requests)}
    return [found[request.key] for request in requests]


def given(prompt: tuple[int, ...], completions: list[Completion]) -> list[ScoringRequest]:
    return [ScoringRequest(c.key, prompt, tuple(c.token_ids.tolist())) for c in completions]


def next_logits(reference: TransformersEngine, tokens: tuple[int, ...]) -> torch.Tensor:
    """Float32 logits (positions, vocabulary), computed plainly."""
    with torch.inference_mode():
        return reference._model(torch.tensor([tokens])).logits[0].float()


def random_tokens(reference: TransformersEngine, n: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(reference._model.config.vocab_size), k=n))


def test_each_request_is_answered_once_under_its_key(contract_engine: InferenceEngine) -> None:
    requests = ask(contract_engine, 40)
    progress: list[Progress] = []
    found = list(contract_engine.generate(requests, progress.append))
    assert Counter(c.key for c in found) == Counter(
        r.key(contract_engine.identity) for r in requests
    )
    done = [p.done for p in progress]
    assert done == sorted(done) and done[-1] == 40
    assert progress[-1].n_tokens == sum(len(c.token_ids) for c in found)
    for completion in found:
        assert (completion.token_ids.dtype, completion.logprobs.dtype) == (np.int32, np.float32)
        assert len(completion.logprobs) == len(completion.token_ids) > 0


def test_a_seed_repeats_its_answer_and_others_differ(contract_engine: InferenceEngine) -> None:
    requests = ask(contract_engine, 16, temperature=1.5)  # the shipped teacher is sure of itself
    first = answers(contract_engine, requests)
    for once, again in zip(first, answers(contract_engine, requests[::-1])[::-1], strict=True):
        assert once.token_ids.tolist() == again.token_ids.tolist()
        np.testing.assert_allclose(once.logprobs, again.logprobs, atol=ATOL)
    assert len({tuple(c.token_ids.tolist()) for c in first}) > 12


def test_logprobs_are_the_models_own(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    requests = ask(contract_engine, 8, temperature=0.6, top_p=0.9)
    completions = answers(contract_engine, requests)
    asked = given(requests[0].prompt.token_ids, completions)
    own, plain = scores(contract_engine, asked), scores(reference, asked)
    for completion, mine, theirs in zip(completions, own, plain, strict=True):
        np.testing.assert_allclose(completion.logprobs, mine.logprobs, atol=ATOL)
        np.testing.assert_allclose(completion.logprobs, theirs.logprobs, atol=ATOL)


def test_the_likeliest_tokens_are_the_models_own(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    requests = ask(contract_engine, 6, temperature=0.6, top_p=0.9, top_logprobs=5)
    for completion in answers(contract_engine, requests):
        assert completion.top.token_ids.shape == (len(completion.token_ids), 5)
        tokens = (*requests[0].prompt.token_ids, *completion.token_ids.tolist())
        logits = next_logits(reference, tokens)[len(requests[0].prompt.token_ids) - 1 : -1]
        expected = torch.log_softmax(logits, dim=-1)
        np.testing.assert_allclose(
            completion.top.logprobs, expected.topk(5).values.numpy(), atol=ATOL
        )
        ids = torch.from_numpy(completion.top.token_ids.astype(np.int64))
        np.testing.assert_allclose(
            completion.top.logprobs, expected.gather(1, ids).numpy(), atol=ATOL
        )


def test_temperature_0_is_the_same_greedy_answer_everywhere(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    greedy = [
        GenerationRequest(Prompt(random_tokens(reference, 20, seed)), 0.0, 1.0, 24, seed)
        for seed in range(16)
    ]
    ours, theirs = answers(contract_engine, greedy), answers(reference, greedy)
    for request, mine, expected in zip(greedy, ours, theirs, strict=True):
        assert mine.token_ids.tolist() == expected.token_ids.tolist()
        [found] = scores(contract_engine, given(request.prompt.token_ids, [mine]))
        assert set(found.ranks.tolist()) == {1}
    assert sum(len(completion.token_ids) for completion in ours) > 50


def test_answers_end_at_an_end_token_or_at_their_cap(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    ends = reference._stop_ids
    reasons = set()
    for cap, temperature in ((1, 1.0), (12, 1.0), (150, 1.3)):
        requests = ask(contract_engine, 16, max_tokens=cap, temperature=temperature)
        for completion in answers(contract_engine, requests):
            *body, last = completion.token_ids.tolist()
            reasons.add(completion.finish_reason)
            assert not ends.intersection(body)
            assert completion.finish_reason == ("stop" if last in ends else "length")
            assert len(completion.token_ids) == cap or completion.finish_reason == "stop"
    assert reasons == {"stop", "length"}


def test_continuing_a_prefix_is_as_if_it_were_in_the_prompt(
    contract_engine: InferenceEngine,
) -> None:
    for temperature in (0.0, 1.0):
        [request] = ask(contract_engine, 1, temperature=temperature)
        prompt, prefix = request.prompt.token_ids, (40, 41, 42, 43, 44)
        continued = replace(request, prefix_token_ids=prefix)
        joined = replace(request, prompt=Prompt((*prompt, *prefix)))
        ours, theirs = answers(contract_engine, [continued, joined])
        assert ours.key != theirs.key
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=ATOL)
    [greedy] = ask(contract_engine, 1, temperature=0.0)
    whole = answers(contract_engine, [greedy])[0].token_ids.tolist()
    cut = len(whole) // 2
    rest = replace(greedy, prefix_token_ids=tuple(whole[:cut]), max_tokens=24 - cut)
    assert answers(contract_engine, [rest])[0].token_ids.tolist() == whole[cut:]


def test_scores_equal_the_plain_computation(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    # Of ids that a shipped model never met the logits are all alike: these are of its questions.
    questions = (PROJECT_ROOT / "tiny_world/benchmarks/science.jsonl").read_text(encoding="utf-8")
    text = " ".join(json.loads(line)["question"] for line in questions.splitlines()[:8])
    met = contract_engine.render([{"role": "user", "content": text}]).token_ids
    requests = [
        ScoringRequest(str(i), random_tokens(reference, 3 + 40 * (i % 3), i),
                       tuple(random.Random(i).choices(met, k=1 + 17 * i)))
        for i in range(7)
    ]  # fmt: skip
    n_apart = n_all = 0
    for request, found in zip(requests, scores(contract_engine, requests), strict=True):
        start = len(request.prompt_token_ids)
        logits = next_logits(reference, (*request.prompt_token_ids, *request.token_ids))
        logits = logits[start - 1 : -1]
        targets = torch.tensor(request.token_ids)[:, None]
        expected = logits.log_softmax(-1).gather(1, targets)[:, 0]
        assert np.isfinite(found.logprobs).all()
        np.testing.assert_allclose(found.logprobs, expected.numpy(), atol=ATOL)
        chosen = logits.gather(1, targets)
        gaps = (logits - chosen).abs().scatter(1, targets, float("inf")).min(-1).values
        # Two logits closer than rounding may change places between engines.
        apart = (gaps > 1e-4).numpy()
        ranks = ((logits > chosen).sum(-1) + 1).numpy()
        assert found.ranks[apart].tolist() == ranks[apart].tolist()
        n_apart, n_all = n_apart + int(apart.sum()), n_all + len(apart)
    assert n_apart > 0.6 * n_all


def test_what_is_beyond_the_context_is_refused_before_anything_is_sampled(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    context = reference._context
    prompt = Prompt(random_tokens(reference, context - 10))
    fits = GenerationRequest(prompt, 1.0, 1.0, 10, 1)
    beyond = replace(fits, max_tokens=11)
    assert contract_engine.check(fits) is None
    assert str(context) in str(contract_engine.check(beyond))
    assert contract_engine.check(replace(fits, prefix_token_ids=(5,))) is not None
    progress: list[Progress] = []
    with pytest.raises(ContextLengthError, match=beyond.key(contract_engine.identity)[:12]):
        list(contract_engine.generate([fits, beyond], progress.append))
    too_long = ScoringRequest("too long", prompt.token_ids, random_tokens(reference, 11))
    with pytest.raises(ContextLengthError, match="too long"):
        list(contract_engine.score([too_long], progress.append))
    assert not progress
    assert len(answers(contract_engine, [fits])[0].token_ids) <= 10


def test_prompts_are_rendered_alike(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    ours = contract_engine.render(MESSAGES, reasoning_effort="high")
    assert ours == reference.render(MESSAGES, reasoning_effort="high")
    assert ours.messages[1] == ("user", "What is 2 + 3?")


def test_the_identity_tells_engine_and_logprobs(contract_engine: InferenceEngine) -> None:
    identity = contract_engine.identity
    assert type(contract_engine).__name__.lower() == f"{identity.engine}engine"
    assert identity.engine in ("transformers", "vllm", "openai")
    assert identity.logprobs_mode == "raw_logprobs"
    assert identity.engine_version[:1].isdigit()
    assert len(identity.revision) == 16


def test_cached_prefixes_leave_scores_as_they_are(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    # vLLM caches whole blocks, of 128 tokens on CPU.
    prompt = Prompt(random_tokens(reference, 200))
    asked = [
        ScoringRequest("far", prompt.token_ids, random_tokens(reference, 30, 1)),
        ScoringRequest("near", prompt.token_ids[:20], prompt.token_ids[20:]),
    ]
    before = scores(contract_engine, asked)
    requests = [GenerationRequest(prompt, 1.0, 1.0, 8, seed) for seed in range(6)]
    first, again = answers(contract_engine, requests), answers(contract_engine, requests)
    for cold, warm in zip(first, again, strict=True):
        assert cold.token_ids.tolist() == warm.token_ids.tolist()
    after, plain = scores(contract_engine, asked), scores(reference, asked)
    for old, new, expected in zip(before, after, plain, strict=True):
        np.testing.assert_allclose(new.logprobs, old.logprobs, atol=1e-5)
        np.testing.assert_allclose(new.logprobs, expected.logprobs, atol=ATOL)
        assert new.ranks.tolist() == old.ranks.tolist()


def test_samples_follow_the_models_distribution(
    contract_engine: InferenceEngine, reference: TransformersEngine
) -> None:
    n = 400
    # An answer's first tokens have no choice; after what no model has read, there is one.
    prompt = Prompt(random_tokens(reference, 20))
    requests = ask(contract_engine, n, max_tokens=1, prompt=prompt)
    found = answers(contract_engine, requests)
    logprobs = next_logits(reference, requests[0].prompt.token_ids)[-1].log_softmax(-1).double()
    p = logprobs.exp()
    counts = Counter(int(c.token_ids[0]) for c in found)
    for token in p.topk(6).indices.tolist():
        expected = float(p[token])
        assert abs(counts[token] / n - expected) < 4.5 * (expected * (1 - expected) / n) ** 0.5
    mean = float((p * logprobs).sum())
    deviation = float((p * (logprobs - mean) ** 2).sum()) ** 0.5
    sampled = float(np.mean([c.logprobs[0] for c in found]))
    assert abs(sampled - mean) < 4.5 * deviation / n**0.5 + 1e-3
