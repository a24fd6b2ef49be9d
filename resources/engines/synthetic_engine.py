"""An engine that makes answers up at once, so that a run can be rehearsed without a model.

Answers have the shape of real ones (the model's own markup, sentences, a long tail of lengths, some
truncated, some in a loop) and are the same for the same request. Their probabilities are made up
too: a sentence is easy or hard for the one model or the other. Nothing can be learned from them;
every row says `synthetic`, and a release refuses them.
"""

from __future__ import annotations

import math
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from formats.harmony import ANALYSIS_OPEN, FINAL_OPEN, NEXT_MESSAGE
from formats.student_text import THINK_CLOSE, THINK_OPEN
from resources.engines.load import load_tokenizer
from resources.engines.local_tokenizer import LocalTokenizerEngine
from resources.engines.model_folder import inspect_model
from resources.engines.prompts import check_generation, check_scoring
from resources.engines.protocol import (
    NO_TOP,
    Completion,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
    TopLogprobs,
)
from resources.engines.settings import SYNTHETIC, SyntheticSettings

N_SENTENCES = 2_048
WORDS_PER_SENTENCE = (6, 18)
VOCABULARY = """
the we of is that and for to it in number word answer first next last find take add check value
letter list sum digit line place point side step count order half ten two three four so then now
here not with from one each both left right same other big small long short even
"""
WORDS = tuple(VOCABULARY.split())
REASONING_SHARE = 0.85
LOOPING_SHARE = 0.01
"""Answers that say one sentence for ever."""
SCORED_BLOCK = 16
"""Tokens in a row that are equally hard for the model that scores."""
ANSWERS_PER_REPORT = 256

HARMONY = (ANALYSIS_OPEN, NEXT_MESSAGE + FINAL_OPEN)
THINKING = (THINK_OPEN, THINK_CLOSE)


class SyntheticEngine(LocalTokenizerEngine):
    """See `resources.engines.protocol.InferenceEngine`."""

    def __init__(self, path: str, settings: SyntheticSettings, revision: str | None = None) -> None:
        """Read config and tokenizer of a model; it needs no weights.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        folder = inspect_model(path, revision, weights=False)
        self._tokenizer = load_tokenizer(folder.path)
        self._context = settings.max_model_len or folder.max_position_embeddings
        self._vocab_size = folder.vocab_size
        # The mean of a log-normal distribution is exp(mu + sigma² / 2).
        self._log_mean = math.log(settings.mean_tokens) - settings.length_spread**2 / 2
        self._length_spread = settings.length_spread
        self._identity = ModelIdentity(
            folder.name, revision or folder.content_hash[:16], SYNTHETIC, "1"
        )
        is_harmony = "<|channel|>" in self._tokenizer.get_vocab()
        opening, between = (self._encode(mark) for mark in (HARMONY if is_harmony else THINKING))
        self._opening, self._between = opening, between
        self._end = np.array([self._tokenizer.eos_token_id], np.int32)

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Make every answer up."""
        check_generation(self, requests)
        started, n_tokens = time.monotonic(), 0
        for done, request in enumerate(requests, 1):
            completion = self._answer(request)
            n_tokens += len(completion.token_ids)
            yield completion
            if on_progress and (done % ANSWERS_PER_REPORT == 0 or done == len(requests)):
                seconds = time.monotonic() - started
                on_progress(Progress(done, len(requests), n_tokens, seconds))

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Make up the probability and rank of every token; they depend on the request's key."""
        check_scoring(requests, self._context)
        started, n_tokens = time.monotonic(), 0
        for done, request in enumerate(requests, 1):
            n = len(request.token_ids)
            rng = np.random.default_rng(zlib.crc32(request.key.encode()))
            blocks = np.full(-(-n // SCORED_BLOCK), SCORED_BLOCK)
            logprobs = _logprobs(rng, blocks)[:n]
            # At most 1 / p tokens can be as likely as one of probability p.
            likelier = rng.random(n) * np.expm1(-logprobs.astype(np.float64))
            ranks = 1 + np.minimum(likelier, self._vocab_size - 1).astype(np.int32)
            n_tokens += n
            yield TokenScores(request.key, logprobs, ranks)
            if on_progress and (done % ANSWERS_PER_REPORT == 0 or done == len(requests)):
                seconds = time.monotonic() - started
                on_progress(Progress(done, len(requests), n_tokens, seconds))

    def close(self) -> None:
        """There is nothing to give back."""

    def _answer(self, request: GenerationRequest) -> Completion:
        rng = np.random.default_rng(request.seed)
        n_tokens = rng.lognormal(self._log_mean, self._length_spread)
        n_reasoning = max(1, round(n_tokens * REASONING_SHARE))
        n_final = max(1, round(n_tokens - n_reasoning))
        reasoning = self._some_sentences(rng, n_reasoning)
        if rng.random() < LOOPING_SHARE:
            reasoning = reasoning[:1] * len(reasoning)
        # What goes on from a prefix goes on in the reasoning.
        pieces = [] if request.prefix_token_ids else [self._opening]
        pieces += [*reasoning, self._between, *self._some_sentences(rng, n_final), self._end]
        logprobs = _logprobs(rng, np.array([len(piece) for piece in pieces]))
        token_ids = np.concatenate(pieces)
        is_whole = len(token_ids) <= request.max_tokens
        token_ids, logprobs = token_ids[: request.max_tokens], logprobs[: request.max_tokens]
        return Completion(
            request.key(self._identity),
            token_ids,
            logprobs,
            "stop" if is_whole else "length",
            self._top(token_ids, logprobs, request.top_logprobs),
        )

    def _top(
        self, token_ids: npt.NDArray[np.int32], logprobs: npt.NDArray[np.float32], k: int
    ) -> TopLogprobs:
        """The emitted tokens among others, each of which takes half of what is left."""
        if not k:
            return NO_TOP
        places = np.arange(1, k + 1)
        left = np.log(-np.expm1(np.minimum(logprobs, -1e-6).astype(np.float64)))
        values = np.column_stack([logprobs, left[:, None] - places * math.log(2)])
        ids = (token_ids[:, None] + np.arange(k + 1)) % self._vocab_size
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        return TopLogprobs(
            np.take_along_axis(ids, order, axis=1).astype(np.int32),
            np.take_along_axis(values, order, axis=1).astype(np.float32),
        )

    @cached_property
    def _sentences(self) -> list[npt.NDArray[np.int32]]:
        """All sentences as tokens; an engine that only scores needs none."""
        encoded = self._tokenizer(made_up_sentences(), add_special_tokens=False)["input_ids"]
        return [np.array(ids, np.int32) for ids in encoded]

    @cached_property
    def _sentence_lengths(self) -> npt.NDArray[np.int64]:
        return np.array([len(sentence) for sentence in self._sentences])

    def _some_sentences(
        self, rng: np.random.Generator, n_tokens: int
    ) -> list[npt.NDArray[np.int32]]:
        """Sentences of about so many tokens, one at least."""
        most = 1 + n_tokens // int(self._sentence_lengths.min())
        drawn = rng.integers(len(self._sentences), size=most)
        n = int(np.searchsorted(np.cumsum(self._sentence_lengths[drawn]), n_tokens))
        return [self._sentences[index] for index in drawn[: max(1, n)]]

    def _encode(self, text: str) -> npt.NDArray[np.int32]:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False), np.int32)


def made_up_sentences() -> list[str]:
    """N_SENTENCES sentences of words in no order, each with a space before it."""
    rng = random.Random(0)
    return [
        f" {' '.join(rng.choices(WORDS, k=rng.randint(*WORDS_PER_SENTENCE))).capitalize()}."
        for _ in range(N_SENTENCES)
    ]


def _logprobs(rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Made-up natural-log probabilities of pieces of so many tokens, each easy or hard as one."""
    hardness = np.repeat(rng.lognormal(-1.5, 0.8, len(lengths)), lengths)
    return (-hardness * rng.standard_exponential(len(hardness))).astype(np.float32)
