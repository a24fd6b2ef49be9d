"""Made-up answers: well-formed, the same every time, of the lengths that are asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dasd_assets.answering.logprobs import top_breaks
from dasd_assets.profile import PROJECT_ROOT
from formats.harmony import HarmonyFormat
from formats.token_bytes import TokenBytes
from resources.engines.inference import InferenceModel
from resources.engines.load import load_engine
from resources.engines.protocol import (
    Completion,
    ContextLengthError,
    GenerationRequest,
    InferenceEngine,
    Progress,
    ScoringRequest,
)
from resources.engines.settings import SyntheticSettings

MODELS = PROJECT_ROOT / "tiny_world" / "models"
SETTINGS = SyntheticSettings(mean_tokens=100, max_model_len=4_096)


@pytest.fixture(scope="module")
def teacher() -> InferenceEngine:
    return load_engine(str(MODELS / "teacher"), SETTINGS)


def ask(engine: InferenceEngine, n: int, max_tokens: int = 2_048) -> list[GenerationRequest]:
    prompt = engine.render([{"role": "user", "content": "What is 2 + 3?"}])
    return [GenerationRequest(prompt, 0.6, 1.0, max_tokens, seed) for seed in range(n)]


def test_answers_are_harmony_and_the_same_every_time(teacher: InferenceEngine) -> None:
    requests = ask(teacher, 50)
    progress: list[Progress] = []
    once = list(teacher.generate(requests, progress.append))
    again = list(load_engine(str(MODELS / "teacher"), SETTINGS).generate(requests))
    assert (progress[-1].done, progress[-1].total) == (50, 50)
    assert progress[-1].n_tokens == sum(len(completion.token_ids) for completion in once)
    assert teacher.identity.engine == "synthetic"
    token_bytes = TokenBytes(teacher.tokenizer)
    for request, one, other in zip(requests, once, again, strict=True):
        assert one.key == request.key(teacher.identity)
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
        assert (one.token_ids.dtype, one.logprobs.dtype) == (np.int32, np.float32)
        assert np.isfinite(one.logprobs).all() and (one.logprobs <= 0).all()
        parts = HarmonyFormat().parse(one.token_ids, token_bytes)
        assert parts.reasoning and parts.answer


def test_likely_tokens_are_made_up_in_line_with_the_answer(teacher: InferenceEngine) -> None:
    plain = list(teacher.generate(ask(teacher, 5)))
    asked = teacher.generate([replace(request, top_logprobs=4) for request in ask(teacher, 5)])
    for one, found in zip(plain, asked, strict=True):
        np.testing.assert_array_equal(one.token_ids, found.token_ids)
        assert found.top.token_ids.shape == (len(found.token_ids), 4)
        top = found.top
        broken = top_breaks(found.token_ids, found.logprobs, top.token_ids, top.logprobs)
        assert not any(len(places) for places in broken.values())


def test_lengths_have_the_asked_mean_and_a_long_tail(teacher: InferenceEngine) -> None:
    found = list(teacher.generate(ask(teacher, 4_000, max_tokens=1_000)))
    lengths = np.array([len(completion.token_ids) for completion in found])
    assert 85 < lengths.mean() < 130
    assert np.median(lengths) < lengths.mean()
    assert np.percentile(lengths, 99) > 4 * lengths.mean()
    cut = [completion.finish_reason == "length" for completion in found]
    assert 0 < sum(cut) < 80
    assert set(lengths[cut]) == {1_000}


def test_a_prefix_is_gone_on_with(teacher: InferenceEngine) -> None:
    (request,) = ask(teacher, 1)

    def text(completion: Completion) -> str:
        return str(teacher.tokenizer.decode(completion.token_ids))

    (whole,) = teacher.generate([request])
    (rest,) = teacher.generate([replace(request, prefix_token_ids=(1, 2))])
    assert text(whole) == "<|channel|>analysis<|message|>" + text(rest)


def test_a_model_without_harmony_thinks_in_tags() -> None:
    student = load_engine(str(MODELS / "student"), SETTINGS)
    (completion,) = student.generate(ask(student, 1))
    text = student.tokenizer.decode(completion.token_ids)
    assert text.startswith("<think>\n") and text.count("\n</think>\n\n") == 1
    assert text.endswith(student.tokenizer.eos_token)


def test_scores_could_be_a_models(teacher: InferenceEngine) -> None:
    requests = [ScoringRequest(f"r{n}", (1, 2), tuple(range(n + 1))) for n in range(200)]
    for request, scores in zip(requests, teacher.score(requests), strict=True):
        assert scores.key == request.key
        assert len(scores.logprobs) == len(scores.ranks) == len(request.token_ids)
        assert (scores.logprobs.dtype, scores.ranks.dtype) == (np.float32, np.int32)
        assert (scores.ranks >= 1).all()
        # So many tokens cannot all be likelier than one of this probability.
        assert (scores.ranks <= np.exp(-scores.logprobs.astype(np.float64)) + 1e-6).all()


def test_what_does_not_fit_is_refused(teacher: InferenceEngine) -> None:
    (request,) = ask(teacher, 1, max_tokens=4_096)
    assert teacher.check(request) is not None
    with pytest.raises(ContextLengthError):
        list(teacher.generate([request]))
    with pytest.raises(ContextLengthError):
        list(teacher.score([ScoringRequest("r", (1,), (1,) * 4_096)]))


def test_no_weights_are_needed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "teacher", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    model = InferenceModel(path=str(folder), engine={"kind": "synthetic"})
    assert model.inspect().n_parameters == 0
    with model.open() as engine:
        assert engine.check(ask(engine, 1, max_tokens=10)[0]) is None
